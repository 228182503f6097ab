"""A tool for LLMI: a map with the places that a document speaks of."""

from llmi_map.tool import MapTool

__all__ = ["MapTool"]
