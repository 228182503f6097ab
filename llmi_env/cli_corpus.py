"""The commands about the corpus; `llmi_env.cli` puts them into the `llmi` command."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from llmi_env.errors import ConfigError

corpus_app = typer.Typer(
    no_args_is_help=True,
    help="Pictures that the offline search tool finds: those that ship, and your own.\n\n"
    "llmi corpus add ~/Pictures/birds --licence CC-BY-4.0 --author 'Ada Lovelace'\n\n"
    "llmi corpus add hf:nlphuji/flickr30k:test --caption caption\n\n"
    "llmi tools search 'a heron on a pier'\n\n"
    "Ctrl-C stops an add, and the same command goes on where it stopped.",
)
console = Console(soft_wrap=True)


@corpus_app.command("add")
def corpus_add(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[FOLDER|hf:NAME[:SPLIT]]",
            help="A folder of pictures; or a data set: on the hub, a folder made by save_to_disk, or a parquet file.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", "-n", help="Name of the collection (default: the folder's or the data set's)."),
    ] = None,
    caption: Annotated[
        str | None, typer.Option(help="Column of the captions (default: caption, text, description ...).")
    ] = None,
    image: Annotated[
        str | None, typer.Option(help="Column of a data set's pictures (default: the one there is).")
    ] = None,
    subset: Annotated[str | None, typer.Option(help="Which configuration of a data set that has several.")] = None,
    licence: Annotated[
        str, typer.Option("--licence", "--license", help="Licence of pictures that state none, or column:NAME.")
    ] = "",
    author: Annotated[str, typer.Option(help="Author of pictures that state none, or column:NAME.")] = "",
    origin: Annotated[
        str, typer.Option("--source", help="Where pictures come from that do not say it, or column:NAME.")
    ] = "",
    link: Annotated[
        bool,
        typer.Option(
            "--link", help="Leave a folder's pictures where they are instead of copying them, 640 pixels wide."
        ),
    ] = False,
    debian: Annotated[str | None, typer.Option(help="A Debian set instead: tuxpaint, gcompris or openclipart.")] = None,
) -> None:
    """Add pictures to what the search tool finds.

    Captions are taken from metadata.jsonl or metadata.csv (columns file_name and caption or text), from NAME.txt or NAME.json beside each
    picture, or from the file's name. Broken pictures, and those without a caption, are left out and named in a log.

    Example: llmi corpus add ~/Pictures/birds --licence CC-BY-4.0

    Example: llmi corpus add hf:photos.parquet --caption text --image picture --author column:artist
    """
    from llmi_env.tools.corpus import Columns, add_data_set, add_debian, add_folder

    if (source is None) == (debian is None):
        raise ConfigError("say a folder, a data set (hf:NAME) or --debian SET, one of them")
    columns = Columns(caption=caption, image=image, author=author, source=origin, licence=licence)
    if debian is not None:
        if columns != Columns() or link or subset or name:
            raise ConfigError("--debian takes no other option: its packages say what their pictures are")
        added = add_debian(debian, console=console)
    elif source is not None and source.startswith("hf:"):
        if link:
            raise ConfigError("--link is for folders: a data set has no files that could stay where they are")
        added = add_data_set(source.removeprefix("hf:"), name=name, columns=columns, subset=subset, console=console)
    else:
        if image is not None or subset is not None:
            raise ConfigError("--image and --subset are for data sets: hf:NAME")
        added = add_folder(str(source), name=name, columns=columns, link=link, console=console)
    console.print(str(added), markup=False, highlight=False)
    if added.stopped:
        console.print(added.stopped, markup=False, highlight=False)
        raise typer.Exit(130 if added.interrupted else 1)


@corpus_app.command("list")
def corpus_list() -> None:
    """Show what there is: collections, how many pictures each has, where they came from, and how they are searched."""
    from llmi_env.tools.corpus import bundled, collections, user_folder
    from llmi_env.tools.corpus_kept import described

    table = Table("collection", "pictures", "MB", "from")
    shipped = bundled()
    size = sum(path.stat().st_size for path in (shipped.folder / "pictures").iterdir())
    table.add_row("(bundled)", f"{len(shipped.entries):,}", f"{size / 1e6:.1f}", "the package llmi-env")
    for each in collections():
        table.add_row(each.name, f"{each.pictures:,}", f"{each.bytes / 1e6:.1f}", each.origin)
    console.print(table)
    console.print(f"your own: {user_folder()}\n{described(user_folder())}", markup=False, highlight=False)


@corpus_app.command("remove")
def corpus_remove(
    name: Annotated[str, typer.Argument(help="The collection, as `llmi corpus list` calls it.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Take a collection out again: its entries, its copies of pictures, its part of the index. The originals stay where they are."""
    from llmi_env.tools.corpus import collections, remove

    known = {each.name: each for each in collections()}
    if name in known and not yes:
        typer.confirm(f"Take out {known[name].pictures} pictures of {name!r}?", abort=True)
    removed = remove(name, console=console)
    console.print(f"{removed.pictures} pictures taken out, {removed.left} left")


@corpus_app.command("index")
def corpus_index() -> None:
    """Make the index fit the pictures again: after an add that was killed, or when the cache was emptied. Nothing is made twice."""
    from llmi_env.tools.corpus import update_index, user_folder
    from llmi_env.tools.corpus_kept import described

    console.print(
        f"{update_index(console=console)} pictures of your own are indexed\n{described(user_folder())}", markup=False
    )
