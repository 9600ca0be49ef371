"""Reading files as partitions of a log: canonical JSON lines (gzip too), and tables through a mapping."""

import gzip
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import accumulate, compress, islice
from pathlib import Path
from typing import IO, Protocol

import msgspec

from operators.lane_state import PartitionState, Reads, TimeRules
from operators.partitions import PartitionQueue
from schemas.adapters.mapping import Mapping
from schemas.adapters.tabular import MappedMessage, RefusedRow, TabularSource
from schemas.decode import EventDecoder, Fault
from schemas.durations import END_OF_TIME_US
from schemas.errors import SourceError

#: A longer line is no message; its beginning is kept as a dead letter.
MAX_LINE_BYTES = 16 * 1024 * 1024
_KEPT_OF_A_LONG_LINE = 65_536


class FilePartition(msgspec.Struct, frozen=True):
    """One file as a partition: its topic is its name, partitions of one name are numbered as given."""

    path: str
    topic: str
    partition: int

    @property
    def name(self) -> str:
        """`orders.jsonl/0`, unique among the files of one run."""
        return f"{self.topic}/{self.partition}"


def partitions_of(paths: Sequence[str]) -> list[FilePartition]:
    """The partitions of `paths`, in order of name.

    Raises:
        SourceError: a path is no readable file; all of them are named.
    """
    missing = [path for path in paths if not Path(path).is_file()]
    if missing:
        raise SourceError("\n".join(f"{path}: {_no_file(Path(path))}" for path in missing))
    seen: dict[str, int] = {}
    out = []
    for path in paths:
        topic = Path(path).name
        number = seen.get(topic, 0)
        seen[topic] = number + 1
        out.append(FilePartition(path, topic, number))
    return sorted(out, key=lambda one: one.name)


def _no_file(path: Path) -> str:
    return "is a folder; name the files in it" if path.is_dir() else "no such file"


class Reader(Protocol):
    """What feeds one partition's queue."""

    queue: PartitionQueue

    def fetch(self, count: int) -> bool:
        """Read about `count` more messages into the queue; False when there was nothing new."""

    def progress(self) -> float:
        """How much of the input was read, 0 to 1."""

    def close(self) -> None:
        """Let go of the file."""


