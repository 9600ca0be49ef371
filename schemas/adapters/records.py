"""Foreign records as canonical messages: a code adapter applied to a file.

An adapter turns one foreign record (a webhook's delivery, an event of a log) into canonical events. What it makes is
held against the contract; a record is taken whole or refused whole, with the reason and the path of the offending
field. A record that rightly makes no event is counted under a name, so that a person sees what was left out.

The messages are sorted by (arrival, offset), where arrival is the event's `recorded_at`, else its `occurred_at`; the
same file gives the same messages. A refused record takes the arrival of the good one before it in the file.

Memory: one record (of a document that holds many: the document), and one run of the sort (see sorting.py).
Cost: about 35 µs a record of 2 kB on one core.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import msgspec

from schemas.adapters.record_files import KEPT_BYTES, MAX_BYTES, Piece, RecordFile
from schemas.adapters.sorting import Item, Runs
from schemas.adapters.tabular import EVENTS_PER_ROW, MappedMessage, RefusedRow, RowCounts, in_order
from schemas.decode import EventDecoder, Fault, Reason, locate, unreadable
from schemas.durations import to_us
from schemas.events import EventBase, type_name

_TELL_EVERY = 1_000
_READING = 0.95
#: A longer record is no dead letter as a whole, only its beginning.
_LONGEST_KEPT = 16 << 20
#: So many names of what made no event are kept apart; the rest is counted as "other".
_MOST_NAMES = 50

_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


class RecordError(Exception):
    """A record can't be used: why, and the path of the offending field in it. It becomes a dead letter."""

    def __init__(self, path: str, reason: Reason, detail: str) -> None:
        self.path = path
        self.reason = reason
        self.detail = detail
        super().__init__(f"{path}: {detail}")


class Skipped(msgspec.Struct, frozen=True):
    """What a record that rightly makes no event is; `what` is shown to people with its count."""

    what: str


Adapted: TypeAlias = Sequence[EventBase] | Skipped


class Adapter(msgspec.Struct, frozen=True, kw_only=True):
    """A foreign format that code reads, by the name that `--mapping` knows it by.

    `version` is part of what kept state depends on: raise it with every change of what is made of a record.

    Args:
        adapt: the events of one record, raw; raises RecordError, or msgspec's errors with a path in them.
        unfold: the records within one JSON value (a document of many events); may raise the same.
        source_of: which system instance a record is from, as far as it can be read, else "".
    """

    name: str
    title: str
    version: int
    process_map: str
    adapt: Callable[[bytes], Adapted]
    source_of: Callable[[bytes], str]
    unfold: Callable[[bytes], Sequence[bytes]] = lambda raw: (raw,)

    @property
    def file(self) -> str:
        """How messages to people name it."""
        return f"{self.name} (adapter)"


