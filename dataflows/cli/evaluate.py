"""`andon evaluate`: what was found held against what is known to have been broken."""

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dataflows.cli.store import clickhouse_option, config_option

if TYPE_CHECKING:
    from dataflows.evaluation import Found


@click.command()
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@click.option("--truth", required=True, metavar="FILE", help="What was broken: JSON lines (docs/detection.md).")
@click.option(
    "--grace", default="6h", show_default=True, metavar="DURATION", help="How long after its effects something counts."
)
@click.option("--json", "as_json", is_flag=True, help="Verdicts, false incidents and summary as JSON.")
@clickhouse_option
@config_option
def evaluate(
    sources: tuple[str, ...],
    truth: str,
    grace: str,
    clickhouse: str | None,
    config: str | None,
    *,
    as_json: bool,
) -> None:
    """Hold the incidents of the database against the truth; with SOURCE files, those of a replay of them.

    A replay goes into a database of its own that is thrown away. Exit code 0 whatever the figures are.
    """
    from rich.console import Console  # noqa: PLC0415 - `andon --help` loads none of this

    from dataflows.evaluation import judge, read_truth  # noqa: PLC0415 - as above
    from dataflows.evaluation_table import render_report  # noqa: PLC0415 - as above
    from operators.incidents.kinds import KINDS  # noqa: PLC0415 - as above
    from schemas.durations import Duration  # noqa: PLC0415 - as above

    try:
        grace_us = Duration.parse(grace)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--grace") from error
    truths = read_truth(Path(truth))
    for kind in sorted({one.kind for one in truths} - {*KINDS, "none"}):
        click.echo(f'{truth}: kind = "{kind}": no incident is of that kind; there are {", ".join(KINDS)}', err=True)
    if sources and clickhouse is not None:
        raise click.UsageError("give SOURCE files or --clickhouse, not both")
    report = judge(truths, _found(sources, clickhouse, config), grace_us)
    if as_json:
        sys.stdout.write(report.as_json() + "\n")
    else:
        render_report(report, Console(markup=False, width=None if sys.stdout.isatty() else 1_000))


def _found(sources: tuple[str, ...], clickhouse: str | None, config: str | None) -> "list[Found]":
    from dataflows.cli.progress import reading, waits  # noqa: PLC0415 - `andon --help` loads none of this
    from dataflows.cli.store import store_from  # noqa: PLC0415 - as above
    from dataflows.evaluation_table import incidents_of  # noqa: PLC0415 - as above
    from dataflows.job import inputs_of, process_map_of, run_job  # noqa: PLC0415 - as above
    from dataflows.settings import load_settings  # noqa: PLC0415 - as above
    from sinks.clickhouse.migrate import migrate  # noqa: PLC0415 - as above

    with ExitStack() as stack:
        if not sources:
            return incidents_of(stack.enter_context(store_from(config, clickhouse, readonly=True)))
        inputs_of(sources)  # what can't be read is said before a database is made
        dsn = f"chdb://{stack.enter_context(tempfile.TemporaryDirectory(prefix='andon-evaluate-'))}/db"
        settings = load_settings(config, clickhouse=dsn)
        store = stack.enter_context(store_from(config, dsn))
        migrate(store)
        with reading("replaying", sources) as on_progress:
            run_job(settings, process_map_of(settings, None), sources, store, on_progress=on_progress, on_waiting=waits)
        return incidents_of(store)
