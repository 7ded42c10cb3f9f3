"""What a template looks at, and the plain texts that are put together without Jinja2."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from engine.errors import DrumbeatError
from engine.render.compiled import MAX_OUTPUT
from engine.render.template import Template

PLAIN = "Hello {{ user.name }}, {{ event.amount }} in {{ event['city'] }}."
NAIVE = datetime(2025, 3, 1)  # noqa: DTZ001 - what a template must refuse
VALUES: list[Any] = [
    "Lyon", "李雷", "", "a\0b", "\ud800", "x" * MAX_OUTPUT, "€" * (MAX_OUTPUT // 3), 0, -7, 10**39, 10**40, True, None,
    1.5, float("nan"), Decimal("12.50"), Decimal("1E+3"), Decimal("1E+50"), Decimal("-0.00"), Decimal("NaN"),
    date(2025, 3, 1), datetime(2025, 3, 1, tzinfo=UTC), NAIVE, ["a"], {"a": 1},
]  # fmt: skip


def outcome(template: Template, context: dict[str, Any]) -> tuple[Any, ...]:
    try:
        return "said", template.render(context).text
    except DrumbeatError as error:
        return type(error), str(error), error.where


@pytest.mark.parametrize("value", VALUES, ids=lambda it: ascii(it)[:20])
@pytest.mark.parametrize("field", ["user.name", "event.amount"])
def test_a_plain_text_is_what_jinja_makes_of_it(read: Callable[..., Any], field: str, value: Any) -> None:
    """A text that was looked at says the same, and fails with the same words, as one that was not."""
    root, name = field.split(".")
    context = {"user": {"name": "Ann"}, "event": {"amount": 3, "city": "Oslo"}}
    context[root][name] = value
    looked_at, plain = read(PLAIN)[0], read(PLAIN)[0]
    assert looked_at.reads == {"user": {"name"}, "event": {"amount", "city"}}
    assert outcome(looked_at, context) == outcome(plain, context)


@pytest.mark.parametrize("context", [{}, {"user": None, "event": None}, {"user": {}, "event": {}}, {"user": 3}])
def test_what_is_not_there_is_told_as_ever(read: Callable[..., Any], context: dict[str, Any]) -> None:
    """A missing root or field of a plain text is told with file and line, as Jinja2's way tells it."""
    looked_at, plain = read(PLAIN)[0], read(PLAIN)[0]
    assert looked_at.reads
    found = outcome(looked_at, context)
    assert found[0] != "said"
    assert found == outcome(plain, context)


@pytest.mark.parametrize(
    ("text", "reads"),
    [
        ("nothing", {}),
        ("{{ user.name }}{{ user.name|upper }}{% if user.city %}x{% endif %}", {"user": {"name", "city"}}),
        ("{{ user['name'] }}{{ user.get('city')|default('') }}", {"user": {"name", "city"}}),
        ("{{ user.address.city }}", {"user": {"address"}}),
        ("{{ steps[with.step].code }}", {"steps": None, "with": {"step"}}),
        ("{% set u = user %}{{ u.name }}", {"user": None}),
        ("{{ event.city }}{% for one in event %}{{ one }}{% endfor %}", {"event": None}),
        ("{{ now|date('%Y') }}", {"now": None}),
    ],
)
def test_what_a_template_looks_at(read: Callable[..., Any], text: str, reads: dict[str, Any]) -> None:
    """Fields looked up by a fixed name are told; where anything else is done with a root, maybe any."""
    assert read(text)[0].reads == reads


def test_front_matter_counts(read: Callable[..., Any]) -> None:
    """What a subject line looks at is looked at too."""
    template = read('---\nsubject: "{{ user.name }}"\n---\n{{ user.city }}', "email")[0]
    assert template.reads == {"user": {"name", "city"}}


def test_html_is_escaped_after_it_was_looked_at(read: Callable[..., Any]) -> None:
    """A plain text of HTML is no plain text: its values are escaped."""
    template = read("---\nformat: html\n---\n<p>{{ user.name }}</p>", "email")[0]
    assert template.reads == {"user": {"name"}}
    assert template.render({"user": {"name": "<b>"}}).text == "<p>&lt;b&gt;</p>"
