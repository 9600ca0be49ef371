"""`andon explain`: a signal's reason in words, and the series it is about as a picture."""

import shutil
from pathlib import Path

import click

from dataflows.cli.store import clickhouse_option, config_option, store_from


@click.command()
@click.argument("signal_id")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw the series into this SVG file, too; replaced where it is there.",
)
@clickhouse_option
@config_option
def explain(signal_id: str, out: Path | None, clickhouse: str | None, config: str | None) -> None:
    """Explain SIGNAL_ID: why it was said, and the series around it with the model's band, scores and alarms.

    All is read from the database; nothing is computed anew.
    """
    from dataflows.cli.answers import into_file  # noqa: PLC0415 - `andon --help` loads none of this
    from dataflows.explaining.picture import picture  # noqa: PLC0415 - as above
    from dataflows.explaining.subject import read  # noqa: PLC0415 - as above
    from dataflows.explaining.terminal import told  # noqa: PLC0415 - as above
    from dataflows.printable import printable  # noqa: PLC0415 - as above
    from schemas.errors import StoreRefused  # noqa: PLC0415 - as above
    from sinks.clickhouse.migrate import require_current  # noqa: PLC0415 - as above

    if out is not None and out.suffix.lower() != ".svg":
        raise click.BadParameter(f"{out}: pictures are drawn as SVG, so the name ends in .svg", param_hint="--out")
    if out is not None and not out.parent.is_dir():
        raise click.BadParameter(f"there is no directory {out.parent}", param_hint="--out")
    with store_from(config, clickhouse, readonly=True) as store:
        require_current(store)
        subject = read(store, signal_id)
    for line in told(subject, shutil.get_terminal_size((100, 24)).columns):
        click.echo(printable(line))
    if out is None:
        return
    if not subject.points:
        raise StoreRefused(f"nothing is drawn into {out}: of signal {signal_id} no series is kept")
    into_file(out, picture(subject))
    click.echo(f"\n{out}: {len(subject.points):,} windows")
