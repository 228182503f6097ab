"""Trainers: losses, the local trainer, the warm start."""
