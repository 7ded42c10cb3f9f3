"""How every call ends: its exit code, what goes to standard output, and what to standard error."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from conftest import Drumbeat, Make

INVALID = {
    "playbooks/thanks.yaml": (
        "playbook: thanks\ntitel: 谢谢\ntrigger: {signup: true}\nentry: onec\nsteps: [{stop: x}]\n"
    )
}
WARNED = {
    "playbooks/thanks.yaml": (
        "playbook: thanks\ntitle: 谢谢\ntrigger: {event: order.paid}\nentry: {mode: parallel, limit: unlimited}\n"
        "steps:\n  - message: {template: thanks, via: box, purpose: service}\n"
    )
}  # nobody owns it
ROUGH = '{"id": "e1", "type": "order.paid", "user": "u", "time": "2026-03-01T01:00:00Z"}\nnot json\n'


class Case(NamedTuple):
    """A call and how it must end; ``{p}`` is the program's folder, ``{t}`` an empty one."""

    words: str
    code: int
    out: str = ""  #: a piece of standard output; "" means that nothing at all stands there
    err: str = ""  #: a piece of standard error; "" as above
    files: dict[str, str] = {}  # noqa: RUF012  # never changed


TABLE = [
    # done
    Case("validate --program {p}", 0, "1 playbook(s), 1 template(s): no problems"),
    Case("validate {p}", 0, "no problems"),
    Case("validate {p}/playbooks/thanks.yaml", 0, "no problems"),
    Case("validate --quiet --program {p}", 0),
    Case("validate --program {p}/drumbeat.yaml", 0, "no problems"),
    Case("simulate --program {p} --events {p}/feed.jsonl", 0, "3 accepted of 3 read"),
    Case("simulate --events {p}/feed.jsonl --program {p} --quiet --no-color", 0, "3 accepted"),
    Case("--version", 0, "drumbeat, version "),
    Case("--help", 0, "Usage: drumbeat [OPTIONS] COMMAND"),
    Case("validate --help", 0, "Usage: drumbeat validate"),
    Case("simulate -h", 0, "Usage: drumbeat simulate"),
    # the thing checked is wrong
    Case("validate --program {p}", 1, "did you mean 'title'?", "2 error(s), 0 warning(s)", INVALID),
    Case("validate --quiet --program {p}", 1, "error[unknown-key]", files=INVALID),
    Case("simulate --program {p} --events {p}/feed.jsonl", 1, "", "did you mean 'once'?", INVALID),
    Case("simulate --program {p} --events {p}/feed.jsonl --quiet", 1, "", "error[unknown-key]", INVALID),
    Case("simulate --program {p} --events {p}/nothing.jsonl", 1, "", "no input file matches"),
    Case("simulate --program {p} --events {p}/*.csv", 1, "", "no input file matches"),
    Case("simulate --program {p} --events {p}/playbooks", 1, "", "it is a folder; write "),
    Case("simulate --program {p} --events {p}/feed.jsonl --events {p}/no.jsonl", 1, "", "no input file matches"),
    Case("validate --program {p}/nowhere", 1, "", "there is no folder"),
    Case("validate --program {p}/feed.jsonl", 1, "", "there is no folder"),
    Case("validate --program {t}", 1, "error[no-program]", "1 error(s)"),
    Case("validate {p}/playbooks/none.yaml", 1, "", "there is no "),
    Case("validate --program {p} {p}/feed.jsonl", 1, "", "no part of the program"),
    Case("validate --program {p} {t}", 1, "", "no part of the program"),
    Case("simulate --program {p} --events {p}/feed.jsonl --strict", 1, "1 quarantined", files={"feed.jsonl": ROUGH}),
    Case("simulate --program {p} --events {p}/feed.jsonl", 0, "1 quarantined", files={"feed.jsonl": ROUGH}),
    # warnings
    Case("validate --program {p}", 0, "warning[missing-owner]", "0 error(s), 1 warning(s)", WARNED),
    Case("validate --program {p} --strict", 1, "warning[missing-owner]", "0 error(s), 1 warning(s)", WARNED),
    Case("simulate --program {p} --events {p}/feed.jsonl --quiet", 0, "3 accepted", files=WARNED),
    # wrong usage
    Case("valdate", 2, "", "No such verb 'valdate'. Did you mean 'validate'?"),
    Case("frobnicate", 2, "", "No such verb 'frobnicate'."),
    Case("validate --strct", 2, "", "Did you mean"),
    Case("validate --format xml", 2, "", "'xml' is not one of 'text', 'json'"),
    Case("simulate --program {p}", 2, "", "Missing option '--events'"),
    Case("simulate --program {p} --events {p}/feed.jsonl --until yesterday", 2, "", "2026-03-01T09:00:00+08:00"),
    Case("simulate --program {p} --events {p}/feed.jsonl --until 2026-03-01T09:00:00", 2, "", "Invalid value"),
    Case("simulate --program {p} --events {p}/feed.jsonl --effects {t}", 2, "", "is a directory"),
    Case("simulate --program {p} --events {p}/feed.jsonl surplus", 2, "", "unexpected extra argument"),
    Case("explain no-such-code", 2, "", "no diagnostic has the code 'no-such-code'"),
    # could not run
    Case("simulate --program {p} --events {p}/feed.jsonl --effects {p}/feed.jsonl/x.jsonl", 3, "", "feed.jsonl"),
    Case("user u1 --program {p}", 3, "", "there is no store"),
]


