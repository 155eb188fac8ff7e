"""The documentation as it is built: on a phone and a desk, light and dark, and searched."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

if TYPE_CHECKING:
    from lab import Lab
    from playwright.sync_api import Browser

pytestmark = pytest.mark.docs
ROOT = Path(__file__).parents[2]
PAGES = (
    *("index", "guide", "write", "sink", "types", "engines", "api"),
    *("api/iotdb_frames.connect", "api/iotdb_frames.write", "api/iotdb_frames.Fault"),
)
NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
NO_WIDER = "() => document.documentElement.scrollWidth <= innerWidth"
CUT_OFF = """() => {
  const article = document.querySelector('article');
  const edge = article.getBoundingClientRect().right + 1;
  return [...article.querySelectorAll('p, li, dt, dd')]
    .filter(e => !e.closest('table, .cell_output') && e.getBoundingClientRect().right > edge)
    .map(e => e.innerText);
}"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The documentation, built with warnings as errors, on a port of its own."""
    from lab import Lab

    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", ROOT / "docs", folder],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Lab(f"http://127.0.0.1:{server.server_port}", "", folder)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_pages_fit_and_are_quiet(
    site: Lab, browser: Browser, width: int, theme: Literal["light", "dark"]
) -> None:
    """No page scrolls sideways, cuts words off, complains or asks another host for anything."""
    from lab import look

    with look(browser, site, width=width, theme=theme) as seen:
        for page in (*PAGES, *(f"notebooks/{name}" for name in NOTEBOOKS)):
            seen.page.goto(f"{site.url}/{page}.html")
            assert seen.page.locator("html").get_attribute("data-theme") == theme
            assert seen.page.evaluate(NO_WIDER), page
            assert not seen.page.evaluate(CUT_OFF), page
        assert not seen.errors
        assert not seen.strangers


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pictures_are_of_the_theme(
    site: Lab, browser: Browser, theme: Literal["light", "dark"]
) -> None:
    """Of a picture in two themes, the one of the page's theme is shown, and loaded."""
    from lab import look

    with look(browser, site, theme=theme) as seen:
        seen.page.goto(f"{site.url}/notebook.html")
        shown = seen.page.locator("article img:visible")
        assert shown.count() == 3
        for i in range(3):
            assert f"-{theme}.png" in str(shown.nth(i).get_attribute("src"))
            assert shown.nth(i).evaluate("image => image.naturalWidth") > 500


def test_a_search_finds_the_call(site: Lab, browser: Browser) -> None:
    """Who searches for `write` is led to the call and to the page about it."""
    from lab import look

    with look(browser, site) as seen:
        seen.page.goto(f"{site.url}/index.html")
        seen.page.keyboard.press("Control+K")
        seen.page.locator("dialog input[type=search]").fill("write")
        seen.page.keyboard.press("Enter")
        found = seen.page.locator("#search-results a")
        found.first.wait_for()
        seen.page.wait_for_function(
            "() => document.querySelector('#search-results')?.innerText.includes('finished')"
        )
        targets = found.evaluate_all("links => links.map(link => new URL(link.href).pathname)")
        assert "/api/iotdb_frames.write.html" in targets[:10]
        assert "/write.html" in targets
        assert not seen.errors


def test_a_phone_has_the_menu(site: Lab, browser: Browser) -> None:
    """On a phone the pages are reached by the button of the menu."""
    from lab import look

    with look(browser, site, width=390) as seen:
        seen.page.goto(f"{site.url}/guide.html")
        seen.page.get_by_role("button", name="Site navigation").click()
        menu = seen.page.locator("dialog[open]")
        menu.get_by_role("link", name="Backfills", exact=True).click()
        seen.page.wait_for_url("**/backfill.html")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_show_their_plots(site: Lab, name: str) -> None:
    """A notebook's page has the pictures of the run by `tests/test_notebooks.py`."""
    page = (site.folder / "notebooks" / f"{name}.html").read_text(encoding="utf-8")
    assert 'class="cell_output' in page
    assert "_images/" in page
