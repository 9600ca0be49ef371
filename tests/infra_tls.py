"""A throw-away authority, and a proxy that ends TLS before a plain port."""

import socket
import ssl
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self


def authority(folder: Path, name: str) -> Path:
    """Make a CA in `folder`, and a certificate of it for 127.0.0.1; gives the CA's certificate."""
    folder.mkdir()

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)

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
                # one at a time: an SSL socket is not for two threads, and HTTP asks before it is answered
                client.settimeout(0.05)
                server.settimeout(0.05)
                while _pass(client, server) and _pass(server, client):
                    pass


def _pass(source: socket.socket, target: socket.socket) -> bool:
    """What there is now; False at the end."""
    try:
        data = source.recv(1 << 16)
    except TimeoutError:
        return True
    if not data:
        return False
    target.settimeout(10)
    target.sendall(data)
    target.settimeout(0.05)
    return True
