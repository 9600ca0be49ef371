"""A TCP proxy on loopback that can be cut, made silent, slowed and restored, to stand before a broker or a database."""

import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
_PIECE = 65_536
_END_S = 15.0
#: Below the range from which the system takes ports for outgoing connections: what stops can start again on its port.
_PORTS = range(20_000, 32_000)
#: What one direction of a connection does with each piece that comes.
Change = Callable[[bytes], bytes]
#: Linger for 0 s: a socket closes with a reset.
_RESET = struct.pack("ii", 1, 0)


def free_port() -> int:
    """A port that nobody listens on and that no outgoing connection will be given."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.bind((HOST, port))
            return port


class TcpProxy:
    """Passes connections to its own address on to `target`, in a context manager or until `close`.

    Args:
        target: "host:port", or a port of this machine; None refuses whoever comes before it is set.

    Attributes:
        target: as above; may be changed for the connections to come.
        delay_s: goes before every piece (64 KiB at most) that passes, in both directions, from the next piece on.
        bytes_per_s: the rate of each direction of each connection, from the next piece on; None without limit.
        changes: asked for each connection to come: what becomes of what is asked, and of what is answered.
        port: where it listens, at 127.0.0.1; the same for as long as it lives.
        accepted: how many connections there have been.
    """

    def __init__(self, target: str | int | None = None) -> None:
        self.target = target
        self.delay_s = 0.0
        self.bytes_per_s: float | None = None
        self.changes: Callable[[], tuple[Change, Change]] = lambda: (bytes, bytes)
        self.accepted = 0
        self.port = free_port()
        self._reserved = _bound(self.port)  # holds the port while nobody listens
        self._lock = threading.Lock()
        self._flowing = threading.Event()
        self._listener: socket.socket | None = None
        self._threads: list[threading.Thread] = []
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

    def cut(self, *, reset: bool = True) -> None:
        """Reset every connection, or close it in good order, and refuse new ones; then nothing passes any more."""
        with self._lock:
            listener, self._listener = self._listener, None
            threads, self._threads = self._threads, []
            ended = list(self._connections)
        if listener is not None:
            listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        for connection in ended:
            connection.end(reset=reset)
        for thread in threads:
            thread.join(_END_S)
            assert not thread.is_alive(), "a connection of the proxy did not end"
        if listener is not None:
            listener.close()

    def silence(self) -> None:
        """Keep connections, take new ones, and let nothing pass, as a network that loses every packet."""
        self._flowing.clear()

    def restore(self) -> None:
        """Undo `cut` and `silence`."""
        self._flowing.set()
        with self._lock:
            if self._listener is None:
                self._listener = _bound(self.port)
                self._listener.listen(128)
                self._start(threading.Thread(target=self._accept, args=(self._listener,), daemon=True))

    def close(self) -> None:
        """End everything and give the port back."""
        self.cut()
        self._reserved.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def wait_to_pass(self, size: int, ended: threading.Event) -> bool:
        """Wait as long as `size` bytes take; False when the connection has ended meanwhile."""
        wait_s = self.delay_s + (size / self.bytes_per_s if self.bytes_per_s else 0.0)
        if wait_s:
            ended.wait(wait_s)
        while not ended.is_set() and not self._flowing.wait(0.02):
            pass
        return not ended.is_set()

    def _start(self, thread: threading.Thread) -> None:
        """Start a thread that `cut` waits for; the lock is held."""
        self._threads = [*filter(threading.Thread.is_alive, self._threads), thread]
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return  # cut
            self.accepted += 1
            far = self._connect()
            if far is None:
                near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                near.close()
                continue
            connection = _Connection(self, near, far)
            with self._lock:
                if self._listener is not listener:
                    connection.close()
                    return
                self._connections.add(connection)
                self._start(threading.Thread(target=self._carry, args=(connection,), daemon=True))

    def _connect(self) -> socket.socket | None:
        if self.target is None:
            return None
        host, _, port = str(self.target).rpartition(":")
        try:
            return socket.create_connection((host or HOST, int(port)), timeout=_END_S / 2)
        except OSError:
            return None

    def _carry(self, connection: "_Connection") -> None:
        asked, answered = self.changes()
        arguments = (connection.far, connection.near, answered)
        back = threading.Thread(target=connection.pass_on, args=arguments, daemon=True)
        back.start()
        connection.pass_on(connection.near, connection.far, asked)
        back.join()
        with self._lock:
            self._connections.discard(connection)
        connection.close()


class _Connection:
    """The two sockets of a connection, with one thread for each direction."""

    def __init__(self, proxy: TcpProxy, near: socket.socket, far: socket.socket) -> None:
        self.near, self.far = near, far
        self._proxy = proxy
        self._ended = threading.Event()
        for one in (near, far):
            one.settimeout(None)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def pass_on(self, source: socket.socket, sink: socket.socket, change: Change) -> None:
        try:
            while came := source.recv(_PIECE):
                piece = change(came)
                if not self._proxy.wait_to_pass(len(piece), self._ended):
                    return
                sink.sendall(piece)
            if not self._ended.is_set():
                sink.shutdown(socket.SHUT_WR)  # this direction is through; the other may go on
        except OSError:
            self.end()

    def end(self, *, reset: bool = True) -> None:
        """Wake the threads of both directions, which close the sockets."""
        self._ended.set()
        for one in (self.near, self.far):
            with contextlib.suppress(OSError):
                if reset:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                one.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)

    def close(self) -> None:
        self.near.close()
        self.far.close()


def _bound(port: int) -> socket.socket:
    """A socket of this port, of which there may be several in this process; who connects gets the one that listens."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind((HOST, port))
    return made
