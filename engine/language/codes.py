"""The page behind every code: what ``drumbeat explain CODE`` prints.

Each area of the language keeps a dict of its own; a new area adds its dict to ``AREAS``. A test reads every bad
example here and finds its code, and reads every good example and finds nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from engine.errors import InternalError, UsageError
from engine.language.calendar_pages import CALENDAR_PAGES
from engine.language.diagnostics import Page
from engine.language.edit_pages import EDIT_PAGES
from engine.language.event_schemas import EVENT_SCHEMA_PAGES
from engine.language.lint import LINT_PAGES
from engine.language.pages import EXPRESSION_AREA, PLAYBOOK_PAGES, PROGRAM_PAGES, SHAPE_PAGES, TEMPLATE_AREA
from engine.language.scenario_pages import SCENARIO_PAGES
from engine.registry import nearest

YAML_PAGES: Final[dict[str, Page]] = {
    "yaml-alias": Page(
        "an alias",
        "'*name' repeats a value written elsewhere. A reader of a playbook must see what it does at the very place, so "
        "aliases are refused. A value that merely begins with '*' has to be quoted.",
        "playbook: welcome\nvia: *channels",
        "playbook: welcome\nvia: [wecom, sms]",
    ),
    "yaml-anchor": Page(
        "an anchor",
        "'&name' names a value so that '*name' can repeat it. Aliases are refused, so an anchor has no use. A value "
        "that merely begins with '&' has to be quoted.",
        "playbook: welcome\nvia: &channels [wecom, sms]",
        "playbook: welcome\nvia: [wecom, sms]",
    ),
    "yaml-block": Page(
        "text behind | or >",
        "'|' and '>' say that the lines below are one text. Nothing but a comment may follow them on their own line. "
        "A value that begins with one of these signs has to be quoted.",
        "steps:\n  - wait: > 5 days",
        "steps:\n  - note: '> 5 days'",
    ),
    "yaml-bom": Page(
        "a byte order mark",
        "Some editors put an invisible character at the beginning of a file. Other tools then read it as part of the "
        "first key. Save the file as 'UTF-8' and not as 'UTF-8 with BOM'.",
        "\ufeffplaybook: welcome",
        "playbook: welcome",
    ),
    "yaml-braces": Page(
        "{{ }} without quotes",
        "A value that begins with '{{' is a mapping within a mapping to YAML. Put the whole value in quotes.",
        "with:\n  coupon: {{ steps.gift }}",
        'with:\n  coupon: "{{ steps.gift }}"',
    ),
    "yaml-char": Page(
        "a sign that cannot begin a value",
        "YAML keeps the signs @ ` % & * ] } for itself at the beginning of a value. Put the value in quotes.",
        "owner: @growth",
        'owner: "@growth"',
    ),
    "yaml-colon": Page(
        "': ' inside a value",
        "A colon with a space behind it parts a key from its value. A value that holds one has to be quoted.",
        "title: welcome: seven days",
        'title: "welcome: seven days"',
    ),
    "yaml-comma": Page(
        "a comma is missing, or one too many",
        "In brackets the entries are parted by single commas. A value that holds a comma or a colon has to be quoted.",
        "via: [wecom,, sms]",
        "via: [wecom, sms]",
    ),
    "yaml-complex-key": Page(
        "a key that is no word",
        "A key is a word, a number or a quoted text; lists and mappings cannot be keys.",
        "[wecom, sms]: marketing",
        "wecom: marketing",
    ),
    "yaml-control": Page(
        "an invisible character",
        "Control characters, line separators, byte order marks and marks that turn the direction of writing cannot be "
        "seen; most stores and channels refuse them, and a reviewer reads another text than the engine. They come "
        "along when text is copied from chats and documents. Delete them.",
        "title: wel\u2028come",
        "title: welcome",
    ),
    "yaml-cut": Page(
        "an expression cut into pieces",
        "Inside { } and [ ] a comma or bracket ends an unquoted value, also in the middle of an expression. Put the "
        "whole expression in single quotes.",
        'trigger: {signup: true, if: count("app.opened", within="1d") > 1}',
        'trigger: {signup: true, if: \'count("app.opened", within="1d") > 1\'}',
    ),
    "yaml-depth": Page(
        "nesting is too deep",
        "Values may be nested 40 levels deep. No playbook needs more than a dozen; look for a bracket too many.",
        "a: " + "[" * 41 + "]" * 41,
        "a: []",
    ),
    "yaml-directive": Page(
        "a '%' line",
        "Lines such as '%YAML 1.1' change how YAML is read. Playbooks are always read by the rules of YAML 1.2.",
        "%YAML 1.1\n---\nplaybook: welcome",
        "playbook: welcome",
    ),
    "yaml-documents": Page(
        "several documents in one file",
        "'---' begins another document. One file is one playbook, one scenario or one catalog file: split it.",
        "playbook: welcome\n---\nplaybook: win-back",
        "playbook: welcome",
    ),
    "yaml-duplicate-key": Page(
        "the same key twice",
        "Of two equal keys in one mapping only one could count, and people would disagree which. Keep one of them.",
        "title: Welcome\nowner: growth\ntitle: Hello",
        "title: Welcome\nowner: growth",
    ),
    "yaml-empty": Page(
        "an empty file",
        "The first key of a file names its kind: 'playbook', 'scenario', 'program' or a part of the catalog.",
        "# nothing yet",
        "playbook: welcome",
    ),
    "yaml-empty-key": Page(
        "no key before the colon",
        "Something has to stand before a ':'. Text that begins with a colon has to be quoted.",
        "playbook: welcome\n: hello",
        "playbook: welcome\ntitle: hello",
    ),
    "yaml-encoding": Page(
        "not UTF-8",
        "Files are read as UTF-8. Older editors save Chinese text as GBK, and some programs write UTF-16; choose UTF-8 "
        "when saving. The position shown is that of the first byte that is wrong.",
        "(the file is saved as GBK)",
        "(the same file saved as UTF-8)",
    ),
    "yaml-escape": Page(
        "a backslash that means nothing",
        "In double quotes a backslash begins an escape such as \\n, and few letters may follow it. In single quotes a "
        "backslash is only a backslash.",
        'match: "\\d+"',
        "match: '\\d+'",
    ),
    "yaml-fullwidth": Page(
        "full-width punctuation",
        "The Chinese keyboard types '：', '，' and '“ ”', which look like ':', ',' and '\"' but are ordinary text to "
        "YAML. Type the half-width sign and a space behind it; quote the value when the sign belongs to its text.",
        "playbook: welcome\ntrigger： manual",
        "playbook: welcome\ntrigger: manual",
    ),
    "yaml-fullwidth-quotes": Page(
        "a value in full-width quotes",
        "'“ ”' around a whole value are part of the text and will be sent with it. Type '\"' when they were meant as "
        "YAML's quotes, or put single quotes around them when people should see them.",
        "title: “Welcome”",
        'title: "Welcome"',
        "warning",
    ),
    "yaml-indent": Page(
        "indentation that does not fit",
        "Keys that belong together begin in the same column, and what belongs to a key stands deeper than the key.",
        "trigger:\n    signup: true\n  id: door",
        "trigger:\n    signup: true\n    id: door",
    ),
    "yaml-key": Page(
        "a line without a colon",
        "Each line of a mapping is 'key: value'. A line that goes on with the text above has to be indented.",
        "playbook: welcome\ntrigger\ntitle: Hello",
        "playbook: welcome\ntrigger: manual\ntitle: Hello",
    ),
    "yaml-list": Page(
        "a list on the line of its key",
        "A list with dashes begins on the line below its key. On one line it is written in brackets.",
        "via: - wecom",
        "via: [wecom]",
    ),
    "yaml-merge": Page(
        "a merge key",
        "'<<' copies the entries of another mapping. YAML 1.2 has no such key, and a reader would have to look up what "
        "a step does. Write the entries out.",
        "message: {<<: {via: sms}, purpose: service}",
        "message: {via: sms, purpose: service}",
    ),
    "yaml-number": Page(
        "a number too long",
        "Numbers have at most 64 digits and exponents up to 99. A longer one is a code or an id: quote it.",
        "id: 1e4000",
        'id: "1e4000"',
    ),
    "yaml-quote": Page(
        "text behind a closing quote",
        "A value that begins with a quote ends at the next one, so '\"vip\" in user.tags' is the text 'vip' and then a "
        "rest YAML cannot place. Put the whole expression in single quotes.",
        'if: "vip" in user.tags',
        "if: '\"vip\" in user.tags'",
    ),
    "yaml-size": Page(
        "the file is too large",
        "A file may have 256 KiB. Put one playbook into a file, and split a catalog into several files.",
        "(a file of 300 KiB)",
        "(two files of 150 KiB)",
    ),
    "yaml-space": Page(
        "no space behind the colon",
        "'trigger:manual' is one word to YAML. A key is parted from its value by a colon and a space.",
        "playbook: welcome\ntrigger:manual",
        "playbook: welcome\ntrigger: manual",
    ),
    "yaml-syntax": Page(
        "not YAML",
        "YAML cannot be read from this place on. Look for a quote or bracket too many, here or on the line above.",
        "[wecom, sms] or email",
        "via: [wecom, sms, email]",
    ),
    "yaml-tab": Page(
        "a tab",
        "Editors draw tabs in different widths, so YAML does not take them for indentation. Use two spaces a level.",
        "trigger:\n\tsignup: true",
        "trigger:\n  signup: true",
    ),
    "yaml-tag": Page(
        "a tag",
        "A value that begins with '!' is a YAML tag, which playbooks do not use. In a condition write 'not' for '!'.",
        "if: !user.blocked",
        "if: not user.blocked",
    ),
    "yaml-unclosed": Page(
        "a quote or bracket is not closed",
        "The quote or bracket shown is opened, and never closed or closed by another one.",
        "via: [wecom, sms\npurpose: service",
        "via: [wecom, sms]\npurpose: service",
    ),
}

ALLOW_PAGES: Final[dict[str, Page]] = {
    "allow-without-reason": Page(
        "'# allow:' without a reason",
        "The comment silences a warning. Whoever reads the line next year needs to know why that is fine.",
        "title: “Welcome” # allow: yaml-fullwidth-quotes",
        "title: “Welcome” # allow: yaml-fullwidth-quotes — the quotes belong to the name",
        "warning",
    ),
    "unused-allow": Page(
        "'# allow:' silences nothing",
        "No warning of that code is on this line (behind '|' or '>': on the lines of that text). Errors cannot be "
        "silenced. Drop the comment, or correct the code.",
        "title: Welcome # allow: yaml-fullwidth-quotes — the quotes belong to the name",
        "title: “Welcome” # allow: yaml-fullwidth-quotes — the quotes belong to the name",
        "warning",
    ),
}

AREAS: Final[tuple[Mapping[str, Page], ...]] = (
    YAML_PAGES,
    ALLOW_PAGES,
    SHAPE_PAGES,
    PLAYBOOK_PAGES,
    PROGRAM_PAGES,
    EDIT_PAGES,
    CALENDAR_PAGES,
    EVENT_SCHEMA_PAGES,
    EXPRESSION_AREA,
    TEMPLATE_AREA,
    LINT_PAGES,
    SCENARIO_PAGES,
)


def merged(areas: Iterable[Mapping[str, Page]]) -> Mapping[str, Page]:
    """All pages as one table; raises InternalError when two areas claim the same code."""
    pages: dict[str, Page] = {}
    for area in areas:
        twice = sorted(pages.keys() & area.keys())
        if twice:
            raise InternalError(f"the code {twice[0]!r} has two pages")
        pages.update(area)
    return MappingProxyType(dict(sorted(pages.items())))


PAGES: Final[Mapping[str, Page]] = merged(AREAS)


def page(code: str) -> str:
    """The text ``drumbeat explain CODE`` prints; raises UsageError with the nearest code when there is none.

    Parameters
    ----------
    code: as it stands in ``error[code]``.
    """
    found = PAGES.get(code.strip().lower())
    if found is None:
        near = nearest(code, PAGES)
        hint = f"did you mean {near!r}?" if near else "'drumbeat validate' prints codes as error[code]"
        raise UsageError(f"no diagnostic has the code {code!r}", hint=hint)
    head = f"{found.severity}[{code.strip().lower()}]: {found.title}"
    return "\n\n".join((head, found.meaning, f"Bad:\n{_indented(found.bad)}", f"Good:\n{_indented(found.good)}"))


def shown(example: str) -> str:
    """An example with what cannot be seen spelled out, or it would teach nothing."""
    for char in "\ufeff\u2028\t":
        example = example.replace(char, f"<U+{ord(char):04X}>")
    return example


def _indented(example: str) -> str:
    return "\n".join(f"    {line}" for line in shown(example).split("\n"))
