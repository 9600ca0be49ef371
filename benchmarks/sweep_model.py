"""The sizing model of docs/scale.md, worked out from what was measured: `python benchmarks/sweep_model.py`.

It reads `build/bench.json` (make bench), `build/sweep.json` and `build/snapshot.json` (make bench-sweep) and prints two
tables in Markdown: what things cost, and what two retailers need. Nothing in it is measured here, and nothing that is
measured stands in it as a number; what is assumed of a retailer are the fields of `Load`.
"""

import argparse
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from machine import BUILD

from dataflows.placing import EVENLY
from dataflows.settings import Settings
from operators.increments import Increments

#: A process is given half of what it can take: latency stays flat, and a backlog shrinks as fast as it came.
LOADED = 0.5
#: What a process may hold in memory: what is easy to place, and to read back after a crash.
MEMORY_EACH = 8e9
#: Groups of each key space for a process: so many that one more in some of the processes hardly matters, and that more
#: processes can share them later.
GROUPS_A_PROCESS = 16
#: Tables that get rows in every second, each a block a process and second.
TABLES = 5
#: Ids are kept for one to two horizons.
HORIZONS = 1.5


class KeyCost(msgspec.Struct, frozen=True):
    """Of one key: bytes in memory, bytes in a snapshot before it is compressed."""

    resident: float
    kept: float


class Costs(msgspec.Struct, frozen=True):
    """What was measured. `message_us` is processor time of a message in one process, rows in ClickHouse and all.

    `groups_a_message` is to how many key groups a message goes, `sent_bytes` what it makes the processes send to one
    another if all of it goes elsewhere, `kept_ns` the time that a byte of a snapshot takes from the state of a group to
    the recovery volume, `scaling` how many times one process so many are, by processor time.
    """

    message_us: float
    rows_a_message: float
    groups_a_message: float
    sent_bytes: float
    item: KeyCost
    case: KeyCost
    id: KeyCost
    kept_ns: float
    scaling: dict[int, float]


class Load(msgspec.Struct, frozen=True):
    """A retailer, at its peak. `mean_share` is the mean rate of a day over that of the peak.

    So large a share of the messages is about orders, so many messages each, and an order's cases are held so long, from
    their begin until they are forgotten. `cases_an_order` counts returns and purchase orders in.
    """

    name: str
    stores: int
    skus: int
    messages_s: float
    message_bytes: float = 300.0
    mean_share: float = 1 / 3
    order_share: float = 0.3
    messages_an_order: float = 48.0
    cases_an_order: float = 1.2
    held_days: float = 9.0

    @property
    def items(self) -> float:
        return float(self.stores * self.skus)

    @property
    def cases(self) -> float:
        orders_s = self.messages_s * self.mean_share * self.order_share / self.messages_an_order
        return orders_s * self.cases_an_order * self.held_days * 86_400


LOADS = (
    Load("600 stores, 50,000 SKUs", 600, 50_000, 50_000),
    Load("ten times that", 6_000, 50_000, 500_000),
)


class Need(msgspec.Struct, frozen=True):
    """What a load needs; `each` is of one process."""

    busy_cores: float
    for_load: int
    for_memory: int
    processes: int
    groups: int
    items: float
    cases: float
    ids: float
    resident_each: float
    kept: float
    kept_s_each: float
    changed_each: float
    epoch_s_each: float
    dedup_s: float
    exchanged: float
    broker: float
    rows: float
    inserts: float


