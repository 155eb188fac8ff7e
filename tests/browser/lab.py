"""JupyterLab and Chromium for tests: their own directories and ports, nothing of the user's."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import nbformat
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM_ARGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
IDLE = """() => {
  const panel = window.jupyterapp?.shell.currentWidget;
  const kernel = panel?.sessionContext?.session?.kernel;
  const prompts = [...document.querySelectorAll('.jp-InputPrompt')];
  const stars = prompts.some(e => e.innerText.includes('*'));
  return kernel?.status === 'idle' && !stars;
}"""


@dataclass
class Lab:
    """A running JupyterLab on a folder of notebooks."""

    url: str
    token: str
    folder: Path

    def add(self, name: str, *cells: str) -> str:
        """Write a notebook of code cells; its name."""
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
            metadata={
                "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
            },
        )
        nbformat.write(notebook, self.folder / name)
        return name


@dataclass
class Seen:
    """A page and what it said and asked for."""

    page: Page
    lab: Lab
    errors: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)

    def open(self, notebook: str) -> None:
        """Open a notebook on its own, with nothing beside it."""
        self.page.goto(f"{self.lab.url}/doc/tree/{notebook}?reset&token={self.lab.token}")
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
        self.page.wait_for_function(IDLE, timeout=60_000)

    def run(self, cell: int, *, timeout_s: float = 60) -> None:
        """Run one cell and wait until the kernel is idle."""
        self.page.evaluate(
            """(cell) => {
              const content = window.jupyterapp.shell.currentWidget.content;
              content.activeCellIndex = cell;
              content.deselectAll();
              return window.jupyterapp.commands.execute('notebook:run-cell');
            }""",
            cell,
        )
        self.page.wait_for_function(IDLE, timeout=timeout_s * 1e3)

    def output(self, cell: int) -> Any:
        """The output area of a cell."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(cell).locator(".jp-Cell-outputArea")

    def set_theme(self, theme: str) -> None:
        """ "light" or "dark"."""
        name = f"JupyterLab {theme.title()}"
        self.page.evaluate(
            "(name) => window.jupyterapp.commands.execute('apputils:change-theme', {theme: name})",
            name,
        )
        self.page.wait_for_function(
            "(light) => document.body.dataset.jpThemeLight === light",
            arg="true" if theme == "light" else "false",
        )
        self.page.wait_for_timeout(400)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def run_lab(folder: Path, *, environment: dict[str, str]) -> Iterator[Lab]:
    """JupyterLab on ``folder/work``, with settings of its own and no news."""
    work, port, token = folder / "work", _free_port(), secrets.token_hex(16)
    work.mkdir(parents=True)
    settings = folder / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(
        json.dumps({"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True})
    )
    own = {
        "JUPYTER_TOKEN": token,
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_PREFER_ENV_PATH": "1",
    }
    log = (folder / "lab.log").open("w")
    process = subprocess.Popen(
        [
            sys.executable, "-m", "jupyterlab", str(work), "--no-browser", "--allow-root",
            "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0",
            "--LabApp.expose_app_in_browser=True", "--LabApp.news_url=None",
        ],
        env={**os.environ, **own, **environment},
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{url}/api?token={token}", timeout=2).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((folder / "lab.log").read_text()[-2000:]) from None
                time.sleep(0.2)
        yield Lab(f"{url}", token, work)
    finally:
        process.terminate()  # it ends its kernels, and they their servers
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


@contextmanager
def run_browser(folder: Path) -> Iterator[Browser]:
    """Debian's Chromium."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        raise RuntimeError("no Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=[*CHROMIUM_ARGS, f"--crash-dumps-dir={folder}"]
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def look(
    browser: Browser,
    lab: Lab,
    *,
    width: int = 1120,
    height: int = 1000,
    theme: Literal["light", "dark"] = "light",
) -> Iterator[Seen]:
    """A page that notes console errors and requests to anywhere but the lab."""
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
    seen = Seen(context.new_page(), lab)

    def on_request(request: Any) -> None:
        if not request.url.startswith((lab.url, lab.url.replace("http", "ws"), "data:", "blob:")):
            seen.strangers.append(request.url)

    def on_console(message: Any) -> None:
        if message.type == "error":
            seen.errors.append(f"{message.text} ({message.location.get('url', '')})")

    seen.page.on("request", on_request)
    seen.page.on("console", on_console)
    seen.page.on("pageerror", lambda error: seen.errors.append(str(error)))
    try:
        yield seen
    finally:
        context.close()
