r"""Regular expressions in RE2's syntax that are matched in linear time, whatever is written.

Silences come with the log, and the standard library's expressions backtrack: one `(a+)+$` would hold the job for hours,
and again after each restart. So patterns are compiled to a small automaton whose states are walked side by side
(Thompson 1968, as RE2 does it).

Understood: literals, `.`, `[a-z]`, `[^…]`, `\d \w \s` and their capitals (ASCII, as in RE2), `\t \n`, escaped
punctuation, groups `(…)` `(?:…)`, `|`, `*` `+` `?` `{n}` `{n,}` `{n,m}` (lazy ones are the same here), `^` `$`, and
`(?i)` at the beginning. RE2 has no look-around and no back-references; of what it has, `\b`, `\p{…}`, `[[:alpha:]]`,
named groups and flags inside are refused.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, NoReturn, TypeAlias

MAX_REPEAT: Final = 1_000
#: States of one pattern; a match costs at most this many steps a character.
MAX_STATES: Final = 4_000
_REMEMBERED = 8_192
_MAX_NESTING = 50
#: Characters as ranges, and whether all others are meant.
_Chars: TypeAlias = tuple[tuple[tuple[str, str], ...], bool]
_CLASSES: Final = {
    "d": (("0", "9"),),
    "w": (("0", "9"), ("A", "Z"), ("a", "z"), ("_", "_")),
    "s": (("\t", "\n"), ("\f", "\r"), (" ", " ")),
}
_CONTROL: Final = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}

_Test: TypeAlias = Callable[[str], bool]
#: A state: a test that takes one character and goes on to the next state; or the states to go on to at once; or where
#: the text has to be at its beginning or end.
_State: TypeAlias = _Test | tuple[int, ...] | str
_Node: TypeAlias = tuple[str, tuple["_Node", ...], _Test | None, tuple[int, int | None]]


class Pattern:
    """A compiled expression; it has to fit the whole text.

    Raises:
        ValueError: it can't be read; says where and why.
    """

    __slots__ = ("_compiled", "_first", "_states")

    def __init__(self, text: str) -> None:
        node = _Parser(text).whole()
        self._states: list[_State] = []
        self._compiled = 0
        self._compile(node)
        self._states.append("match")
        self._first = self._closure([0], 0, 1)

    def matches(self, value: str) -> bool:
        """Whether the whole of `value` fits. Cost: O(states × characters)."""
        length = len(value)
        current = self._first if value else self._closure([0], 0, 0)
        for position, char in enumerate(value, 1):
            taken = [number + 1 for number in current if callable(test := self._states[number]) and test(char)]
            if not taken:
                return False
            current = self._closure(taken, position, length)
        return any(self._states[number] == "match" for number in current)

    def _closure(self, numbers: list[int], position: int, length: int) -> set[int]:
        """All states that are reached from `numbers` without taking a character."""
        seen: set[int] = set()
        stack = list(numbers)
        while stack:
            number = stack.pop()
            if number in seen:
                continue
            seen.add(number)
            state = self._states[number]
            if isinstance(state, tuple):
                stack.extend(number + step for step in state)
            elif (state == "begin" and position == 0) or (state == "end" and position == length):
                stack.append(number + 1)
        return seen

    def _compile(self, node: _Node) -> None:
        kind, parts, test, bounds = node
        self._compiled += 1
        if max(self._compiled, len(self._states)) > MAX_STATES:
            raise ValueError(f"repeats too much: more than {MAX_STATES:,} states")
        if kind == "char":
            assert test is not None
            self._states.append(test)
        elif kind == "all":
            for part in parts:
                self._compile(part)
        elif kind == "any":
            self._alternatives(parts)
        elif kind == "repeat":
            self._repeat(parts[0], *bounds)
        else:
            self._states.append(kind)

    def _repeat(self, part: _Node, least: int, most: int | None) -> None:
        states = self._states
        for _ in range(least):
            self._compile(part)
        holes = []
        for _ in range(1 if most is None else most - least):
            holes.append(self._hole())
            self._compile(part)
        if most is None:
            states.append((holes[0] - len(states),))
        for at in holes:
            states[at] = (1, len(states) - at)

    def _alternatives(self, parts: tuple[_Node, ...]) -> None:
        ends = []
        for part in parts[:-1]:
            at = self._hole()
            self._compile(part)
            ends.append(self._hole())
            self._states[at] = (1, len(self._states) - at)
        self._compile(parts[-1])
        for at in ends:
            self._states[at] = (len(self._states) - at,)

    def _hole(self) -> int:
        """Room for a jump whose end is not known yet."""
        self._states.append(())
        return len(self._states) - 1


@lru_cache(maxsize=_REMEMBERED)
def pattern(text: str) -> Pattern:
    """The compiled pattern; compiled once.

    Raises:
        ValueError: it can't be read.
    """
    return Pattern(text)


class _Parser:
    """Reads one expression from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._fold = text.startswith("(?i)")
        if self._fold:
            self._at = 4

    def whole(self) -> _Node:
        node = self._alternation()
        if self._at < len(self._text):
            self._refuse("has a ) without its (")
        return node

    def _alternation(self) -> _Node:
        parts = [self._sequence()]
        while self._next("|"):
            parts.append(self._sequence())
        return parts[0] if len(parts) == 1 else _node("any", *parts)

    def _sequence(self) -> _Node:
        parts = []
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            parts.append(self._repeated())
        return _node("all", *parts)

    def _repeated(self) -> _Node:
        begin = self._at
        node = self._atom()
        while (bounds := self._bounds()) is not None:
            if node[0] in ("begin", "end", "repeat"):
                self._at = begin
                self._refuse("repeats what can't be repeated")
            node = ("repeat", (node,), None, bounds)
            self._next("?")  # lazy: the same where the whole text has to fit
        return node

    def _bounds(self) -> tuple[int, int | None] | None:
        for sign, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._next(sign):
                return bounds
        end = self._text.find("}", self._at)
        if not self._text.startswith("{", self._at) or end < 0:
            return None
        least, comma, most = self._text[self._at + 1 : end].partition(",")
        if not _is_number(least) or not (most == "" or _is_number(most)):
            return None  # as in RE2, a brace that is no repetition is a literal
        low = int(least)
        high = (int(most) if most else None) if comma else low
        if max(low, high or 0) > MAX_REPEAT or (high is not None and high < low):
            self._refuse(f"has a repetition that is not within 0 and {MAX_REPEAT:,}, smallest first")
        self._at = end + 1
        return low, high

    def _atom(self) -> _Node:
        char = self._text[self._at]
        if char in "*+?" or self._bounds() is not None:
            self._refuse("repeats nothing")
        self._at += 1
        if char == "(":
            return self._group()
        if char == "[":
            return self._class()
        if char == ".":
            return self._char([((("\n", "\n"),), True)])
        if char in "^$":
            return _node("begin" if char == "^" else "end")
        return self._char([self._escaped() if char == "\\" else _one(char)])

    def _group(self) -> _Node:
        if self._next("?") and not self._next(":"):
            self._refuse("has a group of a kind that RE2 does not have, or that is not understood here")
        self._depth += 1
        if self._depth > _MAX_NESTING:
            self._refuse("has too many groups in one another")
        node = self._alternation()
        if not self._next(")"):
            self._refuse("has a ( without its )")
        self._depth -= 1
        return node

    def _class(self) -> _Node:
        negated = self._next("^")
        members: list[_Chars] = []
        while not members or not self._text.startswith("]", self._at):
            if self._text.startswith(("[:", "[.", "[="), self._at):
                self._refuse("names a class of characters, which is not understood here; write it out")
            low = self._member()
            if self._text.startswith("-", self._at) and self._text[self._at + 1 : self._at + 2] != "]":
                self._at += 1
                high = self._member()
                if not (_is_one(low) and _is_one(high)) or high[0][0][0] < low[0][0][0]:
                    self._refuse("has a range of characters that goes backwards")
                low = ((low[0][0][0], high[0][0][0]),), False
            members.append(low)
        self._at += 1
        return self._char(members, negated=negated)

    def _member(self) -> _Chars:
        """The next character of a class, or what an escape in it stands for."""
        if self._at >= len(self._text):
            self._refuse("has a [ without its ]")
        char = self._text[self._at]
        self._at += 1
        return self._escaped() if char == "\\" else _one(char)

    def _escaped(self) -> _Chars:
        """What a backslash and the next character stand for."""
        char = self._text[self._at : self._at + 1]
        if not char:
            self._refuse("ends in a backslash")
        self._at += 1
        if char.lower() in _CLASSES:
            return _CLASSES[char.lower()], char.isupper()
        if char in _CONTROL:
            return _one(_CONTROL[char])
        if char.isalnum() or not char.isascii():
            self._refuse(f"has \\{char}, which is not understood here")
        return _one(char)

    def _char(self, members: Sequence[_Chars], *, negated: bool = False) -> _Node:
        return "char", (), _test(members, negated=negated, fold=self._fold), (1, 1)

    def _next(self, sign: str) -> bool:
        """Pass over `sign` if it comes next."""
        found = self._text.startswith(sign, self._at)
        self._at += len(sign) if found else 0
        return found

    def _refuse(self, why: str) -> NoReturn:
        raise ValueError(f"{why} (at character {min(self._at, len(self._text))} of {self._text!r})")


def _node(kind: str, *parts: _Node) -> _Node:
    return kind, parts, None, (1, 1)


def _one(char: str) -> _Chars:
    return ((char, char),), False


def _is_one(chars: _Chars) -> bool:
    (first, *others), negated = chars
    return not others and not negated and first[0] == first[1]


def _test(members: Sequence[_Chars], *, negated: bool, fold: bool) -> _Test:
    """Whether a character is one of `members`, or none of them where `negated`."""

    def listed(char: str) -> bool:
        return any(any(low <= char <= high for low, high in ranges) != others for ranges, others in members)

    if fold:
        return lambda char: (listed(char) or listed(char.lower()) or listed(char.upper())) != negated
    return lambda char: listed(char) != negated


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
