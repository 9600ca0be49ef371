"""Keys fall where we say, in the engine itself; groups are dealt out evenly."""

import threading
from collections import Counter

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.testing import TestingSink, TestingSource, cluster_main

from dataflows.placing import EVENLY, spread, worker_of
from operators.pipeline import CASE, INTERFACE, ITEM, SITE, group_names

NAMES = [*group_names(CASE, 8), *group_names(ITEM, 8), *group_names(INTERFACE, 1), *group_names(SITE, 4)]


class Where(StatefulBatchLogic[int, tuple[str, int], None]):
    """Gives each key with the thread, so the worker, that got it."""

    def on_batch(self, values: list[int]) -> tuple[list[int], bool]:
        return [threading.get_ident() for _ in values], StatefulBatchLogic.RETAIN

    def snapshot(self) -> None:
        return None


@pytest.mark.parametrize("workers", [2, 3, 4])
def test_the_engine_puts_keys_where_we_say(workers: int) -> None:
    keys = [f"{name}{end}" for name in NAMES for end in ("", "é", "/17")]
    found: list[tuple[str, int]] = []
    flow = Dataflow("where")
    given = op.input("keys", flow, TestingSource([(key, 1) for key in keys]))
    op.output("found", op.stateful_batch("where", given, lambda _: Where()), TestingSink(found))
    cluster_main(flow, [], 0, worker_count_per_proc=workers)
    assert len(found) == len(keys)
    threads = {worker_of(key, workers): thread for key, thread in found}
    assert len(set(threads.values())) == workers
    assert {key: threads[worker_of(key, workers)] for key in keys} == dict(found)


@pytest.mark.parametrize("workers", [workers for workers in range(1, EVENLY + 1) if EVENLY % workers == 0])
def test_groups_are_dealt_out_evenly(workers: int) -> None:
    keys = spread(NAMES)
    assert list(keys) == NAMES
    assert len(set(keys.values())) == len(NAMES)
    for space in (CASE, ITEM, SITE):
        counts = Counter(worker_of(key, workers) for name, key in keys.items() if name.startswith(space))
        shares = [counts[worker] for worker in range(workers)]
        assert max(shares) - min(shares) <= 1
