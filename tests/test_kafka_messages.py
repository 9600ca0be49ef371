"""Messages by partition and in columns say what they say one by one; the client library's own messages, no broker."""

from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_NOT_AVAILABLE, KafkaError, Message
from hypothesis import given
from hypothesis import strategies as st

from dataflows.kafka.messages import by_place, claims_us, values_of
from schemas.durations import END_OF_TIME_US

_ERROR = KafkaError(KafkaError._PARTITION_EOF)


@st.composite
def some_messages(draw: st.DrawFn) -> list[Message]:
    """Messages in any order of partitions, errors among them; each has a topic's name of its own, as consumed ones."""
    message = st.builds(
        _message,
        topic=st.sampled_from(["orders", "stock"]).map(lambda topic: "".join(list(topic))),
        partition=st.integers(0, 2),
        offset=st.integers(0, 1 << 40),
        value=st.none() | st.binary(max_size=3),
        timestamp=st.tuples(
            st.sampled_from([TIMESTAMP_NOT_AVAILABLE, TIMESTAMP_CREATE_TIME]),
            st.integers(-1, 1 << 41) | st.integers(-1, (1 << 63) - 1),
        ),
        error=st.sampled_from([None, None, None, _ERROR]),
    )
    return draw(st.lists(message, max_size=30))


def _message(**parts: object) -> Message:
    return Message(**parts)  # type: ignore[arg-type] # each of its type


@given(some_messages())
def test_each_message_comes_with_those_of_its_partition_in_order(messages: list[Message]) -> None:
    parts, errors = by_place(messages)
    assert [message for message, _ in errors] == [message for message in messages if message.error() is not None]
    assert all(error is message.error() for message, error in errors)
    good = [message for message in messages if message.error() is None]
    assert list(parts) == list(dict.fromkeys((message.topic(), message.partition()) for message in good))
    for place, mine in parts.items():
        assert mine == [message for message in good if (message.topic(), message.partition()) == place]


@given(some_messages())
def test_columns_say_what_the_messages_say(messages: list[Message]) -> None:
    expected = []
    for message in messages:
        kind, at_ms = message.timestamp()
        known = kind != TIMESTAMP_NOT_AVAILABLE and at_ms >= 0
        expected.append((message.value() or b"", min(at_ms * 1_000, END_OF_TIME_US) if known else None))
    assert list(zip(values_of(messages), claims_us(messages), strict=True)) == expected
