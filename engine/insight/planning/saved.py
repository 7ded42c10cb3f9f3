"""A plan as a file: what was seen and, beside it, all that is needed to apply exactly that.

Rule 1: it names what it was made against (the plan at work on the store) and what it was made of (the files of the
program and the lists they name). When either is another one by now, the plan is stale and is not applied.
Rule 2: what was changed by hand in the file is found out: a slip, not an attack, is what this guards against.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from engine import __version__
from engine.errors import ProgramError
from engine.insight.planning.figures import FORMAT


def lists_of(root: Path, names: Iterable[str]) -> dict[str, str]:
    """Name -> hash of each list a program reads."""
    found = {}
    for name in sorted(set(names)):
        path = root / name
        found[name] = sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    return found


def to_save(row: dict[str, Any], *, base: str, plan: str, pack: str, lists: dict[str, str], store: str) -> bytes:
    """The bytes of the file.

    Parameters
    ----------
    row: the figures.
    base, store: the plan it was made against, and a mark of the store.
    plan, pack, lists: digest, files and lists of the program.
    """
    target = {"base": base, "store": store, "plan": plan, "pack": pack, "lists": lists}
    whole = {"drumbeat_plan": FORMAT, "version": __version__, "target": target, **row}
    raw = msgspec.json.Encoder(decimal_format="number").encode(whole)
    values = json.loads(raw)
    return json.dumps({**values, "seal": _seal(values)}, ensure_ascii=False, indent=1).encode() + b"\n"


def _seal(values: dict[str, Any]) -> str:
    return sha256(json.dumps(values, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def saved(path: Path) -> dict[str, Any]:
    """The plan in a file. Raises ProgramError when it is none, is of another version, or was changed by hand."""
    hint = "write it once more: drumbeat plan --out " + str(path)
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ProgramError(f"there is no file {path}", hint=hint) from None
    except (ValueError, OSError) as error:
        raise ProgramError(f"{path} is no plan: {error}", hint=hint) from None
    if not isinstance(found, dict) or found.get("drumbeat_plan") != FORMAT or "target" not in found:
        raise ProgramError(f"{path} is no plan that this drumbeat can read", hint=hint)
    seal = found.pop("seal", None)
    if seal != _seal(found):
        raise ProgramError(f"{path} was changed after it was written", hint=hint)
    if found["version"] != __version__:
        raise ProgramError(f"{path} was made by drumbeat {found['version']}, and this is {__version__}", hint=hint)
    return found
