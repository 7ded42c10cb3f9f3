"""What pyproject.toml cannot say: the shipped library lies in the root of the source, and belongs into the package."""

from pathlib import Path
from shutil import copyfile, copytree

from setuptools import setup
from setuptools.command.build_py import build_py

LIBRARY = ("playbooks", "templates", "scenarios", "lists")


class WithLibrary(build_py):
    """Copies the library into ``engine/library``; an editable installation finds it in the source."""

    def run(self) -> None:
        super().run()
        if getattr(self, "editable_mode", False):
            return
        target = Path(self.build_lib) / "engine" / "library"
        for name in LIBRARY:
            copytree(name, target / name, dirs_exist_ok=True)
        copyfile("drumbeat.yaml", target / "drumbeat.yaml")


setup(cmdclass={"build_py": WithLibrary})
