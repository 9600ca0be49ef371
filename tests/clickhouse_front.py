"""A small HTTP front over the real chDB engine, as a process: `python -m tests.clickhouse_front --path DIR --port N`.

Run it at the root of the repository. It says `listening on 127.0.0.1:PORT` when it does (port 0 takes a free
one), and ends with 0 on SIGTERM. `ClickHouseFront` starts and kills one for a test.

An insert that was answered survives SIGKILL: the part is written and renamed before the answer, and what a
process has written the kernel keeps when it dies (a power cut is another matter: `fsync_after_insert`). So does
the log of deduplication tokens.
"""

import argparse
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from tests.clickhouse_http import FAULTS_PATH, Engine, Script, Seen, Server
from tests.processes import ROOT, environment
from tests.readable import readable

_PASSWORD = "FRONT_PASSWORD"  # noqa: S105 - the name of the variable, not a secret
_LISTENING = "listening on 127.0.0.1:"
_START_S = 60.0
_COMMAND = (sys.executable, "-m", "tests.clickhouse_front")


class _Told(msgspec.Struct):
    script: Script
    seen: list[Seen]


class ClickHouseFront:
    """The front in a process of its own: start it, kill it, start it again on the same port and directory.

    A context manager. Faults are the process's: a start begins without.
    """

    def __init__(self, path: Path, *, port: int = 0, password: str | None = None) -> None:
        self.path = path
        self.port = port
        self._password = password
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def dsn(self) -> str:
        """The DSN of database `andon` there."""
        return self.dsn_of("andon")

    def dsn_of(self, database: str) -> str:
        """The DSN of a database there."""
        return f"http://default@127.0.0.1:{self.port}/{database}"

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process that runs."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the process; when this returns, it listens."""
        assert not self.running
        self._reap()
        extra = {} if self._password is None else {_PASSWORD: self._password}
        self._process = subprocess.Popen(
            [*_COMMAND, "--path", str(self.path), "--port", str(self.port), "--end-with-parent"],
            cwd=ROOT,
            env=environment(**extra),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        ready = readable([self._process.stdout], _START_S)
        line = self._process.stdout.readline() if ready else ""
        if not line.startswith(_LISTENING):
            self.kill()
            raise RuntimeError(f"the front does not listen, it said {line!r}")
        self.port = int(line.removeprefix(_LISTENING))

    def kill(self) -> None:
        """SIGKILL, whether it runs or not."""
        if self._process is not None:
            self._process.kill()
            self._reap()

    def stop(self) -> None:
        """SIGTERM where it runs, and wait for its orderly end."""
        if self._process is not None and self.running:
            self._process.send_signal(signal.SIGTERM)
            try:
                code = self._process.wait(_START_S)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
            assert code == 0, code
        self._reap()

    def suspend(self) -> None:
        """SIGSTOP: the machine hangs; connections are made (by the kernel) and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def faults(self, *steps: str, always: str = "pass", latency_s: float = 0.0, everything: bool = False) -> None:
        """Replace the script (see `Script`), and forget what was seen."""
        self._ask("POST", msgspec.json.encode(Script(list(steps), always, latency_s, everything)))

    def seen(self) -> list[Seen]:
        """The inserts since the script was replaced, each with its token and what was done to it."""
        return self._ask("GET").seen

    def left(self) -> list[str]:
        """The steps that have not happened yet."""
        return self._ask("GET").script.steps

    def _ask(self, method: str, body: bytes | None = None) -> _Told:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_START_S)
        try:
            connection.request(method, FAULTS_PATH, body)
            answer = connection.getresponse().read()
        finally:
            connection.close()
        return msgspec.json.decode(answer, type=_Told)

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait(_START_S)
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process = None


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description="ClickHouse's HTTP interface over chDB, for tests.")
    parser.add_argument("--path", type=Path, required=True, help="the engine's directory")
    parser.add_argument("--port", type=int, required=True, help="on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--faults", type=Path, help="JSON as POST /_faults takes it")
    parser.add_argument("--end-with-parent", action="store_true", help="end when standard input is closed")
    arguments = parser.parse_args()
    script = Script() if arguments.faults is None else msgspec.json.decode(arguments.faults.read_bytes(), type=Script)
    # Whichever thread is given the signal (the engine has many), it is written here; a main thread that waits for a
    # lock would not hear of it.
    heard, told = socket.socketpair()
    told.setblocking(False)
    signal.set_wakeup_fd(told.fileno())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    engine = Engine(arguments.path)
    server = Server(engine, arguments.port, script, os.environ.get(_PASSWORD))
    if arguments.end_with_parent:
        threading.Thread(target=_end_with, args=(sys.stdin.fileno(), told), daemon=True).start()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    print(f"{_LISTENING}{server.server_port}", flush=True)  # noqa: T201 - how whoever started it knows
    heard.recv(1)
    server.shutdown()
    server.server_close()
    engine.close()


def _end_with(parent: int, told: socket.socket) -> None:
    while os.read(parent, 1):  # not through sys.stdin: its lock would be held when the interpreter ends
        pass
    told.send(b"\0")


if __name__ == "__main__":
    main()
