"""Reading files as partitions of a log: canonical JSON lines (gzip too), and others through a mapping or adapter."""

import gzip
import os
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Protocol

import msgspec

from dataflows.line_blocks import Block, LineBlocks
from operators.lane_state import PartitionState, Reads, TimeRules
from operators.partitions import PartitionQueue
from schemas.adapters.tabular import MappedMessage, RefusedRow
from schemas.adapters.translations import Translation, open_source, source_of
from schemas.decode import EventDecoder, Fault, unreadable
from schemas.durations import END_OF_TIME_US
from schemas.errors import SourceError
from schemas.events import Event
from schemas.lines import Lines, Runs

#: A longer line is no message; its beginning is kept as a dead letter.
MAX_LINE_BYTES = 16 * 1024 * 1024
_KEPT_OF_A_LONG_LINE = 65_536
#: How an array of objects begins, with the end of its first line where that is all of it; and the file that holds it.
_BEFORE_AN_ARRAY = (b"[", b" ", b"\t", b"\r", b"\n", b"\xef")
_ARRAY = re.compile(rb"\[\s*(?:\{|\]|\Z)")
_ONE_ARRAY = (
    "is one JSON array; one object a line is wanted, without brackets and commas around them (jq -c '.[]' writes an "
    "array so)"
)


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
        SourceError: a path is no readable file, or is the same file as one before it, by whatever name; all of them are
            named.
    """
    problems: list[str] = []
    first: dict[tuple[int, int], str] = {}
    for path in paths:
        if not Path(path).is_file():
            problems.append(f"{path}: {_no_file(Path(path))}")
            continue
        stat = Path(path).stat()
        file = stat.st_dev, stat.st_ino
        if file in first:
            other = "is named twice" if first[file] == path else f"is the same file as {first[file]}"
            problems.append(f"{path}: {other}: its events would come twice")
        first.setdefault(file, path)
    if problems:
        raise SourceError("\n".join(problems))
    seen: dict[str, int] = {}
    out = []
    for path in paths:
        topic = Path(path).name
        number = seen.get(topic, 0)
        seen[topic] = number + 1
        out.append(FilePartition(path, topic, number))
    return sorted(out, key=lambda one: one.name)


def check_lines(paths: Sequence[str]) -> None:
    """Read how each file of lines begins.

    Raises:
        SourceError: some can't be read (no rights, `.gz` that is no gzip) or are one JSON array; all of them are named.
    """
    problems = []
    for path in paths:
        try:
            with gzip.open(path) if path.endswith(".gz") else Path(path).open("rb") as file:
                if _is_one_array(file):  # type: ignore[arg-type] # a GzipFile reads bytes, too
                    problems.append(f"{path}: {_ONE_ARRAY}")
        except (EOFError, OSError, zlib.error) as error:
            problems.append(f"{path}: can't be read: {error}")
    if problems:
        raise SourceError("\n".join(problems))


def check_followed(paths: Sequence[str]) -> None:
    """Look for files that are an array on one line without an end: nobody would ever hear of what is in them.

    Of an array on lines that end, each is a dead letter that says what is wanted; and the next may be a message.

    Raises:
        SourceError: there are some, or some can't be read; all of them are named.
    """
    problems = []
    for path in paths:
        try:
            with Path(path).open("rb") as file:
                if _is_one_array(file) and not _has_a_whole_line(file):
                    problems.append(f"{path}: {_ONE_ARRAY}")
        except OSError as error:
            problems.append(f"{path}: can't be read: {error}")
    if problems:
        raise SourceError("\n".join(problems))


def _has_a_whole_line(file: IO[bytes]) -> bool:
    file.seek(0)
    return next(_lines(file, grows=True), None) is not None


def _is_one_array(file: IO[bytes]) -> bool:
    """Whether a file is an array of events, on one line or many, of which each line would be a dead letter.

    A first line that is an array, or broken off in one, does not make one of a file whose next line is an object.
    """
    if file.read(1) not in _BEFORE_AN_ARRAY:
        return False
    file.seek(0)
    lines = _lines(file)
    first = next(lines, b"")
    if not _ARRAY.match(first):
        return False
    second = next(lines, b"")
    return not second or not (_is_json(first) or _is_json(second))


def _lines(file: IO[bytes], *, grows: bool = False) -> Iterator[bytes]:
    blocks = LineBlocks(file, 0, 0, longest=MAX_LINE_BYTES, grows=grows)
    while (block := blocks.next(1)) is not None:
        yield from block.lines


def _is_json(line: bytes) -> bool:
    return not unreadable(line, MAX_LINE_BYTES)


def _no_file(path: Path) -> str:
    if path.is_dir():
        return "is a folder; name the files in it"
    return "is no regular file (a pipe can't be read twice): save it to one" if path.exists() else "no such file"


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

    Raises (on making, and while a file is followed):
        SourceError: it can't be read, or is shorter than what was read of it.

    `lost` is the path once a followed file was renamed or removed: whatever is written under its name is not read.
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
        at = self.queue.position, self.queue.offset
        self._blocks = LineBlocks(self._file, *at, longest=MAX_LINE_BYTES, grows=now is not None)
        self.lost = ""
        self._check_length()

    def _check_length(self) -> None:
        """Refuse a file that lost what was read of it: behind its end, nothing that is new in it would ever be seen."""
        size = os.fstat(self._raw.fileno()).st_size
        if size < self._blocks.position and not self._gzip:
            self.close()
            raise SourceError(
                f"{self._path}: has {size} bytes, and {self._blocks.position} were read of it: it was emptied or "
                "replaced; give what is new a file of another name, or start with a new recovery directory"
            )

    def fetch(self, count: int) -> bool:
        """Read up to `count` lines into the queue."""
        offsets, positions, raws, decoded = list[int](), list[int](), Runs(), list[Event | Fault]()
        upto, at_end = self._blocks.number + count, False
        while self._blocks.number < upto and not at_end:
            block = self._next(upto - self._blocks.number)
            if block is None:
                at_end = True
                continue
            offsets += block.numbers.tolist()
            positions += block.positions.tolist()
            decoded += self._decoder.decode_lines(block.lines)
            raws.extend(self._kept(block.lines))
        if at_end and self._now is not None:
            self._check_length()
            self.lost = "" if self._has_its_name() else str(self._path)
        ended = at_end and self._now is None
        self.queue.read_to(self._blocks.position, self._blocks.number)
        latest_us = END_OF_TIME_US if self._now is None else self._now() + self._rules.max_future_us
        self.queue.add(Reads(offsets, positions, raws, decoded), ended=ended, latest_us=latest_us)
        return bool(offsets) or ended

    def _has_its_name(self) -> bool:
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._raw.fileno()))
        except OSError:
            return False

    def _next(self, most: int) -> Block | None:
        try:
            return self._blocks.next(most)
        except (EOFError, OSError, zlib.error) as error:
            after = self._blocks.number
            raise SourceError(f"{self._path}: can't be read on after line {after}: {error}") from error

    @staticmethod
    def _kept(lines: Lines) -> Sequence[bytes]:
        """What of the lines is kept until it is known whether they are good."""
        if len(lines) and lines.sizes[-1] > MAX_LINE_BYTES:
            return [raw[:_KEPT_OF_A_LONG_LINE] for raw in lines]
        return lines

    def progress(self) -> float:
        """The share of the (compressed) bytes that was read."""
        return min(1.0, self._raw.tell() / self._size)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._raw.close()


class TranslatedReader:
    """A table through a mapping, or records through an adapter, as canonical messages sorted by time.

    Positions count messages.
    """

    def __init__(
        self,
        source: FilePartition,
        translation: Translation,
        rules: TimeRules,
        resume: PartitionState | None = None,
        on_read: Callable[[], None] | None = None,
    ) -> None:
        self.queue = PartitionQueue(source.topic, source.partition, rules)
        if resume is not None:
            self.queue.restore(resume)
        self._translation = translation
        self.input = open_source(translation, source.path, source.name if source.partition else source.topic)
        self.input.on_read = on_read
        self._decoder = EventDecoder()
        self._messages: Iterator[MappedMessage | RefusedRow] | None = None
        self._position = self.queue.position

    def fetch(self, count: int) -> bool:
        """Read up to `count` messages into the queue."""
        if self._messages is None:
            self._messages = self.input.messages(skip=self._position)
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
        return Fault(row.reason, row.path, row.detail, source_of(self._translation, row.raw), "")

    def progress(self) -> float:
        """Half for reading and sorting the file, half for the messages it made."""
        made = self.input.messages_made
        return (self.input.progress() + (self._position / made if made else 0.0)) / 2

    def close(self) -> None:
        """Let go of the sorted runs."""
        self._messages = None
