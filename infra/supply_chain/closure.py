"""What Andon needs, as it is installed here: the packages of its extras, followed to the end, and what does not fit."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

#: The extras that are shipped; `dev` is for those who work on Andon.
SHIPPED = ("embedded", "parquet")
DEVELOPED = (*SHIPPED, "dev")
#: Comes with the interpreter and installs the others; constraints don't bind it.
_INSTALLERS = {"pip", "setuptools"}


@dataclass(frozen=True)
class Closure:
    """Packages by canonical name, without the one that was asked for; and what does not fit, a line each."""

    packages: dict[str, Distribution]
    problems: tuple[str, ...]


def closure(name: str, extras: Iterable[str]) -> Closure:
    """Everything that package `name` needs with these extras, directly or not, on this machine."""
    packages: dict[str, Distribution] = {}
    problems: list[str] = []
    seen: set[tuple[str, str]] = set()
    waiting = [(canonicalize_name(name), extra) for extra in ("", *extras)]
    packages[waiting[0][0]] = distribution(name)
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        owner, extra = one
        for text in packages[owner].requires or ():
            needed = Requirement(text)
            if needed.marker is not None and not needed.marker.evaluate({"extra": extra}):
                continue
            if needed.marker is None and extra:
                continue  # was followed without the extra
            found = canonicalize_name(needed.name)
            if found not in packages:
                try:
                    packages[found] = distribution(needed.name)
                except PackageNotFoundError:
                    problems.append(f"{owner} needs {needed}, which is not installed")
                    continue
            if not needed.specifier.contains(packages[found].version, prereleases=True):
                problems.append(f"{owner} needs {needed}, and {packages[found].version} is installed")
            waiting += [(found, wanted) for wanted in ("", *sorted(needed.extras))]
    del packages[canonicalize_name(name)]
    return Closure(packages, tuple(sorted(problems)))


def unpinned(packages: dict[str, Distribution], constraints: str) -> list[str]:
    """Packages that the text of a constraints file does not pin, or pins to another version than is installed."""
    pins: dict[str, str] = {}
    for line in constraints.splitlines():
        text = line.partition("#")[0].strip()
        if text:
            name, _, version = text.partition("==")
            pins[canonicalize_name(name)] = version
    problems = []
    for name, package in sorted(packages.items()):
        if name in _INSTALLERS:
            continue
        if name not in pins:
            problems.append(f"{name} {package.version} is not pinned")
        elif pins[name] != package.version:
            problems.append(f"{name} is pinned to {pins[name]}, and {package.version} is installed")
    return problems
