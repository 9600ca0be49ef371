"""Connections that go where they were checked to go.

A name is looked up once, its addresses are judged, and the socket is made to one of those, by number: there is no
second look-up that could say something else. The socket's peer is judged once more after connecting. No proxy of the
environment is used.
"""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from http.client import HTTPResponse
from itertools import zip_longest
from typing import Any, TypeAlias

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError

from sinks.webhooks.addresses import Network, refused

#: Name, port → (family, socket address) in the order to try.
Lookup: TypeAlias = Callable[[str, int], Sequence[tuple[int, tuple[Any, ...]]]]


class AddressRefusedError(Exception):
    """Every address that the name has is one that must not be connected to."""


class LookupTooSlowError(Exception):
    """The name was not looked up in time."""


def look_up(host: str, port: int) -> Sequence[tuple[int, tuple[Any, ...]]]:
    """What the system says of a name.

    Raises:
        OSError: it knows none.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [(family, address) for family, _, _, _, address in found]


class Dialler:
    """Makes sockets to checked addresses, within a time.

    A look-up runs on a thread, since the system's can't be told to end; while one hangs no other is begun.
    """

    def __init__(self, allowed: Sequence[Network], connect_timeout_s: float, lookup: Lookup = look_up) -> None:
        self._allowed, self._timeout_s, self._lookup = allowed, connect_timeout_s, lookup
        self._looking: threading.Thread | None = None

    def dial(self, host: str, port: int) -> socket.socket:
        """A connected socket.

        Raises:
            AddressRefusedError, LookupTooSlowError: as they say.
            OSError: nobody knows the name, or nobody answers.
        """
        ends_s = time.monotonic() + self._timeout_s
        good, bad = [], []
        for family, address in self._addresses(host, port):
            why = refused(str(address[0]), self._allowed)
            if why:
                bad.append(f"{address[0]} {why}")
            else:
                good.append((family, address))
        if not good:
            raise AddressRefusedError(", ".join(dict.fromkeys(bad)) or "the name has no address")
        error: OSError = TimeoutError("timed out")
        for left, (family, address) in zip(range(len(good) - 1, -1, -1), _alternating(good), strict=True):
            left_s = ends_s - time.monotonic()
            if left_s <= 0:
                break
            try:  # one that answers nothing (IPv6 that leads nowhere) leaves half of the time to the others
                return self._connected(family, address, left_s / 2 if left else left_s)
            except OSError as failed:
                error = failed
        raise error

    def _connected(self, family: int, address: tuple[Any, ...], timeout_s: float) -> socket.socket:
        made = socket.socket(family, socket.SOCK_STREAM)
        try:
            made.settimeout(timeout_s)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            made.connect(address)
            self._check(str(made.getpeername()[0]))
        except BaseException:
            made.close()
            raise
        return made

    def _check(self, peer: str) -> None:
        if why := refused(peer, self._allowed):
            raise AddressRefusedError(f"{peer} {why}")

    def _addresses(self, host: str, port: int) -> Sequence[tuple[int, tuple[Any, ...]]]:
        if self._looking is not None and self._looking.is_alive():
            raise LookupTooSlowError
        answer: list[Sequence[tuple[int, tuple[Any, ...]]]] = []
        failed: list[OSError] = []

        def look() -> None:
            try:
                answer.append(self._lookup(host, port))
            except (OSError, UnicodeError) as error:
                failed.append(error if isinstance(error, OSError) else OSError(str(error)))

        self._looking = threading.Thread(target=look, name="andon-look-up", daemon=True)
        self._looking.start()
        self._looking.join(self._timeout_s)
        if failed:
            raise failed[0]
        if not answer:
            raise LookupTooSlowError
        return answer[0]


def _alternating(addresses: Sequence[tuple[int, tuple[Any, ...]]]) -> list[tuple[int, tuple[Any, ...]]]:
    """In the order given, but one of each family in turn (RFC 8305): often it is a whole family that leads nowhere."""
    families: dict[int, list[tuple[int, tuple[Any, ...]]]] = {}
    for one in addresses:
        families.setdefault(one[0], []).append(one)
    return [one for turn in zip_longest(*families.values()) for one in turn if one is not None]


class Deadline:
    """Breaks a connection off when its time is over, whatever it is doing: connecting, handshake, headers or body."""

    def __init__(self, seconds: float) -> None:
        self.passed = False
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._timer.start()

    def watch(self, connected: socket.socket) -> None:
        """Break this one off, too: a second handle of it, which stays valid when TLS takes over the first."""
        with self._lock:
            self._socket = connected.dup()
            if self.passed:
                self._break()

    def close(self) -> None:
        """The exchange is over."""
        self._timer.cancel()
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def _end(self) -> None:
        with self._lock:
            self.passed = True
            self._break()

    def _break(self) -> None:
        if self._socket is not None:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:  # it had ended by itself
                return


class FinalResponse(HTTPResponse):
    """Waits for the final answer behind interim ones (102, 103): the standard library passes over 100 alone."""

    def begin(self) -> None:
        """Read status and headers."""
        super().begin()
        while HTTPStatus.SWITCHING_PROTOCOLS < self.status < HTTPStatus.OK:
            self.headers = self.msg = None  # type: ignore[assignment] # as if nothing had been read
            super().begin()


class CheckedConnection(HTTPConnection):
    """urllib3's connection over a dialled socket."""

    response_class = FinalResponse
    dialler: Dialler
    deadline: Deadline

    def _new_conn(self) -> socket.socket:
        return _dialled(self, self.dialler, self.deadline)


class CheckedTlsConnection(HTTPSConnection):
    """The same under TLS; the certificate is held against the name, not the address."""

    response_class = FinalResponse
    dialler: Dialler
    deadline: Deadline

    def _new_conn(self) -> socket.socket:
        return _dialled(self, self.dialler, self.deadline)


def connection(
    scheme: str,
    host: str,
    port: int,
    *,
    dialler: Dialler,
    deadline: Deadline,
    read_timeout_s: float,
    context: ssl.SSLContext,
) -> HTTPConnection:
    """A connection that has not been opened yet."""
    made: CheckedConnection | CheckedTlsConnection
    if scheme == "https":
        made = CheckedTlsConnection(host, port, timeout=read_timeout_s, ssl_context=context)
    else:
        made = CheckedConnection(host, port, timeout=read_timeout_s)
    made.dialler, made.deadline = dialler, deadline
    return made


def _dialled(connection: HTTPConnection, dialler: Dialler, deadline: Deadline) -> socket.socket:
    try:
        made = dialler.dial(connection.host, connection.port or 0)
    except OSError as error:
        raise NewConnectionError(connection, str(error)) from error
    timeout = connection.timeout
    made.settimeout(timeout if isinstance(timeout, int | float) else None)
    deadline.watch(made)
    return made
