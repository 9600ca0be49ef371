"""A process's answers over HTTP: `/metrics`, `/healthz`, `/readyz` and `/status`.

`/healthz` asks whether the process should be restarted: it makes progress, or it hangs. Bad input and a store that is
away are not mended by a restart, so they are said at `/readyz`, in the metrics and in the log, and `/healthz` stays 200
(with the input's state as a second line). `/readyz/NAME` tells of one condition alone: a startup probe asks for
`resumed`.
"""

import socket
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Self

import msgspec

from dataflows.logs import get_log
from dataflows.status import split_address
from dataflows.telemetry import Telemetry
from schemas.errors import SettingsError
from schemas.problems import Problem

_TEXT = "text/plain; charset=utf-8"
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
_JSON = "application/json"
_SLOW_CLIENT_S = 10.0
_POLL_S = 0.1  # how long closing can take
_LOG = get_log("observe")


class Server:
    """Answers on a thread of its own until `close`; a context manager.

    Attributes:
        host: the address it answers at.
        port: the port it answers at, where 0 was asked for the one that was free.
    """

    def __init__(self, telemetry: Telemetry, host: str, port: int) -> None:
        self._server = _HttpServer(telemetry, host, port)
        self.host, self.port = self._server.server_address[:2]
        self._thread = Thread(target=self._server.serve_forever, args=(_POLL_S,), name="andon-observe", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where to ask it."""
        host = str(self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def close(self) -> None:
        """Stop answering and let go of the port."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def serve(telemetry: Telemetry, listen: str, stalled_after_s: float, key: str = "observe.listen") -> Server:
    """Answer at `listen` (`HOST:PORT`; port 0 takes a free one, no host means all interfaces).

    Args:
        telemetry: what to answer from.
        listen: where.
        stalled_after_s: without progress for longer than this, `/healthz` fails.
        key: the setting that `listen` comes from.

    Raises:
        SettingsError: that is no address, or one that can't be listened at (it is taken, or not of this machine).
    """
    telemetry.stalled_after_s = stalled_after_s
    try:
        host, port = split_address(listen)
    except ValueError as error:
        raise SettingsError([_problem(key, listen, str(error))]) from None
    try:
        server = Server(telemetry, host, port)
    except OSError as error:
        words = f"can't listen there: {error.strerror or error}; name another address, or port 0 for any that is free"
        raise SettingsError([_problem(key, listen, words)]) from error
    if port == 0:
        _LOG.info("listening", f"{key} took a free port: {server.url}")
    return server


def _problem(key: str, listen: str, words: str) -> Problem:
    return Problem("settings", key, f'"{listen}"', words)


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, telemetry: Telemetry, host: str, port: int) -> None:
        self.telemetry = telemetry
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Without the look-up of this machine's name that the library would make."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is nobody's business; a fault of ours is, but ends only this answer."""
        del request, client_address
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, ConnectionError | TimeoutError):
            _LOG.error("answer_failed", f"an answer over HTTP failed: {error}", cause=error)


class _Handler(BaseHTTPRequestHandler):
    server: _HttpServer
    timeout = _SLOW_CLIENT_S

    def version_string(self) -> str:
        """Who answers; which version is /metrics' business."""
        return "andon"

    def do_GET(self) -> None:
        code, kind, body = self._answer(self.path.partition("?")[0])
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - the library's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Nothing: a probe every second is normal running."""

    def _answer(self, path: str) -> tuple[HTTPStatus, str, bytes]:
        telemetry = self.server.telemetry
        if path == "/metrics":
            return HTTPStatus.OK, _PROMETHEUS, telemetry.render()
        if path == "/status":
            return HTTPStatus.OK, _JSON, msgspec.json.encode(telemetry.status())
        if path == "/healthz":
            stalled = telemetry.stalled()
            if stalled:
                return _said(HTTPStatus.SERVICE_UNAVAILABLE, stalled)
            unhealthy = telemetry.unhealthy()
            return _said(HTTPStatus.OK, f"ok\ninput: {unhealthy}" if unhealthy else "ok")
        if path == "/readyz":
            failing = [f"{one.name}: {one.why or 'fails'}" for one in telemetry.conditions() if not one.ok]
            return _said(HTTPStatus.SERVICE_UNAVAILABLE, "\n".join(failing)) if failing else _said(HTTPStatus.OK, "ok")
        one = next((one for one in telemetry.conditions() if path == f"/readyz/{one.name}"), None)
        if one is not None:
            return _said(HTTPStatus.OK, "ok") if one.ok else _said(HTTPStatus.SERVICE_UNAVAILABLE, one.why or "fails")
        return _said(HTTPStatus.NOT_FOUND, "answers are at /metrics, /healthz, /readyz and /status")


def _said(code: HTTPStatus, words: str) -> tuple[HTTPStatus, str, bytes]:
    return code, _TEXT, f"{words}\n".encode()
