"""What is seen while something takes its time: a bar or, where there is no terminal, a line now and then.

Whatever may take long is begun with :func:`working`, :func:`bar` or :func:`progress`. One thread watches what was begun
last, and says a word of it once nothing was said for two seconds: at a terminal the bar goes on, elsewhere (a file, a
pipe, the log of a cluster) it is a line, the next ones at twice the time each, up to a minute.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from utils import format_duration

SILENCE_S = 2.0  # after which a word is due
LONGEST_S = 60.0  # from one line to the next on the same thing
TICK_S = 0.25


class Work:
    """Something that takes its time.

    Args:
        what: is being done; "" keeps silent about all that is begun inside, too.
        total: how much there is of it, None if it cannot be counted.
        unit: of the total; 'B' are bytes.
        shown: the bar that someone is watching, or None.
    """

    def __init__(self, what: str, total: int | None = None, unit: str = "", done: int = 0, shown: Any = None):
        self.what, self.total, self.unit, self.done, self.shown = what, total, unit, done, shown
        self.began = watch.clock()
        self.pause = SILENCE_S  # before the next word on it
        self.told: int | None = None  # how much was done at the last line on it

    def update(self, n: int = 1) -> None:
        """Counts ``n`` more as done."""
        self.done += n
        if self.shown is not None:
            self.shown.update(n)

    def note(self, text: str) -> None:
        """Puts a text at the end of the bar, if there is one."""
        if self.shown is not None:
            self.shown.set_postfix_str(text)

    def line(self, now: float) -> str:
        """Returns what is being done, how far it is, and since when."""
        passed = format_duration(now - self.began)
        if self.total is None:
            return f"{self.what}, for {passed} so far"
        if self.unit == "B":
            return f"{self.what}: {self.done / 1e6:.1f} of {self.total / 1e6:.1f} MB, after {passed}"
        unit = f"{self.unit} " if self.unit else ""
        return f"{self.what}: {unit}{self.done:,} of {self.total:,}, after {passed}"


class Watch:
    """All that is being done, outermost first, and the thread that says a word of it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self.clock = clock
        self.works: list[Work] = []
        self.last_word = 0.0
        self._lock = threading.RLock()  # what is over is never shown again

    def begin(self, work: Work) -> None:
        """From now on words are about ``work``."""
        with self._lock:
            if not self.works:
                self.last_word = self.clock()
            self.works.append(work)

    def end(self, work: Work) -> None:
        """Ends ``work`` and all that was begun in it, as by a loop that an error has ended."""
        with self._lock:
            if work not in self.works:
                return
            first = self.works.index(work)
            for one in reversed(self.works[first:]):
                if one.shown is not None:
                    one.shown.close()
            del self.works[first:]

    @property
    def keeps_silent(self) -> bool:
        """Whether the user asked for silence on what is being done."""
        return any(not work.what for work in self.works)

    def said(self) -> None:
        """Notes that something was said."""
        self.last_word = self.clock()

    def check(self) -> None:
        """Says a word if one is due; a bar that someone is watching moves on instead."""
        with self._lock:
            now = self.clock()
            if not self.works or self.keeps_silent:
                return
            if shown := next((work.shown for work in self.works[::-1] if work.shown is not None), None):
                if now - self.last_word >= SILENCE_S / 2:
                    self.last_word = now
                    shown.refresh()
                return
            work = self.works[-1]
            stands = work.total is not None and work.told == work.done  # the same line again says nothing new
            if now - self.last_word >= (LONGEST_S if stands else work.pause):
                self.last_word, work.pause, work.told = now, min(2 * work.pause, LONGEST_S), work.done
                print(work.line(now), file=sys.stderr, flush=True)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Checks four times a second until the block ends."""
        over = threading.Event()

        def check_on() -> None:
            with suppress(OSError, ValueError):  # nobody reads what is said
                while not over.wait(TICK_S):
                    self.check()

        thread = threading.Thread(target=check_on, name="radgal-progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


watch = Watch()


def is_wanted() -> bool:
    """Returns whether progress is to be seen at all.

    The variable TQDM_DISABLE in the environment turns it off, as it does for every program that uses tqdm. Of several
    processes that share the work of one (``torchrun``) the first speaks.
    """
    return not os.environ.get("TQDM_DISABLE") and os.environ.get("RANK", "0") == "0" and sys.stderr is not None


def show_bars(quiet: bool) -> bool:
    """Returns whether bars make sense: someone is watching a terminal or a notebook, and wants them."""
    is_watched = is_wanted() and (sys.stderr.isatty() or "ipykernel" in sys.modules)
    return is_watched and not quiet and not watch.keeps_silent


@contextmanager
def working(what: str, quiet: bool = False) -> Iterator[None]:
    """Inside, a word is said whenever nothing was for a while: ``what`` is being done, or what was begun in it.

    As ``@working("...")`` this is written above functions, too.

    Args:
        what: is being done.
        quiet: whether the user asked for silence; then all inside keeps it.
    """
    work, is_first = Work("" if quiet else what), not watch.works
    watch.begin(work)
    try:
        if is_first and not quiet and is_wanted():
            with watch.running():
                yield
        else:
            yield
    finally:
        watch.end(work)


@contextmanager
def bar(total: int, what: str, quiet: bool, *, unit: str = "", done: int = 0, **look: Any) -> Iterator[Work]:
    """Yields what counts how far something is, with ``update``; shown as a bar where :func:`show_bars` allows one.

    Args:
        total: how much there is to do.
        what: is being done, in front of the bar.
        quiet: whether the user asked for silence.
        unit: of the total; 'B' are bytes.
        done: how much of it is done already.
        look: of the bar, for tqdm; the default appears from the second second on, and goes away when all is done.
    """
    shown = None
    if show_bars(quiet):
        from tqdm.auto import tqdm

        if not look:
            look = dict(delay=SILENCE_S / 2, leave=False, desc=what)
        scaled = unit == "B"
        shown = tqdm(total=total, initial=done, unit=unit or "it", unit_scale=scaled, dynamic_ncols=True, **look)
    work = Work(what, total, unit, done, shown)
    if quiet:  # the word is of what this is a part of
        yield work
        return
    watch.begin(work)
    try:
        yield work
    finally:
        watch.end(work)
        if shown is not None:
            shown.close()


def progress(items: Iterable, what: str, quiet: bool) -> Iterator:
    """Yields ``items``, which have a length, and counts them; see :func:`bar`."""
    with bar(len(items), what, quiet) as work:
        for item in items:
            yield item
            work.update()


def sayer(quiet: bool) -> Callable[..., None]:
    """Returns a function that prints, or with ``quiet`` one that does nothing."""

    def say(*words: object) -> None:
        print(*words, flush=True)
        watch.said()

    return (lambda *_: None) if quiet else say
