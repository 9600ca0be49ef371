"""Backups of state: made of a job that stands still, and a job that runs afterwards whatever fails."""

import runpy
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.infra_kubernetes_api import KubernetesApi, stamps
from tests.kafka_job import wait_for
from tests.processes import ROOT

PATH = ROOT / "infra" / "container" / "back_up.py"
SCRIPT: dict[str, Any] = runpy.run_path(str(PATH))
BackupError: type[Exception] = SCRIPT["BackupError"]
NOTE = SCRIPT["BEFORE"]
NOW = datetime(2026, 3, 2, 3, 17, tzinfo=UTC)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCRIPT["back_up"].__globals__, "_PAUSE_S", 0.01)


def back_up(api: KubernetesApi, *, keep: int = 2, now: datetime = NOW, within_s: float = 5.0) -> str:
    cluster = SCRIPT["Cluster"](api.url, api.folder)
    words: str = SCRIPT["back_up"](cluster, "andon", "fast", keep=keep, within_s=within_s, now=now)
    return words


def test_volumes_are_taken_while_no_pod_runs_and_the_job_goes_on(tmp_path: Path) -> None:
    with KubernetesApi(tmp_path, 3) as api:
        assert back_up(api) == "backup 20260302t031700z of 3 volumes is made; 0 old snapshots dropped"
        assert api.replicas_when_taken == [(0, 0)] * 3
        assert (api.replicas, api.annotations) == (3, {})
        assert set(api.snapshots) == {f"recovery-andon-{number}-20260302t031700z" for number in range(3)}
        specs = [one["spec"] for one in api.snapshots.values()]
        assert {one["source"]["persistentVolumeClaimName"] for one in specs} == set(api.claims)
        assert {one["volumeSnapshotClassName"] for one in specs} == {"fast"}
        start = next(index for index in reversed(range(len(api.calls))) if api.calls[index].startswith("PATCH"))
        looks = [index for index, call in enumerate(api.calls) if "GET" in call and "z" in call.rpartition("-")[2]]
        assert max(looks) < start, "it starts again when all are taken, not before"


def test_the_newest_are_kept_and_what_was_broken_off_is_none_of_them(tmp_path: Path) -> None:
    with KubernetesApi(tmp_path, 2) as api:
        for day in range(3):
            back_up(api, now=NOW + timedelta(days=day))
        assert stamps(api) == {"20260303t031700z", "20260304t031700z"}
        del api.snapshots["recovery-andon-1-20260304t031700z"]
        back_up(api, now=NOW + timedelta(days=3))
        assert stamps(api) == {"20260303t031700z", "20260305t031700z"}
        api.snapshots["recovery-andon-1-20260305t031700z"]["status"] = {"error": {"message": "could not be stored"}}
        back_up(api, now=NOW + timedelta(days=4))
        assert stamps(api) == {"20260303t031700z", "20260306t031700z"}


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (("POST", "volumesnapshots", 403), "403"),
        (("GET", "pods", 403), "403"),
    ],
)
def test_when_it_is_refused_the_job_goes_on(tmp_path: Path, fault: tuple[str, str, int], words: str) -> None:
    with KubernetesApi(tmp_path, 2) as api:
        api.faults.append(fault)
        with pytest.raises(BackupError, match=words):
            back_up(api)
        assert (api.replicas, api.annotations) == (2, {})


def test_when_the_storage_can_not_the_job_goes_on(tmp_path: Path) -> None:
    with KubernetesApi(tmp_path, 2) as api:
        api.broken_storage = True
        with pytest.raises(BackupError, match="no space"):
            back_up(api)
        assert (api.replicas, api.annotations) == (2, {})
        assert api.snapshots == {}, "the storage tries again, while the job runs"


def test_when_pods_do_not_end_or_snapshots_are_not_taken_the_job_goes_on(tmp_path: Path) -> None:
    for never in ({"pods_end_after": 10**9}, {"taken_after": 10**9}):
        with KubernetesApi(tmp_path, 2, **never) as api:
            with pytest.raises(BackupError, match=r"waited 0\.3 s for"):
                back_up(api, within_s=0.3)
            assert (api.replicas, api.annotations, api.snapshots) == (2, {}, {})


def test_an_api_that_is_overloaded_or_whose_answer_is_lost_is_asked_again(tmp_path: Path) -> None:
    with KubernetesApi(tmp_path, 2) as api:
        api.faults += [("PATCH", "andon", 503), ("POST", "volumesnapshots", 500), ("GET", "pods", 429)]
        api.lost = True
        assert "of 2 volumes is made" in back_up(api)
        assert (api.replicas, len(api.snapshots)) == (2, 2)


def test_a_job_that_a_killed_backup_left_stopped_is_started_by_the_next(tmp_path: Path) -> None:
    with KubernetesApi(tmp_path, 3) as api:
        api.replicas, api.annotations = 0, {NOTE: "3"}
        assert "of 3 volumes is made" in back_up(api)
        assert (api.replicas, api.annotations) == (3, {})


def test_a_job_that_somebody_stopped_stays_stopped(tmp_path: Path) -> None:
    with KubernetesApi(tmp_path, 2) as api:
        api.replicas = 0
        assert "of 2 volumes is made" in back_up(api)
        assert (api.replicas, api.annotations) == (0, {})
        assert not [call for call in api.calls if call.startswith("PATCH")]


def test_sigterm_starts_the_job_again(tmp_path: Path) -> None:
    with KubernetesApi(tmp_path, 2, taken_after=10**9) as api:
        command = [
            sys.executable,
            str(PATH),
            "--statefulset",
            "andon",
            "--api",
            api.url,
            "--credentials",
            str(tmp_path),
        ]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
            wait_for(lambda: len(api.snapshots) == 2, "the snapshots to be asked for")
            assert api.replicas == 0
            running.send_signal(signal.SIGTERM)
            began = time.monotonic()
            _, errors = running.communicate(timeout=60)
            assert running.returncode == 1, errors
            assert "no backup: stopped by a signal" in errors
            assert time.monotonic() - began < 30
        assert (api.replicas, api.annotations) == (2, {})


def test_a_wrong_token_is_refused_in_words(tmp_path: Path) -> None:
    with KubernetesApi(tmp_path, 2) as api:
        (tmp_path / "token").write_text("another")
        with pytest.raises(BackupError, match="401"):
            back_up(api)
