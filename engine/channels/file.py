"""Messages as lines of a file, one JSON object each.

Rule 1: a message is sent when its line, with the line feed, is on the disk.
Rule 2: a batch that could not be written is taken back whole, so a failed message is known not to be in the file.
Rule 3: an effect that may have been sent by a process that died is looked up in the file before it is written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from engine.core.instants import format_instant
from engine.core.shapes import Map, Text, optional
from engine.errors import CannotRun, UsageError
from engine.ports import Outgoing, Sent, Wire
from engine.site import Site

MODES = ("at_least_once", "at_most_once")

FAULT_POINTS = ("send.before", "send.written", "send.after")
"""Names given to ``fault``: before the write, between it and the sync to the disk, and after that."""

_HEAD = b'{"key":"'
_BLOCK = 1 << 16
_write = msgspec.json.Encoder(decimal_format="number").encode
_BREAKS = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"), (b"\xc2\x85", b"\\u0085"))


class FileChannel:
    """Appends messages to a file.

    ``mode``: what is done with a message of which nobody knows whether it was sent: ``at_least_once`` or
    ``at_most_once``; without one the purpose of the message decides.

    Example:
        box: {via: file, path: out/messages.jsonl, mode: at_least_once}
    """

    shape = Map({"path": optional(Text(what="path", only_text=True), "where to write")})

    def __init__(self, name: str, path: str | os.PathLike[str], *, mode: str | None = None) -> None:
        if mode is not None and mode not in MODES:
            raise UsageError(f"channel {name!r}: unknown mode {mode!r}", hint="known: " + ", ".join(MODES))
        self.name = name
        self.mode = mode
        self.once = True  #: the file remembers the keys
        self.path = Path(path)
        self.fault: Callable[[str], object] = _nothing  #: called with each name of ``FAULT_POINTS`` as it is passed
        self._failed: set[str] = set()  #: keys this process could not write, so no doubt about them
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            self._end = self._whole_lines()  #: where the last batch that was written ends
            self._torn = False  #: whether something behind it could not be taken back
            os.ftruncate(self._fd, self._end)
            _sync_folder(self.path.parent)
        except OSError as error:
            hint = "let its path name a file in a folder that may be written"
            raise CannotRun(f"channel {name!r}: cannot write {self.path}: {error.strerror}", hint=hint) from error

    @classmethod
    def open(cls, name: str, fields: Mapping[str, Any], site: Site) -> FileChannel:
        """The channel of an entry of ``channels:``; raises UsageError without a path."""
        path = fields.get("path")
        if not path:
            raise UsageError(f"channel '{name}' needs 'path'", hint="path: out/messages.jsonl")
        return cls(name, site.root / path, mode=fields.get("mode"))

    def send(self, items: Sequence[Outgoing]) -> list[Sent]:
        """Append the messages and answer each, after one write to the disk."""
        doubted = [item.key for item in items if item.attempts and item.key not in self._failed]
        done = self.written(doubted)
        answers: list[Sent] = []
        lines: list[bytes] = []
        for item in items:
            if item.key in done:
                answers.append(Sent(ok=True))
                continue
            try:
                lines.append(_line(item, self.name))
                answers.append(Sent(ok=True))
            except (TypeError, ValueError) as error:
                answers.append(Sent(ok=False, reason=f"cannot be written as JSON: {error}"))
        if not lines:
            return answers
        problem = self._append(b"".join(lines))
        keys = [item.key for item, answer in zip(items, answers, strict=True) if answer.ok and item.key not in done]
        if problem is None:
            self._failed.difference_update(keys)
            return answers
        self._failed.update(keys)
        refused = Sent(ok=False, reason=problem, passing=True)
        return [
            refused if answer.ok and item.key not in done else answer
            for item, answer in zip(items, answers, strict=True)
        ]

    @classmethod
    def wire_of(cls, name: str, item: Outgoing) -> Wire:
        """The line as ``send`` writes it, without opening the file."""
        return Wire("line", _line(item, name))

    def written(self, keys: Iterable[str]) -> set[str]:
        """Those of the keys whose line stands in the file."""
        wanted = {_encode(key)[1:-1]: key for key in keys}
        if not wanted:
            return set()
        found = set()
        with open(os.dup(self._fd), "rb") as file:  # not by its name: that may belong to another file by now
            file.seek(0)
            for line in file:
                # The key stands first in every line we write, so no line has to be parsed.
                if line.startswith(_HEAD) and line.endswith(b"\n"):
                    key = wanted.get(line[len(_HEAD) : line.find(b'"', len(_HEAD))])
                    if key is not None:
                        found.add(key)
        return found

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _append(self, block: bytes) -> str | None:
        """Write to the end and to the disk; what went wrong, after taking back what was written."""
        try:
            if self._torn:
                os.ftruncate(self._fd, self._end)
                self._torn = False
            self._come_back()
            self._end = os.fstat(self._fd).st_size  # somebody may have emptied the file
            self.fault("send.before")
            rest = memoryview(block)
            while rest:
                rest = rest[os.write(self._fd, rest) :]
            self.fault("send.written")
            os.fsync(self._fd)
            self.fault("send.after")
        except OSError as error:
            self._take_back()
            return f"cannot write: {error.strerror}"
        self._end += len(block)
        return None

    def _come_back(self) -> None:
        """Make the file again where it was removed: what is written to a file without a name, nobody gets."""
        if os.fstat(self._fd).st_nlink:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        os.close(self._fd)
        self._fd = fresh
        _sync_folder(self.path.parent)

    def _take_back(self) -> None:
        try:
            os.ftruncate(self._fd, self._end)
        except OSError:
            self._torn = True  # or it would become the head of the next line

    def _whole_lines(self) -> int:
        """Size of the file up to its last line feed: a line that was cut off by a crash was never sent."""
        end = os.fstat(self._fd).st_size
        while end:
            start = max(0, end - _BLOCK)
            cut = os.pread(self._fd, end - start, start).rfind(b"\n")
            if cut >= 0:
                return start + cut + 1
            end = start
        return 0


def _nothing(point: str) -> None:
    """The fault that never happens."""


def _encode(value: object) -> bytes:
    """JSON in which no reader finds an end of line: some take more characters for one than the line feed."""
    raw = _write(value)
    for found, escaped in _BREAKS:
        raw = raw.replace(found, escaped)
    return raw


def _line(item: Outgoing, channel: str) -> bytes:
    """One message as a line; ``_HEAD`` depends on the key standing first."""
    effect = item.effect
    detail = effect.detail
    record = {
        "key": item.key,
        "channel": channel,
        "time": format_instant(effect.time),
        "user": effect.user,
        "group": effect.group,
        "kind": effect.kind,
        "playbook": effect.playbook,
        "step": effect.step,
        "purpose": effect.purpose,
        "to": effect.to,
        "template": detail.get("template"),
        "subject": detail.get("subject"),
        "text": detail.get("text"),
        "detail": detail,
    }
    return _encode(record) + b"\n"


def _sync_folder(folder: Path) -> None:
    """Make the name of a new file as durable as its content."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
