"""What is kept in increments is what there is, whenever an epoch ended and whenever the job was killed."""

from collections.abc import Iterator
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from dataflows.flow import Stop, Unwatched
from dataflows.kept import compressed, expanded
from dataflows.kept_group import Keeper, KeptGroup, slot_name
from operators.dedup import Dedup
from operators.dedup_state import DedupState
from operators.groups import make_group
from operators.increments import Held, Increment, Increments, IncrementsState
from operators.process_lint import read_process_map
from operators.resting import Resting
from schemas.durations import SECOND_US
from schemas.errors import StateError
from tests.harness import MAP, PurePipeline, encoded
from tests.harness import settings as pipeline_settings
from tests.kept_pipeline import KeptPipeline
from tests.logs import Fact, facts, log_of
from tests.resting_rules import HEAD, RestingRules, keep, pack, unpack
from tests.test_dedup import arrived

COMMON = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)


@pytest.fixture(autouse=True)
def small() -> Iterator[None]:
    """A round is soon over, and increments are made wherever they can be."""
    with patch.multiple(Increments, ROUND=3, ANEW=1, MOST=100):
        yield


class Records(RestingRules):
    """Kept in increments at each epoch's end, and a kill goes back to that."""

    def __init__(self) -> None:
        super().__init__()
        self.model = {key: [number] for number, key in enumerate("defghijklmno")}
        self.kept_model = {key: list(record) for key, record in self.model.items()}
        self.slots: dict[int, bytes] = {}
        packed = {key: pack(record) for key, record in self.model.items()}
        self.kept: tuple[bytes, bytes | None] = (msgspec.msgpack.encode(packed), None)
        self.begin()

    def begin(self, least: int = 1) -> None:
        self.resting = Resting(pack, unpack, keep, HEAD)
        self.increments = Increments("item:0000", {"items": self.resting}, least)
        records, state = self.kept
        if state is not None:
            adopted = msgspec.msgpack.decode(state, type=IncrementsState)
            taken = [
                msgspec.msgpack.decode(self.slots[held.number % Increments.SLOTS], type=Increment)
                for held in adopted.live
            ]
            self.increments.adopt(adopted, taken)
        self.resting.restore(self.resting.together(msgspec.msgpack.decode(records, type=dict[str, bytes])))
        self.increments.restored()
        self.due = {due.slot: due.is_over for due in self.increments.due()}

    @rule()
    def pack(self) -> None:
        self.increments.pack()

    @rule(again=st.integers(1, 4))
    def end_epochs(self, again: int) -> None:
        for _ in range(again):
            increment = self.increments.keep()
            if increment is not None:
                assert self.due.pop(increment.number % Increments.SLOTS) is False
                self.slots[increment.number % Increments.SLOTS] = msgspec.msgpack.encode(increment)
            for slot, is_over in self.due.items():
                assert is_over
                del self.slots[slot]
            state = self.increments.snapshot()
            records = msgspec.msgpack.encode(self.resting.snapshot())
            self.kept = records, None if state is None else msgspec.msgpack.encode(state)
            self.kept_model = {key: list(record) for key, record in self.model.items()}
            self.due = {due.slot: due.is_over for due in self.increments.due()}
            assert self.increments.due() == []

    @rule(least=st.sampled_from([1, 1, 1, 0]))
    def kill(self, least: int) -> None:
        """And it may go on under other settings, by which all is kept as one."""
        self.model = {key: list(record) for key, record in self.kept_model.items()}
        self.begin(least)

    @invariant()
    def the_same(self) -> None:
        assert {key: self.resting.peek(key) for key in self.resting} == self.model

    @invariant()
    def what_is_kept_is_bounded(self) -> None:
        assert len(self.slots) <= 2 * (2 * Increments.ROUND + 2)  # those needed, and those that are let go of next


TestRecords = Records.TestCase
TestRecords.settings = settings(COMMON, max_examples=150)


