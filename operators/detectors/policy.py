"""Thresholds: central ones, and other ones for a region, a group of nodes or a channel.

```toml
[detectors.capture]                       # everywhere
incomplete = { share = 0.05, least = 5 }

[detectors.node_groups]
airports = ["store-01*", "store-077"]

[[detectors.override]]                    # later ones win over earlier ones
channel = "marketplace"
set = { "capture.incomplete.share" = 0.2 }

[[detectors.override]]
node_group = "airports"
set = { "capture.incomplete.least" = 20 }
```
"""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from operator import attrgetter
from typing import Annotated, Any, Generic, TypeAlias, TypeVar, get_args

import msgspec

from operators.detectors.bounds import SCOPES, no_such_scope, out_of_bounds
from operators.detectors.records import Scoped
from schemas.accepted import as_toml
from schemas.durations import Duration, people_duration
from schemas.problems import Problem, did_you_mean, path_text
from schemas.toml_lines import KeyPath, line_of


class ByScope(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A record of thresholds that is asked for by scope, with all records in it: what overrides can change.

    What stands in other records is read once for the whole retailer, and an override of it is refused.
    """


R = TypeVar("R", bound=msgspec.Struct)
T = TypeVar("T", bound=ByScope)
V = TypeVar("V")
_OF_ALL = msgspec.Meta(extra={"by_scope": False})
#: The type of a field that is read once for the whole retailer although its record is asked for by scope.
OfAll: TypeAlias = Annotated[V, _OF_ALL]
#: What a threshold can be set to.
Threshold = float | int | str | bool | list[str]


class Override(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Other values of thresholds where all that is named matches; at least one has to be."""

    region: str = ""
    node_group: str = ""
    node: str = ""
    channel: str = ""
    carrier: str = ""
    supplier: str = ""
    interface: str = ""
    set: dict[str, Threshold]

    def matches(self, scope: Mapping[str, str], groups: Mapping[str, list[str]]) -> bool:
        """Whether it is meant for this scope."""
        for name in SCOPES:
            wanted = getattr(self, name)
            if name != "node_group" and wanted and not fnmatchcase(scope.get(name, ""), wanted):
                return False
        if not self.node_group:
            return True
        node = scope.get("node", "")
        return bool(node) and any(fnmatchcase(node, pattern) for pattern in groups.get(self.node_group, []))


class Policy(Generic[T]):
    """One detector's thresholds by scope.

    Args:
        central: what holds everywhere.
        changes: (matcher, values by field) in order, of those overrides that touch this detector.

    Memory: one record for each set of overrides that applies somewhere. Cost: one look-up after the first.
    """

    def __init__(self, central: T, overrides: list[Override], groups: Mapping[str, list[str]], prefix: str) -> None:
        self._central, self._groups = central, groups
        self._overrides = [
            (
                override,
                {key[len(prefix) + 1 :]: value for key, value in override.set.items() if key.startswith(f"{prefix}.")},
            )
            for override in overrides
        ]
        self._overrides = [(override, values) for override, values in self._overrides if values]
        self._made: dict[tuple[int, ...], T] = {(): central}

    def of(self, scope: Scoped, region: str = "") -> T:
        """What holds in a scope."""
        if not self._overrides:
            return self._central
        fields = dict(scope)
        if region:
            fields.setdefault("region", region)
        which = tuple(
            index for index, (override, _) in enumerate(self._overrides) if override.matches(fields, self._groups)
        )
        found = self._made.get(which)
        if found is None:
            found = self._central
            for index in which:
                for path, value in self._overrides[index][1].items():
                    found = replaced(found, path.split("."), value)
            self._made[which] = found
        return found


def replaced(record: R, path: list[str], value: Threshold) -> R:
    """`record` with another value at a path of fields.

    Raises:
        msgspec.ValidationError: the field can't have that value.
        AttributeError: there is no such field.
    """
    name, *rest = path
    if rest:
        changed: Any = replaced(getattr(record, name), rest, value)
    else:
        kind = type_of(type(record), name)
        changed = Duration.parse(value) if kind is Duration and isinstance(value, str) else msgspec.convert(value, kind)
    return msgspec.structs.replace(record, **{name: changed})


def type_of(record: type[Any], name: str) -> Any:  # noqa: ANN401 - a type expression
    """The type of a record's field.

    Raises:
        AttributeError: there is no such field.
    """
    for field in msgspec.structs.fields(record):
        if field.name == name:
            return field.type
    raise AttributeError(name)


def paths_of(record: type[Any]) -> dict[str, bool]:
    """Every threshold that can be set, as `capture.incomplete.share`, and whether overrides can."""
    return dict(_paths_of(record, "", by_scope=False))


def _paths_of(record: type[Any], prefix: str, *, by_scope: bool) -> Iterator[tuple[str, bool]]:
    by_scope = by_scope or issubclass(record, ByScope)
    for field in msgspec.structs.fields(record):
        path = f"{prefix}{field.name}"
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from _paths_of(field.type, f"{path}.", by_scope=by_scope)
        else:
            yield path, by_scope and _OF_ALL not in get_args(field.type)


def find_problems(
    settings: msgspec.Struct, overrides: list[Override], groups: Mapping[str, list[str]], file: str, text: str = ""
) -> list[Problem]:
    """What is wrong with thresholds and their overrides, all at once; `text` is what `file` holds."""
    known = {path: on for path, on in paths_of(type(settings)).items() if path not in ("node_groups", "override")}
    found: list[Problem] = []
    for path in known:
        central: object = attrgetter(path)(settings)
        wrong = out_of_bounds(path, central)
        if wrong:
            key: KeyPath = ("detectors", *path.split("."))
            shown = as_toml(people_duration(central) if isinstance(central, Duration) else central)
            found.append(Problem(file, path_text(key), shown, wrong, line_of(text, key)))
    for index, override in enumerate(overrides):

        def add(expected: str, value: object = None, *path: str, index: int = index) -> None:
            where: KeyPath = ("detectors", "override", index, *path)
            shown = "" if value is None else as_toml(value)
            found.append(Problem(file, path_text(where), shown, expected, line_of(text, where)))

        named = [name for name in SCOPES if getattr(override, name)]
        if not named:
            add(f"must name at least one of {', '.join(SCOPES)}")
        if override.node_group and override.node_group not in groups:
            known_groups = f": {', '.join(sorted(groups))}" if groups else ", which is empty"
            add(f"must be one of detectors.node_groups{known_groups}", override.node_group, "node_group")
        for path, value in override.set.items():
            wrong = _wrong(settings, path, value, known) or (no_such_scope(path, named) if named else "")
            if wrong:
                add(wrong, value, "set", path)
    return found


def _wrong(settings: msgspec.Struct, path: str, value: Threshold, known: Mapping[str, bool]) -> str:
    """Why a threshold can't be overridden with a value; empty where it can."""
    if path not in known:
        bare = path.removeprefix("detectors.")
        if bare in known:
            return f'is named from within detectors: write "{bare}"'
        return "is no threshold of a detector" + did_you_mean(path, [one for one, on in known.items() if on])
    if not known[path]:
        section, _, name = f"detectors.{path}".rpartition(".")
        return f"is the same everywhere, whatever the scope: set {name} under [{section}]"
    try:
        changed = replaced(settings, path.split("."), value)
    except (msgspec.ValidationError, ValueError, TypeError) as error:
        return str(error)
    return out_of_bounds(path, attrgetter(path)(changed))
