"""What stands in for a cluster: pods are probed, restarted and stopped as declared; what is not known is refused."""

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.infra_manifests import Resource, manifests, named
from tests.infra_stateful_set import Namespace, wait
from tests.infra_stateful_set_image import Image, build
from tests.infra_stateful_set_pod import Pod, Surroundings
from tests.infra_stateful_set_spec import PodSpec, SetSpec
from tests.kafka_job import free_ports

#: Serves until it is told to end; each file in its directory makes it fail in another way.
APP = """
import http.server, os, signal, sys
def there(name): return os.path.exists(os.path.join(sys.argv[1], name))
if there("broken"): sys.exit(3)
if there("deaf"): signal.signal(signal.SIGTERM, signal.SIG_IGN)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if there(self.path[1:]) else 200)
        self.end_headers()
    def log_message(self, *_): pass
if len(sys.argv) > 2:
    http.server.ThreadingHTTPServer((sys.argv[2], int(os.environ["PORT"])), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    root = tmp_path_factory.mktemp("app")
    (root / "bin").mkdir()
    python = root / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    (root / "app.py").write_text(APP)
    return Image(root, {"PATH": "/bin:/usr/bin"}, ["python", "/app.py"], ["/data"], "/work", "SIGTERM")


def probe(path: str, failures: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": "web"}, "periodSeconds": 1, "failureThreshold": failures}


@contextmanager
def pod_of(folder: Path, image: Image, port: int, *broken: str, grace_s: float = 10) -> Iterator[tuple[Pod, Path]]:
    """A pod of the app, and its volume; a second of its probes is 20 ms."""
    data = folder / "claim"
    (data / "state").mkdir(parents=True)
    for name in broken:
        (data / "state" / name).touch()
    mount = {"name": "data", "mountPath": "/data", "subPath": "state"}
    app = {
        "name": "app",
        "image": "app:1",
        "args": ["/data", "0.0.0.0"],  # noqa: S104 - becomes the pod's address
        "env": [{"name": "PORT", "value": str(port)}],
        "ports": [{"name": "web", "containerPort": port}],
        "volumeMounts": [mount],
        "startupProbe": probe("/unstarted", 500),
        "readinessProbe": probe("/unready", 1),
        "livenessProbe": probe("/sick", 2),
    }
    declared = {
        "initContainers": [{"name": "first", "image": "app:1", "command": ["python", "/app.py", "$(WHERE)/data"]}],
        "containers": [app],
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": grace_s,
    }
    declared["initContainers"][0] |= {"volumeMounts": [mount], "env": [{"name": "WHERE", "value": ""}]}  # type: ignore[index]
    around = Surroundings(
        name="app-0",
        namespace="test",
        labels={},
        address="127.0.0.9",
        folder=folder / "pod",
        image=image,
        hosts={},
        claims={"data": data},
        config=lambda _: {},
        secrets={},
        pace=0.02,
    )
    around.folder.mkdir()
    pod = Pod(msgspec.convert(declared, PodSpec), around)
    try:
        yield pod, data / "state"
    finally:
        pod.close()


@pytest.fixture
def port() -> int:
    return free_ports(1)


def test_probes_decide_when_it_is_ready_and_when_it_is_restarted(tmp_path: Path, image: Image, port: int) -> None:
    with pod_of(tmp_path, image, port, "unstarted") as (pod, state):
        wait(lambda: pod.phase == "Running", "its start")
        assert not pod.ready
        (state / "sick").touch()  # not asked before it has started
        (state / "unstarted").unlink()
        wait(lambda: pod.restarts == 1, "a restart")
        (state / "sick").unlink()
        wait(lambda: pod.ready, "the app to be ready")
        (state / "unready").touch()
        wait(lambda: not pod.ready, "the app to be unready")
        (state / "unready").unlink()
        wait(lambda: pod.ready, "the app to be ready again")
        pod.stop()
        pod.wait_gone(30)
        ended = [(one.container, one.code, one.why) for one in pod.ended]
        sick = ("app", -15, "its liveness probe failed")
        assert ended == [("first", 0, ""), sick, ("app", -15, "stopped")]


def test_what_ends_again_and_again_is_started_less_and_less_often(tmp_path: Path, image: Image, port: int) -> None:
    with pod_of(tmp_path, image, port, "broken") as (pod, state):
        wait(lambda: pod.restarts >= 3, "restarts")
        assert {one.container for one in pod.ended} == {"first"}, "what follows waits for the init container"
        assert pod.waiting == "first: CrashLoopBackOff"
        (state / "broken").unlink()
        wait(lambda: pod.ready, "the app to be ready")
        assert [one.code for one in pod.ended] == [*[3] * pod.restarts, 0]


def test_one_that_does_not_listen_is_killed_when_its_time_is_over(tmp_path: Path, image: Image, port: int) -> None:
    with pod_of(tmp_path, image, port, "deaf", grace_s=0.2) as (pod, _):
        wait(lambda: pod.ready, "the app to be ready")
        pod.stop()
        pod.wait_gone(30)
        assert (pod.ended[-1].code, pod.ended[-1].why) == (-9, "stopped")


def test_a_volume_outlives_the_pod_and_nothing_else_is_written(tmp_path: Path, image: Image, port: int) -> None:
    with pod_of(tmp_path, image, port) as (pod, state):
        wait(lambda: pod.ready, "the app to be ready")
        assert pod.execute(["python", "-c", "open('/data/kept', 'w').close()"]).returncode == 0
        assert (state / "kept").exists()
        assert pod.written_outside() == []
        assert pod.execute(["python", "-c", "open('/work/lost', 'w').close()"]).returncode == 0
        assert [path.name for path in pod.written_outside()] == ["lost"]


def stateful_set() -> Resource:
    found: Resource = named(manifests("production"), "StatefulSet")["spec"]
    return found


REFUSED: dict[str, Callable[[Resource], object]] = {
    "hook": lambda pod: pod["containers"][0].update(lifecycle={"preStop": {"exec": {"command": ["sleep", "9"]}}}),
    "secret": lambda pod: pod["containers"][0]["envFrom"].append({"secretRef": {"name": "s"}}),
    "probe": lambda pod: pod["containers"][0].update(livenessProbe={"tcpSocket": {"port": 2101}}),
    "volume": lambda pod: pod["volumes"].append({"name": "h", "hostPath": {"path": "/"}}),
    "sub path": lambda pod: pod["containers"][0]["volumeMounts"][0].update(subPathExpr="$(A)"),
    "links": lambda pod: pod.pop("enableServiceLinks"),
    "names": lambda pod: pod.update(hostAliases=[]),
    "directory": lambda pod: pod["containers"][0].update(workingDir="/x"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_field_that_would_change_what_runs_is_refused_not_ignored(what: str) -> None:
    declared = stateful_set()
    msgspec.convert(declared, SetSpec)
    REFUSED[what](declared["template"]["spec"])
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(declared, SetSpec)


def test_an_address_of_the_cluster_that_is_not_here_is_refused(tmp_path: Path) -> None:
    with Namespace("production", tmp_path / "n", {"andon:0.1.0": build(tmp_path / "image")}) as namespace:
        namespace.secrets["andon-clickhouse-migrator"] = {"password": "x"}
        with pytest.raises(AssertionError, match=r"names [\w.-]+\.svc, which is not here"):
            namespace.run_job(named(namespace.resources, "Job", "andon-migrate"))
