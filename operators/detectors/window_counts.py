"""What windows of a site say to detectors that judge scopes.

A handoff's window gives gauges when it is first written: `backlog:pick`, `oldest:pick` (s), `p95:pick` (s) and
`completed:pick`, in the handoff's scope.
"""

from operators.detectors.records import Tally, scoped
from schemas.rows import HandoffWindow


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
