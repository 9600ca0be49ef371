"""Messages stamped together get what they get one by one, however odd some of them are and however they come."""

from typing import NamedTuple
from unittest.mock import patch

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from operators import stamping
from operators.lane_state import PartitionState, Reads, TimeRules
from operators.partitions import PartitionQueue
from schemas.decode import EventDecoder
from schemas.durations import DAY_US, END_OF_TIME_US, HOUR_US, MINUTE_US, SECOND_US, rfc3339
from tests.scripts import DAY

#: No batch is so large: one by one.
NEVER = 1 << 30


class Said(NamedTuple):
    """A message: when it happened and was recorded (µs of the day), its zone, what the log claims, and if it is bad."""

    occurred: int
    recorded: int | None
    zone: str
    claim: int | None
    is_broken: bool


#: Steps of a log's time: most are small; some go back, lie at the limits, or leap.
STEPS = st.sampled_from([0, 1, 999_999, SECOND_US, SECOND_US, 7 * SECOND_US, -SECOND_US, MINUTE_US, HOUR_US])
OFF = st.sampled_from(
    [*[0] * 8, 5 * MINUTE_US, 5 * MINUTE_US + 1, -30 * DAY_US, -30 * DAY_US - 1, 31 * DAY_US, 400 * DAY_US, -HOUR_US]
)


@st.composite
def logs(draw: st.DrawFn) -> list[Said]:
    """Messages in order; in some logs all, none or some carry their recorded time, and the log's own claim."""
    has_recorded, has_claim = (
        draw(st.sampled_from(["all", "none", "some"])),
        draw(st.sampled_from(["all", "none", "some"])),
    )
    now, out = HOUR_US, []
    for step, off, zone, says, broken in draw(
        st.lists(
            st.tuples(STEPS, OFF, st.sampled_from(["Z", "Z", "+05:30", "-11:00"]), st.booleans(), st.integers(0, 30)),
            min_size=5,
            max_size=120,
        )
    ):
        now += step
        recorded = now if has_recorded == "all" or (has_recorded == "some" and says) else None
        claim = now if has_claim == "all" or (has_claim == "some" and not says) else None
        out.append(Said(now + off, recorded, zone, claim, broken == 0))
    return out


def message(number: int, said: Said) -> bytes:
    if said.is_broken:
        return b'{"type":"queue.depth"}'
    body: dict[str, object] = {
        "type": "queue.depth",
        "event_id": f"e{number}",
        "source": "mq-1",
        "system": "middleware",
    }
    body |= {"queue": "q", "depth": 1, "occurred_at": rfc3339(DAY + said.occurred)[:-1] + said.zone}
    if said.recorded is not None:
        body["recorded_at"] = rfc3339(DAY + said.recorded)
    return msgspec.json.encode(body)


def taken(log: list[Said], cuts: list[int], rules: TimeRules, latest_us: int, *, few: int, kill: bool) -> list[object]:
    """All that a queue gives which is read in parts, and releases what it can after each."""
    messages = [message(number, said) for number, said in enumerate(log)]
    claims = [None if said.claim is None else DAY + said.claim for said in log]
    out: list[object] = []
    with patch.object(stamping, "_FEW", few):
        queue, at = PartitionQueue("log", 0, rules), 0
        for cut in [*cuts, len(messages)]:
            end = min(len(messages), at + cut)
            raws, positions = messages[at:end], list(range(at, end))
            reads = Reads([at + 1 for at in positions], positions, raws, EventDecoder().decode(raws), claims[at:end])
            queue.read_to(end, end)
            queue.add(reads, ended=end == len(messages), latest_us=latest_us)
            out += [*queue.take_before(queue.horizon_us - HOUR_US), queue.horizon_us, queue.last_us, queue.buffered]
            at = end
            if kill:
                kept = msgspec.msgpack.decode(msgspec.msgpack.encode(queue.snapshot()), type=PartitionState)
                queue, at = PartitionQueue("log", 0, rules), kept.position
                queue.restore(kept)
        return [*out, queue.take_before(END_OF_TIME_US), queue.take_health(), queue.snapshot()]


@settings(max_examples=300, deadline=None)
@given(
    log=logs(),
    cuts=st.lists(st.integers(0, 60), max_size=4),
    guard=st.booleans(),
    latest=st.sampled_from([END_OF_TIME_US, DAY + 2 * HOUR_US]),
    few=st.sampled_from([1, 2, 3, 9]),
    kill=st.booleans(),
)
def test_together_is_as_one_by_one(
    log: list[Said], cuts: list[int], guard: bool, latest: int, few: int, kill: bool
) -> None:
    rules = TimeRules(guard_leaps=guard)
    one_by_one = taken(log, cuts, rules, latest, few=NEVER, kill=kill)
    assert taken(log, cuts, rules, latest, few=few, kill=kill) == one_by_one
