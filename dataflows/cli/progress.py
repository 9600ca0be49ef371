"""Progress of long work, on standard error, and only where a person looks."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


@contextmanager
def share_of(what: str, total_bytes: int = 0) -> Iterator[Callable[[float], None]]:
    """A bar with share, rate and time left; gives the function to tell the share (0 to 1) to."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(what, total=1.0, rate="")

        def told(share: float) -> None:
            elapsed = progress.tasks[0].elapsed or 0.0
            rate = f"{share * total_bytes / elapsed / 1e6:.1f} MB/s" if total_bytes and elapsed > 0 else ""
            progress.update(task, completed=share, rate=rate)

        yield told


def waits(words: str) -> None:
    """Say why nothing goes on, on standard error, whoever looks."""
    click.echo(f"andon: {words}", err=True)


@contextmanager
def reading(what: str, files: Sequence[str]) -> Iterator[Callable[[float], None]]:
    """A bar over the bytes of `files`."""
    with share_of(what, sum(Path(file).stat().st_size for file in files if Path(file).is_file())) as told:
        yield told
