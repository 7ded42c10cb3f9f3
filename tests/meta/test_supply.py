"""What the code may not stand on: unpickling, loading by a name from data, SQL made of text, old mail classes."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest
from meta_harness import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

FILES = sorted((ROOT / "engine").rglob("*.py"))
UNPICKLING = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "_pickle"}
JOBS = "apscheduler.jobstores."
IN_MEMORY = ("apscheduler.jobstores.base", "apscheduler.jobstores.memory")
LOADERS = {"engine/registry.py", "engine/cli/main.py"}
"""They load by a name from a table of the code, never from data."""
RUNNING = {"eval", "exec", "compile", "__import__"}
COMPILERS = {
    "engine/core/writing.py": "writes out a plan's own conditions, which were compiled and checked",
    "engine/language/expressions/code.py": "the compiler of conditions: its source is made from a checked tree",
    "engine/render/compiled.py": "the compiler of templates: its source is made from a checked tree",
}
"""Files that make code, each with what of."""


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.Module]:
    return {it.relative_to(ROOT).as_posix(): ast.parse(it.read_text(encoding="utf-8")) for it in FILES}


def test_nothing_is_unpickled(trees: dict[str, ast.Module]) -> None:
    """No module that rebuilds objects from bytes is imported, and APScheduler keeps no jobs anywhere but in memory.

    Threat: pickle.none
    """
    found = [
        (name, one)
        for name, tree in trees.items()
        for one in _imports(tree)
        if one.partition(".")[0] in UNPICKLING or (one.startswith(JOBS) and not one.startswith(IN_MEMORY))
    ]
    assert found == []


def test_code_is_loaded_from_tables_alone(trees: dict[str, ast.Module]) -> None:
    """Modules are loaded by name in the tables of words and verbs only, and code is made only by the compilers.

    Threat: pickle.none — no code by name
    """
    loading = {name for name, tree in trees.items() for one in _imports(tree) if one.startswith("importlib.import_")}
    loading |= {name for name, tree in trees.items() for one in _imports(tree) if one == "importlib"}
    assert loading <= LOADERS
    making = {
        name
        for name, tree in trees.items()
        for call in _calls(tree)
        if isinstance(call.func, ast.Name) and call.func.id in RUNNING
    }
    assert making <= COMPILERS.keys()


def test_no_sql_is_put_together(trees: dict[str, ast.Module]) -> None:
    """What is executed is a named query, a constant or a word of ours: no f-string, no % and no + with a value.

    Threat: sql.inject — by a lint
    """
    allowed = {("engine/stores/sql/sqlite_file.py", "explain ")}
    found = []
    for name, tree in trees.items():
        for call in _calls(tree):
            if not (isinstance(call.func, ast.Attribute) and call.func.attr.startswith("execute") and call.args):
                continue
            first = call.args[0]
            if isinstance(first, ast.JoinedStr) or (isinstance(first, ast.BinOp) and not _ours(first, name, allowed)):
                found.append(f"{name}:{call.lineno}")
    assert found == []


def _ours(node: ast.BinOp, name: str, allowed: set[tuple[str, str]]) -> bool:
    return isinstance(node.left, ast.Constant) and (name, node.left.value) in allowed


def test_mail_is_made_by_the_safe_class(trees: dict[str, ast.Module]) -> None:
    """The old mail classes write a line break in a header as it comes; only ``EmailMessage`` is used.

    Threat: header.inject — by a lint
    """
    found = [(name, one) for name, tree in trees.items() for one in _imports(tree) if one.startswith("email.mime")]
    assert found == []


MINIMUM = {"jinja2": (3, 1, 6), "pyyaml": (6, 0, 1), "apscheduler": (3, 11)}
"""Package -> the first version without the holes we know of."""


def test_no_version_with_a_known_hole_is_allowed() -> None:
    """The lower bounds of the project file stand at or above the first version without known holes.

    Threat: supply.pinned — lower bounds
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    bounds: dict[str, tuple[int, ...]] = {}
    for line in project["dependencies"]:
        match = re.match(r"([A-Za-z0-9_.-]+).*?>=([0-9.]+)", line)
        assert match, f"{line}: no lower bound"
        bounds[match[1].lower()] = tuple(int(part) for part in match[2].split("."))
    for name, least in MINIMUM.items():
        assert bounds[name] >= least, name


def test_the_hole_in_jinja_is_shut() -> None:
    """The version at work is at least the first one without known ways out of the sandbox.

    Threat: supply.pinned — what is installed
    """
    assert tuple(int(part) for part in version("jinja2").split(".")[:3]) >= MINIMUM["jinja2"]


