"""Where the data and the scorers that are not ours lie, and how they are called."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("ANDON_SHARED_DATA", ROOT.parent / "shared" / "data"))
TOOLS = Path(os.environ.get("ANDON_SHARED_TOOLS", ROOT.parent / "shared" / "tools"))
BUILD = ROOT / "build" / "anomaly"


def scored(series: Path, out: Path, jobs: int) -> None:
    """Run `andon score` over a folder, a process for each file, `jobs` at a time."""
    files = sorted(path for path in series.rglob("*") if path.suffix in {".csv", ".npz"})
    running: list[subprocess.Popen[bytes]] = []
    for file in files:
        target = out / file.relative_to(series).parent
        code = "from dataflows.cli.score import score; score()"
        command = [sys.executable, "-c", code, str(file), "--out", str(target)]
        running.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL))
        if len(running) >= jobs:
            _finished(running.pop(0))
    for process in running:
        _finished(process)


def _finished(process: "subprocess.Popen[bytes]") -> None:
    if process.wait():
        raise SystemExit(f"andon score failed with code {process.returncode}")


def nab_verdict(scores: Path, corpus: Path) -> dict[str, dict[str, float]]:
    """What the NAB scorer says, by profile."""
    command = [sys.executable, str(TOOLS / "nab_score.py"), str(scores), "--nab", str(corpus), "--loo", "--json"]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    verdict: dict[str, dict[str, float]] = json.loads(said.stdout)
    return verdict


def kpi_verdict(series: Path, scores: Path, threshold: float | None = None) -> dict[str, float | str]:
    """What the KPI scorer says, at the best threshold for F1 or at the given one."""
    command = [sys.executable, str(TOOLS / "kpi_score.py"), str(series), str(scores)]
    if threshold is not None:
        command += ["--threshold", str(threshold)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    words = dict(word.split("=", 1) for word in said.split())
    return {key: value if "/" in value else float(value) for key, value in words.items()}
