"""Files, names, locales, digests: what is read from the folder and what is refused."""

from __future__ import annotations

import os
import sys

import pytest

from engine.render import RENDER_PAGES, TemplateSet, locale_chain


def write(root, files):
    """Write files under root/templates."""
    for name, text in files.items():
        path = root / "templates" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())


def load(root, files):
    """Write and load; gives the set and the codes by file."""
    write(root, files)
    loaded, problems = TemplateSet.load(root)
    return loaded, [(problem.file, problem.code) for problem in problems]


def test_the_set(tmp_path):
    """Names, channels and locales of what was read, in folders too."""
    loaded, problems = load(
        tmp_path,
        {
            "hello.sms.j2": "a",
            "hello.sms.zh-CN.j2": "b",
            "hello.email.en.j2": "c",
            "welcome/first/hi-2_x.wecom.zh.j2": "d",
            ".DS_Store": b"\x00\xff",
            ".git/x.sms.j2": "x",
        },
    )
    assert problems == []
    assert loaded.names() == ["hello", "welcome/first/hi-2_x"]
    assert loaded.channels("hello") == ["email", "sms"]
    assert loaded.locales("hello", "sms") == ["zh-CN", None]
    assert loaded.locales("nope", "sms") == loaded.channels("nope") == []
    assert len(loaded) == len(list(loaded)) == 4
    found = loaded.find("welcome/first/hi-2_x", "wecom", "zh-TW", "en")
    assert (found.name, found.channel, found.locale) == ("welcome/first/hi-2_x", "wecom", "zh")
    assert found.file == "templates/welcome/first/hi-2_x.wecom.zh.j2"


CHAIN = [
    (["zh-CN", "zh", "en-US", "en", None], "zh-CN", "en-US", "zh-CN"),
    (["zh", "en-US", "en", None], "zh-CN", "en-US", "zh"),
    (["en-US", "en", None], "zh-CN", "en-US", "en-US"),
    (["en", None], "zh-CN", "en-US", "en"),
    ([None], "zh-CN", "en-US", None),
    (["zh-TW", "fr"], "zh-CN", "en-US", "-"),
    (["zh-CN", None], "zh", "en", None),
    (["zh-CN", None], "zh_cn", None, "zh-CN"),
    (["zh-CN", None], "ZH-cn", "", "zh-CN"),
    (["zh-Hant", "zh", None], "zh-Hant-TW", "en", "zh-Hant"),
    (["en", None], None, "en", "en"),
    (["en", None], "../../etc/passwd", "en", "en"),
    (["en", None], "", "en", "en"),
    (["en", None], "en\n", None, None),
    (["en", None], "x" * 10**6, None, None),
]


@pytest.mark.parametrize(("there", "locale", "default", "expected"), CHAIN)
def test_locale_chain(tmp_path, there, locale, default, expected):
    """Exact, language, the program's, its language, then the file without locale; None when there is none.

    Semantics: render.locale
    """
    files = {f"a.sms{'.' + name if name else ''}.j2": f"{name}" for name in there}
    loaded, problems = load(tmp_path, files)
    assert problems == []
    found = loaded.find("a", "sms", locale, default)
    assert ("-" if found is None else found.locale) == expected


def test_chain_has_no_doubles():
    """Each locale is tried once, and the end is the file without locale."""
    assert locale_chain("en-GB", "en") == ["en-GB", "en", None]
    assert locale_chain(None, None) == [None]


