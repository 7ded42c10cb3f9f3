"""The words of a report of a period, in English and Chinese; they stand in ``report_words.yaml``."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from engine.core import localtime

LOCALES = ("en", "zh-CN")


@cache
def _texts() -> dict[str, dict[str, list[str]]]:
    raw = (files("engine.insight") / "report_words.yaml").read_text("utf-8")
    found: dict[str, dict[str, list[str]]] = yaml.safe_load(raw)
    return found


class Words:
    """The words of one locale."""

    def __init__(self, locale: str) -> None:
        self.chinese = locale.lower().startswith("zh")
        self.locale = "zh-CN" if self.chinese else "en"

    def __call__(self, key: str, **values: Any) -> str:
        """A text, filled in."""
        text = _texts()["words"][key][self.chinese]
        return text.format(**values) if values else text

    def reason(self, code: str) -> str:
        """A reason in words; one without stands as it is."""
        return self._of("reasons", code)

    def kind(self, code: str) -> str:
        """A kind or status in words; one without stands as it is."""
        return self._of("kinds", code)

    def _of(self, name: str, code: str) -> str:
        table = _texts()[name]
        return table[code][self.chinese] if code in table else code.replace("_", " ")


def money(it: dict[str, Any], w: Words) -> str:
    """What redeemed coupons cost: how much of it is estimated, and of how many nothing tells it."""
    if not it["redeemed"]:
        return number(None)
    if it["cost_unknown"] == it["redeemed"]:
        return w("cost_unknown_all", n=number(it["cost_unknown"]))
    out = [f"{number(it['cost'], 2)} {it['currency'] or ''}".strip()]
    if it["cost_estimates"]:
        out.append(w("cost_estimated", part=number(it["cost_estimated"], 2), n=number(it["cost_estimates"])))
    if it["cost_unknown"]:
        out.append(w("cost_unknown", n=number(it["cost_unknown"])))
    return ("；" if w.chinese else "; ").join(out)


def clock_words(period: dict[str, Any]) -> str:
    """The engine's clock as the program's zone shows it, to the minute."""
    at = datetime.fromisoformat(period["clock"]).astimezone(localtime.zone(period["zone"]) or localtime.UTC)
    return f"{at:%Y-%m-%d %H:%M} ({period['zone']})"


def readable(name: str) -> str:
    """An id as people read it."""
    return name.replace("_", " ")


def number(value: float | None, places: int = 0, *, sign: bool = False) -> str:
    """A figure with separators; None: a dash. A minus is a real one, and nought has no sign."""
    if value is None:
        return "–"
    if round(value, places) == 0:
        return f"{0:.{places}f}"
    return f"{value:{'+' if sign else ''},.{places}f}".replace("-", "−")


def percent(value: float | None, places: int = 1) -> str:
    """Per cent; None: a dash."""
    return "–" if value is None else f"{number(value, places)}\u00a0%"
