"""HTML mails: a value is text wherever it may stand, and may not stand where that cannot be."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from engine.errors import RenderError

HEAD = "---\nformat: html\n---\n"
EVIL = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", '" onmouseover="alert(1)', "' onmouseover='alert(1)",
    "--><b>", "</title><b>", "</textarea><script>", "&lt;b&gt;", "<svg/onload=alert(1)>", "`onclick=x`", "]]><b>",
    "\"><b x='", "javascript:alert(1)", "<!--", "\x3cb\x3e", "{{ 7*7 }}", "＜b＞",
]  # fmt: skip
ALLOWED = [
    "<p>{{ user.x }}</p>",
    '<p title="{{ user.x }}">a</p>',
    "<p title='a {{ user.x }} b'>a</p>",
    "<!doctype html><html><head><title>{{ user.x }}</title></head><body>{{ user.x }}</body></html>",
    '<a href="https://shop.example/?q={{ user.x }}">{{ user.x }}</a>',
    "<textarea>{{ user.x }}</textarea>",
    "{% if user.x %}<b>{{ user.x }}</b>{% else %}<i>none</i>{% endif %}",
    "{% for x in [user.x, user.x] %}<li>{{ x }}</li>{% endfor %}",
    '<p class="a {% if user.x %}b{% endif %}" title="{{ user.x }}">{{ user.x|upper ~ "<b>" }}</p>',
    "<!-- note --><style>p > a { color: red }</style><p>1 < 2 {{ user.x }}</p>",
    '<br/><img src="https://x.example/a.png" alt="{{ user.x }}"/>',
    "<p>{{ '<b>' }}{{ [user.x]|join('<i>') }}{{ user.x|replace('a', '<u>') }}</p>",
]


class Shape(HTMLParser):
    """Tags and attribute names of a document, in order."""

    def __init__(self, text):
        super().__init__()
        self.seen = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, [name for name, _ in attrs]))

    def handle_endtag(self, tag):
        self.seen.append(("/", tag))


@pytest.mark.parametrize("text", ALLOWED)
def test_a_value_never_changes_the_shape(render, text):
    """The parsed document has the same tags and attributes with any value as with a harmless one.

    Semantics: render.html
    Threat: html.inject
    """
    plain = Shape(render(HEAD + text, {"user": {"x": "x"}}, "email").text).seen
    for evil in EVIL:
        message = render(HEAD + text, {"user": {"x": evil}}, "email")
        assert message.html
        assert Shape(message.text).seen == plain


REFUSED = [
    "<a href={{ user.x }}>a</a>",
    "<p {{ user.x }}>a</p>",
    "<{{ user.x }}>a",
    "<p {{ user.x }}='a'>",
    "<p title=a{{ user.x }}>",
    "<script>var x = '{{ user.x }}'</script>",
    "<SCRIPT>{{ user.x }}</SCRIPT>",
    "<style>{{ user.x }}</style>",
    "<!-- {{ user.x }} -->",
    '<p onclick="{{ user.x }}">',
    '<p style="color: {{ user.x }}">',
    '<iframe srcdoc="{{ user.x }}"></iframe>',
    '<img srcset="{{ user.x }}">',
    '<meta http-equiv="refresh" content="{{ user.x }}">',
    '<a href="javascript:{{ user.x }}">a</a>',
    '<a href=" JavaScript:{{ user.x }}">a</a>',
    '<a href="java{{ user.x }}">a</a>',
    '<a href="data:text/html,{{ user.x }}">a</a>',
    '<a href="https://{{ user.x }}/">a</a>',
    '<a href="https://shop{{ user.x }}">a</a>',
    '<a href="//{{ user.x }}">a</a>',
    '<a href="https://a@{{ user.x }}">a</a>',
    '{% if user.x %}<a href="{% endif %}{{ user.x }}">',
    '{% for x in [1] %}<p title="{% endfor %}',
    "{% if user.x %}<p title=\"{% else %}<p title='{% endif %}",
    '<p title="{{ user.x }}',
    "<p",
    "<!-- open",
    "<script>'</scriptx>'{{ user.x }}</script>",
]


@pytest.mark.parametrize("text", REFUSED)
def test_refused_at_load(codes, text):
    """Where escaping does not help, a value is refused when the template is loaded."""
    assert set(codes(HEAD + text, "email")) == {"template-html"}


@pytest.mark.parametrize("quote", ['"', "'"])
def test_a_whole_address_is_checked(render, quote):
    """An address that is one value is http, https or mailto, or the message is not sent."""
    text = f"{HEAD}<a href={quote}{{{{ user.x }}}}{quote}>a</a>"
    for good in ("https://a.example/?a=1&b=2", "HTTP://a.example", "mailto:a@b.example"):
        assert "href" in render(text, {"user": {"x": good}}, "email").text
    bad = ("javascript:alert(1)", " javascript:x", "java\nscript:x", "data:text/html,x", "//evil.example", "", "x",
           "/x", "vbscript:x", "https:", "https:// x", 'https://a"b', "\x01javascript:x", "https://a\\b")  # fmt: skip
    for value in bad:
        with pytest.raises(RenderError):
            render(text, {"user": {"x": value}}, "email")


def test_text_is_not_escaped(render):
    """Plain messages, and the subject of an HTML one, say what was said."""
    context = {"user": {"x": "Tom & Jerry <3"}}
    assert render("{{ user.x }}", context).text == "Tom & Jerry <3"
    assert render("{{ user.x }}", context, "email").text == "Tom & Jerry <3"
    message = render('---\nformat: html\nsubject: "{{ user.x }}"\n---\n<p>{{ user.x }}</p>', context, "email")
    assert message.subject == "Tom & Jerry <3"
    assert message.text == "<p>Tom &amp; Jerry &lt;3</p>"
