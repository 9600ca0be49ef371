"""What each receiver is sent: valid by its published schema, within its limits, the same key for the same alert."""

import base64
import hashlib
import hmac
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as options
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from schemas.incident_rows import Alert
from sinks.webhooks.receivers.alertmanager import Alertmanager
from sinks.webhooks.receivers.alertmanager_webhook import MOST_ALERTS, NO_END, AlertmanagerWebhook
from sinks.webhooks.receivers.choice import RECEIVERS
from sinks.webhooks.receivers.cloudevents import CloudEvent
from sinks.webhooks.receivers.jsm import JsmOperations
from sinks.webhooks.receivers.pagerduty import LARGEST_EVENT, PagerDuty
from sinks.webhooks.receivers.parts import Parts
from sinks.webhooks.receivers.slack import Slack
from sinks.webhooks.receivers.standard import StandardWebhook
from sinks.webhooks.request import Receiver, Request, group_id, idempotency_key
from sinks.webhooks.secret_values import Secret
from sinks.webhooks.signing import signature_headers, signing_key
from sinks.webhooks.sizes import LARGEST_BODY, fitted
from sinks.webhooks.template import Template
from tests.webhook_alerts import NOON_US, acknowledged, alert, resolved
from tests.webhook_schemas import (
    ALERTMANAGER_WEBHOOK,
    CLOUDEVENT,
    JSM_CREATE,
    JSM_NOTE,
    PAGERDUTY,
    POSTABLE_ALERTS,
    SLACK,
    STANDARD,
)

_GOLDEN = Path(__file__).parent / "golden" / "webhooks"
_KEY = "0123456789abcdef0123456789abcdef"
_PARTS = Parts(
    link=Template("https://grafana.test/d/andon?var-incident={incident_id}"),
    image=Template("https://grafana.test/render/{incident_id}.png"),
    signing=(b"k" * 32,),
    key=Secret(_KEY),
)
_LIFE = (alert(1), alert(2), acknowledged(3), resolved(4))
_BINARY = msgspec.structs.replace(_PARTS, binary=True)


def _sent(receiver: Receiver, one: Alert) -> Request:
    return receiver.request(one, NOON_US, None)


def _body(receiver: Receiver, one: Alert) -> Any:  # noqa: ANN401 - a JSON document
    return msgspec.json.decode(_sent(receiver, one).body)


def _schema_of(name: str, one: Alert) -> dict[str, Any]:
    if name == "jsm":
        return JSM_CREATE if one.action == "trigger" else JSM_NOTE
    named: dict[str, dict[str, Any]] = {
        "standard": STANDARD,
        "pagerduty": PAGERDUTY,
        "alertmanager": POSTABLE_ALERTS,
        "alertmanager_webhook": ALERTMANAGER_WEBHOOK,
        "slack": SLACK,
        "cloudevents": CLOUDEVENT,
    }
    return named[name]


_TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
_ALERTS = st.builds(
    alert,
    sequence=st.integers(1, 3),
    group=_TEXTS.filter(bool),
    severity=st.sampled_from(["critical", "high", "medium", "low", "info", "other"]),
    action=st.sampled_from(["trigger", "update", "acknowledge", "resolve"]),
    incident_ids=st.lists(_TEXTS.filter(bool), max_size=5),
    labels=st.dictionaries(_TEXTS, _TEXTS, max_size=6),
    annotations=st.dictionaries(st.sampled_from(["summary", "cause", "kind", "x y", "9"]), _TEXTS, max_size=5),
)


@pytest.mark.parametrize("name", RECEIVERS)
@given(one=_ALERTS)
@options(max_examples=60, deadline=None)
def test_every_alert_is_valid_by_the_receivers_schema(name: str, one: Alert) -> None:
    Draft202012Validator(_schema_of(name, one)).validate(_body(RECEIVERS[name](_PARTS), one))


@pytest.mark.parametrize("name", RECEIVERS)
def test_the_schemas_refuse_what_is_wrong(name: str) -> None:
    """That the schemas say anything at all: each key they require is missed."""
    schema, body = _schema_of(name, alert(1)), _body(RECEIVERS[name](_PARTS), alert(1))
    records = body if isinstance(body, list) else [body]
    required = {"labels"} if isinstance(body, list) else set(schema.get("required", ["routing_key", "payload"]))
    for key in required:
        broken = [{name: value for name, value in record.items() if name != key} for record in records]
        assert not Draft202012Validator(schema).is_valid(broken if isinstance(body, list) else broken[0]), key


@pytest.mark.parametrize("name", RECEIVERS)
def test_the_same_alert_is_sent_under_the_same_key_each_time(name: str) -> None:
    receiver = RECEIVERS[name](_PARTS)
    first, later = receiver.request(alert(1), NOON_US, None), receiver.request(alert(1), NOON_US + 10**9, None)
    assert first.headers["Idempotency-Key"] == later.headers["Idempotency-Key"] == alert(1).alert_id
    assert _sent(receiver, alert(2)).headers["Idempotency-Key"] != first.headers["Idempotency-Key"]


