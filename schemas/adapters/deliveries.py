"""Deliveries of webhooks, as a file holds them: one JSON object each, with the headers and the body as received.

    {"received_at": "2026-03-02T09:15:01Z", "headers": {"X-Some-Topic": "orders/create"}, "body": {"id": 1}}

`body` is the JSON itself, or the text that was received, as one JSON string. Names of headers may be written in any
case; a value is a text, or a list with one (as many a framework logs them). `received_at` is when the receiver got it:
the event's arrival time; without it, that is when the event happened.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TypeAlias, TypeVar

import msgspec

from schemas.adapters.records import Adapted, RecordError, Skipped, as_record_error, check_readable
from schemas.events import Time

T = TypeVar("T")


class Delivery(msgspec.Struct, frozen=True):
    """One delivery, its body not yet read."""

    headers: dict[str, str | list[str] | float | bool | None]
    body: msgspec.Raw
    received_at: Time | None = None

    def header(self, *names: str) -> str:
        """The value of the first of `names` that is there, "" when none is."""
        known = {name.lower(): value for name, value in self.headers.items()}
        for name in names:
            value = known.get(name.lower(), "")
            text = (value[0] if value else "") if isinstance(value, list) else value
            if isinstance(text, str) and text.strip():
                return text.strip()
        return ""

    def needed(self, *names: str) -> str:
        """The same, where one of them has to be there.

        Raises:
            RecordError: none is.
        """
        found = self.header(*names)
        if not found:
            others = f" (nor is {' or '.join(names[1:])})" if names[1:] else ""
            raise RecordError(f"$.headers.{names[0]}", "schema", f"is missing{others}")
        return found

    def moment(self, name: str) -> datetime | None:
        """The time in a header, None when it is not there.

        Raises:
            RecordError: it is no RFC 3339 time with offset.
        """
        text = self.header(name)
        try:
            return msgspec.convert(text, Time) if text else None
        except msgspec.ValidationError as error:
            raise as_record_error(error, f"$.headers.{name}") from None

    def read(self, kind: type[T]) -> T:
        """The body as a record of type `kind`.

        Raises:
            RecordError: it is none; with the path of the field, `$.body.line_items[0].price`.
        """
        body = bytes(self.body)
        try:
            if body.startswith(b'"'):
                body = msgspec.json.decode(body, type=str).encode()
                check_readable(body, "$.body")
            return msgspec.json.decode(body, type=kind)
        except (msgspec.DecodeError, UnicodeEncodeError) as error:
            if isinstance(error, UnicodeEncodeError):
                raise RecordError("$.body", "transport", "is no UTF-8 text") from None
            raise as_record_error(error, "$.body") from None


_delivery = msgspec.json.Decoder(Delivery).decode


#: What a delivery makes of which the body is of one kind.
Reader: TypeAlias = Callable[[Delivery], Adapted]


def by_topic(topic_of: Callable[[Delivery], str], readers: Mapping[str, Reader]) -> Callable[[bytes], Adapted]:
    """What a record makes that is a delivery: what the reader of its topic says; a topic without one makes no event.

    Args:
        topic_of: what a delivery is about, out of its headers; raises RecordError where that is not said.
        readers: by topic.
    """

    def adapt(raw: bytes) -> Adapted:
        delivery = _delivery(raw)
        topic = topic_of(delivery)
        read = readers.get(topic)
        return Skipped(topic) if read is None else read(delivery)

    return adapt


def as_far_as_told(source_of: Callable[[Delivery], str]) -> Callable[[bytes], str]:
    """The source of what may be a delivery, "" where that can't be told."""

    def source_of_raw(raw: bytes) -> str:
        try:
            return source_of(_delivery(raw))
        except (msgspec.DecodeError, RecursionError):
            return ""

    return source_of_raw
