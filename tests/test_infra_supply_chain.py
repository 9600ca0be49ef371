"""What Andon is built on: pins, licences, the bill of materials, and the audit by the real pip-audit."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import Distribution, distribution
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any

import pytest
from packaging.utils import canonicalize_name

from tests.processes import ROOT, environment
from tests.tcp_proxy import free_port

PROGRAMS = ROOT / "infra" / "supply_chain"


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"supply_chain_{name}", PROGRAMS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


audits, closures, licences, sboms = map(_module, ("audit", "closure", "licences", "sbom"))


def check(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAMS / "check.py"), *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=240, check=False
    )


class Packages:
    """Packages that are installed in a folder, as far as their metadata."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, name: str, version: str, *lines: str) -> None:
        info = self._folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        text = "".join(
            f"{line}\n" for line in ("Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", *lines)
        )
        (info / "METADATA").write_text(text)

    def __getitem__(self, name: str) -> Distribution:
        return distribution(name)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Packages:
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return Packages(tmp_path / "site")


def test_what_andon_needs_is_installed_pinned_and_may_be_imported() -> None:
    done = check()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "packages are shipped" in done.stdout


def test_what_is_needed_is_followed_to_the_end_with_its_extras(packages: Packages) -> None:
    packages.add("x-top", "1", "Requires-Dist: X_one>=1", "Requires-Dist: x-dev; extra == 'dev'", "Provides-Extra: dev")
    packages.add("x-one", "1.5", "Requires-Dist: x-two[fast]", "Requires-Dist: x-win; sys_platform == 'win32'")
    packages.add("x-two", "2", "Requires-Dist: x-three<2; extra == 'fast'", "Requires-Dist: x-four; extra == 'slow'")
    packages.add("x-three", "3", "Requires-Dist: x-top")
    packages.add("x-dev", "4", "Requires-Dist: x-missing>=7")
    shipped, developed = closures.closure("x-top", ()), closures.closure("x-top", ("dev",))
    assert set(shipped.packages) == {"x-one", "x-two", "x-three"}
    assert set(developed.packages) == {"x-one", "x-two", "x-three", "x-dev"}
    assert shipped.problems == ('x-two needs x-three<2; extra == "fast", and 3 is installed',)
    assert developed.problems[0] == "x-dev needs x-missing>=7, which is not installed"


def test_what_is_not_pinned_or_pinned_to_another_version_is_said(packages: Packages) -> None:
    for name, version in (("x-one", "1.5"), ("x-two", "2"), ("x-three", "3")):
        packages.add(name, version)
    installed = {name: packages[name] for name in ("x-one", "x-two", "x-three")}
    assert closures.unpinned(installed, "# pins\nX_One==1.5\nx-two==2.1 # why\n") == [
        "x-three 3 is not pinned",
        "x-two is pinned to 2.1, and 2 is installed",
    ]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (("License-Expression: AGPL-3.0-or-later",), "has the licence AGPL-3.0-or-later"),
        (("License-Expression: MIT AND GPL-2.0-only",), "has the licence MIT AND GPL-2.0-only"),
        (("Classifier: License :: OSI Approved :: GNU Affero General Public License v3",), "Affero"),
        (("Classifier: License :: OSI Approved :: GNU General Public License v3 (GPLv3)",), "GPLv3"),
        (("License: GPLv3+",), "has the licence GPLv3+"),
        (("License: SSPL-1.0",), "SSPL"),
        ((), "says no licence"),
        (("License-Expression: MIT OR GPL-3.0-only",), None),
        (("License-Expression: LGPL-3.0-only",), None),
        (("Classifier: License :: OSI Approved :: GNU Lesser General Public License v3 (LGPLv3)",), None),
        (("License: BSD 3-Clause",), None),
    ],
)
def test_licences_that_bind_what_imports_them_are_refused(
    packages: Packages, lines: tuple[str, ...], words: str | None
) -> None:
    packages.add("x-one", "1", *lines)
    problems = licences.refused({"x-one": packages["x-one"]})
    assert [words in problem for problem in problems] == ([] if words is None else [True]), problems


def test_the_bill_is_valid_and_says_what_is_shipped(tmp_path: Path) -> None:
    file = tmp_path / "build" / "sbom.json"
    done = check("--sbom", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(file.read_text())
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert document["metadata"]["component"]["name"] == "andon"
    scopes = {canonicalize_name(one["name"]): one["scope"] for one in document["components"]}
    shipped = closures.closure("andon", closures.SHIPPED).packages
    assert {name for name, scope in scopes.items() if scope == "required"} == set(shipped)
    assert {"bytewax", "clickhouse-connect", "chdb", "pyarrow"} <= set(shipped)
    assert (scopes["pytest"], scopes["ruff"]) == ("excluded", "excluded")
    broken = document | {"components": [{"name": "no type"}]}
    with pytest.raises(sboms.InvalidSbomError):
        sboms.write(broken, tmp_path / "broken.json")
    assert not (tmp_path / "broken.json").exists()


class _Known(BaseHTTPRequestHandler):
    """OSV's query: one flaw, of urllib3."""

    def do_POST(self) -> None:
        asked: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        package = asked["package"]
        events = [{"introduced": "0"}, {"fixed": "99.1"}]
        affected = [{"package": package, "ranges": [{"type": "ECOSYSTEM", "events": events}]}]
        flaw = {"id": "PYSEC-2026-1", "summary": "a flaw", "affected": affected}
        body = json.dumps({"vulns": [flaw]} if package["name"] == "urllib3" else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing."""


@pytest.fixture
def osv() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Known) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()


def test_a_known_vulnerability_fails_the_check(osv: str) -> None:
    done = check("--audit", "--osv", osv)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 known vulnerabilities" in done.stdout
    assert "  urllib3 " in done.stdout
    assert "PYSEC-2026-1, mended in 99.1" in done.stdout


def test_a_service_that_is_away_is_said_and_fails_nothing() -> None:
    done = check("--audit", "--osv", f"http://127.0.0.1:{free_port()}/v1/query")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "audit: NOT DONE, the service of known vulnerabilities can't be asked: " in done.stdout
    assert "Connection refused" in done.stdout


def test_an_index_that_knows_no_package_is_no_audit() -> None:
    """pip-audit ends with 0 and `No known vulnerabilities found` there: a mirror without its data would pass."""
    skipped = [{"name": name, "skip_reason": "not found"} for name in ("x-one", "x-two")]
    found = audits.read(json.dumps({"dependencies": skipped}), "No known vulnerabilities found")
    assert found.unreachable == "the service knows none of the packages"
    one = {"name": "x-three", "version": "1", "vulns": []}
    found = audits.read(json.dumps({"dependencies": [*skipped, one]}), "")
    assert (found.audited, found.unknown, found.findings, found.unreachable) == (1, ("x-one", "x-two"), (), "")
