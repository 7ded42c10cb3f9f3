"""All templates of a program, read from its ``templates/`` folder and from nowhere else.

Rule 1: what is rendered was read here; a name from data is a key of a table and never opens a file.
Rule 2: every fault of every file is reported in one pass; a faulty template is left out of the set.
Rule 3: the digest of the set covers the path and bytes of every template in it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from engine.kept import Kept
from engine.render.names import FileName, is_part, locale_chain, parse_file_name
from engine.render.problem import TemplateProblem
from engine.render.template import Template, read_template

FOLDER = "templates"
MAX_BYTES = 64 * 1024
_MAX_FOLDERS = 8
_MOST_FOUND = 4096
"""How many questions ``find`` remembers the answers of."""

_Key = tuple[str, str, str | None]
_KEPT: Kept[tuple[Template | None, list[TemplateProblem]]] = Kept(1 << 20)
"""Templates read before that have no problems."""


class TemplateSet:
    """The templates of one program; immutable once made."""

    def __init__(self, templates: Mapping[str, Template]) -> None:
        """``templates``: file -> template."""
        self._by_key: dict[_Key, Template] = {
            (one.name, one.channel, one.locale): one for _, one in sorted(templates.items())
        }
        self._found: dict[tuple[str, str, str | None, str | None], Template | None] = {}
        self._channels: dict[str, list[str]] = {}
        self._locales: dict[tuple[str, str], list[str | None]] = {}
        for name, channel, locale in self._by_key:
            self._channels.setdefault(name, []).append(channel)
            self._locales.setdefault((name, channel), []).append(locale)
        for found in self._locales.values():
            found.sort(key=lambda locale: (locale is None, locale or ""))
        for name, channels in self._channels.items():
            self._channels[name] = sorted(set(channels))
        self._names = sorted(self._channels)
        listing = "".join(f"{file}\0{one.digest}\n" for file, one in sorted(templates.items()))
        self.digest = sha256(listing.encode()).hexdigest()  #: hex; changes with any path or byte

    @staticmethod
    def load(root: Path) -> tuple[TemplateSet, list[TemplateProblem]]:
        """The templates under ``root/templates`` (``root`` is the program's folder) and the problems met.

        A program without the folder has no templates and no problems.
        """
        loader = _Loader(root)
        loader.walk()
        return TemplateSet(loader.templates), loader.problems

    @staticmethod
    def of(files: Mapping[str, bytes]) -> tuple[TemplateSet, list[TemplateProblem]]:
        """The templates of these files (path from the program's folder -> bytes), and the problems met."""
        templates: dict[str, Template] = {}
        problems: list[TemplateProblem] = []
        for file, data in sorted(files.items()):
            *above, name = file.removeprefix(f"{FOLDER}/").split("/")
            parts = parse_file_name(name)
            if isinstance(parts, str):
                problems.append(TemplateProblem(file, 1, None, "template-path", parts, ""))
                continue
            template, found = read_template(file, FileName("/".join((*above, parts.name)), *parts[1:]), data)
            problems += found
            if template is not None:
                templates[file] = template
        return TemplateSet(templates), problems

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[Template]:
        return iter(self._by_key.values())

    def find(
        self, name: str, channel: str, locale: str | None = None, default_locale: str | None = None
    ) -> Template | None:
        """The template for a locale: exact, its language, the program's locale, its language, then without locale."""
        asked = (name, channel, locale, default_locale)
        if asked in self._found:
            return self._found[asked]
        ways = [(name, channel, one) for one in _chain(locale, default_locale)]
        found = next((self._by_key[way] for way in ways if way in self._by_key), None)
        if len(self._found) < _MOST_FOUND:  # a locale is data: there may be any number of them
            self._found[asked] = found
        return found

    def names(self) -> list[str]:
        """The names (``welcome/hello``), sorted."""
        return self._names

    def channels(self, name: str) -> list[str]:
        """The channels a template is written for, sorted."""
        return self._channels.get(name, [])

    def variants(self, name: str) -> list[Template]:
        """All files of a name, by channel and locale."""
        return [
            self._by_key[name, channel, locale]
            for channel in self.channels(name)
            for locale in self.locales(name, channel)
        ]

    def locales(self, name: str, channel: str) -> list[str | None]:
        """The locales it is written in, sorted; None, for the file without locale, comes last."""
        return self._locales.get((name, channel), [])


@lru_cache(maxsize=512)
def _chain(locale: str | None, default: str | None) -> tuple[str | None, ...]:
    return tuple(locale_chain(locale, default))


class _Loader:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / FOLDER
        self.templates: dict[str, Template] = {}
        self.problems: list[TemplateProblem] = []

    def refuse(self, path: Path, code: str, message: str, hint: str = "") -> None:
        # a file name may hold anything; what is printed must be text
        file = path.relative_to(self.root).as_posix().encode("utf-8", "replace").decode()
        self.problems.append(TemplateProblem(file, 1, None, code, message, hint))

    def walk(self) -> None:
        if self.folder.is_symlink():
            self.refuse(self.folder, "template-link", "the folder of templates is a link", "make it a folder")
        elif self.folder.is_dir():
            self.inside = self.folder.resolve()
            self._folder(self.folder, ())

    def _folder(self, folder: Path, above: tuple[str, ...]) -> None:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            self.refuse(folder, "template-file", f"the folder cannot be read: {error.strerror}")
            return
        for entry in entries:
            path = folder / entry.name
            if entry.name.startswith("."):
                continue  # left by editors and file managers
            if entry.is_dir(follow_symlinks=False):
                if not is_part(entry.name) or len(above) >= _MAX_FOLDERS:
                    self.refuse(path, "template-path", f"{entry.name!r} is no name for a folder of templates",
                                "small letters, digits, '_' and '-'")  # fmt: skip
                else:
                    self._folder(path, (*above, entry.name))
            else:
                self._file(path, above)

    def _file(self, path: Path, above: tuple[str, ...]) -> None:
        if not path.name.endswith(".j2"):
            self.refuse(path, "template-stray", "the file does not end in .j2", "rename it or move it out")
            return
        parts = parse_file_name(path.name)
        if isinstance(parts, str):
            self.refuse(path, "template-path", parts, "for example hello.sms.zh-CN.j2")
            return
        data = self._bytes(path)
        if data is None:
            return
        file = path.relative_to(self.root).as_posix()
        whole = FileName("/".join((*above, parts.name)), parts.channel, parts.locale)
        template, problems = _KEPT.get(
            (file, whole, data), len(data), lambda: read_template(file, whole, data), lambda read: not read[1]
        )
        self.problems += problems
        if template is not None:
            self.templates[file] = template

    def _bytes(self, path: Path) -> bytes | None:
        """The bytes of a plain file inside the folder, or None and a problem."""
        try:
            real = path.resolve(strict=True)
            if not real.is_relative_to(self.inside) or real.is_dir():
                self.refuse(path, "template-link", "the link leads out of the templates, or to a folder",
                            "put the file itself here")  # fmt: skip
                return None
            # not to wait for a pipe, and not to follow a link put there since
            handle = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
            with os.fdopen(handle, "rb") as stream:
                if not stat.S_ISREG(os.fstat(handle).st_mode):
                    self.refuse(path, "template-file", "not a plain file")
                    return None
                data = stream.read(MAX_BYTES + 1)
        except (OSError, RuntimeError) as error:
            code = "template-link" if path.is_symlink() else "template-file"
            self.refuse(path, code, f"cannot be read: {getattr(error, 'strerror', None) or 'a loop of links'}")
            return None
        if len(data) > MAX_BYTES:
            self.refuse(path, "template-size", f"larger than {MAX_BYTES} bytes", "link to pictures and long texts")
            return None
        return data
