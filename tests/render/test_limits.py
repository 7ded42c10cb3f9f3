"""Killers: templates that would fill the memory or never end are refused at load or stopped at once."""

from __future__ import annotations

import sys
import time
from decimal import Decimal

import pytest

from engine.errors import RenderError, TemplateLimit

BIG = list(range(1000))
KILLERS = [
    "{{ 10 ** 10000000 }}",
    "{{ 'a' * 3000000000 }}",
    "{{ 3000000000 * 'a' }}",
    "{{ user.name * 3000000000 }}",
    "{{ [1] * 3000000000 }}",
    "{{ '%3000000000d' % 1 }}",
    "{{ '%3000000000d'|format(1) }}",
    "{{ 'x'|center(3000000000) }}",
    "{{ 'x'.ljust(3000000000) }}",
    "{{ lipsum(n=100000) }}",
    "{{ range(1000000000)|list }}",
    "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
    "{% for a in vars.l %}{% for b in vars.l %}{% for c in vars.l %}x{% endfor %}{% endfor %}{% endfor %}",
    "{% for a in vars.l %}{% for b in vars.l %}{{ vars.t|upper|lower|title }}{% endfor %}{% endfor %}",
    "{% for a in vars.l %}{% for b in vars.l %}{% if vars.l == vars.k %}x{% endif %}{% endfor %}{% endfor %}",
    "{% for a in vars.l %}{% for b in vars.l %}{% if 'x' in vars.t %}x{% endif %}{% endfor %}{% endfor %}",
    "{% for a in vars.l %}{{ vars.t }}{% endfor %}",
    "{% for a in vars.long %}x{% endfor %}",
    "{{ vars.t|replace('a', vars.t) }}",
    "{{ [vars.t, vars.t, vars.t, vars.t, vars.t, vars.t]|join }}",
    "{{ vars.l|join(vars.t) }}",
    "{{ vars.huge }}",
    "{{ vars.huge * vars.huge }}",
    "{{ vars.exp }}",
    "{{ vars.exp|money }}",
    "{{ vars.small }}",
    "{{ 1e400 }}",
    "{{ " + "9" * 5000 + " }}",
    "{{ " + "9" * 60000 + " }}",
    "{{ now|date('%3000000000d') }}",
    "{{ 'x'|truncate(3000000000) }}",
    "{{ 1|round(3000000000) }}",
    "{% set a = 'aaaaaaaaaaaaaaaa' %}" + "{% set a = a ~ a %}" * 30 + "{{ a }}",
    "{% set a = 1000000 %}" + "{% set a = a * a %}" * 30 + "{{ a }}",
    "{{ " + "(" * 30000,
    "{{ " + "(" * 300 + "1" + ")" * 300 + " }}",
    "{{ " + "[" * 300 + "]" * 300 + " }}",
    "{{ user" + ".a" * 20000 + " }}",
    "{{ 1" + "+1" * 20000 + " }}",
    "{{ " + "not " * 10000 + "1 }}",
    "{{ " + "-" * 10000 + "1 }}",
    "{{ 'x'" + "|upper" * 5000 + " }}",
    "{% if 1 %}" * 5000,
    "{% if 1 %}" * 200 + "{% endif %}" * 200,
    "{% for a in [1] %}" * 25 + "{% endfor %}" * 25,
    "{% for a in vars.l %}" + "{{ user.name }}" * 3000 + "{% endfor %}",
    "{{ 'a' ~ 'b'" + " ~ 'c'" * 11000 + " }}",
    "{{ 1" + " if 1 else 1" * 3000 + " }}",
    "{% if 1 %}x" + "{% elif 1 %}y" * 4000 + "{% endif %}{{ user.nope }}",
    "{" * 60000 + "{% ",
    "{{ '" + "\\" * 60000,
    "{# " * 20000,
    "{% raw %}" * 6000,
    "{{ " + "a " * 30000,
    '{{ "' + "'" * 60000,
]


@pytest.mark.parametrize("text", KILLERS, ids=lambda text: text[:40])
def test_stopped_within_a_second(read, world, text):
    """Refused at load or stopped when rendered, in less than a second of work.

    Semantics: render.sandbox
    Threat: template.exhaust
    """
    world["vars"] = {
        "l": BIG,
        "k": [*BIG[:-1], -1],
        "t": "a" * 16000,
        "long": BIG * 2,
        "huge": 10**50,
        "exp": Decimal("1E+1000000"),
        "small": Decimal("1E-1000000"),
    }
    begun = time.process_time()
    template, problems = read(text)
    if template is None:
        assert problems
    else:
        with pytest.raises(RenderError):
            template.render(world)
    assert time.process_time() - begun < 1


def test_honest_templates_have_room(render, world):
    """A thousand rows of an honest list are no limit."""
    rows = [{"sku": f"s{n}", "n": n, "price": Decimal("9.90")} for n in range(1000)]
    row = "{{ loop.index }}. {{ r.sku|upper }} x {{ r.n }} = {{ (r.n * r.price)|money }}\n"
    text = "{% for r in vars.r %}" + row + "{% endfor %}"
    assert render(text, {"vars": {"r": rows}}).text.count("\n") == 1000


def test_the_output_cap(render):
    """At most 256 KiB of UTF-8, exactly."""
    quarter = "a" * (64 * 1024)
    text = "{{ vars.t }}" * 4
    assert len(render(text, {"vars": {"t": quarter}}).text) == 256 * 1024
    with pytest.raises(TemplateLimit):
        render(text + "b", {"vars": {"t": quarter}})
    with pytest.raises(TemplateLimit):
        render("{{ vars.t }}" * 2, {"vars": {"t": "中" * (44 * 1024)}})


def test_a_budget_is_for_one_rendering(read):
    """The steps of one message are not taken from the next."""
    template = read("{% for a in vars.l %}{{ a }}{{ a }}{{ a }}{% endfor %}")[0]
    wanted = "".join(str(n) * 3 for n in BIG)
    assert all(template.render({"vars": {"l": BIG}}).text == wanted for _ in range(200))


def test_rendering_does_little(read, world):
    """A message of two values takes a few dozen calls; far more would be work repeated for each message."""
    template = read("Hi {{ user.name }}, your code is {{ with.coupon.code }}.")[0]
    template.render(world)
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        template.render(world)
    finally:
        sys.setprofile(before)
    assert 0 < calls < 60
