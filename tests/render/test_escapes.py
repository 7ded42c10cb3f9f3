"""Ways out of a sandbox, tried one by one: each is refused when loaded or ends in a RenderError."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from jinja2.exceptions import SecurityError

from engine.errors import RenderError
from engine.render.compiled import sandbox

ESCAPES = [
    "{{ ''.__class__ }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ user['__class__'] }}",
    "{{ user.__class__.__base__ }}",
    "{{ user.name.__class__ }}",
    "{{ user['_' ~ '_class_' ~ '_'] }}",
    "{{ user.name['_' ~ '_class__'] }}",
    "{{ user|attr('__class__') }}",
    "{{ user|attr('\\x5f\\x5fclass\\x5f\\x5f') }}",
    "{{ ()|attr('__class__') }}",
    "{{ [user]|map(attribute='__class__')|list }}",
    "{{ [user]|selectattr('__class__')|list }}",
    "{{ [user]|groupby('__class__') }}",
    "{{ [user]|sort(attribute='__class__') }}",
    "{{ '{0.__class__}'.format(user) }}",
    "{{ '{0.__class__}'|format(user) }}",
    "{{ 'x'.format_map(user) }}",
    "{{ '%s'|format(user.__class__) }}",
    "{{ self }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ config }}",
    "{{ request.application.__globals__ }}",
    "{{ cycler.__init__.__globals__.os }}",
    "{{ cycler('a').__init__ }}",
    "{{ lipsum.__globals__['os'] }}",
    "{{ lipsum(n=100000) }}",
    "{{ joiner.__init__ }}",
    "{{ namespace(x=1) }}",
    "{{ dict(a=1) }}",
    "{{ range(10) }}",
    "{{ get_flashed_messages }}",
    "{{ url_for.__globals__ }}",
    "{{ __builtins__ }}",
    "{{ environment }}",
    "{{ context }}",
    "{{ resolve }}",
    "{{ undefined }}",
    "{{ missing }}",
    "{{ l_0_user }}",
    "{{ t_1 }}",
    "{{ __import__('os').system('id') }}",
    "{{ user.get('x', user.__class__) }}",
    "{{ user.get(user.name) }}",
    "{{ event.get('x') }}",
    "{{ user.get.__func__ }}",
    "{{ user.items() }}",
    "{{ user.pop('name') }}",
    "{{ user.update({'a': 1}) }}",
    "{{ user.tags.append(1) }}",
    "{{ user.name.upper() }}",
    "{{ (user.name|upper)() }}",
    "{{ user() }}",
    "{{ loop }}",
    "{% for x in user.tags %}{{ loop }}{% endfor %}",
    "{% for x in user.tags %}{{ loop.__class__ }}{% endfor %}",
    "{% for x in user.tags %}{{ loop._undefined }}{% endfor %}",
    "{% for x in user.tags %}{{ loop['_iterable'] }}{% endfor %}",
    "{% for x in user.tags %}{{ loop['_' ~ 'iterable'] }}{% endfor %}",
    "{% for x in user.tags %}{{ loop.cycle('a', 'b') }}{% endfor %}",
    "{% for x in user.tags %}{{ loop.changed(x) }}{% endfor %}",
    "{% for x in user.tags recursive %}{{ loop(user.tags) }}{% endfor %}",
    "{% for x in loop %}{% endfor %}",
    "{% include 'other.sms.j2' %}",
    "{% include '../../etc/passwd' %}",
    "{% include user.name ignore missing %}",
    "{% import 'x' as y %}",
    "{% from 'x' import y %}",
    "{% extends 'x' %}",
    "{% block a %}{% endblock %}",
    "{% macro m() %}{{ caller.__globals__ }}{% endmacro %}",
    "{% call m() %}{% endcall %}",
    "{% filter upper %}x{% endfilter %}",
    "{% autoescape false %}x{% endautoescape %}",
    "{% with a = 1 %}{{ a }}{% endwith %}",
    "{% set x %}y{% endset %}",
    "{% set user = 1 %}",
    "{% set self = 1 %}",
    "{% set _x = 1 %}",
    "{% set ｕser = 1 %}",
    "{% set user.x = 1 %}",
    "{% for user in user.tags %}{% endfor %}",
    "{% for loop in user.tags %}{% endfor %}",
    "{% do user.x %}",
    "{% debug %}",
    "{% trans %}x{% endtrans %}",
    "{% continue %}",
    "{{ user|safe }}",
    "{{ user|tojson }}",
    "{{ user|pprint }}",
    "{{ user|xmlattr }}",
    "{{ user|list }}",
    "{{ user|items }}",
    "{{ user.name|!out('x') }}",
    "{{ user.name|forceescape }}",
    "{{ user.name is callable }}",
    "{{ user.name is filter }}",
    "{{ user.name[0:1] }}",
    "{{ user.name|upper(*user.tags) }}",
    "{{ user.name|default(**user) }}",
    "{{ user.name|default(value=1) }}",
    "{{ now.__class__.max }}",
    "{{ now.replace(year=1) }}",
    "{{ now.tzinfo }}",
    "{{ vars.object.hidden }}",
    "{{ vars.object['hidden'] }}",
    "{{ vars.object }}",
    "{{ vars.function }}",
    "{{ vars.function.__globals__ }}",
    "{{ vars.function['x'] }}",
    "{{ vars.module.path }}",
    "{{ [vars.object]|join }}",
]


@pytest.mark.parametrize("text", ESCAPES)
def test_refused(read, world, text):
    """No escape loads and prints.

    Semantics: render.sandbox
    Threat: template.escape
    """
    import os

    world["vars"] = {"object": SimpleNamespace(hidden="s"), "function": test_refused, "module": os}
    template, problems = read(text)
    if template is None:
        assert problems
        return
    with pytest.raises(RenderError):
        template.render(world)


def test_there_are_enough_of_them():
    """At least forty different ways."""
    assert len(set(ESCAPES)) >= 40


def test_most_are_refused_at_load(read):
    """What can be seen in the text is refused when loaded, not when the message is due."""
    at_load = [text for text in ESCAPES if read(text)[0] is None]
    assert len(at_load) >= 0.8 * len(ESCAPES)


@pytest.mark.parametrize("html", [False, True])
def test_the_second_wall_stands_alone(html):
    """Behind the check: the environment itself looks up only data and calls nothing."""
    env = sandbox(html)
    assert not env.globals
    assert "attr" not in env.filters
    assert set(env.tests) == {"none", "defined"}
    for text in (
        "{{ ''.__class__ }}",
        "{{ x.hidden }}",
        "{{ x['hidden'] }}",
        "{{ x() }}",
        "{{ y.items() }}",
        "{{ z.upper() }}",
    ):
        with pytest.raises((RenderError, SecurityError)):
            env.from_string(text).render(x=SimpleNamespace(hidden="s"), y={}, z="z")
    assert not env.is_safe_attribute("", "upper", None)
    assert not env.is_safe_callable(len)


def test_the_compiled_code_holds_no_operators(read):
    """No look-up, sum or comparison of a template becomes one of Python's."""
    from engine.render.compiled import parse
    from engine.render.harden import harden
    from engine.render.problem import Site

    text = "{{ 1 + 2 - 3 * 4 / 5 // 6 }}{{ -user.a ~ 1 }}{{ 1 < 2 }}{{ user.get('a') }}"
    text += "{% if not (1 == 2 and 3 in [4]) %}{% endif %}"
    tree, problems, _ = parse(Site("t", 0, text))
    assert problems == []
    code = sandbox(False).compile(harden(tree, sandbox(False), frozenset()), raw=True)
    body = code[code.index("def root") :].replace("yield '", "")
    for operator in (" + ", " - ", " * ", " / ", " // ", " < ", " == ", ".call(", "str_join"):
        assert operator not in body, operator
