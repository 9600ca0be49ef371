"""The rendered Kubernetes manifests as objects, and what they must keep to: each rule gives its problems as words."""

import copy
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from tests.processes import ROOT

KUBERNETES = ROOT / "infra" / "kubernetes"
OVERLAYS = ("dev", "production")
Resource: TypeAlias = dict[str, Any]

_ASKS_THE_API = "andon-backup"
_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def manifests(overlay: str) -> list[Resource]:
    """All resources of an overlay, the caller's to change."""
    return copy.deepcopy(_read(overlay))


@cache
def _read(overlay: str) -> list[Resource]:
    text = (KUBERNETES / "rendered" / f"{overlay}.yaml").read_text()
    return [one for one in yaml.safe_load_all(text) if one is not None]


def named(resources: list[Resource], kind: str, name: str = "andon") -> Resource:
    """The one of that kind whose name is that, or begins with it where a digest follows."""
    found = [
        one
        for one in resources
        if one["kind"] == kind
        and (
            one["metadata"]["name"] == name or (kind == "ConfigMap" and one["metadata"]["name"].startswith(f"{name}-"))
        )
    ]
    assert len(found) == 1, f"{len(found)} of {kind} {name}"
    return found[0]


def pod_of(resource: Resource) -> Resource | None:
    """The pods that a resource makes: `{metadata, spec}`."""
    template: Resource | None
    match resource["kind"]:
        case "StatefulSet" | "Deployment" | "Job" | "DaemonSet":
            template = resource["spec"]["template"]
        case "CronJob":
            template = resource["spec"]["jobTemplate"]["spec"]["template"]
        case "Pod":
            template = resource
        case _:
            template = None
    return template


def pods(resources: list[Resource]) -> Iterator[tuple[str, Resource, Resource]]:
    """Each pod with the words that name it: words, what makes it, its template."""
    for resource in resources:
        template = pod_of(resource)
        if template is not None:
            yield f"{resource['kind']} {resource['metadata']['name']}", resource, template


def containers(spec: Resource) -> Iterator[tuple[Resource, bool]]:
    """Each container and whether it runs for good."""
    for one in spec.get("initContainers", []):
        yield one, one.get("restartPolicy") == "Always"
    for one in spec["containers"]:
        yield one, True


def policy_problems(resources: list[Resource]) -> list[str]:
    """What is open that must be closed: rights, limits, images, secrets."""
    found = []
    for where, resource, template in pods(resources):
        found += [f"{where}: {words}" for words in _pod_problems(resource["kind"], template["spec"])]
    found += [
        f"{one['metadata']['name']}: a secret's value is in the manifests"
        for one in resources
        if one["kind"] == "Secret"
    ]
    return found


def _pod_problems(kind: str, spec: Resource) -> Iterator[str]:
    context = spec.get("securityContext", {})
    if context.get("runAsNonRoot") is not True or context.get("runAsUser", 0) < 10_000:
        yield "may run as root"
    if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "has no seccomp profile"
    if spec.get("enableServiceLinks") is not False:
        yield "gets variables ANDON_… for services, which would be refused as settings"
    asks = spec.get("serviceAccountName") == _ASKS_THE_API
    if spec.get("automountServiceAccountToken") is not asks:
        yield "has a token that it does not need, or none that it needs"
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(key):
            yield f"has {key}"
    volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
    for volume in volumes.values():
        if "hostPath" in volume:
            yield f"volume {volume['name']} is the host's"
        if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
            yield f"volume {volume['name']} has no limit"
    for container, lasting in containers(spec):
        probes = lasting and kind in {"StatefulSet", "Deployment", "DaemonSet"}
        yield from (f"{container['name']} {words}" for words in _container_problems(container, probes=probes))


