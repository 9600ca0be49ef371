"""Records that rest are the records that were put there, whenever they were packed, kept and taken up again."""

from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from operators.resting import Resting

KEYS = st.sampled_from("abcdefg")


def pack(record: list[int]) -> bytes:
    return msgspec.msgpack.encode(record)


HEAD = b"kept"  # no array's first byte


def keep(record: list[int]) -> bytes:
    return HEAD + pack(record)


def unpack(packed: bytes) -> list[int]:
    return msgspec.msgpack.decode(packed.removeprefix(HEAD), type=list[int])


class RestingMachine(RuleBasedStateMachine):
    """Against a plain dict."""

    def __init__(self) -> None:
        super().__init__()
        self.resting = self.fresh()
        self.model: dict[str, list[int]] = {}

    def fresh(self) -> Resting[list[int]]:
        return Resting(pack, unpack)

    @rule(key=KEYS, value=st.integers(0, 9))
    def change(self, key: str, value: int) -> None:
        record = self.resting.get(key)
        assert record == self.model.get(key)
        if record is None:
            self.resting.put(key, [value])
            self.model[key] = [value]
        else:
            record.append(value)
            self.model[key].append(value)

    @rule(key=KEYS)
    def drop(self, key: str) -> None:
        self.resting.drop(key)
        self.model.pop(key, None)

    @rule()
    def rest(self) -> None:
        self.resting.rest()

    @rule()
    def take_up_again(self) -> None:
        encoded = msgspec.msgpack.encode(self.resting.snapshot())
        self.resting = self.fresh()
        self.resting.restore(msgspec.msgpack.decode(encoded, type=dict[str, bytes]))

    @rule()
    def keep_and_go_on(self) -> None:
        kept = {key: unpack(bytes(packed)) for key, packed in self.resting.snapshot().items()}
        assert kept == self.model

    @rule(key=KEYS)
    def peek(self, key: str) -> None:
        awake = self.resting.awake
        assert self.resting.peek(key) == self.model.get(key)
        assert self.resting.awake == awake

    @rule(key=KEYS, value=st.integers(0, 9))
    def change_at_rest(self, key: str, value: int) -> None:
        packed = self.resting.at_rest(key)
        if packed is not None:
            assert not packed.startswith(HEAD)
            assert (unpack(packed) if packed else None) == self.model.get(key)
            self.model[key] = [*self.model.get(key, []), value]
            self.resting.keep_at_rest(key, pack(self.model[key]))

    @rule(key=KEYS)
    def look_among_the_young(self, key: str) -> None:
        """What is found there is what `get` gives, and may be changed."""
        record = self.resting.young.get(key)
        if record is not None:
            assert record is self.resting.get(key)
            record.append(0)
            self.model[key].append(0)

    @invariant()
    def keys_are_those_of_the_model(self) -> None:
        assert len(self.resting) == len(self.model)
        assert sorted(self.resting) == sorted(self.model)
        assert [key for key in "abcdefg" if key in self.resting] == sorted(self.model)


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
    resting.snapshot()
    for _ in range(2):
        assert resting.at_rest("a") is None
        resting.rest()
    assert resting.at_rest("a") == pack([1])