# The lock files

LOCKS = {
    "requirements.lock": ("apprise", "redis", "nats", "kafka", "rabbitmq", "otel", "seal"),
    "requirements-dev.lock": ("dev", "otel"),
}
"""Lock file -> the extras it holds besides the dependencies."""
PIN = re.compile(r"([a-z0-9-]+)==(\S+)(?: ; ([^\\]+?))?((?: +--hash=sha256:[0-9a-f]{64})+)")


def _pins(lock: str) -> dict[str, Version]:
    """Package -> version, of every line of a lock file; fails on a line that is none, or has no hash."""
    text = (ROOT / lock).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    found = {}
    for line in lines:
        match = PIN.fullmatch(re.sub(r" +", " ", line).strip())
        assert match, f"{lock}: {line[:80]!r} is not one version with its hashes"
        found[match[1]] = Version(match[2])
    return found


def _wanted(lock: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    return [Requirement(it) for it in (*project["dependencies"], *(one for it in LOCKS[lock] for one in extras[it]))]


@pytest.mark.parametrize("lock", LOCKS)
def test_the_project_is_pinned_with_hashes(lock: str) -> None:
    """Every dependency of the project stands in the lock files at a version it allows, each line with its hashes.

    Threat: supply.pinned
    """
    pins = _pins(lock)
    for one in _wanted(lock):
        name = canonicalize_name(one.name)
        assert name in pins, f"{name} is missing: make lock"
        assert pins[name] in one.specifier, f"{name} {pins[name]} is not {one.specifier}: make lock"
    for name, least in MINIMUM.items():
        assert pins[name].release >= least


@pytest.mark.parametrize("lock", LOCKS)
def test_what_is_pinned_needs_nothing_else(lock: str) -> None:
    """What the pinned packages need is pinned too, so an installation with hashes is whole.

    Threat: supply.pinned — to the last
    """
    pins, looked_at, missing = _pins(lock), 0, []
    for name in pins:
        try:
            needs = [Requirement(it) for it in requires(name) or ()]
        except PackageNotFoundError:  # for another platform
            continue
        if Version(version(name)) != pins[name]:
            continue  # this machine has another one, with other needs
        looked_at += 1
        for one in needs:
            if (one.marker is None or one.marker.evaluate({"extra": ""})) and canonicalize_name(one.name) not in pins:
                missing.append(f"{name} needs {one.name}")
    assert missing == []
    assert looked_at


def test_the_lock_files_agree() -> None:
    """What is tested is what is installed: both lock files pin the same versions, and name no place to fetch from.

    Threat: supply.pinned — tested as installed
    """
    mine, tested = _pins("requirements.lock"), _pins("requirements-dev.lock")
    assert mine.items() <= tested.items()
    assert _pins("deploy/requirements-build.lock").keys() == {"setuptools"}
    for lock in (*LOCKS, "deploy/requirements-build.lock"):
        assert not re.search(r"://|--(extra-)?index-url|--find-links", (ROOT / lock).read_text(encoding="utf-8"))


def test_the_table_of_files_is_true() -> None:
    """Each file with a leave of its own is there."""
    assert all((ROOT / name).is_file() for name in (*LOADERS, *COMPILERS))
    assert Path(ROOT / "engine").is_dir()


AUDIT = """\
#!{python}
import json, sys
said = {{
    "clean": [{{"name": "a", "version": "1", "vulns": []}}],
    "hole": [{{"name": "a", "version": "1", "vulns": [{{"id": "CVE-1", "fix_versions": ["2"]}}]}}],
    "passed-over": [{{"name": "a", "skip_reason": "not found"}}],
}}[{says!r} if sys.argv[sys.argv.index("-s") + 1] == {service!r} else "passed-over"]
print(json.dumps({{"dependencies": said}}))
"""


@pytest.mark.parametrize(
    ("says", "service", "code"), [("clean", "pypi", 0), ("clean", "osv", 0), ("hole", "osv", 1), ("passed-over", "", 3)]
)
def test_the_audit_tells_silence_from_health(tmp_path: Path, says: str, service: str, code: int) -> None:
    """A known hole fails, and a service that knows nothing is not taken for one that found nothing.

    Threat: supply.pinned — known holes
    """
    tool = tmp_path / "pip-audit"
    tool.write_text(AUDIT.format(python=sys.executable, says=says, service=service))
    tool.chmod(0o755)
    words = [sys.executable, str(ROOT / ".ci/audit.py"), str(tool), "one.lock"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert ("CVE-1; mended in 2" in done.stdout) == (code == 1)
