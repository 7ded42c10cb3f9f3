"""One piece of template text (a body, a subject), parsed, checked, hardened and compiled once, rendered often."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from datetime import tzinfo
from functools import cache
from itertools import islice
from threading import Lock
from types import TracebackType
from typing import Any, cast

from jinja2 import Template as JinjaTemplate
from jinja2 import nodes
from jinja2.exceptions import TemplateSyntaxError

from engine.errors import DrumbeatError, RenderError, TemplateLimit
from engine.render.check import ROOTS, check
from engine.render.filters import FILTERS
from engine.render.harden import harden
from engine.render.htmlscan import scan
from engine.render.looks import EVERYTHING, Parts, Reads, parts, put_together, reads
from engine.render.operations import OPERATIONS, TESTS
from engine.render.problem import Site, TemplateProblem
from engine.render.sandbox import Metered, Sandbox

MAX_OUTPUT = 256 * 1024
"""Bytes of one rendered piece."""
_AT_ONCE = 32  # pieces of the text between two looks at its length
_SAFE_DEPTH = 12
_SAFE_LENGTH = 4096
_COMPILING = Lock()


@cache
def sandbox(html: bool) -> Sandbox:
    """The one environment for text, and the one for HTML (which escapes every value)."""
    made = Sandbox(html=html)
    made.filters.update(OPERATIONS)
    made.filters.update({name: entry.apply for name, entry in FILTERS.items()})
    made.tests.update(TESTS)
    return made


class Piece:
    """A compiled piece of template text."""

    __slots__ = ("_addresses", "_env", "_fixed", "_jinja", "_parts", "_plain", "_reads", "_root", "_site", "_tree")

    def __init__(
        self, env: Sandbox, tree: nodes.Template, addresses: frozenset[int], site: Site, plain: str = "!out"
    ) -> None:
        self._env = env
        self._plain = plain  #: the operation that prints a value
        self._tree: nodes.Template | None = tree  #: checked; compiled (and dropped) when it is rendered first
        self._addresses = addresses
        self._jinja: JinjaTemplate | None = None
        self._root: Callable[[Any], Iterator[str]] | None = None
        self._site = site
        self._fixed = _fixed(tree)  #: the text itself, when nothing in it changes
        self._reads: Reads | None = None  #: found out by ``look``
        self._parts: Parts | None = None  #: of a plain text that was looked at

    def render(self, values: Mapping[str, Any], zone: tzinfo | None = None) -> str:
        """The text; raises MissingVariable, TemplateLimit or RenderError with the file and line, and nothing else."""
        if self._fixed is not None:
            return self._fixed
        if self._parts is not None and (text := put_together(self._parts, values, MAX_OUTPUT)) is not None:
            return text
        try:
            context = Metered(self._env, cast("dict[str, Any]", values), None, {})
            context.zone = zone
            return self._collect(context)
        except DrumbeatError as error:
            error.where = error.where or self._place(error.__traceback__)
            raise
        except Exception as error:
            # the words of a foreign error may quote a value, and values are personal: only its kind is told
            sort, where = type(error).__name__, self._place(error.__traceback__)
        raise RenderError(f"a value does not fit the template: {sort}", hint="drumbeat preview shows it", where=where)

    def _collect(self, context: Metered) -> str:
        parts: list[str] = []
        size = 0
        pieces = (self._root or self.compile())(context)
        while some := list(islice(pieces, _AT_ONCE)):
            size += sum(map(len, some))
            if size > MAX_OUTPUT:
                raise TemplateLimit(f"the text is longer than {MAX_OUTPUT} bytes")
            parts += some
        text = "".join(parts)
        # encoding also finds half characters (lone surrogates), which no channel and no store can carry
        if not text.isascii() and len(text.encode()) > MAX_OUTPUT:
            raise TemplateLimit(f"the text is longer than {MAX_OUTPUT} bytes")
        if "\0" in text:
            raise RenderError("the text would hold a NUL character")
        return text

    def look(self) -> Reads:
        """What it looks at; found out once, and a text that only prints fields needs no compiling from then on."""
        if self._reads is None:
            with _COMPILING:
                if self._tree is None:
                    self._reads = EVERYTHING  # compiled at load, because it is large
                else:
                    self._parts = None if self._env.autoescape or self._plain != "!out" else parts(self._tree)
                    self._reads = reads(self._tree)
        return self._reads

    def compile(self) -> Callable[[Any], Iterator[str]]:
        """The compiled function, made once; raises whatever Jinja2 or Python raise when it cannot be compiled."""
        with _COMPILING:  # the tree is rewritten on the way, so two threads must not meet in it
            if self._root is None:
                assert self._tree is not None  # noqa: S101  # dropped only below, with a function in its place
                # Jinja2 looks names up in the file name of the code to report lines; one of our own keeps pieces apart
                tree = harden(self._tree, self._env, self._addresses, self._plain)
                code = self._env.compile(tree, None, f"<{self._site.file}+{self._site.above}>")
                self._jinja = JinjaTemplate.from_code(self._env, code, {}, None)
                self._root, self._tree = self._jinja.root_render_func, None
            return self._root

    def _place(self, trace: TracebackType | None) -> str:
        """``file:line`` of the template line being rendered when the error rose."""
        line = 1
        code = None if self._root is None else self._root.__code__
        while trace is not None and code is not None and self._jinja is not None:
            if trace.tb_frame.f_code.co_filename == code.co_filename:
                line = self._jinja.get_corresponding_lineno(trace.tb_lineno)
            trace = trace.tb_next
        return f"{self._site.file}:{self._site.above + line}"


def parse(
    site: Site, *, html: bool = False, roots: frozenset[str] = ROOTS
) -> tuple[nodes.Template | None, list[TemplateProblem], int]:
    """The parsed text, or its problems, and how deep it nests. Nothing of it has run or been compiled yet."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "\d" in a text stays "\d"; Python would warn about it
            tree = sandbox(html).parse(site.source)
        return tree, *check(tree, site, roots)
    except TemplateSyntaxError as error:
        return None, [site.problem("template-syntax", error.lineno or 1, error.message or "cannot be parsed")], 0
    except RecursionError:
        return None, [site.problem("template-depth", 1, "the template nests too deep")], 0
    except Exception as error:
        return None, [site.problem("template-syntax", 1, f"cannot be parsed: {type(error).__name__}")], 0


def compile_piece(
    tree: nodes.Template, site: Site, depth: int, *, html: bool = False, link: bool = False
) -> tuple[Piece | None, list[TemplateProblem]]:
    """A piece from a checked tree (which is changed by it), or why not; of a ``link`` all values are encoded.

    Most templates are checked far more often than rendered, so they are compiled at their first rendering. One that is
    large or nests deep, so that Python might refuse it, is compiled at once: what is wrong is said at load.
    """
    addresses: frozenset[int] = frozenset()
    if html:
        addresses, problems = scan(tree, site)
        if problems:
            return None, problems
    piece = Piece(sandbox(html), tree, addresses, site, "!part" if link else "!out")
    if depth > _SAFE_DEPTH or len(site.source) > _SAFE_LENGTH:
        try:
            piece.compile()
        except Exception as error:
            return None, [site.problem("template-syntax", 1, f"cannot be compiled: {type(error).__name__}")]
    return piece, []


def _fixed(tree: nodes.Template) -> str | None:
    """The whole text of a piece without any expression or statement."""
    parts: list[str] = []
    for node in tree.body:
        if not isinstance(node, nodes.Output):
            return None
        for child in node.nodes:
            if not isinstance(child, nodes.TemplateData):
                return None
            parts.append(child.data)
    return "".join(parts)
