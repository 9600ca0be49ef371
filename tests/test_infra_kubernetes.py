"""Manifests: valid in three versions of Kubernetes, closed where they must be, and settings that the job accepts."""

import http.client
import json
import os
import re
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import msgspec
import pytest
import yaml

from dataflows.live import check_live
from dataflows.observe import serve
from dataflows.settings import Settings, load_settings
from dataflows.status import split_address
from dataflows.telemetry import Telemetry
from tests.docs_pages import DOCS, page_of
from tests.infra_manifests import (
    KUBERNETES,
    OVERLAYS,
    Resource,
    containers,
    manifests,
    named,
    pod_of,
    pods,
    policy_problems,
    reference_problems,
    secrets_named,
    settings_file,
)
from tests.processes import ROOT

VERSIONS = ("1.35", "1.36", "1.37")
#: Resources of operators, whose schemas no version of Kubernetes has; what they need is asked below.
OF_OPERATORS = {"ServiceMonitor", "PrometheusRule"}
RENDER: dict[str, Any] = runpy.run_path(str(KUBERNETES / "render.py"))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_is_rendered_is_what_the_sources_say(overlay: str) -> None:
    said = (KUBERNETES / "rendered" / f"{overlay}.yaml").read_text().splitlines()[1]
    assert said == f"# sources: {RENDER['digest'](overlay)}", "render again: python infra/kubernetes/render.py"
    assert (KUBERNETES / "base" / "rules.yaml").read_text() == RENDER["operator_rules"]()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kustomize_renders_the_same(overlay: str) -> None:
    kustomize = os.environ.get("KUSTOMIZE") or shutil.which("kustomize")
    if kustomize is None:
        assert "ANDON_TEST_OPS" not in os.environ, "kustomize is missing"
        pytest.skip("kustomize is not installed; `make test-ops` fetches it")
    assert (KUBERNETES / "rendered" / f"{overlay}.yaml").read_text() == RENDER["rendered"](overlay, kustomize)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_manifests_are_valid(overlay: str, version: str) -> None:
    for resource in manifests(overlay):
        if resource["kind"] not in OF_OPERATORS:
            assert kubernetes_validate.validate(resource, version, strict=True) == version


@pytest.mark.parametrize("version", VERSIONS)
def test_a_field_that_does_not_exist_is_not_valid(version: str) -> None:
    broken = named(manifests("dev"), "StatefulSet")
    broken["spec"]["template"]["spec"]["terminationGracePeriod"] = 5
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, version, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_are_closed_and_what_they_name_is_there(overlay: str) -> None:
    assert policy_problems(manifests(overlay)) == []
    assert reference_problems(manifests(overlay)) == []


def spec(resources: list[Resource], kind: str = "StatefulSet", name: str = "andon") -> Resource:
    template = pod_of(named(resources, kind, name))
    assert template is not None
    made: Resource = template["spec"]
    return made


def container(resources: list[Resource]) -> Resource:
    first: Resource = spec(resources)["containers"][0]
    return first


def test_an_own_authority_is_named_to_every_container_that_speaks_to_the_database() -> None:
    page = page_of(DOCS / "security.md", (DOCS / "security.md").read_text(encoding="utf-8"))
    (block,) = [block for block in page.blocks if block.language == "yaml"]
    patches = [yaml.safe_load(one["patch"]) for one in yaml.safe_load(block.text)["patches"]]
    told = {(where, one["name"], *map(str, one["env"])) for where, _, pod in pods(patches) for one in every(pod)}
    authority = str({"name": "SSL_CERT_FILE", "value": "/run/secrets/andon/authorities.pem"})
    read = pods(manifests("production"))
    asking = {(where, one["name"]) for where, _, pod in read for one in every(pod) if "--config" in one["args"]}
    assert told == {(*one, authority) for one in asking}


def test_the_migrations_job_is_deleted_before_manifests_are_applied_again() -> None:
    """Its template names the settings by their digest, and the API refuses to change a Job's template."""
    resources = manifests("production")
    named_settings = named(resources, "ConfigMap", "andon-settings")["metadata"]["name"]
    assert named_settings in str(pod_of(named(resources, "Job", "andon-migrate")))
    page = page_of(DOCS / "deploying.md", (DOCS / "deploying.md").read_text(encoding="utf-8"))
    applying = [block.text for block in page.blocks if "kubectl apply -k" in block.text]
    assert len(applying) > 2
    assert [one for one in applying if "delete job andon-migrate" not in one.partition("kubectl apply -k")[0]] == []


