"""A throw-away authority, a proxy that ends TLS before a plain port, and brokers that are spoken to over TLS."""

import os
import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.kafka_broker import SERVER_VARIABLE, ApacheKafka, Broker
from tests.readable import readable
from tests.tcp_proxy import HOST, TcpProxy


def authority(folder: Path, name: str) -> Path:
    """Make a CA in `folder`, and a certificate of it for 127.0.0.1; gives the CA's certificate."""
    folder.mkdir()
    program = shutil.which("openssl")
    assert program is not None

    def openssl(*arguments: str) -> None:
        subprocess.run([program, *arguments], cwd=folder, check=True, capture_output=True, timeout=60)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", f"/CN={name}")
    openssl("req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=clickhouse")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "1", "-extfile", "names")
    openssl("x509", "-req", "-in", "server.csr", *signing, "-out", "server.pem")
    return folder / "ca.pem"


class TlsFront:
    """Takes TLS at `port` and passes it on to a plain port of this machine; a context manager."""

    def __init__(self, folder: Path, to: int) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._context.load_cert_chain(folder / "server.pem", folder / "server.key")
        self._to = to
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.versions: set[str | None] = set()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                plain, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with suppress(OSError), self._context.wrap_socket(plain, server_side=True) as client:
            self.versions.add(client.version())
            with socket.create_connection(("127.0.0.1", self._to)) as server:
                other: dict[socket.socket, socket.socket] = {client: server, server: client}
                while True:
                    ready = [client] if client.pending() else readable(other)
                    for source in ready:
                        data = source.recv(1 << 16)
                        if not data:
                            return
                        other[source].sendall(data)


class TansuBehindTls(Broker):
    """Tansu, which speaks no TLS itself, behind a proxy that does: the address it tells its clients is the proxy's.

    The job speaks TLS to it, and so does the test: `client` is what both need.
    """

    def __init__(self, folder: Path) -> None:
        if os.environ.get(SERVER_VARIABLE):
            pytest.skip(f"the server that {SERVER_VARIABLE} names can't be put behind TLS")
        super().__init__()
        self.client = {"security.protocol": "SSL", "ssl.ca.location": str(folder / "ca.pem")}
        self._plain = f"{HOST}:{self.port}"
        self._front = TlsFront(folder, self.port)
        self.direct = self.bootstrap = f"{HOST}:{self._front.port}"

    @property
    def versions(self) -> set[str | None]:
        """Of TLS, that were spoken."""
        return self._front.versions

    def start(self) -> None:
        self._front.__enter__()
        super().start()

    def stop(self) -> None:
        super().stop()
        self._front.__exit__(None, None, None)

    def _command(self) -> list[str]:
        command = super()._command()
        command[command.index("--listener-url") + 1] = f"tcp://{self._plain}"
        return command


class ApacheOverTls(ApacheKafka):
    """Apache Kafka with a listener of its own over TLS, which asks clients for a certificate of the same authority.

    The test itself writes to the plain listener beside it.
    """

    def __init__(self, folder: Path) -> None:
        self.client = {
            "security.protocol": "SSL",
            "ssl.ca.location": str(folder / "ca.pem"),
            "ssl.certificate.location": str(folder / "server.pem"),
            "ssl.key.location": str(folder / "server.key"),
        }
        self._certificates = folder
        super().__init__(proxy=TcpProxy())

    def stop(self) -> None:
        super().stop()
        if self.proxy is not None:
            self.proxy.close()

    def _properties(self) -> str:
        (self._certificates / "kafka.pem").write_text(
            (self._certificates / "server.key").read_text() + (self._certificates / "server.pem").read_text()
        )
        secured = {
            "ssl.client.auth": "required",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self._certificates / "kafka.pem",
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self._certificates / "ca.pem",
        }
        lines = "".join(f"listener.name.proxied.{name}={value}\n" for name, value in secured.items())
        return super()._properties().replace("PROXIED:PLAINTEXT", "PROXIED:SSL") + lines