def _ids(case: Case) -> str:
    return f"{case.code} {case.words}" + (" (invalid)" if case.files is INVALID else "")


@pytest.mark.parametrize("case", TABLE, ids=_ids)
def test_exit_codes(drumbeat: Drumbeat, make: Make, tmp_path: Path, case: Case) -> None:
    """Results on standard output, everything else on standard error, and the code of the contract."""
    root = make(case.files)
    (tmp_path / "empty").mkdir()
    said = drumbeat(*[word.format(p=root, t=tmp_path / "empty") for word in case.words.split()])
    assert said.code == case.code, said
    assert case.out in said.out if case.out else said.out == ""
    assert case.err in said.err if case.err else said.err == ""


def test_no_program_here_is_wrong_usage(drumbeat: Drumbeat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of any program, and without --program, nothing was asked that could be answered."""
    monkeypatch.chdir(tmp_path)
    said = drumbeat("validate")
    assert (said.code, said.out) == (2, "")
    assert "--program DIR" in said.err


def test_the_program_is_found_upwards(drumbeat: Drumbeat, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --program the nearest drumbeat.yaml upwards is meant."""
    monkeypatch.chdir(make() / "playbooks")
    assert drumbeat("validate").code == 0


# ---------------------------------------------------------------------- JSON


@pytest.mark.parametrize("quiet", [(), ("--quiet",)])
@pytest.mark.parametrize("files", [{}, INVALID, WARNED], ids=["valid", "invalid", "warned"])
@pytest.mark.parametrize("verb", ["validate", "simulate"])
def test_one_json_object(
    drumbeat: Drumbeat, make: Make, verb: str, files: dict[str, str], quiet: tuple[str, ...]
) -> None:
    """With ``--format json`` standard output is one object, whatever is wrong and however quiet."""
    root = make(files)
    words = [verb, "--program", root, "--format", "json", *quiet]
    said = drumbeat(*words, *(["--events", root / "feed.jsonl"] if verb == "simulate" else []))
    assert isinstance(said.json, dict)
    assert said.code == (1 if files is INVALID else 0)
    if files is INVALID:
        assert (said.json["ok"], said.json["errors"], said.json["warnings"]) == (False, 2, 0)
        assert said.json["problems"][0] == {
            "file": "playbooks/thanks.yaml", "line": 2, "col": 1, "length": 5, "severity": "error",
            "code": "unknown-key", "message": "unknown key 'titel' in 'playbook'", "hint": "did you mean 'title'?",
        }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("simulate --events nothing.jsonl --program {p} --format json", 1),
        ("simulate --format=json --program {p}", 2),
        ("validate --format json --program {p}/nowhere", 1),
        ("validate --format json --frobnicate", 2),
        ("user u1 --program {p} --format json", 3),
    ],
)
def test_a_failure_is_one_json_object_too(drumbeat: Drumbeat, make: Make, words: str, code: int) -> None:
    """A program that reads the answer learns what went wrong from the answer."""
    said = drumbeat(*words.format(p=make()).split())
    assert (said.code, said.json["ok"], said.json["exit_code"]) == (code, False, code)
    assert said.json["error"] in said.err


# ---------------------------------------------------------------------- files


def test_output_files_are_overwritten(drumbeat: Drumbeat, make: Make) -> None:
    """A shorter run leaves nothing of a longer one behind, and folders are made."""
    root = make()
    effects, decisions = root / "new" / "effects.jsonl", root / "new" / "decisions.jsonl"
    words = ["simulate", "--program", root, "--effects", effects, "--decisions", decisions]
    drumbeat(*words, "--events", root / "feed.jsonl")
    assert len(effects.read_text().splitlines()) == 3
    (root / "short.jsonl").write_text((root / "feed.jsonl").read_text().splitlines()[0])
    drumbeat(*words, "--events", root / "short.jsonl")
    assert len(effects.read_text().splitlines()) == 1
    assert {json.loads(line)["cause"]["event"] for line in decisions.read_text().splitlines()} == {"e1"}


