"""TLS to the database: an own authority is named with SSL_CERT_FILE, and nobody else's certificate is taken."""

import shutil
from pathlib import Path

import pytest

from tests.clickhouse_front import ClickHouseFront
from tests.infra_tls import TlsFront, authority
from tests.processes import andon


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the authority, and is not installed")
def test_the_database_is_spoken_to_over_tls_under_an_own_authority(tmp_path: Path) -> None:
    ours, theirs = authority(tmp_path / "ours", "Ours"), authority(tmp_path / "theirs", "Theirs")
    with ClickHouseFront(tmp_path / "db") as plain, TlsFront(tmp_path / "ours", plain.port) as front:
        dsn = f"https://default@127.0.0.1:{front.port}/andon"
        done = andon("migrate", "--clickhouse", dsn, cwd=tmp_path, SSL_CERT_FILE=str(ours))
        assert "up to date" in done.stdout
        assert andon("migrate", "--status", "--clickhouse", dsn, cwd=tmp_path, SSL_CERT_FILE=str(ours)).returncode == 0
        assert front.versions
        assert front.versions <= {"TLSv1.2", "TLSv1.3"}
        for trusted in ({"SSL_CERT_FILE": str(theirs)}, {}):
            refused = andon("sql", "SELECT 1", "--clickhouse", dsn, cwd=tmp_path, check=False, **trusted)
            assert refused.returncode == 1
            assert "certificate" in refused.stderr
