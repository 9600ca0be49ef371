"""A backup of a job's state: stop it at a snapshot, snapshot its volumes, start it again.

The state is in files on several volumes, and the engine keeps of each only what the last epoch needs: files that were
copied at different moments, while the job runs, do not go together. Stopped, they do; the job is away for as long as
the storage takes to make its snapshots, mostly seconds, and goes on where it was.

It runs in the cluster, from a CronJob, over the Kubernetes API with the rights of its service account. Whatever fails,
the job is started again; the number of its pods stands in an annotation meanwhile, so that a run which was killed in
between is set right by the next. A job that was stopped by hand stays stopped.
"""

import argparse
import json
import signal
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn
from urllib.parse import quote, urlencode

#: Where a pod finds the API and its rights.
IN_CLUSTER = "https://kubernetes.default.svc"
CREDENTIALS = Path("/var/run/secrets/kubernetes.io/serviceaccount")
BEFORE = "andon/replicas-before-backup"
#: Stands on the StatefulSet while `andon rescale` moves its state.
RESCALE = "andon/rescale-from"
BACKUP, VOLUMES = "andon/backup", "andon/backup-volumes"
_SNAPSHOTS = "/apis/snapshot.storage.k8s.io/v1/namespaces/{namespace}/volumesnapshots"
_SETS = "/apis/apps/v1/namespaces/{namespace}/statefulsets"
_TRIES, _PAUSE_S, _ANSWER_S = 5, 2.0, 30.0


class BackupError(Exception):
    """Why there is no backup, for a person."""


class Cluster:
    """The Kubernetes API in one namespace. The token is read for each call, since it is renewed under us."""

    def __init__(self, api: str, credentials: Path) -> None:
        self._api, self._token = api, credentials / "token"
        self.namespace = (credentials / "namespace").read_text(encoding="utf-8").strip()
        authority = credentials / "ca.crt"
        self._tls = ssl.create_default_context(cafile=str(authority)) if api.startswith("https:") else None

    def call(self, method: str, path: str, body: object = None, **query: str) -> Any:  # noqa: ANN401 - JSON
        """One call, tried again where the API does not answer or is overloaded; gives its JSON.

        Raises:
            BackupError: the API refuses, or does not answer for long.
        """
        url = self._api + path.format(namespace=quote(self.namespace)) + (f"?{urlencode(query)}" if query else "")
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        data = None if body is None else json.dumps(body).encode()
        why = ""
        for attempt in range(_TRIES):
            time.sleep(_PAUSE_S if attempt else 0)
            token = self._token.read_text(encoding="utf-8").strip()
            headers = {"Authorization": f"Bearer {token}", "Content-Type": kind, "Accept": "application/json"}
            request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 - the API's own address
            try:
                with urllib.request.urlopen(request, timeout=_ANSWER_S, context=self._tls) as answer:  # noqa: S310
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                with error:
                    why = f"{error.code} {error.read(500).decode(errors='replace')}"
                if error.code == 409 and method == "POST" and attempt:
                    return body  # the try before was heard, its answer was lost
                if error.code < 500 and error.code != 429:
                    break
            except OSError as error:
                why = str(error)
        raise BackupError(f"{method} {path.format(namespace=self.namespace)}: {why}")


def back_up(cluster: Cluster, name: str, snapshot_class: str, *, keep: int, within_s: float, now: datetime) -> str:
    """Make a backup of StatefulSet `name`, drop all but the newest `keep`; gives what was done in words.

    Args:
        cluster: where it runs.
        name: of the StatefulSet; its volumes are those of its claim `recovery`.
        snapshot_class: the VolumeSnapshotClass, `""` for the cluster's default.
        keep: so many backups are kept, this one among them; at least 1.
        within_s: so long may the stop take, and the making of the snapshots.
        now: what this backup is named by.

    Raises:
        BackupError: there is none; the job has been started again.
    """
    stamp = now.strftime("%Y%m%dt%H%M%Sz")
    try:
        volumes = _take(cluster, name, snapshot_class, stamp, within_s)
    except BackupError:
        # the storage goes on with what it was asked for: taken while the job runs, it would pass for a backup
        with suppress(BackupError):
            _drop(cluster, _made(cluster, name).get(stamp, []))
        raise
    dropped = _drop_old(cluster, name, keep)
    return f"backup {stamp} of {volumes} volumes is made; {dropped} old snapshots dropped"


def _take(cluster: Cluster, name: str, snapshot_class: str, stamp: str, within_s: float) -> int:
    """Have all volumes of the stopped job snapshotted; gives how many."""
    with _stopped(cluster, name, within_s) as pods:
        claims = [f"recovery-{name}-{number}" for number in range(pods)]
        if not claims:
            raise BackupError(f"{name} has no pods, and it is not known how many it had: start it first")
        for claim in claims:
            cluster.call("POST", _SNAPSHOTS, _snapshot(claim, stamp, name, snapshot_class, len(claims)))
        _wait(lambda: all(_taken(cluster, f"{claim}-{stamp}") for claim in claims), "snapshots", within_s)
    return len(claims)