BAD_NAMES = [
    "Hello.sms.j2", "hello.j2", "hello.SMS.j2", "hello.sms.zh-cn.j2", "hello.sms.zh_CN.j2", "hello.sms.CHINESE.j2",
    "a.b.c.d.j2", "-a.sms.j2", "_a.sms.j2", "a b.sms.j2", "%2e%2e.sms.j2", "a..j2", "a.sms..j2", "a.sms.en .j2",
    "你好.sms.j2", "a\n.sms.j2", "a.sms\n.j2", "a" * 65 + ".sms.j2", "Folder/a.sms.j2", "a b/a.sms.j2", "中/a.sms.j2",
    "a.j2/b.sms.j2", "1/2/3/4/5/6/7/8/9/a.sms.j2", "ａ.sms.j2", "a\\b.sms.j2",
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_names(tmp_path, name):
    """A name outside the rules is a problem, and nothing of it is loaded.

    Threat: path.traversal — names
    """
    loaded, problems = load(tmp_path, {name: "x"})
    assert [code for _, code in problems] == ["template-path"]
    assert len(loaded) == 0


def test_stray_files_are_warned_about(tmp_path):
    """A file without .j2 is a warning, the rest is loaded."""
    write(tmp_path, {"a.sms.jinja": "x", "a.sms.j2": "x"})
    loaded, problems = TemplateSet.load(tmp_path)
    assert [(problem.code, problem.severity) for problem in problems] == [("template-stray", "warning")]
    assert len(loaded) == 1


def test_links(tmp_path):
    """Links inside the folder are read; links out of it, to folders, to nothing and in a circle are refused.

    Threat: path.traversal — links
    """
    (tmp_path / "secret.sms.j2").write_text("root:x:0:0")
    (tmp_path / "outside").mkdir()
    (tmp_path / "templates-evil").mkdir()
    (tmp_path / "templates-evil" / "x.sms.j2").write_text("x")
    folder = tmp_path / "templates"
    write(tmp_path, {"real.sms.j2": "x", "sub/a.sms.j2": "y"})
    (folder / "good.sms.j2").symlink_to("sub/a.sms.j2")
    (folder / "out.sms.j2").symlink_to(tmp_path / "secret.sms.j2")
    (folder / "up.sms.j2").symlink_to("../secret.sms.j2")
    (folder / "prefix.sms.j2").symlink_to("../templates-evil/x.sms.j2")
    (folder / "etc.sms.j2").symlink_to("/etc/hostname")
    (folder / "dir.sms.j2").symlink_to("sub")
    (folder / "dangling.sms.j2").symlink_to("nothing")
    (folder / "circle.sms.j2").symlink_to("circle.sms.j2")
    (folder / "tree").symlink_to("sub")
    loaded, problems = TemplateSet.load(tmp_path)
    assert loaded.names() == ["good", "real", "sub/a"]
    refused = {problem.file.removeprefix("templates/") for problem in problems if problem.code == "template-link"}
    names = "out up prefix etc dir dangling circle"
    assert refused == {f"{name}.sms.j2" for name in names.split()}
    assert [problem.file for problem in problems if problem.code == "template-stray"] == ["templates/tree"]


def test_the_folder_itself(tmp_path):
    """No folder is no template and no problem; a linked folder is refused."""
    assert TemplateSet.load(tmp_path)[1] == []
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.sms.j2").write_text("x")
    (tmp_path / "templates").symlink_to("elsewhere")
    loaded, problems = TemplateSet.load(tmp_path)
    assert (len(loaded), [problem.code for problem in problems]) == (0, ["template-link"])


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes")
def test_a_pipe_does_not_hang(tmp_path):
    """Something that is not a plain file is refused without waiting for it."""
    write(tmp_path, {"a.sms.j2": "x"})
    os.mkfifo(tmp_path / "templates" / "pipe.sms.j2")
    loaded, problems = TemplateSet.load(tmp_path)
    assert [problem.code for problem in problems] == ["template-file"]
    assert loaded.names() == ["a"]


def test_contents(tmp_path):
    """Too large, not UTF-8, NUL: each refused with its line, and the others are loaded."""
    loaded, problems = load(
        tmp_path,
        {
            "max.sms.j2": "a" * 65536,
            "large.sms.j2": "a" * 65537,
            "gbk.sms.j2": "好\n".encode() + "你好".encode("gbk"),
            "nul.sms.j2": "a\nb\n\0",
            "utf16.sms.j2": "hello".encode("utf-16"),
            "bom.sms.j2": b"\xef\xbb\xbf---\nsubject: x\n---\nhi",
            "ok.sms.j2": "",
        },
    )
    assert loaded.names() == ["bom", "max", "ok"]
    assert loaded.find("bom", "sms").render({}).subject == "x"
    assert dict(problems) == {
        "templates/large.sms.j2": "template-size",
        "templates/gbk.sms.j2": "template-encoding",
        "templates/nul.sms.j2": "template-encoding",
        "templates/utf16.sms.j2": "template-encoding",
    }
    lines = {problem.file: problem.line for problem in TemplateSet.load(tmp_path)[1]}
    assert lines["templates/gbk.sms.j2"] == 2
    assert lines["templates/nul.sms.j2"] == 3


def test_digests(tmp_path):
    """The digest of a template is that of its bytes; that of the set changes with any byte and any path."""
    first, _ = load(tmp_path, {"a.sms.j2": "x", "b.sms.j2": "y"})
    again, _ = TemplateSet.load(tmp_path)
    assert first.digest == again.digest
    assert first.find("a", "sms").digest == "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    changed, _ = load(tmp_path, {"a.sms.j2": "x "})
    assert changed.digest != first.digest
    write(tmp_path, {"a.sms.j2": "x"})
    assert TemplateSet.load(tmp_path)[0].digest == first.digest
    (tmp_path / "templates" / "b.sms.j2").rename(tmp_path / "templates" / "c.sms.j2")
    assert TemplateSet.load(tmp_path)[0].digest != first.digest


def test_all_problems_in_one_pass(tmp_path):
    """Every fault of every file is named, sorted by place, and none twice."""
    _, problems = load(tmp_path, {"a.sms.j2": "{{ x }}\n{{ y }}\n{{ x }}\n{{ user.f() }}", "b.sms.j2": "{{ z }}"})
    assert [code for _, code in problems] == ["template-word"] * 3 + ["template-call", "template-word"]


def test_names_asked_for_are_only_keys(tmp_path):
    """Whatever a playbook or a user asks for, no file is opened for it."""
    loaded, _ = load(tmp_path, {"a.sms.j2": "x"})
    for name in ("../a", "/etc/passwd", "a.sms", "a\0", "", "A", "%2e%2e/a", "a/"):
        assert loaded.find(name, "sms") is None
    assert loaded.find("a", "../sms") is None


def test_every_code_has_a_page():
    """Codes are written like words, severities are known."""
    for code, page in RENDER_PAGES.items():
        assert code.startswith("template-")
        assert all(page)
        assert page.severity in ("error", "warning")


TEXT_CODES = [code for code, page in RENDER_PAGES.items() if "{{" in page.bad or "{%" in page.bad]


@pytest.mark.parametrize("code", TEXT_CODES)
def test_pages_show_what_they_say(codes, code):
    """The bad example has this problem and no other; the good one has none."""
    page = RENDER_PAGES[code]
    channel = "email" if "html" in page.bad else "sms"
    assert set(codes(page.bad, channel)) == {code}
    assert codes(page.good, channel) == []
