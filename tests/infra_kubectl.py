"""kubectl over a `Namespace`: the commands that `andon rescale` and the guides use, over pods that are real.

Run as a program it hands its command line to the test that made it, as a person's kubectl hands it to the API server.
What is not known is refused, as kubectl refuses an unknown flag; flags were held against kubectl 1.32's own.
"""

import json
import shlex
import socket
import socketserver
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from tests.infra_manifests import Resource
from tests.infra_stateful_set import Namespace
from tests.infra_stateful_set_pod import Pod

_FORWARD = """
import json, socket, sys
with socket.socket(socket.AF_UNIX) as asked:
    asked.connect({path!r})
    given = "" if sys.stdin.isatty() else sys.stdin.read()
    asked.sendall(json.dumps([sys.argv[1:], given]).encode())
    asked.shutdown(socket.SHUT_WR)
    code, out, err = json.loads(b"".join(iter(lambda: asked.recv(65536), b"")))
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(code)
"""


class RefusedError(Exception):
    """What kubectl would say on standard error, with exit code 1."""


class KubectlFront:
    """Answers command lines; a context manager.

    `called` are the command lines that came; `before` is called with each before it is done, and may raise
    `RefusedError` in the API server's place.
    """

    def __init__(self, namespace: Namespace, folder: Path) -> None:
        self.namespace = namespace
        self.called: list[list[str]] = []
        self.before: Callable[[list[str]], None] = lambda _: None
        self.annotations: dict[str, str] = {}
        self.program = folder / "kubectl"
        folder.mkdir(parents=True, exist_ok=True)
        path = str(folder / "s")
        self._server = socketserver.ThreadingUnixStreamServer(path, _handler(self))
        self._server.daemon_threads = True
        (folder / "forward.py").write_text(_FORWARD.format(path=path))
        self.program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -IS {folder / "forward.py"} "$@"\n')
        self.program.chmod(0o755)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *failed: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, arguments: list[str], given: str) -> tuple[int, str, str]:
        self.called.append(arguments)
        try:
            self.before(arguments)
            return self._do(arguments, given)
        except RefusedError as refused:
            return 1, "", f"{refused}\n"

    def _do(self, arguments: list[str], given: str) -> tuple[int, str, str]:
        words = arguments
        if words[:1] == ["--namespace"]:
            if words[1] != self.namespace.name:
                raise RefusedError(f'Error from server (NotFound): namespaces "{words[1]}" not found')
            words = words[2:]
        out = ""
        match words:
            case ["get", kind, *rest] if rest[-1:] == ["--output=json"]:
                out = json.dumps(self._get(kind, rest[:-1]))
            case ["annotate", what, *rest]:
                out = self._annotate(what, [one for one in rest if one != "--overwrite"], "--overwrite" in rest)
            case ["scale", what, told] if told.startswith("--replicas="):
                self._set(what)["spec"]["replicas"] = int(told.removeprefix("--replicas="))
                out = f"{what} scaled\n"
            case ["delete", what, "--ignore-not-found"]:
                out = self._delete(what)
            case ["apply", "--filename=-"]:
                out = self._apply(json.loads(given))
            case ["patch", "configmap", name, "--type=merge", "--patch", patch]:
                told = json.loads(patch)
                assert set(told) == {"data"}, told
                self._config_map(name)["data"].update(told["data"])
                out = f"configmap/{name} patched\n"
            case ["exec", pod, "--container=andon", "--", *command]:
                done = self._pod(pod).execute(command)
                return done.returncode, done.stdout, done.stderr
            case ["logs", of, *rest]:
                out = self._logs(of, rest)
            case _:
                raise RefusedError(f"error: not known here: kubectl {shlex.join(words)}")
        return 0, out, ""

    # --- get ---------------------------------------------------------------------------------------------------------

    def _get(self, kind: str, rest: list[str]) -> Resource:
        with self.namespace.lock:
            match kind, rest:
                case "statefulset", [name]:
                    found = self._set(f"statefulset/{name}")
                    status = {"replicas": len(self.namespace.pods_of_set()), "readyReplicas": self.namespace.ready()}
                    metadata = found["metadata"] | ({"annotations": self.annotations} if self.annotations else {})
                    return found | {"metadata": metadata, "status": status}
                case "configmap", [name]:
                    return self._config_map(name)
                case "pods", ["--selector", selector]:
                    wanted = dict(one.split("=", 1) for one in selector.split(",")).items()
                    pods = [pod for pod in self.namespace.pods.values() if wanted <= pod.around.labels.items()]
                    return {"items": [_pod_resource(pod) for pod in pods]}
                case "persistentvolumeclaims", []:
                    return {"items": [{"metadata": {"name": name}} for name in sorted(self.namespace.claims)]}
                case "job", [name]:
                    return {"metadata": {"name": name}, "status": self._job_status(name)}
        raise RefusedError(f"error: not known here: kubectl get {kind} {shlex.join(rest)}")

    def _job_status(self, name: str) -> dict[str, Any]:
        pod = self._pod(f"{name}-0")
        codes = [one.code for one in pod.ended]
        if pod.phase == "Succeeded":
            return {"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]}
        if len([code for code in codes if code]) > self.namespace.job_limit(name):
            return {"failed": len(codes), "conditions": [{"type": "Failed", "status": "True"}]}
        return {"active": 1}

    # --- the rest ----------------------------------------------------------------------------------------------------

    def _set(self, what: str) -> Resource:
        found = self.namespace.stateful_set
        if what != f"statefulset/{found['metadata']['name']}":
            raise RefusedError(f'Error from server (NotFound): "{what}" not found')
        return found

    def _config_map(self, name: str) -> Resource:
        for one in self.namespace.resources:
            if one["kind"] == "ConfigMap" and one["metadata"]["name"] == name:
                return one
        raise RefusedError(f'Error from server (NotFound): configmaps "{name}" not found')

    def _pod(self, name: str) -> Pod:
        with self.namespace.lock:
            if name not in self.namespace.pods:
                raise RefusedError(f'Error from server (NotFound): pods "{name}" not found')
            return self.namespace.pods[name]

    def _annotate(self, what: str, told: list[str], overwrite: bool) -> str:
        self._set(what)
        for one in told:
            name, equals, value = one.partition("=")
            if equals:
                if name in self.annotations and not overwrite:
                    raise RefusedError(f"error: --overwrite is false but found the annotation {name}")
                self.annotations[name] = value
            else:
                self.annotations.pop(name.removesuffix("-"), None)
        return f"{what} annotated\n"

    def _delete(self, what: str) -> str:
        kind, _, name = what.partition("/")
        if kind == "pod":
            self.namespace.delete_pod(name)
        elif kind == "job":
            self.namespace.delete_job(name)
        else:
            raise RefusedError(f"error: not known here: {kind}")
        return f"{what} deleted\n"

    def _apply(self, document: Resource) -> str:
        out = []
        for one in document["items"] if document["kind"] == "List" else [document]:
            name = one["metadata"]["name"]
            if one["kind"] == "PersistentVolumeClaim":
                self.namespace.make_claim(name)
            elif one["kind"] == "Job":
                self.namespace.run_job(one)
            else:
                raise RefusedError(f"error: not known here: {one['kind']}")
            out.append(f"{one['kind'].lower()}/{name} created\n")
        return "".join(out)

    def _logs(self, of: str, rest: list[str]) -> str:
        name = f"{of.removeprefix('job/')}-0" if of.startswith("job/") else of
        tail = next(int(one.removeprefix("--tail=")) for one in rest if one.startswith("--tail="))
        unknown = [one for one in rest if not one.startswith("--tail=") and one != "--all-containers"]
        if unknown:
            raise RefusedError(f"error: unknown flag: {unknown[0]}")
        pod = self._pod(name)
        names = [one.name for one in (*pod.spec.init_containers, pod.main)] if "--all-containers" in rest else [""]
        return "".join(line + "\n" for one in names for line in pod.log(one).splitlines()[-tail:])


def _pod_resource(pod: Pod) -> Resource:
    state = {"waiting": {"reason": pod.waiting.rpartition(": ")[2]}} if pod.waiting else {"running": {}}
    return {
        "metadata": {"name": pod.around.name, "labels": pod.around.labels},
        "spec": {"containers": [{"name": pod.main.name, "image": pod.main.image}]},
        "status": {
            "phase": pod.phase,
            "conditions": [{"type": "Ready", "status": str(pod.ready)}],
            "containerStatuses": [{"name": pod.main.name, "state": state, "restartCount": pod.restarts}],
        },
    }


def _handler(front: KubectlFront) -> type[socketserver.BaseRequestHandler]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            asked: socket.socket = self.request
            arguments, given = json.loads(b"".join(iter(lambda: asked.recv(65_536), b"")))
            asked.sendall(json.dumps(front.answer(arguments, given)).encode())

    return Handler
