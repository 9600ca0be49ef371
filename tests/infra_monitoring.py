"""Prometheus and Alertmanager as real processes on loopback; tests that use them are skipped where they are not.

`PROMETHEUS` and `ALERTMANAGER` name the programs (`infra/get_tools.sh DIR` fetches them), else they are looked for.
"""

import json
import os
import shutil
import signal
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import pytest
import yaml

from tests.kafka_job import wait_for
from tests.tcp_proxy import HOST, free_port

_PATIENCE_S = 60.0


def program(variable: str, *names: str) -> str:
    """Where a program is. Skips the test without it; under `make test-ops`, which fetches it, that is a failure."""
    found = os.environ.get(variable) or next(filter(None, map(shutil.which, names)), None)
    if found is None:
        assert "ANDON_TEST_OPS" not in os.environ, f"{names[0]} is missing"
        pytest.skip(f"{names[0]} is not installed; `make test-ops` fetches it")
    return found


class _Process:
    """One that answers HTTP at a port of its own; a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.address = f"{HOST}:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command(), cwd=self.folder, stdout=log, stderr=log)
        try:
            wait_for(self._ready, f"{self._process.args} to be ready", _PATIENCE_S)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *failed: object) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(_PATIENCE_S)

    def ask(self, path: str, body: object = None, method: str | None = None, /, **query: str | list[str]) -> Any:  # noqa: ANN401 - JSON
        """What its API answers, decoded; None where that is nothing."""
        url = f"http://{self.address}{path}"
        if query:
            url += f"?{urllib.parse.urlencode(query, doseq=True)}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)  # noqa: S310 - ours
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - as above
            said = answer.read()
        return json.loads(said) if said.startswith((b"{", b"[")) else None

    def _ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()
        try:
            self.ask("/-/ready")
        except (urllib.error.URLError, ConnectionError):
            return False
        return True

    def _command(self) -> list[str]:
        raise NotImplementedError


class Prometheus(_Process):
    """Scrapes `targets` (job `andon`) and judges the rule files, each once a second.

    Its alerts go to `alertmanager`, where one is given.
    """

    def __init__(
        self, folder: Path, targets: Iterable[str], rules: Iterable[Path], alertmanager: "Alertmanager | None" = None
    ) -> None:
        self._program = program("PROMETHEUS", "prometheus")
        super().__init__(folder)
        config: dict[str, Any] = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": list(map(str, rules)),
            "scrape_configs": [{"job_name": "andon", "static_configs": [{"targets": list(targets)}]}],
        }
        if alertmanager is not None:
            known = [{"static_configs": [{"targets": [alertmanager.address]}]}]
            config["alerting"] = {"alertmanagers": known}
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))

    def value(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """The labels and value of each series that an expression gives now."""
        found = self.ask("/api/v1/query", query=expression)["data"]["result"]
        return [(one["metric"], float(one["value"][1])) for one in found]

    def groups(self, file: Path) -> list[dict[str, Any]]:
        """The rule groups of a file, with the state of each rule and alert."""
        found = self.ask("/api/v1/rules")["data"]["groups"]
        return [group for group in found if group["file"] == str(file)]

    def states(self, file: Path) -> dict[str, str]:
        """`inactive`, `pending` or `firing`, for each alert of a rule file."""
        return {rule["name"]: rule["state"] for group in self.groups(file) for rule in group["rules"]}

    def _command(self) -> list[str]:
        return [
            self._program,
            *("--config.file=prometheus.yaml", "--storage.tsdb.path=data"),
            f"--web.listen-address={self.address}",
        ]


class Alertmanager(_Process):
    """Alone (no cluster), with one receiver named `people` that it posts to."""

    def __init__(self, folder: Path, route: dict[str, Any], webhook: str) -> None:
        self._program = program("ALERTMANAGER", "alertmanager", "prometheus-alertmanager")
        super().__init__(folder)
        config = {
            "route": {"receiver": "people"} | route,
            "receivers": [{"name": "people", "webhook_configs": [{"url": webhook, "send_resolved": True}]}],
        }
        (folder / "alertmanager.yaml").write_text(yaml.safe_dump(config))

    def alerts(self, *matchers: str) -> list[dict[str, Any]]:
        """The alerts that hold now, silenced ones too."""
        found: list[dict[str, Any]] = self.ask("/api/v2/alerts", filter=list(matchers))
        return found

    def until(self, holds: Callable[[list[dict[str, Any]]], bool], what: str) -> list[dict[str, Any]]:
        """The alerts, once `holds` says so of them."""
        wait_for(lambda: holds(self.alerts()), what)
        return self.alerts()

    def silence(self, comment: str, **labels: str) -> str:
        """Silence what has these labels for an hour; gives the silence's id."""
        begin = datetime.now(UTC)
        matchers = [{"name": name, "value": value, "isRegex": False} for name, value in labels.items()]
        times = {"startsAt": begin.isoformat(), "endsAt": (begin + timedelta(hours=1)).isoformat()}
        asked = {"matchers": matchers, "createdBy": "test", "comment": comment, **times}
        made: str = self.ask("/api/v2/silences", asked)["silenceID"]
        return made

    def expire(self, silence: str) -> None:
        """End a silence."""
        self.ask(f"/api/v2/silence/{silence}", None, "DELETE")

    def _command(self) -> list[str]:
        return [
            self._program,
            *("--config.file=alertmanager.yaml", "--storage.path=data", "--cluster.listen-address="),
            f"--web.listen-address={self.address}",
        ]
