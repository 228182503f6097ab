"""The language of the `edit` tool by itself, without the pictures: what an instruction asks for, or why it is refused."""

from __future__ import annotations

from llmi_env.tools.edit.language import parse_instruction
from llmi_env.tools.edit.operation import EXAMPLES, Operation, refusal

__all__ = ["EXAMPLES", "Operation", "parse_instruction", "refusal"]
