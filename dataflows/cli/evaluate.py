"""`andon evaluate`: what was found held against what is known to have been broken."""

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dataflows.cli.store import clickhouse_option, config_option

if TYPE_CHECKING:
    from dataflows.evaluation import Found, Report
    from sinks.clickhouse.store import Store

_INCIDENTS = """
SELECT incident_id, kind, scope, toUnixTimestamp64Micro(opened_at), toUnixTimestamp64Micro(found_at),
    toUnixTimestamp64Micro(closed_at), value_at_risk, summary, orders, cases
FROM incidents
LEFT JOIN (
    SELECT incident_id, groupArray(order_id) AS orders, groupArrayIf(case_id, case_id != '') AS cases
    FROM incident_orders GROUP BY incident_id
) AS named USING (incident_id)
WHERE signals > 0 -- one that was merged into another has none left
ORDER BY found_at, incident_id
"""


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
    import msgspec  # noqa: PLC0415 - `andon --help` loads none of this

    from dataflows.evaluation import judge, read_truth  # noqa: PLC0415 - as above
    from schemas.durations import Duration  # noqa: PLC0415 - as above

    try:
        grace_us = Duration.parse(grace)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--grace") from error
    truths = read_truth(Path(truth))
    if sources and clickhouse is not None:
        raise click.UsageError("give SOURCE files or --clickhouse, not both")
    report = judge(truths, _found(sources, clickhouse, config), grace_us)
    if as_json:
        body = {"summary": report.summary(), "verdicts": report.verdicts, "false": report.false}
        sys.stdout.write(msgspec.json.encode(body).decode() + "\n")
    else:
        _show(report)


def _found(sources: tuple[str, ...], clickhouse: str | None, config: str | None) -> "list[Found]":
    from dataflows.cli.progress import reading  # noqa: PLC0415 - `andon --help` loads none of this
    from dataflows.cli.store import store_from  # noqa: PLC0415 - as above
    from dataflows.job import process_map_of, run_job  # noqa: PLC0415 - as above
    from dataflows.settings import load_settings  # noqa: PLC0415 - as above
    from sinks.clickhouse.migrate import migrate  # noqa: PLC0415 - as above

    with ExitStack() as stack:
        if not sources:
            return incidents_of(stack.enter_context(store_from(config, clickhouse, readonly=True)))
        dsn = f"chdb://{stack.enter_context(tempfile.TemporaryDirectory(prefix='andon-evaluate-'))}/db"
        settings = load_settings(config, clickhouse=dsn)
        store = stack.enter_context(store_from(config, dsn))
        migrate(store)
        with reading("replaying", sources) as on_progress:
            run_job(settings, process_map_of(settings, None), sources, store, on_progress=on_progress)
        return incidents_of(store)


def incidents_of(store: "Store") -> "list[Found]":
    """The incidents of a database, with their orders."""
    from dataflows.evaluation import Found  # noqa: PLC0415 - as above

    return [
        Found(
            incident_id=row[0],
            kind=row[1],
            scope=dict(row[2]),
            opened_us=row[3],
            found_us=row[4],
            closed_us=row[5],
            value=row[6],
            summary=row[7],
            orders=frozenset(row[8]),
            cases=frozenset(row[9]),
        )
        for row in store.query(_INCIDENTS).rows
    ]


def _show(report: "Report") -> None:
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - as above
    from rich.console import Console  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415 - as above

    from schemas.durations import SECOND_US, people_duration, people_time  # noqa: PLC0415 - as above

    console = Console()
    table = Table(box=SIMPLE_HEAD)
    for name in ("breakdown", "said to be", "found after", "scope", "orders", "recall", "precision", "incidents"):
        table.add_column(name, justify="right" if name in ("orders", "recall", "precision", "incidents") else "left")
    for verdict in report.verdicts:
        after = "" if verdict.detection_s is None else people_duration(round(verdict.detection_s) * SECOND_US)
        table.add_row(
            verdict.breakdown_id,
            verdict.said_kind or "not found",
            after,
            "" if not verdict.found else "right" if verdict.right_scope else "other",
            str(verdict.orders),
            _share(verdict.recall),
            _share(verdict.precision),
            str(verdict.incidents),
        )
    console.print(table)
    for found in report.false:
        where = ", ".join(f"{name} {value}" for name, value in sorted(found.scope.items()))
        console.print(f"belongs to nothing: {found.kind} ({where}), {people_time(found.found_us)}: {found.summary}")
    for name, value in report.summary().items():
        shown = "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
        console.print(f"{name.replace('_', ' '):<24} {shown}")


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"
