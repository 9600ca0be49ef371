"""Secrets: where a setting says that one is, its value, and keeping that value out of everything that is shown."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

ACCEPTS = 'must say where the secret is: "file:/run/secrets/NAME" or "env:NAME" (a secret stands in no settings file)'
SHOWN = "[secret]"
_LARGEST = 65_536
#: Shorter ones are struck out nowhere: they would be found in innocent words.
_SHORTEST = 8


class Secret:
    """A text that shows itself to nobody who does not ask: `reveal()`."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return SHOWN

    def __format__(self, spec: str) -> str:
        del spec
        return SHOWN

    def reveal(self) -> str:
        """The secret itself, for the request that needs it."""
        return self._text


def is_reference(text: str) -> bool:
    """Whether a setting says where a secret is."""
    return text.startswith(("file:", "env:"))


def read_secret(reference: str, environment: Mapping[str, str] | None = None) -> Secret:
    """The secret that `file:PATH` (its first line) or `env:NAME` names.

    Raises:
        ValueError: there is none, in words that repeat no part of a secret.
    """
    kind, _, name = reference.partition(":")
    if kind == "env" and name:
        value = (os.environ if environment is None else environment).get(name, "")
        if not value.strip():
            raise ValueError(f"the environment has no {name}")
        return Secret(value.strip())
    if kind == "file" and name:
        try:
            with Path(name).open(encoding="utf-8") as file:
                line = file.readline(_LARGEST).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{name} can't be read: {getattr(error, 'strerror', None) or 'not UTF-8'}") from None
        if not line:
            raise ValueError(f"{name} must hold the secret in its first line, and has none there")
        return Secret(line)
    raise ValueError(ACCEPTS)


def without(text: str, secrets: Iterable[Secret]) -> str:
    """`text` with every secret struck out; an answer may repeat what it was sent."""
    for value in sorted({secret.reveal() for secret in secrets}, key=len, reverse=True):
        if len(value) >= _SHORTEST:
            text = text.replace(value, SHOWN)
    return text
