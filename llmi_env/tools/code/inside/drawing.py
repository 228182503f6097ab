"""What runs inside the forked child: the policy's code, and the figure it left as PNG, with a reading of what it shows.

`warm_up` runs once in the worker, before any fork; `answer_to` runs once in each child, which is already confined. Nothing that is
decided here is trusted by the host: the code shares this process and may write any answer it likes.
"""

from __future__ import annotations

import builtins
import errno
import gc
import importlib
import io
import json
import os
import random
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Any

from .fonts import covering
from .frames import ANSWER_HEADER
from .reading import noted_page, read_figure

FILENAME = "<chart>"
MAX_MESSAGE = 2000
STYLE: dict[str, Any] = {"axes.unicode_minus": False, "figure.max_open_warning": 0}

_last_saved: list[Any] = []


class NoFigure(Exception):
    """Raised when the code ended without a figure with something on it."""


class FigureTooLarge(Exception):
    """Raised when the figure has more pixels than allowed."""


def warm_up(system_fonts: bool, rehearse: bool = True) -> dict[str, str]:
    """Import the plotting stack and, to `rehearse`, draw one chart of each common kind, so that children find everything loaded.

    Returns the version of each library.
    """
    if not system_fonts:
        os.environ["MPL_IGNORE_SYSTEM_FONTS"] = "1"
    # pandas takes Arrow where it is installed; Arrow starts threads, which a forking worker must not have.
    sys.modules["pyarrow"] = None  # type: ignore[assignment]
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np
    import pandas as pd
    import seaborn as sns
    from matplotlib import font_manager
    from matplotlib.figure import Figure

    if not system_fonts:
        bundled = os.path.join(matplotlib.get_data_path(), "")
        kept = [font for font in font_manager.fontManager.ttflist if os.path.realpath(font.fname).startswith(bundled)]
        font_manager.fontManager.ttflist = kept or font_manager.fontManager.ttflist
    importlib.import_module("mpl_toolkits.mplot3d")  # 3-D axes are found by name, and only once imported
    Figure.savefig = _harmless_savefig(Figure.savefig)  # type: ignore[method-assign]
    plt.show = _show
    builtins.input = _no_input
    if rehearse:
        _draw_one_of_each(plt, np, pd, sns)
    plt.close("all")
    matplotlib.rcdefaults()
    matplotlib.use("Agg")
    matplotlib.rcParams.update(STYLE)
    if system_fonts:  # DejaVu first, so that what it has looks the same everywhere
        others = [name for name in covering(font_manager.fontManager.ttflist).values() if name is not None]
        matplotlib.rcParams["font.family"] = list(dict.fromkeys(["DejaVu Sans", *others]))
    _last_saved.clear()
    gc.collect()
    gc.freeze()
    return {name: sys.modules[name].__version__ for name in ("matplotlib", "numpy", "pandas", "seaborn")}


