"""HTML and SVG, built so that data can't be anything but text: a child that is not `Markup` is escaped."""

import re
from collections.abc import Iterable
from html import escape
from typing import TypeAlias

# What neither HTML nor SVG may hold, and lone surrogates, which UTF-8 can't say.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_VOID = frozenset({"meta", "br", "hr", "path", "rect", "line", "circle", "polygon"})


class Markup(str):
    """Text that is markup already. Made by `tag` and `joined`, and of constants."""

    __slots__ = ()


#: What may stand inside an element.
Child: TypeAlias = str | int | None


def text(value: object) -> Markup:
    """`value` as text: escaped, without characters that a page can't hold."""
    return Markup(escape(_UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", str(value)), quote=True))


def tag(name: str, /, *children: Child, **attributes: Child) -> Markup:
    """An element. In attributes' names a last `_` is dropped and `_` means `-`; None is left out."""
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID and not children:
        return Markup(f"<{name}{said}>" if name in ("meta", "br", "hr") else f"<{name}{said}/>")
    return Markup(f"<{name}{said}>{joined(children)}</{name}>")


def joined(children: Iterable[Child]) -> Markup:
    """One after the other; None is nothing."""
    return Markup("".join(one if isinstance(one, Markup) else text(one) for one in children if one is not None))
