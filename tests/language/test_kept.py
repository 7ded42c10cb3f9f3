"""What is kept of files that were read before."""

from __future__ import annotations

from pathlib import Path

from engine.kept import Kept
from engine.language.compile import compile_program
from engine.language.expressions import code
from engine.language.expressions.parse import parse
from engine.language.source import read_source


def test_what_did_not_change_is_not_read_again() -> None:
    """Name and bytes together name a tree; a file with a problem is read anew, for its tree may be marked."""
    good, bad = b"playbook: kept\n", b"playbook: kept\nplaybook: again\n"
    assert read_source(good, "a.yaml") is read_source(bytes(bytearray(good)), "a.yaml")
    assert read_source(good, "b.yaml") is not read_source(good, "a.yaml")
    assert read_source(good + b"# new\n", "a.yaml") is not read_source(good, "a.yaml")
    assert read_source(bad, "a.yaml") is not read_source(bad, "a.yaml")


def test_it_holds_so_many_bytes() -> None:
    """What was asked for longest ago goes first; what is larger than everything together is never kept."""
    made: list[str] = []
    kept: Kept[str] = Kept(10)

    def ask(name: str, size: int) -> None:
        def make() -> str:
            made.append(name)
            return name

        assert kept.get(name, size, make, lambda value: value != "unfit") == name

    for name, size in (("a", 4), ("b", 4), ("a", 4), ("c", 4), ("a", 4), ("b", 4), ("d", 11), ("d", 11)):
        ask(name, size)
    assert made == ["a", "b", "c", "b", "d", "d"]
    ask("unfit", 1)
    ask("unfit", 1)
    assert made[5:] == ["d", "unfit", "unfit"]


def test_a_program_compiled_again_says_the_same(tmp_path: Path) -> None:
    """Files that were read before compile to the same plan and the same problems, and an edit is seen."""
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "drumbeat.yaml").write_text("program: p\n", encoding="utf-8")
    book = tmp_path / "playbooks" / "a.yaml"
    text = "playbook: a\ntitle: A\ntrigger: {signup: true}\nentry: once\nsteps: [{tag: {add: [x]}}]\n"
    book.write_text(text, encoding="utf-8")
    first, second = compile_program(tmp_path), compile_program(tmp_path)
    assert first.plan is not None
    assert second.plan is not None
    assert first.plan.digest == second.plan.digest
    book.write_text(text.replace("[x]", "[y]"), encoding="utf-8")
    edited = compile_program(tmp_path).plan
    assert edited is not None
    assert edited.digest != first.plan.digest
    book.write_text(text.replace("steps: [", "steps: [{tagg: 1}, "), encoding="utf-8")
    wrong = [compile_program(tmp_path).problems for _ in range(3)]
    assert wrong[0]
    assert wrong[0] == wrong[1] == wrong[2]
    book.write_text(text, encoding="utf-8")
    again = compile_program(tmp_path)
    assert (again.problems, again.plan is not None and again.plan.digest) == (first.problems, first.plan.digest)


def test_an_expression_compiled_again_is_the_same_source() -> None:
    """Names of constants are counted anew for each; what looks like one inside a text is left alone."""
    before = code._compiled.cache_info().misses
    for value in ([1], [2], [3]):
        module = code.Module()
        name = module.name(value)
        asked = module.function(f"[{name}, '{name}', \"{name} it's\", '\\'{name}', {name}]")
        assert module.build("asked twice")[asked](None) == [value, name, f"{name} it's", f"'{name}", value]
    assert code._compiled.cache_info().misses == before + 3  # the texts differ, as they should
    before = code._compiled.cache_info().misses
    for value in ([1], [2], [3]):
        module = code.Module()
        asked = module.function(module.name(value))
        assert module.build("asked again")[asked](None) is value
    assert code._compiled.cache_info().misses == before + 1


def test_an_expression_read_again_has_no_problems_of_others() -> None:
    """A sound text is read once, and what is found at one place is not said at the next; others are read anew."""
    one, other = parse("user.age > 41"), parse("user.age > 41")
    assert one.node is other.node
    one.issues.add((0, 4), "unknown-name", "unknown here")
    assert not other.issues.found
    assert not parse("user.age > 41").issues.found
    assert [issue.code for issue in parse("user.age >").issues.found] == ["syntax"]
    assert parse("user.age >") is not parse("user.age >")
