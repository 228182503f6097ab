"""Tasks of the set `practice` that are whole sentences, with something put into them."""

from __future__ import annotations

import random

import practice_words as wording
from practice_numbers import Row, curve, numbers, series, shares, spread
from practice_parts import Draft, change, changed, find, named, need, order, paint, scene, wish
from practice_subjects import ADVICE, TRADES


class Sentences:
    """Makes tasks; each method is a kind."""

    def __init__(self, draw: random.Random, rows: list[Row]) -> None:
        self.draw, self.rows = draw, rows

    def find(self) -> Draft:
        row = self.draw.choice(self.rows)
        return self.draw.choice(wording.FIND_WORDINGS), {"thing": named(row)}, [find(row)], []

    def chart(self) -> Draft:
        data, call = numbers(self.draw)
        return self.draw.choice(wording.CHART_WORDINGS), {"data": data}, [call], []

    def share(self) -> Draft:
        whole, data, call = shares(self.draw)
        return self.draw.choice(wording.SHARE_WORDINGS), {"whole": whole, "data": data}, [call], []

    def series(self) -> Draft:
        values, call = series(self.draw)
        return self.draw.choice(wording.SERIES_WORDINGS), values, [call], []

    def spread(self) -> Draft:
        values, call = spread(self.draw)
        return self.draw.choice(wording.SPREAD_WORDINGS), values, [call], []

    def curve(self) -> Draft:
        values, call = curve(self.draw)
        return self.draw.choice(wording.CURVE_WORDINGS), values, [call], []

    def draw_scene(self) -> Draft:
        what = scene(self.draw)
        return self.draw.choice(wording.DRAW_WORDINGS), {"scene": what}, [paint(what)], []

    def trade(self) -> Draft:
        trade, motif = self.draw.choice(TRADES)
        call = paint(motif, f"Design for {trade}")
        return self.draw.choice(wording.TRADE_WORDINGS), {"trade": trade}, [call], []

    def change(self) -> Draft:
        row, (asked, told) = self.draw.choice(self.rows), wish(self.draw)
        values = {"thing": named(row), "change": asked}
        return self.draw.choice(wording.EDIT_WORDINGS), values, [change(told, 0, named(row))], [f"corpus:{row['id']}"]

    def order(self) -> Draft:
        row, template = self.draw.choice(self.rows), self.draw.choice(wording.ORDER_WORDINGS)
        key, wished = ("need", need) if "{need}" in template.lower() else ("do", order)
        asked, told = wished(self.draw, self.draw.choice(wording.ATTACHED).format(thing=named(row)))
        values = {"thing": named(row), key: asked}
        return template, values, [change(told, 0, named(row))], [f"corpus:{row['id']}"]

    def draw_change(self) -> Draft:
        template, what = self.draw.choice(wording.DRAW_EDIT_WORDINGS), scene(self.draw)
        values, call = changed(self.draw, "{do}" in template, "the drawing")
        return template, {"scene": what, **values}, [paint(what), call], []

    def find_change(self) -> Draft:
        template, row = self.draw.choice(wording.FIND_EDIT_WORDINGS), self.draw.choice(self.rows)
        values, call = changed(self.draw, "{do}" in template, named(row))
        return template, {"thing": named(row), **values}, [find(row), call], []

    def chart_change(self) -> Draft:
        template, (data, first) = self.draw.choice(wording.CHART_CHANGE_WORDINGS), numbers(self.draw)
        values, call = changed(self.draw, "{do}" in template, "the chart")
        return template, {"data": data, **values}, [first, call], []

    def find_chart(self) -> Draft:
        row, (data, call) = self.draw.choice(self.rows), numbers(self.draw)
        template = self.draw.choice(wording.FIND_CHART_WORDINGS)
        return template, {"thing": named(row), "data": data}, [find(row), call], []

    def draw_chart(self) -> Draft:
        what, (data, call) = scene(self.draw), numbers(self.draw)
        return self.draw.choice(wording.DRAW_CHART_WORDINGS), {"scene": what, "data": data}, [paint(what), call], []

    def find_draw(self) -> Draft:
        row, what = self.draw.choice(self.rows), scene(self.draw)
        values = {"thing": named(row), "scene": what}
        return self.draw.choice(wording.FIND_DRAW_WORDINGS), values, [find(row), paint(what)], []

    def several(self) -> Draft:
        one, other = self.draw.sample(self.rows, 2)
        values = {"thing": named(one), "other": named(other)}
        return self.draw.choice(wording.SEVERAL_WORDINGS), values, [find(one), find(other)], []

    def words(self) -> Draft:
        return self.draw.choice(wording.WORDS_ONLY), {"advice": self.draw.choice(ADVICE)}, [], []