@COMMON
@given(
    facts=facts(),
    batch=st.integers(1, 20),
    lanes=st.integers(1, 3),
    plan=st.lists(st.sampled_from(["go", "go", "end", "end", "kill"]), min_size=1, max_size=40),
)
def test_rows_do_not_depend_on_epochs_and_kills(facts: list[Fact], batch: int, lanes: int, plan: list[str]) -> None:
    log = log_of(facts, broken=True)
    plain = PurePipeline(log, pipeline_settings(lanes=lanes, groups=2), batch).run()
    killed = KeptPipeline(log, pipeline_settings(lanes=lanes, groups=2), batch)
    todo = list(plan)
    while not killed.ended:
        for lane in killed.settings.lanes:
            killed.step(lane)
            what = todo.pop() if todo else "go"
            if what != "go":
                killed.end_epoch() if what == "end" else killed.kill()
    assert encoded(killed.rows) == encoded(plain)


OTHER = MAP.replace(
    "[[handoff]]",
    """[[handoff]]
name = "delivery"
case = "order_id"
start = {type = "order.allocated"}
end = {type = "shipment.delivered"}
deadline = "1h"
[[handoff]]""",
    1,
)


@pytest.mark.parametrize("again", [False, True])
def test_what_was_taken_over_under_other_settings_is_kept_anew(again: bool) -> None:
    """Another process map, so that cases are written otherwise than increments have them."""
    made = [
        Fact(case, kind, case, 20 * place + case, 0, False, 5)
        for case in range(150)
        for place, kind in enumerate(["order.created", "order.approved", "order.allocated", "shipment.delivered"])
    ]
    log = log_of(sorted(made, key=lambda fact: fact.occurred_s))
    declared = read_process_map(OTHER, "other.toml").value
    assert declared is not None
    chosen = pipeline_settings(groups=1)
    other = msgspec.structs.replace(chosen, process=declared)
    plain, kept = PurePipeline(log, chosen, 10), KeptPipeline(log, chosen, 10)
    for one in (plain, kept):
        for _ in range(12):
            one.step("lane-0")
            if one is kept:
                kept.end_epoch()
    plain.keep_and_restore(other)
    kept.kill(other)
    if again:  # ended before anything came
        kept.end_epoch()
        kept.kill()
    plain.step("lane-0")
    kept.step("lane-0")
    kept.end_epoch()
    kept.kill()
    assert kept.apart
    assert not kept.ended
    assert encoded(kept.run()) == encoded(plain.run())


def test_groups_are_kept_in_increments_and_as_one_again() -> None:
    made = [Fact(n, "order.created", n, n, 0, n % 7 == 0, 5) for n in range(300)]
    log = log_of(made, broken=False)
    plain = PurePipeline(log, pipeline_settings(groups=2), 10).run()
    kept = KeptPipeline(log, pipeline_settings(groups=2), 10)
    apart = []
    for step in range(31):
        kept.step("lane-0")
        kept.end_epoch()
        apart.append(kept.apart)
        if step in {8, 20}:
            kept.increments_from = int(step == 20)
            kept.kill()
    assert min(apart[1:9]) > 0
    assert set(apart[9:21]) == {0}
    assert min(apart[22:]) > 0
    assert encoded(kept.run()) == encoded(plain)


def test_a_program_that_knows_of_no_increments_refuses_the_state() -> None:
    made = [Fact(n, "order.created", n, n, 0, n % 7 == 0, 5) for n in range(30)]
    kept = KeptPipeline(log_of(made), pipeline_settings(), 10)
    kept.step("lane-0")
    kept.end_epoch()
    with pytest.raises(StateError, match="kept by another version of Andon"):
        make_group("case:0000", pipeline_settings()).restore(expanded(kept.states["case:0000"][1]))


