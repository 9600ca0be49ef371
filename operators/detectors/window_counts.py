"""What windows and stock feeds of a site say to detectors that judge scopes.

A handoff's window gives gauges when it is first written: `backlog:pick`, `oldest:pick` (s), `p95:pick` (s) and
`completed:pick`, in the handoff's scope. A stock feed that fell silent or is heard again gives `feed_silent` and
`feed_heard` in (node, source).
"""

from collections.abc import Iterator

from operators.detectors.records import Tally, scoped
from schemas.rows import HandoffWindow, Signal


def window_tallies(row: HandoffWindow, grace_us: int, read: frozenset[str]) -> list[Tally]:
    """The gauges of a window that anybody reads; none where it is written again."""
    if row.arrival_us > row.window_end_us + grace_us:
        return []
    scope = scoped(**{row.scope_by: row.scope}) if row.scope_by else ()
    values = (
        ("backlog", float(row.backlog)),
        ("oldest", row.oldest_age_s or 0.0),
        ("p95", row.p95_s or 0.0),
        ("completed", float(row.completed)),
    )
    return [
        Tally(metric, scope, row.arrival_us, row.window_end_us, value, 1.0)
        for name, value in values
        if (metric := f"{name}:{row.handoff}") in read
    ]


def feed_tallies(signal: Signal) -> Iterator[Tally]:
    """What `FeedWatch` found."""
    if signal.kind == "feed_stopped":
        metric = "feed_silent" if signal.closed_at_us is None else "feed_heard"
        scope = scoped(**signal.scope)
        yield Tally(metric, scope, signal.arrival_us, signal.opened_at_us, 1.0, 1.0, signal.signal_id)
