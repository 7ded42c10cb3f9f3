"""Results of scenario tests as JUnit XML, which CI systems read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as Tree

_UNFIT = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Case:
    """One scenario."""

    file: str
    title: str
    seconds: float
    failure: str = ""  #: what was otherwise
    error: str = ""  #: why it could not be run


def junit(name: str, cases: Sequence[Case]) -> bytes:
    """The file.

    Parameters
    ----------
    name: the program.
    """
    failures, errors = sum(bool(it.failure) for it in cases), sum(bool(it.error) for it in cases)
    total = f"{sum(it.seconds for it in cases):.3f}"
    counts = {"tests": str(len(cases)), "failures": str(failures), "errors": str(errors), "time": total}
    top = Tree.Element("testsuites", {"name": "drumbeat", **counts})
    suite = Tree.SubElement(top, "testsuite", {"name": _fit(name), **counts, "skipped": "0"})
    for it in cases:
        place = it.file.removesuffix(".yaml").removesuffix(".yml").replace("/", ".")
        one = Tree.SubElement(
            suite, "testcase",
            {"classname": _fit(place), "name": _fit(it.title), "file": _fit(it.file), "time": f"{it.seconds:.3f}"},
        )  # fmt: skip
        for kind, text in (("failure", it.failure), ("error", it.error)):
            if text:
                child = Tree.SubElement(one, kind, {"message": _fit(text.split("\n", 1)[0]), "type": kind})
                child.text = _fit(text)
    Tree.indent(top)
    return bytes(Tree.tostring(top, encoding="utf-8", xml_declaration=True)) + b"\n"


def _fit(text: str) -> str:
    """Without what XML cannot hold."""
    return _UNFIT.sub("\ufffd", text)
