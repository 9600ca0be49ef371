"""Andon, Kafka to rows in the embedded ClickHouse, one process: what `andon run` does, stopped once everything is in.

Recovery is on, as it has to be there: state is snapshotted at the default epoch, offsets are committed. The time ends
when the job has ended at a snapshot; `stopping` in the note is the part of it from the signal on.
"""

import os
import signal
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import andon_answer
import msgspec
from entry import Entry, entry

from dataflows.live import run_live
from dataflows.settings import EngineSettings, KafkaSettings, ObserveSettings, Settings
from schemas import metrics
from sinks.clickhouse.dsn import parse_dsn
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.store import open_store
from tests.tcp_proxy import HOST, free_port

_ASK_EVERY_S = 0.25
_CAUGHT_UP_S = 60.0


class Watcher:
    """Asks the job how far it is, and has it stop once all messages are through and time has passed the last."""

    def __init__(self, address: str, messages: int) -> None:
        self._address, self._messages = address, messages
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watcher", daemon=True)
        self.asked_s = 0.0

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def end(self) -> None:
        """The job has ended by itself."""
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_ASK_EVERY_S):
            if self._all_in():
                self.asked_s = time.perf_counter()
                os.kill(os.getpid(), signal.SIGTERM)
                return

    def _all_in(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self._address}/metrics", timeout=30) as answer:
                lines = answer.read().decode().splitlines()
        except (urllib.error.URLError, ConnectionError):
            return False  # it does not listen yet
        messages = _series(lines, metrics.MESSAGES.name)
        ages = _series(lines, metrics.WATERMARK_AGE.name)
        return sum(messages) >= self._messages and bool(ages) and max(ages) < _CAUGHT_UP_S


def _series(lines: list[str], name: str) -> list[float]:
    return [float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name}{{", f"{name} "))]


def settings_of(run: Entry, base: Settings, folder: str, address: str) -> Settings:
    """What `andon.toml` would say."""
    return msgspec.structs.replace(
        base,
        clickhouse=msgspec.structs.replace(base.clickhouse, dsn=f"chdb:///{folder}/db"),
        kafka=KafkaSettings(bootstrap=run.bootstrap, topics=run.topics, group=f"peers-{time.time_ns()}"),
        engine=EngineSettings(recovery=str(Path(folder) / "state")),
        observe=ObserveSettings(listen=address, level="error"),
    )


def main(run: Entry, folder: str) -> None:
    """Run the job, and read the rows back."""
    work = andon_answer.work_of(run)
    address = f"{HOST}:{free_port()}"
    settings = settings_of(run, work.settings, folder, address)
    with open_store(parse_dsn(settings.clickhouse.dsn)) as store:
        migrate(store)
    watcher = Watcher(address, run.messages + len(run.topics))  # each topic ends with one more
    with run.timed():
        watcher.start()
        run_live(settings, work.process)
        ended_s = time.perf_counter()
    watcher.end()
    run.notes.append(f"stopping {ended_s - watcher.asked_s:.1f} s")
    with open_store(parse_dsn(settings.clickhouse.dsn)) as store:
        andon_answer.read_back(run, store)


if __name__ == "__main__":
    this = entry()
    with tempfile.TemporaryDirectory() as made:
        main(this, made)
    this.done()
