"""How long checking a big program takes, against what libyaml needs to read the same files; and how fast we start.

    python bench/validate.py [--playbooks 1000] [--repeat 3] [--profile]

Two ratios of the issue, each measured in one run on one machine, in CPU time of processes of their own (so other work
on the machine disturbs little), the best of some repeats:

* ``drumbeat validate`` of 1,000 playbooks with templates, against ``yaml.load(..., CSafeLoader)`` of the same YAML
  files (``events``: libyaml's events alone, without building values);
* ``drumbeat --version`` against ``python -c pass``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLAYBOOKS = 1000
MOST_VALIDATE = 15.0
MOST_VERSION = 4.0

_PROGRAM = """\
program: many
timezone: Asia/Shanghai
locale: zh-CN
activity: [app.opened, order.paid]
profile: {name: text | none, city: text | none, plan: [free, pro, none], vip_since: date | none, blocked: bool | none}
events:
  user.signup: {source: [app, mini_program, invite, import, none]}
  app.opened: {}
  order.paid: {order_id: text, amount: money}
  checkin: {}
  "*": open
channels:
  app: {via: file, path: out/app.jsonl}
  sms: {via: file, path: out/sms.jsonl}
policies:
  default:
    consent: {marketing: required, community: required, service: opt_out, transactional: none}
    quiet_hours: never
    caps: [{purpose: marketing, max: 3, per: 7d}]
"""

_WELCOME = """\
# yaml-language-server: $schema=../schemas/playbook.schema.json
# 新人第 %(n)d 号旅程：礼包、问候、入群。
playbook: welcome-%(n)d
title: 新人旅程 %(n)d
owner: growth@shop.example
priority: %(prio)d
trigger: {event: signup.%(n)d, if: event.source != "import"}
when: [not user.blocked, user.city != "城市%(n)d"]
entry: {mode: once, not_in: [staff], limit: 20000/day}
goal: {event: order.paid, within: 7d, value: event.amount}
steps:
  - coupon: {pool: coupon-%(pool)d, on_exhausted: skip}
    id: gift
  - message: {template: welcome-%(n)d/hello, via: app, purpose: service, with: {coupon: "{{ steps.gift }}"}}
    if: steps.gift is not none
  - wait: {days: 1, at: "10:00"}
  - choose:
      - when: count("app.opened", within="%(days)dd") >= %(k)d
        do: [{points: {add: %(k)d, reason: 来过}}]
      - otherwise: [{message: {template: welcome-%(n)d/waiting, via: sms, purpose: marketing, valid_for: 12h}}]
  - wait_for:
      event: order.paid
      if: event.amount >= %(k)d
      up_to: 3d
      then: [{points: {add: 50, reason: 首单}}]
      else: []
"""

_WIN_BACK = """\
# yaml-language-server: $schema=../schemas/playbook.schema.json
# 召回 %(n)d：先站内，三天没打开再发短信，到期前一天最后一次。
playbook: win-back-%(n)d
title: 沉睡召回 %(n)d
owner: growth@shop.example
trigger: {inactivity: %(days)dd, activity: [order.paid]}
when: [count("order.paid") >= %(k)d, not user.blocked]
entry: {mode: single, again_after: 90d, limit: 3000/day, not_in: [staff]}
holdout: {percent: 10}
goal: {event: order.paid, within: 14d, value: event.amount}
steps:
  - coupon: {pool: coupon-%(pool)d, on_exhausted: stop}
    id: offer
  - message: {template: welcome-%(n)d/hello, via: app, purpose: marketing, with: {coupon: "{{ steps.offer }}"}}
    id: say_offer
  - wait_for:
      event: app.opened
      up_to: 3d
      then: []
      else: [{message: {template: welcome-%(n)d/waiting, via: sms, purpose: marketing}, id: say_offer_sms}]
    id: opened
  - wait: {until: steps.offer.expires_at - duration("1d")}
  - message: {template: welcome-%(n)d/waiting, via: [sms, app], purpose: marketing, valid_for: 12h}
    id: say_last_day
"""

_SPLIT = """\
# yaml-language-server: $schema=../schemas/playbook.schema.json
# 关怀 %(n)d：一半只问候，一半附券。
playbook: care-%(n)d
title: 常客关怀 %(n)d
owner: loyalty@shop.example
trigger: {segment: {enters: at-risk-%(pool)d}}
when: [not user.blocked, 'sum("order.paid", "amount", within="%(days)dd") > %(k)d00']
entry: {mode: single, again_after: 180d, limit: 2000/day, not_in: [staff]}
goal: {event: order.paid, within: 30d, value: event.amount}
steps:
  - split:
      salt: care-%(n)d
      arms:
        - name: words
          weight: 50
          do: [{message: {template: welcome-%(n)d/waiting, via: app, purpose: marketing}, id: say_words}]
        - name: coupon
          weight: 50
          do:
            - coupon: {pool: coupon-%(pool)d, on_exhausted: stop}
              id: offer
            - message:
                template: welcome-%(n)d/hello
                via: app
                purpose: marketing
                with: {coupon: "{{ steps.offer }}"}
              id: say_coupon
    id: test
  - wait: 7d
  - tag: {add: [cared-%(n)d]}
    if: user.plan == "pro" or user.tier == "gold"
