"""What goes to a group of another process comes out there as it went in, and takes the same way through the group."""

import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataflows import crossing
from dataflows.crossing import Crossing, Packed, opened, packed
from dataflows.placing import spread, worker_of
from operators.group_state import Emitted, IncidentPiece, Piece, SitePiece
from operators.groups import Group
from operators.pipeline import CASE, INCIDENT, INTERFACE, ITEM, SITE, group_name, group_names
from operators.slices import Slice
from schemas.durations import to_us
from schemas.events import Arrived, Event
from tests.harness import PurePipeline, encoded
from tests.harness import settings as pipeline_settings
from tests.logs import Fact, facts, log_of
from tests.strategies import events

T = TypeVar("T")
SPACES = ((CASE, 8), (ITEM, 8), (INTERFACE, 1), (SITE, 4), (INCIDENT, 1))
NAMES = [name for space, count in SPACES for name in group_names(space, count)]
WORKERS = 3


def _pickled(value: T) -> T:
    """As the engine of another process gets it."""
    gone: T = pickle.loads(pickle.dumps(value))  # noqa: S301 - our own bytes
    return gone


@contextmanager
def _counted() -> Iterator[list[Piece]]:
    """What is packed meanwhile."""
    found: list[Piece] = []

    def noting(piece: Piece) -> Packed:
        found.append(piece)
        return packed(piece)

    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(crossing, "packed", noting)
        yield found


@pytest.mark.parametrize("worker", range(WORKERS))
def test_only_what_goes_to_another_process_is_packed(worker: int) -> None:
    keys = spread(NAMES)
    here = Crossing(keys, WORKERS, worker)
    for name in NAMES:
        piece = Slice(name, 1, 2, [])
        key, (to, sent) = here.to(name, piece)
        assert (key, to) == (keys[name], name)
        if worker_of(key, WORKERS) == worker:
            assert sent is piece
        else:
            assert isinstance(sent, Packed)
            assert opened(sent) == piece


def test_alone_nothing_is_packed() -> None:
    alone = Crossing(spread(NAMES), 1, 0)
    with _counted() as found:
        for name in NAMES:
            alone.to(name, Slice(name, 1, 2, []))
    assert found == []


def test_a_piece_is_packed_once_however_often_the_engine_pickles_it() -> None:
    name = NAMES[0]
    away = Crossing(spread(NAMES), 2, 1 - worker_of(spread(NAMES)[name], 2))
    with _counted() as found:
        sent = away.to(name, Slice(name, 1, 2, []))
        assert _pickled(sent) == _pickled(sent) == sent
    assert len(found) == 1


@given(st.lists(events(), max_size=5), st.integers(-(2**62), 2**62), st.booleans())
def test_events_of_every_type_come_out_as_they_went_in(some: list[Event], watermark_us: int, final: bool) -> None:
    taken = [
        Arrived(to_us(event.occurred_at), "orders", 1, offset, to_us(event.occurred_at), event)
        for offset, event in enumerate(some)
    ]
    piece = Slice("lane-0000", watermark_us, watermark_us, taken, final)
    there = opened(_pickled(packed(piece)))
    assert there == piece
    assert type(there) is Slice


class _Away:
    """A group of another process: all that it is given has crossed."""

    def __init__(self, group: Group, seen: set[type]) -> None:
        self._group, self._seen = group, seen

    def on_batch(self, pieces: Sequence[Piece]) -> Emitted:
        there = [opened(_pickled(packed(piece))) for piece in pieces]
        assert there == list(pieces)
        self._seen.update(map(type, there))
        return self._group.on_batch(there)  # type: ignore[arg-type] # as `pieces`

    def snapshot(self) -> bytes:
        return self._group.snapshot()

    def restore(self, state: bytes) -> None:
        self._group.restore(state)


class _Scattered(PurePipeline):
    """Every second group is in another process."""

    def __init__(self, log: dict[str, Sequence[bytes]], lanes: int, batch: int) -> None:
        self.crossed: set[type] = set()
        super().__init__(log, pipeline_settings(lanes=lanes, groups=2), batch)

    def _group(self, name: str) -> Group:
        if name not in self.groups:
            group = super()._group(name)
            if name.endswith("1") or name == group_name(INCIDENT, 0):
                self.groups[name] = _Away(group, self.crossed)  # type: ignore[assignment] # acts as one
        return self.groups[name]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(facts=facts(), batch=st.integers(1, 70), lanes=st.integers(1, 3), every=st.integers(1, 9))
def test_rows_do_not_depend_on_what_crosses(facts: list[Fact], batch: int, lanes: int, every: int) -> None:
    log = log_of(facts, broken=True)
    together = PurePipeline(log, pipeline_settings(lanes=lanes, groups=2), batch).run()
    apart, steps = _Scattered(log, lanes, batch), 0
    while not apart.ended:
        for lane in apart.settings.lanes:
            apart.step(lane)
            steps += 1
            if steps % every == 0:
                apart.keep_and_restore()
    assert encoded(apart.rows) == encoded(together)
    assert apart.crossed == {Slice, SitePiece, IncidentPiece}


def test_what_was_packed_is_no_longer_than_its_message_and_its_place() -> None:
    """Each byte is copied some five times on its way."""
    log = log_of([Fact(number, "order.created", number, number, 0, False, 1) for number in range(1, 200)])
    raws = [raw for messages in log.values() for raw in messages]
    some = msgspec.json.Decoder(list[Event]).decode(b"[" + b",".join(raws) + b"]")
    taken = [Arrived(to_us(one.occurred_at), "log", 0, at, to_us(one.occurred_at), one) for at, one in enumerate(some)]
    sent = packed(Slice("lane-0000", 1, 1, taken))
    assert len(sent.content) < sum(map(len, raws)) + 40 * len(raws)
