"""The pods of a job as local processes: each with its number, its address and a volume of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from tests.kafka_job import CALM, CALM_AHEAD, CALM_BATCH, Job, free_ports, wait_for
from tests.processes import COMMAND, ROOT, environment

PARTS = ROOT / "infra" / "container" / "recovery_parts.py"
_CALM = {
    "ANDON_ENGINE_EPOCH": CALM,
    "ANDON_ENGINE_BATCH": str(CALM_BATCH),
    "ANDON_ENGINE_AHEAD": str(CALM_AHEAD),
}


class Pods:
    """The pods over a `Job`'s settings; `volumes` outlive them, as claims do."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._running: list[subprocess.Popen[bytes]] = []
        self._log = (job.folder / "errors.log").open("ab")

    def volume(self, number: int) -> Path:
        return self.job.folder / "volumes" / f"recovery-andon-{number}" / "state"

    def share(self, number: int, addresses: list[str], first: int) -> subprocess.CompletedProcess[str]:
        """What a pod's init container does."""
        command = [sys.executable, str(PARTS), "share", "--run", "test-1", "--first", str(first)]
        env = self._environment(number, addresses)
        return subprocess.run(
            command, cwd=self.job.folder, env=env, capture_output=True, text=True, timeout=120, check=False
        )

    def deal(self, to: int, count: int) -> str:
        """What is run between a stop and a start with another number of pods."""
        directories = [self.volume(number) for number in range(count)]
        for directory in directories:
            directory.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, str(PARTS), "deal", "--to", str(to), *map(str, directories)]
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, count: int, first: int, *, share: bool = True, calm: bool = False) -> None:
        """All of them, at once; with what init containers do before, if `share`.

        `calm`: nothing is to happen to them any more, so they take few large steps.
        """
        port = free_ports(count)
        addresses = [f"localhost:{port + number}" for number in range(count)]  # names, as in a cluster
        for number in range(count if share else 0):
            shared = self.share(number, addresses, first)
            assert shared.returncode == 0, shared.stderr
        for number in range(count):
            env = self._environment(number, addresses) | (_CALM if calm else {})
            one = subprocess.Popen([*COMMAND, "run"], cwd=self.job.folder, env=env, stdout=self._log, stderr=self._log)
            self._running.append(one)

    def wait_for_messages(self, least: int) -> None:
        count = len(self._running)

        def read() -> bool:
            assert all(one.poll() is None for one in self._running), self.job.errors()
            return self.job.messages(count) >= least

        wait_for(read, f"{least} messages", 300)

    def send(self, number: int, told: int) -> None:
        self._running[number].send_signal(told)

    def codes(self, within_s: float = 60.0) -> list[int]:
        """What they all end with."""
        ends = time.monotonic() + within_s
        codes = [one.wait(max(0.1, ends - time.monotonic())) for one in self._running]
        self._running.clear()
        return codes

    def close(self) -> None:
        for one in self._running:
            with suppress(ProcessLookupError):
                one.send_signal(signal.SIGKILL)
            one.wait(30)
        self._log.close()

    def _environment(self, number: int, addresses: list[str]) -> dict[str, str]:
        return environment(
            ANDON_ENGINE_PROCESSES=json.dumps(addresses),
            ANDON_ENGINE_PROCESS=str(number),
            ANDON_ENGINE_RECOVERY=str(self.volume(number)),
            ANDON_OBSERVE_LISTEN=f"127.0.0.1:{self.job.port + number}",
            PATH=os.environ["PATH"],
        )
