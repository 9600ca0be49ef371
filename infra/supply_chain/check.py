"""What Andon is built on: `python infra/supply_chain/check.py [--sbom FILE] [--audit [--osv URL]]`.

Without options: all that is needed is installed in versions that fit, pinned in constraints.txt, and under licences
that may be imported. `--sbom` writes the bill of materials; `--audit` asks for known vulnerabilities, and says so
plainly when the service can't be reached. Exit code 1 when there is something to mend. `make check` does all of it.
"""

import argparse
import sys
from pathlib import Path

from audit import Audit, audit
from closure import DEVELOPED, SHIPPED, closure, unpinned
from licences import refused

ROOT = Path(__file__).resolve().parents[2]
CONSTRAINTS = ROOT / "constraints.txt"


def main() -> int:
    """Do what was asked for; the exit code."""
    parser = argparse.ArgumentParser(description="What Andon is built on.")
    parser.add_argument("--sbom", type=Path, metavar="FILE", help="write the bill of materials (CycloneDX 1.6, JSON)")
    parser.add_argument("--audit", action="store_true", help="ask for known vulnerabilities")
    parser.add_argument("--osv", metavar="URL", help="ask this OSV service, not the package index")
    arguments = parser.parse_args()
    shipped, developed = closure("andon", SHIPPED), closure("andon", DEVELOPED)
    problems = [
        *developed.problems,
        *unpinned(developed.packages, CONSTRAINTS.read_text(encoding="utf-8")),
        *refused(developed.packages),
    ]
    _say(f"supply chain: {len(shipped.packages)} packages are shipped, {len(developed.packages)} with those to develop")
    if arguments.sbom is not None:
        from sbom import bill, write  # noqa: PLC0415 - its validator takes a second to load

        write(bill(ROOT / "pyproject.toml", shipped.packages), arguments.sbom)
        _say(f"bill of materials: {arguments.sbom}")
    if arguments.audit:
        found = audit(CONSTRAINTS, arguments.osv)
        _say(told(found))
        problems += found.findings
    for problem in problems:
        _say(f"  {problem}")
    return 1 if problems else 0


def told(found: Audit) -> str:
    """The outcome of an audit in a line."""
    if found.unreachable:
        return f"audit: NOT DONE, the service of known vulnerabilities can't be asked: {found.unreachable}"
    unknown = f"; it does not know {', '.join(found.unknown)}" if found.unknown else ""
    return f"audit: {found.audited} packages asked for, {len(found.findings)} known vulnerabilities{unknown}"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
