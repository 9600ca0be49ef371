"""`andon score`: judge series in files, strictly online, with the model that judges windows in the job."""

import csv
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from zipfile import BadZipFile, is_zipfile

import click

from dataflows.cli.numbers import FiniteRange

if TYPE_CHECKING:
    from operators.anomaly.score import Score

COLUMNS = ("anomaly_score", "expected", "lower", "upper", "confidence", "kind", "is_alarm")
_SUFFIXES = (".csv", ".npz")
_LARGEST = 1e30
_LONGEST_WORDS = 200
_YEAR_10000_S = 253_402_300_800


class Summary(NamedTuple):
    """What came of one file; `backward` points are not later than one before them, `told` says so in words."""

    series: str
    points: int
    missing: int
    alarms: int
    highest: float
    backward: int
    told: str


@click.command()
@click.argument("series", nargs=-1, required=True, metavar="SERIES...", type=click.Path(exists=True, path_type=Path))
@click.option("--out", required=True, metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--alarms-per-week", type=FiniteRange(min=0, max=10_080, min_open=True), default=1.0, show_default=True)
@click.option("--direction", type=click.Choice(["both", "up", "down"]), default="both", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The summary as JSON.")
def score(series: tuple[Path, ...], out: Path, alarms_per_week: float, direction: str, *, as_json: bool) -> None:
    """Score SERIES (files, or folders of them) and write the results to DIR, in the same places.

    A CSV has columns timestamp and value, and comes out with its columns and anomaly_score, expected, lower, upper,
    confidence, kind and is_alarm; an NPZ has timestamp_s and value, and NAME.npy comes out with the scores. Times
    without a zone are UTC, numbers are seconds since 1970. A point is judged before it is learnt; a missing value
    (empty or NaN) gets no score. Points are judged in the order in which they stand; one whose time is not later than
    all before it is told, and judged as if it came a step later. What lies in DIR is no series, and no series is
    replaced by its result.
    """
    from dataflows.cli.progress import share_of  # noqa: PLC0415 - `andon --help` loads none of this

    files = _files(series, out)
    summaries = []
    with share_of("scoring") as told:
        for number, (source, place) in enumerate(files):
            told(number / len(files))
            target = out / place
            target.parent.mkdir(parents=True, exist_ok=True)
            judge = _csv if source.suffix.lower() == ".csv" else _npz
            summaries.append(judge(source, target, str(place), alarms_per_week, direction))
    for one in summaries:
        if one.told:
            click.echo(one.told, err=True)
    if as_json:
        shown = [{name: value for name, value in one._asdict().items() if name != "told"} for one in summaries]
        sys.stdout.write(json.dumps(shown) + "\n")
        return
    width = max(len(summary.series) for summary in summaries)
    for one in summaries:
        words = f"{one.points:8d} points  {one.alarms:4d} alarms  highest {one.highest:7.2f}"
        click.echo(f"{one.series.ljust(width)}  {words}" + (f"  {one.missing} missing" if one.missing else ""))


def _files(series: Sequence[Path], out: Path) -> list[tuple[Path, Path]]:
    """Every file to score, and where its result goes below DIR. What an earlier run wrote to DIR is no series.

    Raises:
        SourceError: there is nothing to score, or a result would replace another one or its own series.
    """
    from schemas.errors import SourceError  # noqa: PLC0415 - `andon --help` loads none of this

    found: dict[Path, Path] = {}
    for one in series:
        inside = _inside(one, out) if one.is_dir() else [one]
        if not inside:
            raise SourceError(f"{one}: there is no .csv or .npz file in it")
        for path in inside:
            if path.suffix.lower() not in _SUFFIXES:
                raise SourceError(f"{path}: must be .csv or .npz")
            place = path.relative_to(one) if one.is_dir() else Path(path.name)
            if path.suffix.lower() == ".csv" and path.resolve() == (out / place).resolve():
                raise SourceError(
                    f"{path} would be replaced by its own result: --out must be another folder than {out}"
                )
            if place in found:
                raise SourceError(f"{path} and {found[place]} would both be written to {place}")
            found[place] = path
    return [(path, place) for place, path in found.items()]


def _inside(folder: Path, out: Path) -> list[Path]:
    below = out.resolve()
    results = below if folder.resolve() in below.parents else None
    found = (path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())
    return sorted(path for path in found if results is None or not path.resolve().is_relative_to(results))


def judged(
    points: Sequence[tuple[int, float, int]], alarms_per_week: float, direction: str
) -> "Iterator[Score | None]":
    """Scores of points (time and offset from UTC in microseconds), None where the value is missing."""
    from operators.anomaly.detector import SeriesDetector  # noqa: PLC0415 - `andon --help` loads none of this

    detector = SeriesDetector(alarms_per_week)
    for at_us, value, offset_us in points:
        if math.isfinite(value):
            yield detector.score(at_us, value, direction, offset_us=offset_us)  # type: ignore[arg-type] # a Choice
        else:
            yield None


class Table(NamedTuple):
    """A CSV: its columns, its rows (cells that one lacks at its end are empty), the points in them and their lines."""

    head: list[str]
    rows: list[list[str]]
    points: list[tuple[int, float, int]]
    lines: list[int]


def read_csv(source: Path) -> Table:
    """Read a series.

    Raises:
        SourceError: a column is missing, or a cell is no time or no number.
    """
    from schemas.errors import SourceError  # noqa: PLC0415 - `andon --help` loads none of this

    rows: list[list[str]] = []
    points: list[tuple[int, float, int]] = []
    numbers: list[int] = []
    with source.open(newline="", encoding="utf-8-sig") as lines:
        reader = csv.reader(lines)
        try:
            head = next(reader, [])
            for column in ("timestamp", "value"):
                if column not in head:
                    hint = "; columns are parted by commas" if len(head) == 1 and set(head[0]) & set(";\t|") else ""
                    columns = _short(", ".join(head))
                    raise SourceError(f"{source}: there is no column {column!r} in its first line ({columns}){hint}")
            when, what = head.index("timestamp"), head.index("value")
            for cells in filter(None, reader):  # a blank line is no row
                row = cells + [""] * (len(head) - len(cells))
                at_us, offset_us = _time(row[when])
                points.append((at_us, _value(row[what]), offset_us))
                rows.append(row)
                numbers.append(reader.line_num)
        except UnicodeDecodeError as error:
            raise SourceError(f"{source}: must be UTF-8: {error}") from None
        except (ValueError, csv.Error) as error:
            raise SourceError(f"{source}, line {reader.line_num}: {_short(str(error))}") from None
    return Table(head, rows, points, numbers)


def backward(points: Sequence[tuple[int, float, int]]) -> list[tuple[int, int]]:
    """Which points that are scored are not later than one before them, each beside the latest one before it."""
    found: list[tuple[int, int]] = []
    latest = -1
    for place, (at_us, value, _) in enumerate(points):
        if not math.isfinite(value):
            continue
        if latest >= 0 and at_us <= points[latest][0]:
            found.append((place, latest))
        else:
            latest = place
    return found


def _told(source: Path, points: Sequence[tuple[int, float, int]], said: Callable[[int], str]) -> tuple[int, str]:
    """How many points do not advance in time, and the words about them; `said` gives a point's place and time."""
    found = backward(points)
    if not found:
        return 0, ""
    place, latest = found[0]
    others = "" if len(found) == 1 else f" (nor are {len(found) - 1:,} more points later than all before them)"
    return len(found), (
        f"{source}: {said(place)} is not later than {said(latest)}{others}: judged in the order in which they stand, "
        "as if each came a step after the one before it; sort the series by time where that is not meant"
    )


def _short(words: str) -> str:
    """A cell behind a stray quote is the rest of the file."""
    return words if len(words) <= _LONGEST_WORDS else words[: _LONGEST_WORDS - 1] + "…"


def _csv(source: Path, target: Path, name: str, alarms_per_week: float, direction: str) -> Summary:
    table = read_csv(source)
    kept = [column for column in range(len(table.head)) if table.head[column] not in COLUMNS]
    scores = []
    with target.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines)
        writer.writerow([*(table.head[column] for column in kept), *COLUMNS])
        for row, one in zip(table.rows, judged(table.points, alarms_per_week, direction), strict=True):
            scores.append(one)
            writer.writerow([*(row[column] for column in kept), *_cells(one)])
    when = table.head.index("timestamp")
    said = _told(source, table.points, lambda at: f"line {table.lines[at]}, {table.rows[at][when].strip()},")
    return _summary(name, scores, *said)


def _npz(source: Path, target: Path, name: str, alarms_per_week: float, direction: str) -> Summary:
    import numpy as np  # noqa: PLC0415 - `andon --help` loads none of this

    from schemas.errors import SourceError  # noqa: PLC0415 - as above

    arrays = {}
    with source.open("rb") as file:
        if not is_zipfile(file):  # of other bytes numpy says that they may be loaded unsafely
            raise SourceError(f"{source}: can't be read as an NPZ of numbers: it is no zip of arrays")
    try:
        with np.load(source) as data:
            for column in ("timestamp_s", "value"):
                if column not in data:
                    raise SourceError(f"{source}: there is no array {column!r} in it ({', '.join(data)})")
                arrays[column] = data[column]
    except (OSError, EOFError, TypeError, ValueError, BadZipFile) as error:
        raise SourceError(f"{source}: can't be read as an NPZ of numbers: {error}") from None
    for column, array in arrays.items():
        if array.ndim != 1 or array.dtype.kind not in "biuf":
            found = f"{array.dtype} of shape {array.shape}"
            raise SourceError(f"{source}: {column!r} must be one row of numbers, is {found}")
    try:
        times_us = [_since_1970(seconds) for seconds in arrays["timestamp_s"].astype(float).tolist()]
        values = [_scorable(value) for value in arrays["value"].astype(float).tolist()]
    except ValueError as error:
        raise SourceError(f"{source}: {error}") from None
    if len(times_us) != len(values):
        raise SourceError(f"{source}: {len(times_us)} times for {len(values)} values")
    points = [(at_us, value, 0) for at_us, value in zip(times_us, values, strict=True)]
    scores = list(judged(points, alarms_per_week, direction))
    np.save(target.with_suffix(".npy"), np.array([math.nan if one is None else one.anomaly_score for one in scores]))
    said = _told(source, points, lambda at: f"timestamp_s[{at}], {points[at][0] / 1e6:.15g},")
    return _summary(name, scores, *said)


def _time(text: str) -> tuple[int, int]:
    """Time and offset from UTC, in microseconds, of RFC 3339 (a space will do for the T), or seconds since 1970."""
    try:
        seconds = float(text)
    except ValueError:
        moment = datetime.fromisoformat(text.strip())
    else:
        return _since_1970(seconds), 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    offset = moment.utcoffset()
    whole = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // (datetime.resolution)
    return whole, 0 if offset is None else offset // datetime.resolution


def _since_1970(seconds: float) -> int:
    """Microseconds since 1970; raises ValueError where these can't be seconds."""
    if not abs(seconds) < _YEAR_10000_S:
        raise ValueError(f"{seconds:.15g} is no time in seconds since 1970")
    return round(seconds * 1e6)


def _value(text: str) -> float:
    return _scorable(float(text)) if text.strip() else math.nan


def _scorable(value: float) -> float:
    """The value; raises ValueError where the model, whose seasons are 32-bit floats, could never forget it."""
    if _LARGEST < abs(value) < math.inf:
        raise ValueError(f"{value:g} is more than {_LARGEST:g}; where it stands for a missing value, leave it empty")
    return value


def _cells(one: "Score | None") -> list[str]:
    if one is None:
        return [""] * len(COLUMNS)
    numbers = (one.anomaly_score, one.expected, one.lower, one.upper, one.confidence)
    return [*(f"{number:.10g}" for number in numbers), one.kind, str(int(one.is_alarm))]


def _summary(name: str, scores: "Sequence[Score | None]", backward: int, told: str) -> Summary:
    known = [one for one in scores if one is not None]
    highest = round(max((one.anomaly_score for one in known), default=0.0), 3)
    missing, alarms = len(scores) - len(known), sum(one.is_alarm for one in known)
    return Summary(name, len(scores), missing, alarms, highest, backward, told)
