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
from schemas.errors import SourceError, StoreRefused
from sinks.clickhouse.store import Store

REPLAY_TOPIC = "dlq-replay.jsonl"
_PAGE = 1_000
#: Letters that are messages: of those without bytes (an empty message, messages that expired unread) there is nothing
#: to read, and a row that ClickHouse refused is a message only to who asks for such.
_RAW = """
SELECT topic, partition, offset, raw FROM dead_letters
WHERE (topic, partition, offset) > ({topic:String}, {partition:Int64}, {offset:Int64})
    AND ({only:String} = '' OR topic = {only:String})
    AND if({reason:String} = '', reason != 'downstream', reason = {reason:String})
    AND seen_at >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')
    AND topic != {mine:String} AND raw != ''
ORDER BY topic, partition, offset LIMIT {page:UInt32}
"""
#: Events of other input than dead letters that were replayed.
_OTHERS = "SELECT sum(events) AS events FROM pipeline_health WHERE NOT startsWith(component, {mine:String})"


class Outcome(msgspec.Struct, frozen=True):
    """What replaying dead letters came to."""

    messages: int
    events: int
    dead_letters: int
    duplicates: int


class Chosen(msgspec.Struct, frozen=True):
    """Which dead letters: all that are messages, or only those of a topic, of a reason, or from a time on."""

    topic: str = ""
    reason: str = ""
    since_us: int = 0


def export_raw(store: Store, path: Path, chosen: Chosen) -> int:
    """Write the raw bytes of dead letters to `path`, a line each, by topic, partition and offset; gives their number.

    Line breaks inside a message (which JSON takes as white space) become spaces. Memory: one page of messages.

    Raises:
        SourceError: the file can't be written.
        StoreError: the store can't be read.
    """
    return _write(path, (line for _, line in _lines(store, chosen)))


def replay_dead_letters(store: Store, settings: Settings, process: ProcessMap, chosen: Chosen) -> Outcome:
    """Read dead letters through the job again, a file for each partition that they came from.

    So they are merged by arrival, as at first: of one file after the other, all would seem to come as late as the last
    of the one before.

    They are read alone, by a job that knows nothing else. Where other messages were events, it would know an item
    without its stock and a minute without its orders, and its rows would take the place of those that are right.

    Raises:
        SourceError: there is no room for the files.
        StoreRefused: the database has events of other messages.
        StoreError: the store can't be read or written.
    """
    _require_nothing_else(store)
    with tempfile.TemporaryDirectory() as folder:
        files: list[str] = []
        for _, lines in groupby(_lines(store, chosen), key=itemgetter(0)):
            path = Path(folder) / str(len(files)) / REPLAY_TOPIC
            path.parent.mkdir()
            _write(path, (line for _, line in lines))
            files.append(str(path))
        if not files:
            return Outcome(0, 0, 0, 0)
        run_id = run_job(settings, process, files, store)
    summary = summarise(store, run_id)
    return Outcome(summary.messages, summary.events, summary.dead_letters, summary.duplicates)


def _require_nothing_else(store: Store) -> None:
    events = store.query(_OTHERS, {"mine": f"{REPLAY_TOPIC}/"}).rows[0][0]
    if events:
        raise StoreRefused(
            f"the database has {events:,} events of other messages: dead letters read without these would put wrong "
            "rows in the place of right ones. Give them back to where the others come from: write them to a file "
            "(--export FILE), then send them to their topic again, or replay the file together with the others "
            "(andon replay --fresh …)"
        )


def _lines(store: Store, chosen: Chosen) -> Iterator[tuple[tuple[str, int], bytes]]:
    """Dead letters, each with topic and partition, in their order there."""
    topic, partition, offset = "", -1, -1
    while True:
        parameters = {
            "topic": topic,
            "partition": partition,
            "offset": offset,
            "only": chosen.topic,
            "reason": chosen.reason,
            "since": chosen.since_us,
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
