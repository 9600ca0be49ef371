"""Stamping and merging partitions: arrival never goes back, a bad clock bends nobody's time, counts add up."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflows import files
from dataflows.files import FilePartition, JsonLinesReader
from operators.lane_state import LaneState, PartitionState, Reads, TimeRules
from operators.lanes import LaneMerge
from operators.partitions import PartitionQueue
from operators.stamping import LOOKAHEAD
from schemas.decode import EventDecoder, Fault
from schemas.durations import BEGIN_OF_TIME_US, DAY_US, END_OF_TIME_US, HOUR_US, MINUTE_US, SECOND_US, rfc3339
from schemas.errors import StateError
from schemas.events import Arrived
from schemas.rows import DeadLetter, Health
from tests.scripts import DAY

Taken = tuple[list[Arrived], list[DeadLetter], list[Health]]


def message(number: int, occurred: int | str, recorded: int | str | None = None, source: str = "mq-1") -> bytes:
    """A message about a queue; times are microseconds after midnight, or text."""
    body = {
        "type": "queue.depth",
        "event_id": f"e{number}",
        "source": source,
        "system": "middleware",
        "queue": "q",
        "depth": 1,
    }
    body["occurred_at"] = occurred if isinstance(occurred, str) else rfc3339(DAY + occurred)
    if recorded is not None:
        body["recorded_at"] = recorded if isinstance(recorded, str) else rfc3339(DAY + recorded)
    return msgspec.json.encode(body)


def reads(messages: Sequence[bytes], begin: int = 0) -> Reads:
    positions = list(range(begin, begin + len(messages)))
    return Reads([at + 1 for at in positions], positions, list(messages), EventDecoder().decode(messages))


def queue_of(messages: Sequence[bytes], rules: TimeRules | None = None, batch: int = 1_000) -> PartitionQueue:
    """All of `messages`, read in batches, to the end."""
    queue = PartitionQueue("log", 0, rules or TimeRules())
    for start in range(0, len(messages), batch):
        queue.add(reads(messages[start : start + batch], start), ended=False)
    queue.read_to(len(messages), len(messages))
    queue.add(reads([]), ended=True)
    return queue


def stamped(messages: Sequence[bytes], rules: TimeRules | None = None, batch: int = 1_000) -> Taken:
    queue = queue_of(messages, rules, batch)
    events, dead, health = queue.take_before(END_OF_TIME_US)
    return events, dead, [*health, *queue.take_health()]


# --- arrival -----------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(
    times=st.lists(st.tuples(st.integers(0, 3_600), st.none() | st.integers(0, 7_200)), max_size=40),
    broken=st.sets(st.integers(0, 40)),
    batch=st.integers(1, 50),
)
def test_arrival_is_what_the_log_says_raised_to_the_largest_before(
    times: list[tuple[int, int | None]], broken: set[int], batch: int
) -> None:
    messages, expected, largest, refused = [], [], BEGIN_OF_TIME_US, set()
    for number, (occurred, recorded) in enumerate(times):
        if number in broken:
            messages.append(b"{")
            refused.add(number + 1)
            continue
        said = None if recorded is None else recorded * SECOND_US
        messages.append(message(number, occurred * SECOND_US, said))
        arrival = max(largest, DAY + (occurred if recorded is None else recorded) * SECOND_US)
        if DAY + occurred * SECOND_US > arrival + 5 * MINUTE_US:
            refused.add(number + 1)
            continue
        largest = arrival
        expected.append((number + 1, arrival))
    events, dead, health = stamped(messages, batch=batch)
    assert [(one.offset, one.arrival_us) for one in events] == expected
    assert {one.offset for one in dead} == refused
    assert sum(one.messages for one in health) == len(messages)
    assert sum(one.events for one in health) == len(events)
    assert sum(one.dead_letters for one in health) == len(dead)
    assert sum(one.bytes for one in health) == sum(map(len, messages))
    assert len({one.minute_us for one in health}) == len(health)


@pytest.mark.parametrize(
    ("occurred", "path", "words"),
    [
        (5 * MINUTE_US, None, ""),
        (5 * MINUTE_US + 1, "$.occurred_at", "ahead of its arrival"),
        (-30 * DAY_US, None, ""),
        (-30 * DAY_US - 1, "$.occurred_at", "before its arrival"),
    ],
)
def test_an_event_time_too_far_from_its_arrival_is_refused(occurred: int, path: str | None, words: str) -> None:
    events, dead, _ = stamped([message(0, 0, 0), message(1, occurred, 0, source="wms-9"), message(2, 1, 1)])
    assert len(events) == (2 if path else 3)
    if path:
        (one,) = dead
        assert (one.offset, one.reason, one.path, one.source) == (2, "rule", path, "wms-9")
        assert words in one.detail
        assert one.seen_at_us == DAY
        assert events[-1].arrival_us == DAY + 1


@pytest.mark.parametrize("batch", [1, 2, 100])
@pytest.mark.parametrize("first", [1, 3])
def test_what_comes_before_the_first_event_was_seen_when_that_came(batch: int, first: int) -> None:
    events, dead, health = stamped([b"{"] * first + [message(0, HOUR_US), message(1, HOUR_US + 1), b"{"], batch=batch)
    assert [one.seen_at_us for one in dead] == [DAY + HOUR_US] * first + [DAY + HOUR_US + 1]
    assert [(one.minute_us, one.messages, one.events) for one in health] == [(DAY + HOUR_US, first + 3, 2)]
    assert len(events) == 2


def test_where_no_message_is_an_event_nothing_is_known_of_time() -> None:
    _, dead, health = stamped([b"{", b"["])
    assert [one.seen_at_us for one in dead] == [0, 0]
    assert [(one.minute_us, one.messages) for one in health] == [(0, 2)]


def test_what_claims_to_come_from_after_now_is_refused_in_a_live_log() -> None:
    queue = PartitionQueue("log", 0, TimeRules(guard_leaps=False))
    queue.add(reads([message(0, 0), message(1, HOUR_US), message(2, 1)]), ended=False, latest_us=DAY + MINUTE_US)
    events, dead, _ = queue.take_before(DAY + 2)
    assert [one.offset for one in events] == [1, 3]
    assert [(one.offset, one.reason, one.path) for one in dead] == [(2, "rule", "$.occurred_at")]
    assert "clock of the machine" in dead[0].detail


# --- leaps -------------------------------------------------------------------------------------------------------

HOURLY = [HOUR_US * number for number in range(300)]
YEAR_9999 = "9999-12-30T23:59:59Z"


@pytest.mark.parametrize("where", [0, 1, 150, 298, 299, 300])
@pytest.mark.parametrize(
    ("bad", "path"),
    [
        (message(999, "2087-01-01T00:00:00Z"), "$.occurred_at"),
        (message(999, 0, YEAR_9999), "$.recorded_at"),
        (message(999, YEAR_9999, YEAR_9999), "$.recorded_at"),
    ],
)
@pytest.mark.parametrize("batch", [7, 1_000])
def test_one_message_with_a_bad_clock_is_refused_and_bends_nobodys_time(
    where: int, bad: bytes, path: str, batch: int
) -> None:
    good = [message(number, at) for number, at in enumerate(HOURLY)]
    events, dead, _ = stamped([*good[:where], bad, *good[where:]], batch=batch)
    assert [one.arrival_us for one in events] == [DAY + at for at in HOURLY]
    assert [(one.offset, one.reason, one.path) for one in dead] == [(where + 1, "rule", path)]
    assert "leaps ahead" in dead[0].detail


@pytest.mark.parametrize("behind", [1, 2, LOOKAHEAD, 150])
def test_a_real_gap_is_not_refused(behind: int) -> None:
    times = [*HOURLY[:150], *(at + 60 * DAY_US for at in HOURLY[150 : 150 + behind])]
    events, dead, _ = stamped([message(number, at) for number, at in enumerate(times)], batch=31)
    assert dead == []
    assert [one.arrival_us for one in events] == [DAY + at for at in times]


def test_a_log_that_the_clock_of_the_broker_stamps_is_not_guarded() -> None:
    said = reads([message(0, 0), message(1, 400 * DAY_US), message(2, 400 * DAY_US, 5)])
    queue = PartitionQueue("log", 0, TimeRules(guard_leaps=False))
    claims = [DAY, DAY + 400 * DAY_US, DAY + 7]  # the broker's word counts, not the message's
    queue.add(msgspec.structs.replace(said, claims_us=claims), ended=True)
    events, dead, _ = queue.take_before(END_OF_TIME_US)
    assert [event.arrival_us - DAY for event in events] == [0, 400 * DAY_US, 400 * DAY_US]
    assert dead == []


# --- where reading resumes -----------------------------------------------------------------------------------------


def file_of(path: Path, parts: Sequence[tuple[int, str]]) -> list[bytes]:
    """A file with blank lines and broken ones; its lines."""
    lines = []
    for number, (step, kind) in enumerate(parts):
        whole = message(number, step * SECOND_US * number)
        lines.append({"good": whole, "blank": b"  ", "broken": whole[:-4], "ahead": message(number, YEAR_9999)}[kind])
    path.write_bytes(b"\n".join(lines) + b"\n" * (len(lines) % 2))
    return lines


@settings(max_examples=100, deadline=None)
@given(
    parts=st.lists(
        st.tuples(st.integers(0, 30), st.sampled_from(["good", "good", "blank", "broken", "ahead"])), max_size=30
    ),
    batch=st.integers(1, 12),
    kills=st.sets(st.integers(0, 30)),
)
def test_reading_resumes_behind_what_was_released(
    parts: list[tuple[int, str]], batch: int, kills: set[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("lane") / "log.jsonl"
    file_of(path, parts)
    source = FilePartition(str(path), "log.jsonl", 0)

    def run(kills: set[int]) -> list[object]:
        out: list[object] = []
        reader = JsonLinesReader(source, TimeRules())
        for step in range(400):
            reader.fetch(batch)
            taken = reader.queue.take_before(reader.queue.horizon_us)
            for items in taken:
                out.extend(items)
            if reader.queue.ended and not reader.queue._stamper:
                out.extend(reader.queue.take_health())
                break
            if step in kills:
                kept = msgspec.msgpack.decode(msgspec.msgpack.encode(reader.queue.snapshot()), type=PartitionState)
                reader.close()
                reader = JsonLinesReader(source, TimeRules(), kept)
                for _ in range(step % 3):  # so that a kill after each step still gets on
                    reader.fetch(batch)
        reader.close()
        return sorted(map(repr, out))

    def lasting(rows: list[object]) -> list[object]:
        return [row for row in rows if not str(row).startswith("Health")]

    whole = run(set())
    assert lasting(run(kills)) == lasting(whole)
    assert sum(kind != "blank" for _, kind in parts) == len(lasting(whole))


def test_the_position_is_that_of_the_next_message_past_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    lines = file_of(path, [(1, "good"), (1, "blank"), (1, "broken"), (1, "blank"), (1, "good"), (1, "good")])
    reader = JsonLinesReader(FilePartition(str(path), "log.jsonl", 0), TimeRules())
    reader.fetch(100)
    events, dead, _ = reader.queue.take_before(DAY + 4 * SECOND_US)
    assert ([one.offset for one in events], [one.offset for one in dead]) == ([1], [3])
    state = reader.queue.snapshot()
    assert (state.position, state.offset) == (sum(len(line) + 1 for line in lines[:4]), 4)
    reader.queue.take_before(END_OF_TIME_US)
    assert (reader.queue.position, reader.queue.offset) == (path.stat().st_size, 6)
    reader.close()


@pytest.mark.parametrize(("longer", "refused"), [(-1, 0), (0, 0), (1, 1), (2, 1)])
def test_a_line_as_long_as_can_be_takes_nothing_of_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, longer: int, refused: int
) -> None:
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 400)
    path = tmp_path / "log.jsonl"
    first, *others = (message(number, number) for number in range(3))
    long = first[:-1] + b" " * (400 + longer - len(first)) + first[-1:]
    path.write_bytes(b"\n".join([long, *others, b""]))
    reader = JsonLinesReader(FilePartition(str(path), "log.jsonl", 0), TimeRules())
    while not reader.queue.ended:
        reader.fetch(10)
    events, dead, _ = reader.queue.take_before(END_OF_TIME_US)
    reader.close()
    assert [arrived.offset for arrived in events] == [1, 2, 3][refused:]
    assert [letter.offset for letter in dead] == [1][:refused]


def test_state_of_another_version_is_refused_in_words() -> None:
    with pytest.raises(StateError, match="partition state of version 99; this code reads"):
        PartitionQueue("log", 0, TimeRules()).restore(PartitionState(99, 0, 0, 0, None))


# --- merging -------------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(
    steps=st.lists(st.lists(st.integers(0, 3), max_size=12), min_size=1, max_size=4),
    batch=st.integers(1, 5),
)
def test_a_lane_releases_its_partitions_in_the_order_of_the_log(steps: list[list[int]], batch: int) -> None:
    queues, pending, everything = [], [], []
    for number, mine in enumerate(steps):
        queue = PartitionQueue(f"log{number % 2}", number, TimeRules(guard_leaps=False))
        now, messages = 0, []
        for offset, step in enumerate(mine):
            now += step * SECOND_US
            messages.append(message(offset, now))
            everything.append((DAY + now, queue.topic, number, offset + 1))
        queues.append(queue)
        pending.append(messages)
    merge = LaneMerge(queues)
    begins = [0] * len(queues)
    released: list[tuple[int, str, int, int]] = []
    watermark, final = BEGIN_OF_TIME_US, False
    while not final:
        wanted = merge.wanting()
        assert wanted, "a lane that has not ended wants something"
        for queue in wanted:
            messages, begin = pending[queue.partition], begins[queue.partition]
            begins[queue.partition] += batch
            queue.add(reads(messages[begin : begin + batch], begin), ended=begin + batch >= len(messages))
        merged = merge.release()
        if merged is None:
            continue
        assert merged.watermark_us > watermark
        assert all(watermark <= one.arrival_us < merged.watermark_us for one in merged.events)
        watermark, final = merged.watermark_us, merged.final
        released += [one.position for one in merged.events]
    assert released == sorted(everything)
    assert merge.release() is None
    assert merge.wanting() == []


def test_only_the_queue_that_holds_the_others_back_is_read() -> None:
    one, other = (PartitionQueue("log", number, TimeRules(guard_leaps=False)) for number in range(2))
    merge = LaneMerge([one, other])
    assert merge.wanting() == [one, other]
    one.add(reads([message(0, 0), message(1, HOUR_US)]), ended=False)
    other.add(reads([message(0, MINUTE_US)]), ended=False)
    merged = merge.release()
    assert merged is not None
    assert [event.arrival_us for event in merged.events] == [DAY]
    assert (merged.watermark_us, merged.last_us, merged.final) == (DAY + MINUTE_US, DAY + HOUR_US, False)
    assert merge.wanting() == [other]
    assert merge.release() is None
    other.raise_to(DAY + 2 * HOUR_US)
    assert merge.wanting() == [one]


def test_a_partition_that_nobody_knew_of_brings_nothing_before_what_was_released() -> None:
    one, late = (PartitionQueue("log", number, TimeRules(guard_leaps=False)) for number in range(2))
    merge = LaneMerge([one])
    one.add(reads([message(0, 0), message(1, HOUR_US)]), ended=False)
    merged = merge.release(ceiling_us=DAY + MINUTE_US)
    assert merged is not None
    assert merged.watermark_us == DAY + MINUTE_US
    merge.add(late)
    late.add(reads([message(0, SECOND_US), message(1, HOUR_US)]), ended=False)
    merged = merge.release()
    assert merged is not None
    assert [(event.partition, event.arrival_us - DAY) for event in merged.events] == [(1, MINUTE_US)]


def test_a_message_keeps_its_arrival_when_its_partition_goes_quiet_before_it_is_released() -> None:
    quiet, slow = (PartitionQueue("log", number, TimeRules(guard_leaps=False)) for number in range(2))
    merge = LaneMerge([quiet, slow])
    quiet.add(reads([message(0, SECOND_US)]), ended=False)
    quiet.raise_to(DAY + HOUR_US)
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(merge.snapshot()), type=LaneState)
    resumed = LaneMerge()
    kept = resumed.restore(state)
    queues = [PartitionQueue("log", number, TimeRules(guard_leaps=False)) for number in range(2)]
    for queue in queues:
        queue.restore(kept[f"log/{queue.partition}"])
        resumed.add(queue)
    for queue, other in zip(queues, (quiet, slow), strict=True):
        if queue.partition == 0:
            queue.add(reads([message(0, SECOND_US)]), ended=False)
            queue.raise_to(DAY + HOUR_US)
        for each in (queue, other):
            each.raise_to(DAY + MINUTE_US)
    released = [each.release() for each in (merge, resumed)]
    assert [[event.arrival_us - DAY for event in one.events] for one in released if one] == [[SECOND_US], [SECOND_US]]
    assert isinstance(reads([b"["]).decoded[0], Fault)


def test_the_last_minute_of_a_partition_that_falls_quiet_is_told_when_it_is_over() -> None:
    """Once, whether time comes to its end with the messages or after them; nothing else would ever end it."""
    merge = LaneMerge([queue := PartitionQueue("log", 0, TimeRules(guard_leaps=False))])
    queue.add(reads([message(0, SECOND_US), message(1, 2 * SECOND_US)]), ended=False)
    told = []
    for at_us in (3 * SECOND_US, MINUTE_US - 1, MINUTE_US, 2 * MINUTE_US, HOUR_US):
        queue.raise_to(DAY + at_us)
        released = merge.release()
        assert released is not None
        told.append([(one.minute_us - DAY, one.messages, one.events) for one in released.health])
    assert told == [[], [], [(0, 2, 2)], [], []]
    queue.add(reads([message(2, HOUR_US)], 2), ended=False)
    queue.raise_to(DAY + 2 * HOUR_US)
    released = merge.release()
    assert released is not None
    assert [(one.minute_us - DAY, one.messages) for one in released.health] == [(HOUR_US, 1)]
