"""One pod as local processes: its containers started, probed, restarted and stopped as the kubelet does it.

What is rewritten, in commands, variables and the files of config maps, and nothing else:

- absolute paths become what they are below the pod's root, and files of the image what they are below the image's,
- the names of pods (`andon-0.andon-peers.andon.svc.cluster.local`) and `0.0.0.0` become the pods' loopback addresses,
- `TMPDIR` is set to the pod's `/tmp`, where it mounts one.

What is left that names a host of the cluster is refused. Periods of probes and back-off are
scaled by `pace`; time-outs and the grace period are as declared, since this machine is no faster than a cluster's.
"""

import os
import re
import shutil
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from tests.infra_stateful_set_image import Image
from tests.infra_stateful_set_spec import Container, PodSpec, Probe, Volume

_LOOK_S = 0.05
_BACK_OFF_S, _LONGEST_BACK_OFF_S, _WELL_AFTER_S = 10.0, 300.0, 600.0
_CLUSTER_NAME = re.compile(r"[\w.-]+\.svc\b")
_PATH = re.compile(r"(?<![\w:/.@~-])/\w[\w./-]*")


class Surroundings(msgspec.Struct, frozen=True):
    """What a pod finds around it. `hosts` are names of pods and their addresses; `pace` is what a second becomes."""

    name: str
    namespace: str
    labels: dict[str, str]
    address: str
    folder: Path
    image: Image
    hosts: Mapping[str, str]
    claims: Mapping[str, Path]
    config: Callable[[str], dict[str, str]]
    secrets: Mapping[str, Mapping[str, str]]
    pace: float


class Ended(msgspec.Struct, frozen=True):
    """A container's process that has ended."""

    container: str
    code: int
    why: str = ""


