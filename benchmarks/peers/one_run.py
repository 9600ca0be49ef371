"""One contestant, once: started, watched, ended, and its answer held against the oracle's."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import msgspec
from answer import Verdict, compare
from contestants import HERE, ROOT, Contestant
from memory import TreeWatch

_ORACLE = "oracle"


class TooSlowError(Exception):
    """It was not at its end within the limit."""


class FailedError(Exception):
    """It ended with an error; the message is what it said last."""


class Run(msgspec.Struct, frozen=True):
    """What one run took.

    `seconds` is the work alone, as the contestant measured it; `total_s`, `cpu_s` and `peak_mb` are of its whole
    process tree, from start to end.
    """

    events: int
    seconds: float
    total_s: float
    cpu_s: float
    peak_mb: float
    note: str
    verdict: Verdict | None


class _Said(msgspec.Struct):
    events: int
    seconds: float
    cpu_s: float
    note: str


def oracle(work: Path) -> None:
    """Have the oracle's answer beside a work; worked out once."""
    folder = work / _ORACLE
    if not (folder / "done").exists():
        folder.mkdir(exist_ok=True)
        command = (sys.executable, str(HERE / "oracle.py"), "--inputs", str(work), "--out", str(folder))
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        (folder / "done").write_text(done.stdout, encoding="utf-8")


def run_once(contestant: Contestant, work: Path, out: Path, where: tuple[str, ...], limit_s: float) -> Run:
    """Run a contestant over a work.

    Raises:
        TooSlowError: it was ended by the limit.
        FailedError: it ended with an error.
    """
    command = [contestant.python, str(HERE / contestant.script), "--inputs", str(work), "--out", str(out), *where]
    if contestant.variant:
        command += ["--variant", contestant.variant]
    began = time.perf_counter()
    with (out / "stdout").open("wb") as told, (out / "stderr").open("wb") as errors:
        process = subprocess.Popen(
            command, cwd=out, env=_environment(contestant), stdout=told, stderr=errors, start_new_session=True
        )
        watch = TreeWatch(process.pid)
        try:
            code = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise TooSlowError(contestant.name) from None
        finally:
            total_s = time.perf_counter() - began
            watch.stop()
            with suppress(ProcessLookupError):  # whatever it has left running, too
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    lines = (out / "stdout").read_text(encoding="utf-8", errors="replace").splitlines()
    if code or not lines:
        said = (out / "stderr").read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((line.strip() for line in reversed(said) if line.strip()), "it said nothing")
        raise FailedError(f"ended with {code}: {last}")
    said_of_it = msgspec.json.decode(lines[-1], type=_Said)
    verdict = compare(work / _ORACLE, out) if contestant.answers else None
    return Run(said_of_it.events, said_of_it.seconds, total_s, watch.cpu_s, watch.peak_mb, said_of_it.note, verdict)


def _environment(contestant: Contestant) -> dict[str, str]:
    """Andon's rooms are no business of a peer's environment."""
    mine = {name: value for name, value in os.environ.items() if name != "PYTHONPATH" and not name.startswith("ANDON_")}
    return mine if contestant.peer else mine | {"PYTHONPATH": os.environ.get("PYTHONPATH", str(ROOT))}
