"""Drumbeat: campaigns as code. The package behind the ``drumbeat`` command."""

__version__ = "0.1.0"
