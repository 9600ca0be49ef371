"""The few calls of the Kubernetes API that a backup makes, over HTTP. No cluster can be had here: this one is scripted.

Pods follow the StatefulSet's replicas after `pods_end_after` looks; snapshots are taken after `taken_after` looks.
"""

import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "a-token"  # noqa: S105 - of no cluster


class KubernetesApi:
    """A namespace `andon` with one StatefulSet; a context manager.

    `faults` are answers that the next calls of a method get instead: `(method, path's end, status)`. After `lost`, the
    answer to the first snapshot that is made is not heard.
    """

    def __init__(self, folder: Path, replicas: int, *, pods_end_after: int = 2, taken_after: int = 2) -> None:
        self.folder = folder
        self.replicas = replicas
        self.annotations: dict[str, str] = {}
        self.snapshots: dict[str, dict[str, Any]] = {}
        self.claims = [f"recovery-andon-{number}" for number in range(replicas)]
        self.calls: list[str] = []
        self.faults: list[tuple[str, str, int]] = []
        self.replicas_when_taken: list[tuple[int, int]] = []
        self.lost = False
        self.broken_storage = False
        self._pods_end_after, self._taken_after = pods_end_after, taken_after
        self._looks = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        (folder / "token").write_text(TOKEN)
        (folder / "namespace").write_text("andon\n")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def pods(self) -> int:
        """How many run: those that are told to stop take their time."""
        if self.replicas == 0 and self._looks < self._pods_end_after:
            self._looks += 1
            return 1
        return self.replicas

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *failed: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> tuple[int, Any]:
        self.calls.append(f"{method} {path}")
        for fault in self.faults:
            if fault[0] == method and path.endswith(fault[1]):
                self.faults.remove(fault)
                return fault[2], {"message": "scripted"}
        rest = path.removeprefix("/api/v1/namespaces/andon/").removeprefix("/apis/apps/v1/namespaces/andon/")
        rest = rest.removeprefix("/apis/snapshot.storage.k8s.io/v1/namespaces/andon/")
        match method, rest.split("/"):
            case "GET", ["statefulsets", "andon"]:
                labels = {"app.kubernetes.io/name": "andon", "app.kubernetes.io/component": "pipeline"}
                spec = {"replicas": self.replicas, "selector": {"matchLabels": labels}}
                return 200, {"metadata": {"annotations": self.annotations or None}, "spec": spec}
            case "PATCH", ["statefulsets", "andon"]:
                self.replicas = body["spec"]["replicas"]
                self.annotations |= body["metadata"]["annotations"]
                self.annotations = {key: value for key, value in self.annotations.items() if value is not None}
                return 200, {}
            case "GET", ["pods"]:
                assert query["labelSelector"] == "app.kubernetes.io/component=pipeline,app.kubernetes.io/name=andon"
                return 200, {"items": [{}] * self.pods}
            case "GET", ["persistentvolumeclaims"]:
                return 200, {"items": [{"metadata": {"name": name}} for name in self.claims]}
            case _, ["volumesnapshots", *name]:
                return self._snapshot(method, name, query, body)
        return 404, {"message": f"{method} {path}"}

    def _snapshot(self, method: str, name: list[str], query: dict[str, str], body: dict[str, Any]) -> tuple[int, Any]:
        if method == "POST":
            made = body["metadata"]["name"]
            if made in self.snapshots:
                return 409, {"message": "exists"}
            self.snapshots[made] = body | {"looks": 0}
            self.replicas_when_taken.append((self.replicas, self.pods))
            if self.lost:
                self.lost = False
                return 0, {}
            return 201, body
        if method == "DELETE":
            return 200, self.snapshots.pop(name[0])
        if not name:
            key, _, value = query["labelSelector"].partition("=")
            return 200, {"items": [one for one in self.snapshots.values() if one["metadata"]["labels"][key] == value]}
        one = self.snapshots[name[0]]
        one["looks"] += 1
        if self.broken_storage:
            return 200, one | {"status": {"error": {"message": "no space"}}}
        taken = one["looks"] > self._taken_after
        return 200, one | ({"status": {"creationTime": "2026-03-02T03:17:00Z"}} if taken else {})


def _handler(api: KubernetesApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            if self.headers["Authorization"] != f"Bearer {TOKEN}":
                code, document = 401, {"message": "who?"}
            else:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else {}
                if self.command == "PATCH":
                    assert self.headers["Content-Type"] == "application/merge-patch+json"
                parts = urlsplit(self.path)
                query = {key: values[0] for key, values in parse_qs(parts.query).items()}
                code, document = api.answer(self.command, unquote(parts.path), query, body)
            if not code:
                self.close_connection = True
                return  # the answer is lost
            content = json.dumps(document).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815 - the library's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            """Quiet."""

    return Handler


def stamps(api: KubernetesApi) -> set[str]:
    """The backups that are there."""
    return {re.sub(r"^recovery-andon-\d+-", "", name) for name in api.snapshots}
