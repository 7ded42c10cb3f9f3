"""Ways to make a template from text, shared by the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from engine.render.names import FileName
from engine.render.problem import TemplateProblem
from engine.render.template import Message, Template, read_template

Read = Callable[..., tuple[Template | None, list[TemplateProblem]]]


@pytest.fixture(scope="session")
def read() -> Read:
    """Text -> (template or None, problems)."""

    def make(text: str, channel: str = "sms") -> tuple[Template | None, list[TemplateProblem]]:
        file = f"templates/t.{channel}.j2"
        return read_template(file, FileName("t", channel, None), text.encode("utf-8", "surrogatepass"))

    return make


@pytest.fixture(scope="session")
def codes(read: Read) -> Callable[..., list[str]]:
    """Text -> codes of its problems."""
    return lambda text, channel="sms": [problem.code for problem in read(text, channel)[1]]


@pytest.fixture(scope="session")
def render(read: Read) -> Callable[..., Message]:
    """Text and context -> message; the template must load."""

    def make(text: str, context: Mapping[str, Any] | None = None, channel: str = "sms") -> Message:
        template, problems = read(text, channel)
        assert template is not None, problems
        return template.render(context if context is not None else {})

    return make


@pytest.fixture
def world() -> dict[str, Any]:
    """A context as a message meets it."""
    return {
        "user": {
            "id": "u1",
            "name": "李雷",
            "city": None,
            "age": 30,
            "vip": True,
            "zone": "Asia/Shanghai",
            "tags": ["tea", "new"],
            "items": "an item called items",
            "balance": Decimal("1E+3"),
            "born": date(1990, 2, 3),
            "birthday": "1990-02-03",
        },
        "event": {"amount": Decimal("19.9"), "lines": [{"sku": "a", "n": 2}, {"sku": "b", "n": 1}], "time": None},
        "steps": {"gift": {"code": "AB12"}, "skipped": None},
        "with": {"coupon": {"code": "C-1", "off": 20}, "zero": 0, "empty": "", "none": [], "table": {"gold": "金"}},
        "vars": {"limit": 3},
        "now": datetime(2026, 11, 10, 17, 5, tzinfo=UTC),
        "today": date(2026, 11, 11),
    }
