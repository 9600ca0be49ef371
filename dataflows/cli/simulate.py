"""`andon simulate`: a simulated retailer's event log, with breakdowns in it whose truth is known."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from scenarios.simulate import SimulationResult, SimulationSettings


@click.command()
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory to write to; made where it is missing, files of an earlier run are replaced.",
)
@click.option("--seed", type=int, default=None, help="The same seed writes the same bytes.  [default: 7]")
@click.option("--stores", type=int, default=None, help="Number of stores.  [default: 12]")
@click.option("--orders", type=int, default=None, help="Online orders a day.  [default: 1200]")
@click.option("--hours", type=click.FloatRange(1, 336), default=None, help="Length of the log.  [default: 24]")
@click.option(
    "--breakdown",
    "kinds",
    multiple=True,
    metavar="KIND",
    help="Inject this breakdown at its usual time; may be repeated, and adds to those of --config.",
)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TOML file with all settings (docs/scenarios.md); the options above win over it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def simulate(
    out: Path,
    seed: int | None,
    stores: int | None,
    orders: int | None,
    hours: float | None,
    kinds: tuple[str, ...],
    config: Path | None,
    *,
    as_json: bool,
) -> None:
    """Write a simulated retailer's events, one file for each topic, and the truth about its breakdowns."""
    from rich.console import Console  # noqa: PLC0415 - `andon --help` must not wait for it
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415 - as above

    from scenarios.simulate import simulate as run  # noqa: PLC0415 - as above
    from schemas.errors import AndonError  # noqa: PLC0415 - as above

    settings = _settings(seed=seed, stores=stores, orders=orders, hours=hours, kinds=kinds, config=config)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=Console(stderr=True), transient=True, disable=as_json or not sys.stderr.isatty()
    ) as bar:
        task = bar.add_task("simulating", total=1.0)
        try:
            result = run(settings, out, lambda share: bar.update(task, completed=share))
        except OSError as error:
            raise AndonError(f"can't write to {out}: {error}") from error
    if as_json:
        _print_json(result)
    else:
        _print_summary(result, out)


def _settings(
    *,
    seed: int | None,
    stores: int | None,
    orders: int | None,
    hours: float | None,
    kinds: tuple[str, ...],
    config: Path | None,
) -> "SimulationSettings":
    """The settings of the file, if there is one, with what was said on the command line on top."""
    import msgspec  # noqa: PLC0415 - `andon --help` must not wait for it

    from scenarios.settings import BreakdownSpec, SimulationSettings, read_settings  # noqa: PLC0415 - as above
    from schemas.durations import HOUR_US, Duration  # noqa: PLC0415 - as above
    from schemas.errors import SourceError  # noqa: PLC0415 - as above

    settings = SimulationSettings()
    if config is not None:
        try:
            settings = read_settings(config.read_text(encoding="utf-8"), str(config))
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError(f"can't read {config}: {error}") from error
    said = {
        "seed": seed,
        "stores": stores,
        "orders_per_day": orders,
        "duration": None if hours is None else Duration(round(hours * HOUR_US)),
    }
    added = tuple(BreakdownSpec(kind=kind) for kind in kinds)
    given = {key: value for key, value in said.items() if value is not None}
    return msgspec.structs.replace(settings, **given, breakdowns=settings.breakdowns + added)


def _print_json(result: "SimulationResult") -> None:
    import msgspec  # noqa: PLC0415 - `andon --help` must not wait for it

    document = {
        "events": result.events,
        "files": {name: str(path) for name, path in result.files.items()},
        "truth": result.truth,
        "seconds": round(result.seconds, 3),
    }
    click.echo(msgspec.json.encode(document).decode())


def _print_summary(result: "SimulationResult", out: Path) -> None:
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - `andon --help` must not wait for it
    from rich.console import Console  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415 - as above

    total = sum(result.events.values())
    click.echo(f"{total:,} events in {result.seconds:.1f} s, in {out}: {', '.join(result.events)} (.jsonl)")
    broken = [record for record in result.truth if record.kind != "none"]
    if not broken:
        click.echo("nothing was injected: a clean run")
        return
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 1_000)
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False)
    for name in ("injected", "where", "begin", "end"):
        table.add_column(name)
    for name in ("orders", "at risk"):
        table.add_column(name, justify="right")
    table.add_column("what followed")
    for record in broken:
        where = ", ".join(
            value if isinstance(value, str) else f"{len(value)} {key}s" for key, value in record.scope.items()
        )
        followed = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in record.effects.items())
        money = f"{record.value_at_risk} {record.currency}"
        table.add_row(
            record.kind,
            where,
            record.begin,
            record.end,
            f"{len(record.orders):,}",
            money,
            followed or "nothing",
        )
    console.print(table)
    click.echo(f"the truth is in {out / 'truth.jsonl'}")
