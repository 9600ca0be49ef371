"""The comparison with peers: a small run of those that need nothing installed, and a judge that finds what is wrong."""

import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT, environment

PEERS = ROOT / "benchmarks" / "peers"
CHOSEN = ("andon", "loop-ids", "loop", "statement")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("peers")
    only = [part for name in CHOSEN for part in ("--only", name)]
    command = [sys.executable, str(PEERS / "run.py"), "--events", "4000", "--turns", "1", *only]
    command += ["--inputs", str(folder / "inputs"), "--json", str(folder / "out.json")]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    for name in CHOSEN:
        assert f"\n{name} " in done.stdout
    return folder


@pytest.mark.parametrize("name", CHOSEN)
def test_they_are_right(ran: Path, name: str) -> None:
    results = {one["name"]: one for one in json.loads((ran / "out.json").read_text(encoding="utf-8"))["results"]}
    (run,) = results[name]["runs"]
    assert run["events"] > 4_000, "with copies"
    assert run["verdict"]["right"] > 1_000
    assert {run["verdict"][what] for what in ("missing", "wrong", "extra")} == {0}


def test_the_judge_finds_what_is_wrong_missing_and_too_much(
    ran: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(PEERS))
    compare = importlib.import_module("answer").compare
    (right,) = {path.parent for path in (ran / "inputs").rglob("a.csv")}
    assert compare(right, right).differ == 0
    found = tmp_path / "found"
    shutil.copytree(right, found)
    lines = (found / "b.csv").read_text(encoding="utf-8").splitlines()
    node, minute, picks, p95 = lines[0].split(",")
    lines[0] = f"{node},{minute},{picks},{int(p95) + 1}"
    lines[1] = "node-none,0,1,1"
    (found / "b.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    verdict = compare(right, found)
    assert (verdict.missing, verdict.wrong, verdict.extra) == (1, 1, 1)
