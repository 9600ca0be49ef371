"""What `make soak` measures: processes by /proc, the job by its own /metrics, every few seconds."""

import csv
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec
from prometheus_client.parser import text_string_to_metric_families

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
_MB = 1024 * 1024
END_TO_END = "andon_end_to_end_seconds"
_HISTOGRAMS = (END_TO_END, "andon_epoch_seconds", "andon_snapshot_seconds")
#: Metric → column: counters as rates since the last sample, and gauges summed or the largest of their series.
_RATES = {"andon_messages_total": "messages_per_s", "andon_rows_written_total": "rows_per_s"}
_COUNTS = {
    "andon_write_retries_total": "retries",
    "andon_dead_letters_total": "dead_letters",
    "andon_duplicates_total": "duplicates",
    "andon_late_events_total": "late_events",
}
_SUMS = {"andon_lag_messages": "lag_messages", "andon_buffered_messages": "buffered_messages"}
_MOST = {"andon_lag_seconds": "lag_s", "andon_watermark_age_seconds": "watermark_age_s"}

Values: TypeAlias = dict[str, float]
Series: TypeAlias = dict[tuple[str, tuple[tuple[str, str], ...]], float]


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
        self._last: list[Series] = []
        self._last_s = self._began_s
        self._cpu_s: dict[int, float] = {}

    @property
    def now_s(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._began_s

    def look(self, watched: Watched) -> Sample:
        """Take a sample."""
        sample = Sample(self.now_s, {})
        now_s = time.monotonic()
        span_s = now_s - self._last_s
        cpu_s: dict[int, float] = {}
        for name, pid in watched.pids.items():
            family = _family(pid)
            sample.values[f"{name}_rss_mb"] = sum(map(_rss_mb, family))
            mine = {one: _cpu(one) for one in family}
            spent = sum(now - self._cpu_s[one] for one, now in mine.items() if one in self._cpu_s)
            sample.values[f"{name}_cores"] = spent / span_s if span_s > 0 else 0.0
            cpu_s |= mine
        sample.values["recovery_mb"] = _size_mb(watched.recovery)
        asked = [_ask(port) for port in watched.ports]
        if all(asked):
            self._of_job(sample, asked, span_s)
            self._last = asked
        else:
            self._last = []
        self._last_s, self._cpu_s = now_s, cpu_s
        return sample

    def _of_job(self, sample: Sample, asked: list[Series], span_s: float) -> None:
        values = sample.values
        again = len(self._last) == len(asked)
        for number, series in enumerate(asked):
            last = self._last[number] if again else {}
            if any(value < last.get(key, 0.0) for key, value in series.items() if key[0] == "andon_messages_total"):
                again, last = False, {}  # another process than before
            for (name, labels), value in series.items():
                if name in _COUNTS:
                    values[_COUNTS[name]] = values.get(_COUNTS[name], 0.0) + value
                elif name in _SUMS:
                    values[_SUMS[name]] = values.get(_SUMS[name], 0.0) + value
                elif name in _MOST:
                    values[_MOST[name]] = max(values.get(_MOST[name], 0.0), value)
                elif name == "andon_snapshot_bytes":
                    values["snapshot_mb"] = values.get("snapshot_mb", 0.0) + value / _MB
                elif name == "andon_state_entries":
                    told = dict(labels)
                    column = f"state.{told['operator']}.{told['what']}"
                    values[column] = values.get(column, 0.0) + value
                elif again and name in _RATES and span_s > 0:
                    grown = value - last.get((name, labels), 0.0)
                    values[_RATES[name]] = values.get(_RATES[name], 0.0) + grown / span_s
        if again:
            for name in _HISTOGRAMS:
                self._histogram(sample, name, asked)

    def _histogram(self, sample: Sample, name: str, asked: list[Series]) -> None:
        grown: dict[float, float] = {}
        total = count = 0.0
        for series, last in zip(asked, self._last, strict=True):
            for (metric, labels), value in series.items():
                more = value - last.get((metric, labels), 0.0)
                if metric == f"{name}_bucket":
                    bound = float(dict(labels)["le"])
                    grown[bound] = grown.get(bound, 0.0) + more
                elif metric == f"{name}_sum":
                    total += more
                elif metric == f"{name}_count":
                    count += more
        if name != END_TO_END:
            column = name.removeprefix("andon_").replace("_seconds", "_s")
            if count:
                sample.values[column] = total / count
            return
        below = 0.0
        for bound in sorted(grown):
            if grown[bound] > below:
                sample.buckets[bound] = grown[bound] - below
                below = grown[bound]
        for share in (0.5, 0.95, 0.99):
            value = quantile(share, sample.buckets)
            if value is not None:
                sample.values[f"end_to_end_p{share * 100:.0f}_s"] = value


def quantile(share: float, buckets: dict[float, float], bounds: Sequence[float] = ()) -> float | None:
    """As Prometheus works it out: straight lines between the bounds; None where nothing was counted."""
    total = sum(buckets.values())
    if not total:
        return None
    known = sorted({0.0, *bounds, *E2E_BOUNDS, *buckets})
    seen = 0.0
    for bound in sorted(buckets):
        count = buckets[bound]
        if seen + count >= share * total:
            low = max(one for one in known if one < bound)
            if bound == float("inf"):
                return low
            return low + (bound - low) * (share * total - seen) / count
        seen += count
    return max(buckets)


#: Bounds of the job's latency buckets, for those in which nothing was counted.
E2E_BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)


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


def _size_mb(folder: Path) -> float:
    total = 0
    for path in folder.glob("*"):
        try:
            total += path.stat().st_size
        except OSError:
            continue
    return total / _MB
