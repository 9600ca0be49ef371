"""A limit: `confluent-kafka` consuming the topics in batches and looking at no message but for errors."""

import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition
from entry import entry

_BATCH = 10_000
_SILENCE_S = 60.0

if __name__ == "__main__":
    run = entry()
    left = run.messages + len(run.topics)  # each topic ends with one that ends the streams
    with run.timed():
        consumer = Consumer(
            {
                "bootstrap.servers": run.bootstrap,
                "group.id": f"consume-alone-{time.time_ns()}",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "fetch.min.bytes": 100_000,
                "fetch.wait.max.ms": 50,
                "fetch.queue.backoff.ms": 10,  # the library's second of pause whenever its queue is full halves it
                "queued.min.messages": 100_000,
            }
        )
        consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING) for topic in run.topics])
        heard_s = time.monotonic()
        while left > 0:
            messages = consumer.consume(min(left, _BATCH), 1.0)
            for message in messages:
                error = message.error()
                if error is not None:
                    raise KafkaException(error)
            left -= len(messages)
            if messages:
                heard_s = time.monotonic()
            elif time.monotonic() - heard_s > _SILENCE_S:
                raise TimeoutError(f"{left} messages have not come")
    consumer.close()
    run.done()
