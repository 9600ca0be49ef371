"""`python -m tests.engine_places WORKERS KEY… [--partitions NAME…]`: which worker the engine itself gives each to.

Keys are those of a step, partitions those of a sink of the same flow; as JSON.

A process of its own: running several workers changes for good how the engine tells of a panic.
"""

import json
import sys
import threading

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from bytewax.testing import TestingSink, TestingSource, cluster_main


class _Where(StatefulBatchLogic[int, int, None]):
    """Gives each key with the thread, so the worker, that got it."""

    def on_batch(self, values: list[int]) -> tuple[list[int], bool]:
        return [threading.get_ident() for _ in values], StatefulBatchLogic.RETAIN

    def snapshot(self) -> None:
        return None


class _Part(StatefulSinkPartition[int, None]):
    """Notes the thread, so the worker, that wrote to it."""

    def __init__(self, name: str, found: dict[str, int]) -> None:
        self._name, self._found = name, found

    def write_batch(self, values: list[int]) -> None:
        del values
        self._found[self._name] = threading.get_ident()

    def snapshot(self) -> None:
        return None


class _Parts(FixedPartitionedSink[int, None]):
    def __init__(self, names: list[str], found: dict[str, int]) -> None:
        self._names, self._found = names, found

    def list_parts(self) -> list[str]:
        return self._names

    def part_fn(self, item_key: str) -> int:
        return self._names.index(item_key)

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> _Part:
        del step_id, resume_state
        return _Part(for_part, self._found)


def main() -> None:
    workers, keys = int(sys.argv[1]), sys.argv[2:]
    parts: list[str] = []
    if "--partitions" in keys:
        at = keys.index("--partitions")
        keys, parts = keys[:at], keys[at + 1 :]
    found: list[tuple[str, int]] = []
    written: dict[str, int] = {}
    flow = Dataflow("where")
    if parts:
        op.output(
            "written", op.input("names", flow, TestingSource([(name, 1) for name in parts])), _Parts(parts, written)
        )
    given = op.input("keys", flow, TestingSource([(key, 1) for key in keys]))
    op.output("found", op.stateful_batch("where", given, lambda _: _Where()), TestingSink(found))
    cluster_main(flow, [], 0, worker_count_per_proc=workers)
    print(json.dumps(dict(found) | written))  # noqa: T201 - its answer


if __name__ == "__main__":
    main()
