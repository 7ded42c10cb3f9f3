"""What a release is made with: the bill of materials, and tags that are signed and checked."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from meta_harness import ROOT

SBOM: Mapping[str, Any] = runpy.run_path(str(ROOT / "deploy" / "sbom.py"))
PROJECT = {"name": "drumbeat", "version": "1.2.3"}
LOCK = """\
one==1.0 \\
    --hash=sha256:{a} \\
    --hash=sha256:{b}
    # via
    #   drumbeat (pyproject.toml)
    #   two
two==2.0 ; sys_platform == 'win32' \\
    --hash=sha256:{c}
    # via drumbeat (pyproject.toml)
""".format(a="a" * 64, b="b" * 64, c="c" * 64)


def test_a_bill_of_materials() -> None:
    """Each package of a lock file stands in the bill with version, address, hashes and what it needs.

    Threat: supply.release — the bill of materials
    """
    made = SBOM["bill"](LOCK, PROJECT)
    assert (made["bomFormat"], made["specVersion"], made["version"]) == ("CycloneDX", "1.6", 1)
    assert made["metadata"]["component"]["purl"] == "pkg:pypi/drumbeat@1.2.3"
    one, two = made["components"]
    assert (one["name"], one["version"], one["purl"]) == ("one", "1.0", "pkg:pypi/one@1.0")
    assert [it["content"][0] for it in one["hashes"]] == ["a", "b"]
    assert two["properties"] == [{"name": "drumbeat:marker", "value": "sys_platform == 'win32'"}]
    assert {it["ref"]: it["dependsOn"] for it in made["dependencies"]} == {
        "pkg:pypi/drumbeat@1.2.3": ["pkg:pypi/one@1.0", "pkg:pypi/two@2.0"],
        "pkg:pypi/one@1.0": [],
        "pkg:pypi/two@2.0": ["pkg:pypi/one@1.0"],
    }


def test_the_bill_is_whole_and_the_same_each_time() -> None:
    """Made twice of our lock it is the same bytes, and it leaves out no package and no hash.

    Threat: supply.release — the bill of materials is whole
    """
    words = [sys.executable, str(ROOT / "deploy" / "sbom.py")]
    one, other = (subprocess.run(words, cwd=it, stdout=subprocess.PIPE, check=True).stdout for it in (ROOT, "/"))
    assert one == other
    made, lock = json.loads(one), (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pinned = set(re.findall(r"(?m)^[a-z0-9.-]+==[^\s;]+", lock))
    assert {f"{it['name']}=={it['version']}" for it in made["components"]} == pinned
    hashes = [digest["content"] for it in made["components"] for digest in it["hashes"]]
    assert sorted(hashes) == sorted(re.findall(r"sha256:([0-9a-f]{64})", lock))
    refs = {it["ref"] for it in made["dependencies"]}
    assert {on for it in made["dependencies"] for on in it["dependsOn"]} <= refs
    needed = {on for it in made["dependencies"] for on in it["dependsOn"]}
    assert refs - needed == {made["metadata"]["component"]["purl"]}, "whatever is there, something needs it"


class Clone:
    """A repository with a key to sign with, and files of a release."""

    def __init__(self, root: Path) -> None:
        self.root, self.files = root / "clone", root / "files"
        self.files.mkdir()
        (self.files / "d.whl").write_bytes(b"wheel")
        (self.files / "d.cdx.json").write_bytes(b"{}")
        self.git("init", "-q", str(self.root), at=root)
        self.git("commit", "-q", "--allow-empty", "-m", "x")
        for name in ("ours", "theirs"):
            key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(root / name)]
            subprocess.run(key, check=True)
        public = (root / "ours.pub").read_text(encoding="utf-8")
        (root / "allowed").write_text(f"us@example.org {public}", encoding="utf-8")
        self.git("config", "gpg.ssh.allowedSignersFile", str(root / "allowed"))

    def git(self, *words: str, at: Path | None = None, **more: Any) -> None:
        env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        who = ("-c", "user.name=us", "-c", "user.email=us@example.org", "-c", "gpg.format=ssh")
        subprocess.run(["git", *who, *words], cwd=at or self.root, env=env, check=True, **more)

    def sums(self) -> str:
        paths = sorted(it for it in self.files.iterdir())
        return "".join(f"{sha256(it.read_bytes()).hexdigest()}  {it.name}\n" for it in paths)

    def tag(self, name: str, key: str | None = "ours") -> None:
        """A tag as ``deploy/release`` makes it; without a key an unsigned one."""
        how = ("-a",) if key is None else ("-c", f"user.signingkey={self.root.parent / key}", "-s")
        config, flag = how[:-1], how[-1]
        words = (*config, "tag", flag, name, "--cleanup=verbatim", "-F", "-")
        self.git(*words, input=f"Drumbeat {name}\n\n{self.sums()}".encode())

    def verify(self, name: str) -> int:
        """Exit code of ``deploy/verify-release``."""
        env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        words = [str(ROOT / "deploy" / "verify-release"), name, str(self.files)]
        return subprocess.run(words, cwd=self.root, env=env, check=False, capture_output=True).returncode


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


def test_a_release_that_is_ours(clone: Clone) -> None:
    """A tag signed by a key that is trusted, and files as it names them, pass.

    Threat: supply.release
    """
    clone.tag("v1")
    assert clone.verify("v1") == 0


@pytest.mark.parametrize("key", [None, "theirs"])
def test_a_tag_that_nobody_trusted_signed(clone: Clone, key: str | None) -> None:
    """A tag without a signature, and one signed by somebody else, are refused.

    Threat: supply.release — whose tag
    """
    clone.tag("v1", key)
    assert clone.verify("v1") != 0
    assert clone.verify("v0") != 0


@pytest.mark.parametrize("how", ["changed", "more", "fewer"])
def test_files_that_are_not_those_of_the_tag(clone: Clone, how: str) -> None:
    """A file that was changed, added or taken away is refused, whatever a list of digests beside it says.

    Threat: supply.release — the files
    """
    clone.tag("v1")
    if how == "changed":
        (clone.files / "d.whl").write_bytes(b"other")
    elif how == "more":
        (clone.files / "e.whl").write_bytes(b"other")
    else:
        (clone.files / "d.whl").unlink()
    (clone.files / "SHA256SUMS").write_text(clone.sums(), encoding="utf-8")
    assert clone.verify("v1") != 0


# -- a whole release, in a clone that is thrown away


def test_a_release_from_end_to_end(tmp_path: Path) -> None:
    """What is committed is built twice alike, listed, tagged with a throw-away key and verified; one changed byte is
    refused. The wheel holds what a program begins with: installed elsewhere, ``init`` writes one that validates, passes
    its tests and runs.

    Threat: supply.release — all of it
    """
    clone, away, lib = tmp_path / "clone", tmp_path / "away", tmp_path / "lib"
    settings = "[user]\nname=us\nemail=us@example.org\nsigningkey={0}/key\n[gpg]\nformat=ssh\n"
    settings += '[gpg "ssh"]\nallowedSignersFile={0}/allowed\n[init]\ndefaultBranch=main\n[safe]\ndirectory=*\n'
    (tmp_path / "gitconfig").write_text(settings.format(tmp_path), encoding="utf-8")
    env = {**os.environ, "GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig"), "GIT_CONFIG_SYSTEM": os.devnull}

    def said(*words: str | Path, at: Path = clone, code: int = 0, path: Path = clone) -> str:
        done = subprocess.run(  # our own words
            [str(it) for it in words], cwd=at, env={**env, "PYTHON": sys.executable, "PYTHONPATH": str(path)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout
        return done.stdout

    said("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "us", "-f", tmp_path / "key", at=tmp_path)
    public = (tmp_path / "key.pub").read_text(encoding="utf-8")
    (tmp_path / "allowed").write_text(f"us@example.org {public}", encoding="utf-8")
    if not (ROOT / ".git").exists():
        pytest.skip("a release is made from a repository")
    said("git", "clone", "-q", ROOT, clone, at=tmp_path)
    found = re.search(r'^version = "(.+)"$', (clone / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    version = found[1]
    assert '"same": true' in said("deploy/release", version)
    dist = clone / "dist"
    wheel = dist / f"drumbeat-{version}-py3-none-any.whl"
    assert {it.name for it in dist.iterdir()} == {wheel.name, f"drumbeat-{version}.cdx.json", "SHA256SUMS"}
    assert "every file is what was signed" in said("deploy/verify-release", f"v{version}", dist)
    whole = wheel.read_bytes()
    place = len(whole) // 2
    wheel.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    assert "FAILED" in said("deploy/verify-release", f"v{version}", dist, code=1)
    wheel.write_bytes(whole)
    with ZipFile(wheel) as packed:  # what an installer does with a wheel of nothing but Python
        packed.extractall(lib)
    away.mkdir()
    python = (sys.executable, "-m", "engine")
    said(*python, "init", "--example", "community", "program", at=away, path=lib)
    said(*python, "validate", "--strict", at=away / "program", path=lib)
    assert "coverage 100 %" in said(*python, "test", at=away / "program", path=lib)
    assert "sent" in said(*python, "run", "--until-idle", at=away / "program", path=lib)
    said(*python, "schema", "--write", "s", at=away / "program", path=lib)
    assert (away / "program" / "s" / "program.schema.json").is_file()
    where = said(sys.executable, "-c", "import engine; print(engine.__file__)", at=away, path=lib)
    assert where.strip() == str(lib / "engine" / "__init__.py"), "it was the wheel that answered"
