"""How a tool call is written in text, and how it is read.

A call stands in the running text as ``<imgen>BODY</imgen>``. The canonical body is JSON with exactly three keys::

    {"source": "search", "description": "a barn owl", "params": {"query": "barn owl in flight"}}

The Python literals of LLM-I's released data are read with the same verdicts, code with raw quotes and newlines included; so are
Hermes calls, ``<tool_call>{"name": ..., "arguments": {...}}</tool_call>``. Calls inside ``<think>...</think>`` do not count.

`parse_call` reads one body. `CallScanner` cuts a stream into text and calls at a cost linear in the text, however it is cut into pieces.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from llmi_env.errors import BadCall, MalformedCall, did_you_mean

Tag = Literal["imgen", "tool_call"]

_KEYS = ("source", "description", "params")
# Python's parser uses the C stack and is slower than JSON's; longer or deeper literals are not worth the risk.
_LITERAL_CHARACTERS = 20_000
_LITERAL_DEPTH = 50


@dataclass(frozen=True)
class ParamSpec:
    """One parameter of a tool: its name, JSON type and what it means, in the words shown to the policy."""

    name: str
    type: type[str] | type[int]
    meaning: str


@dataclass(frozen=True)
class ToolSpec:
    """What a policy is told about a tool, and what `Call.check` checks.

    Attributes:
        name: as written in `source`.
        purpose: one line: what the tool is for.
        params: exactly these parameters, no others.
        example: an example call's params.
        sees_earlier: whether a call is given the pictures that the document's earlier calls of the tool brought, so that it can bring
            another one. It then waits for those.
    """

    name: str
    purpose: str
    params: tuple[ParamSpec, ...]
    example: Mapping[str, Any] = field(default_factory=dict)
    sees_earlier: bool = False


SEARCH = ToolSpec(
    "search",
    "finds a real photo or picture of something that exists: places, animals, plants, people, objects",
    (ParamSpec("query", str, "what to look for"),),
    {"query": "barn owl in flight"},
)
DIFFUSION = ToolSpec(
    "diffusion",
    "draws an original, imagined or stylised picture",
    (ParamSpec("prompt", str, "what to draw"),),
    {"prompt": "a blue house on the moon"},
)
CODE = ToolSpec(
    "code",
    "plots a chart from data with Python; plt, np, pd and sns are there, no savefig needed",
    (ParamSpec("code", str, "Python code that draws one figure"),),
    {"code": "plt.bar(['a', 'b'], [3, 5])"},
)
EDIT = ToolSpec(
    "edit",
    "changes an input picture or an earlier figure, counted from 0",
    (ParamSpec("img_index", int, "which picture"), ParamSpec("prompt", str, "what to change")),
    {"img_index": 0, "prompt": "make it grayscale"},
)
BUILTIN: dict[str, ToolSpec] = {spec.name: spec for spec in (SEARCH, DIFFUSION, CODE, EDIT)}
"""The paper's four tools, by name."""


@dataclass(frozen=True)
class Call:
    """A tool call as the policy wrote it, parsed.

    Attributes:
        tool: name of the tool (`source` in the text).
        description: what the figure shows, in the policy's words.
        params: parameters of the tool, JSON values only.
    """

    tool: str
    description: str
    params: Mapping[str, Any]

    def __hash__(self) -> int:
        return hash((self.tool, self.description, repr(sorted(self.params.items()))))

    def check(self, n_inputs: int, n_calls: int, tools: Mapping[str, ToolSpec] = BUILTIN) -> None:
        """Raise `BadCall` if the call cannot be carried out as written.

        Args:
            n_inputs: input pictures of the task.
            n_calls: calls that an edit may point at, counted after the inputs (the reference takes the document's total).
            tools: specs of the tools at hand.
        """
        spec = tools.get(self.tool)
        if spec is None:
            raise BadCall("unknown_tool", f"there is no tool {self.tool[:60]!r}{did_you_mean(self.tool[:60], tools)}")
        wanted = {param.name: param for param in spec.params}
        if set(self.params) != set(wanted):
            raise BadCall(
                "bad_params", f"{self.tool} takes exactly {sorted(wanted)}, not {sorted(map(str, self.params))[:10]}"
            )
        for name, param in wanted.items():
            value = self.params[name]
            if not isinstance(value, param.type) or isinstance(value, bool):
                raise BadCall(
                    "bad_params", f"{self.tool}: {name!r} must be {param.type.__name__}, not {type(value).__name__}"
                )
        if "img_index" in wanted and not 0 <= self.params["img_index"] < n_inputs + n_calls:
            raise BadCall(
                "bad_params",
                f"{self.tool}: there is no picture {str(self.params['img_index'])[:20]}; "
                + (
                    f"pictures 0 to {n_inputs + n_calls - 1} can be used" if n_inputs + n_calls else "there is none yet"
                ),
            )

    def to_json(self) -> str:
        """The canonical body."""
        body = {"source": self.tool, "description": self.description, "params": dict(self.params)}
        return json.dumps(body, ensure_ascii=False)


