"""`andon demo`: a simulated day with three breakdowns, the whole job embedded, and what it found of them."""

import sys
from pathlib import Path

import click


@click.command()
@click.option("--seed", type=int, default=7, show_default=True, help="Another day of the same retailer.")
@click.option(
    "--out",
    type=click.Path(file_okay=False),
    default="demo-out",
    show_default=True,
    help="Events and database.",
)
@click.option("--json", "as_json", is_flag=True, help="Injected and found, as JSON.")
def demo(seed: int, out: str, *, as_json: bool) -> None:
    """Simulate a small retailer's day with three breakdowns in it, run the job over it, show what was found."""
    import shutil  # noqa: PLC0415 - `andon --help` loads none of this

    from rich.console import Console  # noqa: PLC0415 - as above

    from dataflows.cli.progress import reading, share_of, waits  # noqa: PLC0415 - as above
    from dataflows.evaluation import judge, read_truth  # noqa: PLC0415 - as above
    from dataflows.evaluation_table import incidents_of, render_side_by_side  # noqa: PLC0415 - as above
    from dataflows.incident_table import render_incidents  # noqa: PLC0415 - as above
    from dataflows.job import process_map_of, run_job  # noqa: PLC0415 - as above
    from dataflows.settings import load_settings  # noqa: PLC0415 - as above
    from dataflows.summary import render, summarise  # noqa: PLC0415 - as above
    from scenarios.simulate import demo_settings, simulate  # noqa: PLC0415 - as above
    from sinks.clickhouse.migrate import migrate  # noqa: PLC0415 - as above
    from sinks.clickhouse.store import open_store  # noqa: PLC0415 - as above

    folder = Path(out)
    database = folder / "andon.db"
    shutil.rmtree(database, ignore_errors=True)
    events = folder / "events"
    with share_of("simulating a day") as on_progress:
        simulated = simulate(demo_settings(seed), events, on_progress)
    sources = sorted(str(path) for path in events.glob("*.jsonl") if path.name != "truth.jsonl")
    dsn = f"chdb:///{database}" if database.is_absolute() else f"chdb:///./{database}"
    settings = load_settings(None, {}, clickhouse=dsn, stock__currency="EUR")
    with open_store(dsn) as store:
        migrate(store)
        with reading("running the job", sources) as on_progress:
            run_id = run_job(
                settings, process_map_of(settings, None), sources, store, on_progress=on_progress, on_waiting=waits
            )
        summary = summarise(store, run_id)
        truths, incidents = read_truth(events / "truth.jsonl"), incidents_of(store)
        report = judge(truths, incidents)
        if as_json:
            sys.stdout.write(report.as_json() + "\n")
            return
        console = Console()
        render(summary, console)
        render_incidents(store, run_id, console)
    console.print(
        f"\n[bold]A simulated day of {sum(simulated.events.values()):,} events, with breakdowns injected:[/]\n",
        highlight=False,
    )
    render_side_by_side(truths, report, incidents, console)
    console.print(f"\nEverything is in {database}; the events are in {events}.", highlight=False)
