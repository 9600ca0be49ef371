"""Shopify's webhooks: what each topic makes, what is left out on purpose, what is refused and where."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from schemas.adapters.shopify import SHOPIFY
from tests.foreign import Record, check_taken_whole, digest, events_of, refused_of, source_of, spoilt, without

EVERY = ("event_id", "source", "system", "occurred_at", "recorded_at", "correlation_id")


def delivery(topic: str, body: object, number: int = 1, **changes: object) -> Record:
    headers = {
        "X-Shopify-Topic": topic,
        "X-Shopify-Shop-Domain": "Lamps-EU.myshopify.com",
        "X-Shopify-Event-Id": f"event-{number}",
        "X-Shopify-Webhook-Id": f"webhook-{number}",
        "X-Shopify-Triggered-At": "2026-03-02T09:20:00.250000000Z",
    }
    return {"received_at": "2026-03-02T09:20:02Z", "headers": headers | changes, "body": body}


ITEM = {"id": 71, "sku": "LAMP", "variant_id": 8, "quantity": 2, "price": "19.90", "title": "Lamp", "grams": 900}
ORDER: Record = {
    "id": 5001,
    "name": "#1001",
    "created_at": "2026-03-02T10:15:00+01:00",
    "updated_at": "2026-03-02T10:16:00+01:00",
    "cancelled_at": None,
    "cancel_reason": None,
    "currency": "EUR",
    "total_price": "44.79",
    "financial_status": "pending",
    "source_name": "web",
    "checkout_token": "c0ffee",
    "test": False,
    "customer": {"id": 311, "email": "a@example.com"},
    "shipping_address": {"country_code": "DE", "city": "Kiel"},
    "total_shipping_price_set": {"shop_money": {"amount": "4.99", "currency_code": "EUR"}},
    "line_items": [ITEM, {"id": 72, "sku": "", "variant_id": 9, "quantity": 1, "price": "0.00"}],
}
FULFILLMENT: Record = {
    "id": 81,
    "order_id": 5001,
    "status": "success",
    "created_at": "2026-03-03T08:00:00Z",
    "updated_at": "2026-03-05T12:30:00Z",
    "shipment_status": None,
    "tracking_company": "DHL",
    "location_id": 655441491,
    "line_items": [ITEM],
}
REFUND: Record = {
    "id": 91,
    "order_id": 5001,
    "created_at": "2026-03-09T10:00:00Z",
    "processed_at": "2026-03-09T10:00:05Z",
    "return": {"id": 17},
    "refund_line_items": [
        {"id": 1, "quantity": 1, "location_id": 655441491, "restock_type": "return", "line_item": ITEM},
        {"id": 2, "quantity": 1, "location_id": None, "restock_type": "no_restock", "line_item": ITEM},
    ],
    "transactions": [
        {"id": 5, "kind": "refund", "status": "success", "amount": "19.90", "currency": "EUR"},
        {"id": 6, "kind": "refund", "status": "success", "amount": "0.10", "currency": "EUR"},
        {"id": 7, "kind": "refund", "status": "failure", "amount": "5.00", "currency": "EUR"},
    ],
}
TOO_LONG = "must be at most 128 bytes of UTF-8, is 140"
DELIVERIES = [
    delivery("orders/create", ORDER),
    delivery("orders/paid", ORDER, 2),
    delivery("orders/cancelled", ORDER | {"cancelled_at": "2026-03-02T11:00:00Z", "cancel_reason": "customer"}, 3),
    delivery("fulfillments/create", FULFILLMENT, 4),
    delivery("fulfillments/update", FULFILLMENT | {"shipment_status": "delivered"}, 5),
    delivery(
        "fulfillment_events/create",
        {
            "id": 3,
            "fulfillment_id": 81,
            "order_id": 5001,
            "status": "attempted_delivery",
            "happened_at": "2026-03-04T12:00:00Z",
        },
        6,
    ),
    delivery("refunds/create", REFUND, 7),
]


def test_an_order(tmp_path: Path) -> None:
    assert events_of(source_of(SHOPIFY, tmp_path, DELIVERIES[0])) == [
        {
            "type": "order.created",
            "event_id": "event-1/orders/create/5001",
            "source": "lamps-eu.myshopify.com",
            "system": "ecom",
            "occurred_at": "2026-03-02T10:15:00+01:00",
            "recorded_at": "2026-03-02T09:20:02Z",
            "correlation_id": "event-1",
            "channel": "web",
            "region": "DE",
            "order_id": "5001",
            "lines": [
                {"line_id": "71", "sku": "LAMP", "qty": 2, "unit_price": "19.90"},
                {"line_id": "72", "sku": "variant-9", "qty": 1, "unit_price": "0.00"},
            ],
            "customer_id": "311",
            "currency": "EUR",
            "total": "44.79",
            "idempotency_key": "c0ffee",
            "freight_charged": "4.99",
        }
    ]


@pytest.mark.parametrize(
    ("topic", "body", "expected"),
    [
        ("orders/paid", ORDER, {"type": "order.approved", "order_id": "5001", "reason": "paid"}),
        (
            "orders/cancelled",
            ORDER | {"cancelled_at": "2026-03-02T11:00:00Z", "cancel_reason": "fraud"},
            {"type": "order.cancelled", "order_id": "5001", "reason": "fraud"},
        ),
        (
            "fulfillments/create",
            FULFILLMENT,
            {
                "type": "shipment.dispatched",
                "shipment_id": "81",
                "order_id": "5001",
                "node": "655441491",
                "carrier": "DHL",
                "lines": [{"line_id": "71", "sku": "LAMP", "qty": 2}],
            },
        ),
        (
            "fulfillments/update",
            FULFILLMENT | {"status": "cancelled"},
            {
                "type": "shipment.exception",
                "shipment_id": "81",
                "order_id": "5001",
                "node": "655441491",
                "carrier": "DHL",
                "reason": "cancelled",
            },
        ),
        (
            "fulfillment_events/create",
            {
                "id": 3,
                "fulfillment_id": 81,
                "order_id": 5001,
                "status": "failure",
                "happened_at": "2026-03-04T12:00:00Z",
            },
            {"type": "shipment.exception", "shipment_id": "81", "order_id": "5001", "reason": "failure"},
        ),
    ],
)
def test_one_event_of_a_topic(topic: str, body: Record, expected: Record, tmp_path: Path) -> None:
    made = events_of(source_of(SHOPIFY, tmp_path, delivery(topic, body)))
    assert [without(event, *EVERY) for event in made] == [expected]


@pytest.mark.parametrize(
    ("topic", "changes", "occurred_at"),
    [
        ("orders/paid", {}, "2026-03-02T09:20:00.250000Z"),
        ("orders/paid", {"X-Shopify-Triggered-At": ""}, "2026-03-02T10:16:00+01:00"),
        ("orders/create", {}, "2026-03-02T10:15:00+01:00"),
    ],
)
def test_when_it_happened(topic: str, changes: Record, occurred_at: str, tmp_path: Path) -> None:
    made = events_of(source_of(SHOPIFY, tmp_path, delivery(topic, ORDER, **changes)))
    assert [event["occurred_at"] for event in made] == [occurred_at]


def test_a_refund_of_what_came_back(tmp_path: Path) -> None:
    made = events_of(source_of(SHOPIFY, tmp_path, delivery("refunds/create", REFUND)))
    assert {event["occurred_at"] for event in made} == {"2026-03-09T10:00:05Z"}
    assert len({event["event_id"] for event in made}) == 3
    case = {"return_id": "17", "order_id": "5001", "node": "655441491"}
    assert [without(event, *EVERY) for event in made] == [
        {"type": "return.received", **case},
        {"type": "return.restocked", **case, "sku": "LAMP", "qty": 1},
        {
            "type": "posting.recorded",
            "posting_id": "91-EUR",
            "posting_type": "refund",
            "reference": "17",
            "order_id": "5001",
            "amount": "20",
            "currency": "EUR",
        },
    ]


def test_money_given_back_for_what_was_never_shipped_is_a_reversal(tmp_path: Path) -> None:
    lines = [{"quantity": 2, "restock_type": "cancel", "line_item": ITEM}]
    body = without(REFUND, "return") | {"refund_line_items": lines}
    (made,) = events_of(source_of(SHOPIFY, tmp_path, delivery("refunds/create", body)))
    assert (made["posting_type"], made["reference"]) == ("reversal", "5001")


def test_a_refund_without_a_return_is_its_own_case(tmp_path: Path) -> None:
    body = without(REFUND, "return") | {"refund_line_items": []}
    (made,) = events_of(source_of(SHOPIFY, tmp_path, delivery("refunds/create", body)))
    assert (made["posting_type"], made["reference"]) == ("refund", "91")


def test_a_shipment_is_delivered_once_however_often_and_by_whichever_topic_that_is_said(tmp_path: Path) -> None:
    seen = {
        "id": 4,
        "fulfillment_id": 81,
        "order_id": 5001,
        "status": "delivered",
        "happened_at": "2026-03-05T12:00:00Z",
    }
    update = FULFILLMENT | {"shipment_status": "delivered"}
    made = events_of(
        source_of(
            SHOPIFY,
            tmp_path,
            delivery("fulfillments/update", update, 1),
            delivery("fulfillments/update", update | {"updated_at": "2026-03-06T00:00:00Z"}, 2),
            delivery("fulfillment_events/create", seen, 3),
        )
    )
    assert {(event["type"], event["event_id"]) for event in made} == {
        ("shipment.delivered", "fulfillments/81/delivered")
    }


def test_a_delivery_that_comes_twice_has_the_same_ids_and_any_other_has_others(tmp_path: Path) -> None:
    again = json.loads(json.dumps(DELIVERIES))
    for one in again:
        one["received_at"] = "2026-03-10T00:00:00Z"
        one["headers"]["X-Shopify-Webhook-Id"] = "another attempt"
    first = [event["event_id"] for event in events_of(source_of(SHOPIFY, tmp_path, *DELIVERIES))]
    second = [event["event_id"] for event in events_of(source_of(SHOPIFY, tmp_path, *again))]
    assert sorted(first) == sorted(second)
    assert len(set(first)) == len(first) == 9
    one_action = [delivery("fulfillments/create", FULFILLMENT | {"id": number}) for number in (81, 82)]
    assert len({event["event_id"] for event in events_of(source_of(SHOPIFY, tmp_path, *one_action))}) == 2


def test_what_makes_no_event_is_counted_by_what_it_is(tmp_path: Path) -> None:
    source = source_of(
        SHOPIFY,
        tmp_path,
        delivery("customers/update", {}),
        delivery("inventory_levels/update", {"inventory_item_id": 1, "available": 4}),
        delivery("orders/create", ORDER | {"test": True}),
        delivery("fulfillments/create", FULFILLMENT | {"status": "pending"}),
        delivery("fulfillments/update", FULFILLMENT | {"shipment_status": "in_transit"}),
        delivery("refunds/create", REFUND | {"refund_line_items": [], "transactions": []}),
    )
    assert events_of(source) == []
    assert dict(source.skipped) == {
        "customers/update": 1,
        "inventory_levels/update": 1,
        "orders/create of a test order": 1,
        "fulfillments/create with status pending": 1,
        "fulfillments/update of a shipment that is under way": 1,
        "refunds/create of which nothing was paid out or came back": 1,
    }
    assert (source.rows_read, source.rows_skipped) == (6, 6)


def test_a_header_may_be_a_list_and_in_any_case_and_a_body_the_text_as_received(tmp_path: Path) -> None:
    plain = delivery("orders/create", ORDER)
    logged = plain | {
        "headers": {"content-length": 812, "x": None}
        | {name.lower(): [text] for name, text in plain["headers"].items()},
        "body": json.dumps(ORDER),
    }
    assert events_of(source_of(SHOPIFY, tmp_path, logged)) == events_of(source_of(SHOPIFY, tmp_path, plain))


@pytest.mark.parametrize(
    ("record", "refused"),
    [
        (
            delivery("orders/create", ORDER | {"line_items": [ITEM, ITEM | {"price": 19.9}]}),
            ("schema", "$.body.line_items[1].price", "must be str | null, is float"),
        ),
        (delivery("orders/create", without(ORDER, "created_at")), ("schema", "$.body.created_at", "is missing")),
        (
            delivery("orders/create", ORDER | {"created_at": "2026-03-02T10:15:00"}),
            ("schema", "$.body.created_at", "time without zone"),
        ),
        (
            delivery("orders/create", "not JSON"),
            ("transport", "$.body", "JSON is malformed: invalid character (byte 1)"),
        ),
        (
            delivery("orders/create", ORDER, **{"X-Shopify-Topic": ""}),
            ("schema", "$.headers.X-Shopify-Topic", "is missing"),
        ),
        (
            delivery("orders/create", ORDER, **{"X-Shopify-Event-Id": "", "X-Shopify-Webhook-Id": []}),
            ("schema", "$.headers.X-Shopify-Event-Id", "is missing (nor is X-Shopify-Webhook-Id)"),
        ),
        (
            delivery("orders/paid", ORDER, **{"X-Shopify-Triggered-At": "yesterday"}),
            ("schema", "$.headers.X-Shopify-Triggered-At", "not an RFC 3339 time"),
        ),
        (
            delivery("orders/cancelled", ORDER),
            ("schema", "$.body.cancelled_at", "is missing, and the order is said to be cancelled"),
        ),
        (
            delivery("orders/create", ORDER | {"line_items": [ITEM | {"sku": "é" * 70}]}),
            (
                "schema",
                "$",
                f"makes no event of the contract (order.created, lines[0].sku): {TOO_LONG}",
            ),
        ),
        ({"headers": {}}, ("schema", "$.body", "is missing")),
        (b'{"headers": {', ("transport", "$", "Input data was truncated")),
        (b"5", ("schema", "$", "must be object, is int")),
        (
            delivery(
                "refunds/create",
                REFUND | {"transactions": [REFUND["transactions"][0] | {"amount": "9" * 14}] * 2},
            ),
            ("schema", "$.body.transactions", "199999999999998 is too large an amount"),
        ),
    ],
)
def test_what_is_refused_says_where_and_why(record: object, refused: tuple[str, str, str], tmp_path: Path) -> None:
    assert refused_of(source_of(SHOPIFY, tmp_path, record)) == [refused]


@given(raw=spoilt(DELIVERIES))
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_spoilt_record_is_events_or_counted_or_one_dead_letter(raw: bytes, tmp_path: Path) -> None:
    check_taken_whole(SHOPIFY, raw, tmp_path)


def test_whoever_changes_what_is_made_raises_the_version(tmp_path: Path) -> None:
    """State that was kept through another version is refused; the digest below is of what this version makes."""
    assert (SHOPIFY.version, digest(events_of(source_of(SHOPIFY, tmp_path, *DELIVERIES)))) == (1, "485c586ef326")