"""

_HELLO = """\
{{ user.name|default("您") }}，第 %(n)d 份礼物到了{%% if with.coupon %%}：{{ with.coupon.code }}，\
{{ with.coupon.expires_at|date("%%-m月%%-d日") }}前有效{%% endif %%}。
"""

_WAITING = """\
{{ user.name|default("您") }}，%(n)d 号礼包还在等您。\
{%% if user.points > %(k)d %%}您已有 {{ user.points }} 分。{%% endif %%}
"""

_SEGMENT = """\
  at-risk-%(pool)d:
    if: count("order.paid", within="180d") >= 3 and count("order.paid", within="%(days)dd") == 0
"""
_COUPON = """\
  coupon-%(pool)d:
    title: 满减券 %(pool)d
    value: {off: %(k)d}
    codes: {generate: C%(pool)d}
    valid_for: 7d
    limits: {per_user: 1, total: 100000}
"""
_TIERS = """\
tiers:
  member: {metric: 'sum("order.paid", "amount", within="365d")', levels: {silver: 500, gold: 2000}}
"""


def write(root: Path, playbooks: int = PLAYBOOKS) -> None:
    """A program of so many playbooks, the same on every machine, two or three templates a playbook."""
    pools = max(1, playbooks // 20)
    files = {"drumbeat.yaml": _PROGRAM}
    segments, coupons = ["segments:\n  staff: {if: user.blocked}\n"], ["coupons:\n"]
    for pool in range(pools):
        values = {"pool": pool, "days": 30 + pool % 60, "k": 5 + pool % 40}
        segments.append(_SEGMENT % values)
        coupons.append(_COUPON % values)
    files["playbooks/catalog/segments.yaml"] = "".join(segments)
    files["playbooks/catalog/coupons.yaml"] = "".join(coupons)
    files["playbooks/catalog/tiers.yaml"] = _TIERS
    bodies = ((_WELCOME, ("sms",)), (_WIN_BACK, ("app", "sms")), (_SPLIT, ("app",)))
    for n in range(playbooks):
        values = {"n": n, "pool": n % pools, "days": 1 + n % 97, "k": 2 + n % 31, "prio": n % 100}
        body, channels = bodies[n % len(bodies)]
        files[f"playbooks/area-{n % 10}/playbook-{n}.yaml"] = body % values
        files[f"templates/welcome-{n}/hello.app.j2"] = _HELLO % values
        for channel in channels:
            files[f"templates/welcome-{n}/waiting.{channel}.j2"] = _WAITING % values
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


_LOAD = """
import sys, yaml
from pathlib import Path
for path in sorted(Path(sys.argv[1]).rglob("*.yaml")):
    yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
"""
_EVENTS = """
import sys, yaml
from pathlib import Path
for path in sorted(Path(sys.argv[1]).rglob("*.yaml")):
    for event in yaml.parse(path.read_bytes(), Loader=yaml.CSafeLoader):
        pass
"""
_NOTHING = "import sys, yaml\nfrom pathlib import Path\nlist(sorted(Path(sys.argv[1]).rglob('*.yaml')))\n"


def cpu(command: list[str], repeat: int, *, within: tuple[int, ...] = (0,)) -> float:
    """User and system seconds of a command, the best of some runs."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode
    best = float("inf")
    for _ in range(repeat):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode not in within:
            raise SystemExit(f"{command} ended with {done.returncode}:\n{(done.stdout + done.stderr)[:2000]}")
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return best


def drumbeat(*words: str | Path) -> list[str]:
    """The command line of a verb."""
    return [sys.executable, "-m", "engine", *map(str, words)]


def measure(playbooks: int, repeat: int) -> dict[str, float | int]:
    """All figures of one run."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(root, playbooks)
        start = cpu([sys.executable, "-c", _NOTHING, folder], repeat)
        load = cpu([sys.executable, "-c", _LOAD, folder], repeat) - start
        events = cpu([sys.executable, "-c", _EVENTS, folder], repeat) - start
        validate = cpu(drumbeat("validate", "--strict", "--quiet", root), repeat)
    bare = cpu([sys.executable, "-c", "pass"], max(repeat, 10))
    version = cpu(drumbeat("--version"), max(repeat, 10))
    return {
        "playbooks": playbooks,
        "validate_seconds": round(validate, 3),
        "libyaml_load_seconds": round(load, 3),
        "libyaml_events_seconds": round(events, 3),
        "validate_per_load": round(validate / load, 2),
        "validate_per_events": round(validate / events, 2),
        "version_seconds": round(version, 4),
        "python_seconds": round(bare, 4),
        "version_per_python": round(version / bare, 2),
    }


def profile(playbooks: int) -> None:
    """Where the time of a validation goes."""
    import cProfile
    import pstats

    sys.path.insert(0, str(ROOT))
    from engine.language.compile import compile_program

    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), playbooks)
        runner = cProfile.Profile()
        runner.enable()
        compile_program(Path(folder))
        runner.disable()
        pstats.Stats(runner).sort_stats("cumtime").print_stats("engine", 70)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--playbooks", type=int, default=PLAYBOOKS)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--profile", action="store_true", help="show where the time goes instead")
    parser.add_argument("--write", type=Path, help="only write the program into this folder")
    options = parser.parse_args()
    if options.write is not None:
        write(options.write, options.playbooks)
    elif options.profile:
        profile(options.playbooks)
    else:
        found = measure(options.playbooks, options.repeat)
        found["most_validate_per_load"], found["most_version_per_python"] = MOST_VALIDATE, MOST_VERSION
        print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
