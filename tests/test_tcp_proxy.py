"""The proxy that stands before a broker or a database: what it passes, and what it does not."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.tcp_proxy import HOST, TcpProxy


@pytest.fixture
def echo() -> Iterator[str]:
    """A server that sends back what it gets; its address."""
    listener = socket.create_server((HOST, 0))

    def answer(one: socket.socket) -> None:
        try:
            with one:
                while piece := one.recv(65_536):
                    one.sendall(piece)
        except OSError:
            pass  # cut off

    threads: list[threading.Thread] = []

    def accept() -> None:
        while True:
            try:
                one, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=answer, args=(one,)))
            threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    yield f"{HOST}:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    accepting.join(10)
    listener.close()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture
def proxy(echo: str) -> Iterator[TcpProxy]:
    with TcpProxy(echo) as one:
        yield one


def connect(proxy: TcpProxy) -> socket.socket:
    return socket.create_connection((HOST, proxy.port), timeout=10)


def said(connection: socket.socket, text: bytes) -> bytes:
    connection.sendall(text)
    got = b""
    while len(got) < len(text) and (piece := connection.recv(65_536)):
        got += piece
    return got


def test_everything_passes_both_ways(proxy: TcpProxy) -> None:
    text = bytes(range(256)) * 4_000
    with connect(proxy) as connection:
        sender = threading.Thread(target=connection.sendall, args=(text,))
        sender.start()
        got = b""
        while len(got) < len(text):
            got += connection.recv(65_536)
        sender.join()
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
    assert got == text


@pytest.mark.parametrize("reset", [False, True])
def test_a_cut_ends_connections_and_refuses_new_ones_until_restored(proxy: TcpProxy, reset: bool) -> None:
    with connect(proxy) as first, connect(proxy) as second:
        assert said(first, b"a") == said(second, b"a") == b"a"
        assert proxy.connections == 2
        proxy.cut(reset=reset)
        assert proxy.connections == 0
        for one in (first, second):
            if reset:
                with pytest.raises(ConnectionResetError):
                    one.recv(1)
            else:
                assert one.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    proxy.cut()
    proxy.restore()
    with connect(proxy) as third:
        assert said(third, b"b") == b"b"
    assert proxy.accepted == 3


def test_silence_keeps_connections_and_what_was_said(proxy: TcpProxy) -> None:
    with connect(proxy) as connection:
        assert said(connection, b"a") == b"a"
        proxy.silence()
        connection.sendall(b"b")
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        proxy.restore()
        connection.settimeout(10)
        assert connection.recv(1) == b"b"
        proxy.silence()
        connection.sendall(b"c")
        proxy.cut(reset=False)
        proxy.restore()
        assert connection.recv(1) == b""


def test_delay_and_rate_take_their_time(proxy: TcpProxy) -> None:
    with connect(proxy) as connection:
        proxy.delay_s = 0.1
        began = time.monotonic()
        assert said(connection, b"a") == b"a"
        assert time.monotonic() - began >= 0.2
        proxy.delay_s, proxy.bytes_per_s = 0.0, 100_000
        began = time.monotonic()
        assert said(connection, bytes(20_000)) == bytes(20_000)
        assert time.monotonic() - began >= 0.2
        proxy.bytes_per_s = 1.0
        connection.sendall(bytes(1_000))
        began = time.monotonic()
        proxy.cut()  # does not wait for what is slow
        assert time.monotonic() - began < 5


def test_without_a_target_connections_end_at_once(proxy: TcpProxy) -> None:
    echo, proxy.target = str(proxy.target), None
    with pytest.raises(ConnectionResetError), connect(proxy) as connection:
        connection.recv(1)
    proxy.target = int(echo.rpartition(":")[2])
    with connect(proxy) as connection:
        assert said(connection, b"a") == b"a"
