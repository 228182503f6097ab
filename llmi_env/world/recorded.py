"""Recording what a World answers, and answering from the recording alone.

    world="record:FOLDER"              the local World, recorded
    world="in_process+record:FOLDER"   any other World, recorded: `http://host:8100+record:FOLDER`
    world="recorded:FOLDER"            the recording alone: no network, tools, models or judges

A run against real services is recorded once and can then be repeated offline, byte for byte: with the same tasks, seeds, policy and
options it asks the same, whatever order the answers arrive in. What was not recorded is a `WorldError` that names it, never a failed call: a
replay that has lost its way must not look like a bad document.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from llmi_env.calls import Call
from llmi_env.document import Document, Outcome, Picture
from llmi_env.errors import ConfigError, WorldError
from llmi_env.task import Task
from llmi_env.world.cache import call_key
from llmi_env.world.config import WorldConfig
from llmi_env.world.deciding import parts_of
from llmi_env.world.protocol import AboutJudge, DecidingWorld, Judgments, TellingWorld, World
from llmi_env.world.recording import Recording, document_key
from llmi_env.world.wire import CallMessage

__all__ = ["RecordedWorld", "RecordingWorld", "laid_over"]

_log = logging.getLogger(__name__)


class _InFolder:
    """A recording that is opened in each process that uses it."""

    _pid: int
    _opened: Recording
    _asked: Counter[str]

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser().absolute()
        self._open()

    def _open(self) -> None:
        self._pid = os.getpid()
        self._opened = Recording(self.folder)
        self._asked = Counter()

    @property
    def recording(self) -> Recording:
        """What is recorded."""
        if self._pid != os.getpid():
            self._open()
        return self._opened

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_pid", "_opened", "_asked")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()


class RecordingWorld(_InFolder):
    """Another World, every answer of which is written down. Several processes may record into one folder, also one after the other.

    A call that is in the recording already is answered from it, also where it failed: in a recording, the same call has the same outcome. So
    the World has to be made of what the recording was made with: `ConfigError` says in what it is not.

    Args:
        world: answers; it is closed with this one.
        folder: where to write.
    """

    def __init__(self, world: World, folder: str | Path) -> None:
        super().__init__(folder)
        self.world = world
        self._told = self._agreed = False

    @property
    def tool_names(self) -> tuple[str, ...] | None:
        """Names of the tools, where the World tells them."""
        return getattr(self.world, "tool_names", None)

    async def run(self, call: Call, pictures: Sequence[Picture] = (), *, seed: int = 0) -> Outcome:
        """Carry out and record one call; see `World.run`.

        Raises:
            ConfigError: the recording is that of another configuration.
            WorldError: the recording cannot be written, or a picture in it is damaged.
        """
        await self._agree()
        given, recording = tuple(pictures), self.recording
        key = await asyncio.to_thread(call_key, call, given, seed)
        known = await asyncio.to_thread(recording.outcome, key)
        if known is not None:
            return known
        outcome = await self.world.run(call, given, seed=seed)
        return await asyncio.to_thread(recording.add_outcome, key, call, given, seed, outcome)

    async def judge(self, document: Document, task: Task) -> Judgments:
        """Judge and record a document; see `World.judge`.

        Raises:
            ConfigError: the recording is that of another configuration.
            WorldError: the recording cannot be written.
        """
        await self._agree()
        recording = self.recording
        key = await asyncio.to_thread(document_key, document, task)
        known = await asyncio.to_thread(recording.final_judgments, key)
        if known is not None:
            return known
        if not self._told:
            self._told = True
            await self.about_judges()
        judgments = await self.world.judge(document, task)
        return await asyncio.to_thread(recording.add_judgments, key, document, task, judgments)

    async def terms(self) -> tuple[str, ...]:
        """Every term that the judges score."""
        return tuple(dict.fromkeys(term for judge in await self.about_judges() for term in judge.terms))

    async def about_judges(self) -> tuple[AboutJudge, ...]:
        """Of each judge, as the World tells; it is recorded."""
        if not isinstance(self.world, TellingWorld):
            return ()
        await self._agree()
        judges = await self.world.about_judges()
        await asyncio.to_thread(self.recording.add_judges, judges)
        return judges

    async def _agree(self) -> None:
        """Make sure that what is recorded are answers of such a World."""
        if self._agreed or not isinstance(self.world, DecidingWorld):
            return
        told = await asyncio.to_thread(self.recording.agree, await self.world.deciding())
        if told:
            raise _other(self.folder, told, "record into another folder")
        self._agreed = True

    async def aclose(self) -> None:
        """Close the World."""
        await self.world.aclose()


class RecordedWorld(_InFolder):
    """Answers from a recording, and from nothing else.

    Args:
        folder: of the recording.
        config: what the World would be made of that is replayed, where that is known.

    Raises:
        ConfigError: nothing is recorded there, or answers of another configuration.
    """

    def __init__(self, folder: str | Path, config: WorldConfig | None = None) -> None:
        super().__init__(folder)
        if not self.folder.is_dir():
            raise ConfigError(
                f"nothing is recorded in {self.folder}: a run with world='record:{folder}' makes the recording"
            )
        if config is None:
            return
        # Judges, and tools, that are objects stand in no configuration.
        told = self.recording.differences({name: part for name, part in parts_of(config).items() if part})
        if told:
            raise _other(self.folder, told, "replay it with the configuration of then")
        if len(self.recording) and not self.recording.tells_its_world:
            _log.warning(
                "%s does not say what configuration it was made with, so this one is not compared", self.folder
            )

    async def run(self, call: Call, pictures: Sequence[Picture] = (), *, seed: int = 0) -> Outcome:
        """The recorded outcome of a call; see `World.run`.

        Raises:
            WorldError: the call was not recorded, or what was recorded of it is damaged.
        """
        recording = self.recording
        key = await asyncio.to_thread(call_key, call, tuple(pictures), seed)
        outcome = await asyncio.to_thread(recording.outcome, key)
        if outcome is None:
            wanted = (
                f"{call.tool!r:.60} {CallMessage.of(call).params:.300} with {len(pictures)} pictures and seed {seed}"
            )
            raise self._lost("no outcome of the call", wanted)
        return outcome

    async def judge(self, document: Document, task: Task) -> Judgments:
        """The recorded judgments of a document; see `World.judge`.

        Raises:
            WorldError: it was not judged while the recording was made, or not with these pictures.
        """
        recording = self.recording
        key = await asyncio.to_thread(document_key, document, task)
        self._asked[key] += 1
        judgments = await asyncio.to_thread(recording.judgments, key, self._asked[key] - 1)
        if judgments is None:
            raise self._lost("no judgment of the document", f"{document.to_source()!r:.300} for {task.question!r:.100}")
        return judgments

    async def terms(self) -> tuple[str, ...]:
        """Every term that was judged."""
        return await asyncio.to_thread(self.recording.terms)

    async def about_judges(self) -> tuple[AboutJudge, ...]:
        """Who judged."""
        return await asyncio.to_thread(self.recording.judges)

    async def aclose(self) -> None:
        """Nothing is held."""

    def _lost(self, what: str, wanted: str) -> WorldError:
        return WorldError(
            f"the recording {self.folder} holds {what} {wanted} ({len(self.recording)} others are there). A replay must ask what was asked "
            "then: the same tasks, seeds, policy and options. What is new is recorded by a run with world='record:...' into that folder"
        )


def _other(folder: Path, told: Sequence[str], remedy: str) -> ConfigError:
    return ConfigError(f"the recording {folder} was made with another configuration ({'; '.join(told[:8])}): {remedy}")


def laid_over(world: World, lay: Callable[[World], World]) -> World:
    """`lay(world)`, as far as recordings allow it: what is laid over a recorded World is recorded, too, and a recording answers alone."""
    if isinstance(world, RecordingWorld):
        return RecordingWorld(lay(world.world), world.folder)
    return world if isinstance(world, RecordedWorld) else lay(world)
