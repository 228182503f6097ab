"""The commands about rewards and judges; `llmi_env.cli` puts them into the `llmi` command."""

from __future__ import annotations

import typer

judge_app = typer.Typer(no_args_is_help=True, help="Try judges on documents that are there already.")
