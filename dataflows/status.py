"""What a running process says of itself at `/status`, asking it for that, and what several of them say together."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TypeAlias
from urllib.parse import urlsplit

import msgspec

from schemas import metrics
from schemas.metric import Metric
from schemas.metrics import METRICS

PATIENCE_S = 3.0
#: There are no ports beyond.
LAST_PORT = 65_535
_ANYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what a person may have set
#: Gauges that are not added up over processes: of ages and shares the largest counts, of what holds the least.
_LARGEST = (metrics.LAG_SECONDS, metrics.WATERMARK_AGE, metrics.DEAD_LETTER_RATIO, metrics.LAST_PROGRESS)
_LEAST = (metrics.STORE_UP, metrics.SOURCE_UP, metrics.HEALTHY, metrics.READY, metrics.CONDITION)


class Condition(msgspec.Struct, frozen=True):
    """One thing that must hold for a process to be ready; `since_s` is for how long it has been so."""

    name: str
    ok: bool
    why: str
    since_s: float


class Series(msgspec.Struct, frozen=True, omit_defaults=True):
    """One series of a metric.

    Counters and gauges have `value`, counters also their rate over the last ten seconds. Histograms have `count`, `sum`
    and the `last` value of all, and bucket counts and quantiles of the last minute.
    """

    labels: dict[str, str]
    value: float | None = None
    per_second: float | None = None
    count: int | None = None
    sum: float | None = None
    last: float | None = None
    recent: list[int] = []
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


class ProcessStatus(msgspec.Struct, frozen=True):
    """What `/status` says: how the process is, and every series by the name of its metric."""

    process: int
    version: str
    at: str
    uptime_s: float
    idle_s: float
    alive: bool
    healthy: bool
    ready: bool
    conditions: list[Condition]
    metrics: dict[str, list[Series]]


class Answer(msgspec.Struct, frozen=True):
    """What came of asking one process: its status, or in words why there is none."""

    url: str
    status: ProcessStatus | None = None
    error: str = ""


Readings: TypeAlias = dict[str, list[Series]]


def quantile(buckets: Sequence[float], counts: Sequence[int], q: float) -> float | None:
    """The `q` quantile of a histogram, linear within a bucket as Prometheus has it; None where it is empty.

    What is above the largest bound counts as that bound.
    """
    total = sum(counts)
    if not total:
        return None
    rank, below, lower = q * total, 0, 0.0
    for upper, count in zip(buckets, counts, strict=False):
        if count and below + count >= rank:
            return min(upper, lower + (upper - lower) * (rank - below) / count)
        below, lower = below + count, upper
    return buckets[-1]


def histogram_series(
    metric: Metric, labels: dict[str, str], recent: list[int], *, count: int, total: float, last: float | None
) -> Series:
    """The series of a histogram, with the quantiles of its `recent` bucket counts."""
    p50, p95, p99 = (quantile(metric.buckets, recent, q) for q in (0.5, 0.95, 0.99))
    return Series(labels, count=count, sum=total, last=last, recent=recent, p50=p50, p95=p95, p99=p99)


def split_address(text: str) -> tuple[str, int]:
    """Host and port of `127.0.0.1:9464`, `[::1]:9464` or `:9464` (all interfaces).

    Raises:
        ValueError: it is not written as one.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or (":" in host and not host.startswith("[")):
        raise ValueError('must be a host and a port such as "127.0.0.1:9464" or "0.0.0.0:9464"')
    if int(port) > LAST_PORT:
        raise ValueError(f"must have a port up to {LAST_PORT}")
    return host.removeprefix("[").removesuffix("]"), int(port)


def url_of(text: str) -> str:
    """Where to ask a process that listens at `text`, an address or a URL.

    Raises:
        ValueError: it is neither.
    """
    if "://" not in text:
        host, port = split_address(text)
        host = _ANYWHERE.get(host, host)
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be a URL such as http://127.0.0.1:9464")
    _ = parts.port  # a ValueError where it is none
    return text.rstrip("/")


def ask(url: str, patience_s: float = PATIENCE_S) -> Answer:
    """Ask one process; every way in which that can fail is an answer, too."""
    parts = urlsplit(url)
    connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = connect(parts.hostname or "", parts.port, timeout=patience_s)
    try:
        connection.request("GET", f"{parts.path}/status")
        response = connection.getresponse()
        code, body = response.status, response.read()
    except (OSError, HTTPException) as error:
        return Answer(url, error=f"can't be reached: {getattr(error, 'strerror', None) or str(error) or repr(error)}")
    finally:
        connection.close()
    if code != 200:
        return Answer(url, error=f"answers, but not as Andon does (HTTP {code})")
    try:
        return Answer(url, msgspec.json.decode(body, type=ProcessStatus))
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        return Answer(url, error=f"answers, but not as this version of Andon does: {error}")


def ask_all(urls: Sequence[str], patience_s: float = PATIENCE_S) -> list[Answer]:
    """Ask several processes at the same time; answers in the order of `urls`."""
    if len(urls) == 1:
        return [ask(urls[0], patience_s)]
    with ThreadPoolExecutor(max_workers=min(len(urls), 32)) as pool:
        return list(pool.map(lambda url: ask(url, patience_s), urls))


def is_well(answers: Sequence[Answer]) -> bool:
    """Whether every process answered, is healthy and is ready."""
    return all(one.status is not None and one.status.healthy and one.status.ready for one in answers)


def together(statuses: Sequence[ProcessStatus]) -> Readings:
    """The series of the whole job: what each process says of itself, added up where it can be."""
    out: Readings = {}
    for metric in METRICS:
        found: dict[tuple[str, ...], list[Series]] = {}
        for status in statuses:
            for series in status.metrics.get(metric.name, ()):
                found.setdefault(tuple(series.labels.values()), []).append(series)
        out[metric.name] = [_one_of(metric, same) if len(same) > 1 else same[0] for same in found.values()]
    return out


def _one_of(metric: Metric, same: Sequence[Series]) -> Series:
    """The same series of several processes as one."""
    values = [one.value or 0.0 for one in same]
    if metric.kind == "gauge":
        value = max(values) if metric in _LARGEST else min(values) if metric in _LEAST else sum(values)
        return Series(same[0].labels, value)
    if metric.kind == "counter":
        return Series(same[0].labels, sum(values), sum(one.per_second or 0.0 for one in same))
    recent = [sum(counts) for counts in zip(*(one.recent for one in same), strict=False)]
    return histogram_series(
        metric,
        same[0].labels,
        recent,
        count=sum(one.count or 0 for one in same),
        total=sum(one.sum or 0.0 for one in same),
        last=max((one.last for one in same if one.last is not None), default=None),
    )
