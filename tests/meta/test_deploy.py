"""What ``deploy/`` offers is true: the unit is one, rules name metrics that are shown, commands are verbs."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml
from meta_harness import ROOT
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from engine.api.meters import Meters
from engine.api.metrics import registry
from engine.cli.main import cli
from engine.language.compile import compile_program
from engine.ports import Lag
from engine.runtime.state import DaemonState

DEPLOY = ROOT / "deploy"
UNIT = (DEPLOY / "drumbeat.service").read_text(encoding="utf-8")
README = (DEPLOY / "README.md").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
RULES = [
    rule
    for group in yaml.safe_load((DEPLOY / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]


def _service() -> dict[str, str]:
    """The last value of each key of the section of the service."""
    reader = configparser.RawConfigParser(strict=False, interpolation=None)
    reader.optionxform = str  # type: ignore[assignment,method-assign]
    reader.read_string(UNIT)
    return dict(reader["Service"])


def test_the_unit_is_shut_in() -> None:
    """The unit of systemd has the walls that are promised, and leaves the daemon the time to leave in order."""
    from engine.runtime.daemon import DRAIN_SECONDS

    found = _service()
    walls = ("NoNewPrivileges", "ProtectHome", "PrivateTmp", "PrivateDevices", "ProtectKernelTunables")
    assert {found[name] for name in walls} == {"true"}
    assert (found["ProtectSystem"], found["StateDirectory"], found["Restart"]) == ("strict", "drumbeat", "on-failure")
    assert (found["User"], found["CapabilityBoundingSet"], found["UMask"]) == ("drumbeat", "", "0077")
    assert found["KillSignal"] == "SIGTERM"
    assert int(found["TimeoutStopSec"]) >= DRAIN_SECONDS + 5
    assert "-HUP" in found["ExecReload"]
    assert found["LimitCORE"] == "0"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_reads_the_unit(tmp_path: Path) -> None:
    """``systemd-analyze verify`` has nothing to say; only the path of the program is one that is there."""
    copy = tmp_path / "drumbeat.service"
    copy.write_text(UNIT.replace("/opt/drumbeat/bin/drumbeat", "/bin/true"), encoding="utf-8")
    words = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(copy)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# Metrics


def _metrics() -> dict[str, set[tuple[str, str]]]:
    """Name of each sample of a daemon -> its labels with their values, as far as it shows any."""
    state = DaemonState(feeds={"http": Lag(position=1, behind=1)}, watermarks={"http": 1})
    collectors = registry(state)
    meters = Meters(collectors)
    meters.request("/v1/events", 202, 0.1)
    meters.records("http", accepted=1, duplicate=1, quarantined=1)
    meters.receipts("email", {"accepted": 1})
    found: dict[str, set[tuple[str, str]]] = {"up": set()}
    for family in text_string_to_metric_families(generate_latest(collectors).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels.items())
    return found


NAMES = re.compile(r"\b((?:drumbeat|process)_[a-z_]+|up)\b(?:\{([^}]*)\})?")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_asks_for_what_there_is(rule: dict[str, str]) -> None:
    """Each metric of an alert rule is shown by a daemon, with the labels and the words it is asked for."""
    known = _metrics()
    asked = NAMES.findall(rule["expr"])
    assert asked
    for name, labels in asked:
        assert name in known, f"{rule['alert']}: there is no metric {name}"
        for label, how, words in re.findall(r'(\w+)(=~?)"([^"]*)"', labels):
            if label == "job":
                continue
            assert label in {it for it, _ in known[name]}, f"{rule['alert']}: {name} has no label {label}"
            if how == "=":
                assert (label, words) in known[name], f"{rule['alert']}: {name} is never {label}={words}"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_says_what_to_do(rule: dict[str, str]) -> None:
    """Each alert has a summary for people, and a line in docs/operations.md."""
    assert rule["annotations"]["summary"]  # type: ignore[index]
    assert f"`{rule['alert']}`" in OPERATIONS


def test_metrics_of_the_manual_exist() -> None:
    """docs/operations.md names no metric that is not there."""
    assert {name for name, _ in NAMES.findall(OPERATIONS)} - {"up"} <= _metrics().keys()


# Commands


def _commands() -> Iterator[tuple[str, list[str]]]:
    """(where, words after ``drumbeat``) of every command in the files and in the manual."""
    yield "drumbeat.service", shlex.split(_service()["ExecStart"])[1:]
    container = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    (command,) = re.findall(r"^CMD (\[.*\])$", container, re.MULTILINE)
    yield "Containerfile", [str(it) for it in yaml.safe_load(command)]
    for rule in RULES:
        for found in re.findall(r"drumbeat ([a-z][^,;:]*)", rule["annotations"]["summary"]):  # type: ignore[index]
            yield rule["alert"], found.split()
    for name, text in (("README.md", README), ("operations.md", OPERATIONS)):
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                words = line.rpartition("drumbeat ")[2].split() if "drumbeat " in line else []
                if words and words[0].isalpha():
                    yield name, words
        for span in re.findall(r"`drumbeat ([a-z][^`]*)`", text):
            yield name, span.split()


COMMANDS = sorted({(where, " ".join(words)) for where, words in _commands()})


@pytest.mark.parametrize(("where", "words"), COMMANDS)
def test_a_command_is_a_verb(where: str, words: str) -> None:
    """Every command in deploy/ and docs/operations.md is a verb of the command line, with options it has."""
    command: click.Command = cli
    rest = words.split()
    with click.Context(cli) as context:
        while isinstance(command, click.Group) and rest:
            found = command.get_command(context, rest[0])
            assert found is not None, f"{where}: drumbeat {words}: no verb {rest[0]!r}"
            command, rest = found, rest[1:]
    options = {name for it in command.params for name in (*it.opts, *it.secondary_opts)}
    assert {it.partition("=")[0] for it in rest if it.startswith("--")} <= options, f"{where}: {words}"


# The rest


def test_the_image_is_no_root() -> None:
    """The image runs as somebody without rights, installs by hash, and is asked for its health where it answers."""
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:\d+\.\d+-[a-z-]+", bases[0])
    assert re.search(r"^USER 10001:10001$", text, re.MULTILINE)
    assert text.count("--require-hashes") == 2
    assert "/healthz" in text
    copied = [it for line in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE) for it in line.split()]
    kept = (DEPLOY / "Containerfile.dockerignore").read_text(encoding="utf-8").split()
    for name in copied:
        assert (ROOT / name).exists()
        assert f"!{name}" in kept


def test_the_compose_file_is_shut_in() -> None:
    """The service of the compose file is read-only, without capabilities, and waits as long as the unit does."""
    found = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]["drumbeat"]
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert found["stop_grace_period"] == f"{_service()['TimeoutStopSec']}s"
    assert (DEPLOY / found["build"]["context"] / found["build"]["dockerfile"]).is_file()


def test_the_program_of_the_manual_loads(tmp_path: Path) -> None:
    """The settings that deploy/README.md shows are those of a valid program."""
    (piece,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "drumbeat.yaml").write_text("program: shop\n" + piece, encoding="utf-8")
    assert [it for it in compile_program(tmp_path).problems if it.severity == "error"] == []


def test_ci_skips_no_server() -> None:
    """Every push installs the servers of the tests first, lets none be missing, and compares the pinned hashes."""
    lines = (ROOT / ".ci/run").read_text(encoding="utf-8")
    order = [lines.index(it) for it in ("export DRUMBEAT_CI=1", ".ci/servers", "--require-hashes", "make test")]
    assert order == sorted(order)
    servers = ROOT / ".ci/servers"
    assert servers.stat().st_mode & 0o100
    wanted = ("redis-server", "nats-server", "rabbitmq-server", "chromium")
    assert all(it in servers.read_text(encoding="utf-8") for it in wanted)


def test_links_lead_somewhere() -> None:
    """Links of deploy/README.md lead to files, and to headings of them."""
    for link in re.findall(r"\]\(([^)]+)\)", README):
        path, _, heading = link.partition("#")
        target = DEPLOY / path
        assert target.exists(), link
        headings = [
            re.sub(r"[^\w -]", "", it.lower()).replace(" ", "-")
            for it in re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
        ] if heading else []
        assert not heading or heading in headings, link
