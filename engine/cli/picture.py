"""A page as a picture, by the Chromium of this machine, without any network.

Rule: the page is a stranger: scripts do not run, nothing is fetched, and files of this machine are out of its reach.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

from engine.errors import CannotRun

_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
_SECONDS = 60
_WIDTH, _HEIGHT = 700, 1000
_WALL = (
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
    "style-src 'unsafe-inline'; font-src data:\">"
)
_HEAD = re.compile(r"<head[^>]*>", re.IGNORECASE)


def browser() -> str:
    """The program that draws pages; raises CannotRun, saying what to install."""
    for name in (os.environ.get("DRUMBEAT_CHROMIUM", ""), *_NAMES):
        found = shutil.which(name) if name else None
        if found is not None:
            return found
    raise CannotRun(
        "--image needs Chromium, and none is on this machine",
        hint="apt-get install chromium, or DRUMBEAT_CHROMIUM=/path/to/it",
    )


def picture(text: str, out: Path, *, html: bool) -> None:
    """Draw a message into a PNG file.

    Parameters
    ----------
    text, html: the message, and whether it is HTML; other text is drawn as it is.
    out: the file, overwritten.

    Raises CannotRun without Chromium, or where it fails.
    """
    program = browser()
    with TemporaryDirectory(prefix="drumbeat-") as folder:
        page = Path(folder) / "page.html"
        page.write_text(_walled(text) if html else _plain(text), encoding="utf-8")
        made = Path(folder) / "page.png"
        command = [
            program, "--headless=new", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--mute-audio",
            "--disable-extensions", "--disable-sync", "--disable-background-networking", "--disable-dev-shm-usage",
            "--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=127.0.0.1:9", f"--user-data-dir={folder}/profile",
            f"--window-size={_WIDTH},{_HEIGHT}", f"--screenshot={made}", page.as_uri(),
        ]  # fmt: skip
        if os.geteuid() == 0:  # its sandbox needs another user; what it is shown has no scripts and no network
            command.insert(1, "--no-sandbox")
        try:
            done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)  # noqa: S603 - of a list
        except subprocess.TimeoutExpired:
            raise CannotRun(f"{program} drew no picture within {_SECONDS} s") from None
        if not made.is_file():
            words = done.stderr.decode(errors="replace").strip().splitlines()
            raise CannotRun(f"{program} drew no picture", hint=words[-1] if words else "")
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(made, out)


def _walled(html: str) -> str:
    head = _HEAD.search(html)
    if head is not None:
        return html[: head.end()] + _WALL + html[head.end() :]
    return f"<!doctype html><meta charset=utf-8>{_WALL}{html}"


def _plain(text: str) -> str:
    style = "font: 15px/1.5 sans-serif; white-space: pre-wrap; margin: 24px; max-width: 36em"
    return f'<!doctype html><meta charset=utf-8>{_WALL}<div style="{style}">{escape(text)}</div>'
