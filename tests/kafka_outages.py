"""A job with little room for what it has read ahead, brought to a point of its log at which something is to happen."""

import re
import time
from pathlib import Path

from tests.clickhouse_front import ClickHouseFront
from tests.kafka_broker import ApacheKafka, Broker
from tests.kafka_job import SELDOM_S, Job, Log, wait_for
from tests.processes import ROOT

#: As long as it must be seen that nothing moves.
STILL_S = 1.5
_MAP = ROOT / "dataflows" / "process_maps" / "default.toml"
#: The most days that the process map waits for anything, or remembers it, where time goes on by the clock.
_FEW_DAYS = 4


def job_of(
    folder: Path,
    broker: Broker | ApacheKafka,
    front: ClickHouseFront,
    *,
    by_clock: bool = False,
    stop_within: str = "25s",
) -> Job:
    """A job with little room for what it has read ahead.

    `by_clock`: a partition is taken for idle after a second, so that time goes on by the clock at the end of the log,
    here by weeks at once: what shows that an outage was taken for an end. Long waits of the shipped map are short then,
    so that of a log two weeks old nothing is left to come.
    """
    sections: dict[str, dict[str, object]] = {
        "engine": {"batch": 500, "stop_within": stop_within},
        "kafka": {"buffer": 500, "discover": "1s"},
        "kafka.client": {'"queued.max.messages.kbytes"': 4_096},
    }
    if by_clock:
        brief = re.sub(r'"(\d+)d"', lambda found: f'"{min(int(found[1]), _FEW_DAYS)}d"', _MAP.read_text())
        (folder / "brief.toml").write_text(brief)
        sections["time"] = {"idle_grace": "1s"}
        sections["process"] = {"map": "brief.toml"}
    return Job(folder, broker, front.dsn_of(folder.name), **sections)


def to_end(job: Job, log: Log) -> None:
    """Let it come to the end of the log and stop."""
    wait_for(lambda: job.at_end(log), "the end of the log", 180, SELDOM_S)
    job.stop()


def to_end_by_clock(job: Job, log: Log) -> None:
    """Let it come to the end of the log, where time goes on by the clock, and stop."""

    def done() -> bool:
        assert job.code is None, job.errors()
        ages = job.metric("andon_watermark_age_seconds")
        lags = job.metric("andon_lag_messages")
        return len(lags) == len(log.messages) and not any(lags.values()) and len(ages) == 4 and max(ages.values()) < 60

    wait_for(done, "the end of the log", 180, SELDOM_S)
    job.stop()


def to_share(job: Job, log: Log, share: float, since: float = 0.0) -> None:
    """Let it process this share of the log, beside the `since` of its messages that were before."""

    def come() -> bool:
        assert job.code is None, job.errors()
        return since + job.messages() >= share * log.count

    wait_for(come, f"{share:.0%} of the log", 120)
    assert since + job.messages() < 0.9 * log.count, "it is too fast to be disturbed"


def not_ready(job: Job, words: str) -> bool:
    """Whether it says that it is not ready, and why; it is alive all the while."""
    assert job.code is None, job.errors()
    code, said = job.answer("/readyz")
    if code:
        assert job.answer("/healthz") == (200, "ok\n")
    return code == 503 and words in said


def ready(job: Job) -> bool:
    assert job.code is None, job.errors()
    return job.answer("/readyz") == (200, "ok\n")


def moved(job: Job) -> tuple[float, float]:
    """What it has processed, and what it has written of that."""
    return job.messages(), sum(job.metric("andon_rows_written_total").values())


def stands_still(job: Job) -> float:
    """Wait until nothing moves for a while; gives the most memory it held meanwhile, MB."""
    most, since, last = job.rss_mb(), time.monotonic(), moved(job)
    while time.monotonic() - since < STILL_S:
        time.sleep(0.1)
        most = max(most, job.rss_mb())
        if (now := moved(job)) != last:
            since, last = time.monotonic(), now
    return most
