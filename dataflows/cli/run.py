"""`andon run`: the job that is left running, over files that grow."""

from pathlib import Path

import click

from dataflows.cli.store import clickhouse_option, config_option


@click.command()
@click.argument("sources", nargs=-1, metavar="[FILE...]")
@click.option("--map", "process_map", metavar="NAME|FILE", help="Process map (default: the settings').")
@click.option("--recovery", metavar="DIR", help="Keep state here, and resume from it.")
@clickhouse_option
@config_option
def run(
    sources: tuple[str, ...],
    process_map: str | None,
    recovery: str | None,
    clickhouse: str | None,
    config: str | None,
) -> None:
    """Follow FILEs of canonical events (or those of `[source] files`) as they grow, until SIGTERM or Ctrl-C.

    A stop ends at a snapshot: with --recovery the next run goes on where this one ended, and nothing is closed early.
    """
    from dataflows.cli.store import store_from  # noqa: PLC0415 - `andon --help` loads none of this
    from dataflows.job import process_map_of, run_job  # noqa: PLC0415 - as above
    from dataflows.settings import load_settings  # noqa: PLC0415 - as above
    from schemas.errors import SettingsError  # noqa: PLC0415 - as above
    from schemas.problems import Problem  # noqa: PLC0415 - as above
    from sinks.clickhouse.migrate import require_current  # noqa: PLC0415 - as above

    settings = load_settings(config, clickhouse=clickhouse, source__files=list(sources) or None)
    if not settings.source.files:
        raise SettingsError([Problem(config or "andon.toml", "source.files", "", "name at least one file to follow")])
    process = process_map_of(settings, None, process_map)
    with store_from(config, clickhouse) as store:
        require_current(store)
        click.echo(f"following {len(settings.source.files)} file(s) into {store.target}", err=True)
        run_job(
            settings,
            process,
            settings.source.files,
            store,
            recovery=Path(recovery) if recovery is not None else None,
            follow=True,
        )
    click.echo("stopped at a snapshot" if recovery is not None else "stopped", err=True)
