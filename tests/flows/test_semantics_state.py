"""Tiers, segments and clocks moved by steps; each test quotes the line of the design it holds to."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from semantics_kit import Row, event, play

END = event("z", "end", "2026-03-20T00:00:00Z", "zz")
ENTRY = "trigger: {event: a}\nentry: {mode: parallel, limit: unlimited}\n"
T = "2026-03-01T10:00:00Z"


def test_a_tier_moves_at_the_step_that_crosses(tmp_path: Path) -> None:
    """ "promotion at the very event that crosses (`>=` threshold)": also when a step of a playbook crosses.

    Semantics: tier-change.up
    """
    playbooks = {
        "p": ENTRY + "steps: [{points: 100}, {tag: {add: [seen]}, if: user.tier == 'high'}]\n",
        "q": "trigger: {tier_change: {direction: up}}\nentry: {mode: single}\nsteps: [{badge: b}]\n",
    }
    catalog = "tiers: {m: {metric: user.points, levels: {low: 0, high: 100}}}\nbadges: {b: {title: b}}\n"
    seen = play(tmp_path, playbooks, [event("1", "a", "10:00"), event("2", "c", "11:00"), END], catalog=catalog)
    assert sorted((row["time"], row["kind"]) for row in seen.effects) == [
        (T, k) for k in ("badge", "points", "tag", "tier")
    ]


@pytest.mark.parametrize("step", ["tag: {add: [vip]}", "set: {user.vip: true}", "badge: vip"])
def test_a_segment_moves_at_the_step_that_fills_it(tmp_path: Path, step: str) -> None:
    """ "segments are incremental but always equal to a full recompute".

    Semantics: segment.recompute
    """
    playbooks = {
        "p": ENTRY + f"steps: [{{{step}}}]\n",
        "q": "trigger: {segment: {enters: vips}}\nentry: {mode: single}\nsteps: [{points: 1}]\n",
    }
    catalog = (
        'segments: {vips: {if: \'"vip" in user.tags or user.get("vip") == true or has_badge("vip")\'}}\n'
        "badges: {vip: {title: b}}\n"
    )
    seen = play(tmp_path, playbooks, [event("1", "a", "10:00"), event("2", "c", "11:00"), END], catalog=catalog)
    assert seen.brief("points") == [(T, "points[0]", "points", "planned")]


def test_a_tier_change_that_goes_nowhere_is_not_down(tmp_path: Path) -> None:
    """ "`direction: up|down|any`"; "A feed may also send `tier.changed` itself", of a ladder nobody defines.

    Semantics: tier-change.filters
    """
    text = "trigger: {tier_change: {direction: down}}\nentry: {mode: single}\nsteps: [{points: 1}]\n"
    feed = [event("1", "tier.changed", "10:00", ladder="other", **{"from": "x", "to": "y"}), END]
    seen = play(tmp_path, {"p": text}, feed, catalog="tiers: {m: {metric: user.points, levels: {low: 0}}}\n")
    assert seen.effects == []


def test_a_zone_that_is_set_moves_the_clocks(tmp_path: Path) -> None:
    """ "`{days: 7, at: "10:00"}` is N local days later in the subject's zone": the zone of now, also one a step set.

    Semantics: traits.zone
    """
    playbooks = {
        "p": ENTRY + "steps: [{set: {user.zone: Asia/Shanghai}}]\n",
        "i": "trigger: {inactivity: {days: 1, at: '09:00'}, activity: [b]}\n"
        "entry: {mode: single}\nsteps: [{points: 1}]\n",
    }
    seen = play(tmp_path, playbooks, [event("0", "b", "09:00"), event("1", "a", "10:00"), END])
    assert [row["time"] for row in seen.effects if row["kind"] == "points"] == ["2026-03-02T01:00:00Z"]


PLAYBOOKS = {
    "a": "trigger: {signup: true}\npriority: 60\nentry: {mode: once, limit: 2/day}\ngoal: {event: o, within: 3d}\n"
    "steps: [{coupon: c}, {wait: 1d}, {message: {template: hi, purpose: marketing}}]\n",
    "b": "trigger: {count: {event: o, at_least: 2, within: 2d, where: event.n > 3}}\n"
    "entry: {mode: single, again_after: 1d}\n"
    "steps: [{points: '{{ event.n }}'}, {tag: {add: [x]}}]\n",
    "c": "trigger: {inactivity: {days: 1, at: '09:00'}}\n"
    "entry: {mode: single, again_after: 12h}\nholdout: {percent: 30}\n"
    "steps: [{wait_for: {event: o, up_to: 6h, then: [{points: 5}], else: [{emit: {type: nudge, user: u2}}]}}]\n",
    "d": "trigger: {inactivity: 10h, activity: [o]}\nwhen: count('o', within='3d') >= 2\n"
    "entry: {mode: parallel, limit: 3/hour}\nsteps: [{tag: {add: [idle]}}]\n",
    "e": "trigger: {streak: {event: v, days: 2}}\n"
    "entry: {mode: queue, limit: unlimited}\nexit: [{event: o, if: event.n > 8}]\n"
    "steps: [{badge: k}, {wait: {days: 1, at: '10:00'}}, {message: {template: hi, purpose: service}}]\n",
    "f": "trigger: [{changed: user.city}, {event: nudge}]\n"
    "entry: {mode: restart, key: user.get('city'), limit: unlimited}\n"
    "vars: {k: 2}\nwhen: user.get('n') > vars.k or trigger.id == 'event[1]'\n"
    "steps: [{invite: {groups: [g], hold: 1d}}, {wait: 8h}, {set: {user.seen: '{{ event.type }}'}}]\n",
    "g": "trigger: {event: o, if: event.n > 2}\nwhen: sum('o', 'n', within='1d') < 20\n"
    "entry: {mode: once, key: event.n}\n"
    "steps: [{choose: [{when: event.n > 5, do: [{points: 1}]}, {otherwise: [{points: '{{ event.m }}'}]}]}]\n",
}
WATCHING = {
    "h": "trigger: {tier_change: {direction: up}}\nentry: {mode: parallel, limit: unlimited}\nsteps: [{points: 40}]\n",
    "i": "trigger: {segment: {leaves: act}}\n"
    "entry: {mode: parallel, limit: unlimited}\nexit: [{if: user.points > 90}]\n"
    "steps: [{wait: 5h}, {tag: {add: [left]}}]\n",
}
CATALOG = """\
coupons: {c: {title: c, codes: {generate: X}, limits: {per_user: 1, per_day: 2, total: 9}}}
badges: {k: {title: b}}
groups: {g: {title: t, topic: t, owner: o, rooms: [{id: r, link: 'https://x', capacity: 2}]}}
"""
WATCHED = """\
tiers: {m: {metric: 'user.points + count("o", within="2d")', levels: {low: 0, mid: 4, high: 45}, grace: 6h}}
segments: {act: {if: 'count("v", within="1d") >= 1'}}
"""


def _feed(rng: random.Random, count: int, users: int) -> list[Row]:
    minute, rows = 0, []
    for number in range(count):
        minute += rng.choice([0, 0, 0, 30, 60, 60, 180, 360, 600])
        type_ = rng.choice(["o", "o", "o", "v", "v", "user.updated", "user.signup", "o"])
        type_ = "user.deleted" if rng.random() < 0.02 else type_
        data = {"n": rng.choice([1, 3, 4, 6, 9, 3, 3, 3, 3, "bad"]), "m": rng.choice([1, 2.5, None])}
        if type_.startswith("user."):
            data = {"city": rng.choice(["A", "B", None]), "n": rng.choice([1, 5])}
            data |= (
                {"zone": rng.choice(["Asia/Shanghai", "America/New_York", "nowhere", None])}
                if rng.random() < 0.4
                else {}
            )
        day, rest = divmod(minute, 1440)
        time = f"2026-03-{6 + day:02d}T{rest // 60:02d}:{rest % 60:02d}:00Z"
        rows.append(event(f"e{number}", type_, time, f"u{rng.randrange(users)}", **data))
    return rows


@pytest.mark.parametrize("seed", range(12))
def test_short_ways_and_batches_decide_the_same(tmp_path: Path, seed: int) -> None:
    """ "The same plan, feed and clock give byte-identical `--effects`", traced or not, in any batches.

    Semantics: order.paths, order.batches
    """
    rng = random.Random(seed)
    playbooks = {name: text for name, text in PLAYBOOKS.items() if rng.random() < 0.65} or PLAYBOOKS
    playbooks, catalog = (playbooks | WATCHING, CATALOG + WATCHED) if seed % 3 == 0 else (playbooks, CATALOG)
    feed = _feed(rng, 120, rng.choice([2, 6]))
    whole = play(tmp_path, playbooks, feed, catalog=catalog)
    assert len({row["key"] for row in whole.effects}) == len(whole.effects)
    for traced, batch in ((False, 500), (False, 1), (True, 7)):
        other = play(tmp_path, playbooks, feed, catalog=catalog, traced=traced, batch=batch)
        assert other.effects == whole.effects
        assert other.outcome.journeys == whole.outcome.journeys
        assert not traced or other.decisions == whole.decisions