def test_increments_of_another_version_are_refused_in_words() -> None:
    """What they go with, one of them as a whole, and what a part gave to it: each in another shape."""
    made = [Fact(n, "order.created", n, n, 0, n % 7 == 0, 5) for n in range(30)]
    kept = KeptPipeline(log_of(made), pipeline_settings(), 10)
    kept.step("lane-0")
    kept.end_epoch()
    name, state, goes_with = kept.states["case:0000"]  # type: ignore[misc] # kept in increments
    slot = slot_name(name, 0)
    increment = msgspec.msgpack.decode(expanded(kept.slots[slot][1]), type=Increment)

    def take_up(goes_with: bytes, increment: object) -> None:
        keeper = Keeper(Unwatched(), 1)
        keeper.put((slot, compressed(msgspec.msgpack.encode(increment))))
        assert KeptGroup(name, pipeline_settings(), keeper, Stop(), (name, state, goes_with)).is_there()

    take_up(goes_with, increment)
    parts: dict[str, bytes] = dict.fromkeys(increment.parts, msgspec.msgpack.encode("another shape"))
    fewer = msgspec.msgpack.encode(msgspec.msgpack.decode(goes_with)[:4])  # so were they when they were first made
    for other_state, other, words in (
        (fewer, increment, "can't be read as IncrementsState: .*kept by another version of Andon"),
        (goes_with, [0], "can't be read as Increment: .*kept by another version of Andon"),
        (goes_with, Increment(0, parts), "of case:0000 can't be read: .*kept by another version of Andon"),
    ):
        with pytest.raises(StateError, match=words):
            take_up(other_state, other)


def records_of(increment: Increment) -> int:
    return len(msgspec.msgpack.decode(increment.parts["items"])[0])


