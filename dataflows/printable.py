"""Text from events, as a terminal may get it."""


def printable(text: str) -> str:
    r"""`text` with what can't be seen written out (`\n`, `\x1b`): what a partner sends must not steer a terminal."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
