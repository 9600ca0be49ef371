"""A lane over files: which files are whose, reading on where the lane is held back, and where to resume."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar
from zlib import crc32

import msgspec

from dataflows.files import FilePartition, JsonLinesReader, Reader, TranslatedReader
from operators.lane_state import LaneState, Merged, PartitionState, TimeRules
from operators.lanes import LaneMerge
from schemas.adapters.translations import MessageSource, Translation
from schemas.durations import to_us
from schemas.errors import StateError

T = TypeVar("T")
Clock = Callable[[], datetime]


def lane_names(count: int) -> tuple[str, ...]:
    """`lane-0000` …; recovery hangs on the names."""
    return tuple(f"lane-{index:04d}" for index in range(count))


def lane_state(resume: bytes, kind: type[T]) -> T:
    """What a lane's `snapshot` kept, of the record `kind`.

    Raises:
        StateError: it is of another shape.
    """
    try:
        return msgspec.msgpack.decode(resume, type=kind)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise StateError(
            f"a kept position can't be read: {error}; finish with the version that kept it, or start with a new "
            "recovery directory"
        ) from error


class LaneInput(msgspec.Struct, frozen=True, kw_only=True):
    """What lanes read, and how.

    `clock` is given to follow files as they grow, `mapping` to read tables or foreign records.
    """

    partitions: tuple[FilePartition, ...]
    rules: TimeRules
    batch: int
    mapping: Translation | None = None
    poll_us: int = 500_000
    idle_grace_us: int = 10_000_000
    clock: Clock | None = None


class FileLane:
    """The files that fall to one lane (by a stable hash of their names), merged.

    Args:
        resume: what `snapshot` gave: the position of each file by its name. Files that are new are read from the start.
        on_progress: told how far the lane's input has been read, 0 to 1.
        on_lost: told which of its followed files are no longer to be found under their names.
    """

    def __init__(
        self,
        name: str,
        lanes: Sequence[str],
        source: LaneInput,
        resume: bytes | None,
        on_progress: Callable[[str, float], None],
        on_lost: Callable[[str, Sequence[str]], None] | None = None,
    ) -> None:
        self._name = name
        self._source = source
        self._on_progress = on_progress
        self._on_lost = on_lost
        self._merge = LaneMerge()
        kept = self._merge.restore(lane_state(resume, LaneState)) if resume else {}
        self._mine: dict[str, Reader] = {
            partition.name: self._open(partition, kept.get(partition.name))
            for partition in source.partitions
            if lanes[crc32(partition.name.encode()) % len(lanes)] == name
        }
        for reader in self._mine.values():
            self._merge.add(reader.queue)
        self._readers = {id(reader.queue): reader for reader in self._mine.values()}
        self._quiet = False
        self._ended = False

    def _open(self, partition: FilePartition, resume: PartitionState | None) -> Reader:
        rules = self._source.rules
        if self._source.mapping is not None:
            rules = msgspec.structs.replace(rules, guard_leaps=False)
            return TranslatedReader(partition, self._source.mapping, rules, resume, self._tell)
        return JsonLinesReader(partition, rules, resume, self._now if self._source.clock is not None else None)

    def _now(self) -> int:
        """The wall clock in microseconds; asked only where files are followed."""
        assert self._source.clock is not None
        return to_us(self._source.clock())

    @property
    def ended(self) -> bool:
        """Whether every file was read to its end and everything released."""
        return self._ended

    def next(self) -> Merged | None:
        """Read what holds the lane back, and release what that allows."""
        news = False
        for queue in self._merge.wanting():
            news = self._readers[id(queue)].fetch(self._source.batch) or news
        self._quiet = self._source.clock is not None and not news
        self._tell_lost()
        if self._quiet:
            idle = self._now() - self._source.idle_grace_us
            for queue in self._merge.wanting():
                queue.raise_to(idle)
        merged = self._merge.release()
        if merged is not None and merged.final:
            self._ended = True
        self._tell()
        return merged

    def wait(self) -> None:
        """Take nothing: other lanes catch up."""
        self._tell()

    def _tell(self) -> None:
        """How far the lane's input has been read; a table tells it while it is being sorted, too."""
        readers = list(self._mine.values())
        self._on_progress(self._name, sum(reader.progress() for reader in readers) / len(readers) if readers else 1.0)

    def _tell_lost(self) -> None:
        if self._on_lost is not None and self._source.clock is not None:
            readers = [reader for reader in self._mine.values() if isinstance(reader, JsonLinesReader)]
            self._on_lost(self._name, [reader.lost for reader in readers if reader.lost])

    def next_awake(self) -> datetime | None:
        """After a poll that found nothing new, when to look again."""
        if not self._quiet or self._source.clock is None:
            return None
        return self._source.clock() + timedelta(microseconds=self._source.poll_us)

    def snapshot(self) -> bytes:
        """The position of each file."""
        return msgspec.msgpack.encode(self._merge.snapshot())

    def inputs(self) -> list[MessageSource]:
        """What is read through a mapping; what became of its rows is known when they have been read."""
        return [reader.input for reader in self._mine.values() if isinstance(reader, TranslatedReader)]

    def close(self) -> None:
        """Close the files."""
        for reader in self._mine.values():
            reader.close()
