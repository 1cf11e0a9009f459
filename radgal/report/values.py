"""Texts and numbers as the report's template takes them: a number is {"text", "value"}, as shown and as saved."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

from radgal.evaluation.metrics import DELONG, POSTERIOR, STUDENTIZED, WILSON, Score, value_of
from radgal.report.savedrun import to_float
from utils import format_duration

MAX_TEXT = 160  # of a name on the page
INTERVALS = {
    WILSON: "Wilson",
    POSTERIOR: "Dirichlet posterior",
    STUDENTIZED: "studentized, corrected for skewness",
    DELONG: "DeLong",
    "bootstrap": "bootstrap over sources",  # of runs tested by an earlier version
}


def clean(text: Any, limit: int = MAX_TEXT) -> str:
    """Returns text that cannot disturb the page: no control or direction characters, and not too long."""
    shown = "".join("\ufffd" if unicodedata.category(c)[0] == "C" else c for c in str(text))
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def attempt(view: Callable[..., Any], *args: Any) -> tuple[Any, str | None]:
    """Returns (what a view shows, None), or (None, what is wrong) if the saved files are not what it expects."""
    try:
        return view(*args), None
    except ValueError as error:
        return None, clean(error, 400)
    except (LookupError, TypeError, AttributeError, ArithmeticError) as error:
        return None, clean(f"{type(error).__name__} {error}", 400)


def number(value: Any, decimals: int = 2, factor: float = 1, unit: str = "", *, sign: bool = False) -> dict | None:
    """Returns a number as shown, with a plus sign if asked, and as saved; None if there is none."""
    value = to_float(value)
    if value is None:
        return None
    shown = f"{round(factor * value, decimals) + 0.0:{'+' if sign else ''},.{decimals}f}"  # + 0: no "-0.00"
    shown = shown.replace("-", "\u2212") if sign else shown
    return {"text": f"{shown}{unit}", "value": repr(int(value) if value.is_integer() and decimals == 0 else value)}


def score(of: Score, entry: Mapping[str, Any] | None) -> dict[str, Any]:
    """Returns a score's entry in metrics.json, which older runs may lack, as numbers with interval and spread."""
    entry = entry or {}
    others = ("low", "high", "sd", "calibrated", "calibrated_high")
    ends = {key: number(entry.get(key), of.decimals, of.factor) for key in others}
    value = number(value_of(entry), of.decimals, of.factor, of.after)
    return {"value": value, **ends, "interval": INTERVALS.get(entry.get("interval"), "")}


def duration(seconds: float | None) -> dict | None:
    """Returns seconds as h:mm:ss; None if there are none."""
    return None if seconds is None else {"text": format_duration(seconds), "value": repr(seconds)}


def scientific(value: Any) -> dict | None:
    """Returns a number of two digits, however small it is; None if there is none."""
    value = to_float(value)
    return None if value is None else {"text": f"{value:.2g}", "value": repr(value)}


def p_value(value: Any) -> dict | None:
    """Returns the probability that chance alone makes such a difference; None if there is none."""
    value = to_float(value)
    if value is None:
        return None
    return {"text": f"{value:.2g}" if value >= 0.001 else "< 0.001", "value": repr(value)}
