"""ClickHouse's HTTP interface over the real chDB engine, as far as clickhouse-connect needs it, with faults by script.

What a real server does and this does not: sessions, users beside one password, `client_protocol_version` (the
driver copes, as behind a proxy that strips it), answers that stream (they are held whole).
"""

import email
import email.policy
import gzip
import json
import os
import re
import signal
import socket
import struct
import threading
import time
import zlib
from base64 import b64encode
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import chdb
import lz4.frame
import msgspec
from backports import zstd

FAULTS_PATH = "/_faults"
_STEP = re.compile(
    r"^(pass|bare|reset|cut|lose|die|die_after|hang|slow:\d+(\.\d+)?|code:\d+|late:\d+|text:\d+|[345]\d\d)$"
)
_NAMED = {"readonly": "code:242", "too_many_parts": "code:252", "memory": "code:241", "denied": "code:497"}
#: Parameters of a request that are no settings of the engine.
_TRANSPORT = re.compile(
    r"param_.*|query|query_id|database|default_format|user|password|role|quota_key|session_(id|timeout|check)|compress|"
    r"decompress|buffer_size|wait_end_of_query|enable_http_compression|client_protocol_version|"
    r"send_progress_in_http_headers|http_headers_progress_interval_ms"
)
_INSERT = re.compile(rb"\s*(INSERT\s+INTO\s+[^\n]*?)\s+FORMAT\s+(\w+)[ \t]*\r?\n", re.IGNORECASE)
_FORMAT = re.compile(rb"\bFORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
_CODE = re.compile(r"Code: (\d+)\. ")
_STATUSES = {516: 403, 497: 403, 60: 404, 81: 404, 47: 404, 46: 404, 62: 400, 115: 400, 27: 400, 117: 400}


class Script(msgspec.Struct, forbid_unknown_fields=True):
    """What goes wrong: `steps` for the next inserts, one each; then `always`. `latency_s` is for every request.

    - `pass`; `slow:SECONDS`, then pass;
    - `503` (any status from 300): a proxy's answer, nothing carried out;
    - `code:N`, `readonly`, `too_many_parts`, `memory`, `denied`: an error of the engine, nothing carried out;
    - `late:N`: the same behind a status of 200, as where the headers had begun when it came; `text:N`: with nothing but
      its words, as through a proxy that takes ClickHouse's headers out;
    - `reset`: the connection is reset in the middle of the request's body;
    - `lose`: carried out, then the connection is closed without an answer; `cut`: in the middle of the answer;
    - `bare`: carried out, and answered without the summary, as through a proxy that takes it out;
    - `hang`: no answer, nothing carried out;
    - `die`, `die_after`: SIGKILL in the middle of the body, or when it is carried out.

    With `everything`, queries take steps, too, and not only inserts.
    """

    steps: list[str] = []
    always: str = "pass"
    latency_s: float = 0.0
    everything: bool = False

    def __post_init__(self) -> None:
        self.steps = [_NAMED.get(step, step) for step in self.steps]
        self.always = _NAMED.get(self.always, self.always)
        for step in (*self.steps, self.always):
            if not _STEP.match(step):
                raise ValueError(f"no such step: {step!r}")


class Seen(msgspec.Struct, frozen=True):
    """A request that took a step: its deduplication token, and the step."""

    token: str
    step: str


class Faults:
    """The script as far as it has not happened yet, and what has."""

    def __init__(self, script: Script) -> None:
        self._lock = threading.Lock()
        self.script = script
        self.seen: list[Seen] = []

    def replace(self, script: Script) -> None:
        """Begin anew."""
        with self._lock:
            self.script = script
            self.seen = []

    def step(self, token: str, *, inserting: bool) -> str:
        """What happens to this request."""
        with self._lock:
            if not inserting and not self.script.everything:
                return "pass"
            step = self.script.steps.pop(0) if self.script.steps else self.script.always
            self.seen.append(Seen(token, step))
            return step


class Result(msgspec.Struct, frozen=True):
    """What a statement gave."""

    body: bytes
    rows: int
    bytes: int
    elapsed_s: float


class Engine:
    """chDB over a directory. Each statement has a connection of its own (1 ms), as HTTP without a session has."""

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self._path = os.path.realpath(path)
        self._lock = threading.Lock()
        self._open = chdb.connect(self._path)  # while one is open the engine stays up
        self.version = self._open.query("SELECT version()", "TabSeparatedRaw").bytes().decode().strip()

    def run(
        self,
        sql: bytes,
        parameters: Mapping[str, str],
        *,
        database: str = "",
        settings: Mapping[str, str] | None = None,
        form: str = "TabSeparated",
    ) -> Result:
        """Run one statement. An `INSERT … FORMAT` carries its data behind the first line."""
        insert = _INSERT.match(sql[:65_536])
        with self._lock:
            connection = chdb.connect(self._path)
            try:
                if database:
                    connection.query(f"USE `{database}`", form)
                if settings:
                    pairs = ", ".join(f"{name} = {_quoted(value)}" for name, value in settings.items())
                    connection.query(f"SET {pairs}", form)
                if insert is None:
                    return _result(connection.query(sql, form, params=dict(parameters)))
                with open(os.memfd_create("block"), "wb") as file:  # noqa: PTH123 - a file without a name
                    file.write(memoryview(sql)[insert.end() :])
                    file.flush()
                    target, kind = insert.group(1).decode(), insert.group(2).decode()
                    source = f"/proc/self/fd/{file.fileno()}"
                    return _result(connection.query(f"{target} FROM INFILE '{source}' FORMAT {kind}", form))
            finally:
                connection.close()

    def name_of(self, code: int) -> str:
        """The engine's name of an error."""
        return self.run(f"SELECT errorCodeToName({code})".encode(), {}).body.decode().strip()

    def close(self) -> None:
        """Give the directory back, when the statement under way is through."""
        with self._lock:
            self._open.close()


class Server(ThreadingHTTPServer):
    """The front: 127.0.0.1 only."""

    daemon_threads = True

    def __init__(self, engine: Engine, port: int, script: Script, password: str | None) -> None:
        self.engine = engine
        self.faults = Faults(script)
        self.authorization = None if password is None else b64encode(f"default:{password}".encode()).decode()
        super().__init__(("127.0.0.1", port), Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as the base class has it
        """A client that goes away is no news here."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 65_536

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing: the script is known, and the rest is the engine's."""

    def _answer(self) -> None:
        url = urlsplit(self.path)
        if url.path == FAULTS_PATH:
            self._control()
            return
        if url.path in {"/ping", "/replicas_status"}:
            self._send(200, b"Ok.\n", {})
            return
        parameters = dict(parse_qsl(url.query, keep_blank_values=True))
        inserting = self.headers.get("Content-Type", "") == "application/octet-stream"
        token = parameters.get("insert_deduplication_token", "")
        time.sleep(self.server.faults.script.latency_s)
        step, _, argument = self.server.faults.step(token, inserting=inserting).partition(":")
        if step in {"reset", "die"}:
            self._read_some()
            self._vanish(step)
            return
        body = self._body()
        if step == "hang":
            self.connection.recv(1)  # until the client has had enough
            self._vanish("lose")
        elif step.isdigit():
            self._send(int(step), b"<html>not from ClickHouse</html>", {"Content-Type": "text/html"})
        elif step in {"code", "late", "text"}:
            name = self.server.engine.name_of(int(argument))
            self._refuse(f"Code: {argument}. DB::Exception: as the script says. ({name})", step)
        else:
            time.sleep(float(argument or 0))
            self._carry_out(body, parameters, "" if step in {"pass", "slow"} else step)

    def _carry_out(self, body: bytes, parameters: dict[str, str], then: str) -> None:
        authorization = self.server.authorization
        if authorization is not None and self.headers.get("Authorization") != f"Basic {authorization}":
            self._refuse("Code: 516. DB::Exception: default: Authentication failed. (AUTHENTICATION_FAILED)")
            return
        try:
            body = _decompressed(body, self.headers.get("Content-Encoding", ""))
            if self.headers.get("Content-Type", "").startswith("multipart/form-data"):
                parameters |= _form(self.headers["Content-Type"], body)
                body = b""
            sql = b"\n".join(part for part in (parameters.get("query", "").encode(), body) if part)
            result = self.server.engine.run(
                sql,
                {name[6:]: value for name, value in parameters.items() if name.startswith("param_")},
                database=parameters.get("database", ""),
                settings={name: value for name, value in parameters.items() if not _TRANSPORT.fullmatch(name)},
                form=parameters.get("default_format", "TabSeparated"),
            )
        except Exception as error:  # noqa: BLE001 - whatever the engine raises is its answer
            self._refuse(str(error))
            return
        if then == "bare":
            self._send(200, result.body, {})
            return
        if then:
            self._vanish(then)
            return
        counts = {"read_rows": result.rows, "read_bytes": result.bytes, "written_rows": 0, "written_bytes": 0}
        if _INSERT.match(sql[:65_536]):
            counts |= {"written_rows": result.rows, "written_bytes": result.bytes}
        summary = {name: str(count) for name, count in counts.items()}
        headers = {
            "X-ClickHouse-Summary": json.dumps(summary | {"elapsed_ns": str(int(result.elapsed_s * 1e9))}),
            "X-ClickHouse-Query-Id": parameters.get("query_id", ""),
            "X-ClickHouse-Timezone": "UTC",
        }
        named = _FORMAT.search(sql[-200:])
        if result.body or named:
            headers["X-ClickHouse-Format"] = named.group(1).decode() if named else "TabSeparated"
        answer = result.body
        if parameters.get("enable_http_compression") == "1" and answer:
            encoding = "lz4" if "lz4" in self.headers.get("Accept-Encoding", "") else "gzip"
            answer = lz4.frame.compress(answer) if encoding == "lz4" else gzip.compress(answer, 1)
            headers["Content-Encoding"] = encoding
        self._send(200, answer, headers)

    def _refuse(self, words: str, how: str = "code") -> None:
        found = _CODE.search(words)
        code = int(found.group(1)) if found else 1002
        text = words[found.start() :] if found else f"Code: 1002. DB::Exception: {words}. (UNKNOWN_EXCEPTION)"
        body = f"{text.strip()} (version {self.server.engine.version} (official build))\n".encode()
        headers = {} if how == "text" else {"X-ClickHouse-Exception-Code": str(code)}
        self._send(_STATUSES.get(code, 500) if how == "code" else 200, body, headers)

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _vanish(self, how: str) -> None:
        """End without an answer: this connection, or the process."""
        if how.startswith("die"):
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "cut":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/pl")
            self.wfile.flush()
        if how == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())  # no orderly end: with lingering off, this is a reset
        self.close_connection = True

    def _read_some(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            self.rfile.read(int(self.rfile.readline(), 16) // 2)
        else:
            self.rfile.read(int(self.headers.get("Content-Length", 0)) // 2)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return _dechunked(self.rfile)

    def _control(self) -> None:
        faults = self.server.faults
        if self.command == "POST":
            try:
                faults.replace(msgspec.json.decode(self._body(), type=Script))
            except msgspec.DecodeError as error:
                self._send(400, str(error).encode(), {})
                return
        body = msgspec.json.encode({"script": faults.script, "seen": faults.seen})
        self._send(200, body, {"Content-Type": "application/json"})


def _dechunked(file: BufferedIOBase) -> bytes:
    parts = []
    while size := int(file.readline(), 16):
        parts.append(file.read(size))
        file.readline()
    file.readline()
    return b"".join(parts)


def _decompressed(data: bytes, encoding: str) -> bytes:
    """The body; of a compressed one each block is a frame of its own."""
    if encoding in {"", "identity"}:
        return data
    if encoding == "gzip":
        return gzip.decompress(data)
    if encoding == "deflate":
        return zlib.decompress(data)
    if encoding not in {"lz4", "zstd"}:
        raise ValueError(f"Unknown compression method: {encoding}")
    parts = []
    while data:
        frame = lz4.frame.LZ4FrameDecompressor() if encoding == "lz4" else zstd.ZstdDecompressor()
        parts.append(frame.decompress(data))
        if not frame.eof:
            raise ValueError("the compressed body ends too early")
        data = frame.unused_data or b""
    return b"".join(parts)


def _form(kind: str, body: bytes) -> dict[str, str]:
    """The fields of a form: so come parameters too long for an address."""
    whole = email.message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + body, policy=email.policy.HTTP)
    found = {}
    for part in whole.walk():
        name = part.get_param("name", header="content-disposition")
        payload = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(payload, bytes):
            found[name] = payload.decode()
    return found


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _result(found: Any) -> Result:  # noqa: ANN401 - the engine has no types
    return Result(found.bytes() or b"", found.rows_read(), found.bytes_read(), found.elapsed())
