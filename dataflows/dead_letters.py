"""Dead letters out of the store again: as a file, or back through the job."""

import tempfile
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import msgspec

from dataflows.job import run_job
from dataflows.settings import Settings
from dataflows.summary import summarise
from operators.process_map import ProcessMap
from schemas.errors import SourceError
from sinks.clickhouse.store import Store

REPLAY_TOPIC = "dlq-replay.jsonl"
_PAGE = 1_000
_RAW = """
SELECT topic, partition, offset, raw FROM dead_letters
WHERE (topic, partition, offset) > ({topic:String}, {partition:Int64}, {offset:Int64})
    AND ({only:String} = '' OR topic = {only:String})
    AND ({reason:String} = '' OR reason = {reason:String})
    AND topic != {mine:String}
ORDER BY topic, partition, offset LIMIT {page:UInt32}
"""


class Outcome(msgspec.Struct, frozen=True):
    """What replaying dead letters came to."""

    messages: int
    events: int
    dead_letters: int
    duplicates: int


def export_raw(store: Store, path: Path, *, topic: str | None = None, reason: str | None = None) -> int:
    """Write the raw bytes of dead letters to `path`, a line each, by topic, partition and offset; gives their number.

    Line breaks inside a message (which JSON takes as white space) become spaces. Memory: one page of messages.

    Raises:
        SourceError: the file can't be written.
        StoreError: the store can't be read.
    """
    return _write(path, (line for _, line in _lines(store, topic, reason)))


def replay_dead_letters(
    store: Store,
    settings: Settings,
    process: ProcessMap,
    *,
    topic: str | None = None,
    reason: str | None = None,
) -> Outcome:
    """Read dead letters through the job again, a file for each partition that they came from.

    So they are merged by arrival, as at first: of one file after the other, all would seem to come as late as the last
    of the one before.

    Raises:
        SourceError: there is no room for the files.
        StoreError: the store can't be read or written.
    """
    with tempfile.TemporaryDirectory() as folder:
        files: list[str] = []
        for _, lines in groupby(_lines(store, topic, reason), key=itemgetter(0)):
            path = Path(folder) / str(len(files)) / REPLAY_TOPIC
            path.parent.mkdir()
            _write(path, (line for _, line in lines))
            files.append(str(path))
        if not files:
            return Outcome(0, 0, 0, 0)
        run_id = run_job(settings, process, files, store)
    summary = summarise(store, run_id)
    return Outcome(summary.messages, summary.events, summary.dead_letters, summary.duplicates)


def _lines(store: Store, only: str | None, reason: str | None) -> Iterator[tuple[tuple[str, int], bytes]]:
    """Dead letters, each with topic and partition, in their order there."""
    topic, partition, offset = "", -1, -1
    while True:
        parameters = {
            "topic": topic,
            "partition": partition,
            "offset": offset,
            "only": only or "",
            "reason": reason or "",
            "mine": REPLAY_TOPIC,
            "page": _PAGE,
        }
        rows = store.query(_RAW, parameters, binary=True).rows
        for read, partition, offset, text in rows:  # noqa: B007 - where the next page begins
            topic = read.decode() if isinstance(read, bytes) else read
            raw = text if isinstance(text, bytes) else str(text).encode()
            yield (topic, partition), raw.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n"
        if not rows:
            return


def _write(path: Path, lines: Iterator[bytes]) -> int:
    """Write them to a file; gives how many."""
    count = 0
    try:
        with path.open("wb") as file:
            for count, line in enumerate(lines, start=1):  # noqa: B007 - of the last one
                file.write(line)
    except OSError as error:
        raise SourceError(f"{path}: can't be written: {error.strerror}") from error
    return count
