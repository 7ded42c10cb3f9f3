"""Links of message templates against what the program says of them."""

from __future__ import annotations

import re
from typing import Final

from engine.core.links import fault_of_target
from engine.language.diagnostics import Mark, Page
from engine.language.lint.registry import Check
from engine.language.lint.world import World
from engine.render import Template

_HTTP: Final = "feeds: [{http: {port: 8080}}]\n"

PAGES: Final[dict[str, Page]] = {
    "no-links": Page(
        "a template prints a link, and the program says nothing of links",
        "Links in messages lead to the daemon, which knows by their signature whose they are. 'links.base' in "
        "drumbeat.yaml says under which address people reach it.",
        "# file: templates/tea/new.sms.j2\nNew tea. No more of it: {{ links.unsubscribe }}\n"
        "# file: playbooks/tea.yaml\nsteps:\n  - message: {template: tea/new, via: sms, purpose: marketing}",
        f"# file: drumbeat.yaml\n{_HTTP}links: {{base: https://go.shop.example}}\n"
        "# file: templates/tea/new.sms.j2\nNew tea. No more of it: {{ links.unsubscribe }}\n"
        "# file: playbooks/tea.yaml\nsteps:\n  - message: {template: tea/new, via: sms, purpose: marketing}",
    ),
    "link-host": Page(
        "a link that must not be followed",
        "A link leads only to the hosts of 'links.hosts', so that nobody can use the shop's address to lead people "
        "elsewhere. Name the host there, or correct the link.",
        f"# file: drumbeat.yaml\n{_HTTP}links: {{base: https://go.shop.example, hosts: [shop.example]}}\n"
        '# file: templates/tea/new.sms.j2\n---\nlink_tea: "https://other.example/tea"\n---\n{{ links.tea }}\n'
        "# file: playbooks/tea.yaml\nsteps:\n  - message: {template: tea/new, via: sms, purpose: service}",
        f"# file: drumbeat.yaml\n{_HTTP}links: {{base: https://go.shop.example, hosts: [shop.example]}}\n"
        '# file: templates/tea/new.sms.j2\n---\nlink_tea: "https://shop.example/tea?u={{ user.id }}"\n---\n'
        "{{ links.tea }}\n"
        "# file: playbooks/tea.yaml\nsteps:\n  - message: {template: tea/new, via: sms, purpose: service}",
    ),
}

_WRITTEN: Final = re.compile(r"[^{]*")
_WHOLE_HOST: Final = re.compile(r"[^:]*://[^/?#]*[/?#].*")


def look_links(world: World) -> None:
    """Is there what the links of templates need?"""
    for text in world.templates:
        if world.links is None:
            if text.linked and world.program is not None and "links" not in world.program:
                message = "the template prints a link, and the program does not say where links lead"
                world.say(_place(text, "links."), "no-links", message, "links: {base: https://go.shop.example}")
            continue
        for target, line in text.targets_written.values():
            fault = _fault(target, world.links.hosts)
            if fault is not None:
                hint = (
                    "links: {hosts: [shop.example]}" if "hosts" in fault else 'link_sale: "https://shop.example/sale"'
                )
                world.say(Mark(text.file, line, 1), "link-host", f"the link must not lead there: {fault}", hint)


def _fault(target: str, hosts: tuple[str, ...]) -> str | None:
    """What is wrong with a target as far as it is written out; the rest is judged with its values."""
    written = _WRITTEN.match(target)
    head = written[0] if written is not None else ""
    if head == target:
        return fault_of_target(target, hosts)
    if head.startswith(("https://", "http://")):
        return fault_of_target(head, hosts) if _WHOLE_HOST.fullmatch(head) else None
    return fault_of_target("", hosts)


def _place(text: Template, needle: str) -> Mark:
    before = text.source[: max(0, text.source.find(needle))]
    return Mark(text.file, before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)


CHECKS: Final = (Check(("no-links", "link-host"), look_links),)
