#!/usr/bin/env python3
"""The bill of materials of an installation, as CycloneDX 1.6 in JSON, made of a lock file and of nothing else.

    python deploy/sbom.py [LOCK]        # requirements.lock; to standard output

No clock, no chance and no network take part, so who makes it again from the same commit gets the same bytes. What needs
what is read from the comments of the lock. Licences are not in it: they do not stand in the lock.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
import uuid
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_PIN = re.compile(r"^([a-z0-9.-]+)==([^\s;\\]+)(?: *; *([^\\\n]+?))? *\\?$")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_NEEDED_BY = re.compile(r"^    #(?: via|  ) +?(\S+)")
_NAMESPACE = uuid.UUID("8f0c2a52-4f8b-5d5c-9c5e-3a1d4f0b7e11")


def purl(name: str, version: str) -> str:
    """The address of a package, independent of where it is fetched from."""
    return f"pkg:pypi/{name}@{version}"


def packages(lock: str) -> list[dict[str, Any]]:
    """Of each package of a lock file: name, version, marker ("" for none), hashes, names of who needs it."""
    found: list[dict[str, Any]] = []
    for line in lock.splitlines():
        if pin := _PIN.match(line):
            name, version, marker = pin.groups()
            found.append({"name": name, "version": version, "marker": marker or "", "hashes": [], "via": []})
        elif digest := _HASH.search(line):
            found[-1]["hashes"].append(digest[1])
        elif (by := _NEEDED_BY.match(line)) and found:
            found[-1]["via"].append(by[1])
    return found


def bill(lock: str, project: dict[str, Any]) -> dict[str, Any]:
    """The bill of materials.

    Parameters
    ----------
    lock: text of a lock file with hashes.
    project: the table of that name in ``pyproject.toml``.
    """
    found = packages(lock)
    own = purl(project["name"], project["version"])
    refs = {it["name"]: purl(it["name"], it["version"]) for it in found} | {project["name"]: own}
    needs: dict[str, set[str]] = {ref: set() for ref in refs.values()}
    for it in found:
        for by in it["via"]:
            needs[refs[by]].add(refs[it["name"]])
    components = [
        {
            "type": "library", "bom-ref": refs[it["name"]], "name": it["name"], "version": it["version"],
            "purl": refs[it["name"]], "hashes": [{"alg": "SHA-256", "content": one} for one in sorted(it["hashes"])],
            **({"properties": [{"name": "drumbeat:marker", "value": it["marker"]}]} if it["marker"] else {}),
        }
        for it in sorted(found, key=lambda it: it["name"])
    ]  # fmt: skip
    content = json.dumps(components, sort_keys=True)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json", "bomFormat": "CycloneDX", "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, own + content)}", "version": 1,
        "metadata": {"component": {
            "type": "application", "bom-ref": own, "name": project["name"], "version": project["version"], "purl": own,
        }},
        "components": components,
        "dependencies": [{"ref": ref, "dependsOn": sorted(on)} for ref, on in sorted(needs.items())],
    }  # fmt: skip


def main() -> int:
    lock = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "requirements.lock"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    json.dump(bill(lock.read_text(encoding="utf-8"), project), sys.stdout, indent=1, sort_keys=True)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
