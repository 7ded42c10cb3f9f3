"""A template: one file, compiled once, rendered for each message."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import tzinfo
from hashlib import sha256
from typing import Any

import msgspec
from jinja2 import nodes

from engine.errors import RenderError
from engine.registry import nearest
from engine.render.check import ROOTS
from engine.render.compiled import Piece, compile_piece, parse
from engine.render.front import FrontValue, split
from engine.render.looks import Reads, reads, together
from engine.render.names import FileName
from engine.render.needs import needs, steps_read
from engine.render.problem import Site, TemplateProblem

_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


LINK = "link_"
"""How keys of the front matter begin that hold the target of a link."""

NO_TARGETS: Mapping[str, FrontValue] = {}


class Message(msgspec.Struct, frozen=True, gc=False):
    """A rendered message: byte for byte what is sent."""

    text: str
    subject: str | None = None
    fields: dict[str, str] = {}  #: the other front matter: title, buttons ...
    html: bool = False  #: ``text`` is HTML


class Template:
    """A compiled template; a plain value, safe to share between threads."""

    __slots__ = (
        "_body", "_fields", "_links", "_needs", "_reads", "channel", "digest", "file", "html", "linked", "locale",
        "name", "source", "steps", "targets_written",
    )  # fmt: skip

    def __init__(
        self,
        file: str,
        parts: FileName,
        *,
        digest: str,
        html: bool,
        body: Piece,
        fields: dict[str, tuple[Piece, str]],
        needed: frozenset[str],
        steps: frozenset[str] = frozenset(),
        source: str = "",
        links: dict[str, tuple[Piece, str]] | None = None,
        targets_written: Mapping[str, FrontValue] = NO_TARGETS,
    ) -> None:
        self.file = file  #: as seen from the program's folder
        self.name = parts.name  #: with its folders: ``welcome/hello``
        self.channel = parts.channel
        self.locale = parts.locale  #: None for the last of the chain
        self.digest = digest  #: sha256 over ``source``, hex
        self.html = html
        self._body = body
        self._fields = fields
        self._links = links  #: the targets it prints links to, by name; None: it prints no links
        self.linked = links is not None  #: does it look at ``links``?
        self.targets_written = targets_written  #: the targets of its front matter, as written
        self._needs = needed
        self._reads: Reads | None = None
        self.steps = steps  #: ids of the steps whose results it reads; "*": maybe any
        self.source = source  #: the file as text; line ends and byte order mark are not kept, they mean nothing

    def __repr__(self) -> str:
        return f"<Template {self.file}>"

    def render(self, context: Mapping[str, Any], *, zone: tzinfo | None = None) -> Message:
        """The message for one subject.

        Raises MissingVariable when a printed value is null, TemplateLimit at a limit of the sandbox and RenderError for
        everything else that is wrong, each with ``file:line`` in ``where``; never any other error. Instants are shown
        in ``zone``, by default that of the user, the group or ``now``.
        """
        text = self._body.render(context, zone)
        if not self._fields:
            return Message(text, html=self.html)
        fields: dict[str, str] = {}
        for key, (piece, where) in self._fields.items():
            fields[key] = _one_line(key, piece.render(context, zone), where)
        return Message(text, fields.pop("subject", None), fields, self.html)

    def targets(self, context: Mapping[str, Any], *, zone: tzinfo | None = None) -> dict[str, tuple[str, str]]:
        """(address, file:line) of each target it prints a link to, by name. Values are encoded.

        Raises as ``render``.
        """
        found = {}
        for name, (piece, where) in (self._links or {}).items():
            found[name] = (_one_line(LINK + name, piece.render(context, zone), where), where)
        return found

    @property
    def reads(self) -> Reads:
        """What it looks at; a context needs no more."""
        if self._reads is None:
            more = [*self._fields.values(), *(self._links or {}).values()]
            self._reads = together([self._body.look(), *(piece.look() for piece, _ in more)])
        return self._reads

    def variables(self) -> frozenset[str]:
        """Dotted paths (``user.name``) that must have a value: printed outside ``|default`` and unguarded by ``if``."""
        return self._needs


def _one_line(key: str, text: str, where: str) -> str:
    """A header or title is one line: what could begin another header is refused, not mended."""
    if _UNSAFE.search(text):
        raise RenderError(f"{key!r} would hold a line break or control character", where=where)
    return text


def read_template(file: str, parts: FileName, data: bytes) -> tuple[Template | None, list[TemplateProblem]]:
    """A template from the bytes of its file, or its problems."""
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return None, [TemplateProblem(file, line, None, "template-encoding", "not UTF-8", "save the file as UTF-8")]
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        return None, [TemplateProblem(file, line, None, "template-encoding", "a NUL character in the text")]
    front, problems = split(file, text, parts.channel)
    if front is None:
        return None, problems
    body = Site(file, front.body_above, front.body)
    return _build(file, parts, front.html, body, front.values, text)


def _build(
    file: str, parts: FileName, html: bool, body: Site, values: Mapping[str, FrontValue], source: str
) -> tuple[Template | None, list[TemplateProblem]]:
    sites = {"": body, **{key: Site(file, value.line - 1, value.text, False) for key, value in values.items()}}
    problems: list[TemplateProblem] = []
    trees: dict[str, nodes.Template] = {}
    depths: dict[str, int] = {}
    for key, site in sites.items():
        roots = ROOTS - {"links"} if key.startswith(LINK) else ROOTS  # a link leads to no other link
        tree, found, depths[key] = parse(site, html=html and not key, roots=roots)
        problems += found
        if tree is not None:
            trees[key] = tree
    if problems:
        return None, problems
    used = _links_used(trees) if "links" in source else None
    problems += _unwritten(used or {}, sites, values)
    if problems:
        return None, problems
    # compiling changes the trees
    needed = needs(trees.values())
    steps = steps_read(trees.values()) if "steps" in source else frozenset[str]()
    pieces: dict[str, Piece] = {}
    for key, tree in trees.items():
        piece, found = compile_piece(tree, sites[key], depths[key], html=html and not key, link=key.startswith(LINK))
        problems += found
        if piece is not None:
            pieces[key] = piece
    if problems:
        return None, problems
    main = pieces.pop("")
    fields = {key: (piece, f"{file}:{values[key].line}") for key, piece in pieces.items()}
    targets = {key.removeprefix(LINK): fields.pop(key) for key in pieces if key.startswith(LINK)}
    links = None if used is None else {name: it for name, it in targets.items() if name in used}
    digest = sha256(source.encode()).hexdigest()
    template = Template(
        file, parts, digest=digest, html=html, body=main, fields=fields, needed=needed, steps=steps, source=source,
        links=links, targets_written={name: values[LINK + name] for name in targets},
    )  # fmt: skip
    return template, []


def _links_used(trees: Mapping[str, nodes.Template]) -> dict[str | None, str] | None:
    """Names of the links each piece prints -> the piece; None for a name that cannot be told; None: no piece does."""
    found: dict[str | None, str] = {}
    for key, tree in trees.items():
        read = reads(tree)
        if "links" in read:
            names: Any = read["links"]
            found |= dict.fromkeys([None] if names is None else sorted(names), key)
    return found or None


def _unwritten(
    used: Mapping[str | None, str], sites: Mapping[str, Site], values: Mapping[str, FrontValue]
) -> list[TemplateProblem]:
    """A fault for each link that no target was written for."""
    known = ["unsubscribe", *(key.removeprefix(LINK) for key in values if key.startswith(LINK))]
    problems = []
    for name, key in used.items():
        if name in known:
            continue
        if name is None:
            message, hint = "a link is looked up by its name", "{{ links.unsubscribe }}"
        else:
            near = nearest(name, known)
            message = f"the template has no link {name!r}"
            hint = f"did you mean {near!r}?" if near else f'front matter: {LINK}{name}: "https://..."'
        site = sites[key]
        line = next((n for n, text in enumerate(site.source.split("\n"), 1) if f"links.{name or ''}" in text), 1)
        problems.append(site.problem("template-links", line, message, hint, f"links.{name or ''}"))
    return problems
