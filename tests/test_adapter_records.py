"""Files of foreign records: lines and documents, order, what a job is told of them, and a replay from end to end."""

import gzip
import json
import re
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

import schemas.adapters.record_files
import schemas.adapters.records
from dataflows.files import TranslatedReader, partitions_of
from dataflows.job import process_map_of, run_record
from dataflows.lane import FileLane, LaneInput
from dataflows.settings import Settings
from operators.lane_state import TimeRules
from schemas.adapters import epcis, saleor, shopify
from schemas.adapters.mapping import read_mapping, shipped_mappings
from schemas.adapters.records import RecordSource, count_records
from schemas.adapters.shopify import SHOPIFY
from schemas.adapters.tabular import MappedMessage, RefusedRow
from schemas.adapters.translations import (
    ADAPTERS,
    identity_of,
    load_translation,
    open_source,
)
from schemas.errors import SettingsError, SourceError, StateError
from schemas.rows import DeadLetter
from tests.databases import rows_of
from tests.foreign import Record, events_of, refused_of, source_of
from tests.processes import andon
from tests.test_adapter_shopify import DELIVERIES, FULFILLMENT, ORDER, delivery


def paid(number: int, second: int) -> Record:
    made = delivery("orders/paid", ORDER | {"id": number}, number)
    return made | {"received_at": f"2026-03-02T10:00:{second:02}Z"}


def test_messages_come_in_the_order_of_arrival_wherever_they_are_sorted(tmp_path: Path) -> None:
    records = [paid(number, number * 7 % 60) for number in range(1, 60)]
    records.insert(9, {"headers": {}, "body": {}})
    whole = list(source_of(SHOPIFY, tmp_path, *records).messages())
    assert [(one.arrival_us, one.offset) for one in whole] == sorted((one.arrival_us, one.offset) for one in whole)
    spilt = source_of(SHOPIFY, tmp_path, *records)
    spilt._run_length = 7
    assert list(spilt.messages()) == whole
    assert list(spilt.messages(skip=50)) == whole[50:]
    (refused,) = [one for one in whole if isinstance(one, RefusedRow)]
    before = next(one for one in whole if one.offset == 9_000)
    assert (refused.arrival_us, refused.offset) == (before.arrival_us, 10_000)


@pytest.mark.parametrize(
    ("content", "outcome"),
    [
        (b"", []),
        (b"\n \n", []),
        (b"[]", []),
        (b"order,state\n1,2\n", [1, 2]),
        (b"{broken\n{also broken", [1, 2]),
        (b'{broken\n{also broken\n{"headers": {}}\n', [1, 2, 3]),
        (b'{\n  "type": "EPCISDocument",\n  "epcisBody": {\n    "eventList": [\n{}', [1, 2, 3, 4, 5]),
        (b'{\n  "type": "EPCISDocument",\n  "epcisBody": {\n    "eventList": [\n      {}', [1]),
        (b"\xef\xbb\xbf5\r\n\r\n6\r\n", [1, 2]),
        (b"[\n1,\n2\n]", [1, 2]),
        (b"[1, 2", [1]),
        (b'{"a":\n1}', [1]),
        (b"\xff\xfe", [1]),
        (b'{"headers": "\xff"}', [1]),
        (b"[" * 300 + b"]" * 300, [1]),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_what_a_record_is_in_a_file(content: bytes, outcome: list[int], packed: bool, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(content) if packed else content)
    assert [one.offset // 1000 for one in RecordSource(SHOPIFY, str(path)).messages()] == outcome


def test_a_line_or_document_over_the_limit_is_a_dead_letter_and_the_next_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schemas.adapters.record_files, "MAX_BYTES", 3_000)
    monkeypatch.setattr(schemas.adapters.records, "MAX_BYTES", 3_000)
    (document,) = source_of(SHOPIFY, tmp_path, b"{", b'  "headers":', b" " * 9_000, b"{}}").messages()
    assert isinstance(document, RefusedRow)
    assert document.detail == "longer than the limit of 3000 bytes"
    first, second = source_of(SHOPIFY, tmp_path, paid(1, 1) | {"x": "y" * 9_000}, paid(2, 2)).messages()
    assert isinstance(first, RefusedRow)
    assert (first.reason, first.path, first.detail) == ("transport", "$", "longer than the limit of 3000 bytes")
    assert isinstance(second, MappedMessage)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04...", "is a zip archive or a spreadsheet, not JSON; give JSON lines or a JSON document"),
        (b"<?xml version='1.0'?>", "is XML, not JSON"),
        (gzip.compress(b'{"a": 1}\n' * 9_000)[:-20], "can't be read: Compressed file ended"),
    ],
)
def test_a_file_that_can_t_be_read_at_all_is_said(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=words):
        list(RecordSource(SHOPIFY, str(path)).messages())


