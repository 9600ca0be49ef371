"""`andon status`: what a running job is doing, for a person, live on a terminal."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import click
import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from dataflows.cli.store import config_option
from dataflows.status import Answer, ProcessStatus, Readings, Series, ask_all, is_well, together, url_of
from schemas import metrics
from schemas.durations import SECOND_US, people_duration
from schemas.metric import Metric

_EVERY_S = 1.0
_WIDE = 160
_MOST_TOPICS, _MOST_LANES, _MOST_PARTITIONS, _MOST_TYPES = 12, 8, 3, 5
_NONE = "\N{EN DASH}"
_GAP = " · "


@click.command()
@click.option("--url", "urls", multiple=True, metavar="URL", help="A process to ask; may be repeated.")
@click.option("--watch/--once", "live", default=None, help="Draw it again each second; the default on a terminal.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object; with --watch, one a line each second.")
@config_option
def status(urls: tuple[str, ...], config: str | None, *, live: bool | None, as_json: bool) -> None:
    """Show how a running job is, how far it has come, and what it writes, loses and keeps.

    Asks every process named with --url (http://HOST:PORT or HOST:PORT), by default the one that the settings say
    (`observe.listen`). docs/metrics.md says what each figure means and what to do when it moves.

    Exit code 0: every process is healthy and ready; 1: one is not, or can't be reached.
    """
    places = _places(urls, config)
    console = Console(highlight=False)
    if live if live is not None else console.is_terminal and not as_json:
        answers = watch(lambda: ask_all(places), console, as_json=as_json)
    else:
        answers = ask_all(places)
        if as_json or any(one.status is not None for one in answers):
            _tell(answers, console, as_json=as_json)
    silent = [one for one in answers if one.status is None]
    for one in silent:
        click.echo(f"{one.url} {one.error}", err=True)
    if silent:
        where = "`observe.listen` in its settings says where it answers, --url names another place"
        click.echo(f"is `andon run` running there? {where}", err=True)
    if not is_well(answers):
        raise click.exceptions.Exit(1)


def _places(urls: Sequence[str], config: str | None) -> list[str]:
    """The URLs to ask."""
    named = urls
    if not named:
        from dataflows.settings import load_settings  # noqa: PLC0415 - not needed where --url says it all

        named = [load_settings(config).observe.listen]
    places = []
    for text in named:
        try:
            places.append(url_of(text))
        except ValueError as error:
            raise click.BadParameter(f"{text}: {error}", param_hint="--url" if urls else "observe.listen") from None
    return places


def _tell(answers: Sequence[Answer], console: Console, *, as_json: bool) -> None:
    """Print answers once; where output goes to a file or a pipe, wide enough for most."""
    if as_json:
        click.echo(msgspec.json.encode({"well": is_well(answers), "processes": answers}).decode())
    else:
        if not console.is_terminal:
            console.width = max(console.width, _WIDE)
        console.print(board(answers))


def watch(
    ask: Callable[[], Sequence[Answer]],
    console: Console,
    *,
    as_json: bool = False,
    pause: Callable[[float], None] = time.sleep,
) -> Sequence[Answer]:
    """Ask and draw each second until Ctrl-C, on a terminal in place, else one below the other; the last answers."""
    answers: Sequence[Answer] = ()
    try:
        if as_json or not console.is_terminal:
            while True:
                answers = ask()
                _tell(answers, console, as_json=as_json)
                sys.stdout.flush()
                pause(_EVERY_S)
        with Live(console=console, auto_refresh=False) as drawn:
            while True:
                answers = ask()
                drawn.update(board(answers), refresh=True)
                pause(_EVERY_S)
    except KeyboardInterrupt:
        return answers or ask()


# --- the board ------------------------------------------------------------------------------------------------------


def board(answers: Sequence[Answer]) -> RenderableType:
    """All that a person sees: each process, then the whole job."""
    parts: list[RenderableType] = [_process(one) for one in answers]
    statuses = [one.status for one in answers if one.status is not None]
    if statuses:
        readings = together(statuses)
        parts += [part for section in _SECTIONS for part in section(readings)]
    return Group(*parts)


def _process(answer: Answer) -> Text:
    """How one process is, and why."""
    found = answer.status
    if found is None:
        return Text(f"{answer.url}  ").append("NOT REACHED", "bold red").append(f"\n  {answer.error}", "red")
    words, style = _state(found)
    up = people_duration(int(found.uptime_s) * SECOND_US)
    line = Text(f"process {found.process}  {answer.url}  andon {found.version}  up {up}  ").append(
        words, f"bold {style}"
    )
    for condition in found.conditions:
        if not condition.ok:
            since = _time(condition.since_s) if condition.name != "progress" else ""
            line.append(f"\n  {condition.name}: {condition.why or 'fails'}", style)
            line.append(f" (for {since})" if since else "", style)
    return line


def _state(found: ProcessStatus) -> tuple[str, str]:
    if not found.alive:
        return "STALLED", "red"
    if not found.healthy:
        return "NOT HEALTHY", "red"
    return ("ready", "green") if found.ready else ("NOT READY", "yellow")


def _input(readings: Readings) -> Iterator[RenderableType]:
    """What comes in, and how far behind the end of the log it is processed."""
    events = sorted(readings[metrics.EVENTS.name], key=lambda one: (-(one.per_second or 0), one.labels["type"]))
    missing = sorted(one.labels["topic"] for one in readings[metrics.TOPIC_MISSING.name])
    busiest = [f"{one.labels['type']} {_rate(one.per_second)}" for one in events[:_MOST_TYPES] if one.per_second]
    yield _heading(
        "Input",
        f"{_rate(_rates(readings, metrics.MESSAGES))} messages/s",
        f"{_rate(_rates(readings, metrics.EVENTS))} events/s",
        *([f"most: {', '.join(busiest)}"] if busiest else []),
        *([f"no such topic: {', '.join(missing)}"] if missing else []),
    )
    lags = _by(readings[metrics.LAG_MESSAGES.name], "topic")
    ages = _by(readings[metrics.LAG_SECONDS.name], "topic")
    rates = {one.labels["topic"]: one.per_second for one in readings[metrics.MESSAGES.name]}
    topics = sorted(set(lags) | set(rates), key=lambda topic: (-_sum(lags.get(topic, ())), topic))
    rows = []
    for topic in topics:
        worst = sorted(lags.get(topic, ()), key=lambda one: (-(one.value or 0), one.labels["partition"]))
        age_of = {one.labels["partition"]: one.value for one in ages.get(topic, ())}
        behind = [
            f"{one.labels['partition']}: {_count(one.value)} ({_time(age_of.get(one.labels['partition']))})"
            for one in worst[:_MOST_PARTITIONS]
            if one.value
        ]
        lag = _count(_sum(worst)) if worst else _NONE
        oldest = _time(max((age or 0.0 for age in age_of.values()), default=None))
        rows.append((topic, _rate(rates.get(topic)), lag, oldest, ", ".join(behind)))
    yield from _table(("topic", "messages/s", "lag", "oldest", "furthest behind"), rows, _MOST_TOPICS, "topics", last=1)


def _lanes(readings: Readings) -> Iterator[RenderableType]:
    """How far each lane's watermark is, and what holds it back."""
    ages = {one.labels["lane"]: one.value for one in readings[metrics.WATERMARK_AGE.name]}
    up = {one.labels["lane"]: one.value for one in readings[metrics.SOURCE_UP.name]}
    ahead = {one.labels["lane"]: one.value for one in readings[metrics.BUFFERED.name]}
    paused = {one.labels["lane"]: one.value for one in readings[metrics.SOURCE_PAUSED.name]}
    held = _by([one for one in readings[metrics.HELD_BACK_BY.name] if one.value], "lane")
    rows = []
    for lane in sorted(set(ages) | set(up), key=lambda lane: (-(ages.get(lane) or 0.0), lane)):
        by = [f"{one.labels['topic']}/{one.labels['partition']}" for one in held.get(lane, ())]
        shown = ", ".join(by[:_MOST_PARTITIONS]) + (f" and {len(by) - 3} more" if len(by) > _MOST_PARTITIONS else "")
        source = _NONE if lane not in up else "up" if up[lane] else "away"
        rows.append((lane, _time(ages.get(lane)), _count(ahead.get(lane)), _count(paused.get(lane)), source, shown))
    if rows:
        furthest = max((age or 0.0 for age in ages.values()), default=None)
        yield _heading("Lanes", f"watermark {_time(furthest)} behind the clock")
    columns = ("lane", "watermark\nage", "read\nahead", "paused", "source", "held back by")
    yield from _table(columns, rows, _MOST_LANES, "lanes", last=2)


def _output(readings: Readings) -> Iterator[RenderableType]:
    """What is written, and how long after its cause it can be seen."""
    store = [one.value for one in readings[metrics.STORE_UP.name]]
    yield _heading(
        "Output",
        f"{_rate(_rates(readings, metrics.ROWS_WRITTEN))} rows/s",
        f"{_count(_sum(readings[metrics.WRITE_RETRIES.name]))} retries",
        *(["ClickHouse up" if all(store) else "ClickHouse AWAY"] if store else []),
    )
    inserts = {one.labels["table"]: one for one in readings[metrics.INSERT_SECONDS.name]}
    late = {one.labels["table"]: one for one in readings[metrics.END_TO_END.name]}
    rows = []
    for one in sorted(readings[metrics.ROWS_WRITTEN.name], key=lambda one: one.labels["table"]):
        table = one.labels["table"]
        seen, sent = late.get(table), inserts.get(table)
        end_to_end = [
            _quantile(metrics.END_TO_END, value) for value in ((seen.p50, seen.p95, seen.p99) if seen else ())
        ]
        insert = _quantile(metrics.INSERT_SECONDS, sent.p95 if sent else None)
        rows.append((table, _rate(one.per_second), _count(one.value), insert, *(end_to_end or [_NONE] * 3)))
    columns = ("table", "rows/s", "rows", "insert\np95", "end to\nend p50", "\np95", "\np99")
    yield from _table(columns, rows, len(rows), "tables")


def _losses(readings: Readings) -> Iterator[RenderableType]:
    """What does not go through."""
    ratio = max((one.value or 0.0 for one in readings[metrics.DEAD_LETTER_RATIO.name]), default=0.0)
    refused = [one for one in readings[metrics.ROWS_REFUSED.name] if one.value]
    late = [one for one in readings[metrics.LATE_EVENTS.name] if one.value]
    withheld = _sum(readings[metrics.WITHHELD.name])
    yield _heading(
        "Not through",
        f"{_listed(readings[metrics.DEAD_LETTERS.name], 'reason', 'dead letters')}, {ratio:.2%} lately",
        _listed(late, "stage", "late"),
        f"{_count(_sum(readings[metrics.DUPLICATES.name]))} duplicates",
        *([_listed(refused, "table", "rows refused")] if refused else []),
        *([f"{_count(withheld)} sequence findings withheld (a wrong clock)"] if withheld else []),
    )


def _state_kept(readings: Readings) -> Iterator[RenderableType]:
    """Epochs, snapshots, and what operators keep."""
    epoch, snapshot = readings[metrics.EPOCH_SECONDS.name], readings[metrics.SNAPSHOT_SECONDS.name]
    size = readings[metrics.SNAPSHOT_BYTES.name]
    yield _heading(
        "Epochs",
        *(
            f"{what} {_spread(metric, one)}"
            for what, metric, found in (
                ("epoch", metrics.EPOCH_SECONDS, epoch),
                ("snapshot", metrics.SNAPSHOT_SECONDS, snapshot),
            )
            for one in found
            if one.count
        ),
        *([_bytes(_sum(size))] if size else []),
    )
    entries = _by(readings[metrics.STATE_ENTRIES.name], "operator")
    parts = [
        f"{operator}: " + ", ".join(f"{_count(one.value)} {one.labels['what'].replace('_', ' ')}" for one in kept)
        for operator, kept in sorted(entries.items())
    ]
    if parts:
        yield _heading("State", *parts)


_SECTIONS: tuple[Callable[[Readings], Iterable[RenderableType]], ...] = (
    _input,
    _lanes,
    _output,
    _losses,
    _state_kept,
)


# --- how things are written -----------------------------------------------------------------------------------------


def _heading(name: str, *facts: str) -> RenderableType:
    return Text("\n").append(f"{name}  ", "bold").append(_GAP.join(facts) or _NONE)


def _table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], most: int, what: str, last: int = 0
) -> Iterator[RenderableType]:
    """A table of at most `most` rows; the first column and the last `last` hold words, the others numbers."""
    if not rows:
        return
    table = Table(box=SIMPLE_HEAD, header_style="dim", pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    for index, name in enumerate(columns):
        is_words = index == 0 or index >= len(columns) - last
        wraps = bool(index) and is_words
        width = 0 if wraps else max(*map(len, name.split("\n")), *(len(row[index]) for row in rows[:most]), 0)
        justify: JustifyMethod = "left" if is_words else "right"
        table.add_column(name, justify=justify, no_wrap=not wraps, min_width=width)
    for row in rows[:most]:
        table.add_row(*map(Text, row))
    yield Padding(table, (0, 0, 0, 2), expand=False)
    if len(rows) > most:
        yield Text(f"  and {len(rows) - most} more {what}", "dim")


def _by(series: Iterable[Series], label: str) -> dict[str, list[Series]]:
    out: dict[str, list[Series]] = {}
    for one in series:
        out.setdefault(one.labels[label], []).append(one)
    return out


def _sum(series: Iterable[Series]) -> float:
    return sum(one.value or 0.0 for one in series)


def _rates(readings: Readings, metric: Metric) -> float:
    return sum(one.per_second or 0.0 for one in readings[metric.name])


def _listed(series: Sequence[Series], label: str, what: str) -> str:
    """`12 dead letters: rule 2, schema 10`."""
    parts = [f"{one.labels[label]} {_count(one.value)}" for one in sorted(series, key=lambda one: one.labels[label])]
    return f"{_count(_sum(series))} {what}" + (f": {', '.join(parts)}" if parts else "")


def _spread(metric: Metric, one: Series) -> str:
    """`10.2 s (p95 12 s)`."""
    lately = f" (p95 {_quantile(metric, one.p95)})" if one.p95 is not None else ""
    return _time(one.last) + lately


def _quantile(metric: Metric, seconds: float | None) -> str:
    """A quantile; what lies beyond the largest bucket is only known to be more."""
    return f"> {_time(seconds)}" if seconds is not None and seconds >= metric.buckets[-1] else _time(seconds)


def _count(number: float | None) -> str:
    return _NONE if number is None else f"{number:,.0f}"


def _rate(number: float | None) -> str:
    if number is None:
        return _NONE
    return f"{number:,.0f}" if number >= 100 or number == 0 else f"{number:.1f}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return _NONE
    return f"{seconds * 1_000:.3g} ms" if 0 < seconds < 1 else people_duration(seconds * SECOND_US)


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1_000:
            return f"{size:.3g} {unit}"
        size /= 1_000
    return f"{size:,.3g} GB"
