"""What happened in a period, in a few sentences."""

from __future__ import annotations

from typing import Any

from engine.insight.report_words import Words, number, percent

MOST = 3
"""Playbooks that have a sentence of their own."""


def headlines(found: dict[str, Any], w: Words) -> list[str]:
    """Sentences, the widest first."""
    out = [*_people(found, w), *_playbooks(found, w), *_sending(found, w)]
    return out or [w("none")]


def _people(found: dict[str, Any], w: Words) -> list[str]:
    people, total = found["people"], found["retention"]["total"]
    if not people["active"]:
        return []
    out = [
        w("h_active", active=number(people["active"]), new=number(people["new"]), dau=number(people["dau"], 1))
    ]
    before = people["active_before"]
    if before:
        change = 100 * (people["active"] - before) / before
        words = f"{number(change, 1, sign=True)}\u00a0%"
        out[0] += ("" if w.chinese else " ") + w(
            "h_before", change=words, days=number(found["period"]["days"]), before=number(before)
        )
    if people["mau"] is not None and people["stickiness"] is not None:
        out.append(w("h_mau", mau=number(people["mau"]), sticky=number(people["stickiness"], 1)))
    if total["day_1"]["of"]:
        days = {f"d{n}": percent(total[f"day_{n}"]["percent"]) for n in (1, 7, 30)}
        out.append(w("h_back", **days))
    return out


def _playbooks(found: dict[str, Any], w: Words) -> list[str]:
    compared = [it for it in found["playbooks"] if it["difference"]]
    compared.sort(key=lambda it: (not it["difference"]["clear"], -it["entered"]))
    out = []
    for it in [it for it in compared if not (it["treated"]["goals"] or it["holdout"]["goals"])][:1]:
        out.append(w("h_nobody", title=name_of(it), goal=", ".join(it["goal"] or ())))
    compared = [it for it in compared if it["treated"]["goals"] or it["holdout"]["goals"]]
    for it in compared[:MOST]:
        words = {"title": name_of(it), "share": percent(it["treated"]["share"]["value"]),
                 "other": percent(it["holdout"]["share"]["value"])}  # fmt: skip
        out.append(w("h_clear", **words, **gap_words(it["difference"])) if it["difference"]["clear"]
                   else w("h_unclear", **words))  # fmt: skip
    for it in found["playbooks"]:
        for split in it["splits"]:
            clear = [arm for arm in split["arms"] if arm["against"] and arm["against"]["clear"]]
            first = split["arms"][0]["arm"]
            out += [w("h_arm", title=name_of(it), arm=arm["arm"], first=first, **gap_words(arm["against"]))
                    for arm in clear]  # fmt: skip
    return out


def name_of(playbook: dict[str, Any]) -> str:
    """A playbook as people know it."""
    return str(playbook["title"] or playbook["playbook"])


def group_name(group: dict[str, Any]) -> str:
    """A group as people know it: by its title, else by its id."""
    return str(group.get("title") or group["group"])


def pool_name(coupon: dict[str, Any]) -> str:
    """A coupon as people know it: by its title, with the name playbooks call it by."""
    return f"{coupon['title']} ({coupon['pool']})" if coupon.get("title") else str(coupon["pool"])


def titles(found: dict[str, Any]) -> dict[str, str]:
    """Playbook -> its title."""
    return {it["playbook"]: name_of(it) for it in found["playbooks"]}


def gap_words(gap: dict[str, Any]) -> dict[str, str]:
    """A difference with its interval, as texts."""
    words = {"gap": gap["value"], "low": gap["low"], "high": gap["high"]}
    return {name: number(value, 1, sign=True) for name, value in words.items()}


def _sending(found: dict[str, Any], w: Words) -> list[str]:
    out = []
    messages = sum(it["messages"] for it in found["channels"])
    held = [it for it in found["refusals"] if it["kind"] == "message"]
    if messages and held:
        most = held[0]
        refused = sum(it["count"] for it in held)
        out.append(w("h_sent", messages=number(messages), refused=number(refused), reason=w.reason(most["reason"]),
                     count=number(most["count"])))  # fmt: skip
    elif messages:
        out.append(w("h_sent_all", messages=number(messages)))
    failed, unknown = (sum(it[word] for it in found["channels"]) for word in ("dead", "unknown"))
    if failed or unknown:
        out.append(w("h_failed", failed=number(failed), unknown=number(unknown)))
    issued, redeemed = (sum(it[word] for it in found["coupons"]) for word in ("issued", "redeemed"))
    if issued:
        rate = percent(100 * redeemed / issued)
        out.append(w("h_coupons" if redeemed else "h_coupons_none", issued=number(issued), redeemed=number(redeemed),
                     rate=rate))  # fmt: skip
    between = [it for it in found["collisions"] if it["lost"] != it["to"] and it["to"] != "?"]
    if between:
        name = titles(found)
        lost, won = (name.get(between[0][side], between[0][side]) for side in ("lost", "to"))
        out.append(w("h_lost", lost=lost, won=won, count=number(between[0]["count"])))
    return out
