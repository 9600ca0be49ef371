"""The shipped mappings on data that nobody here wrote: the facts in it come out.

The counts are of first occurrences, by a plain oracle over the messages that the adapter makes.
"""

import functools
import json
import os
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from operators.process_lint import read_process_map
from operators.process_map import Handoff, Pattern, ProcessMap
from schemas.adapters.mapping import load_mapping
from schemas.adapters.tabular import MappedMessage, RefusedRow, TabularSource
from schemas.durations import to_us
from schemas.events import Event, EventBase, type_name

DATA = Path(os.environ.get("ANDON_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
FILES = {
    "olist": "olist/orders.csv.gz",
    "bpi2019": "bpi2019/p2p_events.csv.gz",
    "online_retail": "online_retail/lines.csv.gz",
    "ocel": "ocel/order_management.csv.gz",
}


@functools.cache
def replayed(name: str) -> tuple[TabularSource, list[EventBase], list[RefusedRow], int]:
    """(source, events once each, refused rows, second deliveries)."""
    path = DATA / FILES[name]
    if not path.exists():
        pytest.skip(f"needs {path} (set ANDON_SHARED_DATA)")
    source = TabularSource(load_mapping(name), str(path))
    decode = msgspec.json.Decoder(Event).decode
    seen: set[str] = set()
    events: list[EventBase] = []
    refused: list[RefusedRow] = []
    duplicates = 0
    for message in source.messages():
        if isinstance(message, RefusedRow):
            refused.append(message)
            continue
        event = decode(message.raw)
        if event.event_id in seen:
            duplicates += 1
        else:
            seen.add(event.event_id)
            events.append(event)
    return source, events, refused, duplicates


@functools.cache
def process_map(name: str) -> ProcessMap:
    path = Path("dataflows/process_maps") / f"{name}.toml"
    value = read_process_map(path.read_text("utf-8"), str(path)).value
    assert value is not None
    return value


def firsts(events: list[EventBase], pattern: Pattern, case: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for event in events:
        if type_name(event) == pattern.type and pattern.matches(event):
            key = getattr(event, case)
            instant = to_us(event.occurred_at)
            found[key] = min(found.get(key, instant), instant)
    return found


def counts(name: str, handoff_name: str) -> dict[str, int]:
    handoff: Handoff = next(handoff for handoff in process_map(name).handoff if handoff.name == handoff_name)
    _, events, _, _ = replayed(name)
    starts = firsts(events, handoff.start, handoff.start_case or handoff.case)
    ends = firsts(events, handoff.end, handoff.end_case or handoff.case)
    if handoff.deadline_at is not None:
        field = handoff.deadline_at.field
        due = {getattr(e, handoff.case): to_us(getattr(e, field)) for e in events if getattr(e, field, None)}
    else:
        assert handoff.deadline is not None
        due = {case: start + handoff.deadline for case, start in starts.items()}
    both = starts.keys() & ends.keys()
    return {
        "passes": len(starts),
        "missing": len(starts.keys() - ends.keys()),
        "out_of_sequence": sum(ends[case] < starts[case] for case in both),
        "late": sum(ends[case] > due[case] for case in both),
    }


@pytest.mark.parametrize(
    ("name", "handoff", "expected"),
    [
        ("olist", "payment_approval", {"passes": 4998, "missing": 10, "late": 902, "out_of_sequence": 0}),
        ("olist", "carrier_handover", {"late": 723, "out_of_sequence": 74}),
        ("olist", "dispatch", {"missing": 78, "out_of_sequence": 12}),
        ("olist", "delivery_promise", {"missing": 142, "late": 392}),
        ("olist", "last_mile", {"out_of_sequence": 0}),
        (
            "bpi2019",
            "receipt_to_invoice",
            {"passes": 5623, "missing": 1119, "late": 1034, "out_of_sequence": 548},
        ),
        ("bpi2019", "invoice_to_clearing", {"passes": 4613, "out_of_sequence": 12}),
        ("bpi2019", "order_to_receipt", {"passes": 5851}),
        ("online_retail", "return_refund", {"passes": 805, "missing": 805}),
        ("ocel", "out_of_stock_wait", {"passes": 1664, "missing": 0}),
        ("ocel", "reorder_wait", {"passes": 1664, "missing": 0}),
        ("ocel", "order_confirmation", {"passes": 2000, "missing": 0}),
        ("ocel", "payment", {"passes": 2000, "missing": 0}),
        ("ocel", "redelivery", {"passes": 261, "missing": 0}),
        ("ocel", "delivery", {"passes": 1325, "missing": 0}),
        ("ocel", "sending", {"passes": 2000, "missing": 0}),
        ("ocel", "packaging", {"passes": 2000, "missing": 0}),
    ],
)
def test_handoffs(name: str, handoff: str, expected: dict[str, int]) -> None:
    found = counts(name, handoff)
    assert {key: found[key] for key in expected} == expected


def test_nothing_is_out_of_sequence_in_the_simulated_log() -> None:
    assert {h.name: counts("ocel", h.name)["out_of_sequence"] for h in process_map("ocel").handoff} == {
        h.name: 0 for h in process_map("ocel").handoff
    }


@pytest.mark.parametrize(
    ("name", "exception", "expected"), [("ocel", "delivery_failed", 391), ("ocel", "out_of_stock", 1664)]
)
def test_exceptions(name: str, exception: str, expected: int) -> None:
    pattern = next(rule.event for rule in process_map(name).exception if rule.name == exception)
    _, events, _, _ = replayed(name)
    assert sum(type_name(event) == pattern.type and pattern.matches(event) for event in events) == expected


@pytest.mark.parametrize(
    ("name", "rows", "refused", "duplicates"),
    [
        ("olist", 4998, 0, 0),
        ("bpi2019", 169_541, 68, 0),
        ("online_retail", 105_335, 0, 975),
        ("ocel", 22_367, 0, 0),
    ],
)
def test_rows_refused_and_seen_twice(name: str, rows: int, refused: int, duplicates: int) -> None:
    source, _, refused_rows, seen_twice = replayed(name)
    assert (source.rows_read, len(refused_rows), seen_twice) == (rows, refused, duplicates)


def test_bad_clocks_are_refused_by_the_plausible_range_and_bend_no_time() -> None:
    _, events, refused, _ = replayed("bpi2019")
    assert Counter((row.reason, row.path) for row in refused) == {("rule", "time:timestamp"): 68}
    assert Counter(json.loads(row.raw)["time:timestamp"][:4] for row in refused)["2017"] == 54
    first = min(to_us(event.occurred_at) for event in events)
    assert all(row.arrival_us == 0 or row.arrival_us >= first for row in refused)


def test_kinds_of_invoice_lines() -> None:
    _, events, _, _ = replayed("online_retail")
    kinds = Counter(type_name(event) for event in events)
    assert set(kinds) == {"sale.recorded", "return.received", "inventory.adjusted"}
    assert sum(kinds.values()) == 105_335 - 975


@pytest.mark.parametrize("name", ["ocel", "olist"])
def test_sorted_on_disk_it_is_the_same(name: str) -> None:
    source, _, _, _ = replayed(name)
    again = TabularSource(load_mapping(name), str(DATA / FILES[name]))
    again._run_length = 5_003
    last = (-1, -1)
    count = 0
    for message in again.messages():
        assert (message.arrival_us, message.offset) > last
        last = (message.arrival_us, message.offset)
        count += isinstance(message, MappedMessage)
    _, events, _, duplicates = replayed(name)
    assert count == len(events) + duplicates
    assert source.rows_skipped == again.rows_skipped
