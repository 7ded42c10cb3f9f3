"""Where subjects, effects and positions are kept: one file a store, one line each in the table below."""

from __future__ import annotations

from engine.ports import Store
from engine.registry import Registry

STORES: Registry[Store] = Registry(
    "store",
    {
        "memory": "engine.stores.memory:MemoryStore",
        "postgresql": "engine.stores.postgres:PgStore",
        "sqlite": "engine.stores.sqlite:SqliteStore",
    },
)
