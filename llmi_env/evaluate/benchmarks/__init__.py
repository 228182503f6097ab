"""The benchmarks, by name (`registry`): the protocol of each, and how their published files are read (`loading`, then `items`)."""
