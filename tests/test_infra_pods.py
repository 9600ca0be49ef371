"""The StatefulSet as written, its pods real processes, under load: what happens to them changes no row.

Each test has a log that is written while pods are restarted, killed, rescaled or replaced by another version; in the
end every view is that of a job in one process to which nothing happened.
"""

import re
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from dataflows.recovery import Share, Whole, parts_in, read_part, whole_of
from scenarios.simulate import demo_settings, simulate
from schemas.events import BUSINESS_TOPICS
from tests.clickhouse_front import ClickHouseFront
from tests.infra_kubectl import KubectlFront
from tests.infra_kubernetes_api import stamps
from tests.infra_load import Load
from tests.infra_manifests import KUBERNETES, named
from tests.infra_namespace_api import NamespaceApi
from tests.infra_stateful_set import Namespace, wait
from tests.infra_stateful_set_image import Image, build
from tests.kafka_broker import Broker
from tests.kafka_job import PATIENT, SELDOM_S, Job, Log, whole_views
from tests.processes import PEER_GONE, andon, environment

PASSWORD = "secret"  # noqa: S105 - of a database that a test made
IMAGE, NEXT_IMAGE = "andon:0.1.0", "andon:0.2.0"
#: What an overlay of one's own would say: few lanes, short epochs; times pass with the log only.
ENGINE = {"lanes": 4, "case_groups": 8, "item_groups": 8, "site_groups": 4, "epoch": "500ms"}
SHARE_PER_S = 0.004
READY_S = 150.0


