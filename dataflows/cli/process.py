"""`andon process`: the process map."""

from pathlib import Path

import click


@click.group()
def process() -> None:
    """The process map: the declared handoffs, their order and deadlines."""


@process.command()
@click.option(
    "--map",
    "name_or_path",
    default="default",
    show_default=True,
    metavar="NAME|FILE",
    help="A process map that comes with Andon, or your own.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["mermaid", "svg"]),
    default="mermaid",
    show_default=True,
    help="Mermaid text for a page, or a picture.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write to, instead of standard output.",
)
def graph(name_or_path: str, kind: str, out: Path | None) -> None:
    """Draw a process map: handoffs by kind of case, their events and deadlines, what depends on what."""
    from dataflows.process_maps import load_process_map  # noqa: PLC0415 - `andon --help` must not wait for it
    from operators.process_graph import mermaid, svg  # noqa: PLC0415 - as above
    from schemas.errors import AndonError  # noqa: PLC0415 - as above

    loaded = load_process_map(name_or_path)
    drawn = svg(loaded) if kind == "svg" else mermaid(loaded)
    if out is None:
        click.echo(drawn, nl=False)
        return
    try:
        out.write_text(drawn, encoding="utf-8")
    except OSError as error:
        raise AndonError(f"can't write {out}: {error}") from error
    click.echo(f"wrote {out}")
