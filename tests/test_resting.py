"""Records that rest are the records that were put there, whenever they were packed, kept and taken up again."""

from typing import Any

import msgspec
from hypothesis import settings
from hypothesis.stateful import rule

from operators.resting import Resting
from tests.resting_rules import HEAD, RestingRules, keep, pack, unpack


class RestingMachine(RestingRules):
    """Kept by snapshots."""

    def __init__(self) -> None:
        super().__init__()
        self.resting = self.fresh()
        self.model = {}

    def fresh(self) -> Resting[list[int]]:
        return Resting(pack, unpack)

    @rule()
    def take_up_again(self) -> None:
        encoded = msgspec.msgpack.encode(self.resting.snapshot())
        self.resting = self.fresh()
        self.resting.restore(msgspec.msgpack.decode(encoded, type=dict[str, bytes]))

    @rule()
    def keep_and_go_on(self) -> None:
        kept = {key: unpack(bytes(packed)) for key, packed in self.resting.snapshot().items()}
        assert kept == self.model


class KeepingMachine(RestingMachine):
    """Where a snapshot keeps records that stay objects in another way."""

    def fresh(self) -> Resting[list[int]]:
        return Resting(pack, unpack, keep, HEAD)


TestResting: Any = RestingMachine.TestCase
TestKeeping: Any = KeepingMachine.TestCase
TestResting.settings = TestKeeping.settings = settings(max_examples=300, stateful_step_count=30, deadline=None)


def test_what_a_snapshot_only_kept_is_packed_when_it_is_let_go_of() -> None:
    resting = Resting(pack, unpack, keep, HEAD)
    resting.put("a", [1])
    assert resting.snapshot() == {"a": keep([1])}
    resting.rest()
    assert resting.snapshot() == {"a": keep([1])}
    resting.rest()
    assert (resting.awake, resting.at_rest("a"), resting.snapshot()) == (0, pack([1]), {"a": pack([1])})


def test_what_was_awake_when_it_was_kept_is_not_at_rest_until_it_was_asked_for_and_packed() -> None:
    resting = Resting(pack, unpack, keep, HEAD)
    resting.restore({"a": keep([1])})
    assert resting.at_rest("a") is None
    assert resting.get("a") == [1]
    resting.rest()
    resting.rest()
    assert resting.at_rest("a") == pack([1])


def test_what_is_not_asked_for_is_packed_by_the_second_rest() -> None:
    resting = Resting(pack, unpack)
    for key in "ab":
        resting.put(key, [1])
    for awake in (2, 1, 1):
        resting.rest()
        resting.get("a")
        assert resting.awake == awake


def test_a_snapshot_packs_only_what_was_asked_for_since_the_last_and_lets_objects_be() -> None:
    packed: list[list[int]] = []

    def counted(record: list[int]) -> bytes:
        packed.append(record)
        return pack(record)

    resting = Resting(counted, unpack)
    for number in range(5):
        resting.put(str(number), [number])
    resting.snapshot()
    assert (len(packed), resting.awake) == (5, 5)
    resting.get("3")
    resting.snapshot()
    assert packed[5:] == [[3]]
    resting.rest()
    resting.rest()
    assert (len(packed), resting.awake) == (6, 0)


def test_what_was_kept_is_unpacked_when_it_is_asked_for_and_not_before() -> None:
    asked: list[bytes] = []

    def counted(packed: bytes) -> list[int]:
        asked.append(packed)
        return unpack(packed)

    resting = Resting(pack, counted)
    resting.restore({key: pack([1]) for key in "abc"})
    assert resting.get("b") == [1]
    assert len(asked) == 1


def test_what_is_an_object_does_not_rest_until_that_is_let_go() -> None:
    resting = Resting(pack, unpack)
    assert resting.at_rest("a") == b""
    resting.put("a", [1])
    resting.rest()
    assert resting.at_rest("a") is None
    resting.get("a")
    resting.snapshot()
    for _ in range(2):
        assert resting.at_rest("a") is None
        resting.rest()
    assert resting.at_rest("a") == pack([1])
