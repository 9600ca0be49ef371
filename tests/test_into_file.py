"""What a command writes into a file is there as a whole, or not at all."""

import resource
import signal
from pathlib import Path

import click
import pytest

from dataflows.cli.answers import into_file


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    into_file(page, "first")
    link = tmp_path / "newest.html"
    link.symlink_to(page)
    into_file(link, "seçond")
    assert page.read_text(encoding="utf-8") == "seçond"
    assert link.is_symlink()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["newest.html", "page.html"]


def test_on_a_full_disk_what_was_there_stays_as_it_was(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    into_file(page, "first")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(click.FileError, match="File too large"):
            into_file(page, "x" * 1_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert page.read_text(encoding="utf-8") == "first"
    assert [one.name for one in tmp_path.iterdir()] == ["page.html"]
