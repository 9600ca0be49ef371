"""What `make soak` measures: processes by /proc, the job by its own /metrics, every few seconds."""

import csv
import math
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from schemas import metrics

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
_MB = 1024 * 1024
#: Metric → column, summed over series and processes, or the largest of them.
_SUMS = {
    metrics.WRITE_RETRIES.name: "retries",
    metrics.DEAD_LETTERS.name: "dead_letters",
    metrics.DUPLICATES.name: "duplicates",
    metrics.LATE_EVENTS.name: "late_events",
    metrics.LAG_MESSAGES.name: "lag_messages",
    metrics.BUFFERED.name: "buffered_messages",
    metrics.SNAPSHOT_BYTES.name: "snapshot_bytes",
}
_MOST = {metrics.LAG_SECONDS.name: "lag_s", metrics.WATERMARK_AGE.name: "watermark_age_s"}
#: Counters, as what they grew by in a second.
_RATES = {metrics.MESSAGES.name: "messages_per_s", metrics.ROWS_WRITTEN.name: "rows_per_s"}
#: Histograms, as the mean of what they got since the last look.
_MEANS = {metrics.EPOCH_SECONDS.name: "epoch_s", metrics.SNAPSHOT_SECONDS.name: "snapshot_s"}
_QUANTILES = {0.5: "end_to_end_p50_s", 0.95: "end_to_end_p95_s", 0.99: "end_to_end_p99_s"}

STATE = "state."
Values: TypeAlias = dict[str, float]
SeriesKey: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]
Series: TypeAlias = dict[SeriesKey, float]


class Sample(msgspec.Struct):
    """One look: `values` by column (what could not be asked is missing), and the latencies seen since the last one.

    `buckets` are (upper bound in seconds, how many), of all tables.
    """

    at_s: float
    values: Values
    buckets: dict[float, float] = {}
    disturbed: str = ""


class Watched(msgspec.Struct):
    """What to look at: pids by name (the job's with its children), and the ports of the job's processes."""

    pids: dict[str, int]
    ports: list[int]
    recovery: Path


class Watch:
    """Looks, and remembers what the last look saw of what only grows."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._last: Series = {}
        self._last_s = self._began_s
        self._cpu_s: dict[int, float] = {}
        self._waited_s = 0.0

    @property
    def now_s(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._began_s

    def look(self, watched: Watched) -> Sample:
        """Take a sample."""
        sample = Sample(self.now_s, {})
        now_s = time.monotonic()
        span_s = max(1e-3, now_s - self._last_s)
        cpu_s: dict[int, float] = {}
        for name, pid in watched.pids.items():
            family = _family(pid)
            sample.values[f"{name}_rss_mb"] = sum(map(_rss_mb, family))
            mine = {one: _cpu(one) for one in family}
            spent = sum(now - self._cpu_s[one] for one, now in mine.items() if one in self._cpu_s)
            sample.values[f"{name}_cores"] = spent / span_s
            cpu_s |= mine
        sample.values["machine_load"] = os.getloadavg()[0]
        waited_s = sum(map(_waited, _family(watched.pids["job"]))) if "job" in watched.pids else 0.0
        if waited_s >= self._waited_s > 0:
            sample.values["job_starved"] = (waited_s - self._waited_s) / span_s
        self._waited_s = waited_s
        sample.values["recovery_mb"] = _size_mb(watched.recovery)
        asked = [_ask(port) for port in watched.ports]
        if all(asked):
            now = _together(asked)
            sample.values |= _levels(now)
            if self._last and all(now.get(key, 0.0) >= was for key, was in self._last.items() if _grows(key)):
                _growth(sample, {key: value - self._last.get(key, 0.0) for key, value in now.items()}, span_s)
            self._last = now
        else:
            self._last = {}
        self._last_s, self._cpu_s = now_s, cpu_s
        return sample


def quantile(share: float, buckets: Mapping[float, float]) -> float | None:
    """As Prometheus works it out: straight lines between the bounds; None where nothing was counted."""
    total = sum(buckets.values())
    seen = 0.0
    for bound in sorted(buckets):
        count = buckets[bound]
        if seen + count >= share * total and count:
            low = max((one for one in metrics.END_TO_END.buckets if one < bound), default=0.0)
            return low if math.isinf(bound) else low + (bound - low) * (share * total - seen) / count
        seen += count
    return None


def _together(asked: Iterable[Series]) -> Series:
    """The processes' series, each under its process's number."""
    return {
        (name, (*labels, ("process", str(number)))): value
        for number, series in enumerate(asked)
        for (name, labels), value in series.items()
    }


def _grows(key: SeriesKey) -> bool:
    """Whether it can only be less than it was in another process than before."""
    return key[0] == metrics.MESSAGES.name


def _levels(series: Series) -> Values:
    """What stands at a level."""
    values: Values = {}
    for (name, labels), value in series.items():
        if name in _MOST:
            values[_MOST[name]] = max(values.get(_MOST[name], 0.0), value)
            continue
        column = _SUMS.get(name)
        if name == metrics.STATE_ENTRIES.name:
            told = dict(labels)
            column = f"{STATE}{told['operator']}.{told['what']}"
        if column is not None:
            values[column] = values.get(column, 0.0) + value
    return values


def _growth(sample: Sample, grown: Series, span_s: float) -> None:
    """What has come since the last look: rates, means and latencies."""
    values = sample.values
    for name, column in _RATES.items():
        values[column] = _sum(grown, name) / span_s
    for name, column in _MEANS.items():
        count = _sum(grown, f"{name}_count")
        if count:
            values[column] = _sum(grown, f"{name}_sum") / count
    upto: dict[float, float] = {}
    for (name, labels), value in grown.items():
        if name == f"{metrics.END_TO_END.name}_bucket":
            bound = float(dict(labels)["le"])
            upto[bound] = upto.get(bound, 0.0) + value
    bounds = sorted(upto)
    sample.buckets = {bound: upto[bound] - upto.get(before, 0.0) for before, bound in pairwise([-1.0, *bounds])}
    for share, column in _QUANTILES.items():
        value = quantile(share, sample.buckets)
        if value is not None:
            values[column] = value


def _sum(series: Series, name: str) -> float:
    return sum(value for (one, _), value in series.items() if one == name)


def write_csv(samples: Iterable[Sample], path: Path) -> None:
    """One row for each look; columns that a look lacks are empty."""
    listed = list(samples)
    columns = sorted({column for sample in listed for column in sample.values})
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["t_s", "disturbed", *columns])
        for sample in listed:
            cells = [sample.values.get(column) for column in columns]
            writer.writerow(
                [f"{sample.at_s:.1f}", sample.disturbed, *("" if cell is None else f"{cell:.6g}" for cell in cells)]
            )


def _ask(port: int) -> Series:
    """What a process of the job says; nothing where it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=3) as answer:
            text = answer.read().decode()
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return {}
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _family(pid: int) -> list[int]:
    """A process and all that it started."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return [pid]
    return [pid, *(one for child in children for one in _family(int(child)))]


def _rss_mb(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE / _MB
    except OSError:
        return 0.0


def _cpu(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _waited(pid: int) -> float:
    """Seconds that a process's threads could have run and had no core."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            total += int(thread.read_text(encoding="ascii").split()[1])
        except OSError:
            continue
    return total / 1e9


def _size_mb(folder: Path) -> float:
    total = 0
    for path in folder.glob("*"):
        try:
            total += path.stat().st_size
        except OSError:
            continue
    return total / _MB