def _container_problems(container: Resource, *, probes: bool) -> Iterator[str]:
    context = container.get("securityContext", {})
    if context.get("allowPrivilegeEscalation") is not False or context.get("privileged"):
        yield "may gain rights"
    if context.get("readOnlyRootFilesystem") is not True:
        yield "may write to its root file system"
    if context.get("capabilities", {}) != {"drop": ["ALL"]}:
        yield "keeps capabilities"
    for kind in ("requests", "limits"):
        missing = {"cpu", "memory"} - set(container.get("resources", {}).get(kind, {}))
        if missing:
            yield f"has no {kind} of {' and '.join(sorted(missing))}"
    _, _, tag = container["image"].rpartition("/")[2].partition(":")
    if not tag or tag == "latest":
        yield f"has an image of no version ({container['image']})"
    if probes:
        yield from (f"has no {probe}" for probe in _PROBES if probe not in container)
    for variable in container.get("env", []):
        if "secretKeyRef" in variable.get("valueFrom", {}):
            yield f"has a secret in its environment ({variable['name']})"
    if any("secretRef" in one for one in container.get("envFrom", [])):
        yield "has secrets in its environment"


def reference_problems(resources: list[Resource]) -> list[str]:
    """What is named and is not there: config maps, claims, accounts, volumes, ports, and labels that select nothing."""
    found = []
    there = {(one["kind"], one["metadata"]["name"]) for one in resources}
    for where, resource, template in pods(resources):
        spec = template["spec"]
        claimed = [one["metadata"]["name"] for one in resource["spec"].get("volumeClaimTemplates", [])]
        volumes = {volume["name"] for volume in spec.get("volumes", [])} | set(claimed)
        wanted = [("ServiceAccount", spec["serviceAccountName"])]
        wanted += [("ConfigMap", one["configMap"]["name"]) for one in spec.get("volumes", []) if "configMap" in one]
        wanted += [
            ("PersistentVolumeClaim", one["persistentVolumeClaim"]["claimName"])
            for one in spec.get("volumes", [])
            if "persistentVolumeClaim" in one
        ]
        for container, _ in containers(spec):
            wanted += [("ConfigMap", one["configMapRef"]["name"]) for one in container.get("envFrom", [])]
            mounted = {one["name"] for one in container.get("volumeMounts", [])}
            found += [f"{where}: no volume {name}" for name in sorted(mounted - volumes)]
            ports = {one["name"] for one in container.get("ports", [])}
            asked = {container[probe]["httpGet"]["port"] for probe in _PROBES if "httpGet" in container.get(probe, {})}
            found += [f"{where}: no port {port}" for port in sorted(asked - ports)]
        found += [f"{where}: no {kind} {name}" for kind, name in wanted if (kind, name) not in there]
        labels = template["metadata"]["labels"]
        selector = resource["spec"].get("selector")
        if selector is not None and not selector["matchLabels"].items() <= labels.items():
            found.append(f"{where}: selects other pods than it makes")
    templates = [template["metadata"]["labels"] for _, _, template in pods(resources)]
    for one in resources:
        wanted_labels = _selected(one)
        if wanted_labels and not any(wanted_labels.items() <= labels.items() for labels in templates):
            found.append(f"{one['kind']} {one['metadata']['name']}: selects no pod")
    return found


def _selected(resource: Resource) -> dict[str, str]:
    labels: dict[str, str] = {}
    match resource["kind"]:
        case "Service":
            labels = resource["spec"]["selector"]
        case "PodDisruptionBudget":
            labels = resource["spec"]["selector"]["matchLabels"]
        case "NetworkPolicy":
            labels = resource["spec"]["podSelector"].get("matchLabels", {})
    return labels


def secrets_named(resources: list[Resource]) -> set[tuple[str, str]]:
    """Each secret and key that pods mount; key `*` where all of it is."""
    found = set()
    for _, _, template in pods(resources):
        for volume in template["spec"].get("volumes", []):
            if "secret" in volume:
                found.add((volume["secret"]["secretName"], "*"))
            for source in volume.get("projected", {}).get("sources", []):
                secret = source["secret"]
                found |= {(secret["name"], item["key"]) for item in secret["items"]}
    return found


def settings_file(resources: list[Resource], folder: Path) -> Path:
    """The job's settings as its pods find them."""
    path = folder / "andon.toml"
    path.write_text(named(resources, "ConfigMap", "andon-settings")["data"]["andon.toml"])
    return path
