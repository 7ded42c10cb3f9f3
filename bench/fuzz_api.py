"""Fuzzes the HTTP side from its own openapi.json with schemathesis, on a real socket and a real store.

    pip install schemathesis
    python bench/fuzz_api.py [--examples 300] [--seed 1]

Requests that fit the document and requests that do not, with the key and without. Looked for: answers that are not in
the document or do not fit it, server errors, secrets or tracebacks in answers, keys that are not asked for. Afterwards
the store must hold as many events and refused records as were answered, and the server must still take one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "contracts")]

CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
    "unsupported_method", "ignored_auth", "missing_required_header",
)  # fmt: skip
"""Not among them: that data which fits the document is always taken, and other data never. A record that is no event is
answered 202 with its reason and stands in quarantine, which no document can say."""


def decide(desk: Any, root: Path) -> None:
    """Have somebody decide: a till that redeems a code is answered by the engine itself."""
    from engine.language.compile import compile_program
    from engine.runtime.pump import Pump

    found = compile_program(root)
    assert found.plan is not None

    def begin(store: Any) -> None:
        pump = Pump(found.plan, store, [], None, desk.clock, secret=b"a secret of thirty-two bytes ...")

        def deciding(work: Any) -> Any:
            at = max(desk.clock.now(), pump.session.clock)
            pump.session.present = at + 1
            return work(pump, at)

        desk.jobs.deciding = deciding

    desk.faults.append(begin)
    desk.jobs.ring()


def main() -> int:
    """Run it; 0 when nothing was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--examples", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    from api_kit import BEARER, TOKEN, served

    setting = {"auth": ["${TOKEN}"], "secret": ["${TOKEN}"]}
    with tempfile.TemporaryDirectory() as folder, served(Path(folder), setting, env={"TOKEN": TOKEN}) as desk:
        decide(desk, Path(folder) / "tea")
        document = desk.get("/v1/openapi.json", BEARER).json
        call = document["paths"]["/v1/playbooks/{id}/webhook"]["post"]
        call["parameters"][0]["schema"] = {"enum": ["hook-me", "by-hand", "nobody"]}  # the last is not there
        host, port = desk.address
        file = Path(folder) / "openapi.json"
        file.write_text(json.dumps(document), encoding="utf-8")
        words = [
            sys.executable, "-m", "schemathesis.cli", "run", str(file), "--url", f"http://{host}:{port}",
            "--header", f"Authorization: {BEARER['authorization']}", "--checks", ",".join(CHECKS),
            "--max-examples", str(asked.examples), "--seed", str(asked.seed), "--phases", "examples,coverage,fuzzing",
            "--mode", "all", "--no-color",
        ]  # fmt: skip
        code = subprocess.run(words, check=False, cwd=folder).returncode
        assert desk.send(desk.event("after"), BEARER).status == 202
        assert TOKEN not in str(desk.quarantined())
        print(f"events taken {len(desk.ids())}, records in quarantine {len(desk.quarantined())}")
    return code


if __name__ == "__main__":
    sys.exit(main())
