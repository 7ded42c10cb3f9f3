"""The YAML reader: bytes in; a tree with places, the comments that count, and every problem out.

It is built on libyaml's *events*. The composer is never used: it recurses, so deep nesting would crash the process,
and it resolves scalars by YAML 1.1, where ``NO`` is false and ``22:00`` a number. Bad input never raises.

Refused with words of their own, because in a file that decides who gets messages each of them hides something:
anchors and aliases, tags, merge keys, duplicate keys, several documents, keys that are not scalars, tabs, invisible
characters, other encodings than UTF-8, files over 256 KiB and nesting over 40 levels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

import yaml

from engine.kept import Kept
from engine.language import textual
from engine.language.diagnostics import Allow, Diagnostic, Mark, Severity, read_allows
from engine.language.nodes import MapNode, Node, NumberTooLong, Plain, Scalar, ScalarNode, SeqNode, SourceText, resolve
from engine.language.slips import cut_expression, has_wide_quotes, mend_flow_list, mend_flow_map, slip_for_scalar
from engine.language.syntax import Trouble, braces, explain

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "MapNode",
    "Mark",
    "Node",
    "Plain",
    "Scalar",
    "ScalarNode",
    "SeqNode",
    "Source",
    "SourceText",
    "cut_expression",
    "read_source",
    "slip_for_scalar",
]

MAX_BYTES: Final = 256 * 1024
MAX_DEPTH: Final = 40

# The same scanner in C or in Python; only the C one is fast enough for thousands of files.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_Refusal = tuple[str, str, str]
_Start = yaml.MappingStartEvent | yaml.SequenceStartEvent
_STARTS: Final = (yaml.MappingStartEvent, yaml.SequenceStartEvent)  # a union is asked more slowly than a tuple
_NEW: Final = tuple.__new__  # every scalar has two marks: the keyword-taking constructor would be a tenth of reading


class _HasIndex(Protocol):
    """libyaml's own mark, from C or from Python."""

    @property
    def index(self) -> int: ...
    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Source:
    """One file as read.

    Parameters
    ----------
    file: its name, as messages show it.
    text: its characters, for ``render_text``; "" when they could not be decoded.
    root: the tree of its (first) document, or None when there is a syntax error, nothing, or too much.
    partial: what was read until reading stopped (the same as ``root`` when it did not), so that names a broken file
        defines above its error need not be called unknown.
    problems: what is wrong with it as YAML, sorted.
    allows: its ``# allow:`` comments.
    complete: whether it was read to its end.
    """

    file: str
    text: str
    root: Node | None
    partial: Node | None
    problems: tuple[Diagnostic, ...]
    allows: tuple[Allow, ...] = ()
    complete: bool = False

    @property
    def ok(self) -> bool:
        """Whether it has no error (warnings may be there)."""
        return all(problem.severity != "error" for problem in self.problems)


def read_source(data: bytes, file: str) -> Source:
    """Read one YAML file.

    Parameters
    ----------
    data: its bytes.
    file: its name, as messages should show it.
    """
    return _KEPT.get((file, data), len(data), lambda: _read(data, file), _unchanging)


_KEPT: Final[Kept[Source]] = Kept(1 << 20)


def _unchanging(source: Source) -> bool:
    """Only about a file with problems is anything noted in its tree later on."""
    return source.complete and not source.problems


def _read(data: bytes, file: str) -> Source:
    problems: list[Diagnostic] = []
    if len(data) > MAX_BYTES:
        message = f"the file has {len(data)} bytes; the limit is {MAX_BYTES}"
        hint = "split it: one playbook a file, several catalog files"
        problems.append(Diagnostic(file, 1, 1, 1, "error", "yaml-size", message, hint))
        return Source(file, "", None, None, tuple(problems))
    text = textual.decode(data, file, problems)
    if text is None:
        return Source(file, "", None, None, tuple(problems))
    source = SourceText(file, text)
    reader = _Reader(source, problems)
    complete = reader.run()
    read_to = len(text) if complete else reader.reached
    textual.check_tabs(source, reader.spans, read_to, problems)
    allows = read_allows(textual.comments(source, reader.spans, read_to))
    root = reader.root if reader.whole else None
    return Source(file, text, root, reader.root, tuple(sorted(problems)), allows, complete)


