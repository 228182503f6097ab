"""Pictures from the web: what is asked for, where it may come from, and what is let in.

What a search service answers is hostile, and so is every picture behind it. `addresses` says which addresses may be fetched from,
`fetching` downloads from exactly those, and `decoding` makes a plain RGB picture out of bytes that may be anything.
"""
