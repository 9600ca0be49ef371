"""Command lines in docs: taken out of code blocks, and held against the command line that there is. Nothing is run."""

import re
import shlex
from collections.abc import Iterator, Sequence

import click

from dataflows.cli import andon

_OPERATORS = re.compile(r"[|&;()]+|>>?|<")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
#: What stands for several words that a person chooses.
_CHOICE = re.compile(r"^[a-z_]+(\|[a-z_]+)+$")


def commands(text: str) -> Iterator[list[str]]:
    """The commands of a shell block, each as words: lines joined where a quote or a backslash asks for it."""
    pending = ""
    for line in text.splitlines():
        pending += line.strip().removeprefix("$ ") if not pending else f"\n{line}"
        if pending.endswith("\\"):
            pending = pending[:-1]
            continue
        try:
            words = _words(pending)
        except ValueError:  # a quote that is still open
            continue
        pending = ""
        yield from _apart(words)
    if pending:
        raise ValueError(f"a quote is never closed: {pending[:60]}")


def _words(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = "#"
    return list(lexer)


def _apart(words: Sequence[str]) -> Iterator[list[str]]:
    one: list[str] = []
    for word in [*words, ";"]:
        if _OPERATORS.fullmatch(word):
            if one:
                yield one
            one = []
        elif one or not _ASSIGNMENT.match(word):
            one.append(word)


def arguments_of(words: Sequence[str]) -> list[str] | None:
    """What is given to `andon`, in a pod as well; None where another program is called."""
    if words[:2] == ["kubectl", "exec"] and "--" in words:
        words = words[words.index("--") + 1 :]
    return list(words[1:]) if words and words[0].rpartition("/")[2] == "andon" else None


def wrong_with(arguments: Sequence[str]) -> str:
    """What `andon` would say of these arguments before doing anything; empty where it takes them."""
    try:
        _take(andon, "andon", list(arguments), None)
    except click.exceptions.Exit:  # --help and --version
        return ""
    except click.ClickException as error:
        words = error.format_message()
        return "" if "does not exist" in words and "File" in words else words
    return ""


def names_what_exists(arguments: Sequence[str]) -> str:
    """The same of a command that is only named in a sentence: its command and its options exist."""
    command: click.Command = andon
    context = click.Context(andon, info_name="andon")
    for word in arguments:
        if word.startswith("--"):
            known = {
                name
                for parameter in command.get_params(context)
                for name in (*parameter.opts, *parameter.secondary_opts)
            }
            if word.partition("=")[0] not in known:
                return f"{command.name} has no option {word}"
        elif isinstance(command, click.Group):
            for name in word.split("|") if _CHOICE.match(word) else [word]:
                found = command.get_command(context, name)
                if found is None:
                    return f"{command.name} has no command {name}"
            command = found or command
    return ""


def _take(command: click.Command, name: str, arguments: list[str], parent: click.Context | None) -> None:
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=name, parent=parent)
        _, rest, _ = command.make_parser(context).parse_args(list(arguments))
        if rest:
            _, found, left = command.resolve_command(context, rest)
            if found is not None:
                _take(found, rest[0], left, context)
        return
    command.make_context(name, arguments, parent=parent)
