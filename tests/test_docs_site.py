"""The docs as a site: it builds, in strict mode, and a browser loads nothing for it from elsewhere.

Needs the tool that `make docs` sets up, and is skipped without it; one test needs a browser, too.
"""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests import browser
from tests.docs_pages import DOCS, ROOT

MKDOCS = ROOT / "build" / "docs-venv" / "bin" / "mkdocs"

pytestmark = pytest.mark.skipif(not MKDOCS.exists(), reason="make docs sets mkdocs up")

#: What makes a browser load something, in pages, styles and scripts.
_LOADS = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\bsrc=["']?(?:https?:)?//[^"'\s>]+"""
    r"""|<link\b(?=[^>]*rel=["']?(?:stylesheet|preload|preconnect|icon|dns-prefetch))[^>]*?href=["']?(?:https?:)?//[^"'\s>]+"""
    r"""|@import\s*(?:url\()?["']?(?:https?:)?//[^"'\s)]+"""
    r"""|url\(["']?(?:https?:)?//[^"'\s)]+"""
)

_HITS = '[...document.querySelectorAll(".md-search-result__link")].map(one => one.href).join(" ")'


def _build(site: Path, config: Path = ROOT / "infra" / "docs" / "mkdocs.yml") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(MKDOCS), "build", "--config-file", str(config), "--site-dir", str(site)],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = _build(folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_built(site: Path) -> None:
    pages = {path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md")}
    assert len(pages) > 30
    assert [page for page in pages if not (site / page).is_file()] == []


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    loaded = {
        (path.name, found)
        for path in site.rglob("*")
        if path.suffix in (".html", ".css")
        for found in _LOADS.findall(path.read_text(encoding="utf-8"))
    }
    assert loaded == set()


@pytest.mark.skipif(browser.installed() is None, reason="no browser")
@pytest.mark.parametrize("name", ["index.html", "architecture.html", "cookbook.html"])
def test_a_browser_asks_for_files_of_the_site_only(site: Path, name: str, tmp_path: Path) -> None:
    with browser.browser(tmp_path) as page:
        page.open(site / name)
        asked = page.requested()
    assert len(asked) > 3
    assert [url for url in asked if not url.startswith((f"file://{site}", "data:", "blob:"))] == []


@pytest.mark.skipif(browser.installed() is None, reason="no browser")
def test_search_works_from_the_disk(site: Path, tmp_path: Path) -> None:
    with browser.browser(tmp_path) as page:
        page.open(site / "index.html")
        page.value(
            """{ const box = document.querySelector(".md-search__input");
                 box.focus(); box.value = "watermark"; box.dispatchEvent(new KeyboardEvent("keyup", {key: "k"})); }"""
        )
        deadline = time.monotonic() + 60
        while not (found := page.value(_HITS)):
            assert time.monotonic() < deadline, page.complaints()
    assert "concepts.html" in found


def test_a_broken_link_fails_the_build(tmp_path: Path) -> None:
    shutil.copytree(DOCS, tmp_path / "docs")
    shutil.copytree(ROOT / "infra" / "docs", tmp_path / "infra" / "docs")
    with (tmp_path / "docs" / "concepts.md").open("a", encoding="utf-8") as page:
        page.write("\n[a heading that is not there](running.md#no-such-heading)\n")
    done = _build(tmp_path / "site", tmp_path / "infra" / "docs" / "mkdocs.yml")
    assert done.returncode != 0
    assert "no-such-heading" in done.stderr
