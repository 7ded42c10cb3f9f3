"""What a template prints: the table of values, operators and filters."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, time
from decimal import Decimal, localcontext
from zoneinfo import ZoneInfo

import pytest
from markupsafe import Markup

from engine.errors import MissingVariable, RenderError

PRINTED = [
    # look-ups
    ("Hi {{ user.name }}!", "Hi 李雷!"),
    ("{{ user['name'] }}{{ user.get('age') }}", "李雷30"),
    ("{{ user.items }}", "an item called items"),
    ("{{ with.coupon.code }}/{{ with.coupon['off'] }}", "C-1/20"),
    ("{{ event.lines[0].sku }}{{ event.lines[-1].sku }}", "ab"),
    ("{{ with.table['gold'] }}", "金"),
    ('{{ {"gold": "G"}["gold"] }}', "G"),
    # texts, numbers, instants
    ("{{ user.balance }}", "1000"),
    ("{{ event.amount }}", "19.9"),
    ("{{ user.vip }}", "true"),
    ("{{ now }}", "2026-11-11 01:05"),
    ("{{ today }}", "2026-11-11"),
    ("{{ with.zero }}{{ with.empty }}|", "0|"),
    # null is false, its fields are null, it has an order with nothing
    ("{% if user.city %}a{% else %}b{% endif %}", "b"),
    ("{% if user.nope.deep['x'].y %}a{% else %}b{% endif %}", "b"),
    ("{% if user.city > 1 or user.city < 1 or user.city == 1 %}a{% else %}b{% endif %}", "b"),
    ("{% if user.city == none and user.city != 'x' %}a{% endif %}", "a"),
    ("{% if steps.skipped.code %}a{% else %}b{% endif %}", "b"),
    ("{% if user.city is none and user.name is defined and user.nope is not defined %}a{% endif %}", "a"),
    ("{% if 'x' in user.city %}a{% else %}b{% endif %}", "b"),
    ("{{ user.city|default('there') }}", "there"),
    ("{{ user.city|upper|trim|default('there') }}", "there"),
    ("{{ (user.city ~ 'x')|default('there') }}", "there"),
    ("{{ (user.city + 1)|default('there') }}", "there"),
    ("{{ user.name or 'friend' }}{{ user.city or 'friend' }}", "李雷friend"),
    ("{{ with.empty|default('d') }}|{{ with.empty|default('d', true) }}", "|d"),
    # operators
    ("{{ 1 + 2 * 3 - 4 }}", "3"),
    ("{{ 10 / 2 }} {{ 1 / 4 }} {{ 7 // 2 }} {{ -user.age }}", "5 0.25 3 -30"),
    ("{{ 0.1 + 0.2 }}", "0.3"),
    ("{{ event.amount * 2 }}", "39.8"),
    ("{{ user.name ~ ' ' ~ 1.50 ~ ' ' ~ 2 }}", "李雷 1.5 2"),
    ("{% if 1 < 2 <= 2 and not 3 > 4 %}a{% endif %}", "a"),
    ("{% if 'tea' in user.tags and 'x' not in user.tags and '李' in user.name %}a{% endif %}", "a"),
    ("{% if user.vip == true and user.vip != 1 %}a{% endif %}", "a"),
    ("{% if 'name' in user and now > now == false %}a{% else %}b{% endif %}", "b"),
    ("{{ 'a' if user.vip else 'b' }}", "a"),
    # statements
    ("{% for t in user.tags %}{{ loop.index }}{{ t }}{{ ', ' if not loop.last else '' }}{% endfor %}", "1tea, 2new"),
    ("{% for l in event.lines if l.n > 1 %}{{ l.sku }}{{ loop.length }}{% endfor %}", "a1"),
    ("{% for t in with.none %}x{% else %}none{% endfor %}", "none"),
    ("{% for k in with.table %}{{ k }}={{ with.table[k] }}{% endfor %}", "gold=金"),
    ("{% for a, b in [[1, 2], [3, 4]] %}{{ a }}{{ b }} {% endfor %}", "12 34 "),
    ("{% set n = user.name %}{{ n }}{{ n }}", "李雷李雷"),
    ("{% raw %}{{ user.name }}{% endraw %}{# gone #}", "{{ user.name }}"),
    ("a\n{% if user.vip %}\nb\n{% endif %}\nc\n", "a\nb\nc"),
    ("A\r\nB", "A\nB"),
    # filters
    ("{{ ' aB '|trim|upper }}{{ 'AB'|lower }}{{ 'li lei'|title }}", "ABabLi Lei"),
    ("{{ user.tags|join(', ') }} {{ user.tags|length }} {{ user.name|length }}", "tea, new 2 2"),
    ("{{ user.tags|first }}{{ user.tags|last }}", "teanew"),
    ("{{ with.none|first|default('-') }}", "-"),
    ("{{ 2.5|round }} {{ 2.345|round(2) }} {{ -3|abs }}", "3 2.35 3"),
    ("{{ '12'|int + 1 }} {{ '1.5'|float }} {{ 'x'|int|default('-') }} {{ 3.9|int }}", "13 1.5 - 3"),
    ("{{ event.amount|money }} {{ 5|money }} {{ 0.005|money }}", "19.90 5.00 0.01"),
    ("{{ 'a-b'|replace('-', '+') }}", "a+b"),
    ("{{ '你好世界'|truncate(3) }}{{ 'ab'|truncate(3) }}{{ 'abcd'|truncate(3, '') }}", "你好…ababc"),
    (
        "{{ now|date }} {{ now|date('%-m月%-d日 %H:%M') }} {{ now|date('%y%j%u%p%I%%') }}",
        "2026-11-11 11月11日 01:05 263153AM01%",
    ),
    ("{{ user.born|date('%d.%m.%Y') }} {{ user.birthday|date('%-d') }}", "03.02.1990 3"),
    ("{{ '2026-01-01T00:00:00Z'|date('%H:%M') }}", "08:00"),
]


@pytest.mark.parametrize(("text", "expected"), PRINTED)
def test_prints(render, world, text, expected):
    """Each row of the table prints what it says."""
    assert render(text, world).text == expected


MISSING = [
    "{{ user.city }}",
    "{{ user.nope }}",
    "{{ event }}{{ group.name }}",
    "{{ user.nope.deep }}",
    "{{ user.name ~ user.city }}",
    "{{ user.city + 1 }}",
    "{{ -user.city }}",
    "{{ user.city|upper }}",
    "{{ user.city|money }}",
    "{{ now if user.city else user.city }}",
    "{{ event.lines[7].sku }}",
    "{{ none }}",
    "{{ [1, none]|join }}",
    "{% for x in user.city %}x{% endfor %}",
    "{% if user.city %}{% set n = 1 %}{% endif %}{{ n }}",
    "{{ 'abc'|int }}",
]


@pytest.mark.parametrize("text", MISSING)
def test_null_is_never_printed(render, world, text):
    """A null or missing value stops the message, with the file and line.

    Semantics: render.missing
    """
    world["event"] = {"lines": []} if "event }}" not in text else None
    with pytest.raises(MissingVariable) as caught:
        render("\n" + text, world)
    assert caught.value.where == "templates/t.sms.j2:2"


def test_the_missing_name_is_told(render, world):
    """The message names the path that is missing."""
    with pytest.raises(MissingVariable, match=r"'with\.coupon\.nope' is missing"):
        render("{{ with.coupon.nope|trim }}", world)


WRONG = [
    "{{ user.tags }}",
    "{{ user }}",
    "{{ user.name.first }}",
    "{{ user.name[0] }}",
    "{{ user.age['x'] }}",
    "{{ user.tags + user.tags }}",
    "{{ user.name + user.name }}",
    "{{ user.name * 3 }}",
    "{{ 1 / 0 }}",
    "{{ 1 // with.zero }}",
    "{{ user.name < 3 }}",
    "{{ user.name|abs }}",
    "{{ user.name|money }}",
    "{{ user.name|date }}",
    "{{ user.age|date }}",
    "{{ user.age|length }}",
    "{{ user.name|truncate(0) }}",
    "{{ user.name|truncate('x') }}",
    "{{ user.name|replace('', 'x') }}",
    "{{ 1|round(99) }}",
    "{{ 1 in 2 }}",
    "{% for c in user.name %}{{ c }}{% endfor %}",
    "{% for a, b in user.tags %}{{ a }}{% endfor %}",
    "{{ {[1]: 2} }}",
    "{{ '\\ud800' }}",
    "{{ '\\x00' }}",
]


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_type_is_an_error(render, world, text):
    """What does not fit is a RenderError with its place, and is not called missing."""
    with pytest.raises(RenderError) as caught:
        render("\n\n" + text, world)
    assert not isinstance(caught.value, MissingVariable)
    assert caught.value.where.startswith("templates/t.sms.j2:")


def test_errors_never_quote_a_value(render):
    """Personal data does not leak through the words of an error or its causes."""
    canary = "canary-5f3a"
    texts = (
        "{{ user.x|money }}",
        "{{ user.x|date }}",
        "{{ user.x.y }}",
        "{{ user.x < 1 }}",
        "{% for a, b in [user.x] %}{% endfor %}",
    )
    for text in texts:
        with pytest.raises(RenderError) as caught:
            render(text, {"user": {"x": canary}})
        assert canary not in f"{caught.value} {caught.value.__cause__} {caught.value.__context__}"


def test_zone_order(read, world):
    """Instants are shown in the zone told, then the user's, the group's, that of now; naive ones are refused."""
    template = read("{{ event.at }}")[0]
    at = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
    assert template.render({"event": {"at": at}, "user": {"zone": "Asia/Tokyo"}}).text == "2026-01-01 21:00"
    assert template.render({"event": {"at": at}, "user": {"zone": "Asia/Tokyo"}}, zone=UTC).text == "2026-01-01 12:00"
    assert template.render({"event": {"at": at}, "group": {"zone": "Asia/Tokyo"}}).text == "2026-01-01 21:00"
    here = at.astimezone(ZoneInfo("Asia/Kolkata"))
    for name in ("No/Where", "../../etc/passwd", "", "a\0b", None, 3, "x" * 5000):
        assert template.render({"event": {"at": at}, "user": {"zone": name}, "now": here}).text == "2026-01-01 17:30"
    assert template.render({"event": {"at": at}}).text == "2026-01-01 12:00"
    with pytest.raises(RenderError, match="without a zone"):
        template.render({"event": {"at": at.replace(tzinfo=None)}})


def test_values_from_outside_the_table(render):
    """Marked-up text is text, a time prints, a float prints as written, odd objects do not."""
    assert render("{{ vars.a }}{{ vars.b }}", {"vars": {"a": Markup("<b>"), "b": time(9, 5)}}).text == "<b>09:05"
    assert render("{{ vars.a }}", {"vars": {"a": 0.1}}).text == "0.1"
    for odd in (object(), b"x", {1}, float("nan"), Decimal("Infinity"), Decimal("sNaN"), lambda: 1, type):
        with pytest.raises(RenderError):
            render("{{ vars.a }}", {"vars": {"a": odd}})


def test_decimal_context_of_the_caller_changes_nothing(render):
    """The same message under any decimal context."""
    with localcontext() as rules:
        rules.prec = 2
        assert render("{{ 1.2345 * 2 }} {{ 123.456|money }}").text == "2.4690 123.46"


PAYLOADS = (
    "{{ 7*7 }}",
    "{% for x in y %}",
    "{# c #}",
    "{{",
    "%}",
    "{% raw %}",
    "${7*7}",
    "#{7*7}",
    "<%= 7 %>",
    "\\{{",
    "{{ user.id }}",
)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_data_is_never_template_source(render, world, payload):
    """Text that looks like a template appears letter for letter, from every root, through every way of printing.

    Semantics: render.data
    Threat: template.data
    """
    world |= {root: {"x": payload} for root in ("user", "group", "event", "steps", "with", "vars")}
    for root in ("user", "group", "event", "steps", "with", "vars"):
        head = '---\nsubject: "{{ ROOT.x }}"\ntitle: "{{ ROOT.x|trim }}"\n---\n'
        text = (head + '{{ ROOT.x }}|{{ [ROOT.x]|join }}|{{ ROOT.x ~ "" }}').replace("ROOT", root)
        message = render(text, world)
        assert message.text == f"{payload}|{payload}|{payload}"
        assert message.subject == message.fields["title"] == payload


def test_one_template_in_many_threads(read):
    """A template is safe to share: each thread sees only its own values."""
    template = read("{% for x in vars.l %}{{ x }}{% endfor %}{{ user.id }}")[0]
    wrong: list[str] = []

    def work(name: str) -> None:
        for _ in range(300):
            text = template.render({"vars": {"l": [name] * 5}, "user": {"id": name}}).text
            if text != name * 6:
                wrong.append(text)

    threads = [threading.Thread(target=work, args=(f"<{n}>",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_context_is_not_changed(render, world):
    """Rendering reads the context and leaves it as it was."""
    before = repr(world)
    render("{% set a = user.tags %}{% for x in a %}{% set b = x %}{{ b }}{% endfor %}{{ user.nope|default(1) }}", world)
    assert repr(world) == before


def test_a_line_of_the_body_counts_from_the_top_of_the_file(read):
    """Problems and errors name the line of the file, front matter included, and the column where it is known."""
    head = '---\nsubject: "x"\ntitle: "{{ user.t }}"\n---\n'
    problem = read(head + "one\n  {{ usr.name }}")[1][0]
    assert (problem.line, problem.col, problem.code) == (6, 6, "template-word")
    assert "did you mean 'user'?" in str(problem)
    template = read(head + "one\n{% if user.a %}\n{{ user.b }}{% endif %}")[0]
    with pytest.raises(MissingVariable) as caught:
        template.render({"user": {"a": 1, "t": "t"}})
    assert caught.value.where == "templates/t.sms.j2:7"
    with pytest.raises(MissingVariable) as caught:
        template.render({"user": {"a": 0}})
    assert caught.value.where == "templates/t.sms.j2:3"