class JsonLinesReader:
    """JSON lines, one message a line; blank lines are none. Offsets are line numbers, from 1.

    Args:
        now: given when the file may still grow, tells the time (microseconds): the file's end is then not the end of
            the partition, a last line without a line break is not read until it is complete, and a message that
            claims to have arrived later than `max_future` from now is refused.
    """

    def __init__(
        self,
        source: FilePartition,
        rules: TimeRules,
        resume: PartitionState | None = None,
        now: Callable[[], int] | None = None,
    ) -> None:
        if now is not None:
            rules = msgspec.structs.replace(rules, guard_leaps=False)
        self._rules = rules
        self.queue = PartitionQueue(source.topic, source.partition, rules)
        if resume is not None:
            self.queue.restore(resume)
        self._path = Path(source.path)
        self._now = now
        self._decoder = EventDecoder(max_message_bytes=MAX_LINE_BYTES)
        self._gzip = source.path.endswith(".gz")
        if self._gzip and now is not None:
            raise SourceError(f"{source.path}: a compressed file can't be followed as it grows")
        try:
            self._size = max(1, self._path.stat().st_size)
            self._raw: IO[bytes] = self._path.open("rb")
            self._file: IO[bytes] = gzip.GzipFile(fileobj=self._raw) if self._gzip else self._raw  # type: ignore[assignment] # reads bytes
            self._file.seek(self.queue.position)
        except OSError as error:
            raise SourceError(f"{source.path}: can't be read: {error}") from error
        self._position = self.queue.position
        self._line = self.queue.offset

    def fetch(self, count: int) -> bool:
        """Read up to `count` lines into the queue."""
        try:
            lines, ended = self._lines(count)
        except (EOFError, OSError, zlib.error) as error:
            raise SourceError(f"{self._path}: can't be read on after line {self._line}: {error}") from error
        raws = [line.strip() for line in lines]
        offsets = list(range(self._line + 1, self._line + 1 + len(lines)))
        ends = list(accumulate(map(len, lines), initial=self._position))
        self._line += len(lines)
        self._position = ends.pop()
        if lines and len(lines[-1]) > MAX_LINE_BYTES and not lines[-1].endswith(b"\n"):
            self._skip_line()
        if not all(raws):  # blank lines are none
            filled = [bool(raw) for raw in raws]
            raws, offsets, ends = (list(compress(column, filled)) for column in (raws, offsets, ends))  # type: ignore[assignment] # each as it was
        decoded = self._decoder.decode(raws)
        if raws and len(raws[-1]) > MAX_LINE_BYTES:
            raws[-1] = raws[-1][:_KEPT_OF_A_LONG_LINE]
        self.queue.read_to(self._position, self._line)
        latest_us = END_OF_TIME_US if self._now is None else self._now() + self._rules.max_future_us
        self.queue.add(Reads(offsets, ends, raws, decoded), ended=ended, latest_us=latest_us)
        return bool(raws) or ended

    def _lines(self, count: int) -> tuple[list[bytes], bool]:
        """At most `count` of the lines that come next, and whether they are the last; one too long ends them."""
        limit, live = MAX_LINE_BYTES + 1, self._now is not None
        readline = partial(self._file.readline, limit)
        lines = list(islice(iter(readline, b""), count))
        for number, line in enumerate(lines if max(map(len, lines), default=0) >= limit else ()):
            if len(line) >= limit:  # it came in pieces: read again from behind the first
                del lines[number + 1 :]
                self._file.seek(self._position + sum(map(len, lines)))
                return lines, False
        ended = len(lines) < count
        if live and lines and not lines[-1].endswith(b"\n"):  # not written to its end yet
            del lines[-1]
            self._file.seek(self._position + sum(map(len, lines)))
        return lines, ended and not live

    def _skip_line(self) -> None:
        """Pass over the rest of a line that is too long."""
        piece = b" "
        while piece and not piece.endswith(b"\n"):
            piece = self._file.readline(_KEPT_OF_A_LONG_LINE)
            self._position += len(piece)

    def progress(self) -> float:
        """The share of the (compressed) bytes that was read."""
        return min(1.0, self._raw.tell() / self._size)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._raw.close()


class TableReader:
    """A table through a mapping: rows become canonical messages, sorted by time. Positions count messages."""

    def __init__(
        self,
        source: FilePartition,
        mapping: Mapping,
        rules: TimeRules,
        resume: PartitionState | None = None,
        on_read: Callable[[], None] | None = None,
    ) -> None:
        self.queue = PartitionQueue(source.topic, source.partition, rules)
        if resume is not None:
            self.queue.restore(resume)
        self.table = TabularSource(mapping, source.path)
        self.table.on_read = on_read
        self._source = mapping.declared.mapping.source
        self._decoder = EventDecoder()
        self._messages: Iterator[MappedMessage | RefusedRow] | None = None
        self._position = self.queue.position

    def fetch(self, count: int) -> bool:
        """Read up to `count` messages into the queue."""
        if self._messages is None:
            self._messages = self.table.messages(skip=self._position)
        made = list(islice(self._messages, count))
        good = iter(self._decoder.decode([one.raw for one in made if isinstance(one, MappedMessage)]))
        reads = Reads(
            [one.offset for one in made],
            list(range(self._position, self._position + len(made))),
            [one.raw for one in made],
            [self._fault(one) if isinstance(one, RefusedRow) else next(good) for one in made],
            [None if isinstance(one, RefusedRow) else one.arrival_us for one in made],
        )
        self._position += len(made)
        self.queue.read_to(self._position, made[-1].offset if made else self.queue.offset)
        self.queue.add(reads, ended=len(made) < count)
        return True

    def _fault(self, row: RefusedRow) -> Fault:
        return Fault(row.reason, row.path, row.detail, self._source, "")

    def progress(self) -> float:
        """Half for reading and sorting the table, half for the messages it made."""
        made = self.table.messages_made
        return (self.table.progress() + (self._position / made if made else 0.0)) / 2

    def close(self) -> None:
        """Let go of the sorted runs."""
        self._messages = None
