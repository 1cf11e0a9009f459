"""A labeler at work: what is shown next in which window, and what becomes of an answer."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from radgal.images.finding import seen_from
from radgal.images.reading import without_suffix
from radgal.labeling.answers import Answer, Answers, Meanwhile
from radgal.labeling.pictures import FIELD, read_scaled
from utils import UserError, printable

if TYPE_CHECKING:
    from radgal.labeling.orders import Opinions, Order


@dataclass
class Session:
    """The images, their answers, and the order in which they are shown.

    A window is known by a name that it gives itself. What one window shows no other is given, as long as there are
    others; and an answer is refused that does not know of another window's.

    Args:
        paths: N images.
        answers: those of the table.
        classes: what an image may be called.
        labeler: who answers.
        order: in which the images come.
        opinions: of networks on the images, to be shown; None: there are none.
    """

    paths: Sequence[Path]
    answers: Answers
    classes: tuple[str, ...]
    labeler: str
    order: Order
    opinions: Opinions | None = None
    _shown: dict[str, int] = field(default_factory=dict)  # window -> image
    _given: dict[str, list[Answer]] = field(default_factory=dict)  # window -> its answers, the last one last
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        folder = self.answers.path.parent
        self.keys = [seen_from(path, folder) for path in self.paths]
        self._row_of = {key: row for row, key in enumerate(self.keys)}
        self._earlier = self.answers.all()
        self._open = np.array([self.answers.of(key) is None for key in self.keys], dtype=bool)
        for row in np.flatnonzero(~self._open):
            self.order.labeled(row)

    def next(self, window: str) -> dict[str, Any] | None:
        """Returns what a window shows: what it showed, if that is still open, or else the next; None at the end."""
        with self._lock:
            row = self._shown.get(window)
            if row is None or not self._open[row]:
                row = next(iter(self._following(window)), None)
            if row is None:
                self._shown.pop(window, None)
                return None
            self._shown[window] = row
            return self.view(row) | {"then": next(iter(self._following(window, besides=row)), None)}

    def _following(self, window: str, besides: int | None = None) -> list[int]:
        """Returns the next open image, if there is one: rather none that another window shows."""
        allowed = self._open.copy()
        if besides is not None:
            allowed[besides] = False
        free = allowed.copy()
        free[[row for other, row in self._shown.items() if other != window]] = False
        return self.order.first(free if free.any() else allowed)

    def answer(self, window: str, row: int, label: str, seen: int) -> dict[str, Any] | None:
        """Saves an answer ('' for unsure), and returns what is shown next.

        Raises:
            Meanwhile: if another window has answered since.
            UserError: if it is no class, the image cannot be read, or the answer cannot be saved.
        """
        if label and label not in self.classes:
            raise UserError(f"{label!r} is none of the classes {', '.join(self.classes)}")
        place = ""
        try:
            place = read_scaled(self.paths[row]).position
        except UserError:
            if label:
                raise
        with self._lock:
            more = dict(zip(("ra", "dec"), (f"{angle:.6f}" for angle in place or ()), strict=False))
            more |= {"order": self.order.name, "labeler": self.labeler}
            given = self.answers.add(self.keys[row], label, seen, **more)
            self._given.setdefault(window, []).append(given)
            self._open[row] = False
            self.order.labeled(row)
        return self.next(window)

    def undo(self, window: str) -> dict[str, Any] | None:
        """Takes the last answer of a window back, or else the last of earlier sessions; returns that image, if any.

        Raises:
            Meanwhile: if another window has answered since.
            UserError: if that cannot be saved.
        """
        with self._lock:
            given = self._given.get(window) or self._earlier
            if not given:
                return None
            last = given[-1]
            if last.path not in self._row_of:  # of an image that is not among those of today
                given.pop()
                return self.undo(window)
            try:
                self.answers.undo(last.path, last.line, order=self.order.name, labeler=self.labeler)
            except Meanwhile:
                given.pop()
                raise
            given.pop()
            row = self._row_of[last.path]
            self._open[row] = self.answers.of(last.path) is None
            self._shown[window] = row
            return self.view(row)

    def look(self, row: int | None, step: int) -> dict[str, Any] | None:
        """Returns the answered image before (-1) or after (1) one, in the order of the answers; None at the end.

        Args:
            row: from where; one that is open stands after the last.
            step: -1 or 1.
        """
        rows = [self._row_of[one.path] for one in self.answers.all() if one.path in self._row_of]
        place = (rows.index(row) if row in rows else len(rows)) + step
        return self.view(rows[max(place, 0)]) if rows and place < len(rows) else None

    def view(self, row: int) -> dict[str, Any]:
        """Returns all that a window shows of an image, in plain values."""
        held = self.answers.of(self.keys[row])
        view: dict[str, Any] = {"row": row, "name": printable(without_suffix(self.paths[row].name)), "error": None}
        view |= {"line": held.line if held else 0, "label": held.label if held else None}
        view["by"] = printable(f"{held.labeler}, {held.labeled_at}") if held else None
        try:
            scaled = read_scaled(self.paths[row])
            (height, width), scale, place = scaled.pixels.shape, scaled.scale_arcsec, scaled.position
            view["size"] = f"{width} x {height} px" + (f", {scale * width / 60:.3g} arcmin wide" if scale else "")
            view |= {"width": width, "height": height, "field": self._field(width, height)}
            view["position"] = f"{place[0]:.4f}°, {place[1]:+.4f}°" if place else ""
        except UserError as error:
            view |= {"error": printable(str(error)), "size": "", "position": ""}
        if self.opinions is not None and np.isfinite(self.opinions.probabilities[row]).all():
            shares = zip(self.opinions.classes, self.opinions.probabilities[row].tolist(), strict=True)
            view["opinion"] = [{"name": name, "percent": round(100 * share, 1)} for name, share in shares]
            view["entropy"] = round(float(self.opinions.entropy[row]), 3)
        return view

    def _field(self, width: int, height: int) -> int | None:
        """Returns the side of the field that a network reads, pixels; None if that is the whole image."""
        field = FIELD if self.opinions is None else self.opinions.field
        return field if max(width, height) > field else None

    def progress(self) -> dict[str, Any]:
        """Returns how many of the images are answered, and how."""
        held = [one.label for one in self.answers.all() if one.path in self._row_of]
        counts = Counter(held)
        shown = {name: counts.pop(name, 0) for name in self.classes}
        unsure = counts.pop("", 0)
        return {"done": len(held), "all": len(self.keys), "classes": shown, "unsure": unsure, "others": counts.total()}
