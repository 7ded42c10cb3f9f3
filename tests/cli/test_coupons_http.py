"""A till at ``POST /v1/coupons/redeem``: real daemons, concurrent clients, kills."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from engine.stores.sqlite import SqliteStore

FILES = {
    "drumbeat.yaml": "program: till\nfeeds: [{file: feed.jsonl}, {http: {port: 0, auth: '${TILL}'}}]\n",
    "playbooks/catalog/coupons.yaml": (
        "coupons:\n  tea: {value: {off: 20, min_spend: 100}, codes: {generate: TEA}, valid_for: 7d,"
        " limits: {per_user: 1, total: 1000}}\n"
    ),
    "playbooks/gift.yaml": (
        "playbook: gift\ntitle: g\ntrigger: {signup: true}\nentry: once\nsteps: [{coupon: tea}]\n"
    ),
    "playbooks/thanks.yaml": (
        "playbook: thanks\ntitle: t\ntrigger: {event: coupon.redeemed}\nentry: {mode: parallel, limit: unlimited}\n"
        "steps: [{tag: {add: [used]}}]\n"
    ),
}
BEARER = {"authorization": "Bearer " + "t" * 32, "content-type": "application/json"}
PATIENCE = 60.0
USERS = 40


class Till:
    """A program, and the daemon at work on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name, text in FILES.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        rows = [{"id": f"s{n}", "type": "user.signup", "user": f"u{n}", "time": now} for n in range(USERS)]
        (root / "feed.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        self.daemon: subprocess.Popen[str] | None = None
        self.address: tuple[str, int] = ("127.0.0.1", 0)

    def start(self) -> None:
        """A daemon that listens."""
        self.daemon = subprocess.Popen(
            [sys.executable, "-m", "engine", "run", "--program", str(self.root)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={**os.environ, "TILL": "t" * 32},
        )  # fmt: skip
        assert self.daemon.stderr is not None
        for line in self.daemon.stderr:
            if line.startswith("listening: http://"):
                host, _, port = line.strip().removeprefix("listening: http://").rpartition(":")
                self.address = (host, int(port))
            if line.startswith("at work"):
                break
        else:
            raise AssertionError("the daemon never was at work")
        # nobody reads what else it says: the pipe must not fill
        os.set_blocking(self.daemon.stderr.fileno(), False)

    def kill(self) -> None:
        """It is gone without a word."""
        assert self.daemon is not None
        self.daemon.send_signal(signal.SIGKILL)
        self.daemon.wait()
        assert self.daemon.stderr is not None
        self.daemon.stderr.close()

    def ask(self, **words: Any) -> tuple[int, dict[str, Any]]:
        """One request; OSError when the daemon is gone."""
        wire = http.client.HTTPConnection(*self.address, timeout=30)
        try:
            wire.request("POST", "/v1/coupons/redeem", json.dumps(words), BEARER)
            got = wire.getresponse()
            return got.status, json.loads(got.read())
        finally:
            wire.close()

    def surely(self, **words: Any) -> tuple[int, dict[str, Any]]:
        """As ``ask``, again and again until there is an answer."""
        ends = time.monotonic() + PATIENCE
        while True:
            try:
                status, body = self.ask(**words)
            except (OSError, http.client.HTTPException):
                status, body = 503, {}
            if status != 503:
                return status, body
            assert time.monotonic() < ends
            time.sleep(0.02)

    def codes(self) -> dict[str, str]:
        """User -> code, as far as coupons were given."""
        store = SqliteStore.open(self.root / "drumbeat.db", read_only=True)
        try:
            return {it.subject: it.code for it in store.coupons()}
        finally:
            store.close()

    def until(self, true: Callable[[], Any]) -> None:
        """Look again and again until something is so."""
        ends = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < ends
            time.sleep(0.05)


@pytest.fixture
def till(tmp_path: Path) -> Iterator[Till]:
    made = Till(tmp_path)
    made.start()
    made.until(lambda: len(made.codes()) == USERS)
    yield made
    if made.daemon is not None and made.daemon.poll() is None:
        made.kill()


def fits(till: Till, status: int, body: Any) -> None:
    """An answer is what openapi.json says of it."""
    wire = http.client.HTTPConnection(*till.address, timeout=30)
    wire.request("GET", "/v1/openapi.json", headers=BEARER)
    document = json.loads(wire.getresponse().read())
    wire.close()
    said = document["paths"]["/v1/coupons/redeem"]["post"]["responses"][str(status)]
    schema = said["content"]["application/json"]["schema"]
    Draft202012Validator({**schema, "components": document["components"]}).validate(body)


def test_every_answer(till: Till) -> None:
    """Semantics: coupon.request — each refusal by its name and status; a request that comes again is answered as
    before; without the key nothing is answered. What was answered is in the metrics at once."""
    codes = till.codes()
    code = codes["u1"]
    for status, why, words in (
        (404, "unknown", {"code": "NOPE"}),
        (403, "not_yours", {"code": code, "user": "u2", "amount": 120}),
        (422, "min_spend", {"code": code, "amount": 99.99}),
        (422, "min_spend", {"code": code}),
        (400, "malformed", {"code": ""}),
        (400, "malformed", {"code": code, "amount": -1}),
        (400, "malformed", {"code": code, "amont": 120}),
    ):
        got, body = till.ask(**words)
        assert (got, body["error"]["code"]) == (status, why)
        fits(till, got, body)
    status, body = till.ask(id="r1", code=code, user="u1", order="o1", amount=128.50)
    assert (status, body["status"], body["pool"]) == (200, "redeemed", "tea")
    assert (body["user"], body["repeated"]) == ("u1", False)
    assert body["value"] == {"off": 20, "min_spend": 100}
    fits(till, status, body)
    status, body = till.ask(id="r1", code=code, user="u1", order="o1", amount=128.50)
    assert (status, body["repeated"]) == (200, True)
    assert till.ask(id="r2", code=code, amount=128.50)[1]["error"]["code"] == "redeemed"
    assert till.ask(id="r1", code=codes["u2"], amount=128.50)[1]["error"]["code"] == "request"
    wire = http.client.HTTPConnection(*till.address, timeout=30)
    wire.request("POST", "/v1/coupons/redeem", json.dumps({"code": codes["u3"], "amount": 128}), {})
    assert wire.getresponse().status == 401
    wire.close()
    said = subprocess.run(
        [sys.executable, "-m", "engine", "coupons", "redeem", codes["u4"], "--amount=100", f"--program={till.root}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (said.returncode, said.stdout) == (0, f"redeemed    {codes['u4']} of tea, given to u4\n")
    wire = http.client.HTTPConnection(*till.address, timeout=30)
    wire.request("GET", "/metrics", headers=BEARER)
    shown = wire.getresponse().read().decode()
    wire.close()
    assert f'drumbeat_coupons_issued{{coupon="tea"}} {USERS}.0' in shown
    assert 'drumbeat_coupons_redeemed{coupon="tea"} 2.0' in shown
    assert f'drumbeat_coupons_left{{coupon="tea"}} {1000 - USERS}.0' in shown


def test_tills_at_once_and_kills(till: Till) -> None:
    """Semantics: coupon.request — eight tills that try every code, each request again until it is answered, and a
    daemon that is killed again and again: every code is redeemed by exactly one request.

    Failure: unit.oversold — redeemed
    """
    codes = till.codes()
    tries = [(code, f"{till_}:{code}") for code in codes.values() for till_ in range(8)]
    Random(7).shuffle(tries)
    won: Counter[str] = Counter()
    answers: list[tuple[str, str, int]] = []

    def work(some: list[tuple[str, str]]) -> None:
        for code, id_ in some:
            answers.append((code, id_, till.surely(id=id_, code=code, amount=150)[0]))

    with ThreadPoolExecutor(8) as pool:
        parts = [pool.submit(work, tries[place::8]) for place in range(8)]
        for kills in range(1, 6):
            till.until(lambda so_far=kills * 40: len(answers) >= so_far)
            till.kill()
            till.start()
        for part in parts:
            part.result()
    assert len(answers) == len(tries)
    assert {status for _, _, status in answers} == {200, 409}
    winners = {}
    for code, id_, status in answers:
        if status == 200:
            won[code] += 1
            winners[code] = id_
    assert won == dict.fromkeys(codes.values(), 1)
    till.kill()
    store = SqliteStore.open(till.root / "drumbeat.db")
    try:
        assert store.check() == []
        redeemed = {it.unit: it.key for it in store.ledger(book="coupon") if it.what == "redeemed"}
        assert redeemed == {code: f"redeem:{id_}:redeemed" for code, id_ in winners.items()}
        assert all(it.status == "redeemed" for it in store.coupons())
    finally:
        store.close()
