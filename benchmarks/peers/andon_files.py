"""Andon, files to rows in the embedded ClickHouse, one process: what `andon replay --close-at end` does.

With it comes what W1 does not ask for: copies recorded, the pass of each order, findings, backlog, feeds. The answer is
read back from the views.
"""

import tempfile
from pathlib import Path

import andon_answer
from entry import entry

from dataflows.job import run_job
from schemas.durations import END_OF_TIME_US
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.store import open_store

if __name__ == "__main__":
    run = entry()
    work = andon_answer.work_of(run)
    with tempfile.TemporaryDirectory() as folder, open_store(f"chdb:///{Path(folder) / 'db'}") as store:
        migrate(store)
        with run.timed():
            run_job(work.settings, work.process, work.files, store, close_at_us=END_OF_TIME_US)
        andon_answer.read_back(run, store)
    run.done()
