"""Environments of the peers, apart from Andon's own: made once, and again when their requirements change."""

import shutil
import subprocess
import sys
from pathlib import Path

from contestants import HERE, PEERS

#: The Kafka connector is no part of pip's apache-flink.
_CONNECTOR = "org.apache.flink:flink-sql-connector-kafka:5.0.0-2.2"
_INSTALL_S = 1_200.0


class NotInstalledError(Exception):
    """A peer can't be had on this machine; the message says why."""


def prepare(peer: str) -> None:
    """Have a peer's environment.

    Raises:
        NotInstalledError: it can't be made.
    """
    requirements = HERE / f"requirements-{peer}.txt"
    folder, wanted = PEERS / peer, requirements.read_text(encoding="utf-8")
    mark = folder / "installed.txt"
    if peer == "flink" and shutil.which("java") is None:
        raise NotInstalledError("needs java")
    if not mark.exists() or mark.read_text(encoding="utf-8") != wanted:
        _run(peer, sys.executable, "-m", "venv", "--clear", str(folder))
        pip = (str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        _run(peer, *pip, "-r", str(requirements))
        mark.write_text(wanted, encoding="utf-8")
    if peer == "flink":
        _connector(folder / "jars")


def _connector(folder: Path) -> None:
    name, version = _CONNECTOR.split(":")[1:]
    if (folder / f"{name}-{version}.jar").exists():
        return
    if shutil.which("mvn") is None:
        raise NotInstalledError("needs maven (mvn) to fetch the Kafka connector")
    get = ("dependency:copy", f"-Dartifact={_CONNECTOR}", f"-DoutputDirectory={folder}")
    _run("flink", "mvn", "--quiet", "--batch-mode", *get)


def _run(peer: str, *command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_INSTALL_S)
    except subprocess.TimeoutExpired:
        raise NotInstalledError(f"{peer} was not installed within {_INSTALL_S:.0f} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise NotInstalledError(said[-1])
