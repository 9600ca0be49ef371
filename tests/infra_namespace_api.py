"""A backup's calls of the Kubernetes API over a `Namespace`, whose pods are real: a snapshot copies a volume."""

import shutil
from pathlib import Path
from typing import Any

from tests.infra_kubernetes_api import KubernetesApi
from tests.infra_manifests import Resource
from tests.infra_stateful_set import Namespace


class NamespaceApi(KubernetesApi):
    """Told to stop or start, it tells the StatefulSet; a context manager.

    `folder` gets the token that a pod would find, and the snapshots.
    """

    def __init__(self, folder: Path, namespace: Namespace) -> None:
        self.namespace = namespace
        self._stored = folder / "snapshots"
        self._stored.mkdir(parents=True)
        super().__init__(folder, namespace.set_spec.replicas)

    @property
    def replicas(self) -> int:
        return self.namespace.set_spec.replicas

    @replicas.setter
    def replicas(self, wanted: int) -> None:
        with self.namespace.lock:
            self.namespace.stateful_set["spec"]["replicas"] = wanted

    @property
    def pods(self) -> int:
        return len(self.namespace.pods_of_set())

    def _snapshot(self, method: str, name: list[str], query: dict[str, str], body: dict[str, Any]) -> tuple[int, Any]:
        code, answer = super()._snapshot(method, name, query, body)
        if code == 201:
            claim = self.namespace.claims[body["spec"]["source"]["persistentVolumeClaimName"]]
            shutil.copytree(claim, self._stored / body["metadata"]["name"])
        return code, answer

    def make_claim(self, resource: Resource) -> None:
        """A claim as its manifest says: with what its snapshot has."""
        source, name = resource["spec"]["dataSource"], resource["metadata"]["name"]
        assert (source["apiGroup"], source["kind"]) == ("snapshot.storage.k8s.io", "VolumeSnapshot")
        assert source["name"] in self.snapshots, f"no snapshot {source['name']}"
        assert name not in self.namespace.claims, f"{name} is there, and a claim's source can't be changed"
        self.namespace.make_claim(name)
        shutil.copytree(self._stored / source["name"], self.namespace.claims[name], dirs_exist_ok=True)
