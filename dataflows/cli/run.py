"""`andon run`: the job that is left running."""

import click

from dataflows.cli.store import clickhouse_option, config_option


@click.command()
@click.argument("sources", nargs=-1, metavar="[FILE...]")
@click.option("--map", "process_map", metavar="NAME|FILE", help="Process map (default: the settings').")
@click.option("--recovery", metavar="DIR", help="Keep state here, and resume from it.")
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    help="Run as so many processes on this machine (on several: engine.processes).",
)
@click.option(
    "--on-expired",
    type=click.Choice(["stop", "earliest"]),
    help="When messages have expired unread: stop (the default), or go on with the earliest that is left.",
)
@clickhouse_option
@config_option
def run(
    sources: tuple[str, ...],
    process_map: str | None,
    recovery: str | None,
    processes: int | None,
    on_expired: str | None,
    clickhouse: str | None,
    config: str | None,
) -> None:
    """Read the Kafka topics of the settings (or follow FILEs as they grow) until SIGTERM or Ctrl-C.

    A stop ends at a snapshot: with --recovery the next run goes on where this one ended, and nothing is closed early.
    Killed, or cut off from broker or database, it loses nothing and counts nothing twice. `andon status` shows it.
    """
    from dataflows.memory import settle_allocator  # noqa: PLC0415 - `andon --help` loads none of this

    settle_allocator()  # before what is loaded next starts threads
    from dataflows.job import process_map_of  # noqa: PLC0415 - as above
    from dataflows.live import run_live  # noqa: PLC0415 - as above
    from dataflows.logs import setup  # noqa: PLC0415 - as above
    from dataflows.processes import run_processes  # noqa: PLC0415 - as above
    from dataflows.settings import load_settings  # noqa: PLC0415 - as above
    from schemas.errors import Stopped  # noqa: PLC0415 - as above

    alone = processes == 1
    settings = load_settings(
        config,
        clickhouse=clickhouse,
        engine__recovery=recovery,
        engine__processes=[] if alone else None,
        engine__process=0 if alone else None,
        kafka__on_expired=on_expired,
        source__files=list(sources) or None,
    )
    setup(settings.observe.log, settings.observe.level)
    process = process_map_of(settings, None, process_map)
    if processes is not None and processes > 1:
        options = {"--map": process_map, "--recovery": recovery, "--on-expired": on_expired}
        options |= {"--clickhouse": clickhouse, "--config": config}
        given = [text for name, value in options.items() if value is not None for text in (name, value)]
        run_processes(["run", *given, *sources], settings, processes)
        return
    try:
        run_live(settings, process)
    except Stopped as stopped:
        click.echo(str(stopped), err=True)
