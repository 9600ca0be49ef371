"""What infra/Containerfile builds, as a directory: its files at their places, its environment, its entrypoint.

No container runs here, so three things differ: the interpreter and what others made are those of the test (the
Containerfile installs the same versions), the user is the test's, and the root of the file system is a directory. An
instruction that is not known here is refused, since it could change what runs.
"""

import compileall
import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from tests.processes import ROOT

CONTAINERFILE = ROOT / "infra" / "Containerfile"
#: Say what the image is called, who runs it, or what is told of it: none of that changes the command here.
_SAYS_ONLY = ("ARG", "LABEL", "USER", "EXPOSE", "RUN")
_INSTALLED = "/opt/andon"
_PACKAGES = f"{_INSTALLED}/lib/python/site-packages"
_SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"


class Image(msgspec.Struct, frozen=True):
    """An image's file system under `root`, and what its containers run where they don't say otherwise."""

    root: Path
    environment: dict[str, str]
    entrypoint: list[str]
    command: list[str]
    workdir: str
    stop_signal: str

    def path(self, inside: str) -> Path:
        """Where a path of the image is."""
        return self.root / inside.lstrip("/")


def build(folder: Path, change: Callable[[Path], None] | None = None) -> Image:
    """Make the image in `folder`.

    Args:
        folder: becomes the root of its file system.
        change: what is other in this version: it is given the directory of the packages, to change them.
    """
    stages = _stages(CONTAINERFILE.read_text())
    made = Image(folder, {"PATH": _SYSTEM_PATH}, [], [], "/", "SIGTERM")
    _install(made, stages[0], change)
    for name, rest in stages[-1]:
        match name:
            case "COPY" if not rest.startswith("--from=build"):
                *sources, target = rest.split()
                for source in sources:
                    _copy(ROOT / source, made.path(target) / Path(source).name)
            case "COPY":
                assert rest.split()[1:] == [_INSTALLED, _INSTALLED], f"not known what to copy: {rest}"
            case "ENV":
                for key, value in (one.split("=", 1) for one in shlex.split(rest)):
                    told = made.environment.get(value.rpartition("$")[2], "")
                    made.environment[key] = re.sub(r"\$\w+", told, value)
            case "WORKDIR":
                made = msgspec.structs.replace(made, workdir=rest)
            case "STOPSIGNAL":
                made = msgspec.structs.replace(made, stop_signal=rest)
            case "ENTRYPOINT":
                made = msgspec.structs.replace(made, entrypoint=msgspec.json.decode(rest, type=list[str]))
            case "CMD":
                made = msgspec.structs.replace(made, command=msgspec.json.decode(rest, type=list[str]))
            case _:
                assert name in _SAYS_ONLY, f"{CONTAINERFILE.name}: it is not known here what {name} changes"
    made.path(made.workdir).mkdir(parents=True, exist_ok=True)
    return made


def _stages(text: str) -> list[list[tuple[str, str]]]:
    """The instructions of each stage: (name, rest)."""
    stages: list[list[tuple[str, str]]] = []
    for line in _lines(text):
        name, _, rest = line.partition(" ")
        if name == "FROM":
            stages.append([])
        elif stages:
            stages[-1].append((name, rest.strip()))
    return stages


def _lines(text: str) -> Iterator[str]:
    joined = re.sub(r"\\\n", " ", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    yield from (line.strip() for line in joined.splitlines() if line.strip())


def _install(image: Image, built: list[tuple[str, str]], change: Callable[[Path], None] | None) -> None:
    """What `pip install .` puts into /opt/andon: the packages that the build stage copies, and the commands."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    copied = {rest for name, rest in built if name == "COPY"}
    missing = [package for package in packages if f"{package} {package}" not in copied]
    assert not missing, f"{CONTAINERFILE.name} does not copy {missing}, which are packages"
    place = image.path(_PACKAGES)
    place.mkdir(parents=True)
    for package in packages:
        shutil.copytree(ROOT / package, place / package)
    if change is not None:
        change(place)
    compileall.compile_dir(place, quiet=2)  # as pip does
    python = f"PYTHONPATH={shlex.quote(str(place))} exec {shlex.quote(sys.executable)}"
    _command(image, "python", f'{python} "$@"')
    for name, target in project["project"]["scripts"].items():
        module, _, function = target.partition(":")
        _command(image, name, f'{python} -c "from {module} import {function}; {function}()" "$@"')


def _command(image: Image, name: str, line: str) -> None:
    path = image.path(f"{_INSTALLED}/bin/{name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)
