"""A real HTTP(S) receiver that misbehaves by script, and throw-away certificates for it.

A step is what becomes of one request:

- a status (`200`, `503`, `410`), with headers behind it: `429 retry-after=2`, `301 location=/elsewhere`;
- `hasty` and a status: the same before the request's body is read, and closed upon it;
- `hang`: the request is read, and never answered;
- `reset`: the connection is reset when the request has come in whole (so it may well have been acted on);
- `close`: closed without an answer; `garbage`: something that is no HTTP;
- `slow`: 200, and then a body that never ends, a byte at a time; `drip`: the same with the headers;
- `early`: 103 and 102, which announce an answer, then 200;
- `flood`: 200 and a body that is much larger than anyone asked for; `echo`: 400, with the request as its body.
"""

import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import pytest

_DRIP_S = 0.02


class Received(msgspec.Struct, frozen=True):
    """One request that came in whole; header names in lower case. `step` is what became of it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    step: str

    @property
    def key(self) -> str:
        return self.headers["idempotency-key"]

    @property
    def taken(self) -> bool:
        return self.step.startswith("2")


class ScriptedReceiver:
    """Answers on threads of its own; a context manager. Steps are taken in the order that requests come in."""

    def __init__(self, *steps: str, always: str = "200", tls: ssl.SSLContext | None = None) -> None:
        self.received: list[Received] = []
        self.connections = 0
        self.flooded = 0
        self._steps, self.always = list(steps), always
        self._changed = threading.Condition()
        self._ended = threading.Event()
        self._tls = tls
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/hook"
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    @property
    def keys(self) -> list[str]:
        """Of requests that were answered with 2xx, in order."""
        return [one.key for one in list(self.received) if one.taken]

    def script(self, *steps: str) -> None:
        with self._changed:
            self._steps += steps

    def wait(self, holds: Callable[[list[Received]], bool], within_s: float = 30.0) -> list[Received]:
        """What came in, once `holds` says so of it."""
        with self._changed:
            assert self._changed.wait_for(lambda: holds(self.received), within_s), self.received
            return list(self.received)

    def _listen(self) -> None:
        while not self._ended.is_set():
            try:
                connected, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connected,), daemon=True).start()

    def _serve(self, connected: socket.socket) -> None:
        try:
            if self._tls is not None:
                connected = self._tls.wrap_socket(connected, server_side=True)
            with connected:
                self._answer(connected)
        except (OSError, ValueError):  # the client has gone, or does not speak HTTP (or TLS)
            connected.close()

    def _answer(self, connected: socket.socket) -> None:
        with connected.makefile("rb") as read:
            method, path, _ = read.readline().decode().split(" ")
            headers: dict[str, str] = {}
            while line := read.readline().strip():
                name, _, value = line.decode("latin-1").partition(":")
                headers[name.lower()] = value.strip()
            with self._changed:
                hasty = bool(self._steps) and self._steps[0].startswith("hasty ")
            body = b"" if hasty else read.read(int(headers.get("content-length", "0")))
        with self._changed:
            step = (self._steps.pop(0) if self._steps else self.always).removeprefix("hasty ")
            became = "200" if step in ("slow", "flood", "early") else step
            self.received.append(Received(method, path, headers, body, became))
            self._changed.notify_all()
        self._act(connected, step, body)

    def _act(self, connected: socket.socket, step: str, body: bytes) -> None:
        status, *extra = step.split(" ")
        if step == "hang":
            self._ended.wait(60)
        elif step == "reset":
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif step == "garbage":
            connected.sendall(b"\x00\x01 this is no HTTP\r\n\r\n")
        elif step in ("slow", "drip"):
            begin = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n" + (b"\r\n" if step == "slow" else b"x-a: ")
            connected.sendall(begin)
            while not self._ended.wait(_DRIP_S):
                connected.sendall(b"a")
        elif step == "early":
            hints = b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n"
            connected.sendall(hints + b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        elif step == "flood":
            connected.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
            for _ in range(10_000):
                connected.sendall(b"a" * 100_000)
                self.flooded += 100_000
        elif step == "echo":
            connected.sendall(b"HTTP/1.1 400 Bad\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        elif step != "close":
            lines = "".join(f"{one.replace('=', ': ', 1).replace('_', ' ')}\r\n" for one in extra)
            connected.sendall(f"HTTP/1.1 {status} Said\r\n{lines}content-length: 2\r\n\r\nok".encode())


class Authority:
    """A certificate authority that lives as long as a test."""

    def __init__(self, folder: Path) -> None:
        command = shutil.which("openssl")
        if command is None:
            pytest.skip("needs the openssl command to make certificates")
        self._command = command
        self._folder = folder
        self.file = folder / "ca.pem"
        self._openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"),
            *("-subj", "/CN=throw-away", "-keyout", str(folder / "ca.key"), "-out", str(self.file)),
        )

    def server(self, name: str) -> ssl.SSLContext:
        """What a server named so (`DNS:hooks.test`, `IP:127.0.0.1`) presents."""
        key, asked, given = (self._folder / f"server.{ending}" for ending in ("key", "csr", "pem"))
        (self._folder / "ext").write_text(f"subjectAltName={name}\n", encoding="utf-8")
        self._openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=server"),
            *("-keyout", str(key), "-out", str(asked)),
        )
        self._openssl(
            *("x509", "-req", "-in", str(asked), "-CA", str(self.file), "-CAkey", str(self._folder / "ca.key")),
            *("-CAcreateserial", "-days", "1", "-extfile", str(self._folder / "ext"), "-out", str(given)),
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(given, key)
        return context

    def _openssl(self, *arguments: str) -> None:
        subprocess.run([self._command, *arguments], check=True, capture_output=True)


def until(holds: Callable[[], bool], within_s: float = 30.0) -> None:
    """Wait for a condition, at most so long."""
    ends_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < ends_s, "did not come to hold in time"
        time.sleep(0.01)
