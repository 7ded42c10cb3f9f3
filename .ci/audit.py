"""Has pip-audit look at files of pinned versions: 0 none has a known hole, 1 one has, 3 nobody could be asked.

    python .ci/audit.py PIP-AUDIT FILE...

pip-audit passes over what its service does not know, and ends well; here what was passed over was not looked at.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

SERVICES = ("pypi", "osv")
FEW = 0.9
"""Share of the packages that a service must know for its word to count."""


def asked(tool: str, file: str, service: str) -> list[dict[str, Any]] | None:
    """What a service says of each package of a file; None: it could not be asked."""
    words = [
        tool, "--disable-pip", "--require-hashes", "-r", file, "-s", service, "-f", "json",
        "--progress-spinner", "off", "--timeout", "15",
    ]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=900)  # noqa: S603  # our own words
    try:
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return None
    known = [it for it in packages if "skip_reason" not in it]
    return packages if packages and len(known) >= FEW * len(packages) else None


def main(tool: str, files: list[str]) -> int:
    """Look at every file; the first service that answers decides."""
    holes = 0
    for file in files:
        packages = next((found for it in SERVICES if (found := asked(tool, file, it)) is not None), None)
        if packages is None:
            return 1 if holes else 3
        passed = [it["name"] for it in packages if "skip_reason" in it]
        for it in packages:
            for hole in it.get("vulns", ()):
                holes += 1
                mended = ", ".join(hole.get("fix_versions", ())) or "no version yet"
                print(f"audit: {file}: {it['name']} {it['version']} has {hole['id']}; mended in {mended}")
        missing = f"; not at {' '.join(passed)}" if passed else ""
        print(f"audit: {file}: {len(packages) - len(passed)} packages looked at{missing}")
    return 1 if holes else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
