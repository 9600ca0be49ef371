"""How results are put out: a table for people, JSON for machines, and what they were measured on.

Without the machine a number says nothing.
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("bytewax", "msgspec", "clickhouse-connect", "chdb", "numpy", "orjson")

#: Where the programs here put their JSON when nobody names a file; git ignores it.
BUILD = Path(__file__).parents[1] / "build"


def facts() -> dict[str, object]:
    """Processor, memory, Python, packages and commit."""
    return {
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_1m": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "commit": _commit(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    root = Path(__file__).parents[1]
    ask = ("git", "-C", str(root), "describe", "--always", "--dirty")
    try:
        said = subprocess.run(ask, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return said.stdout.strip()


def headline(machine: dict[str, object]) -> str:
    """The facts that stand over a table."""
    return (
        f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_1m']}; Python {machine['python']}\n"
        f"commit {machine['commit']}\n"
    )


def print_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """The first column to the left, the others to the right, and the last as it comes."""
    rows = [head, *lines]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head) - 1)]
    for row in rows:
        numbers = [cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:], strict=True)]
        print("  ".join([row[0].ljust(widths[0]), *numbers, row[-1]]).rstrip())


def write_document(path: Path, machine: dict[str, object], document: dict[str, object]) -> None:
    """Results with the facts of the machine, as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine, **document}, indent=2) + "\n", encoding="utf-8")


def say(text: str) -> None:
    """Progress, on one line where there is a terminal; nothing clears that line."""
    end = "\r" if sys.stderr.isatty() else "\n"
    if text or end == "\r":
        print(text.ljust(78), end=end, file=sys.stderr, flush=True)
