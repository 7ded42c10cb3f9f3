"""Problems of an expression, each at the very word that makes it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from engine.language.expressions.pages import EXPRESSION_PAGES
from engine.registry import nearest


@dataclass(frozen=True, slots=True)
class Issue:
    """One problem; ``start`` and ``end`` are offsets into the text that was given."""

    start: int
    end: int
    code: str
    message: str
    hint: str = ""

    @property
    def severity(self) -> str:
        """ "error" or "warning", as the page of the code says."""
        return EXPRESSION_PAGES[self.code][4]


@dataclass
class Issues:
    """Collects problems; the same problem at the same place is said once."""

    found: list[Issue] = field(default_factory=list)

    def add(self, span: tuple[int, int], code: str, message: str, hint: str = "") -> None:
        """Report a problem at ``span``."""
        issue = Issue(span[0], max(span[1], span[0] + 1), code, message, hint)
        if issue not in self.found:
            self.found.append(issue)

    def take(self, issues: Iterable[Issue], offsets: tuple[int, ...]) -> None:
        """Adopt the problems of an inner text whose k-th character stands at ``offsets[k]``."""
        for issue in issues:
            start = offsets[min(issue.start, len(offsets) - 1)]
            end = offsets[min(issue.end, len(offsets)) - 1] + 1
            self.found.append(replace(issue, start=start, end=max(end, start + 1)))

    @property
    def fatal(self) -> bool:
        """Is one of them an error?"""
        return any(issue.severity == "error" for issue in self.found)

    def sorted(self) -> list[Issue]:
        """In order of place."""
        return sorted(self.found, key=lambda issue: (issue.start, issue.code, issue.message))


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """``did you mean 'x'?`` with the nearest known word, or the other hint."""
    near = nearest(word, known)
    return f"did you mean '{near}'?" if near is not None else otherwise
