"""Random templates and random data: only Drumbeat's own errors, and an end."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import RenderError
from engine.render.names import FileName
from engine.render.template import read_template

WORDS = [
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    "#}",
    "{%-",
    "-%}",
    "---",
    "if",
    "elif",
    "else",
    "endif",
    "for",
    "in",
    "endfor",
    "set",
    "raw",
    "endraw",
    "user",
    "with",
    "event",
    "steps",
    "vars",
    "now",
    "today",
    "loop",
    "x",
    "y",
    ".",
    "[",
    "]",
    "(",
    ")",
    "{",
    "}",
    ",",
    ":",
    "|",
    "~",
    "+",
    "-",
    "*",
    "/",
    "//",
    "**",
    "%",
    "==",
    "!=",
    "<",
    ">",
    "<=",
    ">=",
    "is",
    "not",
    "and",
    "or",
    "none",
    "true",
    "false",
    "defined",
    "upper",
    "lower",
    "length",
    "default",
    "round",
    "int",
    "float",
    "first",
    "last",
    "join",
    "abs",
    "trim",
    "title",
    "replace",
    "truncate",
    "date",
    "money",
    "0",
    "1",
    "2.5",
    "1e9",
    "'a'",
    '"b"',
    "'%Y'",
    "name",
    "items",
    "__class__",
    "get",
    "format",
    "self",
    "range",
    "\n",
    "<a",
    'href="',
    '">',
    "<",
    ">",
    "<!--",
    "-->",
    "你",
    "\\",
    "\x00",
    "\r",
    "recursive",
    "include",
    "macro",
    "block",
    "import",
    "=",
    "subject:",
    "format:",
    "html",
    "&a",
    "*a",
    "!!str",
]
tokens = st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join) | st.lists(
    st.sampled_from(WORDS), max_size=40
).map("".join)
expressions = st.recursive(
    st.sampled_from(
        [
            "user",
            "user.a",
            "user.b.c",
            "with.l",
            "vars['t']",
            "now",
            "today",
            "none",
            "1",
            "2.5",
            "'s'",
            "[]",
            "true",
            "event.n",
        ]
    ),
    lambda inner: st.one_of(
        st.tuples(
            inner,
            st.sampled_from(["+", "-", "*", "/", "//", "~", "==", "!=", "<", ">", "<=", ">=", "in", "and", "or"]),
            inner,
        ).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(
            inner,
            st.sampled_from(
                [
                    "upper",
                    "length",
                    "default",
                    "round",
                    "int",
                    "float",
                    "first",
                    "last",
                    "join",
                    "abs",
                    "trim",
                    "title",
                    "date",
                    "money",
                ]
            ),
        ).map("|".join),
        st.tuples(inner, inner).map(lambda t: f"{t[0]}[{t[1]}]"),
        st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} if {t[1]} else {t[2]})"),
        st.lists(inner, max_size=3).map(lambda t: f"[{', '.join(t)}]"),
    ),
    max_leaves=8,
)
statements = st.one_of(
    expressions.map(lambda e: f"{{{{ {e} }}}}"),
    st.tuples(expressions, expressions).map(lambda t: f"{{% if {t[0]} %}}{{{{ {t[1]} }}}}{{% endif %}}"),
    st.tuples(expressions, expressions).map(
        lambda t: f"{{% for x in {t[0]} %}}{{{{ x }}}}{{{{ {t[1]} }}}}{{% endfor %}}"
    ),
    st.tuples(expressions, expressions).map(lambda t: f"{{% set x = {t[0]} %}}{{{{ x ~ {t[1]} }}}}"),
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals()
    | st.text(max_size=20)
    | st.datetimes()
    | st.datetimes(timezones=st.just(UTC))
    | st.dates(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", "c", "l", "t", "n"]), inner),
    max_leaves=10,
)
FIXED = {
    "user": {"a": "text", "b": {"c": Decimal("1.5")}, "zone": "Asia/Shanghai"},
    "with": {"l": [1, "a", None, {"a": 1}]},
    "vars": {"t": "x"},
    "event": {"n": 3},
    "now": datetime(2026, 1, 1, tzinfo=UTC),
    "today": date(2026, 1, 1),
}


def attempt(text, context, channel="email"):
    """Load and render; whatever is wrong is a problem or a RenderError, within a second."""
    begun = time.process_time()
    template, problems = read_template("t", FileName("t", channel, None), text.encode("utf-8", "surrogatepass"))
    assert (template is None) == bool(problems)
    if template is not None:
        template.variables()
        _render(template, context)
    assert time.process_time() - begun < 1
    return template


def _render(template, context):
    try:
        message = template.render(context)
    except RenderError as error:
        place = error.where
    else:
        place = "none needed"
        assert isinstance(message.text, str)
    assert place


@settings(max_examples=600, deadline=None)
@given(st.text(max_size=200) | tokens | tokens.map(lambda t: "---\nformat: html\n---\n" + t))
def test_any_text(text):
    """Random text of the language's own words."""
    attempt(text, FIXED)


@settings(max_examples=600, deadline=None)
@given(st.lists(statements, max_size=4).map("".join), st.dictionaries(st.sampled_from(sorted(FIXED)), values))
def test_any_data(text, context):
    """Well-formed templates over any data."""
    attempt(text, context)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes(data):
    """Any bytes in a file."""
    template, problems = read_template("t", FileName("t", "sms", None), data)
    assert (template is None) == bool(problems)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=50))
def test_text_goes_through_unchanged(value):
    """Any text that is UTF-8 without NUL arrives letter for letter; any other stops the message."""
    template, _ = read_template("t", FileName("t", "sms", None), b"[{{ user.x }}]")
    assert template is not None
    fits = "\0" not in value and value == value.encode("utf-8", "replace").decode()
    if fits:
        assert template.render({"user": {"x": value}}).text == f"[{value}]"
    else:
        with pytest.raises(RenderError):
            template.render({"user": {"x": value}})
