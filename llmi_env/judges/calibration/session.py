"""A calibration from a judge's configuration to its result, with a progress bar; an interrupt leaves what is judged by then."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from llmi_env.judges.calibration.counting import Calibrating, Calibration
from llmi_env.judges.calibration.pairs import Half, calibration_pairs
from llmi_env.world.config import WorldConfig
from llmi_env.world.in_process import InProcessWorld

if TYPE_CHECKING:
    from rich.console import Console


def calibrate(
    judge: str,
    services: WorldConfig,
    count: int,
    *,
    seed: int = 0,
    half: Half = "held_out",
    console: Console | None = None,
) -> tuple[Calibration | None, bool]:
    """Make the pairs and have them judged.

    Args:
        judge: its name in the result.
        services: what judges, and its limits.
        count: pairs of the calibration set.
        seed: of the set.
        half: which demonstrations it is made from.
        console: for the progress bar; only a terminal shows it.

    Returns:
        The result, and whether it is of all pairs. After an interrupt from the keyboard it is of those that are judged, or `None` where no
        judge was asked.

    Raises:
        ConfigError: a judge that cannot be made, or that scores none of the terms.
        MissingExtra, AssetError: a tool or the judge cannot be made.
    """
    begun: list[Calibrating] = []

    async def run(progress: Progress) -> None:
        world = InProcessWorld.from_config(services)
        try:
            terms = await world.terms()  # a judge that cannot be made is told before the tools work
            bar = progress.add_task("carrying out calls", total=None)
            pairs = await calibration_pairs(
                count, seed, half, lambda done, total: progress.update(bar, completed=done, total=total)
            )
            begun.append(Calibrating(judge, world, terms, pairs))
            asked = progress.add_task("judging", total=None)
            await begun[0].run(lambda done, total: progress.update(asked, completed=done, total=total))
        finally:
            await world.aclose()

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    hidden = console is None or not console.is_terminal
    try:
        with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
            asyncio.run(run(progress))
    except KeyboardInterrupt:
        return (begun[0].result() if begun else None), False
    return begun[0].result(), True
