"""State as it is kept comes back as it was, or is refused in words."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflows.kept import compressed, expanded
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
