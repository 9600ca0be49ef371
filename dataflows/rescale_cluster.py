"""The job as a cluster has it: asked for through kubectl, and read into types at once."""

import json
import shlex
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from dataflows.recovery import Share
from dataflows.settings import EngineSettings, load_settings
from dataflows.status import Answer
from schemas.errors import AndonError

#: Stands on the StatefulSet from the stop of a rescale to its end: how many pods the job had before.
BEGUN = "andon/rescale-from"
#: Stands on it while a backup has stopped the job (infra/container/back_up.py).
_BACKUP = "andon/replicas-before-backup"
_ANSWER_S = 120.0
_PARTS = "/opt/andon/lib/andon/recovery_parts.py"


class ClusterError(AndonError):
    """The cluster does not do what it is asked, or is not as a job of Andon is."""


class Kubectl:
    """kubectl as a person would call it.

    Args:
        program: its path or name.
        context: of its configuration; the current one where there is none.
        namespace: of the job; that of the context where there is none.
    """

    def __init__(self, program: str = "kubectl", context: str | None = None, namespace: str | None = None) -> None:
        self._program = program
        self._options = [
            *(("--context", context) if context else ()),
            *(("--namespace", namespace) if namespace else ()),
        ]

    def line(self, *arguments: str) -> list[str]:
        """The command line for `arguments`."""
        return [self._program, *self._options, *arguments]

    def run(self, *arguments: str, given: str = "", accept: Sequence[int] = (0,)) -> str:
        """Run it, with `given` on standard input; gives what it says.

        Raises:
            ClusterError: it can't be run, takes too long, or ends with a code that is not in `accept`; or with one but
                0, and says nothing.
        """
        line = self.line(*arguments)
        words = shlex.join(line)
        try:
            done = subprocess.run(  # noqa: S603 - what the person named
                line, input=given, capture_output=True, text=True, timeout=_ANSWER_S, check=False
            )
        except OSError as error:
            raise ClusterError(
                f"{self._program} can't be run: {error.strerror or error}; --kubectl names it"
            ) from error
        except subprocess.TimeoutExpired:
            raise ClusterError(f"{words}: no answer in {_ANSWER_S:.0f} s") from None
        if done.returncode not in accept or (done.returncode and not done.stdout.strip()):
            said = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()
            raise ClusterError(f"{words}: {' '.join(said[-3:])}")
        return done.stdout

    def get(self, *what: str) -> Any:  # noqa: ANN401 - a document of the cluster, read into a type by whoever asks
        """`kubectl get` as JSON.

        Raises:
            ClusterError: as `run`; or the answer is no JSON.
        """
        try:
            return json.loads(self.run("get", *what, "--output=json"))
        except ValueError as error:
            raise ClusterError(f"kubectl get {shlex.join(what)} does not give JSON: {error}") from error


class _Condition(msgspec.Struct, frozen=True):
    type: str
    status: str


class _Waiting(msgspec.Struct, frozen=True):
    reason: str = ""


class _State(msgspec.Struct, frozen=True):
    waiting: _Waiting | None = None