@contextmanager
def _stopped(cluster: Cluster, name: str, within_s: float) -> Iterator[int]:
    """The job stopped, then as it was before; gives how many pods it has when it runs."""
    path = f"{_SETS}/{name}"
    found = cluster.call("GET", path)
    annotations = found["metadata"].get("annotations") or {}
    if RESCALE in annotations:
        raise BackupError("a rescale is under way, or was broken off: `andon rescale` goes on with it")
    noted = annotations.get(BEFORE)
    pods = int(noted) if noted is not None else int(found["spec"]["replicas"])
    selector = ",".join(f"{key}={value}" for key, value in sorted(found["spec"]["selector"]["matchLabels"].items()))
    running = noted is not None or pods > 0
    try:
        if running:
            cluster.call("PATCH", path, {"metadata": {"annotations": {BEFORE: str(pods)}}, "spec": {"replicas": 0}})
        _wait(lambda: not _pods(cluster, selector), f"{name} to stop", within_s)
        yield pods if running else _claims(cluster, name)
    finally:
        if running:
            cluster.call("PATCH", path, {"metadata": {"annotations": {BEFORE: None}}, "spec": {"replicas": pods}})


def _pods(cluster: Cluster, selector: str) -> list[object]:
    found: list[object] = cluster.call("GET", "/api/v1/namespaces/{namespace}/pods", labelSelector=selector)["items"]
    return found


def _claims(cluster: Cluster, name: str) -> int:
    """How many volumes a job has that somebody has stopped: those of the pods that it had."""
    found = cluster.call("GET", "/api/v1/namespaces/{namespace}/persistentvolumeclaims")["items"]
    names = {claim["metadata"]["name"] for claim in found}
    count = 0
    while f"recovery-{name}-{count}" in names:
        count += 1
    return count


def _snapshot(claim: str, stamp: str, name: str, snapshot_class: str, volumes: int) -> dict[str, object]:
    spec: dict[str, object] = {"source": {"persistentVolumeClaimName": claim}}
    if snapshot_class:
        spec["volumeSnapshotClassName"] = snapshot_class
    annotations = {BACKUP: stamp, VOLUMES: str(volumes)}
    return {
        "apiVersion": "snapshot.storage.k8s.io/v1",
        "kind": "VolumeSnapshot",
        "metadata": {"name": f"{claim}-{stamp}", "labels": {BACKUP: name}, "annotations": annotations},
        "spec": spec,
    }


def _taken(cluster: Cluster, snapshot: str) -> bool:
    """Whether the volume may be written again: the snapshot's moment is fixed, though it may not be stored yet."""
    status = cluster.call("GET", f"{_SNAPSHOTS}/{snapshot}").get("status") or {}
    if status.get("error"):
        raise BackupError(f"{snapshot}: {status['error'].get('message', 'the storage refuses')}")
    return bool(status.get("creationTime") or status.get("readyToUse"))


def _drop_old(cluster: Cluster, name: str, keep: int) -> int:
    """Drop all but the newest `keep` backups, and what is left of those that were broken off or that failed later."""
    made = _made(cluster, name)
    whole = sorted(stamp for stamp, parts in made.items() if _is_whole(parts))
    old = [part for stamp, parts in made.items() if stamp not in whole[-keep:] for part in parts]
    _drop(cluster, old)
    return len(old)


def _made(cluster: Cluster, name: str) -> dict[str, list[dict[str, Any]]]:
    """The snapshots that there are of a job, by the backup that they are of."""
    made: dict[str, list[dict[str, Any]]] = {}
    for one in cluster.call("GET", _SNAPSHOTS, labelSelector=f"{BACKUP}={name}")["items"]:
        made.setdefault(one["metadata"]["annotations"][BACKUP], []).append(one)
    return made


def _is_whole(parts: Sequence[dict[str, Any]]) -> bool:
    """Whether all volumes are there; a snapshot whose moment was fixed may still have failed to be stored."""
    failed = any((part.get("status") or {}).get("error") for part in parts)
    return not failed and len(parts) == int(parts[0]["metadata"]["annotations"][VOLUMES])


def _drop(cluster: Cluster, snapshots: Sequence[dict[str, Any]]) -> None:
    for one in snapshots:
        cluster.call("DELETE", f"{_SNAPSHOTS}/{one['metadata']['name']}")


def _wait(done: Callable[[], bool], what: str, within_s: float) -> None:
    ends_s = time.monotonic() + within_s
    while not done():
        if time.monotonic() > ends_s:
            raise BackupError(f"waited {within_s:g} s for {what}")
        time.sleep(min(_PAUSE_S, within_s / 50))


def _terminated(number: int, frame: FrameType | None) -> NoReturn:
    del frame
    signal.signal(number, signal.SIG_IGN)  # what follows starts the job again, and is not to be broken off
    raise BackupError("stopped by a signal")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; gives the exit code: 0 a backup is made, 1 it is not."""
    parser = argparse.ArgumentParser(prog="back_up", description="Back up the state of a job in Kubernetes.")
    parser.add_argument("--statefulset", required=True, help="the job")
    parser.add_argument("--snapshot-class", default="", help="VolumeSnapshotClass (default: the cluster's)")
    parser.add_argument("--keep", type=int, default=7, help="backups that are kept")
    parser.add_argument("--within", type=float, default=180.0, help="seconds for the stop, and for the snapshots")
    parser.add_argument("--api", default=IN_CLUSTER, help="the Kubernetes API")
    parser.add_argument("--credentials", type=Path, default=CREDENTIALS, help="directory of token, namespace, ca.crt")
    told = parser.parse_args(arguments)
    if told.keep < 1:
        parser.error("--keep must be at least 1")
    signal.signal(signal.SIGTERM, _terminated)
    try:
        cluster = Cluster(told.api, told.credentials)
        now = datetime.now(UTC)
        words = back_up(cluster, told.statefulset, told.snapshot_class, keep=told.keep, within_s=told.within, now=now)
    except (BackupError, OSError) as error:
        sys.stderr.write(f"no backup: {error}\n")
        return 1
    sys.stdout.write(f"{words}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
