"""EPCIS ObjectEvents: what each business step makes, the ids of GS1, documents, what is left out and refused."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from schemas.adapters.epcis import EPCIS
from schemas.adapters.gs1_ids import check_digit, gln_of, gtin_of, sscc_of, term_of, transaction_of
from schemas.adapters.records import RecordSource
from tests.foreign import Record, check_taken_whole, digest, events_of, refused_of, source_of, spoilt, without

EVERY = ("event_id", "source", "occurred_at", "recorded_at")

#: One lamp twice, by its serial numbers; ten bulbs of a lot; a parcel.
LAMPS = ["urn:epc:id:sgtin:4012345.011122.1", "https://id.gs1.org/01/04012345111224/21/2"]
BULBS = [{"epcClass": "urn:epc:class:lgtin:4012345.022233.998877", "quantity": 10}]
PARCEL = "urn:epc:id:sscc:4012345.0000000111"
LAMP, BULB, SSCC = "04012345111224", "04012345222333", "040123450000001112"
NODE = "4012345000054"


def event(step: str = "receiving", number: int = 1, **changes: object) -> Record:
    return {
        "type": "ObjectEvent",
        "eventID": f"urn:uuid:374d95fc-9457-4a51-bd6a-0bba133845a{number}",
        "eventTime": "2026-03-02T10:15:00.500+01:00",
        "eventTimeZoneOffset": "+01:00",
        "recordTime": "2026-03-02T09:15:03Z",
        "action": "OBSERVE",
        "bizStep": step,
        "disposition": "in_progress",
        "epcList": LAMPS,
        "quantityList": BULBS,
        "readPoint": {"id": "urn:epc:id:sgln:4012345.00005.door7"},
        "bizLocation": {"id": "https://id.gs1.org/414/4012345000054"},
        "bizTransactionList": [
            {"type": "po", "bizTransaction": "urn:epcglobal:cbv:bt:4012345000009:PO-12"},
            {"type": "urn:epcglobal:cbv:btt:desadv", "bizTransaction": "https://edi.example.com/desadv/DA-77"},
        ],
        "sourceList": [{"type": "owning_party", "source": "urn:epc:id:pgln:4098765.00000"}],
    } | changes


RMA = [{"type": "rma", "bizTransaction": "RMA-9"}, {"type": "po", "bizTransaction": "ORDER-5"}]
EVENTS = [
    event("receiving"),
    event("receiving", 2, bizTransactionList=RMA, epcList=LAMPS, quantityList=[]),
    event("shipping", 3, action="DELETE", epcList=[PARCEL], quantityList=[]),
    event("urn:epcglobal:cbv:bizstep:picking", 4, quantityList=[]),
    event("https://ref.gs1.org/cbv/BizStep-packing", 5),
    event("stocking", 6),
    event("retail_selling", 7),
    event("cycle_counting", 8),
]


def document(*events: object) -> Record:
    return {
        "@context": ["https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld"],
        "type": "EPCISDocument",
        "schemaVersion": "2.0",
        "creationDate": "2026-03-02T10:00:00Z",
        "epcisBody": {"eventList": list(events)},
    }


def test_goods_that_were_received(tmp_path: Path) -> None:
    assert events_of(source_of(EPCIS, tmp_path, event())) == [
        {
            "type": "goods.received",
            "event_id": "urn:uuid:374d95fc-9457-4a51-bd6a-0bba133845a1",
            "source": "epcis",
            "system": "wms",
            "occurred_at": "2026-03-02T10:15:00.500000+01:00",
            "recorded_at": "2026-03-02T09:15:03Z",
            "po_id": "PO-12",
            "supplier": "4098765000003",
            "document_id": "DA-77",
            "qty": 12,
            "lines": [{"sku": LAMP, "qty": 2}, {"sku": BULB, "qty": 10}],
        }
    ]


def test_every_step(tmp_path: Path) -> None:
    made = [without(one, *EVERY) for one in events_of(source_of(EPCIS, tmp_path, *EVENTS[1:]))]
    ids = [f"urn:uuid:374d95fc-9457-4a51-bd6a-0bba133845a{number}" for number in range(10)]
    assert made == [
        {
            "type": "return.received",
            "system": "wms",
            "return_id": "RMA-9",
            "order_id": "ORDER-5",
            "node": NODE,
            "sku": LAMP,
            "qty": 2,
        },
        {"type": "shipment.dispatched", "system": "wms", "shipment_id": "DA-77", "order_id": "PO-12", "node": NODE},
        {
            "type": "task.completed",
            "system": "wms",
            "task_id": ids[4],
            "task_type": "pick",
            "node": NODE,
            "order_id": "PO-12",
            "sku": LAMP,
            "qty": 2,
        },
        {
            "type": "task.completed",
            "system": "wms",
            "task_id": ids[5],
            "task_type": "pack",
            "node": NODE,
            "order_id": "PO-12",
        },
        {"type": "task.completed", "system": "wms", "task_id": ids[6], "task_type": "putaway", "node": NODE},
        {"type": "sale.recorded", "system": "pos", "sku": LAMP, "node": NODE, "qty": 2},
        {"type": "sale.recorded", "system": "pos", "sku": BULB, "node": NODE, "qty": 10},
        {"type": "inventory.level", "system": "wms", "sku": LAMP, "node": NODE, "on_hand": 2},
        {"type": "inventory.level", "system": "wms", "sku": BULB, "node": NODE, "on_hand": 10},
    ]


@pytest.mark.parametrize(
    ("transactions", "epcs", "shipments"),
    [
        ([("po", "A"), ("bol", "B-1")], [PARCEL], [("B-1", "A")]),
        ([("po", "A")], [PARCEL], [(SSCC, "A")]),
        ([("po", "A")], LAMPS, [("A", "A")]),
        ([("po", "A"), ("po", "B"), ("desadv", "D")], LAMPS, [("D", "A"), ("D", "B")]),
    ],
)
def test_what_a_shipment_is_known_by(
    transactions: list[tuple[str, str]], epcs: list[str], shipments: list[tuple[str, str]], tmp_path: Path
) -> None:
    listed = [{"type": kind, "bizTransaction": name} for kind, name in transactions]
    made = events_of(source_of(EPCIS, tmp_path, event("shipping", bizTransactionList=listed, epcList=epcs)))
    assert [(one["shipment_id"], one["order_id"]) for one in made] == shipments
    assert len({one["event_id"] for one in made}) == len(made)


def test_of_several_orders_in_one_receipt_it_is_not_said_what_came_for_which(tmp_path: Path) -> None:
    listed = [{"type": "po", "bizTransaction": name} for name in ("A", "B")]
    made = events_of(source_of(EPCIS, tmp_path, event(bizTransactionList=listed)))
    assert [(one["po_id"], "lines" in one, "qty" in one) for one in made] == [("A", False, False), ("B", False, False)]


def test_without_an_id_the_same_event_has_the_same_id_whenever_it_was_recorded(tmp_path: Path) -> None:
    bare = without(event(), "eventID")
    turned = dict(reversed(list(bare.items()))) | {"recordTime": "2026-03-03T00:00:00Z"}
    other = bare | {"eventTime": "2026-03-02T10:15:01+01:00"}
    first, second, third = events_of(source_of(EPCIS, tmp_path, bare, other, turned))
    assert first["event_id"] == third["event_id"] != second["event_id"]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("packed", [False, True])
def test_a_document_is_the_same_as_its_events_a_line_each(indent: int | None, packed: bool, tmp_path: Path) -> None:
    expected = events_of(source_of(EPCIS, tmp_path, *EVENTS))
    text = json.dumps(document(*EVENTS), indent=indent).encode("utf-8-sig")
    path = tmp_path / "document"
    path.write_bytes(gzip.compress(text) if packed else text)
    assert events_of(RecordSource(EPCIS, str(path))) == expected
    asked = document() | {"type": "EPCISQueryDocument", "epcisBody": {"queryResults": {"resultsBody": {}}}}
    asked["epcisBody"]["queryResults"]["resultsBody"]["eventList"] = EVENTS
    assert events_of(source_of(EPCIS, tmp_path, asked)) == expected
    assert events_of(source_of(EPCIS, tmp_path, EVENTS)) == expected  # a list


def test_what_makes_no_event_is_counted_by_what_it_is(tmp_path: Path) -> None:
    source = source_of(
        EPCIS,
        tmp_path,
        event("inspecting"),
        without(event(), "bizStep"),
        event(errorDeclaration={"declarationTime": "2026-03-03T00:00:00Z"}),
        event(bizTransactionList=[]),
        event("shipping", bizTransactionList=[]),
        event("storing", epcList=[], quantityList=[], sensorElementList=[{"sensorReport": [{"value": 4.1}]}]),
        {"type": "TransactionEvent"},
        {"type": "acme:TemperatureEvent"},
        *[{"type": "AggregationEvent", "parentID": PARCEL, "childEPCs": []}] * 40,
    )
    assert [*source.messages()] == [], "nor a dead letter, a rise of which would make the job unhealthy"
    assert dict(source.skipped) == {
        "bizStep inspecting": 1,
        "ObjectEvent without bizStep": 1,
        "a declaration that an earlier event was wrong": 1,
        "receiving without po or rma": 1,
        "shipping without po": 1,
        "ObjectEvent of sensors alone": 1,
        "TransactionEvent": 1,
        "acme:TemperatureEvent": 1,
        "AggregationEvent": 40,
    }


@pytest.mark.parametrize(
    ("record", "refused"),
    [
        ({"type": "Objectevent"}, ("schema", "$.type", "'Objectevent' is no type of EPCIS events")),
        (
            event() | {"type": "epcis:ObjectEvent"},
            ("schema", "$.type", "'epcis:ObjectEvent' is no type of EPCIS events"),
        ),
        ({}, ("schema", "$.type", "is missing")),
        (without(event(), "eventTime"), ("schema", "$.eventTime", "is missing")),
        (event(eventTime="2026-03-02T10:15:00"), ("schema", "$.eventTime", "time without zone")),
        (event(action="REMOVE"), ("schema", "$.action", "'REMOVE' is not a value of the contract")),
        (
            event(action="DELETE"),
            ("rule", "$.action", "DELETE says that the objects are gone, and receiving that they are there"),
        ),
        (
            event("picking", readPoint=None, bizLocation=None),
            ("schema", "$.bizLocation", "is missing (nor is readPoint)"),
        ),
        (
            event("cycle_counting", epcList=[PARCEL], quantityList=[]),
            ("schema", "$.epcList", "names nothing that cycle_counting could be about (nor does quantityList)"),
        ),
        (event(quantityList=[{"epcClass": "x"}]), ("schema", "$.quantityList[0].quantity", "is missing")),
        (
            event(bizTransactionList=RMA[:1]),
            ("schema", "$.bizTransactionList", "has no po, which says the order that is returned"),
        ),
        ({"type": "EPCISDocument"}, ("schema", "$.epcisBody", "is missing")),
        ({"type": "EPCISDocument", "epcisBody": {}}, ("schema", "$.epcisBody.eventList", "is missing")),
    ],
)
def test_what_is_refused_says_where_and_why(record: Record, refused: tuple[str, str, str], tmp_path: Path) -> None:
    assert refused_of(source_of(EPCIS, tmp_path, record)) == [refused]


def test_one_bad_event_of_a_document_is_one_dead_letter_and_the_others_are_read(tmp_path: Path) -> None:
    source = source_of(EPCIS, tmp_path, document(event(), {"type": "Event"}, event("packing", 2), 5))
    refused = [one for one in source.messages() if hasattr(one, "reason")]
    assert [(one.path, one.raw) for one in refused] == [("$.type", b'{"type": "Event"}'), ("$", b"5")]
    assert source.messages_made == 4


@given(raw=spoilt([*EVENTS, document(*EVENTS[:1])]))
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_spoilt_record_is_events_or_counted_or_one_dead_letter(raw: bytes, tmp_path: Path) -> None:
    check_taken_whole(EPCIS, raw, tmp_path)


def test_whoever_changes_what_is_made_raises_the_version(tmp_path: Path) -> None:
    """State that was kept through another version is refused; the digest below is of what this version makes."""
    assert (EPCIS.version, digest(events_of(source_of(EPCIS, tmp_path, *EVENTS)))) == (2, "460324d6dec7")


@pytest.mark.parametrize(
    ("key", "digit"),
    [("061414199999", "6"), ("629104150021", "3"), ("10614141073460"[:-1], "4"), ("00614141123456789"[:17], "0")],
)
def test_check_digits(key: str, digit: str) -> None:
    assert check_digit(key) == digit


@pytest.mark.parametrize(
    ("read", "uri", "expected"),
    [
        (gtin_of, "urn:epc:id:sgtin:0614141.112345.400", "10614141123459"),
        (gtin_of, "urn:epc:idpat:sgtin:4012345.011122.*", "04012345111224"),
        (gtin_of, "https://shop.example.com/some/path/01/04012345111224/10/L1?17=261231", "04012345111224"),
        (gtin_of, "https://id.gs1.org/01/4012345111224", "04012345111224"),
        (gtin_of, "urn:epc:id:sgtin:0614141.12345.400", None),
        (gtin_of, "urn:epc:id:grai:0614141.12345.400", None),
        (gln_of, "urn:epc:id:sgln:0614141.12345.400", "0614141123452"),
        (gln_of, "urn:epc:id:sgln:061414112345..0", "0614141123452"),
        (gln_of, "urn:epc:id:pgln:0614141.12345", "0614141123452"),
        (gln_of, "https://id.gs1.org/414/0614141123452/254/400", "0614141123452"),
        (gln_of, "geo:54.3,10.1", None),
        (sscc_of, "urn:epc:id:sscc:0614141.1234567890", "106141412345678908"),
        (sscc_of, "https://id.gs1.org/00/106141412345678908", "106141412345678908"),
        (sscc_of, "urn:epc:id:sscc:0614141.123456789", None),
        (term_of, "https://ns.gs1.org/cbv/BTT-po", "po"),
        (term_of, "https://example.com/steps/own", "https://example.com/steps/own"),
        (transaction_of, "urn:epcglobal:cbv:bt:0614141073467:A:B", "A:B"),
        (transaction_of, "http://transaction.example.com/po/12345678", "12345678"),
        (transaction_of, "urn:epc:id:gdti:0614141.06012.1234", "urn:epc:id:gdti:0614141.06012.1234"),
    ],
)
def test_ids(read: object, uri: str, expected: str | None) -> None:
    assert callable(read)
    assert read(uri) == expected
