"""What a type accepts, in the words of a person who writes TOML: "must be between 1 and 1024"."""

import re
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from schemas.durations import Duration, Instant, Length

_WORDS: dict[object, str] = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    tuple: "a list",
    dict: "a table",
    Duration: Duration.ACCEPTS,
    Instant: Instant.ACCEPTS,
}
_MADE_BY_US = re.compile(r" - at `\$.*`$")
_SHOWN = 60


def decode_hook(kind: type, value: object) -> object:
    """Turn the text of a duration or an instant into its type, for msgspec."""
    if kind in (Duration, Instant):
        if not isinstance(value, str):
            raise ValueError(f"Expected {kind.ACCEPTS}, got {value!r}")
        return kind.parse(value)
    raise NotImplementedError(f"no reader for {kind!r}")  # pragma: no cover - a programming error


def misses(kind: Any, value: object) -> bool:  # noqa: ANN401 - a type expression
    """Whether a duration is not as long as its annotations ask for, which msgspec does not know of."""
    asked = get_args(kind)[1:] if get_origin(kind) is Annotated else ()
    return isinstance(value, Duration) and any(isinstance(one, Length) and not one.fits(value) for one in asked)


def plain(kind: Any) -> Any:  # noqa: ANN401 - a type expression
    """`kind` without what it is annotated with."""
    return plain(get_args(kind)[0]) if get_origin(kind) is Annotated else kind


def branch_for(value: object, kind: Any) -> Any:  # noqa: ANN401 - a type expression
    """The branch of an optional or union type that `value` is meant for; all of them where that is open."""
    if get_origin(kind) not in (Union, types.UnionType):
        return kind
    meant = [branch for branch in get_args(kind) if _shape(branch) is _shape_of(value)]
    return meant[0] if len(meant) == 1 else kind


def choices(kind: Any) -> list[str]:  # noqa: ANN401 - a type expression
    """The texts that a `Literal` lists."""
    return [one for one in get_args(kind) if isinstance(one, str)] if get_origin(kind) is Literal else []


def accepted(declared: Any, value: object, said: str) -> str:  # noqa: ANN401 - a type expression
    """What the type `declared` accepts, given that `value` was refused by msgspec, which `said` why."""
    kind = branch_for(value, declared)
    bare = plain(kind)
    if get_origin(bare) is Literal:
        listed = ", ".join(as_toml(one) for one in get_args(bare))
        return f"must be one of {listed}" if len(get_args(bare)) > 1 else f"must be {listed}"
    if said.startswith("must be "):  # as the reader of a type of ours says it
        return _MADE_BY_US.sub("", said)
    limits = _limits(kind)
    if _shape(kind) is not _shape_of(value) or (limits and not _is_a(bare, value)):
        return f"must be {accepts(kind)}"
    if limits:
        return f"must be {limits}"
    if said.startswith("Expected `"):
        return f"must be {_words(declared)}"
    said = _MADE_BY_US.sub("", said)
    if said.startswith("Expected "):
        return "must be " + said.removeprefix("Expected ").rpartition(", got ")[0]
    return said


def accepts(kind: Any) -> str:  # noqa: ANN401 - a type expression
    """What the type `kind` accepts: "a whole number between 1 and 1024"."""
    limits = _limits(kind)
    between = ", " if plain(kind) is Duration else " "  # its words end in examples
    return f"{_words(kind)}{between + limits if limits else ''}"


def as_toml(value: object) -> str:
    """`value` as it stands in TOML, in one line, cut where it is long."""
    if isinstance(value, str) and value.isprintable():
        shown = f'"{value}"'
    elif isinstance(value, float):
        shown = str(value)
    else:
        shown = msgspec.json.encode(value, enc_hook=str).decode()
    return shown if len(shown) <= _SHOWN else shown[: _SHOWN - 3] + "..."


def _shape(kind: Any) -> type:  # noqa: ANN401 - a type expression
    """Whether a type is written as a table, a list, or one value (`object`)."""
    bare = plain(kind)
    origin = get_origin(bare) or bare
    if origin is dict or (isinstance(bare, type) and issubclass(bare, msgspec.Struct)):
        return dict
    return list if origin in (list, tuple) else type(None) if origin is type(None) else object


def _shape_of(value: object) -> type:
    return dict if isinstance(value, dict) else list if isinstance(value, list) else object


def _is_a(kind: Any, value: object) -> bool:  # noqa: ANN401 - a type expression
    if kind is Duration:
        return isinstance(value, str) and _is_duration(value)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, bool) is (kind is bool) and isinstance(
        value, list if get_origin(kind) is tuple else get_origin(kind) or kind
    )


def _is_duration(text: str) -> bool:
    try:
        Duration.parse(text)
    except ValueError:
        return False
    return True


def _words(kind: Any) -> str:  # noqa: ANN401 - a type expression
    bare = plain(kind)
    if get_origin(bare) in (Union, types.UnionType):
        branches = [_words(branch) for branch in get_args(bare) if branch is not type(None)]
        return " or ".join(dict.fromkeys(branches))
    if get_origin(bare) is Literal:
        return "one of " + ", ".join(as_toml(one) for one in get_args(bare))
    if isinstance(bare, type) and issubclass(bare, msgspec.Struct):
        return "a table"
    return _WORDS.get(get_origin(bare) or bare, str(bare))


def _limits(kind: Any) -> str:  # noqa: ANN401 - a type expression
    """What the annotations of a type ask for beyond the type, "" where nothing."""
    if get_origin(kind) is not Annotated:
        return ""
    metas = [meta for meta in get_args(kind)[1:] if isinstance(meta, msgspec.Meta)]

    def said(name: str) -> Any:  # noqa: ANN401 - a number or a text
        return next((found for meta in metas if (found := getattr(meta, name)) is not None), None)

    terms = [_range(said("ge"), said("le"))]
    terms += [
        f"{word} {said(name):g}" for name, word in (("gt", "more than"), ("lt", "less than")) if said(name) is not None
    ]
    length = _range(said("min_length"), said("max_length"))
    one, many = ("character", "characters") if plain(kind) is str else ("entry", "entries")
    what = one if length == "at least 1" else many
    terms.append(f"{length} {what} long" if length and plain(kind) is str else f"of {length} {what}" if length else "")
    terms += [str(one) for one in get_args(kind)[1:] if isinstance(one, Length)]
    if said("pattern"):
        terms.append(said("description") or f"of the form {said('pattern')}")
    return " and ".join(term for term in terms if term)


def _range(least: float | None, most: float | None) -> str:
    if least is not None and most is not None:
        return f"between {least} and {most}"
    return f"at least {least}" if least is not None else f"at most {most}" if most is not None else ""
