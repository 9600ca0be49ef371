"""Starting the command line as a real process."""

import json
import os
import signal
import subprocess
import sys
from itertools import pairwise
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


def allocator_heaps(pid: int) -> int:
    """How many heaps glibc's allocator has beside the process's own: one for each arena, of 64 MiB of addresses."""
    whole = 64 * 1024 * 1024
    maps = [line.split() for line in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines()]
    places = [(*(int(end, 16) for end in one[0].split("-")), one[1]) for one in maps if len(one) == 5]
    return sum(
        begin % whole == 0 and rights == "rw-p" and unused == "---p" and end == begin_unused and until == begin + whole
        for (begin, end, rights), (begin_unused, until, unused) in pairwise(places)
    )
