"""What is wrong with a document although each value has its type, told together with what has not."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec

from schemas.accepted import as_toml
from schemas.mended import mended
from schemas.problems import Declared, Problem, declare_document, parse_toml, path_text
from schemas.toml_lines import KeyPath, line_of

T = TypeVar("T")


class Flaw(msgspec.Struct, frozen=True):
    """A value that its type takes, and the document's meaning does not.

    Args:
        path: where it stands, or where it is missing.
        value: what stands there; None where nothing is to be shown.
        expected: what is accepted.
        against: where else stands what it was held against: with a mistake there, nothing can be said of it.
    """

    path: KeyPath
    value: object
    expected: str
    against: tuple[KeyPath, ...] = ()

    def problem(self, file: str, text: str) -> Problem:
        """As people are told of it; `text` is what `file` holds."""
        shown = "" if self.value is None else as_toml(self.value)
        return Problem(file, path_text(self.path), shown, self.expected, line_of(text, self.path))


def declare_and_lint(text: str, kind: type[T], file: str, lint: Callable[[T], Iterable[Flaw]]) -> Declared[T]:
    """Read TOML `text` as a record of type `kind` and lint it: every problem at once, by line.

    `lint` is given the record without what is wrong in it (see schemas.mended), and so says what is wrong with the
    rest. `value` is None when there are problems.
    """
    document, problems = parse_toml(text, file)
    return Declared(None, problems) if problems else lint_document(document, kind, file, text, lint)


def lint_document(
    document: dict[str, Any], kind: type[T], file: str, text: str, lint: Callable[[T], Iterable[Flaw]]
) -> Declared[T]:
    """As `declare_and_lint`, for a document that is already parsed."""
    declared = declare_document(document, kind, file, text)
    left = declared.value if declared.value is not None else mended(document, kind, declared.wrong).value
    flaws = (flaw.problem(file, text) for flaw in lint(left) if not is_doubtful(flaw, declared.wrong))
    problems = sorted([*declared.problems, *flaws], key=lambda problem: (not problem.line, problem.line))
    return Declared(None if problems else declared.value, tuple(problems), declared.wrong, left)


def is_doubtful(flaw: Flaw, wrong: Iterable[KeyPath]) -> bool:
    """Whether a mistake is in what the flaw is about, or around it."""
    return any(mistake[: len(path)] == path[: len(mistake)] for mistake in wrong for path in (flaw.path, *flaw.against))