def every(pod: Resource) -> list[Resource]:
    return [one for one, _ in containers(pod["spec"])]


OPENED: dict[str, tuple[Callable[[list[Resource]], object], str]] = {
    "root": (lambda all_: spec(all_)["securityContext"].pop("runAsNonRoot"), "may run as root"),
    "uid 0": (lambda all_: spec(all_)["securityContext"].update(runAsUser=0), "may run as root"),
    "seccomp": (lambda all_: spec(all_)["securityContext"].pop("seccompProfile"), "no seccomp profile"),
    "links": (lambda all_: spec(all_).pop("enableServiceLinks"), "variables ANDON_"),
    "token": (lambda all_: spec(all_).update(automountServiceAccountToken=True), "token that it does not need"),
    "host": (lambda all_: spec(all_).update(hostNetwork=True), "hostNetwork"),
    "path": (lambda all_: spec(all_)["volumes"].append({"name": "h", "hostPath": {"path": "/"}}), "is the host's"),
    "disk": (lambda all_: spec(all_)["volumes"].append({"name": "e", "emptyDir": {}}), "has no limit"),
    "gain": (lambda all_: container(all_)["securityContext"].pop("allowPrivilegeEscalation"), "may gain rights"),
    "write": (lambda all_: container(all_)["securityContext"].update(readOnlyRootFilesystem=False), "may write"),
    "caps": (lambda all_: container(all_)["securityContext"].pop("capabilities"), "keeps capabilities"),
    "limits": (lambda all_: container(all_)["resources"]["limits"].pop("memory"), "no limits of memory"),
    "requests": (lambda all_: container(all_)["resources"].pop("requests"), "no requests of cpu and memory"),
    "latest": (lambda all_: container(all_).update(image="andon:latest"), "image of no version"),
    "untagged": (lambda all_: container(all_).update(image="a:5000/andon"), "image of no version"),
    "probe": (lambda all_: container(all_).pop("livenessProbe"), "has no livenessProbe"),
    "environment": (
        lambda all_: container(all_)["env"].append({"name": "P", "valueFrom": {"secretKeyRef": {}}}),
        "secret in its environment",
    ),
    "secret": (lambda all_: all_.append({"kind": "Secret", "metadata": {"name": "s"}}), "a secret's value"),
    "init": (lambda all_: spec(all_)["initContainers"][0].pop("securityContext"), "parts keeps capabilities"),
    "config map": (lambda all_: all_.remove(named(all_, "ConfigMap", "andon-processes")), "no ConfigMap"),
    "account": (lambda all_: all_.remove(named(all_, "ServiceAccount")), "no ServiceAccount"),
    "claim": (lambda all_: all_.remove(named(all_, "PersistentVolumeClaim", "andon-outbox")), "no PersistentVolume"),
    "volume": (lambda all_: spec(all_)["volumes"].pop(), "no volume tmp"),
    "port": (lambda all_: container(all_)["ports"].pop(0), "no port metrics"),
    "labels": (
        lambda all_: named(all_, "StatefulSet")["spec"]["template"]["metadata"]["labels"].clear(),
        "selects other pods",
    ),
    "service": (lambda all_: named(all_, "Service", "andon-peers")["spec"]["selector"].update(a="b"), "selects no pod"),
}


@pytest.mark.parametrize("what", OPENED)
def test_what_is_opened_or_broken_is_found(what: str) -> None:
    resources = manifests("production")
    breaking, words = OPENED[what]
    breaking(resources)
    assert any(words in problem for problem in policy_problems(resources) + reference_problems(resources))


def settings_of(overlay: str, folder: Path, process: int = 0) -> Settings:
    """What a pod of the job reads: its file, and its environment over it."""
    resources = manifests(overlay)
    told = named(resources, "ConfigMap", "andon-processes")["data"]
    environment = {name: value for name, value in told.items() if name.startswith("ANDON_")}
    return load_settings(str(settings_file(resources, folder)), environment | {"ANDON_ENGINE_PROCESS": str(process)})


