"""Diagnostics: one problem at one place, and how it is collected, silenced, sorted and shown.

Every room of ``engine.language`` reports through :class:`Problems`; nothing in validation raises for bad input.
Positions are 1-based and count characters; only the rendering counts display cells, because the caret has to sit
under the very word also when the line holds full-width text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from engine.language.excerpt import excerpt, safe
from engine.registry import nearest

Severity = Literal["error", "warning"]

SILENCEABLE_ERRORS: frozenset[str] = frozenset()
"""Errors that ``# allow:`` may silence. Empty on purpose: what cannot run or could do harm is fixed, not silenced."""

EDIT_CODES: frozenset[str] = frozenset(
    {"arms-changed", "goal-changed", "key-changed", "playbook-removed", "salt-changed", "step-unnamed"}
)
"""Warnings of ``validate --against`` alone: a comment that silences one is not unused where nothing is compared."""

BREAKS = re.compile(r"\r\n|\r|\n")


class Mark(NamedTuple):
    """A place in a file: line and column count from 1, the column in characters."""

    file: str
    line: int
    col: int


class Located(Protocol):
    """Anything that knows where it stands and how many characters of its first line it covers."""

    @property
    def mark(self) -> Mark: ...
    @property
    def length(self) -> int: ...


class Spot(NamedTuple):
    """A place with a length: a word inside a longer text."""

    mark: Mark
    length: int


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One problem at one place.

    Parameters
    ----------
    file, line, col: where, 1-based, the column in characters.
    length: how many characters of that line the problem covers (at least 1).
    severity: "error" (the program is refused) or "warning".
    code: the short name ``drumbeat explain`` knows.
    message: what is wrong, with the words of the file in quotes.
    hint: the next move, or "".
    """

    file: str
    line: int
    col: int
    length: int
    severity: Severity
    code: str
    message: str
    hint: str = ""

    @property
    def sort_key(self) -> tuple[str, int, int, str]:
        """The order in which problems are shown."""
        return (self.file, self.line, self.col, self.code)

    def __lt__(self, other: Diagnostic) -> bool:
        return self.sort_key < other.sort_key


@dataclass(frozen=True, slots=True)
class Page:
    """What ``drumbeat explain`` says about one code.

    Parameters
    ----------
    title: the problem in a few words.
    meaning: why it is a problem and what to do, as plain sentences.
    bad, good: the smallest file that shows the problem, and the same file without it.
    severity: "error" or "warning".
    """

    title: str
    meaning: str
    bad: str
    good: str
    severity: Severity = "error"


class Comment(NamedTuple):
    """A YAML comment; ``until`` is the last line it speaks for (a block scalar's end, else its own line)."""

    mark: Mark
    text: str
    until: int


@dataclass(frozen=True, slots=True)
class Allow:
    """A comment ``# allow: code — reason``.

    Parameters
    ----------
    mark, length: where the comment stands.
    codes: the codes it names.
    reason: why, or "" when the author left it out.
    until: the last line it speaks for.
    """

    mark: Mark
    length: int
    codes: tuple[str, ...]
    reason: str
    until: int

    def covers(self, problem: Diagnostic) -> bool:
        """Whether this comment silences ``problem``."""
        return (
            problem.code in self.codes
            and problem.file == self.mark.file
            and self.mark.line <= problem.line <= self.until
            and (problem.severity == "warning" or problem.code in SILENCEABLE_ERRORS)
        )


# The reason may follow an em dash, one or two hyphens, or nothing but a space; codes themselves hold hyphens,
# so a hyphen only separates after a space.
_ALLOW = re.compile(
    r"#+\s*allow\s*[:：]\s*(?P<codes>[a-z0-9][a-z0-9-]*(?:\s*[,，]\s*[a-z0-9][a-z0-9-]*)*)?\s*(?:[—–]+|-{1,2}(?=\s|$))?"
    r"\s*(?P<reason>.*)",
    re.IGNORECASE,
)


def read_allows(comments: Iterable[Comment]) -> tuple[Allow, ...]:
    """The ``# allow:`` comments among all comments of a file."""
    found = []
    for comment in comments:
        match = _ALLOW.fullmatch(comment.text.rstrip())
        if match is None:
            continue
        codes = tuple(code.lower() for code in re.split(r"\s*[,，]\s*", match["codes"] or "") if code)
        found.append(Allow(comment.mark, len(comment.text.rstrip()), codes, match["reason"], comment.until))
    return tuple(found)


class Problems:
    """Collects the problems of a whole program, in any order, and gives them back silenced and sorted.

    Parameters
    ----------
    known_codes: codes that exist, for "did you mean" on a misspelt ``# allow:``.
    """

    def __init__(self, known_codes: Iterable[str] = ()) -> None:
        self._known_codes = frozenset(known_codes)
        self._found: dict[Diagnostic, None] = {}  # a dict, so the same problem found twice is told once
        self._allows: list[Allow] = []
        self._incomplete: set[str] = set()
        self._unasked: set[str] = set()

    def add(
        self,
        where: Mark | Located,
        code: str,
        message: str,
        *,
        severity: Severity = "error",
        hint: str = "",
        length: int | None = None,
    ) -> None:
        """Report one problem.

        Parameters
        ----------
        where: a mark, a node, or a Spot inside a node's text.
        code, message, severity, hint: see Diagnostic.
        length: characters covered; by default what ``where`` covers, 1 for a bare mark.
        """
        mark = where if isinstance(where, Mark) else where.mark
        if length is None:
            length = 1 if isinstance(where, Mark) else where.length
        problem = Diagnostic(mark.file, mark.line, mark.col, max(1, length), severity, code, message, hint)
        self._found.setdefault(problem)

    def error(
        self, where: Mark | Located, code: str, message: str, *, hint: str = "", length: int | None = None
    ) -> None:
        """Report an error; parameters as in ``add``."""
        self.add(where, code, message, hint=hint, length=length)

    def warning(
        self, where: Mark | Located, code: str, message: str, *, hint: str = "", length: int | None = None
    ) -> None:
        """Report a warning; parameters as in ``add``."""
        self.add(where, code, message, severity="warning", hint=hint, length=length)

    def extend(self, problems: Iterable[Diagnostic]) -> None:
        """Take over problems found elsewhere."""
        self._found.update(dict.fromkeys(problems))

    def learn(self, allows: Iterable[Allow], *, incomplete: str = "") -> None:
        """Take in the ``# allow:`` comments of a file.

        Parameters
        ----------
        allows: what ``read_allows`` found.
        incomplete: the file's name when it could not be read to its end. Its checks did not all run, so none of
            its comments is called unused.
        """
        self._allows.extend(allows)
        if incomplete:
            self._incomplete.add(incomplete)

    def unasked(self, codes: Iterable[str], files: Iterable[str] = ()) -> None:
        """Some checks did not run: a comment about these codes, or in these files, is not called unused."""
        self._unasked.update(codes)
        self._incomplete.update(files)

    @property
    def has_errors(self) -> bool:
        """Whether an error is left that no comment silences."""
        return any(problem.severity == "error" for problem in self._kept())

    def result(self, *, unused: bool = True) -> tuple[Diagnostic, ...]:
        """All problems that are not silenced, sorted.

        Parameters
        ----------
        unused: also report comments that silence nothing; False when only some of the checks ran.
        """
        kept = self._kept()
        for allow in self._allows:
            kept.extend(self._judge(allow, unused))
        return tuple(sorted(kept))

    def _kept(self) -> list[Diagnostic]:
        by_place: dict[tuple[str, str], list[Allow]] = {}
        for allow in self._allows:
            for code in allow.codes:
                by_place.setdefault((allow.mark.file, code), []).append(allow)
        return [
            problem
            for problem in self._found
            if not any(allow.covers(problem) for allow in by_place.get((problem.file, problem.code), ()))
        ]

    def _judge(self, allow: Allow, unused: bool) -> list[Diagnostic]:
        """What is wrong with the comment itself."""
        found = []
        if allow.codes and not allow.reason:
            hint = f"write '# allow: {', '.join(allow.codes)} — why this is fine'"
            found.append(_about(allow, "allow-without-reason", "an '# allow:' comment needs a reason", hint))
        if not unused or allow.mark.file in self._incomplete:
            return found
        if not allow.codes:
            hint = "write '# allow: code — why this is fine'"
            found.append(_about(allow, "unused-allow", "this '# allow:' comment names no code", hint))
        for code in allow.codes:
            if code in self._unasked or code in EDIT_CODES:
                continue
            here = [p for p in self._found if p.code == code and p.file == allow.mark.file]
            if not any(allow.covers(problem) for problem in here):
                refused = any(allow.mark.line <= problem.line <= allow.until for problem in here)
                found.append(_about(allow, "unused-allow", *self._why_unused(code, refused)))
        return found

    def _why_unused(self, code: str, refused: bool) -> tuple[str, str]:
        if refused:
            return f"'{code}' is an error, and errors cannot be silenced", "mend the line and drop the comment"
        near = None if code in self._known_codes else nearest(code, self._known_codes)
        if code not in self._known_codes and self._known_codes:
            hint = f"did you mean '{near}'?" if near else "drop the comment"
            return f"no problem is called '{code}'", hint
        return f"no '{code}' on this line to silence", f"did you mean '{near}'?" if near else "drop the comment"


def _about(allow: Allow, code: str, message: str, hint: str) -> Diagnostic:
    mark = allow.mark
    return Diagnostic(mark.file, mark.line, mark.col, allow.length, "warning", code, message, hint)


def render_text(diagnostics: Iterable[Diagnostic], sources: Mapping[str, str], color: bool = False) -> str:
    """The problems as people read them, sorted, without a line break at the end.

    Parameters
    ----------
    diagnostics: what to show.
    sources: file name -> its text; a problem in a file that is not here is shown without its source line.
    color: with ANSI colours.
    """
    lines = {file: BREAKS.split(text.removeprefix("\ufeff")) for file, text in sources.items()}
    return "\n".join(_block(problem, lines.get(problem.file), color) for problem in sorted(diagnostics))


def _block(problem: Diagnostic, lines: list[str] | None, color: bool) -> str:
    tint = "1;31" if problem.severity == "error" else "1;33"
    place = _paint(f"{safe(problem.file)}:{problem.line}:{problem.col}:", "1", color)
    kind = _paint(f"{problem.severity}[{problem.code}]", tint, color)
    head = f"{place} {kind}: {safe(problem.message)}"
    hint = safe(problem.hint)
    if lines is None:
        return f"{head}\n  {hint}" if hint else head
    line = lines[problem.line - 1] if problem.line <= len(lines) else ""
    shown = excerpt(line, problem.col, problem.length)
    number = f"  {problem.line} "
    carets = _paint("^" * shown.carets, tint, color)
    return "\n".join(
        (
            head,
            _paint(f"{number}|", "2", color) + f" {shown.text}".rstrip(),
            _paint(" " * len(number) + "|", "2", color) + " " * (shown.pad + 1) + f"{carets} {hint}".rstrip(),
        )
    )


def _paint(text: str, style: str, color: bool) -> str:
    return f"\x1b[{style}m{text}\x1b[0m" if color else text


def to_json(problem: Diagnostic) -> dict[str, str | int]:
    """One problem as plain JSON values, all fields always present."""
    return {
        "file": problem.file,
        "line": problem.line,
        "col": problem.col,
        "length": problem.length,
        "severity": problem.severity,
        "code": problem.code,
        "message": problem.message,
        "hint": problem.hint,
    }
