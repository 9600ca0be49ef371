"""`andon replay`: files in, findings out, and a summary that a person understands."""

import sys
from pathlib import Path

import click

from dataflows.cli.store import clickhouse_option, config_option


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "--mapping",
    metavar="NAME|FILE",
    help="How to read other files: a mapping file, or a shipped name such as olist, shopify or epcis.",
)
@click.option(
    "--map",
    "process_map",
    metavar="NAME|FILE",
    help="Process map (default: the mapping's, else the settings').",
)
@click.option(
    "--close-at",
    metavar="TIME|end",
    help="Advance time past the last event; by default what is open stays open.",
)
@click.option("--recovery", metavar="DIR", help="Keep state here, and resume from it.")
@click.option(
    "--fresh", is_flag=True, help="Empty the database's tables first: after a change of mapping or process map."
)
@click.option("--json", "as_json", is_flag=True, help="The summary as JSON.")
@clickhouse_option
@config_option
def replay(
    sources: tuple[str, ...],
    mapping: str | None,
    process_map: str | None,
    close_at: str | None,
    recovery: str | None,
    clickhouse: str | None,
    config: str | None,
    *,
    as_json: bool,
    fresh: bool,
) -> None:
    """Read SOURCE files in the order of their arrival times and write what is found to ClickHouse.

    Without --mapping the files are canonical events, one JSON object a line (.gz too); several are merged. With it
    they are tables that a mapping describes, webhooks of Shopify (shopify) or Saleor (saleor), or EPCIS events (epcis).
    The same files give the same rows, however often and wherever they are replayed.
    """
    import msgspec  # noqa: PLC0415 - `andon --help` loads none of this
    from rich.console import Console  # noqa: PLC0415 - as above

    from dataflows.cli.progress import reading, waits  # noqa: PLC0415 - as above
    from dataflows.cli.store import store_from  # noqa: PLC0415 - as above
    from dataflows.incident_table import render_incidents  # noqa: PLC0415 - as above
    from dataflows.job import inputs_of, process_map_of, run_job  # noqa: PLC0415 - as above
    from dataflows.settings import load_settings  # noqa: PLC0415 - as above
    from dataflows.summary import render, summarise  # noqa: PLC0415 - as above
    from schemas.adapters.tabular import RowCounts  # noqa: PLC0415 - as above
    from schemas.adapters.translations import load_translation  # noqa: PLC0415 - as above
    from schemas.durations import Instant  # noqa: PLC0415 - as above
    from schemas.errors import SettingsError  # noqa: PLC0415 - as above
    from schemas.problems import Problem  # noqa: PLC0415 - as above
    from sinks.clickhouse.migrate import empty, migrate  # noqa: PLC0415 - as above

    settings = load_settings(config, clickhouse=clickhouse)
    table = load_translation(mapping) if mapping is not None else None
    process = process_map_of(settings, table, process_map)
    close_at_us = close_time(close_at)
    if fresh and recovery is not None and Path(recovery).exists():
        expected = f"the state in {recovery} goes on from rows that this would delete; remove that directory too"
        raise SettingsError([Problem("command line", "--fresh", "", expected)])
    with store_from(config, clickhouse) as store:
        inputs_of(sources, table)  # a name that is misspelt empties nothing
        migrate(store)
        if fresh:
            empty(store)
        rows: list[RowCounts] = []
        with reading("replaying", sources) as on_progress:
            run_id = run_job(
                settings,
                process,
                sources,
                store,
                mapping=table,
                recovery=Path(recovery) if recovery is not None else None,
                close_at_us=close_at_us,
                on_progress=on_progress,
                on_rows=rows.append,
                on_waiting=waits,
            )
        summary = msgspec.structs.replace(summarise(store, run_id), rows=rows[0] if rows else None)
        if as_json:
            sys.stdout.write(msgspec.json.encode(summary).decode() + "\n")
        else:
            console = Console()
            render(summary, console)
            render_incidents(store, run_id, console)
    if close_at is not None and summary.arrival_end is not None and close_at_us < Instant.parse(summary.arrival_end):
        words = f"is not later than the last event (until {summary.arrival_end}), and changes nothing"
        click.echo(f"--close-at {close_at}: {words}", err=True)


def close_time(text: str | None) -> int:
    """The value of `--close-at` in microseconds.

    Raises:
        SettingsError: it is no time.
    """
    from schemas.durations import BEGIN_OF_TIME_US, END_OF_TIME_US, Instant  # noqa: PLC0415 - as in replay
    from schemas.errors import SettingsError  # noqa: PLC0415 - as in replay
    from schemas.problems import Problem  # noqa: PLC0415 - as in replay

    if text is None:
        return BEGIN_OF_TIME_US
    if text == "end":
        return END_OF_TIME_US
    try:
        return Instant.parse(text)
    except ValueError:
        raise SettingsError(
            [Problem("command line", "--close-at", text, f'must be "end" or {Instant.ACCEPTS}')]
        ) from None
