"""Tasks as the parquet files that verl's own data set reads.

A row names its task; the agent loop takes it from the task set by that name, pictures included, and makes the prompt that every other face
makes. The messages in the row are the same, for verl's own checks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmi_env import prompting
from llmi_env.calls import ToolSpec
from llmi_env.document import Picture
from llmi_env.errors import ConfigError, require
from llmi_env.task import Task

SOURCE = "llmi"
"""`data_source` of every row: names the group of validation metrics."""


def write_rows(
    path: Path,
    tasks: Sequence[Task],
    split: str,
    tools: Mapping[str, ToolSpec],
    prompt: prompting.PromptStyle,
    measure: Callable[[list[dict[str, Any]], Sequence[Picture]], int],
    max_prompt_tokens: int,
) -> None:
    """Write the tasks of one split.

    Args:
        path: of the parquet file.
        tasks: in the order in which verl is to get them.
        split: `train` or `val`.
        tools: at hand.
        prompt: how the system prompt explains them.
        measure: length of a conversation that shows pictures, in tokens of the policy.
        max_prompt_tokens: longest prompt that verl is told to expect.

    Raises:
        ConfigError: a prompt is longer.
    """
    arrow = require("pyarrow", "writing verl's data", "verl")
    parquet = require("pyarrow.parquet", "writing verl's data", "verl")
    rows: list[dict[str, Any]] = []
    for index, task in enumerate(tasks):
        messages = prompting.messages(task, tools, prompt)
        length = measure(messages, task.images)
        if length > max_prompt_tokens:
            raise ConfigError(
                f"task {task.id}: its prompt has {length} tokens, the recipe allows {max_prompt_tokens}: raise max_prompt_tokens, "
                "or take prompt=compact, fewer tools or smaller pictures"
            )
        rows.append(
            {
                "prompt": messages,
                "data_source": SOURCE,
                "ability": "illustrated writing",
                "reward_model": {"style": "rule", "ground_truth": ""},
                "extra_info": {"task_id": task.id, "split": split, "index": index},
            }
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(arrow.Table.from_pylist(rows), path)
