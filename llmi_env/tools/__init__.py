"""Visual tools."""
