"""Scenario tests under pytest: ``pytest --drumbeat`` collects ``scenarios/*.yaml`` of every program it meets.

Rule 1: without ``--drumbeat`` (or ``drumbeat = true`` in the ini file) nothing is collected and nothing is imported.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from engine.insight.coverage import Coverage
    from engine.language.compiled import Compiled
    from engine.language.scenario_model import Scenario

_WIDTH = 120
_PROGRAM = "drumbeat.yaml"
_FOLDER = "scenarios"


class _Programs:
    """The programs of this run, each read once."""

    def __init__(self) -> None:
        self.found: dict[Path, Compiled] = {}
        self.coverage: dict[Path, Coverage] = {}

    def at(self, root: Path) -> Compiled:
        """The program in a folder."""
        if root not in self.found:
            from engine.insight.coverage import Coverage
            from engine.language.compile import compile_program

            self.found[root] = compile_program(root, scenarios=True)
            rehearse = self.found[root].rehearse
            self.coverage[root] = Coverage(() if rehearse is None else rehearse(()).playbooks)
        return self.found[root]


_PROGRAMS = pytest.StashKey[_Programs]()


class ScenarioFailed(Exception):
    """Something came otherwise than expected; the message shows both sides."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The switches."""
    group = parser.getgroup("drumbeat", "scenario tests of Drumbeat programs")
    group.addoption("--drumbeat", action="store_true", default=False, help="collect scenarios/*.yaml of programs")
    group.addoption(
        "--drumbeat-update", action="store_true", default=False, help="write the text snapshots of scenarios anew"
    )
    parser.addini("drumbeat", "collect scenarios/*.yaml of programs", type="bool", default=False)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """A scenario file below a program, when asked for."""
    if file_path.suffix not in (".yaml", ".yml"):
        return None
    config = parent.config
    if not (config.getoption("drumbeat") or config.getini("drumbeat")):
        return None
    root = _root_of(file_path)
    if root is None:
        return None
    found: pytest.Collector = ScenarioFile.from_parent(parent, path=file_path, root=root)
    return found


def _root_of(path: Path) -> Path | None:
    """The program whose ``scenarios`` folder holds a file."""
    for folder in path.parents:
        if folder.name == _FOLDER and (folder.parent / _PROGRAM).is_file():
            return folder.parent
    return None


class ScenarioFile(pytest.File):
    """One file, one scenario."""

    def __init__(self, *, root: Path, **words: Any) -> None:
        super().__init__(**words)
        self.root = root

    def collect(self) -> Iterator[pytest.Item]:
        """The scenario in the file; a file that cannot be read is an error of collecting."""
        from engine.language.diagnostics import render_text

        found = self.config.stash.setdefault(_PROGRAMS, _Programs()).at(self.root)
        name = self.path.resolve().relative_to(self.root.resolve()).as_posix()
        wrong = [it for it in found.problems if it.severity == "error" and (found.plan is None or it.file == name)]
        if wrong:
            raise self.CollectError(render_text(wrong, found.sources))
        for scenario in found.scenarios:
            if scenario.file == name:
                item: pytest.Item = ScenarioItem.from_parent(self, name=scenario.title, scenario=scenario, found=found)
                yield item


class ScenarioItem(pytest.Item):
    """One scenario, run on a store of its own."""

    def __init__(self, *, scenario: Scenario, found: Compiled, **words: Any) -> None:
        super().__init__(**words)
        self.scenario = scenario
        self.found = found

    def runtest(self) -> None:
        """Run it; raises ScenarioFailed with both sides."""
        from engine.cli.rehearsing import report, run_one

        coverage = self.config.stash[_PROGRAMS].coverage[self.found.root]
        update = bool(self.config.getoption("drumbeat_update"))
        result, _ = run_one(self.found, self.scenario, coverage, update=update)
        if not result.ok:
            raise ScenarioFailed("\n".join(report(result, self.found.root, _WIDTH)))

    def repr_failure(self, excinfo: Any, style: Any = None) -> Any:
        """The two columns, without the inside of Drumbeat."""
        if isinstance(excinfo.value, ScenarioFailed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where it stands and what it is called."""
        return self.path, self.scenario.mark.line - 1, self.scenario.title


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """How much of the playbooks was gone through; the gate is ``drumbeat test --cover-min``."""
    programs = config.stash.get(_PROGRAMS, None)
    for root, coverage in programs.coverage.items() if programs is not None else ():
        if coverage.playbooks:
            terminalreporter.write_line(f"drumbeat: coverage of the playbooks in {root}: {coverage.percent} %")
