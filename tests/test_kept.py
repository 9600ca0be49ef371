"""State as it is kept comes back as it was, or is refused in words."""

import pickle
from functools import partial

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflows.kept import Compressor, compressed, expanded
from schemas.errors import StateError

STATE = msgspec.msgpack.encode([1, {f"sku-{number}\x1fnode": b"\x00" * 40 for number in range(2_000)}])


@given(st.binary())
def test_what_was_kept_comes_back(state: bytes) -> None:
    assert expanded(compressed(state)) == state


def test_it_takes_less_room() -> None:
    assert len(compressed(STATE)) < len(STATE) / 3


def test_state_that_was_kept_before_states_were_compressed_is_read() -> None:
    assert expanded(STATE) == STATE


@given(st.integers(4, len(compressed(STATE)) - 1))
def test_what_was_cut_off_is_refused(size: int) -> None:
    with pytest.raises(StateError, match="can't be read"):
        expanded(compressed(STATE)[:size])


@given(st.integers(4, len(compressed(STATE)) - 1), st.integers(1, 255))
def test_what_was_changed_is_refused_or_comes_back_as_it_was(place: int, change: int) -> None:
    kept = bytearray(compressed(STATE))
    kept[place] ^= change
    assert _read(bytes(kept)) in {STATE, None}


def _read(kept: bytes) -> bytes | None:
    try:
        return expanded(kept)
    except StateError:
        return None


def test_what_is_compressed_beside_is_pickled_as_a_name_and_its_state() -> None:
    compressor, told = Compressor(), list[tuple[float, int]]()
    names = [f"item:{number:04}" for number in range(9)]  # more than may be under way at once
    keeping = [
        compressor.keep(name, partial(bytes, STATE + name.encode()), lambda held_s, size: told.append((held_s, size)))
        for name in names
    ]

    kept = [pickle.loads(pickle.dumps(one)) for one in keeping]  # noqa: S301 - our own

    assert [(type(one), one[0], expanded(one[1])) for one in kept] == [
        (tuple, name, STATE + name.encode()) for name in names
    ]
    assert [size for _, size in told] == [len(one[1]) for one in kept]
    assert all(held_s > 0 for held_s, _ in told)


def test_what_fails_beside_fails_where_it_is_pickled() -> None:
    keeping = Compressor().keep("item:0000", lambda: "no bytes", lambda _held_s, _size: None)  # type: ignore[arg-type, return-value]

    with pytest.raises(TypeError, match="bytes-like"):
        pickle.dumps(keeping)
