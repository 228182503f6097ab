"""What the edits do to pixels: RGB in, RGB out, the same on every machine.

Where a platform's floating point could show in a result, the sums are done in whole numbers.
"""
