"""What can be done with records that rest, against a plain dictionary: the rules of every state machine over them."""

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from operators.resting import Resting

#: Of these some are asked for and changed; there may be others, which rest for ever.
KEYS = st.sampled_from("abcdefg")
HEAD = b"kept"  # no array's first byte


def pack(record: list[int]) -> bytes:
    return msgspec.msgpack.encode(record)


def keep(record: list[int]) -> bytes:
    return HEAD + pack(record)


def unpack(packed: bytes) -> list[int]:
    return msgspec.msgpack.decode(packed.removeprefix(HEAD), type=list[int])


class RestingRules(RuleBasedStateMachine):
    """Against a plain dictionary; a machine adds how records are kept and taken up again."""

    resting: Resting[list[int]]
    model: dict[str, list[int]]

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
    def ask(self, key: str) -> None:
        assert self.resting.get(key) == self.model.get(key)

    @rule(key=KEYS)
    def drop(self, key: str) -> None:
        self.resting.drop(key)
        self.model.pop(key, None)

    @rule()
    def rest(self) -> None:
        self.resting.rest()

    @rule(key=KEYS)
    def peek(self, key: str) -> None:
        awake = self.resting.awake
        assert self.resting.peek(key) == self.model.get(key)
        assert self.resting.awake == awake

    @rule(key=KEYS, value=st.integers(0, 9))
    def change_at_rest(self, key: str, value: int) -> None:
        packed = None if key in self.resting.young else self.resting.at_rest(key)
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
        assert [key for key in "abcdefg" if key in self.resting] == [key for key in "abcdefg" if key in self.model]
