"""The worker's own program: what stands on the far side of the pipes.

These modules use the standard library and the plotting stack only and import each other relatively. The host sends their sources to a bare
interpreter (`launch.bootstrap`), in this process's neighbourhood or in a container, so that one program serves every tier.
"""
