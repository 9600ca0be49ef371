"""A document without what is wrong in it, so that one mistake does not hide what can be said of the rest."""

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Annotated, Any, Generic, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from schemas.accepted import branch_for, choices, decode_hook, plain
from schemas.problems import Problem, path_text
from schemas.toml_lines import KeyPath

T = TypeVar("T")


class Mended(msgspec.Struct, Generic[T], frozen=True):
    """A record of what is right in a document.

    `wrong` is where the mistakes are, `doubtful` what can't be judged because of them: the wrong values. Where a choice
    that has to be made is wrong or missing (a receiver's `type`), its first one stands in, and whoever judges what
    is beside it has to ask `wrong` whether it is meant.
    """

    value: T
    wrong: frozenset[KeyPath] = frozenset()
    doubtful: frozenset[KeyPath] = frozenset()

    def unaffected(self, problems: Iterable[Problem]) -> Iterator[Problem]:
        """Those of `problems`, found in `value`, that would be there without the mistakes, too.

        Left out is what is said of something doubtful, of a value that is held against a wrong one beside it or
        above it, which `expected` then names, and of one that has to be among those of a table with a mistake in it,
        of which `expected` has the whole path (`alerting.mute_time`).
        """
        doubtful = [path_text(path) for path in self.doubtful]
        compared = [
            (path_text(path[:-1]), re.compile(rf"\b{re.escape(path[-1])}\b"))
            for path in self.wrong
            if len(path) > 1 and isinstance(path[-1], str)
        ]
        tables = {path_text(path[:depth]) for path in self.wrong for depth in range(2, len(path))}
        incomplete = [re.compile(rf"\b{re.escape(table)}(?![\w.\[])") for table in tables]
        for problem in problems:
            if any(_is_within(problem.key, place) for place in doubtful):
                continue
            if any(table.search(problem.expected) for table in incomplete):
                continue
            if any(_is_within(problem.key, table) and name.search(problem.expected) for table, name in compared):
                continue
            yield problem


def mended(document: dict[str, Any], kind: type[T], wrong: Collection[KeyPath]) -> Mended[T]:
    """`document` as a record of type `kind` without what is at the paths `wrong`.

    A key there has its default, and so has a list of plain values with a wrong one. What has to be there, and a table
    in a list (those behind it keep their numbers), is replaced by something that the type takes.

    Args:
        document: as parsed.
        kind: the record's type. Its keys that have to be there are texts, lists and tables without limits, or texts
            with an example.
        wrong: every path with which `declare_document` found something wrong.
    """
    walk = _Walk(frozenset(wrong))
    left = walk.left(document, kind, ())
    value: T = msgspec.convert(left, kind, dec_hook=decode_hook)
    return Mended(value, frozenset(walk.wrong), frozenset(walk.doubtful))


class _Walk:
    def __init__(self, wrong: frozenset[KeyPath]) -> None:
        self.wrong = set(wrong)
        self.doubtful: set[KeyPath] = set()

    def left(self, value: object, declared: Any, path: KeyPath) -> object:  # noqa: ANN401 - a type expression
        """What is left of a value, or stands in for it."""
        if path in self.wrong:
            self.doubtful.add(path)
            return stand_in(declared)
        bare = plain(branch_for(value, declared))
        if isinstance(bare, type) and issubclass(bare, msgspec.Struct) and isinstance(value, dict):
            return self._record(value, bare, path)
        if get_origin(bare) in (list, tuple) and isinstance(value, list):
            return [self.left(element, get_args(bare)[0], (*path, index)) for index, element in enumerate(value)]
        if get_origin(bare) is dict and isinstance(value, dict):
            of = get_args(bare)[1]
            wrong = {key for key, element in value.items() if self._is_wrong(element, of, (*path, key))}
            self.doubtful.update((*path, key) for key in wrong)
            return {key: self.left(value[key], of, (*path, key)) for key in value if key not in wrong}
        return value

    def _record(self, value: dict[str, object], kind: type[msgspec.Struct], path: KeyPath) -> dict[str, object]:
        hints = get_type_hints(kind, include_extras=True)
        out: dict[str, object] = {}
        for field in msgspec.structs.fields(kind):
            name, where = field.encode_name, (*path, field.encode_name)
            if self._is_wrong(value.get(name), hints[field.name], where):
                self.doubtful.add(where)
                if field.required:
                    out[name] = stand_in(hints[field.name])
            elif name in value:
                out[name] = self.left(value[name], hints[field.name], where)
        return out

    def _is_wrong(self, value: object, declared: Any, path: KeyPath) -> bool:  # noqa: ANN401 - a type expression
        """Whether nothing is left of a value: it is wrong itself, or a list of plain values with a wrong one."""
        if isinstance(value, list) and not _of_tables(declared, value):
            inside = [(*path, index) for index in range(len(value))]
            self.wrong.update([] if self.wrong.isdisjoint(inside) else [path])
        return path in self.wrong


def _of_tables(declared: Any, value: list[object]) -> bool:  # noqa: ANN401 - a type expression
    of = get_args(plain(branch_for(value, declared)))
    return bool(of) and isinstance(of[0], type) and issubclass(of[0], msgspec.Struct)


def stand_in(declared: Any) -> object:  # noqa: ANN401 - a type expression
    """Something that a type takes: for what has to be there, and isn't."""
    bare = plain(declared)
    if isinstance(bare, type) and issubclass(bare, msgspec.Struct):
        hints = get_type_hints(bare, include_extras=True)
        needed = [field for field in msgspec.structs.fields(bare) if field.required]
        return {field.encode_name: stand_in(hints[field.name]) for field in needed}
    shape = get_origin(bare) or bare
    if shape in (list, tuple, dict):
        return {} if shape is dict else []
    metas = get_args(declared)[1:] if get_origin(declared) is Annotated else ()
    examples = [one for meta in metas if isinstance(meta, msgspec.Meta) for one in meta.examples or ()]
    return next(iter([*choices(bare), *examples]), "?")


def _is_within(key: str, place: str) -> bool:
    return key == place or key.startswith((f"{place}.", f"{place}["))