def test_events_keep_the_order_of_the_command_line(drumbeat: Drumbeat, make: Make) -> None:
    """Of two events at one instant the one of the file named first comes first; a repeated id keeps the first."""
    root = make()
    row = {"id": "same", "type": "order.paid", "user": "u1", "time": "2026-03-01T01:00:00Z"}
    for name in ("b", "a"):
        (root / f"{name}.jsonl").write_text(
            json.dumps({**row, "data": {"from": name}}) + "\n" + json.dumps({**row, "id": name}) + "\n"
        )
    decisions = root / "d.jsonl"
    files = ["--events", root / "b.jsonl", "--events", root / "a.jsonl"]
    said = drumbeat("simulate", "--program", root, *files, "--decisions", decisions, "--format", "json")
    assert said.json["events"]["duplicate"] == 1
    causes = [json.loads(line)["cause"]["event"] for line in decisions.read_text().splitlines()]
    assert list(dict.fromkeys(causes)) == ["same", "b", "a"]


@pytest.mark.parametrize("what", ["a link to nowhere", "a link out of the program", "a folder", "no utf-8"])
def test_files_that_cannot_be_read_are_told(drumbeat: Drumbeat, make: Make, tmp_path: Path, what: str) -> None:
    """A file of a program that cannot be read is a problem of the program, with its name."""
    root = make()
    odd = root / "playbooks" / "odd.yaml"
    outside = tmp_path / "outside.yaml"
    outside.write_text("playbook: odd\n")
    if what == "a folder":
        odd.mkdir()
    elif what == "no utf-8":
        odd.write_bytes(b"playbook: \xb2\xe8")
    else:
        odd.symlink_to(outside if "out of" in what else tmp_path / "nowhere")
    said = drumbeat("validate", "--program", root)
    assert said.code == 1
    assert "playbooks/odd.yaml:1:" in said.out


def test_no_color_is_kept(drumbeat: Drumbeat, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Colours on a terminal only, and not with ``--no-color`` or NO_COLOR."""
    monkeypatch.setattr("engine.cli.common._is_terminal", lambda stream: True)
    monkeypatch.setattr("click.utils.should_strip_ansi", lambda *_: False)  # click looks for a terminal of its own
    monkeypatch.delenv("NO_COLOR", raising=False)
    root = make(INVALID)
    assert "\x1b[" in drumbeat("validate", "--program", root).out
    assert "\x1b[" not in drumbeat("validate", "--program", root, "--no-color").out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in drumbeat("validate", "--program", root).out


def test_a_fault_of_ours_is_no_traceback(
    drumbeat: Drumbeat, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even a bug ends in two lines and exit code 3; DRUMBEAT_TRACE=1 brings the traceback for us."""

    def broken(*_: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr("engine.language.compile._Compiler", broken)
    monkeypatch.delenv("DRUMBEAT_TRACE", raising=False)
    root = make()
    said = drumbeat("validate", "--program", root, "--format", "json")
    assert said.code == 3
    assert "RuntimeError: boom" in said.err
    assert said.json["ok"] is False
    monkeypatch.setenv("DRUMBEAT_TRACE", "1")
    with pytest.raises(RuntimeError, match="boom"):
        drumbeat("validate", "--program", root)


# ---------------------------------------------------------------------- a process of its own


def start(*words: object, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "engine", *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8", env={**os.environ, **env},
    )  # fmt: skip


def test_the_process_ends_with_the_code(make: Make) -> None:
    """What ``run`` returns is what the shell sees, with nothing on standard error that was not meant for it."""
    root = make(INVALID)
    process = start("validate", "--program", root, "--format", "json", "--quiet")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, "")
    assert json.loads(out)["errors"] == 2


def test_a_terminal_without_chinese(make: Make) -> None:
    """A stream that claims to take ASCII only changes no exit code and breaks nothing off."""
    process = start("validate", "--program", make(INVALID), PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "did you mean 'once'?" in out
    assert "2 error(s)" in err


def test_a_reader_that_goes_away(make: Make) -> None:
    """``drumbeat ... | head`` is no error and says nothing."""
    process = start("schema", "--program", make())
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")


def test_interrupted(make: Make) -> None:
    """Control-C ends with 130 and one word."""
    root = make()
    pipe = root / "pipe.jsonl"
    os.mkfifo(pipe)
    process = start("simulate", "--program", root, "--events", pipe)
    signal.alarm(60)  # a child that never reads must not keep the tests for ever
    writer = os.open(pipe, os.O_WRONLY)  # waits until the other side reads
    signal.alarm(0)
    out = err = None
    while out is None:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):  # one that comes just before a read blocks is seen after it
            out, err = process.communicate(timeout=20)
    os.close(writer)
    assert (process.returncode, out, err.strip()) == (130, "", "interrupted")
