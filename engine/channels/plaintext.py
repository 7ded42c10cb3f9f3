"""HTML as plain text: the other half of a mail for whom the pictures are nothing."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_SILENT = frozenset({"head", "script", "style", "template", "title"})
_BLOCKS = frozenset(
    {
        "address", "article", "aside", "blockquote", "br", "dd", "div", "dl", "dt", "footer", "form", "h1", "h2", "h3",
        "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre", "section", "table", "tr", "ul",
    }
)  # fmt: skip
_APART = frozenset({"h1", "h2", "h3", "h4", "h5", "h6", "p", "table", "ul", "ol", "blockquote"})
_ADDRESS = ("http://", "https://", "mailto:")


def plain_text(html: str) -> str:
    """The words of a page: a line for each line, ``- `` before items, the address behind the words of a link."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    lines = [re.sub(r"[ \t\r\f\v]+", " ", line).strip() for line in "".join(reader.parts).split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._silent = 0
        self._fresh = True  #: nothing was said since the last line began
        self._links: list[tuple[str, int]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SILENT:
            self._silent += 1
        elif tag in _BLOCKS:
            self._break(tag)
            if tag == "li":
                self.parts.append("- ")
        elif tag == "a":
            self._links.append((dict(attrs).get("href") or "", len(self.parts)))
        elif tag == "img" and not self._silent:
            self._say(dict(attrs).get("alt") or "")

    def handle_endtag(self, tag: str) -> None:
        if tag in _SILENT:
            self._silent = max(0, self._silent - 1)
        elif tag in _BLOCKS and tag != "br":
            self._break(tag)
        elif tag in ("td", "th"):
            self.parts.append(" ")
        elif tag == "a" and self._links:
            address, place = self._links.pop()
            words = "".join(self.parts[place:]).strip()
            if address.startswith(_ADDRESS) and address.removeprefix("mailto:") != words:
                self._say(f" ({address})" if words else address)

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self._say(data.replace("\n", " "))

    def _say(self, words: str) -> None:
        self.parts.append(words)
        self._fresh = self._fresh and not words.strip()

    def _break(self, tag: str) -> None:
        if tag in _APART:
            self.parts.append("\n\n")
        elif tag == "br" or not self._fresh:
            self.parts.append("\n")
        self._fresh = True
