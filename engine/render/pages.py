"""What ``drumbeat explain CODE`` says about each problem a template can have.

Rule 1: a code never changes its meaning; a new meaning is a new code.
Rule 2: ``bad`` gives exactly this code and ``good`` gives none (a test loads both), but for faults of files.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Severity = Literal["error", "warning"]


class Page(NamedTuple):
    """One page: what the code means and how to mend it."""

    title: str
    meaning: str
    bad: str
    good: str
    severity: Severity = "error"


_FILES: dict[str, Page] = {
    "template-path": Page(
        "a template's file name cannot be read",
        "A template is called `templates/[<folder>/]<name>.<channel>[.<locale>].j2`. Names, folders and channels are "
        "small letters, digits, `_` and `-`; a locale is written like `en` or `zh-CN`.",
        "templates/Welcome/Hello World.sms.zh-cn.j2",
        "templates/welcome/hello.sms.zh-CN.j2",
    ),
    "template-stray": Page(
        "a file among the templates is not a template",
        "Only files ending in `.j2` are templates. A misspelt ending would be missed silently, so it is named here.",
        "templates/welcome/hello.sms.jinja",
        "templates/welcome/hello.sms.j2",
        "warning",
    ),
    "template-link": Page(
        "a link among the templates leads outside, or to a folder",
        "Templates come from the program's own folder and from nowhere else. A link to a file inside `templates/` is "
        "fine; a link out of it, to a folder or to nothing is refused.",
        "templates/welcome/hello.sms.j2 -> /etc/motd",
        "templates/welcome/hello.sms.j2 -> ../shared/hello.sms.j2",
    ),
    "template-file": Page(
        "a template cannot be read",
        "The file is not a plain file, or this process may not read it.",
        "chmod 000 templates/welcome/hello.sms.j2",
        "chmod 644 templates/welcome/hello.sms.j2",
    ),
    "template-size": Page(
        "a template is too large",
        "A template file holds at most 64 KiB, its front matter at most 4 KiB, a template at most 10,000 parts.",
        "a 200 KiB newsletter with its pictures inside",
        "the newsletter with links to its pictures",
    ),
    "template-encoding": Page(
        "a template is not UTF-8 text",
        "Templates are UTF-8 without NUL characters. Save the file as UTF-8.",
        "a file saved as GBK",
        "the same file saved as UTF-8",
    ),
}

_TEXTS: dict[str, Page] = {
    "template-front-matter": Page(
        "the front matter is not a plain list of `key: text`",
        "Between two `---` lines at the top stand `key: text` lines, each key once, each value one line of text. No "
        "lists, nested mappings, tags, anchors. A value that begins with `{{` needs quotes.",
        "---\nsubject: {{ user.name }}\n---\nHello",
        '---\nsubject: "{{ user.name }}"\n---\nHello',
    ),
    "template-syntax": Page(
        "the template cannot be parsed",
        "A `{{`, `{%` or `{#` is not closed, a word is missing or a block is not ended.",
        "Hello {{ user.name",
        "Hello {{ user.name }}",
    ),
    "template-depth": Page(
        "the template nests too deep",
        "Blocks and expressions nest at most 40 deep, `for` in `for` at most 4 deep.",
        "{{ " + "-" * 50 + "1 }}",
        "{{ -1 }}",
    ),
    "template-statement": Page(
        "this statement is not part of the template language",
        "Templates know `{{ }}`, `if`/`elif`/`else`, `for`, `set` and `raw`. No include, import, extends, block, "
        "macro, call, filter, with or autoescape.",
        '{% include "footer.sms.j2" %}',
        "{% if user.name %}{{ user.name }}{% endif %}",
    ),
    "template-call": Page(
        "nothing can be called in a template",
        'A template looks values up and prints them; it runs nothing. Only `user.get("x")` is known, as another way to '
        "write `user.x`.",
        "{{ user.name.upper() }}",
        "{{ user.name|upper }}",
    ),
    "template-filter": Page(
        "unknown filter, or wrong arguments for it",
        "Filters: abs date default first float int join last length lower money replace round title trim truncate "
        "upper. Arguments are written in order, without names.",
        "{{ user.name|pprint }}",
        "{{ user.name|upper }}",
    ),
    "template-date": Page(
        "the format of a date cannot be read",
        "`date` takes a text with %Y %y %m %d %H %I %M %S %p %j %u and %%; `-` leaves out the leading zero (%-m). "
        "The format is written out, it never comes from data.",
        '{{ now|date("%Q") }}',
        '{{ now|date("%-m月%-d日") }}',
    ),
    "template-test": Page(
        "unknown test after `is`",
        "Templates know `is none` and `is defined` (and `is not ...`).",
        "{% if user.age is odd %}x{% endif %}",
        "{% if user.age is not none %}x{% endif %}",
    ),
    "template-operator": Page(
        "this operator is not allowed here",
        "`**`, `%`, unary `+`, slices, and `*` on text or lists are refused: a few characters of them can fill the "
        "memory. Join text with `~`.",
        '{{ "=" * 3000000000 }}',
        "{{ user.points * 2 }}",
    ),
    "template-else": Page(
        "an inline `if` without `else`",
        "Without `else` there is nothing to print when the condition is false, and nothing is never printed.",
        '{{ "VIP " if user.vip_since }}',
        '{{ "VIP " if user.vip_since else "" }}',
    ),
    "template-word": Page(
        "unknown name",
        "Templates see `with user group event steps vars links now today`, and names made by `set` and `for` (in a "
        "`for` also `loop`).",
        "{{ usr.name }}",
        "{{ user.name }}",
    ),
    "template-links": Page(
        "a link that has no target",
        "`links.unsubscribe` is there of itself. Any other `links.<name>` leads to the address that stands in the "
        "front matter of the same file as `link_<name>`; it is looked up by its name alone.",
        '---\nlink_sale: "https://shop.example/sale"\n---\n{{ links.sael }}',
        '---\nlink_sale: "https://shop.example/sale?u={{ user.id }}"\n---\n{{ links.sale }}',
    ),
    "template-private": Page(
        "a name that begins with an underscore",
        "Names beginning with `_` are not data and are never looked up.",
        "{{ user.__class__ }}",
        "{{ user.name }}",
    ),
    "template-set": Page(
        "this name cannot be set",
        "`set` and `for` make new names: small letters, digits and `_`, never one of the names a template is given.",
        '{% set user = "x" %}{{ user }}',
        '{% set who = "x" %}{{ who }}',
    ),
    "template-html": Page(
        "a value stands where HTML cannot be made safe",
        "In HTML a value may stand in text and in a quoted attribute. Not in a tag or attribute name, an attribute "
        "without quotes, a comment, `script`, `style` or an `on...` attribute. An address begins with http, https or "
        "mailto, or is one value as a whole. Each branch must leave the HTML as open as it found it.",
        "---\nformat: html\n---\n<a href={{ with.link }}>go</a>",
        '---\nformat: html\n---\n<a href="{{ with.link }}">go</a>',
    ),
}

RENDER_PAGES: dict[str, Page] = {**_FILES, **_TEXTS}
"""Code -> page."""
