"""Server-sent events, as far as streams of JSON use them: bytes go in, the data of each event comes out.

Pure: no connection, no clock. Written after the HTML standard, section 9.2.6 ("Interpreting an event stream"); names, ids and waiting times
of events are not of interest here. Everything is bounded, and a stream costs time linear in its length however it is cut.
"""

from __future__ import annotations

import codecs
import re

_LINE_END = re.compile("\r\n|\n|\r")


class EventStream:
    r"""Cuts a stream into events.

    Args:
        longest: characters that one event may have.

    >>> stream = EventStream()
    >>> stream.feed(b'data: {"a"'), stream.feed(b': 1}\n'), stream.feed(b"\n: still here\n\ndata: [DO"), stream.feed(b"NE]\n\n")
    ([], [], ['{"a": 1}'], ['[DONE]'])
    """

    def __init__(self, longest: int = 4_000_000) -> None:
        self._longest = longest
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._line: list[str] = []  # pieces of the line that has not ended
        self._data: list[str] = []  # lines of the event that has not ended
        self._held = 0
        self._carriage = False

    def feed(self, chunk: bytes) -> list[str]:
        """Take the next bytes; the data of each event that they complete.

        Raises:
            ValueError: an event is too long.
        """
        text = self._decoder.decode(chunk)
        if self._carriage and text:  # the line ended with its \r; an \n now belongs to it
            text = text.removeprefix("\n")
            self._carriage = False
        self._carriage = self._carriage or text.endswith("\r")
        *lines, rest = _LINE_END.split(text)
        found: list[str] = []
        for line in lines:
            self._hold(line)
            whole, self._line = "".join(self._line), []
            if whole:
                self._take(whole)
            else:
                found += self._dispatch()
        self._hold(rest)
        return found

    def close(self) -> list[str]:
        """The end of the stream: an event that lacks its empty line is one all the same, for some servers are careless at the end."""
        whole, self._line = "".join(self._line), []
        self._take(whole)
        return self._dispatch()

    def _hold(self, text: str) -> None:
        if not text:
            return
        self._held += len(text)
        if self._held > self._longest:
            raise ValueError(f"an event of more than {self._longest} characters")
        self._line.append(text)

    def _take(self, line: str) -> None:
        name, _, value = line.partition(":")
        if name == "data":
            self._data.append(value.removeprefix(" "))
        else:
            self._held -= len(line)

    def _dispatch(self) -> list[str]:
        data, self._data, self._held = self._data, [], 0
        return ["\n".join(data)] if data else []