class Pod:
    """A pod from its start to its end. Made, it starts at once; `stop` is told once."""

    def __init__(self, spec: PodSpec, around: Surroundings) -> None:
        assert len(spec.containers) == 1, "several containers in a pod are not known here"
        self.spec, self.around = spec, around
        self.main = spec.containers[0]
        self.ready = False
        self.phase = "Pending"
        self.waiting = ""
        self.restarts = 0
        self.ended: list[Ended] = []
        self._stop, self._stopped_pod = threading.Event(), threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._run_began: dict[str, int] = {}
        self._mount()
        self._thread = threading.Thread(target=self._live, name=f"pod {around.name}", daemon=True)
        self._thread.start()

    # --- what others ask ---------------------------------------------------------------------------------------------

    @property
    def gone(self) -> bool:
        """Whether its processes have ended, after `stop` or by the restart policy."""
        return self._stopped_pod.is_set()

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.around.name} has no process"
        return self._process.pid

    def stop(self) -> None:
        """Delete it: the stop signal, and SIGKILL when its time is over. Returns at once."""
        self._stop.set()
        self.ready = False

    def wait_gone(self, deadline_s: float) -> None:
        assert self._stopped_pod.wait(deadline_s), f"{self.around.name} has not ended in {deadline_s} s"

    def kill(self) -> None:
        """SIGKILL to the process of its main container, as the kernel would when memory is out."""
        os.kill(self.pid, signal.SIGKILL)

    def log(self, container: str = "") -> str:
        """What a container said, in the last of its runs."""
        path = self._log_of(container or self.main.name)
        return path.read_bytes()[self._run_began.get(path.name, 0) :].decode() if path.exists() else ""

    def execute(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        """Run a command beside the main container's process, with its environment and files."""
        env = self._environment(self.main)
        return subprocess.run(
            [self._program(command[0], env), *map(self._here, command[1:])],
            env=env,
            cwd=self._workdir(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def written_outside(self) -> list[Path]:
        """Files in its root that are in no mount: its root file system is to be read-only."""
        return [path for path in self._root.rglob("*") if not path.is_symlink() and path.is_file()]

    # --- files -------------------------------------------------------------------------------------------------------

    @property
    def _root(self) -> Path:
        return self.around.folder / "root"

    def _mount(self) -> None:
        """Each volume as a directory, each mount as a link to it below the pod's root."""
        shutil.rmtree(self._root, ignore_errors=True)
        places = {volume.name: self._volume(volume) for volume in self.spec.volumes} | dict(self.around.claims)
        for container in (*self.spec.init_containers, *self.spec.containers):
            for mount in container.volume_mounts:
                source = places[mount.name] / mount.sub_path
                source.mkdir(parents=True, exist_ok=True)
                link = self._root / mount.mount_path.lstrip("/")
                link.parent.mkdir(parents=True, exist_ok=True)
                if not link.is_symlink():
                    link.symlink_to(source)
                assert link.resolve() == source.resolve(), f"two volumes at {mount.mount_path}"
        self._workdir().mkdir(parents=True, exist_ok=True)

    def _volume(self, volume: Volume) -> Path:
        place = self.around.folder / "volumes" / volume.name
        if volume.persistent_volume_claim is not None:
            return self.around.claims[volume.persistent_volume_claim.claim_name]
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        if volume.config_map is not None:
            for name, text in self.around.config(volume.config_map.name).items():
                (place / name).write_text(self._here(text))
        elif volume.projected is not None:
            for source in volume.projected.sources:
                held = self.around.secrets.get(source.secret.name)
                assert held is not None or source.secret.optional, f"no secret {source.secret.name}"
                for item in source.secret.items if held is not None else ():
                    assert held is not None
                    (place / item.path).write_text(held[item.key])
        else:
            assert volume.empty_dir is not None, f"volume {volume.name} is of a kind that is not known here"
        return place

    def _workdir(self) -> Path:
        return self._root / self.around.image.workdir.lstrip("/")

    # --- rewriting ---------------------------------------------------------------------------------------------------

    def _here(self, text: str) -> str:
        """`text` as it has to be on this machine; see the module."""
        for name in sorted(self.around.hosts, key=len, reverse=True):
            text = text.replace(name, self.around.hosts[name])
        text = re.sub(r"(?<![\d.])0\.0\.0\.0(?![\d.])", self.around.address, text)
        left = _CLUSTER_NAME.search(text)
        assert left is None, f"{self.around.name} names {left and left.group()}, which is not here"

        def moved(match: re.Match[str]) -> str:
            inside = self.around.image.path(match.group())
            return str(inside) if inside.is_file() else f"{self._root}{match.group()}"

        return _PATH.sub(moved, text)

    def _environment(self, container: Container) -> dict[str, str]:
        """Read at each start of a container, as the kubelet does: a config map may have changed."""
        told: dict[str, str] = {}
        for source in container.env_from:
            told |= self.around.config(source.config_map_ref.name)
        for variable in container.env:
            told[variable.name] = variable.value
            if variable.value_from is not None:
                told[variable.name] = self._field(variable.value_from.field_ref.field_path)
        image = self.around.image
        env = {
            name: ":".join(str(image.path(one)) if image.path(one).is_dir() else one for one in value.split(":"))
            if name == "PATH"
            else self._here(value)
            for name, value in image.environment.items()
        }
        env |= {name: self._here(value) for name, value in told.items()}
        env["HOSTNAME"] = self.around.name
        if any(mount.mount_path == "/tmp" for mount in container.volume_mounts):  # noqa: S108 - in the pod
            env["TMPDIR"] = self._here("/tmp")  # noqa: S108 - as above
        return env

    def _field(self, path: str) -> str:
        labels = {f"metadata.labels['{name}']": value for name, value in self.around.labels.items()}
        fields = {"metadata.name": self.around.name, "metadata.namespace": self.around.namespace} | labels
        assert path in fields, f"a pod's {path} is not known here"
        return fields[path]

    def _command(self, container: Container, env: dict[str, str]) -> list[str]:
        """What the container runs: `command` in place of the image's entrypoint, `args` in place of its CMD."""
        image = self.around.image
        program = image.entrypoint if container.command is None else container.command
        rest = image.command if container.args is None and container.command is None else container.args or []
        first, *others = [self._expanded(one, env) for one in (*program, *rest)]
        return [self._program(first, env), *map(self._here, others)]

    @staticmethod
    def _expanded(text: str, env: dict[str, str]) -> str:
        """`$(NAME)` by the container's variables; one that there is not stays as it is written."""
        return re.sub(r"\$\((\w+)\)", lambda match: env.get(match.group(1), match.group()), text)

    @staticmethod
    def _program(name: str, env: dict[str, str]) -> str:
        found = shutil.which(name, path=env["PATH"])
        assert found is not None, f"{name} is not in the image"
        return found

    # --- a life ------------------------------------------------------------------------------------------------------

    def _live(self) -> None:
        try:
            if all(self._to_its_end(container) for container in self.spec.init_containers):
                self._main()
        except BaseException as error:
            self.phase, self.waiting = "Failed", f"the harness: {error!r}"
            raise
        finally:
            self.ready = False
            self._stopped_pod.set()

    def _to_its_end(self, container: Container) -> bool:
        """Run an init container until it ends well; False where the pod is stopped, or not to be restarted."""
        failures = 0
        while not self.stopping:
            began_s = time.monotonic()
            code = self._run(container)
            if code == 0:
                return True
            if self.spec.restart_policy == "Never":
                self.phase = "Failed"
                return False
            failures = self._back_off(container, failures, began_s)
        return False

    def _main(self) -> None:
        failures = 0
        while not self.stopping:
            self.phase, self.waiting = "Running", ""
            began_s = time.monotonic()
            code = self._run(self.main)
            if self.stopping:
                break
            over = {"Always": False, "OnFailure": code == 0, "Never": True}[self.spec.restart_policy]
            if over:
                self.phase = "Succeeded" if code == 0 else "Failed"
                return
            failures = self._back_off(self.main, failures, began_s)

    def _back_off(self, container: Container, failures: int, began_s: float) -> int:
        """Wait as long as the kubelet would before the next start; gives how often it has ended in a row."""
        if time.monotonic() - began_s > _WELL_AFTER_S * self.around.pace:
            failures = 0
        wait_s = 0.0 if not failures else min(_BACK_OFF_S * 2 ** (failures - 1), _LONGEST_BACK_OFF_S)
        self.waiting = f"{container.name}: CrashLoopBackOff" if failures else ""
        self.restarts += 1
        self._stop.wait(wait_s * self.around.pace)
        return failures + 1

    def _run(self, container: Container) -> int:
        """One run of a container's process, with its probes; gives its exit code."""
        env = self._environment(container)
        path = self._log_of(container.name)
        with path.open("ab") as log:
            self._run_began[path.name] = log.tell()
            process = subprocess.Popen(
                self._command(container, env), env=env, cwd=self._workdir(), stdout=log, stderr=log
            )
        self._process = process
        over = threading.Event()
        unwell = _Probing(self, container, over) if container is self.main else None
        why = ""
        try:
            while process.poll() is None:
                if self._stop.wait(_LOOK_S) or (unwell is not None and unwell.failed):
                    why = "stopped" if self.stopping else unwell.failed if unwell is not None else ""
                    self._end(process)
        finally:
            over.set()
            self.ready = False
        self.ended.append(Ended(container.name, process.returncode, why))
        return process.returncode

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.Signals[self.around.image.stop_signal])
        try:
            process.wait(self.spec.termination_grace_period_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)

    def _log_of(self, container: str) -> Path:
        return self.around.folder / f"{container}.log"

    def close(self) -> None:
        """End it at once, whatever it does: the test is over."""
        self._stop.set()
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
        self._thread.join(30)


class _Probing:
    """The probes over one run of a container: startup first, then the other two."""

    def __init__(self, pod: Pod, container: Container, over: threading.Event) -> None:
        self.failed = ""
        self._pod, self._over = pod, over
        self._ports = {port.name: port.container_port for port in container.ports}
        self._container = container
        threading.Thread(target=self._begin, name=f"probes of {pod.around.name}", daemon=True).start()

    def _begin(self) -> None:
        container = self._container
        if container.startup_probe is not None and not self._starts(container.startup_probe):
            return
        if container.liveness_probe is not None:
            threading.Thread(target=self._lives, args=(container.liveness_probe,), daemon=True).start()
        if container.readiness_probe is None:
            self._tell(ready=True)
        else:
            self._is_ready(container.readiness_probe)

    def _starts(self, probe: Probe) -> bool:
        failures = 0
        while not self._asked(probe):
            failures += 1
            if failures >= probe.failure_threshold:
                self.failed = "did not start in time"
            if self.failed or self._over.wait(probe.period_seconds * self._pod.around.pace):
                return False
        return True

    def _lives(self, probe: Probe) -> None:
        failures = 0
        while not self._over.wait(probe.period_seconds * self._pod.around.pace):
            failures = 0 if self._asked(probe) else failures + 1
            if failures >= probe.failure_threshold:
                self.failed = "its liveness probe failed"
                return

    def _is_ready(self, probe: Probe) -> None:
        failures = 0
        while True:
            failures = 0 if self._asked(probe) else failures + 1
            if failures == 0:
                self._tell(ready=True)
            elif failures >= probe.failure_threshold:
                self._tell(ready=False)
            if self._over.wait(probe.period_seconds * self._pod.around.pace):
                return

    def _tell(self, *, ready: bool) -> None:
        if not self._over.is_set() and not self._pod.stopping:
            self._pod.ready = ready

    def _asked(self, probe: Probe) -> bool:
        get = probe.http_get
        port = self._ports[get.port] if isinstance(get.port, str) else get.port
        url = f"http://{self._pod.around.address}:{port}{get.path}"
        try:
            with urllib.request.urlopen(url, timeout=probe.timeout_seconds) as answer:
                return 200 <= answer.status < 400
        except (OSError, urllib.error.URLError):
            return False
