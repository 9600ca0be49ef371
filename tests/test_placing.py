"""Keys fall where we say, in the engine itself; groups are dealt out evenly."""

import json
import subprocess
import sys
from collections import Counter

import pytest

from dataflows.placing import EVENLY, beside, spread, worker_of
from operators.pipeline import CASE, INTERFACE, ITEM, SITE, group_names
from tests.processes import ROOT, environment

NAMES = [*group_names(CASE, 8), *group_names(ITEM, 8), *group_names(INTERFACE, 1), *group_names(SITE, 4)]


@pytest.mark.parametrize("workers", [2, 3, 4])
def test_the_engine_puts_keys_where_we_say(workers: int) -> None:
    keys = [f"{name}{end}" for name in NAMES for end in ("", "é", "/17")]
    command = (sys.executable, "-m", "tests.engine_places", str(workers), *keys)
    done = subprocess.run(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, check=True, timeout=60)
    found: dict[str, int] = json.loads(done.stdout)
    assert found.keys() == set(keys)
    threads = {worker_of(key, workers): thread for key, thread in found.items()}
    assert len(set(threads.values())) == workers
    assert {key: threads[worker_of(key, workers)] for key in keys} == found


@pytest.mark.parametrize("workers", [workers for workers in range(1, EVENLY + 1) if EVENLY % workers == 0])
def test_groups_are_dealt_out_evenly(workers: int) -> None:
    keys = spread(NAMES)
    assert list(keys) == NAMES
    assert len(set(keys.values())) == len(NAMES)
    for space in (CASE, ITEM, SITE):
        counts = Counter(worker_of(key, workers) for name, key in keys.items() if name.startswith(space))
        shares = [counts[worker] for worker in range(workers)]
        assert max(shares) - min(shares) <= 1


@pytest.mark.parametrize("workers", [2, 3, 4])
def test_the_engine_puts_partitions_beside_keys(workers: int) -> None:
    keys = spread(NAMES)
    parts = beside({key: [f"{name}#{slot}" for slot in range(3)] for name, key in keys.items()})
    assert list(parts) == sorted(parts)
    wanted = {part: name for part, name in parts.items() if name}
    assert sorted(wanted.values()) == sorted(f"{name}#{slot}" for name in NAMES for slot in range(3))
    command = (sys.executable, "-m", "tests.engine_places", str(workers), *keys.values(), "--partitions", *parts)
    done = subprocess.run(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, check=True, timeout=60)
    threads: dict[str, int] = json.loads(done.stdout)
    assert len(set(threads.values())) == workers
    for part, name in wanted.items():
        assert threads[part] == threads[keys[name.partition("#")[0]]]