class RecordSource:
    """The messages of one file of foreign records. What became of the records is known when `messages` has given one.

    Raises (on making):
        SourceError: the file can't be read, or is no JSON.
    """

    def __init__(self, adapter: Adapter, path: str) -> None:
        self._adapter = adapter
        self._file = RecordFile(path)
        self._decoder = EventDecoder()
        self._sorted = False
        self._run_length = 200_000
        self.rows_read = 0
        self.rows_skipped = 0
        self.messages_made = 0
        self.skipped: Counter[str] = Counter()
        self.on_read: Callable[[], None] | None = None

    def progress(self) -> float:
        """How far reading and sorting have come, 0 to 1."""
        return 1.0 if self._sorted else _READING * self._file.position()

    def messages(self, skip: int = 0) -> Iterator[MappedMessage | RefusedRow]:
        """All messages in order, without the first `skip` (those that a resumed job has had).

        Raises:
            SourceError: the file can't be read on.
        """
        self._sorted, self.rows_read, self.rows_skipped = False, 0, 0
        self.skipped.clear()
        with Runs(self._run_length) as runs:
            self._read(runs)
            self._sorted = True
            self.messages_made = len(runs)
            yield from in_order(runs, skip)

    def _read(self, runs: Runs) -> None:
        arrival = 0
        for piece in self._file.pieces():
            for raw, error in self._records(piece):
                self.rows_read += 1
                if self.on_read is not None and self.rows_read % _TELL_EVERY == 0:
                    self.on_read()
                offset = self.rows_read * EVENTS_PER_ROW
                items = [_refused(raw, arrival, offset, error)] if error else self._items(raw, arrival, offset)
                if items:
                    arrival = items[0][0]
                runs.extend(items)

    def _records(self, piece: Piece) -> Iterator[tuple[bytes, RecordError | None]]:
        """The records of a line or document; with the error, where it can't be taken apart."""
        if piece.cut:
            yield piece.raw, RecordError("$", "transport", f"longer than the limit of {MAX_BYTES} bytes")
            return
        try:
            check_readable(piece.raw)
            values = [bytes(one) for one in _list(piece.raw)] if piece.raw.startswith(b"[") else [piece.raw]
        except RecordError as error:
            yield piece.raw, error
            return
        for value in values:
            try:
                records = self._adapter.unfold(value)
            except (RecordError, msgspec.DecodeError) as error:
                yield value, as_record_error(error)
                continue
            for record in records:
                yield record, None

    def _items(self, raw: bytes, arrival: int, offset: int) -> list[Item]:
        """What a record makes, as items of the sort: its events, one refusal, or nothing."""
        try:
            made = self._adapter.adapt(raw)
            if isinstance(made, Skipped):
                self.rows_skipped += 1
                known = made.what in self.skipped or len(self.skipped) < _MOST_NAMES
                self.skipped[made.what if known else "other"] += 1
                return []
            return self._encoded(made, offset)
        except (RecordError, msgspec.DecodeError) as error:
            return [_refused(raw, arrival, offset, as_record_error(error))]

    def _encoded(self, made: Sequence[EventBase], offset: int) -> list[Item]:
        """The events as messages of the contract.

        Raises:
            RecordError: one of them breaks it, or there are too many.
        """
        if len(made) > EVENTS_PER_ROW:
            raise RecordError("$", "rule", f"makes {len(made)} events; at most {EVENTS_PER_ROW} of one record")
        raws = [_encode(event) for event in made]
        for event, judged in zip(made, self._decoder.decode(raws), strict=True):
            if isinstance(judged, Fault):
                what = f"{type_name(event)}, {judged.path.removeprefix('$.')}"
                raise RecordError("$", judged.reason, f"makes no event of the contract ({what}): {judged.detail}")
        return [
            (to_us(event.recorded_at or event.occurred_at), offset + number, raw, "", "", "")
            for number, (event, raw) in enumerate(zip(made, raws, strict=True))
        ]


def check_readable(raw: bytes, path: str = "$") -> None:
    """Say whether `raw` is one UTF-8 JSON value, nested no deeper than the contract's messages may be.

    Raises:
        RecordError: it is not; `path` is where in the record it stands.
    """
    problem = unreadable(raw, MAX_BYTES)
    if problem:
        raise RecordError(path, "transport", problem)


def as_record_error(error: RecordError | msgspec.DecodeError, under: str = "$") -> RecordError:
    """An error of decoding as one of the record; `under` is the path of what was decoded."""
    if isinstance(error, RecordError):
        return error
    path, detail = locate(str(error))
    return RecordError(f"{under}{path.removeprefix('$')}", "schema", detail)


def count_records(sources: Sequence[RecordSource]) -> RowCounts:
    """What became of the records of all `sources` together."""
    names: Counter[str] = sum((source.skipped for source in sources), Counter())
    without = tuple(sorted(names.items(), key=lambda entry: (-entry[1], entry[0])))
    return RowCounts(
        sum(source.rows_read for source in sources),
        sum(source.rows_skipped for source in sources),
        idle_rules=(),
        unit="records",
        left_out=without,
    )


def _refused(raw: bytes, arrival: int, offset: int, error: RecordError) -> Item:
    kept = raw if len(raw) <= _LONGEST_KEPT else raw[:KEPT_BYTES]
    return arrival, offset, kept, error.reason, error.path, error.detail
