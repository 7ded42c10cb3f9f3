"""Where in HTML a value stands: only places that escaping makes safe are allowed.

A value may stand in text and in a quoted attribute. An attribute that is an address takes a value only after a literal
beginning (``https://shop.example/?q=``) or as a whole; a whole one is checked when the message is made.

The scan follows the literal text of a template in source order. Branches of ``if`` and the body of ``for`` must end in
the place they began at, so source order is every order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from jinja2 import nodes

from engine.render.problem import Site, TemplateProblem

_ADDRESS = re.compile(r"(?:https?://|mailto:)[^\s\x00-\x1f\x7f<>\"'`\\]+", re.IGNORECASE)
_HOSTED = re.compile(r"(https?:|[/\\]{2})", re.IGNORECASE)
_HOST = re.compile(r"(https?:)?//[^/?#\\@]+[/?#]", re.IGNORECASE)
_SCHEMES = ("http", "https", "mailto", "tel")
_URL = frozenset(
    {"href", "src", "action", "formaction", "background", "poster", "cite", "longdesc", "data", "xlink:href"}
)
_NEVER = frozenset(
    {"style", "srcdoc", "srcset", "ping", "archive", "codebase", "http-equiv", "is", "nonce"}
    | {"values", "to", "from", "by"}  # of <animate> and <set>, which can write other attributes
)
_RAW = frozenset({"script", "style", "xmp", "iframe", "noembed", "noframes", "noscript", "plaintext", "template"})
_CODE = "template-html"


def is_web_address(text: str) -> bool:
    """True for an http, https or mailto address without blanks, quotes or control characters."""
    return _ADDRESS.fullmatch(text) is not None


@dataclass(frozen=True)
class _Place:
    """A place in HTML."""

    mode: str = "text"  #: text, name (of a tag), tag (between attributes), attr, equals, value, bare, comment, raw
    tag: str = ""
    attr: str = ""
    quote: str = ""
    begun: str = ""  #: literal beginning of an address still without scheme
    settled: bool = False  #: scheme and host of the address are known
    fault: str = ""  #: what is wrong with the beginning of the address

    @property
    def address(self) -> bool:
        return self.attr in _URL


def scan(tree: nodes.Template, site: Site) -> tuple[frozenset[int], list[TemplateProblem]]:
    """Ids of the printed nodes that are whole addresses, and the values that stand where they may not."""
    scanner = _Scanner(site)
    end = scanner.body(tree.body, _Place())
    if end.mode != "text" and not scanner.problems:
        last = site.source.count("\n") + 1
        scanner.problems.append(site.problem(_CODE, last, "the HTML ends inside a tag, comment or script"))
    return frozenset(scanner.urls), scanner.problems


class _Scanner:
    def __init__(self, site: Site) -> None:
        self.site = site
        self.urls: set[int] = set()
        self.problems: list[TemplateProblem] = []

    def refuse(self, line: int, message: str, hint: str = "") -> None:
        self.problems.append(self.site.problem(_CODE, line, message, hint))

    def body(self, body: list[nodes.Node], place: _Place) -> _Place:
        """Follow statements from a place; gives the place after them."""
        for node in body:
            if isinstance(node, nodes.Output):
                place = self.output(node, place)
            elif isinstance(node, nodes.If):
                place = self.branches([node.body, *(part.body for part in node.elif_), node.else_], place, node.lineno)
            elif isinstance(node, nodes.For):
                place = self.branches([node.body, node.else_], place, node.lineno)
        return place

    def branches(self, bodies: list[list[nodes.Node]], place: _Place, line: int) -> _Place:
        """Each branch must end where it began: in the same tag, attribute and address."""
        for body in bodies:
            after = self.body(body, place)
            if after != place:
                self.refuse(line, "a branch or loop leaves the HTML in another place than it found it",
                            "close in the branch what is opened in it")  # fmt: skip
                break
        return place

    def output(self, node: nodes.Output, place: _Place) -> _Place:
        for child in node.nodes:
            place = _text(child.data, place) if isinstance(child, nodes.TemplateData) else self.value(child, place)
            if place.fault:
                self.refuse(child.lineno, place.fault, "begin the address with https:// and a host, then /")
                place = replace(place, fault="")
        return place

    def value(self, child: nodes.Node, place: _Place) -> _Place:
        """A printed value at a place."""
        if place.mode == "text":
            return place
        if place.mode != "value":
            where = {"raw": f"<{place.tag}>", "comment": "a comment"}.get(place.mode, "a tag, outside of quotes")
            self.refuse(child.lineno, f"a value stands in {where}", "put it into text or a quoted attribute")
            return replace(place, mode="value", quote='"') if place.mode == "equals" else place
        if place.attr in _NEVER or place.attr.startswith("on") or (place.tag, place.attr) == ("meta", "content"):
            self.refuse(child.lineno, f"a value stands in the attribute {place.attr!r}", "put it into text")
        elif place.address and not place.settled:
            if place.begun:
                return replace(place, settled=True, fault="a value continues an address without a scheme")
            self.urls.add(id(child))
            return replace(place, settled=True)
        return place


def _text(text: str, place: _Place) -> _Place:
    """Follow literal HTML from a place."""
    at = 0
    while at < len(text):
        at, place = _STEPS[place.mode](text, at, place)
    return place


def _in_text(text: str, at: int, place: _Place) -> tuple[int, _Place]:
    found = text.find("<", at)
    if found < 0 or found + 1 == len(text):
        # a '<' as the very last character would make a tag of the value that follows it
        return len(text), _Place("name") if found >= 0 else place
    if text.startswith("<!--", found):
        return found + 4, _Place("comment")
    if text[found + 1].isalpha() or text[found + 1] in "/!?":
        return found + 1, _Place("name")
    return found + 1, place


def _in_name(text: str, at: int, place: _Place) -> tuple[int, _Place]:
    end = _until(text, at, " \t\n\r\f/>") if at < len(text) and text[at] != "/" else at + 1
    tag = place.tag + text[at:end].lower()
    if end == len(text) or tag == "/":
        return end, replace(place, tag=tag)
    return end, _Place("tag", tag)


def _in_tag(text: str, at: int, place: _Place) -> tuple[int, _Place]:
    if text[at] == ">":
        return at + 1, _Place("raw", place.tag) if place.tag in _RAW else _Place()
    if text[at] in " \t\n\r\f/":
        return at + 1, place
    return at, _Place("attr", place.tag)


def _in_attr(text: str, at: int, place: _Place) -> tuple[int, _Place]:
    end = _until(text, at, " \t\n\r\f/>=")
    attr = place.attr + text[at:end].lower()
    if end == len(text):
        return end, replace(place, attr=attr)
    if text[end] == "=":
        return end + 1, _Place("equals", place.tag, attr)
    rest = text[end:].lstrip(" \t\n\r\f")
    if rest.startswith("="):
        return len(text) - len(rest) + 1, _Place("equals", place.tag, attr)
    return end, _Place("tag", place.tag)


def _in_equals(text: str, at: int, place: _Place) -> tuple[int, _Place]:
    if text[at] in " \t\n\r\f":
        return at + 1, place
    if text[at] in "\"'":
        return at + 1, replace(place, mode="value", quote=text[at])
    return at, replace(place, mode="tag" if text[at] == ">" else "bare")


def _in_bare(text: str, at: int, place: _Place) -> tuple[int, _Place]:
    end = _until(text, at, " \t\n\r\f>")
    return end, place if end == len(text) else _Place("tag", place.tag)


def _in_value(text: str, at: int, place: _Place) -> tuple[int, _Place]:
    end = text.find(place.quote, at)
    if end >= 0:
        return end + 1, _Place("tag", place.tag)
    # the text ends inside the attribute: a value or a branch follows
    return len(text), _settle(place, text[at:]) if place.address and not place.settled else place


def _settle(place: _Place, piece: str) -> _Place:
    begun = (place.begun + piece).lstrip()
    mark = re.search(r"[:/?#]", begun)
    if mark is None:
        return replace(place, begun=begun)
    fault = ""
    if mark[0] == ":" and begun[: mark.start()].lower() not in _SCHEMES:
        fault = f"the address begins with {begun[: mark.start() + 1][:40]!r}"
    elif _HOSTED.match(begun) and not _HOST.match(begun):
        fault = "a value would name the host of the address"
    return replace(place, begun="", settled=True, fault=fault)


def _in_comment(text: str, at: int, place: _Place) -> tuple[int, _Place]:
    end = text.find("-->", at)
    return (len(text), place) if end < 0 else (end + 3, _Place())


def _in_raw(text: str, at: int, place: _Place) -> tuple[int, _Place]:
    end = re.compile(rf"</{re.escape(place.tag)}[\s/>]", re.IGNORECASE).search(text, at)
    return (len(text), place) if end is None else (end.start() + 1, _Place("name"))


def _until(text: str, at: int, stops: str) -> int:
    return next((i for i in range(at, len(text)) if text[i] in stops), len(text))


_STEPS = {
    "text": _in_text,
    "name": _in_name,
    "tag": _in_tag,
    "attr": _in_attr,
    "equals": _in_equals,
    "value": _in_value,
    "bare": _in_bare,
    "comment": _in_comment,
    "raw": _in_raw,
}
