"""Known vulnerabilities of the pinned packages, by `pip-audit`; and what it could not find out."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TIMEOUT_S = 5
_LONGEST_S = 120


@dataclass(frozen=True)
class Audit:
    """What was learned of the packages of a requirements file.

    Attributes:
        findings: a line for each known vulnerability.
        unknown: packages that the service does not know, so that nothing is known of them.
        audited: how many it knows.
        unreachable: why nothing could be learned at all; empty where the service answered.
    """

    findings: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    audited: int = 0
    unreachable: str = ""


def audit(requirements: Path, osv: str | None = None) -> Audit:
    """Ask about every pin: the package index or, where its address is given, an OSV service. Raises for neither."""
    asked = [
        *(sys.executable, "-m", "pip_audit"),
        *("--requirement", str(requirements), "--no-deps", "--disable-pip"),
        *("--format", "json", "--progress-spinner", "off", "--timeout", str(_TIMEOUT_S)),
        *(() if osv is None else ("--vulnerability-service", "osv", "--osv-url", osv)),
    ]
    try:
        done = subprocess.run(asked, check=False, capture_output=True, text=True, timeout=_LONGEST_S)  # noqa: S603 - ours
    except subprocess.TimeoutExpired:
        return Audit(unreachable=f"no answer within {_LONGEST_S} s")
    return read(done.stdout, done.stderr)


def read(report: str, said: str) -> Audit:
    """What pip-audit's report means. It ends with 0 when every package was skipped, too: that is no audit."""
    try:
        packages: list[dict[str, Any]] = json.loads(report)["dependencies"]
    except (ValueError, KeyError, TypeError):
        lines = said.strip().splitlines()
        return Audit(unreachable=lines[-1] if lines else "pip-audit says nothing")
    unknown = tuple(one["name"] for one in packages if "skip_reason" in one)
    audited = len(packages) - len(unknown)
    if not audited:
        return Audit(unknown=unknown, unreachable="the service knows none of the packages")
    findings = [
        f"{one['name']} {one['version']}: {flaw['id']}, mended in {', '.join(flaw['fix_versions']) or 'no version'}"
        for one in packages
        for flaw in one.get("vulns", ())
    ]
    return Audit(tuple(findings), unknown, audited)
