"""Tasks of the set `practice` that are put together of clauses: most want two pictures, or none."""

from __future__ import annotations

import random

import practice_words as wording
from practice_numbers import Row, numbers
from practice_parts import Draft, capital, changed, find, named, paint, thing


class Clauses:
    """Makes tasks; each public method is a kind."""

    def __init__(self, draw: random.Random, rows: list[Row]) -> None:
        self.draw, self.rows = draw, rows

    def _joined(self, first: str, second: str, joints: tuple[str, ...] = wording.THEN) -> str:
        """A question of two clauses."""
        joint = self.draw.choice(joints)
        return first + joint.replace("{second}", second) + self.draw.choice(wording.ENDS)

    def _then_changed(self, first: str, name: str) -> tuple[str, dict[str, str], Row]:
        """A question whose first clause makes a picture and whose second one changes it."""
        ordered = self.draw.random() < 0.3
        values, call = changed(self.draw, ordered, name)
        if ordered:
            return self._joined(first, "{do}", wording.THEN_DO), values, call
        return self._joined(first, self.draw.choice(wording.CHANGED)), values, call

    def _then_charted(self, first: str) -> str:
        """A question whose first clause makes a picture and whose second one has numbers."""
        if self.draw.random() < 0.35:
            return self._joined(first, self.draw.choice(wording.CHART_IT), wording.THEN_DO)
        return self._joined(first, self.draw.choice(wording.CHARTED))

    @staticmethod
    def _photographed(row: Row) -> dict[str, str]:
        """What is put into a clause that wants a photo."""
        return {"thing": named(row), "bare": named(row).removeprefix("the "), "kind": "photo"}

    def thing(self) -> Draft:
        what = thing(self.draw)
        return f"{self.draw.choice(wording.DRAWN)}.{self.draw.choice(wording.ENDS)}", {"thing": what}, [paint(what)], []

    def photo(self) -> Draft:
        row = self.draw.choice(self.rows)
        return (
            f"{self.draw.choice(wording.FOUND)}.{self.draw.choice(wording.ENDS)}",
            self._photographed(row),
            [find(row)],
            [],
        )

    def chart(self) -> Draft:
        data, call = numbers(self.draw)
        asked = capital(self.draw.choice((*wording.CHARTED, *wording.CHART_IT)))
        return f"{asked}.{self.draw.choice(wording.ENDS)}", {"data": data}, [call], []

    def thing_change(self) -> Draft:
        what = thing(self.draw)
        template, values, call = self._then_changed(self.draw.choice(wording.DRAWN), "the drawing")
        bare = what.split(" ", 1)[1] if what.count(" ") < 3 else "drawing"
        return template, {"thing": what, "bare": bare, "kind": "drawing", **values}, [paint(what), call], []

    def photo_change(self) -> Draft:
        row = self.draw.choice(self.rows)
        template, values, call = self._then_changed(self.draw.choice(wording.FOUND), named(row))
        return template, {**self._photographed(row), **values}, [find(row), call], []

    def thing_chart(self) -> Draft:
        what, (data, call) = thing(self.draw), numbers(self.draw)
        template = self._then_charted(self.draw.choice(wording.DRAWN))
        return template, {"thing": what, "data": data}, [paint(what), call], []

    def photo_chart(self) -> Draft:
        row, (data, call) = self.draw.choice(self.rows), numbers(self.draw)
        template = self._then_charted(self.draw.choice(wording.FOUND))
        return template, {**self._photographed(row), "data": data}, [find(row), call], []

    def photo_thing(self) -> Draft:
        row, what = self.draw.choice(self.rows), thing(self.draw)
        second = self.draw.choice(
            ("a drawing of {other}", "{other}, drawn by you", "{other} as a cartoon", "an illustration of {other}")
        )
        values = {**self._photographed(row), "other": what}
        return self._joined(self.draw.choice(wording.FOUND), second), values, [find(row), paint(what)], []

    def unillustrated(self) -> Draft:
        request = self.draw.choice(wording.REQUESTS).replace("{topic}", self.draw.choice(wording.TOPICS))
        template = self.draw.choice(wording.UNILLUSTRATED)
        if request.endswith("?"):
            template = template.replace("equest}.", "equest}")
        return template.replace("{request}", request).replace("{Request}", capital(request)), {}, [], []
