"""`andon deliver` as a real process over a folder."""

import signal
import subprocess
import time
from pathlib import Path

from schemas.incident_rows import Alert
from sinks.webhooks.outbox import Outbox
from tests.kafka_job import free_ports
from tests.processes import start

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - the one of the published vector
OLD = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
TOKEN = "Bearer tok-5f0c77aa91"  # noqa: S105 - a throw-away one
RECEIVER = """
[[delivery.receiver]]
name = "{name}"
type = "standard"
url = "{url}"
secrets = ["env:HOOK_SECRET", "env:HOOK_OLD"]
authorization = "env:HOOK_TOKEN"
allow_http = true
allow_networks = ["127.0.0.0/8"]
"""
DELIVERY = """
[clickhouse]
dsn = "{dsn}"
[observe]
level = "debug"
log = "json"
[delivery]
listen = "127.0.0.1:{port}"
poll = "50ms"
stale_after = "3650d"
keep = "3650d"
gap_wait = "500ms"
read_timeout = "1s"
total_timeout = "2s"
retry_first = "20ms"
retry_longest = "100ms"
breaker_pause = "50ms"
breaker_longest = "100ms"
stop_within = "5s"
"""
SECRETS = {"HOOK_SECRET": SECRET, "HOOK_OLD": OLD, "HOOK_TOKEN": TOKEN}


class Process:
    """`andon deliver` over a folder, started and killed at will."""

    def __init__(self, folder: Path, dsn: str = "chdb:///./andon.db", **urls: str) -> None:
        self.folder = folder
        self.port = free_ports(1)
        receivers = "".join(RECEIVER.format(name=name, url=url) for name, url in urls.items())
        (folder / "andon.toml").write_text(DELIVERY.format(dsn=dsn, port=self.port) + receivers, encoding="utf-8")
        self.outbox = Outbox(folder / "andon-outbox.db")
        self.output = ""
        self._running: subprocess.Popen[str] | None = None

    def put(self, *alerts: Alert) -> None:
        self.outbox.put(alerts, time.time_ns() // 1_000)

    def start(self) -> None:
        self._running = start("deliver", cwd=self.folder, **SECRETS)

    def end(self, how: signal.Signals) -> int:
        """Send a signal and wait for the end; the exit code."""
        assert self._running is not None
        self._running.send_signal(how)
        return self.wait()

    def wait(self) -> int:
        """Wait for the end; the exit code."""
        assert self._running is not None
        out, err = self._running.communicate(timeout=30)
        self.output += out + err
        code, self._running = self._running.returncode, None
        return code

    def close(self) -> None:
        if self._running is not None:
            self.end(signal.SIGKILL)
        self.outbox.close()
