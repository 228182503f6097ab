"""What an action is, mode by mode: its space, what is wrong with a bad one, and how a good one is written into the episode.

`check` and `write` are two steps, so that a vector environment can check a whole batch before anything is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces

from llmi_env.calls import Call, ToolSpec
from llmi_env.episode import CallRequest, Episode, StopReason
from llmi_env.errors import ActionError, ConfigError, did_you_mean
from llmi_env.spaces import UnicodeText
from llmi_env.transcript import Transcript

END = "\x03"
"""Ends the document, as the last character of a chunk (ASCII's "end of text")."""

# A chunk may overshoot the limit of characters, which then cuts it; one that could not be meant seriously is refused.
_BYTES_PER_CHARACTER = 16


class Actions(Protocol):
    """The actions of one mode."""

    @property
    def space(self) -> spaces.Space[Any]:
        """The action space."""
        ...

    def check(self, action: Any) -> Any:
        """The action in plain form.

        Raises:
            ActionError: it lies outside of the space.
        """
        ...

    def write(self, action: Any, episode: Episode, transcript: Transcript | None) -> list[CallRequest]:
        """Write a checked action; returns the calls that it completed."""
        ...


class TokenActions:
    """One token of the tokenizer; its eos ends the document."""

    def __init__(self, vocab_size: int) -> None:
        self._n = vocab_size
        self.space = spaces.Discrete(vocab_size)

    def check(self, action: Any) -> int:
        """A Python int."""
        if type(action) is int:
            if 0 <= action < self._n:
                return action
        elif not isinstance(action, bool) and self.space.contains(action):
            return int(action)
        raise ActionError(f"an action is a token id from 0 to {self._n - 1}, not {action!r:.80}")

    def write(self, action: int, episode: Episode, transcript: Transcript | None) -> list[CallRequest]:
        """Append it to the transcript."""
        assert transcript is not None
        return transcript.append((action,))


class TextActions:
    """Text: a chunk of any length that `END` may close, or with `whole` the document at once."""

    def __init__(self, characters: int, whole: bool = False) -> None:
        self._whole = whole
        self.space = UnicodeText(_BYTES_PER_CHARACTER * characters, end=END)

    def check(self, action: Any) -> str:
        """The text as it is."""
        if (problem := self.space.problem(action)) is not None:
            raise ActionError(f"this text cannot be written: {problem}")
        return str(action)

    def write(self, action: str, episode: Episode, transcript: Transcript | None) -> list[CallRequest]:
        """Write it; the document ends with `END`."""
        requests = episode.write(action.removesuffix(END))
        if self._whole or action.endswith(END):
            requests += episode.end(StopReason.END)
        return requests


class CallActions:
    """Text, a call of one of the tools, or the end: `OneOf(text, <one Dict for each tool>, end)`.

    Option 0 is text (which `END` may close, as in a chunk), options 1 to n are the tools in the order of their specs (a `Dict` of
    `description` and the tool's parameters), the last one ends the document. A call is written in its canonical spelling, so the document is
    the same as one written in chunks; text is read as it is in every mode, a call spelt out in it included. `of` makes actions from
    plainer things.
    """

    def __init__(self, tools: Mapping[str, ToolSpec], characters: int, pictures: int) -> None:
        size = _BYTES_PER_CHARACTER * characters
        self._tools = dict(tools)
        self._options: list[spaces.Space[Any]] = [UnicodeText(size, end=END)]
        for spec in self._tools.values():
            if spec.name in ("text", "end") or any(param.name == "description" for param in spec.params):
                raise ConfigError(
                    f"tool {spec.name!r}: in the action mode 'call' no tool is called 'text' or 'end', and no param 'description'"
                )
            fields: dict[str, spaces.Space[Any]] = {"description": UnicodeText(size)}
            for param in spec.params:
                fields[param.name] = UnicodeText(size) if param.type is str else _integers(param.name, pictures)
            self._options.append(spaces.Dict(fields))
        self._options.append(spaces.Discrete(1))
        self.space = spaces.OneOf(tuple(self._options))

    @property
    def names(self) -> tuple[str, ...]:
        """What the options stand for: `text`, the tools, `end`."""
        return ("text", *self._tools, "end")

    def of(self, item: str | Call) -> tuple[int, Any]:
        """The action that writes text, makes a call, or (for `END`) ends the document.

        Raises:
            ActionError: a call of a tool that is not at hand.
        """
        if isinstance(item, str):
            return (len(self._options) - 1, 0) if item == END else (0, item)
        if not isinstance(item, Call):
            raise ActionError(f"an action is made of text or a Call, not {type(item).__name__}")
        if item.tool not in self._tools:
            raise ActionError(f"there is no tool {item.tool!r}{did_you_mean(item.tool, self._tools)}")
        return self.names.index(item.tool), {"description": item.description, **item.params}

    def check(self, action: Any) -> str | Call | None:
        """The text, the call, or `None` for the end."""
        shape = (
            f"an action is (option, value) with an option from 0 to {len(self._options) - 1}: {', '.join(self.names)}"
        )
        if not isinstance(action, tuple) or len(action) != 2:
            raise ActionError(f"{shape}; not {action!r:.80}")
        option, value = action
        if isinstance(option, bool) or not isinstance(option, int | np.integer):
            raise ActionError(f"{shape}; not option {option!r:.80}")
        if not 0 <= option < len(self._options):
            raise ActionError(f"{shape}; not {option!r:.80}")
        name, space = self.names[option], self._options[option]
        if isinstance(space, UnicodeText):
            if (problem := space.problem(value)) is not None:
                raise ActionError(f"this text cannot be written: {problem}")
            return str(value)
        if isinstance(space, spaces.Dict):
            return self._call(name, space, value)
        if not space.contains(value):
            raise ActionError(f"the value of option {option} ({name}) is 0, not {value!r:.80}")
        return None

    def write(self, action: str | Call | None, episode: Episode, transcript: Transcript | None) -> list[CallRequest]:
        """Write it; the description and params of a call cannot close it."""
        if action is None:
            return episode.end(StopReason.END)
        if isinstance(action, Call):
            # "</" stands only inside of strings, where JSON may spell it with a backslash.
            body = action.to_json().replace("</", "<\\/")
            return episode.write(f"<imgen>{body}</imgen>")
        requests = episode.write(action.removesuffix(END))
        return requests + episode.end(StopReason.END) if action.endswith(END) else requests

    def _call(self, name: str, space: spaces.Dict, value: Any) -> Call:
        if not isinstance(value, Mapping) or set(value) != set(space.spaces):
            raise ActionError(f"a call of {name} is a dict of {', '.join(space.spaces)}; not {value!r:.80}")
        for key, part in space.spaces.items():
            given = value[key]
            problem = part.problem(given) if isinstance(part, UnicodeText) else None
            if problem is not None or isinstance(given, bool) or not part.contains(given):
                raise ActionError(f"{name}: {key!r}: {problem or f'{given!r:.80} is not in {part}'}")
        plain = {key: str(v) if isinstance(v, str) else int(v) for key, v in value.items()}
        return Call(name, str(plain.pop("description")), plain)


def _integers(name: str, pictures: int) -> spaces.Discrete[Any]:
    """Values of an integer parameter: pictures are counted, everything else may be any number of 32 bits."""
    return spaces.Discrete(max(1, pictures)) if name == "img_index" else spaces.Discrete(2**32, start=-(2**31))
