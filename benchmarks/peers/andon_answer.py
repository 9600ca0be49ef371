"""What Andon wrote about W1, read from its views and spelled as answers are compared."""

from collections.abc import Iterator

from entry import SECOND_US, SYSTEMS, Entry

from benchmarks.inputs import Work, w1_work
from sinks.clickhouse.store import Store

_STOCK = "SELECT sku, node, toUnixTimestamp(window_start), on_hand, delta FROM stock_deltas"
_LATENCY = (
    "SELECT scope, toUnixTimestamp(window_start), completed, p95_s FROM handoff_latency"
    " WHERE completed > 0 AND handoff = 'reservation_to_pick'"
)


def work_of(run: Entry) -> Work:
    """The files of this run, and what they are replayed with."""
    return w1_work(run.inputs)


def read_back(run: Entry, store: Store) -> None:
    """Write down the answer."""
    run.write("a", _stock(store))
    rows = store.query(_LATENCY).rows
    run.write("b", ((node, minute, count, round(p95_s * SECOND_US)) for node, minute, count, p95_s in rows))


def _stock(store: Store) -> Iterator[tuple[object, ...]]:
    for sku, node, minute, on_hand, delta in store.query(_STOCK).rows:
        yield sku, node, minute, *(on_hand.get(system, "") for system in SYSTEMS), delta
