"""The problems of a program for machines: GitHub's annotations and SARIF 2.1.0. Columns count characters, from 1."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import quote

from engine.language.diagnostics import Diagnostic, Page

SARIF_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"


def placed(file: str, folder: str) -> str:
    """A file of the program as seen from where the command was given.

    Parameters
    ----------
    folder: the program's folder, seen from there; "" or "." when it is the same.
    """
    return PurePosixPath(folder, file).as_posix()


def github(problems: Iterable[Diagnostic], folder: str = "") -> str:
    """One workflow command a line; GitHub shows each beside its line of the pull request."""
    return "\n".join(_command(problem, folder) for problem in sorted(problems))


def _command(problem: Diagnostic, folder: str) -> str:
    fields = {
        "file": placed(problem.file, folder),
        "line": problem.line,
        "col": problem.col,
        "endColumn": problem.col + problem.length,
        "title": f"{problem.severity}[{problem.code}]",
    }
    shown = ",".join(f"{name}={_property(str(value))}" for name, value in fields.items())
    return f"::{problem.severity} {shown}::{_data(_told(problem))}"


def _told(problem: Diagnostic) -> str:
    return f"{problem.message}\n{problem.hint}" if problem.hint else problem.message


def _data(text: str) -> str:
    """Escaped as the runner unescapes a message."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """Escaped as the runner unescapes a property."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def sarif(
    problems: Iterable[Diagnostic], pages: Mapping[str, Page], version: str, folder: str = ""
) -> dict[str, Any]:
    """A SARIF log of one run.

    Parameters
    ----------
    pages: code -> its page, from which the rules are made.
    version: of Drumbeat.
    folder: see ``placed``.
    """
    found = sorted(problems)
    codes = sorted({problem.code for problem in found})
    return {
        "$schema": SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "drumbeat",
                        "semanticVersion": version,
                        "rules": [_rule(code, pages[code]) for code in codes],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": [_result(problem, codes, folder) for problem in found],
            }
        ],
    }


def _rule(code: str, page: Page) -> dict[str, Any]:
    text = f"{page.meaning}\n\nBad:\n\n{_block(page.bad)}\n\nGood:\n\n{_block(page.good)}"
    return {
        "id": code,
        "shortDescription": {"text": page.title},
        "fullDescription": {"text": page.meaning},
        "help": {"text": text, "markdown": text},
        "defaultConfiguration": {"level": page.severity},
    }


def _block(example: str) -> str:
    return "\n".join(f"    {line}" for line in example.split("\n"))


def _result(problem: Diagnostic, codes: Sequence[str], folder: str) -> dict[str, Any]:
    uri = quote(placed(problem.file, folder))
    return {
        "ruleId": problem.code,
        "ruleIndex": codes.index(problem.code),
        "level": problem.severity,
        "message": {"text": _told(problem)},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": uri, "uriBaseId": "%SRCROOT%"},
                    "region": {
                        "startLine": problem.line,
                        "startColumn": problem.col,
                        "endColumn": problem.col + problem.length,
                    },
                }
            }
        ],
        # the same problem stays the same when lines above it come and go
        "partialFingerprints": {"drumbeat/v1": _fingerprint(problem, uri)},
    }


def _fingerprint(problem: Diagnostic, uri: str) -> str:
    return sha256(f"{problem.code}\0{uri}\0{problem.message}".encode()).hexdigest()[:32]
