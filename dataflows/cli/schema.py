"""`andon schema`: the contract as documents."""

from pathlib import Path

import click


@click.group()
def schema() -> None:
    """The contract of the events that Andon reads."""


@schema.command()
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("schemas/generated"),
    show_default=True,
    help="Directory to write to; made where it is missing.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["json-schema", "asyncapi", "all"]),
    default="all",
    show_default=True,
    help="Which document.",
)
@click.option("--check", is_flag=True, help="Write nothing; fail where a file in --out is not up to date.")
def export(out: Path, kind: str, *, check: bool) -> None:
    """Write the contract as JSON Schema and as an AsyncAPI 3 document."""
    from schemas.errors import AndonError  # noqa: PLC0415 - `andon --help` must not wait for it
    from schemas.export import ASYNCAPI_FILE, JSON_SCHEMA_FILE, documents, drifted  # noqa: PLC0415 - as above

    wanted = {"json-schema": {JSON_SCHEMA_FILE}, "asyncapi": {ASYNCAPI_FILE}}.get(kind)
    texts = {name: text for name, text in documents().items() if wanted is None or name in wanted}
    if check:
        stale = [str(out / name) for name in drifted(out) if name in texts]
        if stale:
            raise AndonError(f"not what the types say: {', '.join(stale)}; run `andon schema export --out {out}`")
        click.echo(f"up to date: {', '.join(str(out / name) for name in texts)}")
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (out / name).write_text(text, encoding="utf-8")
            click.echo(f"wrote {out / name}")
    except OSError as error:
        raise AndonError(f"can't write to {out}: {error}") from error
