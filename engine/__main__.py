"""``python -m engine`` is the ``drumbeat`` command."""

from engine.cli.main import main

main()
