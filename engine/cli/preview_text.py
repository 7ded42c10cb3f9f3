"""What ``drumbeat preview`` found, as text."""

from __future__ import annotations

from typing import Any

from engine.core.subjects import GROUP, PROGRAM_KIND, USER


def lines(it: dict[str, Any], *, wire: bool) -> list[str]:
    """One message step as text."""
    whose = f"{it['playbook']}, step {it['step']}" if it["playbook"] is not None else "in no playbook"
    out = [f"{it['template']} ({whose}, {it['purpose']})"]
    for form in it["forms"]:
        out += ["", *_form(form, wire=wire)]
    for row in it["longest"]:
        out += ["", _longest(row)]
    for gate in it["held_back_by"]:
        until = f", until {gate['until']}" if gate["until"] else ""
        out.append(f"note: now it would be held back by {gate['gate']}: {gate['text']}{until}")
    return [*out, ""]


def _longest(row: dict[str, Any]) -> str:
    """The longest text by a channel, and whose it is."""
    by = f"{row['channel']}, {row['locale']}" if row["locale"] else row["channel"]
    kind = _MANY[row["over"]]
    if not row["letters"]:
        return f"longest by {by}: none of {row['people']:,} {kind} would get it"
    of = f"{row['segments']} segment(s) of {row['alphabet']}, " if row["alphabet"] else ""
    whose = f"event {row['event']}" if row["over"] == PROGRAM_KIND else f"{row['over']} {row[row['over']]}"
    looked = f"({row['people']:,} {kind} looked at, {row['refused']:,} without a message)"
    return f"longest by {by}: {of}{row['letters']:,} letters, for {whose} {looked}"


_MANY = {USER: "users", GROUP: "groups", PROGRAM_KIND: "events"}


def _form(form: dict[str, Any], *, wire: bool) -> list[str]:
    locale = f", {form['locale']}" if form["locale"] else ""
    out = [f"-- {form['channel']}{locale} ({form['file']})"]
    if form["reason"] is not None:
        return [*out, f"   no message: {form['reason']}: {form['words']}"]
    out += [f"   {name}: {form[name]}" for name in ("to", "subject") if form[name] is not None]
    out += [f"   {name}: {value}" for name, value in form["fields"].items()]
    size = form["sms"]
    length = f"{form['letters']:,} letters"
    if size is not None and form["carries_sms"]:
        length += f"; as SMS {size['segments']} segment(s) of {size['alphabet']}, {size['left']} left"
    out.append(f"   length: {length}")
    if form["samples"]:
        out.append(f"   samples stand for what these steps will give: {', '.join(form['samples'])}")
    out += [f"   warning: {one}" for one in form["warnings"]]
    shown = form.get("wire")
    if wire and shown is not None:
        if shown["refused"]:
            return [*out, f"   no wire form: {shown['refused']}"]
        out += [f"   {key}: {value}" for key, value in shown["head"]]
        return [*out, "", *shown["body"].splitlines()]
    if form.get("image"):
        out.append(f"   picture: {form['image']}")
    if form.get("test"):
        out.append(f"   sent as a test to {form['test']['to']}")
    return [*out, "", *(form["text"] or "").splitlines()]
