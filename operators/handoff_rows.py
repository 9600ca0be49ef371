"""The row of one window (handoff × scope × window), and that of a change that came too late for windows."""

from bisect import bisect_right
from collections.abc import Sequence

from operators.findings import PassChange
from operators.handoff_series import Pane
from operators.process_map import Handoff
from operators.quantiles import exact, sketch
from schemas.durations import SECOND_US, rfc3339
from schemas.rows import HandoffWindow, LateEvent

STAGE = "handoff_windows"


def window_row(
    handoff: Handoff,
    scope: str,
    window_us: tuple[int, int],
    panes: Sequence[Pane],
    backlog: int,
    oldest_us: int | None,
    tick_us: int,
) -> HandoffWindow:
    """What is known of `window_us` (start, end) at a tick.

    The version is the tick: a window is written once at a tick, so the last version was an earlier one.

    Cost: O(n log n) of its latencies.
    """
    start_us, end_us = window_us
    if len(panes) == 1:
        (pane,) = panes
        started, completed, overdue = pane.started, pane.completed, pane.overdue
        latencies = sorted(pane.latencies_us)
    else:
        started = sum(pane.started for pane in panes)
        completed = sum(pane.completed for pane in panes)
        overdue = sum(pane.overdue for pane in panes)
        latencies = sorted(latency for pane in panes for latency in pane.latencies_us)
    over_target = 0
    p50_s = p95_s = p99_s = max_s = None
    buckets: dict[int, int] = {}
    if latencies:
        seconds = [latency / SECOND_US for latency in latencies]
        p50_s, p95_s, p99_s, max_s = exact(0.5, seconds), exact(0.95, seconds), exact(0.99, seconds), seconds[-1]
        buckets = sketch(seconds)
        if handoff.target is not None:
            over_target = len(latencies) - bisect_right(latencies, handoff.target)
    return HandoffWindow(
        handoff=handoff.name,
        scope_by=handoff.scope,
        scope=scope,
        window_start_us=start_us,
        window_end_us=end_us,
        started=started,
        completed=completed,
        over_target=over_target,
        overdue=overdue,
        backlog=backlog,
        oldest_age_s=None if oldest_us is None else (end_us - oldest_us) / SECOND_US,
        p50_s=p50_s,
        p95_s=p95_s,
        p99_s=p99_s,
        max_s=max_s,
        latency_buckets=buckets,
        arrival_us=tick_us,
        version=tick_us,
    )


def late_row(change: PassChange, handoff: str, late: list[tuple[int, str]]) -> LateEvent:
    """What came too late for windows: their starts, and what each misses."""
    cause = change.cause
    assert cause is not None
    late.sort()
    effect = "; ".join(f"window from {rfc3339(start)}: {what}" for start, what in late)
    return LateEvent(
        topic=cause.topic,
        partition=cause.partition,
        offset=cause.offset,
        stage=f"{STAGE}/{handoff}/{change.scope}",
        type=cause.type,
        source=cause.source,
        event_id=cause.event_id,
        occurred_at_us=cause.occurred_us,
        window_start_us=late[0][0],
        effect=effect,
        seen_at_us=change.arrival_us,
    )