def with_secrets(settings: Settings, folder: Path) -> Settings:
    """The settings with files that are here in place of those of secrets."""
    password = folder / "password"
    password.write_text("secret\n")
    client = {
        name: str(password) if name.endswith(".file") else value
        for name, value in settings.kafka.client.items()
        if name != "ssl.ca.location"  # the client library reads it
    }
    return msgspec.structs.replace(settings, kafka=msgspec.structs.replace(settings.kafka, client=client))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_job_accepts_its_settings_in_every_pod(overlay: str, tmp_path: Path) -> None:
    resources = manifests(overlay)
    replicas = named(resources, "StatefulSet")["spec"]["replicas"]
    namespace = named(resources, "StatefulSet")["metadata"]["namespace"]
    service = named(resources, "StatefulSet")["spec"]["serviceName"]
    assert named(resources, "Service", service)["spec"]["publishNotReadyAddresses"] is True
    ports = {port["name"]: port["containerPort"] for port in container(resources)["ports"]}
    for number in range(replicas):
        settings = settings_of(overlay, tmp_path, number)
        expected = [f"andon-{one}.{service}.{namespace}.svc.cluster.local:{ports['peers']}" for one in range(replicas)]
        assert settings.engine.processes == expected
        assert split_address(settings.observe.listen)[1] == ports["metrics"]
        check_live(with_secrets(settings, tmp_path), overlay)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_stop_has_its_time_and_state_its_volumes(overlay: str, tmp_path: Path) -> None:
    resources = manifests(overlay)
    settings = settings_of(overlay, tmp_path)
    pod = spec(resources)
    assert (
        pod["terminationGracePeriodSeconds"] >= settings.engine.stop_within.seconds + settings.engine.epoch.seconds + 5
    )
    deliver = spec(resources, "Deployment", "andon-deliver")
    assert deliver["terminationGracePeriodSeconds"] >= settings.delivery.stop_within.seconds + 5
    for one, _ in containers(pod):
        mounts = {mount["mountPath"]: mount["name"] for mount in one["volumeMounts"]}
        assert mounts[settings.engine.recovery] == "recovery"
    (claim,) = named(resources, "StatefulSet")["spec"]["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == "recovery"
    mounts = {mount["mountPath"]: mount["name"] for mount in deliver["containers"][0]["volumeMounts"]}
    assert mounts[str(Path(settings.delivery.outbox).parent)] == "outbox"
    assert named(resources, "Deployment", "andon-deliver")["spec"]["replicas"] == 1


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_is_restarted_for_what_a_restart_does_not_mend(overlay: str) -> None:
    """Input that is bad, a broker or a database that is away: a job is not ready then, but alive and started."""
    telemetry = Telemetry()
    telemetry.condition("resumed", ok=True)
    telemetry.dead_letter_window(100, 50)
    probes = {name: probe["httpGet"] for name, probe in container(manifests(overlay)).items() if name.endswith("Probe")}
    with serve(telemetry, "127.0.0.1:0", 60) as server:
        codes = {}
        for name, asked in probes.items():
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
            connection.request("GET", asked["path"])
            codes[name] = connection.getresponse().status
            connection.close()
    assert codes == {"startupProbe": 200, "readinessProbe": 503, "livenessProbe": 200}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_secrets_that_settings_name_are_mounted_and_documented(overlay: str, tmp_path: Path) -> None:
    resources = manifests(overlay)
    settings = settings_of(overlay, tmp_path)
    files = {
        f"{mount['mountPath']}/{item['path']}"
        for mount in container(resources)["volumeMounts"]
        for volume in spec(resources)["volumes"]
        if volume["name"] == mount["name"]
        for source in volume.get("projected", {}).get("sources", [])
        for item in source["secret"]["items"]
    }
    named_files = {str(settings.clickhouse.password_file)}
    named_files |= {value for value in settings.kafka.client.values() if isinstance(value, str) and value[0] == "/"}
    assert named_files <= files
    page = (ROOT / "docs" / "deploying.md").read_text()
    for secret, key in secrets_named(resources):
        assert f"| `{secret}` |" in page, secret
        assert key == "*" or f"`{key}`" in page, key


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_stop_and_start_together_and_begin_with_what_they_are(overlay: str) -> None:
    resources = manifests(overlay)
    job = named(resources, "StatefulSet")["spec"]
    assert (job["podManagementPolicy"], job["updateStrategy"]["type"]) == ("Parallel", "OnDelete")
    assert set(job["persistentVolumeClaimRetentionPolicy"].values()) == {"Retain"}
    first = int(named(resources, "ConfigMap", "andon-processes")["data"]["STATE_FIRST_PODS"])
    assert first == job["replicas"], "as shipped; after a rescale it stays what it was"
    images = {one["image"] for _, _, template in pods(resources) for one, _ in containers(template["spec"])}
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert images == {f"andon:{version.group(1)}"}
    assert named(resources, "CronJob", "andon-backup")["spec"]["suspend"] is (overlay == "dev")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_is_under_a_policy_that_denies_by_default(overlay: str) -> None:
    resources = manifests(overlay)
    default = named(resources, "NetworkPolicy", "andon-default")["spec"]
    assert default["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in default
    assert {port["port"] for rule in default["egress"] for port in rule["ports"]} == {53}
    for _, _, template in pods(resources):
        assert default["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_monitor_finds_the_service(overlay: str) -> None:
    resources = manifests(overlay)
    monitor = named(resources, "ServiceMonitor")["spec"]
    service = named(resources, "Service", "andon-peers")
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["endpoints"]
    assert (endpoint["path"], endpoint["port"]) == ("/metrics", "metrics")
    assert "metrics" in {port["name"] for port in service["spec"]["ports"]}
    rules = yaml.safe_load((ROOT / "infra" / "prometheus" / "andon.rules.yaml").read_text())
    assert named(resources, "PrometheusRule")["spec"] == rules


def test_the_backup_may_do_what_it_does_and_nothing_else() -> None:
    role = named(manifests("production"), "Role", "andon-backup")
    rights = {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    snapshots = {("snapshot.storage.k8s.io", "volumesnapshots", verb) for verb in ("create", "get", "list", "delete")}
    job = {("apps", "statefulsets", "get"), ("apps", "statefulsets", "patch")}
    looks = {("", "pods", "list"), ("", "persistentvolumeclaims", "list")}
    assert rights == snapshots | job | looks
    assert json.dumps(role["rules"][0]["resourceNames"]) == '["andon"]'


def test_the_example_of_dealing_is_valid_and_deals_the_claims_of_the_job() -> None:
    text = (KUBERNETES / "rescale" / "deal.yaml").read_text()
    resources: list[Resource] = list(yaml.safe_load_all(text))
    for version in VERSIONS:
        for resource in resources:
            kubernetes_validate.validate(resource, version, strict=True)
    assert policy_problems(resources) == []
    pod = spec(resources, "Job", "andon-deal")
    *_, option, to = pod["containers"][0]["args"][:2]
    directories = pod["containers"][0]["args"][2:]
    assert option == "--to"
    assert int(to) == len(directories)
    claims = {volume["name"]: volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"]}
    mounts = {mount["mountPath"]: claims[mount["name"]] for mount in pod["containers"][0]["volumeMounts"]}
    assert [mounts[directory] for directory in directories] == [
        f"recovery-andon-{number}" for number in range(len(directories))
    ]
    job = named(manifests("production"), "StatefulSet")["spec"]
    assert {one["subPath"] for one in pod["containers"][0]["volumeMounts"]} == {
        one["subPath"] for one in container(manifests("production"))["volumeMounts"] if one["name"] == "recovery"
    }
    (template,) = job["volumeClaimTemplates"]
    made = [one for one in resources if one["kind"] == "PersistentVolumeClaim"]
    assert [one["metadata"]["name"] for one in made] == ["recovery-andon-4", "recovery-andon-5"]
    assert all(one["spec"] == template["spec"] for one in made)


def test_the_example_of_restoring_makes_the_claims_of_the_job_from_one_backup() -> None:
    claims: list[Resource] = list(yaml.safe_load_all((KUBERNETES / "restore" / "claims.yaml").read_text()))
    job = named(manifests("production"), "StatefulSet")["spec"]
    (template,) = job["volumeClaimTemplates"]
    assert [one["metadata"]["name"] for one in claims] == [
        f"recovery-andon-{number}" for number in range(job["replicas"])
    ]
    for one in claims:
        for version in VERSIONS:
            kubernetes_validate.validate(one, version, strict=True)
        source = one["spec"].pop("dataSource")
        assert source["name"] == f"{one['metadata']['name']}-20260302t031700z", "as infra/container/back_up.py names it"
        assert one["spec"] == template["spec"]
        assert one["metadata"]["labels"] == template["metadata"]["labels"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_of_the_job_are_kept_apart_and_taken_one_at_a_time(overlay: str) -> None:
    resources = manifests(overlay)
    apart = spec(resources)["affinity"]["podAntiAffinity"]
    required = apart.get("requiredDuringSchedulingIgnoredDuringExecution", [])
    preferred = [one["podAffinityTerm"] for one in apart["preferredDuringSchedulingIgnoredDuringExecution"]]
    (term,) = required if overlay == "production" else preferred
    labels = named(resources, "StatefulSet")["spec"]["template"]["metadata"]["labels"]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    assert term["labelSelector"]["matchLabels"].items() <= labels.items()
    budget = named(resources, "PodDisruptionBudget", "andon")["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"]["matchLabels"] == named(resources, "StatefulSet")["spec"]["selector"]["matchLabels"]
