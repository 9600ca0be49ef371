"""What a process knows of itself: metrics, progress, readiness, and the share of its input that it can't use.

One `Telemetry` a process, passed to whoever has something to tell; there is no global registry. What is told is kept in
plain dictionaries, so that the hot path pays for a dictionary look-up a batch; the work is done when somebody asks
(dataflows/observe.py). It can be told and asked from any thread.
"""

import math
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from threading import Lock
from typing import TypeAlias, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from dataflows.input_limit import InputLimit, UnusableInput
from dataflows.logs import get_log, redacted
from dataflows.status import Condition, ProcessStatus, Series, histogram_series
from schemas import metrics
from schemas.durations import SECOND_US, rfc3339
from schemas.metric import Metric
from schemas.metrics import JOB_METRICS, METRICS

Labels: TypeAlias = tuple[str, ...]
Counts: TypeAlias = npt.NDArray[np.int64]
Key = TypeVar("Key", bound=Labels)

#: What must have been said to hold before a process is ready.
REQUIRED = ("resumed", "source", "store")
PROGRESS, INPUT = "progress", "input"
RATES_OVER_S, QUANTILES_OVER_S = 10.0, 60.0
_SAMPLE_EVERY_S = 1.0
_CATALOGUE = frozenset(metric.name for metric in METRICS)


class _Histogram:
    __slots__ = ("counts", "last", "total")

    def __init__(self, buckets: int) -> None:
        self.counts: Counts = np.zeros(buckets + 1, np.int64)
        self.total = 0.0
        self.last = 0.0


class _Sample(msgspec.Struct, frozen=True):
    """Counters and bucket counts at one moment."""

    at_s: float
    counters: dict[str, dict[Labels, float]]
    buckets: dict[str, dict[Labels, Counts]]


