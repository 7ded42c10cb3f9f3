"""Settings of channels with values in them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from urllib.parse import quote

import pytest

from engine.errors import MissingVariable, RenderError
from engine.render import Setting, SettingFault
from engine.site import Secret

NAMES = frozenset({"to", "text", "detail"})


def setting(text: str) -> Setting:
    return Setting(text, NAMES, lambda reference: Secret({"${A}": "s3cr3t {{ to }}", "${file:b}": "b"}[reference]))


def test_parts() -> None:
    """Values are quoted, what is written and what is secret is not; a secret is never read as a template."""
    made = setting("x={{ to }}&y=${A}&z=${file:b}{{ text|upper }}")
    assert made.fill({"to": "a&b", "text": "é"}, quote) == "x=a%26b&y=s3cr3t {{ to }}&z=b%C3%89"
    assert made.head() == "x="
    assert not made.fixed
    assert len(made.secrets()) == 2
    assert "s3cr3t" not in repr(made.parts)


@pytest.mark.parametrize("value", ["{{ to }}", "{% raw %}", "${A}", "{#", "<b>&\"'", "", "a\nb"])
def test_values_are_text(value: str) -> None:
    """What a message gives appears as it is, never as source and never as the name of a secret.

    Threat: template.data — settings of channels
    """
    assert setting("[{{ text }}]").fill({"text": value}) == f"[{value}]"


@pytest.mark.parametrize("value", [7, Decimal("1.50"), [1, {"a": None}], {"a": "b"}, "text", True, ""])
def test_one_name_keeps_its_kind(value: Any) -> None:
    """A setting that is one name and nothing else gives the value itself."""
    assert setting("{{ detail.x }}").value({"detail": {"x": value}}) is value
    assert setting("{{ detail['x'] }}").value({"detail": {"x": value}}) is value


def test_missing() -> None:
    """What is missing is told, whatever stands around it."""
    for text in ("{{ detail.x }}", "a {{ detail.x }}", "{{ detail.x|upper }}"):
        with pytest.raises(MissingVariable):
            setting(text).value({"detail": {}})
    with pytest.raises(RenderError):
        setting("a {{ detail }}").value({"detail": {}})
    assert setting("{{ detail.x|default('-') }}").value({"detail": {}}) == "-"


@pytest.mark.parametrize(
    "text",
    [
        "{% if to %}a{% endif %}", "{% set x = 1 %}", "{{ nope }}", "{{ to", "{{ }}", "{{ to.__class__ }}",
        "{{ to() }}", "{{ '${A}' }}", "{{ lipsum(9) }}", "{{ 'a' * 9 }}", "{% include 'x' %}", "{{ to|nope }}",
    ],
)  # fmt: skip
def test_refused(text: str) -> None:
    """Statements, unknown names, calls and attributes are refused when the setting is read.

    Threat: template.escape — settings of channels
    """
    with pytest.raises(SettingFault):
        setting(text)
