"""A tool for LLMI of another modality: a short tune, shown by its spectrogram."""

from llmi_sound.tool import SoundTool

__all__ = ["SoundTool"]
