"""``drumbeat init``: a new program to begin with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import click

from engine.cli.common import EXIT_OK, emit_json, say
from engine.cli.starting import Choice, library, taken
from engine.core.shapes import NAME
from engine.errors import UsageError

EXAMPLES = ("retail", "community")
_HEAD = """\
# 程序文件：时区、字段、通道、安全带。检查：drumbeat validate
# The program file: zone, fields, channels, safety belts. Check it with: drumbeat validate
"""
_HIDDEN = "dot."  # a name that begins with a dot would be left out of a wheel
_PROGRAM = re.compile(r"^program: .*$", re.MULTILINE)


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--example", type=click.Choice(EXAMPLES), default=EXAMPLES[0], help="What to begin with (retail).")
@click.option("--format", "format_", type=click.Choice(["text", "json"]), default="text", help="Form of the result.")
@click.option("--quiet", is_flag=True, help="Only results, no remarks.")
def init(folder: Path, example: str, format_: str, quiet: bool) -> int:
    """Write a new program into DIR: playbooks, templates, scenario tests, a sample feed, a CI workflow.

    It validates, tests and runs as written. DIR is made when it is not there; one that holds more than .git is refused.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file", hint="give a folder that is empty or not there yet")
    if folder.is_dir() and any(it.name != ".git" for it in folder.iterdir()):
        raise UsageError(f"{folder} is not empty, and nothing in it is overwritten", hint="give another folder")
    program = _program(example, folder)
    for name, text in program.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
    written = list(program)
    if format_ == "json":
        emit_json({"program": str(folder), "example": example, "files": written})
        return EXIT_OK
    click.echo(f"{len(written)} file(s) written to {folder}")
    say(f"next: cd {folder} && drumbeat validate --strict && drumbeat test", quiet)
    return EXIT_OK


def _program(example: str, folder: Path) -> dict[str, bytes]:
    """Path inside the new program -> content, in order."""
    import yaml

    scaffold = files("engine") / "scaffold"
    spec = yaml.safe_load((scaffold / "examples.yaml").read_text(encoding="utf-8"))[example]
    found = taken(Choice(spec["playbooks"], spec["scenarios"], spec["keep"]), library())
    for part in ("common", example):
        found.update({name: source.read_bytes() for name, source in _files(scaffold / part, "")})
    found["drumbeat.yaml"] = _named(found["drumbeat.yaml"], folder)
    readme = found["README.md"].decode()
    found["README.md"] = readme.replace("<user>  ", spec["why"].ljust(8)).replace("<template>", spec["text"]).encode()
    return dict(sorted(found.items()))


def _files(folder: Traversable, above: str) -> Iterator[tuple[str, Traversable]]:
    """(path inside the program, file) of everything below a folder."""
    for item in folder.iterdir():
        name = item.name.replace(_HIDDEN, ".", 1) if item.name.startswith(_HIDDEN) else item.name
        if item.is_dir():
            yield from _files(item, f"{above}{name}/")
        else:
            yield f"{above}{name}", item


def _named(text: bytes, folder: Path) -> bytes:
    """The program file with the folder's name for the program, where it can be one, and a head of its own."""
    name = folder.resolve().name.lower()
    program = name if re.fullmatch(NAME, name) is not None else "my-shop"
    body = text.decode()
    return (_HEAD + _PROGRAM.sub(f"program: {program}", body[body.index("program:") :], count=1)).encode()