def test_names_of_what_makes_no_event_are_bounded(tmp_path: Path) -> None:
    source = source_of(SHOPIFY, tmp_path, *(delivery(f"topic/{number}", {}) for number in range(80)))
    assert events_of(source) == []
    counts = count_records([source, source])
    assert (counts.read, counts.without_event, counts.unit) == (160, 160, "records")
    assert len(counts.left_out) == 51
    assert counts.left_out[0] == ("other", 60)


def test_more_events_than_a_record_may_make_are_refused(tmp_path: Path) -> None:
    body = {"id": 1, "order_id": 2, "created_at": "2026-03-09T10:00:00Z"}
    line = {"quantity": 1, "restock_type": "return", "line_item": {"id": 1, "quantity": 1, "sku": "A"}}
    many = delivery("refunds/create", body | {"refund_line_items": [line] * 1_000})
    expected = ("rule", "$", "makes 1001 events; at most 1000 of one record")
    assert refused_of(source_of(SHOPIFY, tmp_path, many)) == [expected]


def test_a_dead_letter_says_which_system_it_is_from(tmp_path: Path) -> None:
    source_of(SHOPIFY, tmp_path, delivery("orders/paid", {}), b'{"headers": 5}')
    (partition,) = partitions_of([str(tmp_path / "records.jsonl")])
    reader = TranslatedReader(partition, SHOPIFY, TimeRules())
    reader.fetch(10)
    _, dead, _ = reader.queue.take_before(1 << 61)
    assert all(isinstance(one, DeadLetter) for one in dead)
    assert [(one.source, one.path) for one in dead] == [("lamps-eu.myshopify.com", "$.body.id"), ("", "$.headers")]


@pytest.mark.parametrize("batches", [1, 3, 7])
def test_a_lane_goes_on_where_it_was_stopped(batches: int, tmp_path: Path) -> None:
    source_of(SHOPIFY, tmp_path, *(paid(number, number * 7 % 60) for number in range(1, 60)), {"headers": {}})
    files = tuple(partitions_of([str(tmp_path / "records.jsonl")]))
    reading = LaneInput(partitions=files, rules=TimeRules(), batch=5, mapping=SHOPIFY)

    def read(resume: bytes | None, most: int) -> tuple[list[object], bytes]:
        lane = FileLane("lane-0", ["lane-0"], reading, resume, lambda _lane, _share: None)
        seen: list[object] = []
        while not lane.ended and most:
            merged = lane.next()
            seen += [*merged.events, *merged.dead] if merged is not None else []
            most -= 1
        return seen, lane.snapshot()

    whole, _ = read(None, 1_000)
    first, kept = read(None, batches)
    rest, _ = read(kept, 1_000)
    assert len(first) < len(whole) == 60
    assert sorted(map(repr, first + rest)) == sorted(map(repr, whole))


def test_every_name_is_known_and_an_unknown_one_lists_them_all() -> None:
    for name in (*shipped_mappings(), *ADAPTERS):
        found = load_translation(name)
        assert found.name == name
        assert process_map_of(Settings(), found).name == found.process_map
    with pytest.raises(SettingsError) as error:
        load_translation("epsic")
    assert str(error.value) == (
        "--mapping: mapping = \"epsic\": did you mean 'epcis'? must be a mapping file or a shipped mapping: "
        "bpi2019, epcis, ocel, olist, online_retail, saleor, shopify"
    )