class Telemetry:
    """Metrics, progress and readiness of one process.

    A metric that is not in the catalogue, or is given the wrong kind or number of labels, is a ValueError: that is a
    mistake in the program, not in what it was told.

    Args:
        process: which process of the job this is.
        clock: seconds that only grow.
        wall: Unix time.
        required: conditions that fail until they are said to hold.
        stalled_after_s: without progress for longer, the process is not alive.
        limit: when there are too many dead letters.
        reported: what of the catalogue this process reports; the rest would be zeros that say nothing.

    Memory: a number per series, and the counters of the last minute, second by second.
    """

    def __init__(
        self,
        process: int = 0,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        *,
        required: Iterable[str] = REQUIRED,
        stalled_after_s: float = 60.0,
        limit: InputLimit = InputLimit(),  # noqa: B008 - frozen
        reported: Sequence[Metric] = JOB_METRICS,
    ) -> None:
        self.process = process
        self._reported = reported
        self.stalled_after_s = stalled_after_s
        self._clock, self._wall = clock, wall
        self._log = get_log("telemetry", clock)
        self._lock = Lock()
        self._numbers: dict[str, dict[Labels, float]] = {}
        self._histograms: dict[str, dict[Labels, _Histogram]] = {}
        self._bounds = {metric.name: np.array(metric.buckets) for metric in METRICS if metric.kind == "histogram"}
        for metric in METRICS:  # what has no labels is there from the beginning, so that a rate can be taken of it
            if metric.kind == "histogram":
                self._histograms[metric.name] = {} if metric.labels else {(): _Histogram(len(metric.buckets))}
            else:
                self._numbers[metric.name] = {(): 0} if metric.kind == "counter" and not metric.labels else {}
        self._shares: dict[str, dict[str, Mapping[Labels, float]]] = {}
        self._started = self._progress = clock()
        self._conditions: dict[str, tuple[bool, str, float]] = dict.fromkeys(
            required, (False, "not yet", self._started)
        )
        self._unusable = UnusableInput(limit)
        self._samples: deque[_Sample] = deque([_Sample(self._started, {}, {})])
        self._registry = CollectorRegistry()
        self._registry.register(_Exposition(self))
        ProcessCollector(registry=self._registry)
        self.version = _version()
        self.set(metrics.BUILD_INFO, 1, self.version, process)

    # --- telling ----------------------------------------------------------------------------------------------------

    def count(self, metric: Metric, by: float = 1, *labels: str | int) -> None:
        """A counter has grown."""
        if by < 0:
            raise ValueError(f"{metric.name} only grows; got {by}")
        key = _key(metric, "counter", labels)
        with self._lock:
            series = self._numbers[metric.name]
            series[key] = series.get(key, 0) + by

    def count_many(self, metric: Metric, by: Mapping[str, int]) -> None:
        """Counters of a metric with one label have grown: label → by how much."""
        for label, one in by.items():
            self.count(metric, one, label)

    def set(self, metric: Metric, value: float, *labels: str | int) -> None:
        """A gauge stands at `value`."""
        key = _key(metric, "gauge", labels)
        with self._lock:
            self._numbers[metric.name][key] = float(value)

    def drop(self, metric: Metric, *labels: str | int) -> None:
        """Forget the series of a gauge whose labels begin with these: the lane or partition is no longer ours."""
        begin = tuple(map(str, labels))
        _key(metric, "gauge", (*labels, *metric.labels[len(labels) :]))
        with self._lock:
            series = self._numbers[metric.name]
            for key in [key for key in series if key[: len(begin)] == begin]:
                del series[key]

    def share(self, metric: Metric, source: str, values: Mapping[Key, float]) -> None:
        """One source's share of a gauge that is the sum over all sources; replaces its last one."""
        given = {_key(metric, "gauge", key): value for key, value in values.items()}
        with self._lock:
            series = self._numbers[metric.name]
            shares = self._shares.setdefault(metric.name, {})
            for key, value in shares.get(source, {}).items():
                series[key] = series.get(key, 0) - value
            for key, value in given.items():
                series[key] = series.get(key, 0) + value
            shares[source] = given

    def observe(self, metric: Metric, value: float, *labels: str | int) -> None:
        """A histogram got a value; one below zero (two clocks) counts as zero.

        Raises:
            ValueError: it is not a finite number.
        """
        key = _key(metric, "histogram", labels)
        if not math.isfinite(value):
            raise ValueError(f"{metric.name} was given {value}")
        value = max(value, 0.0)
        at = bisect_left(metric.buckets, value)
        with self._lock:
            histogram = self._histogram(metric, key)
            histogram.counts[at] += 1
            histogram.total += value
            histogram.last = value

    def observe_many(
        self, metric: Metric, values: Sequence[float] | npt.NDArray[np.float64], *labels: str | int
    ) -> None:
        """As `observe`, for many values at once: 50,000 in about a millisecond.

        Raises:
            ValueError: one of them is not a finite number.
        """
        key = _key(metric, "histogram", labels)
        given = np.maximum(np.asarray(values, np.float64), 0.0)
        if not given.size:
            return
        total = float(given.sum())
        if not math.isfinite(total):
            raise ValueError(f"{metric.name} was given what is not a finite number")
        bounds = self._bounds[metric.name]
        counts = np.bincount(np.searchsorted(bounds, given, side="left"), minlength=len(bounds) + 1)
        with self._lock:
            histogram = self._histogram(metric, key)
            histogram.counts += counts
            histogram.total += total
            histogram.last = float(given[-1])

    def beat(self) -> None:
        """The job made progress: a batch, a poll that found nothing, an orderly wait for the store."""
        self._progress = now = self._clock()
        if now - self._samples[-1].at_s >= _SAMPLE_EVERY_S:
            with self._lock:
                self._sample(now)

    def condition(self, name: str, ok: bool, why: str = "") -> None:  # noqa: FBT001 - ok is what is told
        """A condition of being ready holds, or fails and why (in one line); the first call makes it one."""
        now = self._clock()
        with self._lock:
            known = self._conditions.get(name)
            since = now if known is None or known[0] is not ok else known[2]
            self._conditions[name] = (ok, "" if ok else str(redacted(" ".join(why.split()))), since)

    def dead_letter_window(self, messages: int, dead: int) -> None:
        """So many messages came in, of which so many were dead letters; past the limit the job is not healthy."""
        with self._lock:
            self._unusable.add(self._clock(), messages, dead)
        self._judge_input()

    # --- asking -----------------------------------------------------------------------------------------------------

    def stalled(self) -> str:
        """Why the process is not alive; empty where it is."""
        idle_s = self._clock() - self._progress
        if idle_s <= self.stalled_after_s:
            return ""
        return f"no progress for {idle_s:.0f} s (bound {self.stalled_after_s:g} s)"

    def unhealthy(self) -> str:
        """Why the process is not healthy: it is stalled, or can't use its input; empty where it is."""
        self._judge_input()
        stalled = self.stalled()
        return stalled or self._conditions.get(INPUT, (True, "", 0.0))[1]

    def conditions(self) -> list[Condition]:
        """All conditions of being ready, progress among them."""
        self._judge_input()
        now, stalled = self._clock(), self.stalled()
        with self._lock:
            known = list(self._conditions.items())
        listed = [Condition(name, ok, why, now - since) for name, (ok, why, since) in known]
        return [Condition(PROGRESS, not stalled, stalled, now - self._progress), *listed]

    def render(self) -> bytes:
        """All metrics in Prometheus' text format, with the process's memory, CPU and files."""
        return generate_latest(self._registry)

    def status(self) -> dict[str, object]:
        """All of it as JSON can say it: a `ProcessStatus`."""
        healthy = not self.unhealthy()
        conditions = self._derive()
        now = self._clock()
        with self._lock:
            listed = {metric.name: list(self._series_of(metric, now)) for metric in self._reported}
        status = ProcessStatus(
            process=self.process,
            version=self.version,
            at=rfc3339(int(self._wall()) * SECOND_US),
            uptime_s=now - self._started,
            idle_s=now - self._progress,
            alive=not self.stalled(),
            healthy=healthy,
            ready=all(condition.ok for condition in conditions),
            conditions=conditions,
            metrics=listed,
        )
        built: dict[str, object] = msgspec.to_builtins(status)
        return built

    def families(self) -> Iterator[Family]:
        """What Prometheus' client wants to be told."""
        self._derive()
        for metric in self._reported:
            if metric.kind == "histogram":
                histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
                with self._lock:
                    kept = [(key, one.counts.cumsum(), one.total) for key, one in self._histograms[metric.name].items()]
                bounds = [*map(repr, metric.buckets), "+Inf"]
                for key, counts, total in kept:
                    histogram.add_metric(key, list(zip(bounds, counts.tolist(), strict=True)), total)
                yield histogram
                continue
            kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = kind(metric.name, metric.help, labels=metric.labels)
            with self._lock:
                numbers = list(self._numbers[metric.name].items())
            for key, value in numbers:
                family.add_metric(key, value)
            yield family

    # --- inside -----------------------------------------------------------------------------------------------------

    def _histogram(self, metric: Metric, key: Labels) -> _Histogram:
        series = self._histograms[metric.name]
        histogram = series.get(key)
        if histogram is None:
            histogram = series[key] = _Histogram(len(metric.buckets))
        return histogram

    def _judge_input(self) -> None:
        """Whether dead letters are too many; said aloud when that changes."""
        limit, now = self._unusable.limit, self._clock()
        with self._lock:
            found = self._unusable.judge(now)
            self._numbers[metrics.DEAD_LETTER_RATIO.name][()] = found.ratio
        over, before, ratio, messages = found.over, found.before, found.ratio, found.messages
        many = f"{ratio:.1%} of the {messages:,} messages of the last {limit.window_s:g} s were dead letters"
        if over or before:
            why = f"{many} (limit {limit.ratio:.1%}); `andon dlq list` says what is wrong with them"
            self.condition(INPUT, not over, why)
        if over and not before:
            words = f"{many}, more than {limit.ratio:.1%}: what is found is about the rest; `andon dlq list` says why"
            self._log.error("dead_letters_over_limit", words, ratio=ratio, messages=messages, limit=limit.ratio)
        elif before and not over:
            words = f"{many}: back within the limit of {limit.ratio:.1%}"
            self._log.warning(
                "dead_letters_back_within_limit", words, ratio=ratio, messages=messages, limit=limit.ratio
            )

    def _derive(self) -> list[Condition]:
        """Bring the metrics up to date that follow from others."""
        conditions = self.conditions()
        self.set(metrics.HEALTHY, not self.unhealthy())
        self.set(metrics.READY, all(condition.ok for condition in conditions))
        self.set(metrics.LAST_PROGRESS, self._wall() - (self._clock() - self._progress))
        for condition in conditions:
            self.set(metrics.CONDITION, condition.ok, condition.name)
        return conditions

    def _sample(self, now: float) -> None:
        """Keep counters for rates; forget what no question is about any more."""
        if now - self._samples[-1].at_s < _SAMPLE_EVERY_S:
            return
        counters = {metric.name: self._numbers[metric.name].copy() for metric in METRICS if metric.kind == "counter"}
        buckets = {
            name: {key: one.counts.copy() for key, one in series.items()} for name, series in self._histograms.items()
        }
        self._samples.append(_Sample(now, counters, buckets))
        while len(self._samples) > 1 and self._samples[1].at_s <= now - QUANTILES_OVER_S:
            self._samples.popleft()

    def _before(self, instant: float) -> _Sample:
        """The last sample at or before `instant`, else the oldest there is."""
        found = self._samples[0]
        for sample in self._samples:
            if sample.at_s > instant:
                break
            found = sample
        return found

    def _series_of(self, metric: Metric, now: float) -> Iterator[Series]:
        if metric.kind == "histogram":
            before = self._before(now - QUANTILES_OVER_S).buckets.get(metric.name, {})
            for key, one in self._histograms[metric.name].items():
                recent = one.counts - before[key] if key in before else one.counts
                labels = dict(zip(metric.labels, key, strict=True))
                yield histogram_series(
                    metric, labels, recent.tolist(), count=int(one.counts.sum()), total=one.total, last=one.last
                )
            return
        sample = self._before(now - RATES_OVER_S)
        span, earlier = now - sample.at_s, sample.counters.get(metric.name, {})
        for key, value in self._numbers[metric.name].items():
            rate = None
            if metric.kind == "counter":
                rate = (value - earlier.get(key, 0)) / span if span > 0 else 0.0
            yield Series(dict(zip(metric.labels, key, strict=True)), float(value), rate)


class _Exposition(Collector):
    """Our store as Prometheus' client sees it."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def collect(self) -> Iterable[Family]:
        return self._telemetry.families()


def _key(metric: Metric, kind: str, labels: Sequence[str | int]) -> Labels:
    """The labels as they are kept, once everything about them is right."""
    if metric.name not in _CATALOGUE:
        raise ValueError(f"{metric.name} is not in the catalogue (schemas/metrics.py)")
    if metric.kind != kind:
        raise ValueError(f"{metric.name} is a {metric.kind}, not a {kind}")
    if len(labels) != len(metric.labels):
        raise ValueError(f"{metric.name} has the labels ({', '.join(metric.labels)}); got {len(labels)}: {labels!r}")
    return tuple(map(str, labels))


def _version() -> str:
    try:
        return version("andon")
    except PackageNotFoundError:
        return "not installed"
