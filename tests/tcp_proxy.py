"""A TCP proxy on loopback that can be cut, made silent, slowed and restored, to stand before a broker or a database."""

import contextlib
import random
import socket
import struct
import threading
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
_CHUNK = 65_536
_END_S = 10.0
#: Below the range from which the system takes ports for outgoing connections: what stops can start again.
_PORTS = range(20_000, 32_000)
#: Close with a reset, not with a farewell.
_RESET = struct.pack("ii", 1, 0)


def free_port() -> int:
    """A port that nobody listens on and no outgoing connection will be given."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.bind((HOST, port))
            return port


class TcpProxy:
    """Passes connections to its own port on to `target` ("host:port", which may change; none is refused).

    `delay_s` is added to every piece that passes, in both directions; `bytes_per_s` is the rate of each direction of
    each connection, None without limit. Both hold from the next piece on.
    """

    def __init__(self, target: str | None = None) -> None:
        self.target = target
        self.delay_s = 0.0
        self.bytes_per_s: float | None = None
        self.port = free_port()
        self._reserved = _socket(self.port)  # holds the port while nobody listens
        self._lock = threading.Lock()
        self._flowing = threading.Event()
        self._flowing.set()
        self._listener: socket.socket | None = None
        self._threads: set[threading.Thread] = set()
        self._connections: set[_Connection] = set()
        self.restore()

    @property
    def address(self) -> str:
        """Where it listens: "127.0.0.1:PORT"."""
        return f"{HOST}:{self.port}"

    @property
    def connections(self) -> int:
        """How many connections pass through."""
        with self._lock:
            return len(self._connections)

    def cut(self, *, reset: bool = False) -> None:
        """End every connection and refuse new ones; when this returns, nothing passes any more."""
        with self._lock:
            listener, self._listener = self._listener, None
            ended = list(self._connections)
            threads = list(self._threads)
        if listener is not None:
            listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
            listener.close()
        for connection in ended:
            connection.end(reset=reset)
        for thread in threads:
            thread.join(_END_S)
            assert not thread.is_alive(), "a connection did not end"

    def silence(self) -> None:
        """Keep connections, take new ones, and let nothing pass, as a network that loses every packet."""
        self._flowing.clear()

    def restore(self) -> None:
        """Undo `cut` and `silence`."""
        self._flowing.set()
        with self._lock:
            if self._listener is not None:
                return
            listener = _socket(self.port)
            listener.listen(128)
            self._listener = listener
            self._run(self._accept, listener)

    def close(self) -> None:
        """End everything and give the port back."""
        self.cut()
        self._flowing.set()
        self._reserved.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return  # cut
            far = self._connect()
            if far is None:
                near.close()
                continue
            connection = _Connection(self, near, far)
            with self._lock:
                if self._listener is not listener:
                    connection.end()
                    connection.close()
                    return
                self._connections.add(connection)
                self._run(self._carry, connection)

    def _connect(self) -> socket.socket | None:
        if self.target is None:
            return None
        host, _, port = self.target.rpartition(":")
        try:
            return socket.create_connection((host, int(port)), timeout=_END_S)
        except OSError:
            return None

    def _carry(self, connection: "_Connection") -> None:
        back = threading.Thread(target=connection.pump, args=(connection.far, connection.near), daemon=True)
        back.start()
        connection.pump(connection.near, connection.far)
        back.join()
        with self._lock:
            self._connections.discard(connection)
        connection.close()

    def _run(self, work: object, subject: object) -> None:
        """Start a thread that `cut` waits for; the lock is held."""
        assert callable(work)

        def run() -> None:
            try:
                work(subject)
            finally:
                with self._lock:
                    self._threads.discard(thread)

        thread = threading.Thread(target=run, daemon=True)
        self._threads.add(thread)
        thread.start()

    def wait_to_flow(self, ended: threading.Event, size: int) -> bool:
        """Wait as long as `size` bytes take; False when the connection has ended meanwhile."""
        wait_s = self.delay_s + (size / self.bytes_per_s if self.bytes_per_s else 0.0)
        if ended.wait(wait_s) if wait_s else ended.is_set():
            return False
        while not self._flowing.wait(0.02):
            if ended.is_set():
                return False
        return True


class _Connection:
    """The two sockets of a connection, and one thread for each direction."""

    def __init__(self, proxy: TcpProxy, near: socket.socket, far: socket.socket) -> None:
        self.near, self.far = near, far
        self._proxy = proxy
        self._ended = threading.Event()
        for one in (near, far):
            one.settimeout(None)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while piece := source.recv(_CHUNK):
                if not self._proxy.wait_to_flow(self._ended, len(piece)):
                    return
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)  # this direction is through; the other may go on
        except OSError:
            self.end()

    def end(self, *, reset: bool = False) -> None:
        """Wake both directions; their threads close the sockets."""
        self._ended.set()
        for one in (self.near, self.far):
            with contextlib.suppress(OSError):
                if reset:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    one.shutdown(socket.SHUT_RD)
                else:
                    one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.near.close()
        self.far.close()


def _socket(port: int) -> socket.socket:
    """Bound to `port`, which several sockets of this process may be at once; only one that listens is connected to."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind((HOST, port))
    return bound