class _ContainerStatus(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    state: _State = _State()
    restart_count: int = 0


class _PodStatus(msgspec.Struct, frozen=True, rename="camel"):
    conditions: list[_Condition] = []
    container_statuses: list[_ContainerStatus] = []
    init_container_statuses: list[_ContainerStatus] = []


class _Name(msgspec.Struct, frozen=True):
    name: str


class _Image(msgspec.Struct, frozen=True):
    name: str
    image: str


class _PodSpec(msgspec.Struct, frozen=True):
    containers: list[_Image]


class Pod(msgspec.Struct, frozen=True):
    """A pod of the job."""

    metadata: _Name
    spec: _PodSpec
    status: _PodStatus

    @property
    def name(self) -> str:
        """Its name."""
        return self.metadata.name

    @property
    def ready(self) -> bool:
        """Whether its readiness probe says so."""
        return any(one.type == "Ready" and one.status == "True" for one in self.status.conditions)

    @property
    def restarts(self) -> int:
        """How often its containers were started again."""
        return sum(one.restart_count for one in (*self.status.init_container_statuses, *self.status.container_statuses))

    @property
    def waits(self) -> bool:
        """Whether a container of it is not to be started yet."""
        told = (*self.status.init_container_statuses, *self.status.container_statuses)
        return any(one.state.waiting is not None for one in told)

    def why(self) -> str:
        """What its containers wait for, where they say."""
        told = [*self.status.init_container_statuses, *self.status.container_statuses]
        waits = [f"{one.name} waits ({one.state.waiting.reason})" for one in told if one.state.waiting is not None]
        return ", ".join(waits) or "not ready"


class Job(msgspec.Struct, frozen=True):
    """The job: what of the StatefulSet, its config maps and its pod template a rescale needs.

    `template` is the pods' as it stands in the StatefulSet, `claim` the spec of their volumes.
    """

    name: str
    replicas: int
    begun_from: int | None
    backup: bool
    selector: dict[str, str]
    template: dict[str, Any]
    claim: dict[str, Any]
    claim_labels: dict[str, str]
    settings_path: str
    processes_map: str
    fixed_map: bool
    addresses: list[str]
    engine: EngineSettings

    @property
    def selected(self) -> str:
        """The label selector of its pods."""
        return ",".join(f"{key}={value}" for key, value in sorted(self.selector.items()))

    def claim_of(self, number: int) -> str:
        """The name of a pod's claim."""
        return f"recovery-{self.name}-{number}"


def read_job(kubectl: Kubectl, name: str) -> Job:
    """Ask for the job.

    Raises:
        ClusterError: it is not there, or is not as infra/kubernetes makes it.
        SettingsError: its settings can't be read.
    """
    found = kubectl.get("statefulset", name)
    try:
        spec, annotations = found["spec"], found["metadata"].get("annotations") or {}
        template = spec["template"]
        container = next(one for one in template["spec"]["containers"] if one["name"] == "andon")
        arguments = container["args"]
        settings_path = arguments[arguments.index("--config") + 1]
        (processes_map,) = (one["configMapRef"]["name"] for one in container["envFrom"])
        settings_map = _mounted_map(template["spec"], container, settings_path)
        (claim,) = (one for one in spec["volumeClaimTemplates"] if one["metadata"]["name"] == "recovery")
    except (KeyError, ValueError, StopIteration, TypeError, IndexError) as error:
        raise ClusterError(f"StatefulSet {name} is not as infra/kubernetes has it: {error!r}") from error
    processes = kubectl.get("configmap", processes_map)
    text = kubectl.get("configmap", settings_map)["data"][Path(settings_path).name]
    begun = annotations.get(BEGUN)
    engine = _engine(text, processes["data"])
    return Job(
        name=name,
        replicas=int(spec["replicas"]),
        begun_from=None if begun is None else int(begun),
        backup=_BACKUP in annotations,
        selector=spec["selector"]["matchLabels"],
        template=template,
        claim=claim["spec"],
        claim_labels=claim["metadata"].get("labels") or {},
        settings_path=settings_path,
        processes_map=processes_map,
        fixed_map=bool(processes.get("immutable")),
        addresses=engine.processes,
        engine=engine,
    )


def _mounted_map(spec: Mapping[str, Any], container: Mapping[str, Any], path: str) -> str:
    volume = next(one["name"] for one in container["volumeMounts"] if one["mountPath"] == str(Path(path).parent))
    name: str = next(one["configMap"]["name"] for one in spec["volumes"] if one["name"] == volume)
    return name


def _engine(text: str, environment: Mapping[str, str]) -> EngineSettings:
    """`[engine]` as the pods read it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "andon.toml"
        path.write_text(text, encoding="utf-8")
        return load_settings(str(path), environment).engine


def pods_of(kubectl: Kubectl, job: Job) -> list[Pod]:
    """The job's pods, those that are ending among them, in the order of their numbers.

    Raises:
        ClusterError: as `Kubectl.get`.
    """
    found = kubectl.get("pods", "--selector", job.selected)["items"]
    pods = msgspec.convert(found, list[Pod])
    return sorted(pods, key=lambda pod: (len(pod.name), pod.name))


def claims_of(kubectl: Kubectl, job: Job) -> set[str]:
    """The names of the claims of the job's pods, of those that are no more, too.

    Raises:
        ClusterError: as `Kubectl.get`.
    """
    found = kubectl.get("persistentvolumeclaims")["items"]
    return {name for one in found if (name := one["metadata"]["name"]).startswith(f"recovery-{job.name}-")}


def status_of(kubectl: Kubectl, job: Job, pod: str) -> Answer:
    """What a pod's process says of itself.

    Raises:
        ClusterError: it can't be asked, or answers otherwise than this version does.
    """
    asked = ("exec", pod, "--container=andon", "--", "andon", "status", "--once", "--json")
    said = kubectl.run(*asked, "--config", job.settings_path, accept=(0, 1))
    try:
        return msgspec.json.decode(said, type=_Told).processes[0]
    except (msgspec.ValidationError, msgspec.DecodeError, IndexError) as error:
        raise ClusterError(f"{pod}: `andon status` does not answer as this version's does: {error}") from error


class _Told(msgspec.Struct, frozen=True):
    processes: list[Answer]


def share_of(kubectl: Kubectl, job: Job, pod: str) -> Share:
    """The parts of the state that are on a pod's volume.

    Raises:
        ClusterError: it can't be asked, or answers otherwise than this version does.
    """
    directory = job.engine.recovery
    said = kubectl.run("exec", pod, "--container=andon", "--", "python", _PARTS, "show", directory)
    try:
        return msgspec.structs.replace(msgspec.json.decode(said, type=Share), place=pod)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise ClusterError(f"{pod}: recovery_parts.py does not answer as this version's does: {error}") from error
