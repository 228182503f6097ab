"""The commands about tools; `llmi_env.cli` puts them into the `llmi` command."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from llmi_env.calls import BUILTIN, Call, ToolSpec
from llmi_env.errors import ConfigError, LLMIError

if TYPE_CHECKING:
    from llmi_env.document import Picture

tools_app = typer.Typer(no_args_is_help=True, help="List the visual tools and try one by hand.")
console = Console(soft_wrap=True)

_OTHERS = {
    "web-search": (
        "searches Wikimedia Commons, Openverse, SerpAPI, SearXNG, endpoints like Bing's, or any other",
        "web-search",
    ),
    "image-server": ("draws by a server that speaks OpenAI's images API", "image-models"),
    "image-server-edit": ("edits by one", "image-models"),
    "diffusers-edit": ("edits by a pipeline of diffusers", "image-models"),
    "http": ("any tool behind an endpoint of yours", "plugins"),
}
"""What may stand in `use` besides the tools' own names."""

_Out = Annotated[Path, typer.Option("--out", "-o", help="Where the picture goes.")]


@tools_app.command("list")
def tools_list() -> None:
    """Show the tools, what each is for, how a call is written, and what else may carry calls out."""
    from llmi_env.tools import TOOLS

    table = Table("tool", "for", "example call", show_lines=True)
    for spec in BUILTIN.values():
        table.add_row(spec.name, spec.purpose, Call(spec.name, "...", dict(spec.example)).to_json())
    console.print(table)
    console.print("In place of what works offline, by services.tools.NAME.use:")
    for name, (does, page) in _OTHERS.items():
        console.print(f"   {name}: {does} (docs/{page}.md)", highlight=False)
    for name, point in TOOLS.plugins.items():
        console.print(f"   {name}: {point.value}, a plugin", highlight=False)


def _try(tool: str, params: dict[str, Any], out: Path, image: Path | None = None, **config: Any) -> None:
    """One call by hand, its picture kept as a file."""
    from llmi_env.document import Failure
    from llmi_env.tools import run

    outcome = run(tool, params, () if image is None else (_opened(image),), **config)
    if isinstance(outcome, Failure):
        raise LLMIError(f"{tool}: {outcome.kind} ({outcome.fault}'s fault): {outcome.message}")
    try:
        out.write_bytes(outcome.png)
    except OSError as error:
        raise ConfigError(f"--out {out}: the picture cannot be written there: {error.strerror}") from error
    origin = outcome.provenance
    about = ", ".join(part for part in (origin.title, origin.author, origin.licence) if part)
    size = f"{outcome.image.width}x{outcome.image.height}"
    console.print(f"{size} by {origin.backend}{f' ({about})' if about else ''}: {out}")


def _opened(path: Path) -> "Picture":
    """The picture in a file, which may be anybody's: it is let in as one from the web is."""
    from llmi_env.document import Picture, Provenance
    from llmi_env.tools.corpus.pictures import bounded
    from llmi_env.tools.web.decoding import FORMATS, decode_picture

    try:
        return Picture(decode_picture(bounded(path)), Provenance(path.name))
    except OSError as error:
        raise ConfigError(f"--image {path}: it cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ConfigError(f"--image {path}: {error}; {', '.join(FORMATS)} are read") from error


def _tool_command(spec: ToolSpec) -> Callable[..., None]:
    """`llmi tools NAME TEXT`."""
    last = spec.params[-1]
    points_at_picture = any(param.type is int for param in spec.params)

    def command(
        text: Annotated[str, typer.Argument(help=last.meaning, metavar=last.name.upper())],
        image: Annotated[
            Path | None, typer.Option("--image", "-i", help="The picture to change.", hidden=not points_at_picture)
        ] = None,
        out: _Out = Path("picture.png"),
    ) -> None:
        if points_at_picture and image is None:
            raise ConfigError(f"{spec.name} changes a picture: say which with --image PATH")
        _try(spec.name, {param.name: 0 if param.type is int else text for param in spec.params}, out, image)

    example = next((str(value) for value in spec.example.values() if isinstance(value, str)), "...")
    command.__doc__ = f'Try {spec.name}: {spec.purpose}.\n\nExample: llmi tools {spec.name} "{example}"'
    return command


for _spec in BUILTIN.values():
    if _spec.name != "code":
        tools_app.command(_spec.name)(_tool_command(_spec))


@tools_app.command("code")
def tools_code(
    code: Annotated[str | None, typer.Argument(help=BUILTIN["code"].params[-1].meaning)] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="A file with the code instead.")] = None,
    sandbox: Annotated[
        str, typer.Option("--sandbox", "-s", help="auto, docker, namespace, landlock or unsafe; see `llmi doctor`.")
    ] = "auto",
    out: _Out = Path("picture.png"),
) -> None:
    """Draw a chart from Python code, in a sandbox; plt, np, pd and sns are there.

    Example: llmi tools code "plt.plot([1, 3, 2])"
    """
    if (code is None) == (file is None):
        raise ConfigError("say the code or --file PATH, one of them")
    if file is not None:
        try:
            code = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"--file {file}: cannot be read as text: {error}") from error
    _try("code", {"code": code}, out, sandbox=sandbox)


@tools_app.command("build-image")
def build_image(
    name: Annotated[
        str, typer.Argument(help="Name of the image, as in services.tools.code.docker_image.")
    ] = "llmi-code",
) -> None:
    """Make the image of the code tool's sandbox `docker` from the Python that runs here, and give it to the engine.

    No registry is needed. Where there is one: docker build -t llmi-code -f deploy/code-tool/Dockerfile .
    """
    from llmi_env.tools.code import CodeConfig
    from llmi_env.tools.code.image import build_image as build
    from llmi_env.tools.code.tiers import examine

    config = CodeConfig(sandbox="docker", workers=1, docker_image=name)
    console.print(f"{config.docker_image}: {build(config.docker_image, console.print)}")
    found = examine("docker", config)
    if found.cause:
        raise LLMIError(f"the image was made, but draws no chart: {found.cause}")
    console.print("it draws")
