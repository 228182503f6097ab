"""A tool as a service of its own, in any language: this one sets formulas with matplotlib. `formula.yaml` is the configuration that uses it.

uvicorn --app-dir examples/plugins/http formula_server:app --port 8600
"""

import io

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.mathtext import MathTextParser
from pydantic import BaseModel

SIZE = 28
MOST = 1500
"""Points that a formula may take in either direction: a few letters can ask for a picture of kilometres."""

app = FastAPI(title="Formulas")


class Params(BaseModel):
    """What the tool takes."""

    tex: str


class Call(BaseModel):
    """What `use: http` posts; `seed` and `pictures` are not needed here."""

    params: Params
    description: str = ""


@app.post("/formula")
def formula(call: Call) -> Response:
    """The formula as a PNG, or what is wrong with it."""
    if not 0 < len(tex := call.params.tex.strip().strip("$")) <= 500:
        return JSONResponse({"error": "give a formula of 1 to 500 characters as tex"}, 400)
    try:
        points = extent(tex)
    except RecursionError:
        return JSONResponse({"error": "the formula cannot be read: it is nested too deeply"}, 400)
    except ValueError as error:  # of matplotlib's TeX parser: where and what
        return JSONResponse({"error": f"the formula cannot be read: {str(error).splitlines()[-1]}"}, 400)
    if points > MOST:
        return JSONResponse({"error": f"the formula is too large: {points:.0f} points, at most {MOST}; split it"}, 400)
    figure = Figure(figsize=(8, 2), dpi=120)
    FigureCanvasAgg(figure)
    figure.text(0.5, 0.5, f"${tex}$", size=SIZE, ha="center", va="center")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", bbox_inches="tight", pad_inches=0.3)
    return Response(picture.getvalue(), media_type="image/png")


def extent(tex: str) -> float:
    """How far a formula reaches, in points; nothing is drawn for that."""
    width, height, depth, letters, lines = MathTextParser("path").parse(f"${tex}$", 72, FontProperties(size=SIZE))
    places = [abs(place) for letter in letters for place in letter[-2:]] + [
        abs(side) for line in lines for side in line
    ]
    return max([abs(width), abs(height) + abs(depth), *places])
