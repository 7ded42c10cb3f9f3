"""Front matter: what it takes, and that no header can be smuggled through it."""

from __future__ import annotations

import time

import pytest

from engine.errors import MissingVariable, RenderError


def test_fields(render, world):
    """Values are text as written and templates too; subject stands apart."""
    text = """---
subject: "{{ user.name }}: 你好"
title: no
when: 12:30
n: 010
quoted: 'it''s'
# a comment
---
body"""
    message = render(text, world)
    assert message.subject == "李雷: 你好"
    assert message.fields == {"title": "no", "when": "12:30", "n": "010", "quoted": "it's"}
    assert (message.text, message.html) == ("body", False)


def test_none_and_empty(render):
    """Without front matter there is no subject; an empty one is fine; a rule further down is text."""
    assert render("body").subject is None
    assert render("---\n---\nbody").text == "body"
    assert render("body\n---\nmore").text == "body\n---\nmore"


BAD = [
    "---\nsubject: x\nbody",
    "---\nsubject\n---\n",
    "---\n- a\n---\n",
    "---\n{a: b}\n---\n",
    "---\nsubject: [a]\n---\n",
    "---\nsubject: {a: b}\n---\n",
    "---\nsubject:\n  a: b\n---\n",
    "---\nsubject: {{ user.name }}\n---\n",
    "---\nsubject: a: b\n---\n",
    "---\nsubject: x\nsubject: y\n---\n",
    "---\nsubject:\n---\n",
    "---\nsubject: |\n  a\n  b\n---\n",
    '---\nsubject: "a\\nBcc: x"\n---\n',
    '---\nsubject: "a\\0"\n---\n',
    "---\nsubject: &a x\n---\n",
    "---\nsubject: &a x\ntitle: *a\n---\n",
    "---\nsubject: !!python/object/apply:os.system [id]\n---\n",
    "---\nsubject: !!str x\n---\n",
    "---\n<<: x\n---\n",
    "---\nSubject: x\n---\n",
    "---\n? a\n: b\n? [c]\n: d\n---\n",
    "---\nBcc: x@y\n---\n",
    "---\n" + "".join(f"k{n}: v\n" for n in range(17)) + "---\n",
    '---\nsubject: "x\n---\n',
    "---\nsubject: \x01\n---\n",
    "---\nformat: markdown\n---\n",
    "---\nformat: html\n---\n",
    "---\n%YAML 9.9\n---\n",
    "---\n" + "[" * 2000 + "\n---\n",
]


@pytest.mark.parametrize("text", BAD)
def test_refused(codes, text):
    """Anything but plain one-line texts is a problem, quickly."""
    spent = []
    for _ in range(3):  # the best of three: what else the process does meanwhile (collecting garbage) is not meant
        begun = time.process_time()
        assert codes(text) == ["template-front-matter"]
        spent.append(time.process_time() - begun)
    assert min(spent) < 0.2


def test_size(codes):
    """The front matter has a size of its own."""
    assert codes("---\nsubject: " + "x" * 5000 + "\n---\n") == ["template-size"]


def test_lines(read):
    """A fault is named at its own line of the file."""
    problems = read("---\ntitle: a\nsubject: [x]\n---\n")[1]
    assert problems[0].line == 3
    problems = read('---\ntitle: a\nsubject: "{{ nope }}"\n---\n{{ nix }}')[1]
    assert [(problem.line, problem.code) for problem in problems] == [(5, "template-word"), (3, "template-word")]


HEADERS = [
    "a\r\nBcc: x@y",
    "a\nBcc: x@y",
    "a\rb",
    "a\0b",
    "a\r\n folded",
    "a\u2028b",
    "a\u2029b",
    "a\x85b",
    "a\x0bb",
    "a\x0cb",
    "a\tb",
    "\x1b[2J",
]


@pytest.mark.parametrize("value", HEADERS)
@pytest.mark.parametrize("key", ["subject", "title", "buttons", "from_name"])
def test_no_header_injection(render, key, value):
    """What could begin a new header, or steer a terminal, stops the message; it is not mended in silence."""
    text = f'---\n{key}: "Hi {{{{ user.name }}}}"\n---\nbody'
    with pytest.raises(RenderError) as caught:
        render(text, {"user": {"name": value}})
    assert not isinstance(caught.value, MissingVariable)
    assert caught.value.where == "templates/t.sms.j2:2"


def test_a_missing_field_value(render):
    """Null is not printed in a subject either."""
    with pytest.raises(MissingVariable):
        render('---\nsubject: "{{ user.name }}"\n---\nbody', {"user": {}})


def test_body_may_have_lines(render):
    """The body is not a header."""
    assert render("{{ user.name }}", {"user": {"name": "a\r\nb\u2028"}}).text == "a\r\nb\u2028"
