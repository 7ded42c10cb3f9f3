"""``drumbeat init``: a new program to begin with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import click

from engine.cli.common import EXIT_OK, emit_json, say
from engine.core.shapes import NAME
from engine.errors import UsageError

EXAMPLES = ("retail", "community")
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
    written = []
    for name, source in sorted(_files(files("engine") / "scaffold" / example, "")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = source.read_bytes()
        path.write_bytes(_named(text, folder) if name == "drumbeat.yaml" else text)
        written.append(name)
    if format_ == "json":
        emit_json({"program": str(folder), "example": example, "files": written})
        return EXIT_OK
    click.echo(f"{len(written)} file(s) written to {folder}")
    say(f"next: cd {folder} && drumbeat validate --strict && drumbeat test", quiet)
    return EXIT_OK


def _files(folder: Traversable, above: str) -> Iterator[tuple[str, Traversable]]:
    """(path inside the program, file) of everything below a folder."""
    for item in folder.iterdir():
        name = item.name.replace(_HIDDEN, ".", 1) if item.name.startswith(_HIDDEN) else item.name
        if item.is_dir():
            yield from _files(item, f"{above}{name}/")
        else:
            yield f"{above}{name}", item


def _named(text: bytes, folder: Path) -> bytes:
    """The program file with the folder's name for the program, where it can be one."""
    name = folder.resolve().name.lower()
    if re.fullmatch(NAME, name) is None:
        return text
    return _PROGRAM.sub(f"program: {name}", text.decode(), count=1).encode()