def another_state(packages: Path) -> None:
    """What the next version has changed: it keeps the state of handoffs otherwise."""
    path = packages / "operators" / "handoffs.py"
    text, changed = re.subn(
        r"^    VERSION = (\d+)$",
        lambda found: f"    VERSION = {int(found[1]) + 1}",
        path.read_text(),
        flags=re.MULTILINE,
    )
    assert changed == 1
    path.write_text(text)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Image]:
    folder = tmp_path_factory.mktemp("images")
    return {IMAGE: build(folder / "old"), NEXT_IMAGE: build(folder / "new", another_state)}


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseFront]:
    with ClickHouseFront(tmp_path_factory.mktemp("clickhouse"), password=PASSWORD) as one:
        yield one


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    events = tmp_path_factory.mktemp("day")
    few = {"stores": 6, "skus": 60, "orders_per_day": 250, "counter_sales_per_day": 400}
    simulate(msgspec.structs.replace(demo_settings(5), **few), events)
    return Log.of_files([events / f"{topic}.jsonl" for topic in BUSINESS_TOPICS], 2)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, front: ClickHouseFront, log: Log) -> dict[str, object]:
    """The views of a run in one process that nothing happened to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "password").write_text(PASSWORD)
    sections: dict[str, dict[str, object]] = {
        "clickhouse": {"password_file": str(folder / "password")},
        "engine": {"stop_within": "25s"},
        "stock": {"currency": "EUR"},
    }
    with Broker() as broker:
        log.produce(broker)
        with Job(folder, broker, front.dsn_of("undisturbed"), **sections) as job:
            job.run_to_end(log)
            found = whole_views(folder)
    assert found["handoffs"][0] > 1_000  # type: ignore[index] # (rows, hash)
    assert found["signals"][0] > 0  # type: ignore[index]
    return found


class Scene:
    """A namespace with the production overlay's job in two pods, its broker, and the log that is being written."""

    def __init__(self, namespace: Namespace, load: Load, kubectl: KubectlFront, folder: Path) -> None:
        self.namespace, self.load, self.kubectl, self.folder = namespace, load, kubectl, folder

    def lag(self) -> list[float]:
        """Of each partition that the pods read, messages that are not released."""
        return self._metric("andon_lag_messages")

    def released(self) -> list[float]:
        """Of each partition, messages that the pods have released since they started."""
        return self._metric("andon_messages_total")

    def epochs(self) -> list[float]:
        """Of each pod, epochs that have ended since it started."""
        return self._metric("andon_epoch_seconds_count")

    def _metric(self, name: str) -> list[float]:
        found = []
        for pod in self.namespace.pods_of_set():
            with urllib.request.urlopen(f"http://{pod.around.address}:9464/metrics", timeout=10) as answer:
                lines = answer.read().decode().splitlines()
            found += [float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name}{{", f"{name} "))]
        return found

    def wait_ready(self, what: str) -> None:
        wait(self.namespace.all_ready, f"pods to be ready {what}", READY_S)

    def rescale(self, to: int, *more: str) -> tuple[int, str]:
        """`andon rescale --to N --apply`: exit code and all that it said."""
        options = ("--kubectl", str(self.kubectl.program), "--namespace", self.namespace.name)
        done = andon("rescale", "--to", str(to), "--apply", *options, *more, cwd=self.folder, check=False)
        return done.returncode, done.stdout + done.stderr

    def stop(self) -> list[int]:
        """Scale to nothing; what the pods ended with."""
        pods = self.namespace.pods_of_set()
        self.namespace.stateful_set["spec"]["replicas"] = 0
        wait(lambda: not self.namespace.pods_of_set(), "pods to go", READY_S)
        return [pod.ended[-1].code for pod in pods]

    def views_at_the_end(self) -> dict[str, object]:
        """The views when everything was read."""
        assert self.load.under_way, "the log was being written all the time"
        self.load.finish()
        partitions = len(self.load.log.messages)
        wait(lambda: len(lag := self.lag()) == partitions and max(lag) <= 1, "the log to be consumed", 300, SELDOM_S)
        assert self.stop() == [0] * 2
        for pod in (*self.namespace.past, *self.namespace.pods.values()):
            assert pod.written_outside() == []
        return whole_views(self.folder)


@contextmanager
def scene(folder: Path, images: dict[str, Image], front: ClickHouseFront, log: Log, name: str) -> Iterator[Scene]:
    with ExitStack() as stack:
        broker = stack.enter_context(Broker())
        namespace = stack.enter_context(Namespace("production", folder / "namespace", images))
        namespace.configure(2, settings_for(broker, front.dsn_of(name)))
        namespace.config("andon-migrator")["ANDON_CLICKHOUSE_DSN"] = front.dsn_of(name)
        namespace.secrets = {
            secret: {"password": PASSWORD} for secret in ("andon-clickhouse", "andon-clickhouse-migrator")
        }
        kubectl = stack.enter_context(KubectlFront(namespace, folder / "kubectl"))
        load = stack.enter_context(Load(log, broker, SHARE_PER_S))
        (folder / "password").write_text(PASSWORD)
        clickhouse = {"dsn": front.dsn_of(name), "password_file": str(folder / "password")}
        lines = [f"{key} = {msgspec.json.encode(value).decode()}" for key, value in clickhouse.items()]
        (folder / "andon.toml").write_text("\n".join(["[clickhouse]", *lines]))
        made = Scene(namespace, load, kubectl, folder)
        namespace.run_job(named(namespace.resources, "Job", "andon-migrate"))
        namespace.start()
        made.wait_ready("at first")
        yield made


def settings_for(broker: Broker, dsn: str) -> Callable[[dict[str, Any]], None]:
    """The production overlay's settings, changed to what is here: a broker and a database without TLS."""

    def change(document: dict[str, Any]) -> None:
        del document["delivery"]  # another pod's
        del document["kafka"]["client"], document["kafka"]["dead_letter_topic"]
        topics = [broker.topic(topic) for topic in BUSINESS_TOPICS]
        document["kafka"] |= {"bootstrap": broker.bootstrap, "topics": topics}
        document["clickhouse"]["dsn"] = dsn
        document["engine"] |= ENGINE
        document |= PATIENT

    return change


def test_restarted_one_after_the_other_and_one_killed(
    tmp_path: Path, images: dict[str, Image], front: ClickHouseFront, log: Log, undisturbed: dict[str, object]
) -> None:
    with scene(tmp_path, images, front, log, "restarted") as job:
        namespace = job.namespace
        for name in ("andon-0", "andon-1"):
            other = next(pod for pod in namespace.pods_of_set() if pod.around.name != name)
            old = namespace.delete_pod(name)
            old.wait_gone(READY_S)
            assert (old.ended[-1].code, old.ended[-1].why) == (0, "stopped"), "at a snapshot"
            wait(lambda one=other: bool(one.restarts), "the other to end, too", READY_S)  # type: ignore[misc]
            wait(lambda one=old: namespace.pods.get(one.around.name) is not one, "another pod", READY_S)  # type: ignore[misc]
            job.wait_ready(f"after {name} was replaced")
            assert job.load.under_way
        killed, other = namespace.pods["andon-1"], namespace.pods["andon-0"]
        restarts, ends = other.restarts, len(other.ended)
        killed.kill()
        wait(lambda: other.restarts > restarts, "the other to end, too", READY_S)
        wait(lambda: killed.ended[-1].code == -9, "the kill to be seen", READY_S)
        assert next(one.code for one in other.ended[ends:] if one.container == "andon") in PEER_GONE
        job.wait_ready("after a kill")
        assert job.views_at_the_end() == undisturbed


def test_rescaled_from_two_to_four_and_back(
    tmp_path: Path, images: dict[str, Image], front: ClickHouseFront, log: Log, undisturbed: dict[str, object]
) -> None:
    with scene(tmp_path, images, front, log, "rescaled") as job:
        for pods in (4, 2):
            code, said = job.rescale(pods)
            assert code == 0, said
            assert len(job.namespace.pods_of_set()) == pods
            assert re.search(rf"resumed: start \d+ of the job, {pods} processes, from epoch", said)
            assert job.load.under_way
        assert {"recovery-andon-2", "recovery-andon-3"} <= set(job.namespace.claims)
        assert job.views_at_the_end() == undisturbed


def test_a_version_that_keeps_state_otherwise(
    tmp_path: Path, images: dict[str, Image], front: ClickHouseFront, log: Log, undisturbed: dict[str, object]
) -> None:
    with scene(tmp_path, images, front, log, "upgraded") as job:
        namespace = job.namespace

        def use(image: str) -> None:
            with namespace.lock:
                for one in ("initContainers", "containers"):
                    namespace.stateful_set["spec"]["template"]["spec"][one][0]["image"] = image

        use(NEXT_IMAGE)
        code, said = job.rescale(2)
        assert code == 1
        assert re.search(r"the pods end again and again.*handoff state of version \d+; this code reads \d+", said)
        use(IMAGE)
        code, said = job.rescale(2)
        assert code == 0, said
        assert "a rescale from 2 pods was begun and not ended" in said
        assert job.load.under_way
        assert job.stop() == [0, 0]
        namespace.delete_claims()
        use(NEXT_IMAGE)
        namespace.config("andon-processes")["STATE_RUN"] = "production-2"
        namespace.stateful_set["spec"]["replicas"] = 2
        job.wait_ready("begun anew with the next version")
        assert job.views_at_the_end() == undisturbed


def backed_up(image: Image, api: NamespaceApi) -> subprocess.CompletedProcess[str]:
    """What the CronJob's container does, with its command and arguments as written, before this API."""
    declared = named(api.namespace.resources, "CronJob", "andon-backup")["spec"]["jobTemplate"]["spec"]["template"]
    (container,) = declared["spec"]["containers"]
    program, script = container["command"]
    command = [str(image.path(f"/opt/andon/bin/{program}")), str(image.path(script)), *container["args"]]
    here = ("--api", api.url, "--credentials", str(api.folder))
    return subprocess.run(
        [*command, *here], env=environment(), capture_output=True, text=True, timeout=600, check=False
    )


def state_of(namespace: Namespace) -> Whole:
    """The state on all volumes, of a job that has stopped."""
    volumes = [claim / "state" for claim in namespace.claims.values()]
    return whole_of([Share(str(one), "", [read_part(path) for path in parts_in(one).values()]) for one in volumes])


def test_a_backup_brings_the_state_back_when_the_volumes_are_lost(
    tmp_path: Path, images: dict[str, Image], front: ClickHouseFront, log: Log, undisturbed: dict[str, object]
) -> None:
    with scene(tmp_path, images, front, log, "restored") as job, NamespaceApi(tmp_path / "api", job.namespace) as api:
        namespace = job.namespace
        done = backed_up(images[IMAGE], api)
        assert done.returncode == 0, done.stderr
        assert "of 2 volumes is made" in done.stdout
        job.wait_ready("after the backup")
        (stamp,) = stamps(api)
        wait(lambda: sum(job.released()) > 0 and min(job.epochs()) >= 3, "what the backup does not have", READY_S)
        for pod in namespace.pods_of_set():
            pod.kill()
        job.stop()
        later = state_of(namespace)
        namespace.delete_claims()
        example = (KUBERNETES / "restore" / "claims.yaml").read_text().replace("20260302t031700z", stamp)
        for claim in list(yaml.safe_load_all(example))[:2]:
            api.make_claim(claim)
        restored = state_of(namespace)
        assert 1 < restored.reached < later.reached, "the state of the backup, not that of the end"
        assert job.load.under_way
        namespace.stateful_set["spec"]["replicas"] = 2
        job.wait_ready("after the restore")
        assert job.views_at_the_end() == undisturbed
        assert state_of(namespace).resumed_at == restored.reached, "it went on from the backup"