def test_small_records_beside_large_ones_do_not_hide_how_much_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten large ones change each time, of a thousand small ones none: what is kept stays within what there is."""
    monkeypatch.setattr(Increments, "MOST", 3)
    monkeypatch.setattr(Increments, "ROUND", 32)
    large, small = (Resting[list[int]](pack, unpack) for _ in range(2))
    for number in range(10):
        large.put(str(number), [0] * 2_000)
    for number in range(1_000):
        small.put(str(number), [number])
    increments = Increments("item:0000", {"large": large, "small": small}, 1)
    whole, sizes = 0, list[int]()
    for epoch in range(100):
        increments.due()
        for number in range(9):
            record = large.get(str(number))
            assert record is not None
            record[0] = epoch
        increments.keep()
        state = increments.snapshot()
        assert state is not None
        whole = whole or state.live[0].size
        sizes.append(sum(held.size for held in state.live))
    assert max(sizes) < 3.1 * whole


def test_a_round_lets_go_of_what_was_before() -> None:
    """Few of many records change at each epoch: an increment has those, and a share of the others."""
    resting: Resting[list[int]] = Resting(pack, unpack)
    increments = Increments("item:0000", {"items": resting}, 1)
    for number in range(300):
        resting.put(str(number), [number])
    sizes, live = [], []
    for epoch in range(12):
        assert increments.due()[-1].is_over is False
        record = resting.get(str(epoch))
        assert record is not None
        record.append(epoch)
        increment = increments.keep()
        state = increments.snapshot()
        assert increment is not None
        assert state is not None
        assert resting.snapshot() == {}
        sizes.append(records_of(increment))
        live.append([held.number for held in state.live])
    assert sizes[0] == 300
    assert set(sizes[1:]) <= {100, 101}  # what has changed may be in the share
    assert live[:5] == [[0], [0, 1], [0, 1, 2], [1, 2, 3], [1, 2, 3, 4]]
    assert live[6] == [4, 5, 6]


def test_where_much_changes_all_is_kept_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Increments, "ANEW", 2)
    resting: Resting[list[int]] = Resting(pack, unpack)
    increments = Increments("item:0000", {"items": resting}, 1)
    for number in range(100):
        resting.put(str(number), [number])
    for epoch in range(5):
        increments.due()
        for number in range(60):
            record = resting.get(str(number))
            assert record is not None
            record.append(epoch)
        increments.keep()
        state = increments.snapshot()
        assert state is not None
        assert [held.number for held in state.live] == [epoch]


def test_increments_that_do_not_go_with_the_state_are_refused() -> None:
    increments = Increments("item:0000", {}, 1)
    state = IncrementsState(1, 7, [Held(6, 1), Held(7, 1)], [], {})
    with pytest.raises(StateError, match=r"the state of item:0000 goes with increments \[6, 7\], and these are \[6\]"):
        increments.adopt(state, [Increment(6, {})])
    with pytest.raises(StateError, match="increments of version 9; this code reads 1"):
        increments.adopt(msgspec.structs.replace(state, version=9), [])


@COMMON
@given(
    drawn=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 80)), min_size=40, max_size=200),
    batch=st.integers(1, 9),
    most=st.sampled_from([8, 30, 1_000]),
    plan=st.lists(st.sampled_from(["go", "end", "end", "kill"]), min_size=20, max_size=100),
)
def test_ids_are_the_same_whenever_they_were_kept(
    drawn: list[tuple[int, int]], batch: int, most: int, plan: list[str]
) -> None:
    now, events = 0, []
    for place, (step, number) in enumerate(drawn):
        now += step * SECOND_US
        events.append(arrived(place, now, "s", f"e{number}"))
    cuts = [events[at : at + batch] for at in range(0, len(events), batch)]
    plain = Dedup(20 * SECOND_US, most)
    expected = [plain.split(list(cut)) for cut in cuts]

    dedup, slots = Dedup(20 * SECOND_US, most), dict[int, bytes]()
    increments = Increments("item:0000", {"ids": dedup}, 1)
    kept: tuple[int, bytes, IncrementsState | None] = 0, msgspec.msgpack.encode(dedup.snapshot()), None
    found: list[object] = []
    todo, at = list(plan), 0
    while at < len(cuts):
        increments.due()
        found[at:] = [dedup.split(list(cuts[at]))]
        at += 1
        what = todo.pop() if todo else "go"
        if what == "end":
            increment = increments.keep()
            if increment is not None:
                slots[increment.number] = msgspec.msgpack.encode(increment)
            kept = at, msgspec.msgpack.encode(dedup.snapshot()), increments.snapshot()
        elif what == "kill":
            at, packed, state = kept
            dedup = Dedup(20 * SECOND_US, most)
            increments = Increments("item:0000", {"ids": dedup}, 1)
            if state is not None:
                taken = [msgspec.msgpack.decode(slots[held.number], type=Increment) for held in state.live]
                increments.adopt(state, taken)
            dedup.restore(msgspec.msgpack.decode(packed, type=DedupState))
            increments.restored()
    assert found == expected


def test_ids_that_are_in_no_increment_are_missed() -> None:
    dedup = Dedup(20 * SECOND_US)
    increments = Increments("item:0000", {"ids": dedup}, 1)
    dedup.split([arrived(number, number, "s", f"e{number}") for number in range(9)])
    increments.due()
    increment, state = increments.keep(), dedup.snapshot()
    assert increment is not None
    other = Dedup(20 * SECOND_US)
    other.adopt([])
    with pytest.raises(StateError, match="9 of 9 ids of a state are in none of its increments"):
        other.restore(state)


def test_a_part_that_is_no_more_does_not_come_back() -> None:
    """A detector that was switched off begins anew when it is switched on again."""
    records: dict[str, Resting[list[int]]] = {name: Resting(pack, unpack) for name in ("kept", "gone")}
    for one in records.values():
        for number in range(9):
            one.put(str(number), [number])
    increments = Increments("case:0000", records, 1)
    increments.due()
    increment, state = increments.keep(), increments.snapshot()
    assert increment is not None
    assert state is not None

    still: Resting[list[int]] = Resting(pack, unpack)
    without = Increments("case:0000", {"kept": still}, 1)
    without.adopt(state, [increment])
    still.restore(still.together({}))
    without.restored()
    without.due()
    without.keep()
    state = without.snapshot()
    assert state is not None
    assert [held.number for held in state.live] == [1]