def parse_call(body: str) -> Call:
    """Read the body of an ``<imgen>`` call: JSON, a Python literal, or LLM-I's code form with raw quotes.

    Raises:
        MalformedCall: with the reason and, where known, the position.
    """
    text = body.strip()
    if not text:
        raise MalformedCall("the call is empty", 0)
    try:
        value: Any = json.loads(text, strict=False, parse_constant=_no_constant)
    except (ValueError, RecursionError) as json_error:
        try:
            value = _literal(text)
        except MalformedCall as literal_error:
            if (code_call := _raw_code(text)) is not None:
                return code_call
            if isinstance(json_error, json.JSONDecodeError) and '"source"' in text:
                raise MalformedCall(f"not JSON: {json_error.msg}", json_error.pos) from None
            raise literal_error from None
    return _from_value(value)


def parse_tool_call(body: str) -> Call:
    """Read the body of a Hermes ``<tool_call>``: `{"name": tool, "arguments": {..., "description": optional}}`.

    Raises:
        MalformedCall: with the reason and, where known, the position.
    """
    try:
        value = json.loads(body.strip(), strict=False, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise MalformedCall(f"not JSON: {error.msg}", error.pos) from None
    except (ValueError, RecursionError):
        raise MalformedCall("not JSON that can be read") from None
    if not isinstance(value, dict) or set(value) != {"name", "arguments"} or not isinstance(value["arguments"], dict):
        raise MalformedCall('a tool call is {"name": ..., "arguments": {...}}')
    arguments = dict(value["arguments"])
    return _from_value({"source": value["name"], "description": arguments.pop("description", ""), "params": arguments})


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON value")


def _literal(text: str) -> Any:
    if len(text) > _LITERAL_CHARACTERS:
        raise MalformedCall(f"not JSON, and longer than {_LITERAL_CHARACTERS} characters")
    if _depth(text) > _LITERAL_DEPTH:
        raise MalformedCall(f"brackets nested deeper than {_LITERAL_DEPTH}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a stray backslash in a policy's string is no news to the user
            return ast.literal_eval(text)
    except SyntaxError as error:
        position = error.offset - 1 if error.offset and (error.lineno or 1) == 1 else None
        raise MalformedCall(f"neither JSON nor a Python literal: {error.msg}", position) from None
    except (ValueError, TypeError, MemoryError, RecursionError):
        raise MalformedCall("neither JSON nor a Python literal") from None


_QUOTE = re.compile(r"\'\'\'|\"\"\"|['\"]")
_STRING_ENDS = {
    fence: re.compile(rf"\\.|{fence}" if len(fence) == 3 else rf"\\.|{fence}|\n", re.DOTALL)
    for fence in ("'''", '"""', "'", '"')
}
_SIGNS = re.compile(rf"(?:[-+~]\s*+){{{_LITERAL_DEPTH}}}")


def _depth(text: str) -> int:
    """How deep brackets are nested outside of strings; a long row of signs counts as too deep."""
    bare = "''".join(_outside_strings(text))
    depth = deepest = 0
    for char in bare:
        if char in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in ")]}":
            depth -= 1
    return _LITERAL_DEPTH + 1 if _SIGNS.search(bare) else deepest


def _outside_strings(text: str) -> Iterator[str]:
    """The stretches between string literals, in one pass; a string that never ends is the end, as it is for Python's parser."""
    start = 0
    while (opening := _QUOTE.search(text, start)) is not None:
        yield text[start : opening.start()]
        fence, position = opening[0], opening.end()
        while (found := _STRING_ENDS[fence].search(text, position)) is not None and found[0].startswith("\\"):
            position = found.end()
        if found is None or found[0] == "\n":
            return
        start = found.end()
    yield text[start:]


# Possessive (`*+`): a long run of blanks must not be tried again from each of them.
_RAW_HEAD = re.compile(
    r"""\{\s*+['"]source['"]\s*+:\s*+['"]code['"]\s*+,\s*+['"]description['"]\s*+:\s*+(?P<quote>['"])"""
)
_RAW_MIDDLE = re.compile(
    r"""(?P<quote>['"])\s*+,\s*+['"]params['"]\s*+:\s*+\{\s*+['"]code['"]\s*+:\s*+(?P<fence>'''|\"\"\"|['"])"""
)


def _raw_code(text: str) -> Call | None:
    """LLM-I's code form: quotes and newlines of the program stand unescaped, so no literal parser can read it.

    Its ends are fixed, `{'source': 'code', 'description': '` and a quote before two braces; between them, the first `', 'params': {'code': '`
    whose quote is the one at the end parts description and program.
    """
    if len(text) > _LITERAL_CHARACTERS or (head := _RAW_HEAD.match(text)) is None:
        return None
    body = text
    for _ in range(2):
        if not body.endswith("}"):
            return None
        body = body[:-1].rstrip().removesuffix(",").rstrip()
    for middle in _RAW_MIDDLE.finditer(text, head.end()):
        if middle["quote"] != head["quote"]:
            continue
        for fence in dict.fromkeys((middle["fence"], middle["fence"][0])):
            begin, end = middle.start("fence") + len(fence), len(body) - len(fence)
            if body.endswith(fence) and begin <= end:
                code = body[begin:end]
                if "\n" not in code:
                    code = code.replace("\\n", "\n")
                description = text[head.end() : middle.start()]
                return _from_value({"source": "code", "description": description, "params": {"code": code}})
    return None


def _from_value(value: Any) -> Call:
    if not isinstance(value, dict):
        raise MalformedCall(f"a call is an object with the keys {list(_KEYS)}, not {type(value).__name__}")
    if set(value) != set(_KEYS):
        raise MalformedCall(
            f"a call has exactly the keys {list(_KEYS)}, not {sorted(str(key)[:40] for key in value)[:8]}"
        )
    source, description, params = value["source"], value["description"], value["params"]
    if not isinstance(source, str) or not isinstance(description, str):
        raise MalformedCall("'source' and 'description' must be text")
    if not isinstance(params, dict) or not all(isinstance(key, str) for key in params):
        raise MalformedCall("'params' must be an object with text keys")
    if not _is_json([source, description, params]):
        raise MalformedCall("a call may hold JSON values only, without lone surrogates")
    return Call(source, description, params)


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode("utf-8")
    except (ValueError, TypeError, RecursionError):
        return False
    return True


# ---------------------------------------------------------------------------------------------------------------- scanner


@dataclass(frozen=True)
class TextRun:
    """Text outside of calls; a run may arrive in several pieces."""

    text: str


@dataclass(frozen=True)
class CallText:
    """The body of a call as written.

    Attributes:
        body: text between the tags.
        tag: which pair of tags.
        closed: whether the closing tag was there.
    """

    body: str
    tag: Tag = "imgen"
    closed: bool = True

    def parse(self) -> Call:
        """Read the body; an unclosed one is malformed whatever it holds."""
        if not self.closed:
            raise MalformedCall(f"the call was never closed with </{self.tag}>", len(self.body))
        return parse_call(self.body) if self.tag == "imgen" else parse_tool_call(self.body)


_OPENINGS = ("<imgen>", "<tool_call>", "<think>")
_OPENING = re.compile("|".join(map(re.escape, _OPENINGS)))


class CallScanner:
    """Cuts a stream of text into `TextRun` and `CallText`.

    The pieces that `feed` gets may be cut anywhere: the events, with neighbouring runs joined, are the same. Each piece costs time linear in
    its own length. `<think>` hides everything up to `</think>`, or to the end where that never comes; inside a call it is plain text.
    """

    def __init__(self) -> None:
        self._state = ""  # name of the open tag, "" in running text
        self._tail = ""  # end of the stream that may be the start of a tag
        self._parts: list[str] = []  # body of the open call so far

    def feed(self, text: str) -> list[TextRun | CallText]:
        """Take the next piece; returns what is certain now."""
        events: list[TextRun | CallText] = []
        data, start = self._tail + text, 0
        self._tail = ""
        while True:
            if not self._state:
                if match := _OPENING.search(data, start):
                    if match.start() > start:
                        events.append(TextRun(data[start : match.start()]))
                    self._state, start = match[0][1:-1], match.end()
                    continue
                keep = _partial(data, start, _OPENINGS)
                if keep > start:
                    events.append(TextRun(data[start:keep]))
                self._tail = data[keep:]
                return events
            closing = f"</{self._state}>"
            end = data.find(closing, start)
            if end < 0:
                keep = _partial(data, start, (closing,))
                if self._state != "think":
                    self._parts.append(data[start:keep])
                self._tail = data[keep:]
                return events
            if self._state != "think":
                events.append(CallText("".join([*self._parts, data[start:end]]), self._tag))
                self._parts = []
            self._state, start = "", end + len(closing)

    def close(self) -> list[TextRun | CallText]:
        """End of the stream: a half-written tag is text, an unclosed call is a call that was never closed."""
        state, tail, parts = self._state, self._tail, self._parts
        tag = self._tag
        self._state, self._tail, self._parts = "", "", []
        if state == "think":
            return []
        if state:
            return [CallText("".join([*parts, tail]), tag, closed=False)]
        return [TextRun(tail)] if tail else []

    @property
    def idle(self) -> bool:
        """Whether the stream stands in running text, with no half of a tag before it."""
        return not self._state and not self._tail

    @property
    def inside_call(self) -> bool:
        """Whether the stream stands inside a call's body."""
        return self._state in ("imgen", "tool_call")

    @property
    def _tag(self) -> Tag:
        return "tool_call" if self._state == "tool_call" else "imgen"


def _partial(data: str, start: int, tags: tuple[str, ...]) -> int:
    """Where a suffix of `data` begins that could grow into one of `tags`; `len(data)` if there is none."""
    at = data.rfind("<", max(start, len(data) - max(map(len, tags)) + 1))
    if at >= 0 and any(tag.startswith(data[at:]) for tag in tags):
        return at
    return len(data)
