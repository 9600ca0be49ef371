"""A namespace without a cluster: the StatefulSet and the Jobs of the manifests as written, their pods real processes.

It reads infra/kubernetes/rendered, lets a test change values as an overlay would (`configure`), and does what the
controllers do: as many pods as replicas, all at once, each with the claims of its number; a pod that is deleted comes
again from the template as it stands then. Each pod has a loopback address of its own. Services, accounts, policies and
monitoring are not made; that the pods' names are a headless Service's that publishes them unready is checked.
"""

import copy
import random
import shutil
import socket
import threading
import time
import tomllib
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

import msgspec

from tests.infra_manifests import Resource, manifests, named
from tests.infra_stateful_set_image import Image
from tests.infra_stateful_set_pod import Pod, Surroundings
from tests.infra_stateful_set_spec import JobSpec, SetSpec, Template

#: So many pods of the StatefulSet have addresses, and so many of Jobs.
MOST_PODS, _MOST_JOBS = 6, 2
_INDEX = "apps.kubernetes.io/pod-index"
_LOOK_S = 0.05


class Namespace:
    """The resources of an overlay, brought to life in `folder`; a context manager that ends all processes.

    `images` are what its containers name, by that name; `pace` is what a second of probes and back-off becomes.
    """

    def __init__(self, overlay: str, folder: Path, images: dict[str, Image], *, pace: float = 0.1) -> None:
        self.folder, self.images, self.pace = folder, images, pace
        self.resources = manifests(overlay)
        self.name: str = named(self.resources, "StatefulSet")["metadata"]["namespace"]
        self.secrets: dict[str, dict[str, str]] = {}
        self.claims: dict[str, Path] = {}
        self.pods: dict[str, Pod] = {}
        self.past: list[Pod] = []
        self._job_limits: dict[str, int] = {}
        self.lock = threading.RLock()
        self._address = _free_addresses(self._ports())
        self._over = threading.Event()
        self._started = False
        self._controller = threading.Thread(target=self._control, name="controller", daemon=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failed: object) -> None:
        self._over.set()
        if self._started:
            self._controller.join(30)
        for pod in (*self.pods.values(), *self.past):
            pod.close()

    # --- what an overlay would say -----------------------------------------------------------------------------------

    def config(self, name: str) -> dict[str, str]:
        """A config map's data, by its name without or with its digest; the caller's to change."""
        data: dict[str, str] = named(self.resources, "ConfigMap", name)["data"]
        return data

    def configure(self, replicas: int, settings: Callable[[dict[str, Any]], None], **processes: str) -> None:
        """Other values, as an overlay of one's own has them: pods, keys of `andon.toml`, of `andon-processes`."""
        document = tomllib.loads(self.config("andon-settings")["andon.toml"])
        settings(document)
        self.config("andon-settings")["andon.toml"] = _toml(document)
        self.stateful_set["spec"]["replicas"] = replicas
        told = self.config("andon-processes")
        told["ANDON_ENGINE_PROCESSES"] = msgspec.json.encode(self.addresses(replicas)).decode()
        told |= {"STATE_FIRST_PODS": str(replicas)} | processes

    def addresses(self, count: int) -> list[str]:
        """What `engine.processes` says for so many pods, in the cluster's names."""
        port = next(one["port"] for one in self._service()["spec"]["ports"] if one["name"] == "peers")
        return [f"{self._host(number)}:{port}" for number in range(count)]

    # --- what is there -----------------------------------------------------------------------------------------------

    @property
    def stateful_set(self) -> Resource:
        return named(self.resources, "StatefulSet")

    @property
    def set_spec(self) -> SetSpec:
        return msgspec.convert(self.stateful_set["spec"], SetSpec)

    def pod_address(self, number: int) -> str:
        return f"127.0.0.{self._address + number}"

    def ready(self) -> int:
        with self.lock:
            return sum(pod.ready for pod in self.pods_of_set())

    def pods_of_set(self) -> list[Pod]:
        wanted = self.set_spec.selector.match_labels.items()
        with self.lock:
            return [pod for pod in self.pods.values() if wanted <= pod.around.labels.items()]

    def all_ready(self) -> bool:
        """Whether as many pods as are wanted are there and ready, and no other."""
        with self.lock:
            return self.ready() == len(self.pods_of_set()) == self.set_spec.replicas

    # --- what the controllers do -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Bring the StatefulSet to life."""
        self._started = True
        self._controller.start()

    def delete_pod(self, name: str) -> Pod:
        """Delete a pod; it comes again where the StatefulSet wants it. Returns at once."""
        with self.lock:
            pod = self.pods[name]
        pod.stop()
        return pod

    def run_job(self, resource: Resource) -> Pod:
        """Start a Job's pod."""
        spec = msgspec.convert(resource["spec"], JobSpec)
        assert spec.template.spec.restart_policy != "Always", "a Job's pods end"
        with self.lock:
            name = resource["metadata"]["name"]
            taken = {pod.around.address for pod in self.pods.values()}
            numbers = range(MOST_PODS, MOST_PODS + _MOST_JOBS)
            address = next(one for one in map(self.pod_address, numbers) if one not in taken)
            assert f"{name}-0" not in self.pods, f"job {name} is there, and a Job can't be changed"
            self._job_limits[name] = spec.backoff_limit
            self.pods[f"{name}-0"] = self._pod(f"{name}-0", spec.template, address, {}, {})
            return self.pods[f"{name}-0"]

    def job_limit(self, name: str) -> int:
        """How often a Job's pod may fail before the Job has failed."""
        return self._job_limits[name]

    def delete_job(self, name: str) -> None:
        """Delete a Job and its pod, where there is one; returns when it is gone."""
        with self.lock:
            pod = self.pods.get(f"{name}-0")
        if pod is not None:
            pod.stop()
            pod.wait_gone(60)
            with self.lock:
                self.past.append(self.pods.pop(f"{name}-0"))

    def make_claim(self, name: str) -> None:
        """A volume, empty where it is new; volumes stay when pods and sets go."""
        with self.lock:
            self.claims.setdefault(name, self.folder / "claims" / name).mkdir(parents=True, exist_ok=True)

    def delete_claims(self) -> None:
        """Delete the volumes of the StatefulSet's pods, none of which may be there."""
        with self.lock:
            assert not self.pods_of_set(), "a claim in use is not deleted"
            for path in self.claims.values():
                shutil.rmtree(path)
            self.claims.clear()

    def _control(self) -> None:
        while not self._over.wait(_LOOK_S):
            with self.lock:
                self._reconcile()

    def _reconcile(self) -> None:
        spec = self.set_spec
        assert spec.replicas <= MOST_PODS, f"{spec.replicas} pods are more than there are addresses for"
        name = self.stateful_set["metadata"]["name"]
        wanted = [f"{name}-{number}" for number in range(spec.replicas)]
        for pod in self.pods_of_set():
            if pod.around.name not in wanted and not pod.stopping:
                pod.stop()
            if pod.gone and pod.stopping:
                self.past.append(self.pods.pop(pod.around.name))
        for number, pod_name in enumerate(wanted):
            if pod_name not in self.pods:
                labels = {"statefulset.kubernetes.io/pod-name": pod_name, _INDEX: str(number)}
                claims = {}
                for template in spec.volume_claim_templates:
                    claim = f"{template.metadata.name}-{pod_name}"
                    self.make_claim(claim)
                    claims[template.metadata.name] = self.claims[claim]
                address = self.pod_address(number)
                self.pods[pod_name] = self._pod(pod_name, spec.template, address, labels, claims)

    def _pod(self, name: str, template: Template, address: str, labels: dict[str, str], claims: dict[str, Path]) -> Pod:
        folder = self.folder / "pods" / name
        folder.mkdir(parents=True, exist_ok=True)
        (image,) = {one.image for one in (*template.spec.init_containers, *template.spec.containers)}
        around = Surroundings(
            name=name,
            namespace=self.name,
            labels=template.metadata.labels | labels,
            address=address,
            folder=folder,
            image=self.images[image],
            hosts={self._host(number): self.pod_address(number) for number in range(MOST_PODS)},
            claims=self.claims | claims,
            config=lambda wanted: copy.deepcopy(self.config(wanted)),
            secrets=self.secrets,
            pace=self.pace,
        )
        return Pod(template.spec, around)

    def _service(self) -> Resource:
        service = named(self.resources, "Service", self.set_spec.service_name)
        spec = service["spec"]
        assert spec["clusterIP"] == "None", "pods have names of their own only under a headless service"
        assert spec["publishNotReadyAddresses"] is True, "pods could not find each other before they are ready"
        assert spec["selector"].items() <= self.set_spec.template.metadata.labels.items(), "it selects other pods"
        return service

    def _host(self, number: int) -> str:
        service = self._service()["metadata"]["name"]
        return f"{self.stateful_set['metadata']['name']}-{number}.{service}.{self.name}.svc.cluster.local"

    def _ports(self) -> list[int]:
        return [port.container_port for one in self.set_spec.template.spec.containers for port in one.ports]


def _free_addresses(ports: list[int]) -> int:
    """Where a row of loopback addresses begins, 127.0.0.x, on which nobody listens at these ports."""
    row = MOST_PODS + _MOST_JOBS
    for _ in range(200):
        first = random.randrange(16, 250 - row)
        with ExitStack() as tried, suppress(OSError):
            for number in range(first, first + row):
                for port in ports:
                    one = tried.enter_context(socket.socket())
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    one.bind((f"127.0.0.{number}", port))
            return first
    raise AssertionError(f"no free row of loopback addresses for ports {ports}")


def _toml(document: dict[str, Any]) -> str:
    """Sections of plain values, as settings have them."""
    lines = []
    for name, section in document.items():
        assert isinstance(section, dict), f"{name} is no section"
        lines.append(f"[{name}]")
        lines += [f'"{key}" = {msgspec.json.encode(value).decode()}' for key, value in section.items()]
    return "\n".join(lines) + "\n"


def wait(condition: Callable[[], bool], what: str, deadline_s: float = 90.0, every_s: float = _LOOK_S) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"waited {deadline_s} s for {what}"
        time.sleep(every_s)
