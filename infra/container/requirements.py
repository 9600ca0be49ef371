"""Print what Andon needs to run, a requirement a line: `python requirements.py pyproject.toml [EXTRA…]`.

So that an image can have a layer of what others made, which a change of our code leaves as it is.
"""

import sys
import tomllib
from pathlib import Path


def requirements(pyproject: str, extras: list[str]) -> list[str]:
    """The project's own requirements and those of `extras`; KeyError for an extra that there is not."""
    project = tomllib.loads(pyproject)["project"]
    return [*project["dependencies"], *(one for extra in extras for one in project["optional-dependencies"][extra])]


if __name__ == "__main__":
    sys.stdout.write("\n".join(requirements(Path(sys.argv[1]).read_text(encoding="utf-8"), sys.argv[2:])) + "\n")
