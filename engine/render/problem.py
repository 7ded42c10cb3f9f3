"""A fault of a template, and the place it is reported at."""

from __future__ import annotations

from dataclasses import dataclass

from engine.render.pages import RENDER_PAGES, Severity


@dataclass(frozen=True)
class TemplateProblem:
    """One fault of one template file."""

    file: str  #: as seen from the program's folder, with ``/``
    line: int  #: from 1
    col: int | None  #: from 1, in characters; None when unknown
    code: str  #: a key of RENDER_PAGES
    message: str
    hint: str = ""

    @property
    def severity(self) -> Severity:
        """``error`` or ``warning``, as the page of the code says."""
        return RENDER_PAGES[self.code].severity

    @property
    def where(self) -> str:
        """``file:line`` or ``file:line:col``."""
        return f"{self.file}:{self.line}" + (f":{self.col}" if self.col else "")

    def __str__(self) -> str:
        tail = f" ({self.hint})" if self.hint else ""
        return f"{self.where}: {self.severity}[{self.code}]: {self.message}{tail}"


@dataclass(frozen=True)
class Site:
    """Where a piece of template text stands in its file."""

    file: str
    above: int  #: lines of the file before the first line of ``source``
    source: str
    columns: bool = True  #: a column of ``source`` is a column of the file; not so for a value of the front matter

    def problem(self, code: str, line: int, message: str, hint: str = "", needle: str = "") -> TemplateProblem:
        """A problem at a line of the piece; the column is where ``needle`` first stands in that line, if it does.

        Jinja2 keeps lines but no columns, so the column is a search and may be None.
        """
        lines = self.source.split("\n")
        col = None
        if needle and 1 <= line <= len(lines) and self.columns:
            found = lines[line - 1].find(needle)
            col = found + 1 if found >= 0 else None
        return TemplateProblem(self.file, self.above + line, col, code, message, hint)
