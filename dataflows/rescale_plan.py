"""A rescale as a list of steps: what is done, with which commands, and what is the case where one of them fails.

Pure: from the job as it is to what is to be run. Every step can be run again, and so can all of them.
"""

import json
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from dataflows.placing import EVENLY
from dataflows.recovery import Whole
from dataflows.rescale_cluster import BEGUN, Job, Pod
from dataflows.status import Answer, together
from schemas import metrics

DEAL = "andon-deal"
_SCRIPT = "/opt/andon/lib/andon/recovery_parts.py"
_KEPT_OF_POD = (
    "serviceAccountName",
    "automountServiceAccountToken",
    "enableServiceLinks",
    "imagePullSecrets",
    "nodeSelector",
    "tolerations",
    "priorityClassName",
    "securityContext",
)

#: What a step waits for when its commands have run.
Until: TypeAlias = Literal["", "gone", "dealt", "ready"]


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at: whether the rescale may go on, and what was seen."""

    name: str
    ok: bool
    words: str


class Command(msgspec.Struct, frozen=True):
    """Arguments of kubectl, and what it is given to read."""

    arguments: list[str]
    given: str = ""


class Step(msgspec.Struct, frozen=True):
    """One step.

    Attributes:
        title: what it does.
        commands: run in this order.
        until: what is waited for then; `wait` is the command by which a person does that.
        failed: what is the case when it fails.
    """

    title: str
    commands: list[Command]
    failed: str
    until: Until = ""
    wait: list[str] = []


def numbers_fit(job: Job, to: int) -> list[Check]:
    """Whether the work can be cut for so many pods, and whether the job is one that can be changed."""
    engine = job.engine
    before = job.begun_from or job.replicas
    checks = [Check("lanes", to <= engine.lanes, f"{engine.lanes} lanes, {to} pods: each pod reads at least one lane")]
    for name, count in (("case groups", engine.case_groups), ("item groups", engine.item_groups)):
        checks.append(Check(name, to <= count, f"{count} {name}, {to} pods"))
    if EVENLY % to:
        words = f"{to} does not divide {EVENLY}: some pods get more groups than others (allowed)"
        if engine.increments_from:
            words = (
                f"{to} does not divide {EVENLY}: increments of the state would not be found; choose a number that "
                "does, or run the job with engine.increments_from = 0 for a few epochs before"
            )
        checks.append(Check("balance", ok=not engine.increments_from, words=words))
    named = [_address(job, number) for number in range(len(job.addresses))]
    words = f"{len(job.addresses)} addresses in ConfigMap {job.processes_map}, {before} pods"
    fits = job.addresses == named and (len(job.addresses) == before or job.begun_from is not None)
    checks.append(Check("addresses", fits, words))
    words = f"ConfigMap {job.processes_map} {'is immutable' if job.fixed_map else 'can be changed'}"
    checks.append(Check("config map", not job.fixed_map, words))
    words = "one has stopped the job: wait for its end" if job.backup else "none has stopped the job"
    checks.append(Check("backup", not job.backup, words))
    if job.replicas == 0 and job.begun_from is None:
        words = "somebody has stopped the job; start it, so that its state can be seen to be whole"
        checks.append(Check("replicas", ok=False, words=words))
    return checks


def pods_fit(job: Job, pods: Sequence[Pod]) -> list[Check]:
    """Whether all pods are there, ready, and of one image."""
    unready = [f"{pod.name}: {pod.why()}" for pod in pods if not pod.ready]
    images = sorted({one.image for pod in pods for one in pod.spec.containers})
    count = len(pods) == job.replicas
    return [
        Check(
            "pods", count and not unready, "; ".join(unready) or f"{len(pods)} of {job.replicas} are there and ready"
        ),
        Check("one version", len(images) == 1, f"run {', '.join(images) or 'nothing'}"),
    ]


def processes_fit(answers: Sequence[Answer]) -> list[Check]:
    """Whether every process says of itself that it is well."""
    bad = [
        f"process {one.status.process}" if one.status is not None else one.error for one in answers if not _well(one)
    ]
    versions = sorted({one.status.version for one in answers if one.status is not None})
    return [
        Check("processes", not bad, "not healthy: " + ", ".join(bad) if bad else "healthy, as they say themselves"),
        Check("versions", len(versions) == 1, f"say {', '.join(versions) or 'nothing'}"),
    ]


def _well(answer: Answer) -> bool:
    return answer.status is not None and answer.status.healthy and answer.status.ready


def lag_of(answers: Sequence[Answer]) -> float:
    """Messages in the log that the job has not yet released."""
    statuses = [one.status for one in answers if one.status is not None]
    return sum(one.value or 0.0 for one in together(statuses)[metrics.LAG_MESSAGES.name])


def resumed(before: Whole | None, after: Whole, to: int) -> Check:
    """Whether the job went on from the state that it had kept, in as many processes as it should."""
    if after.execution is None:
        return Check("resumed", ok=False, words="the state says of no start of the job")
    words = f"start {after.execution} of the job, {after.workers} processes, from epoch {after.resumed_at}"
    ok = after.workers == to
    if before is not None and before.execution is not None:
        words += f" (before: start {before.execution}, at least to epoch {before.reached})"
        same = after.record == before.record and after.execution > before.execution
        ok = ok and same and after.resumed_at >= before.reached
    else:
        ok = ok and after.execution > 0
    return Check("resumed", ok, words)


def steps(job: Job, to: int, claims: set[str]) -> list[Step]:
    """The steps from the job as it is to `to` pods. `claims` are those that there are."""
    before = job.begun_from or job.replicas
    of = f"statefulset/{job.name}"
    pods = [f"pod/{job.name}-{number}" for number in range(max(before, job.replicas))]
    volumes = max(to, before, *(_number(name) + 1 for name in claims), 1)
    made = [_claim(job, number) for number in range(volumes) if job.claim_of(number) not in claims]
    told = json.dumps([_address(job, number) for number in range(to)])
    patch = json.dumps({"data": {"ANDON_ENGINE_PROCESSES": told}})
    kept = "its state is as it was"
    return [
        Step(
            "Stop the job: it ends at a snapshot",
            [
                Command(["annotate", of, "--overwrite", f"{BEGUN}={before}"]),
                Command(["scale", of, "--replicas=0"]),
            ],
            f"The job is stopped, or stops; {kept}.",
            until="gone",
            wait=["wait", "--for=delete", *pods, "--timeout=10m"],
        ),
        Step(
            f"Deal its state to {to} volumes",
            [
                Command(["delete", f"job/{DEAL}", "--ignore-not-found"]),
                Command(["apply", "--filename=-"], _list([*made, deal_job(job, to, volumes)])),
            ],
            f"The job is stopped. Each part of its state is whole on one of the volumes. `kubectl logs job/{DEAL}` says"
            " what was refused.",
            until="dealt",
            wait=["wait", "--for=condition=complete", f"job/{DEAL}", "--timeout=30m"],
        ),
        Step(
            f"Name {to} processes",
            [Command(["patch", "configmap", job.processes_map, "--type=merge", "--patch", patch])],
            f"The job is stopped. Its state is dealt to {to} pods.",
        ),
        Step(
            f"Start {to} pods",
            [Command(["scale", of, f"--replicas={to}"])],
            f"The job is started with {to} pods, which have its state; not all of them are ready.",
            until="ready",
            wait=["wait", of, f"--for=jsonpath={{.status.readyReplicas}}={to}", "--timeout=30m"],
        ),
    ]


def tidying(job: Job) -> Step:
    """What is left when all was looked at."""
    return Step(
        "Tidy up",
        [
            Command(["delete", f"job/{DEAL}", "--ignore-not-found"]),
            Command(["annotate", f"statefulset/{job.name}", f"{BEGUN}-"]),
        ],
        "The job runs; only the traces of the rescale are left.",
    )


def overlay_words(job: Job, to: int) -> str:
    """What has to be written down, so that the next `kubectl apply` does not take it back."""
    told = json.dumps([_address(job, number) for number in range(to)])
    return (
        f"Write it down in your overlay before it is applied again: `count: {to}` under `replicas`, and\n"
        f"ANDON_ENGINE_PROCESSES={told}\nSTATE_FIRST_PODS stays as it is."
    )


def deal_job(job: Job, to: int, volumes: int) -> dict[str, Any]:
    """The Job that deals: the job's own image and rights, over the volumes of all pods there were and will be."""
    spec = job.template["spec"]
    parts = next(one for one in spec["initContainers"] if one["name"] == "parts")
    mount = next(one for one in parts["volumeMounts"] if one["name"] == "recovery")
    numbers = range(volumes)
    labels = {**job.template["metadata"]["labels"], "app.kubernetes.io/component": "deal"}
    container = {
        "name": "deal",
        "image": parts["image"],
        **({"imagePullPolicy": parts["imagePullPolicy"]} if "imagePullPolicy" in parts else {}),
        "command": ["python", _SCRIPT, "deal"],
        "args": ["--to", str(to), *(f"/state/{number}" for number in numbers)],
        "securityContext": parts["securityContext"],
        "resources": {"requests": {"cpu": "500m", "memory": "256Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}},
        "volumeMounts": [
            {"name": f"recovery-{number}", "mountPath": f"/state/{number}"}
            | ({"subPath": mount["subPath"]} if "subPath" in mount else {})
            for number in numbers
        ],
    }
    pod = {
        "restartPolicy": "Never",  # the pod stays, to say why
        **{name: spec[name] for name in _KEPT_OF_POD if name in spec},
        "containers": [container],
        "volumes": [
            {"name": f"recovery-{number}", "persistentVolumeClaim": {"claimName": job.claim_of(number)}}
            for number in numbers
        ],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": DEAL, "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": 86_400,
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _claim(job: Job, number: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": job.claim_of(number), "labels": job.claim_labels},
        "spec": job.claim,
    }


def _list(resources: Sequence[dict[str, Any]]) -> str:
    items = ",\n".join(json.dumps(one) for one in resources)
    return f'{{"apiVersion": "v1", "kind": "List", "items": [\n{items}\n]}}\n'


def _address(job: Job, number: int) -> str:
    """A process's address, by that of the first."""
    first = job.addresses[0] if job.addresses else ""
    return f"{job.name}-{number}{first.removeprefix(f'{job.name}-0')}"


def _number(claim: str) -> int:
    last = claim.rpartition("-")[2]
    return int(last) if last.isdecimal() else -1
