"""Which values a template says it needs."""

from __future__ import annotations

import pytest

NEEDS = [
    ("plain", set()),
    ("{{ user.name }} {{ with.coupon.code }}", {"user.name", "with.coupon.code"}),
    ("{{ user['name'] }}{{ user.get('age') }}", {"user.name", "user.age"}),
    ("{{ now }}", {"now"}),
    ("{{ user.name|upper|trim }}", {"user.name"}),
    ("{{ user.name|default('x') }}", set()),
    ("{{ user.name|default(user.id) }}", {"user.id"}),
    ("{{ user.name or user.id }}", {"user.id"}),
    ("{{ user.a ~ user.b }}{{ user.c + 1 }}{{ [user.d]|join }}", {"user.a", "user.b", "user.c", "user.d"}),
    ("{% if user.city %}{{ user.city }}{% endif %}", set()),
    ("{% if user.city %}{{ user.name }}{% else %}{{ user.city }}{% endif %}", {"user.name", "user.city"}),
    ("{% if not user.city %}x{% else %}{{ user.city }}{% endif %}", set()),
    ("{% if user.city is none %}x{% else %}{{ user.city }}{% endif %}", set()),
    ("{% if user.a is defined and user.b %}{{ user.a }}{{ user.b }}{% endif %}", set()),
    ("{% if user.a or user.b %}{{ user.a }}{% endif %}", {"user.a"}),
    ("{% if user.a %}x{% elif user.b %}{{ user.b }}{{ user.a }}{% endif %}", {"user.a"}),
    ("{% if not user.a %}x{% elif 1 %}{{ user.a }}{% endif %}", set()),
    ("{% if user.age > 3 %}{{ user.age }}{% endif %}", set()),
    ("{% if user.tier == 'gold' %}{{ user.tier }}{% endif %}", set()),
    ("{% if user.tier != 'gold' %}{{ user.tier }}{% endif %}", {"user.tier"}),
    ("{% if with.coupon %}{{ with.coupon.code }}{% endif %}", set()),
    ("{{ user.a if user.a else user.b }}", {"user.b"}),
    ("{% for x in with.list %}{{ x.name }}{{ loop.index }}{{ user.id }}{% endfor %}", {"with.list", "user.id"}),
    ("{% for x in with.list|default([]) %}{{ x }}{% endfor %}", set()),
    ("{% set c = with.coupon %}{{ c.code }}", {"with.coupon.code"}),
    ("{% set c = 'Dear ' ~ user.name %}{{ c }}", {"user.name"}),
    ('---\nsubject: "{{ user.s }}"\n---\n{{ user.b }}', {"user.s", "user.b"}),
    ("{{ user.name == 'x' }}{{ user.name is none }}", set()),
    ("{{ event.lines[0].sku }}", {"event.lines"}),
]


@pytest.mark.parametrize(("text", "expected"), NEEDS)
def test_variables(read, text, expected):
    """Printed outside default and outside the branch that asked."""
    template, problems = read(text)
    assert problems == []
    assert template.variables() == expected
