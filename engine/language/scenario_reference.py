"""The reference page of the scenario language, made from its shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from engine.core import shapes as sh
from engine.language import scenario_forms as forms
from engine.language.reference import MADE, cell, looks, table_of

_HEAD: Final = (
    "One file below `scenarios/` is one test. It runs the real engine, store and outbox on a clock that is moved by "
    "hand; an effect nobody expected fails it. `docs/testing.md` shows how to write one."
)
_TIMES: Final = (
    "Times are `+20d`, `-60d` or `+1d12h` (elapsed, counted from `clock`), `{days: 3, at: \"10:00\"}` (a wall time in "
    "the program's zone, that many days after `clock`), or an instant with offset."
)
_USERS: Final = (
    "`users` maps each user to traits, and to two keys of their own: `consent: {channel: [purposes]}` and `history`, a "
    "list of `{<event type>: {data}, at: -60d}`. History starts nothing, as `drumbeat ingest --history`."
)
_EXPECT: Final = (
    "What is expected is one word and keys beside it; only the keys that are written are compared. Effects must all be "
    "expected, also those held back (`suppressed`) or not to be had (`denied`); journeys and deliveries may be left "
    "out. An `error` must be expected unless a suppressed effect tells of it. "
    "Expectations of one instant stand in any order, those of different instants in order of time. "
    "`expect: nothing` means that no effect happened and nobody entered."
)


def page() -> str:
    """The text of ``scenarios.md``."""
    parts = [
        "# Scenario tests", MADE, _HEAD, "## The file", table_of(forms.SCENARIO), _TIMES, _USERS,
        "## Keys of history", table_of(forms.HISTORY),
        "## Entries of the timeline",
    ]  # fmt: skip
    for word, shape in forms.ENTRIES.items():
        parts += [f"### {word}", table_of(shape)]
    parts += ["## What can be expected", _EXPECT]
    families = (("Effects", forms.EFFECTS), ("Not done", forms.REFUSALS), ("Journeys", forms.JOURNEYS),
                ("Deliveries", forms.DELIVERIES), ("Faults", forms.FAULTS))  # fmt: skip
    for title, words in families:
        parts += [f"### {title}", _words(words)]
    parts += ["### Keys that go with each", table_of(forms.COMMON), "### Texts", _texts()]
    return "\n\n".join(parts) + "\n"


def _words(words: Mapping[str, forms.Word]) -> str:
    lines = ["| word | takes | meaning | further keys |", "|---|---|---|---|"]
    for word, spec in words.items():
        keys = ", ".join(f"`{key}`" for key in spec.keys) or ("those of its kind" if word in forms.REFUSALS else "")
        lines.append(f"| `{word}` | {cell(looks(spec.value))} | {cell(spec.note)} | {keys} |")
    return "\n".join(lines)


def _texts() -> str:
    shape = forms.TEXT.map
    return "A bare value is the whole text.\n\n" + table_of(shape if isinstance(shape, sh.Map) else sh.Map({}))