def test_state_kept_through_another_version_of_an_adapter_or_of_other_records_is_refused(tmp_path: Path) -> None:
    source_of(SHOPIFY, tmp_path, paid(1, 1))
    path, state = tmp_path / "records.jsonl", tmp_path / "state"
    state.mkdir()
    files = partitions_of([str(path)])
    kept = run_record(Settings(), state, SHOPIFY, files)
    assert run_record(Settings(), state, SHOPIFY, files) == kept
    newer = msgspec.structs.replace(SHOPIFY, version=99)
    assert identity_of(newer) != identity_of(SHOPIFY)
    with pytest.raises(StateError, match=r"shopify \(adapter\) is not as it was when the state"):
        run_record(Settings(), state, newer, files)
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(StateError, match=r"records\.jsonl is not as it was"):
        run_record(Settings(), state, SHOPIFY, files)


def _example(name: str) -> str:
    page = Path("docs/adapters.md").read_text("utf-8")
    return dict(re.findall(r"<!-- example: (\S+) -->\n```\w+\n(.*?)```", page, re.DOTALL))[name]


def test_the_examples_of_the_documentation_give_what_they_say(tmp_path: Path) -> None:
    (tmp_path / "hooks.jsonl").write_text(_example("hooks.jsonl"), "utf-8")
    (tmp_path / "orders.json").write_text(_example("orders.json"), "utf-8")
    log = read_mapping(_example("orders.toml"), "orders.toml")
    assert log.value is not None, log.problems
    for translation, file in ((SHOPIFY, "hooks.jsonl"), (log.value, "orders.json")):
        messages = list(open_source(translation, str(tmp_path / file)).messages())
        expected = _example(file.partition(".")[0] + ".events.jsonl")
        assert [one.raw.decode() for one in messages if isinstance(one, MappedMessage)] == expected.splitlines()


@pytest.mark.parametrize(
    ("section", "names"),
    [("Shopify", shopify._TOPICS), ("Saleor", saleor._EVENTS), ("EPCIS", epcis._STEPS)],
)
def test_the_documentation_lists_everything_that_makes_an_event(section: str, names: Iterable[str]) -> None:
    page = Path("docs/adapters.md").read_text("utf-8").split(f"\n## {section}\n")[1].split("\n## ")[0]
    cells = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    assert {name for name in names if not any(f"`{name}`" in cell for cell in cells)} == set()


def test_webhooks_from_file_to_finding(tmp_path: Path) -> None:
    """A replay: an order that was shipped and delivered, one that was cancelled and shipped, a delivery sent twice."""
    shipped = delivery("fulfillments/create", FULFILLMENT | {"id": 82, "order_id": 5002}, 22)
    cancelled = ORDER | {"id": 5002, "cancelled_at": "2026-03-02T09:19:00Z"}
    records = [
        *DELIVERIES[:5],
        DELIVERIES[0],
        delivery("orders/create", ORDER | {"id": 5002, "checkout_token": "d"}, 20),
        delivery("orders/cancelled", cancelled, 21),
        shipped | {"received_at": "2026-03-03T08:00:01Z"},
        delivery("customers/update", {}, 23),
        delivery("orders/paid", {"id": "5003"}, 24),
    ]
    del records[2]  # the first order's own cancellation
    for number, one in enumerate(records):
        if "fulfillments" in one["headers"]["X-Shopify-Topic"]:
            records[number] = one | {"received_at": one["body"]["updated_at"]}
    (tmp_path / "hooks.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    done = andon("replay", "--mapping", "shopify", "hooks.jsonl", "--close-at", "end", cwd=tmp_path)
    assert done.stdout.startswith("Read 10 records (1 made no event) as 9 messages")
    assert "No event is made of: customers/update (1)." in done.stdout
    found = rows_of(
        "SELECT handoff AS what, case_id AS of, status AS how FROM handoffs"
        " UNION ALL SELECT 'finding', case_id, kind FROM signals"
        " UNION ALL SELECT source, path, reason FROM dead_letters"
        " UNION ALL SELECT 'twice', event_id, '' FROM duplicate_event_log",
        cwd=tmp_path,
    )
    assert sorted(tuple(row.values()) for row in found) == [
        ("delivery", "5001", "done"),
        ("delivery", "5002", "cancelled"),
        ("dispatch", "5001", "done"),
        ("dispatch", "5002", "done"),
        ("finding", "5002", "duplicate_order"),
        ("finding", "5002", "impossible_state"),
        ("lamps-eu.myshopify.com", "$.body.id", "schema"),
        ("order_approval", "5001", "done"),
        ("order_approval", "5002", "cancelled"),
        ("twice", "event-1/orders/create/5001", ""),
    ]
