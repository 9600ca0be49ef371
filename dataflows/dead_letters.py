"""Dead letters out of the store again: as a file, or back through the job."""

import tempfile
from pathlib import Path

import msgspec

from dataflows.job import run_job
from dataflows.settings import Settings
from dataflows.summary import summarise
from operators.process_map import ProcessMap
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
    """Write the raw bytes of dead letters to `path`, a line each, oldest first; gives their number.

    Line breaks inside a message (which JSON takes as white space) become spaces. Memory: one page of messages.

    Raises:
        StoreError: the store can't be read.
    """
    count = 0
    last: tuple[str, int, int] = ("", -1, -1)
    with path.open("wb") as file:
        while True:
            parameters = {
                "topic": last[0],
                "partition": last[1],
                "offset": last[2],
                "only": topic or "",
                "reason": reason or "",
                "mine": REPLAY_TOPIC,
                "page": _PAGE,
            }
            rows = store.query(_RAW, parameters, binary=True).rows
            for row in rows:
                raw = row[3] if isinstance(row[3], bytes) else str(row[3]).encode()
                file.write(raw.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n")
            if not rows:
                return count
            count += len(rows)
            topic_read, partition, offset = rows[-1][:3]
            last = (topic_read.decode() if isinstance(topic_read, bytes) else topic_read, partition, offset)


def replay_dead_letters(
    store: Store,
    settings: Settings,
    process: ProcessMap,
    *,
    topic: str | None = None,
    reason: str | None = None,
) -> Outcome:
    """Read dead letters through the job again, as one file.

    Raises:
        StoreError: the store can't be read or written.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / REPLAY_TOPIC
        if not export_raw(store, path, topic=topic, reason=reason):
            return Outcome(0, 0, 0, 0)
        run_id = run_job(settings, process, [str(path)], store)
    summary = summarise(store, run_id)
    return Outcome(summary.messages, summary.events, summary.dead_letters, summary.duplicates)