@dataclass(slots=True)
class _Frame:
    """A mapping or list that is still open."""

    start: int
    flow: bool
    mapping: bool
    entries: list[tuple[ScalarNode, Node]] = field(default_factory=list)
    items: list[Node] = field(default_factory=list)
    seen: dict[str, ScalarNode] = field(default_factory=dict)
    key: ScalarNode | Literal["lost"] | None = None  # "lost": the key was refused, so its value is dropped
    broken: bool = False
    braces: bool = False

    @property
    def last(self) -> Node | None:
        """The child that ends last."""
        if self.items:
            return self.items[-1]
        return self.entries[-1][1] if self.entries else None


class _Reader:
    """Builds the tree from events, with a stack of its own, so depth costs no recursion."""

    def __init__(self, source: SourceText, problems: list[Diagnostic]) -> None:
        self.source = source
        self.problems = problems
        self.root: Node | None = None
        self.whole = False  # the first document is all there
        self.reached = 0
        self.spans: list[tuple[int, int, str]] = []
        self._stack: list[_Frame] = []
        self._last: ScalarNode | None = None
        self._documents = 0
        self._stopped = False
        self._length = len(source.text)

    def run(self) -> bool:
        """Read everything; False when reading had to stop before the end."""
        loader: Any = None
        try:
            loader = _LOADER(self.source.text)
            # without ``yaml.parse``: a generator and a second question for every event cost a third of the reading
            event = loader.get_event()
            while not isinstance(event, yaml.StreamEndEvent):
                if not self._take(event):
                    self._close_all()
                    return False
                event = loader.get_event()
        except yaml.YAMLError as error:
            self._stuck(error)
            self._close_all()
            return False
        except (ValueError, OverflowError):  # the scanner in Python lets escapes such as \UFFFFFFFF through
            message = "an escape in double quotes names no character"
            self._say(self.reached, 1, "yaml-escape", message, "use single quotes, or a valid code")
            self._close_all()
            return False
        finally:
            if loader is not None:
                loader.dispose()
        if self.root is None or (isinstance(self.root, ScalarNode) and not (self.root.text or self.root.style)):
            self.root = None
            self._say(0, 1, "yaml-empty", "the file is empty", "its first key names its kind, such as 'playbook:'")
        self.whole = self.root is not None
        return True

    def _take(self, event: yaml.Event) -> bool:
        """Take in one event; False to stop reading."""
        if isinstance(event, yaml.ScalarEvent):  # more than half of all events
            self._attach(self._scalar(event))
            return True
        if isinstance(event, yaml.DocumentStartEvent):
            return self._document(event)
        end = self._index(event.end_mark)
        if end > self.reached:
            self.reached = end
        self._last = None
        if isinstance(event, _STARTS):
            return self._open(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close(self._index(event.end_mark))
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        return True

    def _document(self, event: yaml.DocumentStartEvent) -> bool:
        self._documents += 1
        start = self._index(event.start_mark)
        if event.version or event.tags:
            self._say(start, 1, "yaml-directive", "'%' lines are not used in playbooks", "drop the line")
        if self._documents == 1:
            return True
        self.whole = True
        length = 3 if event.explicit else 1
        self._say(
            start, length, "yaml-documents", "a second document begins here", "one file is one document: split it"
        )
        return False

    def _open(self, event: _Start) -> bool:
        start, behind = self._index(event.start_mark), self._index(event.end_mark)
        self._properties(event.anchor, event.tag, start)
        flow = bool(event.flow_style)
        opened = _Frame(
            behind - 1 if flow and behind > start else start, flow, isinstance(event, yaml.MappingStartEvent)
        )
        self._find_braces(opened)
        if len(self._stack) == MAX_DEPTH:
            self._say(start, 1, "yaml-depth", f"nesting is deeper than {MAX_DEPTH} levels", "flatten it")
            return False
        self._stack.append(opened)
        return True

    def _find_braces(self, opened: _Frame) -> None:
        """See whether ``opened`` is the second brace of an unquoted ``{{``."""
        above = self._stack[-1] if self._stack else None
        if above is None or not (above.mapping and above.flow and opened.mapping and opened.flow):
            return
        if above.key is not None or above.start + 1 != opened.start:
            return
        if not above.braces:
            line, _ = self.source.position(above.start)
            slip = braces(self.source.text[above.start : self.source.line_end(line)], above.start)
            self.problems.append(slip.at(self.source.mark(above.start)))
        above.braces = opened.braces = True

    def _close(self, end: int) -> None:
        """Close the innermost mapping or list."""
        frame = self._stack.pop()
        self._attach(self._built(frame, end))

    def _close_all(self) -> None:
        """Close what is open when reading stops, so that the part above the problem can be looked at."""
        self._stopped = True
        while self._stack:
            self._stack[-1].broken = True
            self._close(self.reached)

    def _built(self, frame: _Frame, end: int) -> Node:
        mark = self.source.mark(frame.start)
        bracket = self.source.text[frame.start : frame.start + 1] if frame.flow else ""
        # libyaml ends a block where the next token begins, lines below; it is over with its last child.
        close = self.source.mark(end) if bracket in {"[", "{"} else (frame.last.end if frame.last else mark)
        if frame.braces:
            text = self.source.text[frame.start : end]
            return ScalarNode(mark, close, self.source, text, text, broken=True)
        tree: MapNode | SeqNode
        if frame.mapping:
            tree = MapNode(mark, close, self.source, frame.entries, frame.flow, broken=frame.broken)
        else:
            tree = SeqNode(mark, close, self.source, frame.items, frame.flow, broken=frame.broken)
        # Once reading has stopped, the pieces may be cut by that alone.
        if not frame.flow or self._stopped:
            return tree
        mended, found = mend_flow_map(tree) if isinstance(tree, MapNode) else mend_flow_list(tree)
        self.problems.extend(found)
        return mended

    def _attach(self, node: Node) -> None:
        """Put a finished node into the innermost open mapping or list, or make it the root."""
        if not self._stack:
            self.root = node
            return
        frame = self._stack[-1]
        if not frame.mapping:
            frame.items.append(node)
        elif frame.key is None:
            frame.key = self._key(frame, node)
        else:
            if frame.key != "lost":
                frame.entries.append((frame.key, node))
            frame.key = None

    def _key(self, frame: _Frame, node: Node) -> ScalarNode | Literal["lost"]:
        """Check a key; "lost" when it was refused."""
        refusal = self._refusal(node)
        if isinstance(node, ScalarNode) and refusal is None and not node.broken and not frame.braces:
            if node.text not in frame.seen:
                frame.seen[node.text] = node
                return node
            hint = f"the first one is on line {frame.seen[node.text].mark.line}; keep one of them"
            self._at(node, "yaml-duplicate-key", f"the key '{node.text}' is written twice", hint)
            return "lost"
        frame.broken = True
        if refusal is not None and not node.broken and not frame.braces:
            self._at(node, *refusal)
        return "lost"

    def _refusal(self, node: Node) -> _Refusal | None:
        """Why a node cannot be a key: code, message, hint."""
        if not isinstance(node, ScalarNode):
            return "yaml-complex-key", "a key must be a word, not a list or mapping", "quote it if it is text"
        if node.style:
            return None
        if not node.text:
            return "yaml-empty-key", "there is no key before this ':'", "write the key, or quote the text"
        if node.text == "<<":
            return "yaml-merge", "merge keys '<<' are not used", "write the entries out where they are needed"
        if has_wide_quotes(node.text):
            return "yaml-fullwidth", "these are full-width quotes; YAML reads them as text", 'use "..." or nothing'
        return None

    def _scalar(self, event: yaml.ScalarEvent) -> ScalarNode:
        start, stop = self._index(event.start_mark), self._index(event.end_mark)
        if stop > self.reached:
            self.reached = stop
        text, style = str(event.value), event.style or ""
        broken = (event.anchor or event.tag) is not None and self._properties(event.anchor, event.tag, start)
        node = ScalarNode(
            self._mark(event.start_mark), self._mark(event.end_mark), self.source, text, text, style, broken=broken
        )
        self.spans.append((start, stop, style))
        self._last = node
        frame = self._stack[-1] if self._stack else None
        is_key = frame is not None and frame.mapping and frame.key is None
        if not style and not event.tag and not is_key:
            self._resolve(node)
        if style == '"':  # only an escape can bring such characters in
            self._check_escapes(node)
        return node

    def _check_escapes(self, node: ScalarNode) -> None:
        """Refuse characters that no store or channel takes, written as escapes."""
        for place, char in enumerate(node.text):
            if char == "\0" or "\ud800" <= char <= "\udfff":
                line, col = node.locate(place)
                message = f"the character U+{ord(char):04X} cannot be stored or sent"
                index = self.source.line_start(line) + col - 1
                self._say(index, node.at(place).length, "yaml-control", message, "remove the escape")
                return

    def _resolve(self, node: ScalarNode) -> None:
        """Give a plain scalar its value; keys are never resolved, they are names."""
        try:
            node.value = resolve(node.text)
        except NumberTooLong:
            node.broken = True
            self._at(node, "yaml-number", "this number is too long for any field", "quote it if it is text")
        if has_wide_quotes(node.text):
            message = "full-width quotes around a value are part of its text"
            hint = f"use \"...\" for YAML's quotes, or write '{node.text}' to keep them"
            self._at(node, "yaml-fullwidth-quotes", message, hint, "warning")

    def _alias(self, event: yaml.AliasEvent) -> None:
        start, stop = self._index(event.start_mark), self._index(event.end_mark)
        node = ScalarNode(self.source.mark(start), self.source.mark(stop), self.source, None, "", broken=True)
        self._at(node, "yaml-alias", "aliases are not used", "write the value out, or quote it if it begins with '*'")
        self._attach(node)

    def _properties(self, anchor: str | None, tag: str | None, start: int) -> bool:
        """Refuse an anchor or a tag in front of a value; True when there was one."""
        if anchor is not None:
            message = f"the anchor '&{anchor}' is not used"
            self._say(start, len(anchor) + 1, "yaml-anchor", message, "drop it, or quote a value that begins with '&'")
        if tag is not None:
            length = len(self.source.text[start : start + 80].split(maxsplit=1)[0])
            hint = "for 'not' write 'not'; quote a value that begins with '!'"
            self._say(start, length, "yaml-tag", "'!' begins a YAML tag, and tags are not used", hint)
        return anchor is not None or tag is not None

    def _stuck(self, error: yaml.YAMLError) -> None:
        """Report libyaml's own error, unless its cause was told already."""
        since = getattr(error, "context_mark", None)
        stop = getattr(error, "problem_mark", None)
        at = self.reached if stop is None else self._index(stop)
        what = str(getattr(error, "problem", None) or error).replace("not allowed here", "not allowed in this context")
        context = str(getattr(error, "context", None) or "")
        begun = at if since is None else self._index(since)
        opened = next((frame.start for frame in reversed(self._stack) if frame.flow), None)
        trouble = Trouble(self.source, what, context, at, begun, self._last, opened)
        tab = textual.tab_at_fault(self.source, self.spans, at)
        if tab is not None:
            self.problems.append(textual.tab(self.source, tab, 1))
            return
        problem = explain(trouble)
        if not any(told.code == problem.code == "yaml-braces" and told.line == problem.line for told in self.problems):
            self.problems.append(problem)

    def _index(self, mark: _HasIndex | None) -> int:
        if mark is None:
            return 0
        index = mark.index
        return index if index < self._length else self._length

    def _mark(self, mark: _HasIndex | None) -> Mark:
        """libyaml's mark as ours: both count characters, and the breaks that only libyaml knows were replaced."""
        if mark is None or mark.index >= self._length:
            return self.source.mark(self._length)
        return _NEW(Mark, (self.source.file, mark.line + 1, mark.column + 1))

    def _say(self, index: int, length: int, code: str, message: str, hint: str, severity: Severity = "error") -> None:
        mark = self.source.mark(index)
        self.problems.append(Diagnostic(mark.file, mark.line, mark.col, length, severity, code, message, hint))

    def _at(self, node: Node, code: str, message: str, hint: str, severity: Severity = "error") -> None:
        self._say(self.source.index(node.mark), node.length, code, message, hint, severity)