def need(load: Load, costs: Costs) -> Need:
    """The formulas of docs/scale.md."""
    engine = Settings().engine
    horizon_s = Settings().time.dedup_horizon.seconds
    busy = load.messages_s * costs.message_us / 1e6
    best = max(costs.scaling)
    for_load = math.ceil(busy / LOADED / (costs.scaling[best] / best))
    routed_s = load.messages_s * costs.groups_a_message
    ids = routed_s * horizon_s * HORIZONS
    held = ((load.items, costs.item), (load.cases, costs.case), (ids, costs.id))
    resident = sum(count * key.resident for count, key in held)
    for_memory = math.ceil(resident / MEMORY_EACH)
    processes = _dealt_evenly(max(for_load, for_memory))
    groups = max(engine.item_groups, GROUPS_A_PROCESS * processes)
    kept = sum(count * key.kept for count, key in held)
    kept_s = kept * costs.kept_ns / 1e9 / processes
    of_a_message = load.order_share * costs.case.kept + (1 - load.order_share) * costs.item.kept
    of_a_message += costs.groups_a_message * costs.id.kept
    changed = min(kept, load.messages_s * engine.epoch.seconds * of_a_message)
    return Need(
        busy_cores=busy,
        for_load=for_load,
        for_memory=for_memory,
        processes=processes,
        groups=groups,
        items=load.items,
        cases=load.cases,
        ids=ids,
        resident_each=resident / processes,
        kept=kept,
        kept_s_each=kept_s,
        changed_each=changed / processes,
        epoch_s_each=(changed / processes + kept / processes / Increments.ROUND) * costs.kept_ns / 1e9,
        dedup_s=2 * groups * 2 * engine.dedup_max_ids / routed_s,
        exchanged=load.messages_s * costs.sent_bytes * (1 - 1 / processes),
        broker=load.messages_s * load.message_bytes,
        rows=load.messages_s * costs.rows_a_message,
        inserts=float(processes * TABLES),
    )


