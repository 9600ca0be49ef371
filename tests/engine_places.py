"""`python -m tests.engine_places WORKERS KEY…`: which worker the engine itself gives each key to, as JSON.

A process of its own: running several workers changes for good how the engine tells of a panic.
"""

import json
import sys
import threading

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.testing import TestingSink, TestingSource, cluster_main


class _Where(StatefulBatchLogic[int, int, None]):
    """Gives each key with the thread, so the worker, that got it."""

    def on_batch(self, values: list[int]) -> tuple[list[int], bool]:
        return [threading.get_ident() for _ in values], StatefulBatchLogic.RETAIN

    def snapshot(self) -> None:
        return None


def main() -> None:
    workers, keys = int(sys.argv[1]), sys.argv[2:]
    found: list[tuple[str, int]] = []
    flow = Dataflow("where")
    given = op.input("keys", flow, TestingSource([(key, 1) for key in keys]))
    op.output("found", op.stateful_batch("where", given, lambda _: _Where()), TestingSink(found))
    cluster_main(flow, [], 0, worker_count_per_proc=workers)
    print(json.dumps(dict(found)))  # noqa: T201 - its answer


if __name__ == "__main__":
    main()
