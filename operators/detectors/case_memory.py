"""What a detector knows of each case, forgotten when nothing was heard of it for long."""

from collections.abc import Mapping
from typing import ClassVar, Generic, Protocol, TypeVar

import msgspec

from operators.detectors.events import Collected, EventDetector
from operators.detectors.kept import read_kept
from operators.resting import Resting
from schemas.durations import HOUR_US, SECOND_US

#: Of how many cases that are asked for are objects before those not asked for lately are packed.
_AWAKE = 5_000
_FORGET = "forget "


class _Known(Protocol):
    """A record of a case, as a msgspec struct; `last_us` is the arrival time at which it was last heard of."""

    last_us: int


T = TypeVar("T", bound=_Known)


class CaseMemoryState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of a `CaseMemory`: packed records, and which cases are looked at at the end of which span of time."""

    version: int
    cases: dict[str, bytes]
    looks: dict[int, list[str]]


class CaseMemory(Generic[T]):
    """Records by case id. Those that nobody asks for rest as bytes; all are dropped `retention_us` after `last_us`.

    Cases are looked at together, one timer for all that can be forgotten within a span: a 24th of the retention, at
    most an hour. So a case may be known for a span longer.

    Memory: for a resting case its bytes and some 200 more with the key. Cost: one look-up for a case that is awake.

    Args:
        record: the kind of record; made without arguments for a case that is new.
        version: of what is kept.
        owner: whose it is; its timers are set by it, and it passes their keys on to `due`.
    """

    def __init__(self, record: type[T], version: int, retention_us: int, owner: EventDetector) -> None:
        self._record, self._version, self._retention_us, self._owner = record, version, retention_us, owner
        self._span_us = max(SECOND_US, min(HOUR_US, retention_us // 24))
        self._cases: Resting[T] = Resting(msgspec.msgpack.encode, msgspec.msgpack.Decoder(record).decode)
        self._looks: dict[int, list[str]] = {}
        owner.parts["cases"] = self._cases

    def get(self, case_id: str) -> T | None:
        """What is known of a case; may be changed until the next call of anything here."""
        return self._cases.young.get(case_id) or self._cases.get(case_id)

    def heard(self, case_id: str, now_us: int) -> T:
        """The record of a case of which something was heard now, a new one where there is none."""
        known = self._cases.young.get(case_id) or self._cases.get(case_id)
        if known is None:
            if len(self._cases.young) >= _AWAKE:
                self._cases.rest()
            known = self._record()
            self._cases.put(case_id, known)
            self._look_at(case_id, now_us)
        known.last_us = max(known.last_us, now_us)
        return known

    def heard_again(self, case_id: str, now_us: int) -> T | None:
        """As `heard`, but None where nothing is known of the case."""
        known = self._cases.young.get(case_id) or self._cases.get(case_id)
        if known is not None:
            known.last_us = max(known.last_us, now_us)
        return known

    def drop(self, case_id: str) -> None:
        """Forget a case now, if it is known."""
        self._cases.drop(case_id)

    def due(self, key: str, due_us: int) -> bool:
        """A timer of the owner's: True when it was one of these, and whoever can be forgotten is forgotten."""
        if not key.startswith(_FORGET):
            return False
        for case_id in self._looks.pop(int(key[len(_FORGET) :]), []):
            known = self._cases.peek(case_id)
            if known is None:
                continue
            if known.last_us + self._retention_us <= due_us:
                self._cases.drop(case_id)
            else:
                self._look_at(case_id, known.last_us)
        return True

    def __len__(self) -> int:
        """How many cases are known."""
        return len(self._cases)

    def snapshot(self) -> bytes:
        """Everything that is kept, but for records that are kept apart."""
        return msgspec.msgpack.encode(CaseMemoryState(self._version, self._cases.snapshot(), self._looks))

    def restore(self, state: bytes) -> None:
        """Take over a snapshot.

        Raises:
            StateError: it can't be read, or is of another version.
        """
        kept = read_kept(state, CaseMemoryState, self._version, self._owner.NAME)
        self._cases.restore(self._cases.together(kept.cases))
        self._looks = {span: list(cases) for span, cases in kept.looks.items()}

    def _look_at(self, case_id: str, last_us: int) -> None:
        span = (last_us + self._retention_us) // self._span_us + 1
        cases = self._looks.get(span)
        if cases is None:
            cases = self._looks[span] = []
            self._owner.set_timer(span * self._span_us, f"{_FORGET}{span}")
        cases.append(case_id)


class CaseDetector(EventDetector, Generic[T]):
    """An `EventDetector` of which all that is kept is a memory of cases; subclasses say how it is bounded.

    `VERSION` is of what is kept, `CASES` what the cases are called where they are counted.

    Args:
        record: the kind of record, as `CaseMemory` takes it.
        retention_us: for how long a case is remembered after something was last heard of it.
    """

    VERSION: ClassVar[int]
    CASES: ClassVar[str] = "orders"

    def __init__(self, record: type[T], retention_us: int) -> None:
        super().__init__()
        self._cases = CaseMemory(record, self.VERSION, retention_us, self)

    def due(self, key: str, due_us: int, out: Collected) -> None:
        """As `EventDetector`: cases of which nothing was heard for long are forgotten."""
        del out
        self._cases.due(key, due_us)

    def sizes(self) -> Mapping[str, int]:
        """As `EventDetector`."""
        return {self.CASES: len(self._cases)}

    def snapshot(self) -> bytes:
        """As `EventDetector`."""
        return self._cases.snapshot()

    def restore(self, state: bytes) -> None:
        """As `EventDetector`."""
        self._cases.restore(state)
