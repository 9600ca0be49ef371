"""Starting the command line as a real process."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMMAND = (sys.executable, "-c", "from dataflows.cli import main; main()")
#: How a process ends whose peer has gone: the engine's threads panic, and two that panic at once abort it.
PEER_GONE = frozenset({1, -signal.SIGABRT})


def environment(**extra: str) -> dict[str, str]:
    """Ours, without what a person may have set."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANDON_")}
    return kept | {"PYTHONPATH": str(ROOT), "COLUMNS": "100"} | extra


def andon(*arguments: str, cwd: Path, check: bool = True, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=cwd,
        env=environment(**extra),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    if check:
        assert done.returncode == 0, done.stderr
    return done


def start(*arguments: str, cwd: Path, **extra: str) -> subprocess.Popen[str]:
    """Start a command; whoever does ends it."""
    return subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=cwd,
        env=environment(**extra),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def query(sql: str, cwd: Path) -> list[dict[str, object]]:
    """Rows of a query over `andon.db` in `cwd`, asked by another process; tests/databases.py asks in this one."""
    rows: list[dict[str, object]] = json.loads(andon("sql", sql, "--json", cwd=cwd).stdout)
    return rows
