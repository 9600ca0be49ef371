"""Saleor's webhooks with default payloads: what each event makes, what is left out on purpose, what is refused."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from schemas.adapters.saleor import SALEOR
from tests.foreign import Record, check_taken_whole, digest, events_of, refused_of, source_of, spoilt, without

EVERY = ("event_id", "source", "system", "occurred_at", "recorded_at")
META = {"issued_at": "2026-03-02T09:20:00.123456+00:00", "version": "3.20.1", "issuing_principal": {"type": "user"}}
ORDER: Record = {
    "type": "Order",
    "id": "T3JkZXI6NTE=",
    "meta": META,
    "channel": {"type": "Channel", "id": "Q2hhbm5lbDox", "slug": "default-channel", "currency_code": "PLN"},
    "shipping_address": {"type": "Address", "country": "PL", "city": "Wroclaw"},
    "created": "2026-03-02T09:15:00.000001Z",
    "status": "unfulfilled",
    "user_email": "Someone@Example.com ",
    "total_gross_amount": "135.220",
    "shipping_price_gross_amount": "91.22",
    "payments": [],
    "lines": [
        {
            "type": "OrderLine",
            "id": "T3JkZXJMaW5lOjEyNA==",
            "product_sku": "43226647",
            "product_variant_id": "UHJvZHVjdFZhcmlhbnQ6MjAz",
            "quantity": 11,
            "currency": "PLN",
            "unit_price_gross_amount": 4.0,
            "allocations": [
                {"warehouse_id": "V2FyZWhvdXNlOkE=", "quantity_allocated": 6},
                {"warehouse_id": "V2FyZWhvdXNlOkI=", "quantity_allocated": 5},
            ],
        },
        {"id": "T3JkZXJMaW5lOjEyNQ==", "product_sku": None, "product_variant_id": "UHJvZDox", "quantity": 1},
    ],
}
FULFILLMENT: Record = {
    "type": "Fulfillment",
    "id": "RnVsZmlsbG1lbnQ6NQ==",
    "meta": META,
    "status": "fulfilled",
    "tracking_code": "PARCEL-1",
    "order": ORDER,
    "lines": [{"product_sku": "43226647", "quantity": 11, "warehouse_id": "V2FyZWhvdXNlOkE="}],
}
SHIPMENT = {"shipment_id": "RnVsZmlsbG1lbnQ6NQ==", "order_id": "T3JkZXI6NTE=", "node": "V2FyZWhvdXNlOkE="}


def delivery(event: str, body: object, **headers: str) -> Record:
    return {
        "received_at": "2026-03-02T09:20:02Z",
        "headers": {"Saleor-Event": event, "Saleor-Domain": "Shop.example.com"} | headers,
        "body": body,
    }


DELIVERIES = [
    delivery("order_created", [ORDER]),
    delivery("order_confirmed", [ORDER]),
    delivery("order_cancelled", [ORDER]),
    delivery("fulfillment_created", [FULFILLMENT]),
    delivery("fulfillment_canceled", [FULFILLMENT]),
]


def test_an_order(tmp_path: Path) -> None:
    (made,) = events_of(source_of(SALEOR, tmp_path, DELIVERIES[0]))
    customer = made.pop("customer_id")
    assert made == {
        "type": "order.created",
        "event_id": "order_created/T3JkZXI6NTE=/2026-03-02T09:20:00.123456+00:00",
        "source": "shop.example.com",
        "system": "ecom",
        "occurred_at": "2026-03-02T09:15:00.000001Z",
        "recorded_at": "2026-03-02T09:20:02Z",
        "channel": "default-channel",
        "region": "PL",
        "order_id": "T3JkZXI6NTE=",
        "lines": [
            {"line_id": "T3JkZXJMaW5lOjEyNA==", "sku": "43226647", "qty": 11, "unit_price": "4.0"},
            {"line_id": "T3JkZXJMaW5lOjEyNQ==", "sku": "UHJvZDox", "qty": 1},
        ],
        "currency": "PLN",
        "total": "135.220",
        "freight_charged": "91.22",
    }
    assert len(customer) == 24
    (other,) = events_of(source_of(SALEOR, tmp_path, delivery("order_created", [ORDER | {"user_email": "b@x.org"}])))
    (same,) = events_of(
        source_of(SALEOR, tmp_path, delivery("order_created", [ORDER | {"user_email": "someone@example.com"}]))
    )
    assert same["customer_id"] == customer != other["customer_id"]


def test_every_other_event(tmp_path: Path) -> None:
    made = events_of(source_of(SALEOR, tmp_path, *DELIVERIES[1:]))
    assert {event["occurred_at"] for event in made} == {"2026-03-02T09:20:00.123456Z"}
    assert len({event["event_id"] for event in made}) == len(made)
    order = {"order_id": "T3JkZXI6NTE="}
    assert [without(event, *EVERY) for event in made] == [
        {"type": "order.approved", **order, "reason": "confirmed"},
        {"type": "order.allocated", **order, "node": "V2FyZWhvdXNlOkE="},
        {"type": "order.allocated", **order, "node": "V2FyZWhvdXNlOkI="},
        {"type": "order.cancelled", **order},
        {"type": "shipment.dispatched", **SHIPMENT},
        {"type": "shipment.exception", **SHIPMENT, "reason": "cancelled"},
    ]


def test_a_delivery_that_comes_twice_has_the_same_ids(tmp_path: Path) -> None:
    later = [one | {"received_at": "2026-03-02T12:00:00Z"} for one in DELIVERIES]
    first = [event["event_id"] for event in events_of(source_of(SALEOR, tmp_path, *DELIVERIES))]
    assert [event["event_id"] for event in events_of(source_of(SALEOR, tmp_path, *later))] == first
    undated = delivery("order_cancelled", [without(ORDER, "meta")])
    other = delivery("order_cancelled", [without(ORDER, "meta") | {"status": "canceled"}])
    ids = [event["event_id"] for event in events_of(source_of(SALEOR, tmp_path, undated, undated, other))]
    assert ids[0] == ids[1] != ids[2]


def test_where_it_is_from_and_what_is_written_as_text(tmp_path: Path) -> None:
    logged = delivery("order_created", json.dumps([ORDER])) | {
        "headers": {"x-saleor-event": ["ORDER_CREATED"], "saleor-api-url": "https://Shop.example.com/graphql/"}
    }
    assert events_of(source_of(SALEOR, tmp_path, logged)) == events_of(source_of(SALEOR, tmp_path, DELIVERIES[0]))
    assert SALEOR.source_of(json.dumps(logged).encode()) == "shop.example.com", "a dead letter's, too"
    assert SALEOR.source_of(b'{"headers": {"Saleor-Api-Url": "https://[/"}, "body": 1}') == SALEOR.source_of(b"x") == ""


def test_what_makes_no_event_is_counted_by_what_it_is(tmp_path: Path) -> None:
    source = source_of(
        SALEOR,
        tmp_path,
        delivery("product_variant_stock_updated", [{"id": "U3RvY2s6MQ==", "warehouse_id": "V2E="}]),
        delivery("order_refunded", [ORDER]),
        delivery("fulfillment_created", [FULFILLMENT | {"status": "waiting_for_approval"}]),
    )
    assert events_of(source) == []
    assert dict(source.skipped) == {
        "product_variant_stock_updated": 1,
        "order_refunded": 1,
        "fulfillment_created that waits for approval": 1,
    }


@pytest.mark.parametrize(
    ("record", "refused"),
    [
        (
            delivery("order_created", [ORDER, ORDER]),
            ("schema", "$.body", "holds 2 objects, not the one of Saleor's default payload"),
        ),
        (delivery("order_created", {"order": {"id": "1"}}), ("schema", "$.body", "must be array, is object")),
        (delivery("order_created", [without(ORDER, "created")]), ("schema", "$.body[0].created", "is missing")),
        (
            delivery("order_created", [ORDER | {"total_gross_amount": "1,5"}]),
            ("schema", "$.body[0].total_gross_amount", "'1,5' is not a number"),
        ),
        (
            delivery("order_created", [ORDER], **{"Saleor-Domain": ""}),
            ("schema", "$.headers.Saleor-Domain", "is missing (nor is Saleor-Api-Url)"),
        ),
        (
            without(delivery("order_confirmed", [without(ORDER, "meta")]), "received_at"),
            ("schema", "$.body[0].meta.issued_at", "is missing (nor is received_at in the delivery)"),
        ),
    ],
)
def test_what_is_refused_says_where_and_why(record: Record, refused: tuple[str, str, str], tmp_path: Path) -> None:
    assert refused_of(source_of(SALEOR, tmp_path, record)) == [refused]


@given(raw=spoilt(DELIVERIES))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_spoilt_record_is_events_or_counted_or_one_dead_letter(raw: bytes, tmp_path: Path) -> None:
    check_taken_whole(SALEOR, raw, tmp_path)


def test_whoever_changes_what_is_made_raises_the_version(tmp_path: Path) -> None:
    """State that was kept through another version is refused; the digest below is of what this version makes."""
    assert (SALEOR.version, digest(events_of(source_of(SALEOR, tmp_path, *DELIVERIES)))) == (1, "c1c0dc220a14")
