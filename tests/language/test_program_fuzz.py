"""Whatever stands in a program's files: ``compile_program`` never raises, never hangs, and what it lets pass can run.

The shipped programs are changed at the level of YAML (keys and values dropped, doubled, renamed, swapped for anything)
and at the level of bytes. ``hunt`` runs as many seeds as one likes; the suite keeps a few hundred.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import string
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.feeds.replay import Replay
from engine.language.compile import compile_program
from engine.language.compiled import Compiled
from engine.language.diagnostics import render_text
from engine.language.source import read_source
from engine.runtime.simulate import simulate
from engine.stores.memory import MemoryStore

REPO = Path(__file__).resolve().parents[2]
PROGRAMS = (REPO, REPO / "examples" / "cdnow", REPO / "bench" / "w1")
SLOWEST = 2.0  # seconds a small program may take, errors and all
LARGEST = 8.0  # the same for files at the limit of what is read

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 5, 10**30, Decimal("0.5"), Decimal("1e90"), "", " ", "x", "none", "null", "true", "[",
    "{{", "{{ user.name }}", "{{ 1 / 0 }}", "user.tier", "user.get('x')", "event.amount > 'x'", "now", "today",
    "steps.gift", "count('order.paid') / 0 > 1", "not not not user.x", "99999999d", "1s", "3650d", "9999-12-31",
    "0001-01-01", "23:59", "10:00", "unlimited", "never", "1/90d", "1/99999999999999d", "9/day", "1/run", "default",
    "main", "order.paid", "user.signup", "user.name", "user.id", "*", "../../x", "/dev/null",
    "新人", "😀" * 50, "“上海”", "：", "，", "a" * 70_000, "(" * 3_000, "not " * 2_000 + "x", [], {}, [[]], [{}],
    [None], {"a": {"b": {"c": {}}}}, {"days": 0}, {"days": 3660, "at": "23:59"}, {"until": "now"}, {"until": "10:00"},
    {"until": "user.created_at"}, {"all": []}, {"none": ["user.x"]}, ["live", "draft"], [1, "a", None, {"x": []}],
)  # fmt: skip


class Plain(json.JSONEncoder):
    """JSON is YAML; decimals are written as they are."""

    def iterencode(self, o: Any, _one_shot: bool = False) -> Iterator[str]:
        return super().iterencode(_writable(o), _one_shot)


def _writable(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {key: _writable(one) for key, one in value.items()}
    return [_writable(one) for one in value] if isinstance(value, list) else value


def written(tree: Any) -> bytes:
    return json.dumps(tree, cls=Plain, ensure_ascii=False).encode("utf-8", "surrogatepass")


# ---------------------------------------------------------------------- changes of a tree


def spots(tree: Any) -> list[tuple[Any, Any]]:
    """Every place of a tree: (what holds it, key or index)."""
    found: list[tuple[Any, Any]] = []
    waiting = [tree]
    while waiting:
        here = waiting.pop()
        inside = list(here.items()) if isinstance(here, dict) else list(enumerate(here))
        for key, value in inside:
            found.append((here, key))
            if isinstance(value, (dict, list)):
                waiting.append(value)
    return found


def drop(rng: random.Random, holder: Any, key: Any, tree: Any) -> None:
    del holder[key]


def double(rng: random.Random, holder: Any, key: Any, tree: Any) -> None:
    if isinstance(holder, list):
        holder.insert(rng.randrange(len(holder) + 1), json.loads(json.dumps(_writable(holder[key]))))
    else:
        holder[f"{key}_2"] = holder[key]


def rename(rng: random.Random, holder: Any, key: Any, tree: Any) -> None:
    if isinstance(holder, list):
        return
    word = str(key)
    place = rng.randrange(len(word) + 1)
    longer = word[:place] + rng.choice("aeé名 .:") + word[place:]
    other = rng.choice([word[:place] + word[place + 1 :], longer, word.upper()])
    items = [(other if name == key else name, value) for name, value in holder.items()]
    holder.clear()
    holder.update(items)


def odd(rng: random.Random, holder: Any, key: Any, tree: Any) -> None:
    holder[key] = rng.choice(ODD)


def wrap(rng: random.Random, holder: Any, key: Any, tree: Any) -> None:
    value = holder[key]
    for _ in range(rng.choice((1, 1, 2, 12, 60))):
        value = [value] if rng.random() < 0.5 else {rng.choice(("if", "do", "any", "x")): value}
    holder[key] = value


def swap(rng: random.Random, holder: Any, key: Any, tree: Any) -> None:
    other, place = rng.choice(spots(tree))
    if isinstance(other, (dict, list)) and not isinstance(other[place], (dict, list)):
        holder[key], other[place] = other[place], holder[key] if not isinstance(holder[key], (dict, list)) else 1


def graft(rng: random.Random, holder: Any, key: Any, tree: Any) -> None:
    other, place = rng.choice(spots(tree))
    holder[key] = json.loads(json.dumps(_writable(other[place])))


SIGNS = ("", "&&", "||", "!", "===", "，", "“", "{{", "}}", "(", ")", '"', "'", ".", "[", " ", "\n", "\t", "%", "0")


def slip(rng: random.Random, holder: Any, key: Any, tree: Any) -> None:
    """A slip of the keyboard inside a text."""
    if isinstance(holder[key], str) and holder[key]:
        text = holder[key]
        place = rng.randrange(len(text))
        sign = rng.choice(SIGNS)
        holder[key] = text[:place] + sign + text[place + rng.randrange(2) :]


TREE_CHANGES: tuple[Callable[..., None], ...] = (drop, double, rename, odd, odd, wrap, swap, graft, slip, slip)


# ---------------------------------------------------------------------- changes of bytes


MARKS = (
    "：", "，", "“", "\t", "{", "[", "}", "]", "'", '"', "&a ", "*a", "!x ", "---\n", "#", "- ", "\r", "| ", "> ",
)  # fmt: skip


def noise(rng: random.Random, data: bytes) -> bytes:
    kind = rng.randrange(7)
    place = rng.randrange(len(data) + 1)
    if kind == 0:
        return data[:place] + bytes(rng.randrange(256) for _ in range(rng.randrange(1, 8))) + data[place:]
    if kind == 1:
        return data[:place] + rng.choice(MARKS).encode() + data[place:]
    if kind == 2:
        return data[:place]
    if kind == 3:
        lines = data.splitlines(keepends=True)
        del lines[rng.randrange(len(lines))]
        return b"".join(lines)
    if kind == 4:
        lines = data.splitlines(keepends=True)
        first = rng.randrange(len(lines))
        lines[first] = b" " * rng.randrange(1, 5) + lines[first]
        return b"".join(lines)
    if kind == 5:
        lines = data.splitlines(keepends=True)
        rng.shuffle(lines)
        return b"".join(lines)
    return data[:place] + data[place + rng.randrange(1, 20) :]


# ---------------------------------------------------------------------- one case


class Ground:
    """A copy of parts of the shipped programs: one playbook each, those it needs, and the whole catalog."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cases: list[tuple[Path, Path]] = []  # (program, file to change)
        for number, root in enumerate(PROGRAMS):
            playbooks = sorted(path for path in (root / "playbooks").rglob("*.yaml") if "catalog" not in path.parts)
            texts = {path: path.read_text(encoding="utf-8") for path in playbooks}
            shared = (root / "playbooks" / "catalog").glob("*.yaml")
            catalog = "".join(one.read_text(encoding="utf-8") for one in shared)
            for playbook in playbooks:
                others = needed(catalog + texts[playbook], texts) - {playbook}
                self._lay(root, playbook, sorted(others), folder / f"{number}-{playbook.stem}")

    def _lay(self, root: Path, playbook: Path, others: list[Path], to: Path) -> None:
        to.mkdir(parents=True)
        shutil.copy(root / "drumbeat.yaml", to)
        shutil.copytree(root / "playbooks" / "catalog", to / "playbooks" / "catalog")
        for one in (playbook, *others):
            shutil.copy(one, to / "playbooks")
        text = playbook.read_text(encoding="utf-8")
        said = text + "".join(one.read_text(encoding="utf-8") for one in others)
        for template in (root / "templates").rglob("*.j2"):
            name = template.relative_to(root / "templates")
            word = str(name.parent / name.name.split(".")[0]).removeprefix("./")
            if word in said or (name.parts[0] == "survey" and f"survey: {{name: {name.stem.split('.')[0]}" in said):
                (to / "templates" / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(template, to / "templates" / name)
        if (root / "lists").is_dir():
            shutil.copytree(root / "lists", to / "lists")
        feed(to / "feed.jsonl", text)
        catalog = sorted((to / "playbooks" / "catalog").glob("*.yaml"))
        files = [*[to / "playbooks" / playbook.name] * 6, *catalog, to / "drumbeat.yaml"]
        self.cases.extend((to, file) for file in files)

    def try_one(self, seed: int) -> Compiled:
        """Change one file by a seed, compile, and simulate what compiles."""
        rng = random.Random(seed)
        root, file = rng.choice(self.cases)
        before = file.read_bytes()
        try:
            file.write_bytes(changed(rng, before))
            return judged(root)
        finally:
            file.write_bytes(before)


def needed(text: str, playbooks: dict[Path, str]) -> set[Path]:
    """The playbooks that a text starts or whose selections its segments use, and what those need in turn."""
    found: set[Path] = set()
    while True:
        begun = set(re.findall(r"\bstart: *([\w-]+)", text))
        picked = set(re.findall(r"\{select: *([\w-]+)\}", text))
        more = {
            path
            for path, its in playbooks.items()
            if path.stem in begun or picked & set(re.findall(r"\bselect:\s+\{?name: *([\w-]+)", its))
        } - found
        if not more:
            return found
        found |= more
        text = "".join(playbooks[path] for path in sorted(more))


def changed(rng: random.Random, data: bytes) -> bytes:
    if rng.random() < 0.25:
        for _ in range(rng.choice((1, 1, 2, 5))):
            data = noise(rng, data) or b"x"
        return data
    node = read_source(data, "f.yaml").root
    assert node is not None, "the shipped programs are readable"
    tree = node.plain()
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        places = spots(tree)
        if places:
            rng.choice(TREE_CHANGES)(rng, *rng.choice(places), tree)
    return written(tree)


def feed(path: Path, playbook: str) -> None:
    """Twenty events that the playbook may react to."""
    types = [one for one in ("order.paid", "checkin", "community.post", "app.open", "app.opened") if one in playbook]
    rows = [{"id": "s", "type": "user.signup", "user": "u1", "time": "2026-01-01T08:00:00Z",
             "data": {"source": "app", "city": "上海", "name": "小王", "plan": "pro"}}]  # fmt: skip
    for number in range(1, 20):
        data = {"amount": 300 + number, "order_id": f"o{number}", "words": 800, "venue": "popup", "plan": "pro",
                "city": "Riga", "sku": "sku-7", "platform": "ios", "build": 1001}  # fmt: skip
        rows.append({"id": f"e{number}", "type": (types or ["order.paid"])[number % max(1, len(types))], "user": "u1",
                     "time": f"2026-{1 + number // 4:02}-{1 + number:02}T08:00:00Z", "data": data})  # fmt: skip
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")


def judged(root: Path, slowest: float = SLOWEST) -> Compiled:
    """Compile and simulate; every promise of this file is checked here."""
    begun = time.process_time()
    found = compile_program(root)
    assert time.process_time() - begun < slowest, "compiling takes too long"
    assert (found.plan is None) == (found.errors > 0), "a plan exactly when there is no error"
    text = render_text(found.problems, found.sources)
    assert not text or all(ord(sign) >= 32 or sign == "\n" for sign in text), "nothing unprintable is shown"
    if found.plan is not None:
        begun = time.process_time()
        simulate(found.plan, Replay([root / "feed.jsonl"]), MemoryStore(keep_log=False), known_types=found.known_types)
        assert time.process_time() - begun < SLOWEST, "deciding twenty events takes too long"
    return found


def hunt(folder: Path, seeds: range) -> dict[int, str]:
    """Seeds that break a promise, with what happened."""
    ground = Ground(folder)
    broken: dict[int, str] = {}
    for seed in seeds:
        try:
            ground.try_one(seed)
        except Exception as error:
            broken[seed] = f"{type(error).__name__}: {error}"
    return broken


# ---------------------------------------------------------------------- the suite


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return Ground(tmp_path_factory.mktemp("ground"))


def test_the_unchanged_parts_are_valid(ground: Ground) -> None:
    """What the fuzzer starts from compiles and runs, so that a broken case is the change's doing."""
    for root in sorted({root for root, _ in ground.cases}):
        assert judged(root).errors == 0, root.name


@pytest.mark.parametrize("first", range(0, 400, 50))
def test_no_change_of_a_program_breaks_the_compiler(ground: Ground, first: int) -> None:
    """Any change of any file gives problems or a plan that runs, and never an exception."""
    for seed in range(first, first + 50):
        try:
            ground.try_one(seed)
        except Exception as error:
            pytest.fail(f"seed {seed}: {type(error).__name__}: {error}")


BOMBS = {
    "30,000 brackets": "a: " + "[" * 30_000,
    "30,000 braces": "playbook: p\ntrigger: " + "{a: " * 30_000,
    "30,000 brackets in an expression": "playbook: p\ntitle: T\nwhen: '" + "(" * 30_000 + "'",
    "30,000 dashes": "playbook: p\nsteps:\n  " + "- " * 30_000,
    "deep steps": "playbook: p\ntitle: T\ntrigger: {signup: true}\nentry: once\nsteps: "
    + "[{choose: [{otherwise: " * 12 + "[{stop: x}]" + "}]}]" * 12,
    "a wide mapping": "playbook: p\n" + "".join(f"key_{n}: 1\n" for n in range(20_000)),
    "many steps": "playbook: p\ntitle: T\ntrigger: {signup: true}\nentry: once\nsteps:\n" + "  - {stop: x}\n" * 8_000,
    "many unknown steps": "playbook: p\ntitle: T\ntrigger: {signup: true}\nentry: once\nsteps:\n"
    + "".join(f"  - {{stop: x, if: steps.s{n} is none}}\n" for n in range(2_000)),
    "a long chain of operators": "playbook: p\ntitle: T\nwhen: " + " and ".join(["user.x"] * 5_000),
    "long not": "playbook: p\ntitle: T\nwhen: '" + "not " * 20_000 + "user.x'",
    "aliases": "a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
    "letters": "".join(string.printable) * 20,
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("file", ["drumbeat.yaml", "playbooks/p.yaml", "playbooks/catalog/c.yaml"])
def test_hostile_files_are_refused_in_time(tmp_path: Path, name: str, file: str) -> None:
    """Files made to break a reader are answered like any other: with problems, soon."""
    (tmp_path / "playbooks" / "catalog").mkdir(parents=True)
    (tmp_path / "drumbeat.yaml").write_text("program: p\n")
    (tmp_path / "feed.jsonl").write_text("")
    (tmp_path / file).write_bytes(BOMBS[name].encode())
    found = judged(tmp_path, LARGEST)
    refused = name != "many steps" or file == "drumbeat.yaml"  # a long playbook, and nothing wrong with it
    assert (found.errors > 0) is refused


def test_the_writer_of_this_file_writes_yaml() -> None:
    """The fuzzer's own files are YAML, or it would only ever test one error."""
    tree = {"a": [Decimal("0.5"), None, "新人: x", {"b": True}]}
    assert yaml.safe_load(written(tree)) == {"a": [0.5, None, "新人: x", {"b": True}]}
