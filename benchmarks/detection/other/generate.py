"""Generate events and truth of a second, independent retailer: one breakdown, or a clean run.

    generate.py --out DIR --seed N --kind KIND|none [--hazard NAME] [--hours 24 | --days N] [--nodes 40]
    generate.py --list

Writes a JSON Lines file for each topic, sorted by `recorded_at`, and `truth.jsonl`. The breakdown begins between
07:00 and 17:00 local time of the last day. The same arguments give the same bytes. What it is good for: its author
knew the contract and nothing of the detectors, so what they find here they don't find by heart.
"""

import argparse
import random
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from second_retailer import broken_flow, broken_goods, broken_office
from second_retailer.course import Breakdown
from second_retailer.hazards import DATES, HAZARDS
from second_retailer.journal import iso
from second_retailer.retailer import HOUR, ZONE, build
from second_retailer.run import Run, prepare

KINDS: dict[str, Callable[[Run, Breakdown], None]] = {
    one.__name__: one
    for one in (
        broken_flow.queue_saturation,
        broken_goods.feed_stopped,
        broken_goods.adjustments_lost,
        broken_goods.phantom_stock,
        broken_goods.oversell,
        broken_flow.picking_backlog,
        broken_flow.misrouting,
        broken_flow.duplicate_orders,
        broken_flow.incomplete_orders,
        broken_office.posting_interface_down,
        broken_office.posting_missing,
        broken_office.refund_lag,
        broken_office.refund_without_receipt,
        broken_office.return_surge,
        broken_office.supplier_delay,
        broken_office.supply_mismatch,
        broken_goods.promotion_without_stock,
        broken_goods.stockout_risk,
        broken_flow.carrier_delay,
        broken_goods.price_error,
        broken_goods.margin_leak,
        broken_office.downstream_outage,
        broken_flow.schema_change,
        broken_office.rule_failure,
        broken_office.transport_fault,
        broken_flow.clock_skew,
    )
}
LAST_DAY = date(2026, 9, 15)
SHORTEST_HOURS = 20
#: What happens a few times an hour needs some hours to be seen at all.
SLOW = ("supplier_delay", "supply_mismatch", "refund_lag")


def generate(
    out: Path, seed: int, kind: str, *, hazard: str = "", hours: float = 24, nodes: int = 40
) -> dict[str, int]:
    """Write a run to `out`; returns how many messages each topic has."""
    last_day = DATES.get(hazard, LAST_DAY)
    days = max(1, -(-int(hours) // 24))
    midnight = datetime(last_day.year, last_day.month, last_day.day, tzinfo=ZONE)
    begin = (midnight - timedelta(days=days - 1)).timestamp()
    end = begin + hours * HOUR + (HOUR if hazard == "dst_switch" else 0)
    run = prepare(build(nodes, seed), begin, end, seed)
    breakdown = None
    if kind == "none":
        if hazard:
            HAZARDS[hazard](run, random.Random(f"{seed}:{hazard}"), midnight.timestamp())
    else:
        breakdown = _breakdown(run, kind, seed, midnight.timestamp())
        KINDS[kind](run, breakdown)
    run.simulate()
    counts = run.world.journal.save(out)
    if breakdown is None:
        truth: dict[str, Any] = {"breakdown_id": f"none-{seed}", "kind": "none", "begin": iso(begin), "end": iso(end)}
        truth |= {"hazard": hazard} if hazard else {}
    else:
        truth = breakdown.truth(seed, end)
    (out / "truth.jsonl").write_bytes(orjson.dumps(truth) + b"\n")
    return counts


def _breakdown(run: Run, kind: str, seed: int, midnight: float) -> Breakdown:
    rng = random.Random(f"{seed}:{kind}")
    latest = min(17.0, (run.world.end - midnight) / HOUR - 3)
    begin = round(midnight + rng.uniform(7, latest) * HOUR)
    end = min(round(begin + rng.uniform(3 if kind in SLOW else 1, 6) * HOUR), run.world.end)
    return Breakdown(kind, begin, end, random.Random(f"{seed}:{kind}:course"))


def main() -> None:
    parser = argparse.ArgumentParser(description="Events and truth of a second, independent retailer.")
    parser.add_argument("--list", action="store_true", help="print the kinds and hazards")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", choices=[*KINDS, "none"], default="none")
    parser.add_argument("--hazard", choices=HAZARDS, default="", help="with --kind none: what must not alarm")
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--days", type=int, help="instead of --hours; the breakdown is on the last day")
    parser.add_argument("--nodes", type=int, default=40)
    given = parser.parse_args()
    if given.list:
        print("\n".join([*KINDS, "none", *(f"none --hazard {name}" for name in HAZARDS)]))
        return
    hours = given.days * 24 if given.days else given.hours
    if given.out is None or hours < SHORTEST_HOURS or given.nodes < 4 or (given.hazard and given.kind != "none"):
        parser.error(f"--out is needed; --hours at least {SHORTEST_HOURS}, --nodes 4; --hazard goes with --kind none")
    counts = generate(given.out, given.seed, given.kind, hazard=given.hazard, hours=hours, nodes=given.nodes)
    print(" ".join(f"{topic}={count}" for topic, count in counts.items()))


if __name__ == "__main__":
    main()
