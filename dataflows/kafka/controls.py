"""What a person tells a running job, into the topic that it reads."""

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from dataflows.kafka.client import producer_properties
from dataflows.kafka.topics import Trouble
from dataflows.settings import KafkaSettings
from schemas.errors import SourceError

_ANSWER_S = 15.0


def send_control(settings: KafkaSettings, topic: str, key: str, message: bytes) -> None:
    """Write one message to `topic`; when this returns, the broker has confirmed it.

    Raises:
        SettingsError: the broker's properties can't be used.
        SourceError: the broker does not answer, has no such topic, or does not take the message.
    """
    failed: list[KafkaError] = []

    def told(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            failed.append(error)

    properties = producer_properties(settings) | {"message.timeout.ms": int(_ANSWER_S * 1_000), "log_level": 0}
    trouble = Trouble()
    try:
        producer = Producer({**properties, "error_cb": trouble})
        try:
            topics = producer.list_topics(timeout=_ANSWER_S).topics  # asked for one by its name, some would make it
        except KafkaException:
            producer.poll(0)  # the library says why
            raise
        listed = topics.get(topic)
        if listed is None or listed.error is not None or not listed.partitions:
            raise SourceError(
                f"{settings.bootstrap} has no topic {topic}: make it, one partition will do; the job waits for it"
            )
        producer.produce(topic, message, key.encode(), on_delivery=told)
        left = producer.flush(_ANSWER_S + 1)
    except KafkaException as error:
        raise SourceError(f"{settings.bootstrap}: {trouble.words_of(error)}") from error
    if failed or left:
        why = failed[0].str() if failed else "no answer"
        raise SourceError(f"{settings.bootstrap} did not take the message: {why}")