def _dealt_evenly(least: int) -> int:
    """So many processes that groups are dealt evenly and kept in increments; where one job has too few, whole jobs."""
    fitting = [count for count in range(least, EVENLY + 1) if EVENLY % count == 0]
    return min(fitting, default=-(-least // EVENLY) * EVENLY)


# --- what was measured ------------------------------------------------------------------------------------------------


def costs_of(bench: Mapping[str, Any], sweep: Mapping[str, Any], snapshot: Mapping[str, Any]) -> Costs:
    """Costs from the three documents.

    Raises:
        KeyError: a benchmark that is needed is not among them.
    """
    of = {one["id"]: one for one in bench["results"]}
    replays = [of[f"{work}.replay.chdb"] for work in ("w1", "day")]
    dearest = max(replays, key=lambda one: statistics.median(one["cpu_s"]) / one["messages"])
    runs = {int(name.rpartition(".")[2]): some for name, some in sweep["processes"].items() if ".files." in name}
    busiest = {count: statistics.median(max(one["cpu_s"]) for one in some) for count, some in runs.items()}
    sent = [
        sum(one["packed_bytes"].values()) / one["messages"] / (1 - 1 / count)
        for count, some in runs.items()
        if count > 1
        for one in some
    ]
    item, case, one_id = (_key(_largest(sweep, operator)) for operator in ("stock", "orders", "dedup"))
    an_epoch_s = statistics.median(snapshot["whole_lost_share"]) * Settings().engine.epoch.seconds
    whole_keys = sum(_largest(sweep, operator)["snapshot_bytes"] for operator in ("items", "cases"))
    its_bytes = snapshot["keys"] / 2 * whole_keys  # half of them are items, with the ids of their events
    return Costs(
        message_us=statistics.median(dearest["cpu_s"]) / dearest["messages"] * 1e6,
        rows_a_message=max(one["out"] / one["messages"] for one in replays),
        groups_a_message=of["day.route"]["out"] / of["day.route"]["events"],
        sent_bytes=statistics.median(sent),
        item=item,
        case=case,
        id=one_id,
        kept_ns=an_epoch_s / its_bytes * 1e9,
        scaling={count: busiest[1] / spent for count, spent in busiest.items()},
    )


def _largest(sweep: Mapping[str, Any], operator: str) -> Mapping[str, Any]:
    """The run with the most keys."""
    found: Mapping[str, Any] = max(
        (one for one in sweep["keys"].values() if one["operator"] == operator), key=lambda one: one["keys"]
    )
    return found


def _key(sweep: Mapping[str, Any]) -> KeyCost:
    return KeyCost(sweep["resident_bytes"], sweep["snapshot_bytes"])


# --- tables -----------------------------------------------------------------------------------------------------------


def measured_table(costs: Costs) -> list[str]:
    """What things cost, in Markdown."""
    lines = ["| measured | value |", "|---|---|"]
    lines += [
        f"| processor time of a message | {costs.message_us:.1f} µs |",
        f"| rows of a message | {costs.rows_a_message:.2f} |",
        f"| key groups that get it | {costs.groups_a_message:.2f} |",
        f"| bytes between processes, where all of it goes elsewhere | {costs.sent_bytes:,.0f} |",
    ]
    for name, key in (("item", costs.item), ("order, default map", costs.case), ("event id", costs.id)):
        lines.append(f"| {name}: in memory, in a snapshot | {key.resident:,.0f} bytes, {key.kept:,.0f} bytes |")
    lines.append(f"| a MB of a snapshot: taken, compressed, written | {costs.kept_ns:,.1f} ms |")
    lines += [
        f"| {count} processes, times one, by processor time | {times:.2f} |"
        for count, times in sorted(costs.scaling.items())
        if count > 1
    ]
    return lines


def needed_table(needs: Sequence[tuple[Load, Need]]) -> list[str]:
    """What the loads need, in Markdown."""
    rows: dict[str, list[str]] = {}
    for load, one in needs:
        cells = {
            "messages/s at the peak": f"{load.messages_s:,.0f}",
            "items, cases held": f"{one.items / 1e6:,.0f} M, {one.cases / 1e6:,.1f} M",
            "cores busy": f"{one.busy_cores:.1f}",
            "processes, for half of their load": f"{one.for_load}",
            f"processes, for {MEMORY_EACH / 1e9:.0f} GB each": f"{one.for_memory}",
            f"processes, a number that divides {EVENLY}, or jobs of {EVENLY}": f"{one.processes}",
            "key groups of each space": f"{one.groups:,}",
            "memory of a process": f"{one.resident_each / 1e9:,.1f} GB",
            "all state, as it is kept": f"{one.kept / 1e9:,.1f} GB",
            "a snapshot of all of it, in each process": f"{one.kept_s_each:,.1f} s",
            "changes in an epoch of 30 s, in each process": f"{one.changed_each / 1e6:,.0f} MB",
            "a snapshot of these, and of a share of the rest": f"{one.epoch_s_each:,.2f} s",
            "dedup reaches back at the peak": f"{one.dedup_s / 60:,.0f} min",
            "between processes": f"{one.exchanged / 1e6:,.0f} MB/s",
            "from the broker": f"{one.broker / 1e6:,.0f} MB/s",
            "rows into ClickHouse": f"{one.rows:,.0f}/s",
            "inserts into ClickHouse": f"{one.inserts:,.0f}/s",
        }
        for name, cell in cells.items():
            rows.setdefault(name, []).append(cell)
    head = f"| | {' | '.join(load.name for load, _ in needs)} |"
    return [head, "|---" * (len(needs) + 1) + "|", *(f"| {name} | {' | '.join(some)} |" for name, some in rows.items())]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(description="The sizing model of docs/scale.md from what was measured.")
    parser.add_argument("--bench", type=Path, default=BUILD / "bench.json", metavar="FILE", help="of make bench")
    for name in ("sweep", "snapshot"):
        parser.add_argument(
            f"--{name}", type=Path, default=BUILD / f"{name}.json", metavar="FILE", help="of make bench-sweep"
        )
    asked = parser.parse_args(arguments)
    missing = [f"{path} is not there: run make {what}" for path, what in _needed(asked) if not path.exists()]
    if missing:
        print("\n".join(missing), file=sys.stderr)
        return 2
    bench, sweep, snapshot = (msgspec.json.decode(path.read_bytes()) for path, _ in _needed(asked))
    try:
        costs = costs_of(bench, sweep, snapshot)
    except KeyError as error:
        print(f"a benchmark is missing in these files: {error}; run all of them", file=sys.stderr)
        return 2
    documents = (("bench", bench), ("sweep", sweep), ("snapshot", snapshot))
    of = {name: document["machine"] for name, document in documents}
    for name, machine in of.items():
        print(
            f"{name}: {machine['cpu']}, {machine['cores']} cores, commit {machine['commit']}, load {machine['load_1m']}"
        )
    print("\n".join(["", *measured_table(costs), "", *needed_table([(load, need(load, costs)) for load in LOADS])]))
    return 0


def _needed(asked: argparse.Namespace) -> list[tuple[Path, str]]:
    return [(asked.bench, "bench"), (asked.sweep, "bench-sweep"), (asked.snapshot, "bench-sweep")]


if __name__ == "__main__":
    sys.exit(main())
