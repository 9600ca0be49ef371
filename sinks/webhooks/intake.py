"""New alerts from ClickHouse's `alert_log` into the outbox, and the record of attempts back.

A row becomes visible some time after the moment it carries (`written_at`), and one that is sent again carries a later
one: so each poll looks back over `overlap` again, by ids, and fetches what the outbox does not have. A row that is
written late is not missed, a row that is seen twice is one alert.
"""

from collections.abc import Sequence

import msgspec

from schemas.incident_rows import Alert
from sinks.clickhouse.rows import table_of
from sinks.clickhouse.store import Store
from sinks.clickhouse.writer import BlockWriter
from sinks.webhooks.outbox import Outbox

SOURCE = "alert_log"
RUN_ID = "deliver"
_PAGE = 5_000
_FETCHED = 500
_SHIPPED = 5_000
_NOW = "SELECT toUnixTimestamp64Milli(now64(3))"
_SEEN = """
SELECT toUnixTimestamp64Milli(written_at) AS at, alert_id FROM alert_log
WHERE (toUnixTimestamp64Milli(written_at), alert_id) > ({after:Int64}, {id:String})
    AND written_at >= fromUnixTimestamp64Milli({after:Int64}, 'UTC')
ORDER BY at, alert_id LIMIT {page:UInt32}
"""


def _columns() -> str:
    """The columns of an alert, times in microseconds."""
    table = table_of(Alert)
    return ", ".join(
        f"toUnixTimestamp64Micro({name})" if time else name
        for name, time in zip(table.columns, table.times, strict=True)
    )


_ALERTS = f"SELECT {_columns()} FROM alert_log WHERE alert_id IN {{ids:Array(String)}} "  # noqa: S608 - of constants
_ALERTS += "ORDER BY version DESC LIMIT 1 BY alert_id"


def take_in(store: Store, outbox: Outbox, now_us: int, *, overlap_us: int, first_us: int) -> int:
    """Put into the outbox what is new in `alert_log`; gives how many.

    The very first time it begins `first_us` before the server's present. It never begins after that present: where
    the server's clock was put back, rows are written before the cursor again. Alerts come in at `now_us`, or at
    that present where it is earlier: to a clock of ours that is days ahead all of them would be too old to be told.
    Cost: the ids of `overlap_us`, and one row a new alert. Memory: 5,000 ids.

    Raises:
        StoreError: as `Store.query`.
        StateError: as `Outbox`.
    """
    present = int(store.query(_NOW).rows[0][0])
    now_us = min(now_us, present * 1_000)
    known = outbox.cursor(SOURCE)
    if known is None:
        known = present - first_us // 1_000
        outbox.move_cursor(SOURCE, known)
        overlap_us = 0
    at, last = min(known, present) - overlap_us // 1_000, ""
    taken = 0
    while True:
        seen = store.query(_SEEN, {"after": at, "id": last, "page": _PAGE}).rows
        if not seen:
            return taken
        missing = outbox.unknown(list(dict.fromkeys(str(row[1]) for row in seen)))
        for begin in range(0, len(missing), _FETCHED):
            taken += outbox.put(_fetch(store, missing[begin : begin + _FETCHED]), now_us)
        at, last = int(seen[-1][0]), str(seen[-1][1])
        outbox.move_cursor(SOURCE, at)


def _fetch(store: Store, ids: Sequence[str]) -> list[Alert]:
    rows = store.query(_ALERTS, {"ids": list(ids)}).rows
    return [msgspec.convert(list(row), Alert) for row in rows]


def ship(store: Store, outbox: Outbox) -> int:
    """Write the attempts that are not yet in `alert_delivery_log`; gives how many. A row written twice is one.

    Raises:
        StoreError: as `BlockWriter`; the rows stay in the outbox.
    """
    shipped = 0
    while True:
        last, rows = outbox.records(_SHIPPED)
        if not rows:
            return shipped
        writer = BlockWriter(store, RUN_ID, patience_s=0.0, beside=False)
        writer.write(rows)
        writer.flush()
        outbox.shipped(last)
        shipped += len(rows)
