r"""Matchers on labels, written as Alertmanager writes them: `kind="oversell"`, `node!=dc1`, `node=~"store-.*"`.

A label that is absent counts as the empty text: `region=""` fits what has no region. Expressions (`=~`, `!~`) have to
fit the whole value, in RE2's syntax (see patterns.py). Quotes may be left out where the value has none inside; between
quotes `\"`, `\\` and `\n` stand for themselves, and any other backslash is an expression's own.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Literal, TypeAlias

import msgspec

from operators.alerting.patterns import pattern

Labels: TypeAlias = Mapping[str, str]
Operation: TypeAlias = Literal["=", "!=", "=~", "!~"]

ACCEPTS = 'a matcher such as kind="oversell", node!=dc1, node=~"store-.*" or region!~"north|west"'
_REMEMBERED = 65_536
_MATCHER = re.compile(
    r"\s*(?P<name>[a-zA-Z_]\w*)\s*(?P<operation>=~|!~|!=|=)\s*(?P<value>.*?)\s*", re.ASCII | re.DOTALL
)
_QUOTED = re.compile(r'"(?P<inside>(?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPE = re.compile(r'\\(["\\n])')


class Matcher(msgspec.Struct, frozen=True):
    """One condition on one label."""

    name: str
    operation: Operation
    value: str

    def fits(self, labels: Labels) -> bool:
        """Whether labels meet it."""
        found = labels.get(self.name, "")
        if self.operation == "=":
            return found == self.value
        if self.operation == "!=":
            return found != self.value
        return _matches(self.value, found) is (self.operation == "=~")

    def __str__(self) -> str:
        """As it is written in full."""
        value = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.name}{self.operation}"{value}"'


def parse_matcher(text: str) -> Matcher:
    """Read one matcher.

    Raises:
        ValueError: it is not written as one, or its expression can't be read.
    """
    found = _MATCHER.fullmatch(text)
    if found is None:
        raise ValueError(f"must be {ACCEPTS}")
    name, operation, value = found["name"], found["operation"], found["value"]
    quoted = _QUOTED.fullmatch(value)
    if quoted is not None:
        value = _ESCAPE.sub(lambda escape: "\n" if escape[1] == "n" else escape[1], quoted["inside"])
    elif '"' in value:
        raise ValueError(f"must be {ACCEPTS}: a quote is not closed, or something follows it")
    matcher = msgspec.convert((name, operation, value), tuple[str, Operation, str])
    if matcher[1] in ("=~", "!~"):
        pattern(value)
    return Matcher(*matcher)


def parse_matchers(texts: Iterable[str]) -> tuple[Matcher, ...]:
    """Read several.

    Raises:
        ValueError: one of them is none; says which.
    """
    out = []
    for text in texts:
        try:
            out.append(parse_matcher(text))
        except ValueError as error:
            raise ValueError(f"{text}: {error}") from None
    return tuple(out)


def all_fit(matchers: Sequence[Matcher], labels: Labels) -> bool:
    """Whether labels meet every one of them; none at all are met by anything."""
    return all(matcher.fits(labels) for matcher in matchers)


@lru_cache(maxsize=_REMEMBERED)
def _matches(text: str, value: str) -> bool:
    return pattern(text).matches(value)
