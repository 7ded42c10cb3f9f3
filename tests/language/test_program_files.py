"""Reading the files of a program: what has a name and is no file."""

from __future__ import annotations

import os
from pathlib import Path

from engine.language.files import read_list, read_program
from engine.language.keeping import pack


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """A pipe where a file should be is an error and holds nobody up: neither `validate` nor a daemon.

    Threat: path.traversal — what is no file
    """
    (tmp_path / "playbooks").mkdir()
    empty = pack(tmp_path)
    for name in ("playbooks/pipe.yaml", "codes.csv"):
        os.mkfifo(tmp_path / name)
    assert read_program(tmp_path).broken == [("playbooks/pipe.yaml", "cannot be read: it is no regular file")]
    values, wrong = read_list(tmp_path, "codes.csv")
    assert not values
    assert "it is no regular file" in str(wrong)
    assert pack(tmp_path) == empty


def test_a_device_is_not_read(tmp_path: Path) -> None:
    """A program that is a link to a device would have no end.

    Threat: path.traversal — devices
    """
    (tmp_path / "drumbeat.yaml").symlink_to("/dev/zero")
    assert [file for file, _ in read_program(tmp_path).broken] == ["drumbeat.yaml"]
    assert pack(tmp_path) == pack(tmp_path / "nowhere")
