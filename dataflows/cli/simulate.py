"""`andon simulate`: a simulated retailer's event log, with breakdowns in it whose truth is known."""

import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import click

from dataflows.cli.numbers import FiniteRange

if TYPE_CHECKING:
    from scenarios.simulate import SimulationResult, SimulationSettings


@click.command()
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory to write to; made where it is missing, files of an earlier run are replaced. "
    "With --kafka it may be left out.",
)
@click.option(
    "--preset",
    type=click.Choice(["small", "forty", "chain"]),
    default=None,
    help="A retailer of 13 nodes, of 40, or of 604 with 5 million events a day.  [default: small]",
)
@click.option("--seed", type=int, default=None, help="The same seed writes the same bytes.  [default: 7]")
@click.option("--start", default=None, metavar="TIME", help="When the log begins.  [default: 2026-03-02]")
@click.option("--stores", type=int, default=None, help="Number of stores.  [default: 12]")
@click.option("--orders", type=int, default=None, help="Online orders a day.  [default: 1200]")
@click.option("--hours", type=FiniteRange(1, 672), default=None, help="Length of the log.  [default: 24]")
@click.option(
    "--breakdown",
    "breakdowns",
    multiple=True,
    metavar="KIND",
    help="Inject this breakdown at its usual time; may be repeated, and adds to those of --config.",
)
@click.option(
    "--hazard",
    "hazards",
    multiple=True,
    metavar="KIND",
    help="Inject this hazard, at which nobody must be alarmed; may be repeated, and adds to those of --config.",
)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TOML file with all settings (docs/scenarios.md); the options above win over it.",
)
@click.option("--kafka", metavar="HOST:PORT", help="Send the log to the topics of this broker, too.")
@click.option(
    "--speed-up",
    type=FiniteRange(0, 1_000_000_000),
    default=60.0,
    show_default=True,
    help="So many seconds of the log are sent to Kafka in one; 0 is as fast as it goes.",
)
@click.option(
    "--timestamps",
    type=click.Choice(["recorded", "now"]),
    default="recorded",
    show_default=True,
    help="The time that Kafka's messages carry: that of the log, or the present.",
)
@click.option("--partitions", type=click.IntRange(0, 10_000), default=0, help="Make topics that are missing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def simulate(
    *,
    out: Path | None,
    kafka: str | None,
    speed_up: float,
    timestamps: Literal["recorded", "now"],
    partitions: int,
    as_json: bool,
    **said: Any,  # noqa: ANN401 - the options that make up the settings
) -> None:
    """Write a simulated retailer's events, one file for each topic, and the truth about its breakdowns."""
    if out is None and kafka is None:
        raise click.UsageError("say where the log goes: --out DIR, --kafka HOST:PORT, or both")
    settings = _settings(**said)
    with ExitStack() as stack:
        folder = out or Path(stack.enter_context(TemporaryDirectory(prefix="andon-simulate-")))
        result = _run(settings, folder, quiet=as_json)
        sent = None
        if kafka is not None:
            sent = _feed(kafka, settings, result, speed_up, timestamps, partitions, quiet=as_json)
        if as_json:
            _print_json(result, sent, kept=out is not None)
        else:
            _print_summary(result, out)
            if sent is not None:
                click.echo(f"{sent:,} messages sent to {kafka}")


def _run(settings: "SimulationSettings", out: Path, *, quiet: bool) -> "SimulationResult":
    from dataflows.cli.progress import share_of  # noqa: PLC0415 - `andon --help` must not wait for it
    from scenarios.simulate import simulate as run  # noqa: PLC0415 - as above
    from schemas.errors import AndonError  # noqa: PLC0415 - as above

    try:
        if quiet:
            return run(settings, out)
        with share_of("simulating") as told:
            return run(settings, out, told)
    except OSError as error:
        raise AndonError(f"can't write to {out}: {error}") from error


def _feed(
    bootstrap: str,
    settings: "SimulationSettings",
    result: "SimulationResult",
    speed_up: float,
    timestamps: Literal["recorded", "now"],
    partitions: int,
    *,
    quiet: bool,
) -> int:
    from dataflows.cli.progress import share_of  # noqa: PLC0415 - `andon --help` must not wait for it
    from dataflows.kafka.feeding import Feed  # noqa: PLC0415 - as above
    from dataflows.settings import KafkaSettings  # noqa: PLC0415 - as above

    files = {name: path for name, path in result.files.items() if name != "truth"}
    feed = Feed(KafkaSettings(bootstrap=bootstrap), files, speed_up=speed_up, timestamps=timestamps)
    feed.make_topics(partitions)
    span = (int(settings.start), settings.end)
    if quiet:
        return feed.run(span)
    with share_of(f"sending to {bootstrap}") as told:
        return feed.run(span, told)


def _settings(
    *,
    preset: str | None,
    seed: int | None,
    start: str | None,
    stores: int | None,
    orders: int | None,
    hours: float | None,
    breakdowns: tuple[str, ...],
    hazards: tuple[str, ...],
    config: Path | None,
) -> "SimulationSettings":
    """The settings of the preset or the file, if there is one, with what was said on the command line on top."""
    import msgspec  # noqa: PLC0415 - `andon --help` must not wait for it

    from scenarios.settings import PRESETS, BreakdownSpec, read_settings  # noqa: PLC0415 - as above
    from schemas.durations import HOUR_US, Duration, Instant  # noqa: PLC0415 - as above
    from schemas.errors import SourceError  # noqa: PLC0415 - as above

    settings = PRESETS[preset or "small"]
    if config is not None:
        try:
            settings = read_settings(config.read_text(encoding="utf-8"), str(config), settings)
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError(f"can't read {config}: {error}") from error
    try:
        began = None if start is None else Instant.parse(start)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--start") from None
    said = {
        "seed": seed,
        "start": began,
        "stores": stores,
        "orders_per_day": orders,
        "duration": None if hours is None else Duration(round(hours * HOUR_US)),
    }
    return msgspec.structs.replace(
        settings,
        **{key: value for key, value in said.items() if value is not None},
        breakdowns=settings.breakdowns + tuple(BreakdownSpec(kind=kind) for kind in breakdowns),
        hazards=settings.hazards + tuple(BreakdownSpec(kind=kind) for kind in hazards),
    )


def _print_json(result: "SimulationResult", sent: int | None, *, kept: bool) -> None:
    import msgspec  # noqa: PLC0415 - `andon --help` must not wait for it

    document = {
        "events": result.events,
        "files": {name: str(path) for name, path in result.files.items()} if kept else {},
        "truth": result.truth,
        "seconds": round(result.seconds, 3),
        **({} if sent is None else {"sent": sent}),
    }
    click.echo(msgspec.json.encode(document).decode())


def _print_summary(result: "SimulationResult", out: Path | None) -> None:
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - `andon --help` must not wait for it
    from rich.console import Console  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415 - as above

    total = sum(result.events.values())
    where = "" if out is None else f", in {out}: {', '.join(result.events)} (.jsonl)"
    click.echo(f"{total:,} events in {result.seconds:.1f} s{where}")
    for hazard in {hazard: None for record in result.truth for hazard in record.hazards}:
        click.echo(f"hazard {hazard.kind}, {hazard.begin} to {hazard.end}: nothing is broken by it")
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
    if out is not None:
        click.echo(f"the truth is in {out / 'truth.jsonl'}")