@pytest.mark.parametrize("name", RECEIVERS)
@pytest.mark.parametrize("one", _LIFE, ids=lambda one: one.action)
def test_the_largest_alert_fits(name: str, one: Alert) -> None:
    """Incidents, labels and texts without end are cut, and what is left is still valid."""
    huge = msgspec.structs.replace(
        one,
        incident_ids=[f"incident-{number:06}" for number in range(30_000)],
        labels=one.labels | {f"label_{number}": "x" * 500 for number in range(1_000)},
        annotations=one.annotations | {"summary": "<&>" * 100_000, "incidents": "\x00\n\"'" * 100_000},
    )
    receiver = RECEIVERS[name](_PARTS)
    request = _sent(receiver, huge)
    assert len(request.body) <= (LARGEST_EVENT if name == "pagerduty" else LARGEST_BODY)
    Draft202012Validator(_schema_of(name, huge)).validate(msgspec.json.decode(request.body))
    assert all(len(value) < 4_000 for value in request.headers.values())


@pytest.mark.parametrize("name", RECEIVERS)
def test_payloads_are_those_that_were_looked_at(name: str) -> None:
    """tests/golden/webhooks: what a group's life gives; change it with a look at the difference."""
    told = []
    for one in _LIFE:
        request = _sent(RECEIVERS[name](_PARTS), one)
        signed = {key: value for key, value in request.headers.items() if key != "webhook-signature"}
        told.append({"path": request.path, "headers": signed, "body": msgspec.json.decode(request.body)})
    text = msgspec.json.format(msgspec.json.encode(told), indent=2).decode() + "\n"
    assert text == (_GOLDEN / f"{name}.json").read_text(encoding="utf-8")


# --- Standard Webhooks ------------------------------------------------------------------------------------------------


