"""The event log: one file a topic, in order of arrival, as a log keeps them."""

import pathlib
from bisect import bisect_left
from random import Random
from typing import Any, BinaryIO

import msgspec

from schemas.durations import END_OF_TIME_US, SECOND_US, rfc3339
from schemas.events import BUSINESS_TOPICS, TOPIC_OF

#: Fields of a message that are its own, by wire name.
Fields = dict[str, Any]

_DISORDER = 0.003

# Not orjson, which is as fast but leaves its output in a buffer several times as long as the message.
_encode = msgspec.json.Encoder().encode


class Stamps:
    """RFC 3339 text of instants. Cost: one formatting a second of simulated time, the rest is a look-up.

    Memory: bounded at 200,000 seconds.
    """

    def __init__(self) -> None:
        self._seconds: dict[int, str] = {}

    def __call__(self, instant_us: int) -> str:
        """The text of an instant in microseconds."""
        second, rest = divmod(instant_us, SECOND_US)
        text = self._seconds.get(second)
        if text is None:
            if len(self._seconds) > 200_000:
                self._seconds.clear()
            text = self._seconds[second] = rfc3339(second * SECOND_US)[:-1]
        return f"{text}.{rest:06d}Z" if rest else f"{text}Z"


class Source:
    """A system instance that sends events, with its clock's error in microseconds.

    The error is below a second and steady, until something sets the clock wrong: who does adds to `skew_us` and
    takes it off again.
    """

    __slots__ = ("name", "sent", "skew_us", "system")

    def __init__(self, name: str, system: str, skew_us: int) -> None:
        self.name = name
        self.system = system
        self.skew_us = skew_us
        self.sent = 0


class Journal:
    """Writes canonical events as JSON lines, a file for each topic, sorted by `recorded_at`.

    What is recorded before `begin_us` or from `end_us` on is counted as sent but not written: that part of
    the retailer's life is not in the log. A few messages are written twice, seconds apart, under the same
    event id, and a few are held up on the way, so that a log is in disorder by event time as real ones are.

    Memory: the messages that are recorded later than the last flush. Cost: 4 to 6 µs an event.
    """

    def __init__(self, out: pathlib.Path, begin_us: int, end_us: int, duplicates: float, seed: int) -> None:
        self._begin_us, self._end_us = begin_us, end_us
        self.duplicates = duplicates
        self._holds: list[tuple[int, int, int]] = []
        self._draw = Random(f"{seed}/journal").random
        self.stamp = Stamps()
        self._seq = 0
        self.unwritten = 0
        self.counts = dict.fromkeys(BUSINESS_TOPICS, 0)
        self.paths = {topic: out / f"{topic}.jsonl" for topic in BUSINESS_TOPICS}
        self._files: dict[str, BinaryIO] = {}
        self._waiting: dict[str, list[tuple[int, int, bytes]]] = {topic: [] for topic in BUSINESS_TOPICS}
        self._of_type = {kind: self._waiting[topic] for kind, topic in TOPIC_OF.items() if topic in self._waiting}

    def open(self) -> None:
        """Make the files, replacing those of an earlier run."""
        for topic, path in self.paths.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._files[topic] = path.open("wb")

    def write(self, source: Source, kind: str, now_us: int, leaves_us: int, fields: Fields) -> None:
        """Send an event that happens now and leaves its queue at `leaves_us`."""
        source.sent += 1
        draw = self._draw
        recorded = leaves_us + 20_000 + int(180_000 * draw())
        chance = draw()
        if chance < _DISORDER:
            recorded += int(5 * SECOND_US * draw())
        came = recorded
        if self._holds:
            recorded = self._held(came)
        if recorded < self._begin_us or recorded >= self._end_us:
            return
        message = {
            "event_id": f"{source.name}:{source.sent}",
            "type": kind,
            "version": 1,
            "source": source.name,
            "system": source.system,
            "occurred_at": self.stamp(now_us + source.skew_us),
            "recorded_at": self.stamp(recorded),
            **fields,
        }
        self._seq += 1
        self.unwritten += 1
        waiting = self._of_type[kind]
        waiting.append((recorded, self._seq, _encode(message)))
        if chance > 1 - self.duplicates:
            again = self._held(came + 200_000 + int(20 * SECOND_US * draw()))
            if again < self._end_us:
                message["recorded_at"] = self.stamp(again)
                self._seq += 1
                waiting.append((again, self._seq, _encode(message)))

    def repeat(self, source: Source, number: int, kind: str, now_us: int, leaves_us: int, fields: Fields) -> None:
        """Send again, word for word, what was the `number`-th event of `source`, of `now_us`."""
        sent, source.sent = source.sent, number - 1
        self.write(source, kind, now_us, leaves_us, fields)
        source.sent = sent

    def hold(self, begin_us: int, end_us: int, catch_up_us: int) -> None:
        """Take nothing in from `begin_us` to `end_us`; then take it all in at once, within `catch_up_us`, in order."""
        self._holds.append((begin_us, end_us, catch_up_us))

    def _held(self, recorded: int) -> int:
        """When a message that comes at `recorded` is taken in."""
        for begin, end, catch_up in self._holds:
            if begin <= recorded < end + catch_up:
                recorded = end + (recorded - begin) * catch_up // (end - begin + catch_up)
        return recorded

    def flush(self, before_us: int) -> None:
        """Write out what is recorded before `before_us`: nothing earlier can be sent any more."""
        self.unwritten = 0
        for topic, waiting in self._waiting.items():
            waiting.sort()
            due = bisect_left(waiting, (before_us,))
            if due:
                self._files[topic].write(b"\n".join([line for _, _, line in waiting[:due]]) + b"\n")
                del waiting[:due]
                self.counts[topic] += due
            self.unwritten += len(waiting)

    def close(self) -> None:
        """Write out the rest and close the files."""
        try:
            self.flush(END_OF_TIME_US)
        finally:
            for file in self._files.values():
                file.close()
