"""A tool as a service of its own, in any language: this one sets formulas with matplotlib. `formula.yaml` is the configuration that uses it.

uvicorn --app-dir examples/plugins/http formula_server:app --port 8600
"""

import io

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from pydantic import BaseModel

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
    figure = Figure(figsize=(8, 2), dpi=120)
    FigureCanvasAgg(figure)
    figure.text(0.5, 0.5, f"${tex}$", size=28, ha="center", va="center")
    picture = io.BytesIO()
    try:
        figure.savefig(picture, format="png", bbox_inches="tight", pad_inches=0.3)
    except ValueError as error:  # of matplotlib's TeX parser: where and what
        return JSONResponse({"error": f"the formula cannot be read: {str(error).splitlines()[-1]}"}, 400)
    return Response(picture.getvalue(), media_type="image/png")
