"""One HTTP exchange, bounded in every direction: addresses, sizes, times; and its errors in words without secrets."""

import ssl
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from urllib.parse import urlsplit

import msgspec
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.response import BaseHTTPResponse

from sinks.webhooks.addresses import networks_of
from sinks.webhooks.connecting import (
    AddressRefusedError,
    Deadline,
    Dialler,
    Lookup,
    LookupTooSlowError,
    connection,
    look_up,
)
from sinks.webhooks.receivers.choice import Endpoint
from sinks.webhooks.request import Request
from sinks.webhooks.secret_values import without
from sinks.webhooks.verdicts import Answer

#: What is read of an answer, and what of that is kept in a record.
LARGEST_ANSWER = 65_536
_KEPT = 300
_CHUNK = 8_192
_PORTS = {"https": 443, "http": 80}
USER_AGENT = "Andon"


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds: to look up and connect, without a byte, and for the whole exchange."""

    connect_s: float = 5.0
    read_s: float = 10.0
    total_s: float = 30.0


Post = Callable[[Request], Answer]


class Poster:
    """Sends requests to one endpoint, each over a connection of its own.

    Alerts are few, and each time the name is looked up and its address judged anew. Never raises for what the other
    side or the network does: that is an `Answer`.
    """

    def __init__(self, endpoint: Endpoint, timeouts: Timeouts, lookup: Lookup = look_up) -> None:
        parts = urlsplit(endpoint.url.reveal())
        self._endpoint, self._timeouts = endpoint, timeouts
        self._scheme, self._host = parts.scheme, parts.hostname or ""
        self._port = parts.port or _PORTS[parts.scheme]
        self._path, self._query = parts.path, parts.query
        self._dialler = Dialler(networks_of(endpoint.allow_networks), timeouts.connect_s, lookup)
        self._context = ssl.create_default_context(cafile=endpoint.ca_file or None)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2

    def __call__(self, request: Request) -> Answer:
        """One exchange."""
        deadline = Deadline(self._timeouts.total_s)
        try:
            return self._exchanged(request, deadline)
        except AddressRefusedError as error:
            return Answer(error=f"its address must not be connected to: {error}; see allow_networks")
        except (LookupTooSlowError, HTTPError, HTTPException, OSError, ValueError) as error:
            if deadline.passed:
                return Answer(error=f"no answer within {self._timeouts.total_s:g} s")
            return Answer(error=self._clean(_words(error)))
        finally:
            deadline.close()

    def _exchanged(self, request: Request, deadline: Deadline) -> Answer:
        made = connection(
            self._scheme,
            self._host,
            self._port,
            dialler=self._dialler,
            deadline=deadline,
            read_timeout_s=self._timeouts.read_s,
            context=self._context,
        )
        try:
            made.connect()
            with suppress(ConnectionError, ssl.SSLEOFError):  # who has heard enough may answer, and close at once
                made.request(
                    request.method,
                    self._target(request),
                    body=request.body,
                    headers=self._headers(request),
                    preload_content=False,
                    decode_content=False,
                    enforce_content_length=True,
                )
            response = made.getresponse()
            text = self._body(response, deadline)
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, headers, text)
        finally:
            made.close()

    def _body(self, response: BaseHTTPResponse, deadline: Deadline) -> str:
        """The beginning of the answer. One that breaks off in its body has still said its status: that counts."""
        raw = b""
        try:
            while len(raw) < LARGEST_ANSWER and not deadline.passed:
                chunk = response.read(_CHUNK)
                if not chunk:
                    break
                raw += chunk
        except (HTTPError, HTTPException, OSError):
            raw += b" (the answer broke off)"
        words = " ".join(raw.decode("utf-8", "replace").split())
        shown = "".join(character if character.isprintable() else "?" for character in words)
        return self._clean(shown)[:_KEPT]

    def _target(self, request: Request) -> str:
        path = (self._path.rstrip("/") if request.path else self._path) + request.path
        return (path or "/") + (f"?{self._query}" if self._query else "")

    def _headers(self, request: Request) -> dict[str, str]:
        own = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", "Connection": "close"}
        if self._endpoint.authorization is not None:
            own["Authorization"] = self._endpoint.authorization.reveal()
        return {**self._endpoint.headers, **own, **request.headers}

    def _clean(self, text: str) -> str:
        return without(text, self._endpoint.secrets)


def _words(error: Exception) -> str:
    """What went wrong, from the error's kind: its own text may hold the URL."""
    if isinstance(error, LookupTooSlowError):
        return "the name was not looked up in time"
    if isinstance(error, ReadTimeoutError | TimeoutError):
        return "no answer in time"
    if isinstance(error, NewConnectionError):
        return f"no connection: {_cause(error)}"
    if isinstance(error, ConnectTimeoutError):
        return "no connection in time"
    if isinstance(error, SSLError | ssl.SSLError):
        return f"TLS: {_tls(error)}"
    if isinstance(error, ProtocolError | ConnectionError | HTTPException):
        return "the connection was closed before an answer"
    return f"{type(error).__name__}"


def _cause(error: BaseException) -> str:
    cause = error.__cause__
    if isinstance(cause, TimeoutError):
        return "nobody answers in time"
    return (cause.strerror if isinstance(cause, OSError) else None) or type(cause or error).__name__


def _tls(error: BaseException) -> str:
    """What TLS says: the reason, without file and line of the library."""
    inner = error.args[0] if error.args and isinstance(error.args[0], ssl.SSLError) else error
    if isinstance(inner, ssl.SSLCertVerificationError):
        return f"the certificate is not accepted: {inner.verify_message}"
    reason = getattr(inner, "reason", None)
    return str(reason).lower().replace("_", " ") if isinstance(reason, str) else "the handshake failed"