def test_the_signature_is_that_of_the_published_vector() -> None:
    key = signing_key(Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
    headers = signature_headers([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_while_secrets_are_rotated_both_sign() -> None:
    new, old = b"n" * 32, b"o" * 24
    request = _sent(StandardWebhook(Parts(signing=(new, old))), alert(1))
    signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
    expected = [base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() for key in (new, old)]
    assert request.headers["webhook-signature"] == f"v1,{expected[0]} v1,{expected[1]}"
    assert request.headers["webhook-timestamp"] == str(NOON_US // 1_000_000)


@pytest.mark.parametrize(
    "bad", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_not base64!", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
)
def test_a_secret_that_is_none_is_refused_and_not_repeated(bad: str) -> None:
    with pytest.raises(ValueError, match="must hold whsec_") as caught:
        signing_key(Secret(bad))
    assert bad in ("", "whsec_") or bad not in str(caught.value)


def test_a_standard_webhook_says_all_of_the_alert() -> None:
    body = _body(StandardWebhook(_PARTS), alert(2))
    assert (body["type"], body["timestamp"]) == ("alert.update", "2026-03-02T12:01:00Z")
    data = body["data"]
    assert data["details"]["incident_ids"] == ["inc-7", "inc-8"]
    assert data["details"]["labels"] == alert(2).labels
    assert data["link"] == "https://grafana.test/d/andon?var-incident=inc-7"
    assert (data["sequence"], data["starts_at"], data["ends_at"]) == (2, "2026-03-02T11:55:00Z", None)


# --- PagerDuty --------------------------------------------------------------------------------------------------------


def test_pagerduty_sees_one_alert_from_trigger_to_resolve() -> None:
    events = [_body(PagerDuty(_PARTS), one) for one in _LIFE]
    assert [event["event_action"] for event in events] == ["trigger", "trigger", "acknowledge", "resolve"]
    assert {event["dedup_key"] for event in events} == {group_id(alert(1))}
    assert {event["routing_key"] for event in events} == {_KEY}
    assert _body(PagerDuty(_PARTS), alert(1, group="other"))["dedup_key"] != events[0]["dedup_key"]
    link = "https://grafana.test/d/andon?var-incident=inc-7"
    assert events[0]["links"] == [{"href": link, "text": "The incident in Andon"}]
    assert events[0]["images"][0]["src"] == "https://grafana.test/render/inc-7.png"
    assert not {"links", "images"} & set(events[0]["payload"])
    assert events[0]["payload"]["severity"] == "error"
    assert events[0]["payload"]["custom_details"]["value_at_risk"] == "3120.50 EUR"


# --- Alertmanager -----------------------------------------------------------------------------------------------------


def test_alertmanagers_labels_stay_while_the_alert_does() -> None:
    told = [_body(Alertmanager(_PARTS), one)[0] for one in _LIFE]
    assert len({msgspec.json.encode(one["labels"], order="sorted") for one in told}) == 1
    assert told[0]["labels"]["alertname"] == "queue_saturation"
    assert told[0]["endsAt"] == "2026-03-02T12:05:00Z"
    assert told[3]["endsAt"] == "2026-03-02T12:00:00Z"
    assert _sent(Alertmanager(_PARTS), alert(1)).path == "/api/v2/alerts"


def test_the_webhook_body_names_each_incident() -> None:
    body = _body(AlertmanagerWebhook(_PARTS), alert(1))
    assert [one["labels"]["incident_id"] for one in body["alerts"]] == ["inc-7", "inc-8"]
    assert {one["endsAt"] for one in body["alerts"]} == {NO_END}
    assert len({one["fingerprint"] for one in body["alerts"]}) == 2
    over = _body(AlertmanagerWebhook(_PARTS), resolved(4))
    assert (over["status"], over["alerts"][0]["endsAt"]) == ("resolved", "2026-03-02T12:03:00Z")
    assert [one["fingerprint"] for one in over["alerts"]] == [one["fingerprint"] for one in body["alerts"]]
    some = _body(AlertmanagerWebhook(_PARTS), alert(3, annotations={"over": "inc-8, inc-9"}))
    told = [(one["labels"]["incident_id"], one["status"], one["endsAt"]) for one in some["alerts"]]
    assert some["status"] == "firing"
    assert told == [("inc-7", "firing", NO_END), ("inc-8", "resolved", "2026-03-02T12:02:00Z")], "some of them are over"
    many = _body(AlertmanagerWebhook(_PARTS), alert(1, incident_ids=[str(number) for number in range(250)]))
    assert (len(many["alerts"]), many["truncatedAlerts"]) == (MOST_ALERTS, 150)


# --- Slack, JSM -------------------------------------------------------------------------------------------------------


def test_slack_shows_text_as_text() -> None:
    body = _body(Slack(_PARTS), alert(1, annotations={"summary": "<!channel> & <http://evil.test|x>"}))
    assert body["text"] == "New: &lt;!channel&gt; &amp; &lt;http://evil.test|x&gt;"
    marked = [body["blocks"][1]["text"], *body["blocks"][2]["fields"], *body["blocks"][-1]["elements"]]
    assert {one["type"] for one in marked} == {"mrkdwn"}
    assert not [one for one in marked if "<" in one["text"] or ">" in one["text"]]
    fields = [one["text"] for one in _body(Slack(_PARTS), alert(1))["blocks"][2]["fields"]]
    assert "*At risk*\n3120.50 EUR" in fields


def test_jsm_is_created_noted_acknowledged_and_closed_by_alias() -> None:
    sent = [_sent(JsmOperations(_PARTS), one) for one in _LIFE]
    alias = group_id(alert(1))
    assert [one.path for one in sent] == [
        "",
        f"/{alias}/notes?identifierType=alias",
        f"/{alias}/acknowledge?identifierType=alias",
        f"/{alias}/close?identifierType=alias",
    ]
    assert msgspec.json.decode(sent[0].body)["alias"] == alias
    assert msgspec.json.decode(sent[0].body)["priority"] == "P2"
    assert {one.headers["Authorization"] for one in sent} == {f"GenieKey {_KEY}"}


# --- CloudEvents ------------------------------------------------------------------------------------------------------


def test_structured_and_binary_say_the_same() -> None:
    structured, binary = _sent(CloudEvent(_PARTS), alert(1)), _sent(CloudEvent(_BINARY), alert(1))
    event = msgspec.json.decode(structured.body)
    assert structured.headers["Content-Type"] == "application/cloudevents+json; charset=utf-8"
    assert binary.headers["Content-Type"] == event.pop("datacontenttype") == "application/json"
    assert msgspec.json.decode(binary.body) == event.pop("data")
    said = {name[3:]: unquote(value) for name, value in binary.headers.items() if name.startswith("ce-")}
    assert said == event
    assert event["type"] == "io.andon.alert.trigger"
    assert (event["id"], event["subject"], event["sequence"]) == (alert(1).alert_id, "inc-7", "0000000001")


@given(one=_ALERTS)
@options(max_examples=100, deadline=None)
def test_headers_hold_what_headers_can_hold(one: Alert) -> None:
    for value in _sent(CloudEvent(_BINARY), one).headers.values():
        assert value.isascii()
        assert value.isprintable()


@given(st.text(max_size=300))
def test_a_key_is_visible_ascii_and_one_for_one(text: str) -> None:
    key = idempotency_key(alert(1, alert_id=text))
    assert key
    assert key.isascii()
    assert key.isprintable()
    assert " " not in key
    assert idempotency_key(alert(1, alert_id=text + "x")) != key


# --- sizes ------------------------------------------------------------------------------------------------------------

_JSON = st.recursive(
    _TEXTS | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(_TEXTS, inner), max_leaves=20
)


@given(st.dictionaries(_TEXTS, _JSON), st.integers(60, 400))
def test_what_is_cut_fits_and_what_fits_is_not_cut(details: dict[str, Any], largest: int) -> None:
    document = {"summary": "kept", "details": details}
    whole = msgspec.json.encode(document)
    body = fitted(document, details, largest)
    assert len(body) <= largest
    assert msgspec.json.decode(body)["summary"] == "kept"
    assert (body == whole) == (len(whole) <= largest)


def test_what_can_not_be_cut_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="the body has 37 bytes, the receiver takes 20"):
        fitted({"summary": "a" * 23}, {}, 20)
