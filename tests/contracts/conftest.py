"""The contract suite imports its helpers by plain name; pytest's importlib mode needs this folder on the path."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from rabbit_server import RabbitServer

HERE = str(Path(__file__).resolve().parent)
if HERE in sys.path:  # other suites have it at the end, for the kit of stores
    sys.path.remove(HERE)
sys.path.insert(0, HERE)


@pytest.fixture(scope="session")
def rabbit_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    """The one RabbitMQ server of a session, also where several processes test: it takes seconds to start."""
    from rabbit_server import shared

    base = tmp_path_factory.getbasetemp()
    with shared(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) as server:
        yield server
