"""Which licence each package says it has, and whether Andon may be built on it."""

import re
from importlib.metadata import Distribution

#: Read by a person in the package itself, since its metadata doesn't say.
READ = {
    "bytewax": "Apache-2.0",
    "kubernetes-validate": "Apache-2.0",
}
#: Licences that would bind those who ship or serve what imports them. The Lesser GPL is not among them.
_REFUSED = re.compile(r"\b(A?GPL|SSPL|GNU (Affero )?General Public License)", re.IGNORECASE)
_CLASSIFIER = "License :: "
_LONGEST_NAME = 60


def licence_of(name: str, package: Distribution) -> str | None:
    """What its metadata says, the most exact first; a whole text that stands in the place of a name is not a name."""
    said = package.metadata.get("License-Expression")
    if said:
        return str(said)
    classifiers = [one for one in package.metadata.get_all("Classifier") or () if one.startswith(_CLASSIFIER)]
    if classifiers:
        return "; ".join(one.rpartition(" :: ")[2] for one in classifiers)
    said = (package.metadata.get("License") or "").strip()
    if said and "\n" not in said and len(said) <= _LONGEST_NAME:
        return str(said)
    return READ.get(name)


def refused(packages: dict[str, Distribution]) -> list[str]:
    """A line for each package whose licence is not known, or not one to import."""
    problems = []
    for name, package in sorted(packages.items()):
        licence = licence_of(name, package)
        if licence is None:
            problems.append(f"{name} {package.version} says no licence: read its own, and add it to READ in {__file__}")
        elif all(_REFUSED.search(choice) for choice in re.split(r"\bOR\b", licence)):
            problems.append(f"{name} {package.version} has the licence {licence}")
    return problems