def _draw_one_of_each(plt: Any, np: Any, pd: Any, sns: Any) -> None:
    table = pd.DataFrame({"name": ["x", "y", "x"], "value": [1.0, 2.0, 3.0]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        figure, axes = plt.subplots(2, 3)
        axes[0, 0].plot(pd.date_range("2024-01-01", periods=3), [1, 2, 3], label="line")
        axes[0, 0].legend()
        axes[0, 0].set_title(r"$\alpha_1$")
        figure.colorbar(axes[0, 1].imshow(np.eye(3)), ax=axes[0, 1])
        axes[0, 2].pie([1, 2], labels=["a", "b"], autopct="%d%%")
        sns.barplot(table, x="name", y="value", ax=axes[1, 0])
        table.plot(y="value", ax=axes[1, 1])
        sns.heatmap(np.eye(2), annot=True, ax=axes[1, 2])
        figure.tight_layout()
        with noted_page(figure) as boxes:
            figure.savefig(io.BytesIO(), format="png", bbox_inches="tight")
        read_figure(figure, boxes[0], (boxes[0].width, boxes[0].height))
        solid = plt.figure().add_subplot(projection="3d")
        solid.plot_surface(np.eye(2), np.eye(2), np.eye(2))
        solid.figure.savefig(io.BytesIO(), format="png")


def _harmless_savefig(original: Callable[..., Any]) -> Callable[..., Any]:
    """`savefig` that keeps files inside the working folder, and remembers the figure in case the code closes it."""

    def savefig(self: Any, fname: Any, *args: Any, **kwargs: Any) -> Any:
        _last_saved[:] = [self]
        if isinstance(fname, str | os.PathLike):
            path = os.path.normpath(os.fspath(fname))
            if os.path.isabs(path) or path.startswith(".."):
                path = os.path.basename(path)
            folder = os.path.dirname(path)
            if folder:
                os.makedirs(folder, exist_ok=True)
            fname = path
        return original(self, fname, *args, **kwargs)

    return savefig


def _show(*_args: Any, **_kwargs: Any) -> None:
    """Nobody looks at the screen; the figure is taken at the end."""


def _no_input(_prompt: object = "") -> str:
    raise EOFError("input() has nobody to answer here; write the values into the code")


def _seed(seed: int) -> None:
    """Fix the randomness of `random` and numpy, generators made without a seed included."""
    import numpy as np
    from numpy.random import bit_generator

    random.seed(seed)
    np.random.seed(seed % 2**32)
    bit_generator.randbits = random.Random(f"unseeded {seed}").getrandbits  # type: ignore[attr-defined]


def answer_to(source: bytes, *, seed: int, dpi: float, max_pixels: int, figures: str = "last") -> bytes:
    """Run `source` and encode what came of it: a PNG, or why there is none."""
    import matplotlib.pyplot as plt
    import numpy as np

    names = {
        "__name__": "__main__",
        "__builtins__": builtins,
        "plt": plt,
        "np": np,
        "pd": sys.modules["pandas"],
        "sns": sys.modules["seaborn"],
    }
    _seed(seed)
    sys.argv = [FILENAME]
    os.environ["HOME"] = os.getcwd()
    try:
        try:
            exec(compile(source, FILENAME, "exec"), names)
        except SystemExit as stop:
            if stop.code not in (None, 0):
                raise
        png, chart = _picture(plt, dpi, max_pixels, figures)
        return _encode({"status": "ok", "chart": chart}, png)
    except NoFigure as error:
        return _encode({"status": "empty", "error": str(error)})
    except FigureTooLarge as error:
        return _encode({"status": "pixels", "error": str(error)})
    except MemoryError as error:
        return _encode({"status": "memory", "error": _message(error, source)})
    except BaseException as error:
        full = isinstance(error, OSError) and error.errno in (errno.EFBIG, errno.ENOSPC, errno.EDQUOT)
        return _encode({"status": "disk" if full else "raised", "error": _message(error, source)})


def _picture(plt: Any, dpi: float, max_pixels: int, figures: str) -> tuple[bytes, dict[str, Any] | None]:
    numbers = plt.get_fignums()
    if figures == "all" and len(numbers) > 1:
        return _stacked([plt.figure(number) for number in numbers], dpi, max_pixels), None
    figure = plt.gcf() if numbers else _last_saved[0] if _last_saved else None
    if figure is None:
        raise NoFigure("the code drew no figure; draw one with plt, sns or df.plot")
    if not _has_content(figure):
        raise NoFigure("the code made a figure but drew nothing on it")
    return _drawn(figure, dpi, max_pixels)


def _drawn(figure: Any, dpi: float, max_pixels: int) -> tuple[bytes, dict[str, Any] | None]:
    width, height = figure.get_size_inches() * dpi
    if not width * height <= max_pixels:
        raise FigureTooLarge(
            f"the figure has {width:.0f} x {height:.0f} pixels at {dpi:g} dpi, more than {max_pixels}; use a smaller figsize"
        )
    # Bytes must depend on the code alone, whatever the code's own dpi or the library's version string.
    buffer = io.BytesIO()
    with warnings.catch_warnings(), noted_page(figure) as boxes:
        warnings.simplefilter("ignore")
        figure.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight", metadata={"Software": None})
    png = buffer.getvalue()
    inches = (int.from_bytes(png[16:20], "big") / dpi, int.from_bytes(png[20:24], "big") / dpi)
    return png, read_figure(figure, boxes[0], inches) if boxes else None


def _stacked(figures: list[Any], dpi: float, max_pixels: int) -> bytes:
    """All figures that have something on them, one below the other."""
    from PIL import Image

    pictures: list[Any] = []
    for figure in figures:
        if _has_content(figure):
            pictures.append(Image.open(io.BytesIO(_drawn(figure, dpi, max_pixels)[0])).convert("RGB"))
            area = max(picture.width for picture in pictures) * sum(picture.height for picture in pictures)
            if area > max_pixels:
                raise FigureTooLarge(f"{len(figures)} figures have more than {max_pixels} pixels together; draw fewer")
    if not pictures:
        raise NoFigure("the code made figures but drew nothing on them")
    page = Image.new(
        "RGB", (max(picture.width for picture in pictures), sum(picture.height for picture in pictures)), "white"
    )
    top = 0
    for picture in pictures:
        page.paste(picture, (0, top))
        top += picture.height
    buffer = io.BytesIO()
    page.save(buffer, format="png")
    return buffer.getvalue()


def _has_content(figure: Any) -> bool:
    if any(_has_content(part) for part in figure.subfigs):
        return True
    if figure.texts or figure.images or figure.lines or figure.patches or figure.artists:
        return True
    return any(
        axes.lines or axes.patches or axes.collections or axes.images or axes.texts or axes.tables or axes.artists
        for axes in figure.axes
    )


def _message(error: BaseException, source: bytes) -> str:
    """One line in the words of the policy's own code: which line failed, and how."""
    said = " ".join("".join(traceback.format_exception_only(type(error), error)[-1:]).split())
    if isinstance(error, SyntaxError):
        place = f"line {error.lineno}: " if error.lineno else ""
        return f"{place}{type(error).__name__}: {error.msg}"[:MAX_MESSAGE]
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == FILENAME]
    if not lines or lines[-1] is None:
        return said[:MAX_MESSAGE]
    text = source.decode("utf-8", "replace").splitlines()[lines[-1] - 1 : lines[-1]]
    where = f"line {lines[-1]}" + (f" ({text[0].strip()[:120]})" if text else "")
    return f"{where}: {said}"[:MAX_MESSAGE]


def _encode(head: dict[str, Any], png: bytes = b"") -> bytes:
    encoded = json.dumps(head).encode()
    return ANSWER_HEADER.pack(len(encoded)) + encoded + png
