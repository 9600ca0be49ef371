"""The software bill of materials: CycloneDX 1.6 of what is installed, by `cyclonedx-bom`, saying what is shipped."""

import json
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.utils import canonicalize_name


class InvalidSbomError(Exception):
    """The document is no valid CycloneDX."""


def bill(project: Path, shipped: Collection[str]) -> dict[str, Any]:
    """The bill of this interpreter's environment, the same for the same packages (no time, no serial number).

    Packages of `shipped` (canonical names) are `required`; the others serve to develop and test, which CycloneDX calls
    `excluded`.

    Raises:
        subprocess.CalledProcessError: the environment can't be read.
    """
    command = [
        *(sys.executable, "-m", "cyclonedx_py", "environment", sys.executable),
        *("--pyproject", str(project), "--output-reproducible", "--no-validate", "--spec-version", "1.6"),
    ]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # noqa: S603 - ours
    document: dict[str, Any] = json.loads(done.stdout)
    for component in document["components"]:
        component["scope"] = "required" if canonicalize_name(component["name"]) in shipped else "excluded"
    return document


def write(document: dict[str, Any], to: Path) -> None:
    """Validate it against CycloneDX's schema, and write it.

    Raises:
        InvalidSbomError: it is not valid.
    """
    text = json.dumps(document, indent=2) + "\n"
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if error is not None:
        raise InvalidSbomError(str(error))
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(text, encoding="utf-8")
