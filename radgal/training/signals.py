"""SIGTERM and SIGINT, as batch systems, notebooks and Ctrl-C send them: end the batch, save, leave with a code."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODES = {signal.SIGTERM: 75, signal.SIGINT: 130}
"""75 is EX_TEMPFAIL, "try again", of sysexits.h; 130 is what shells give for Ctrl-C."""


class StopSignals:
    """While entered, the first SIGTERM or SIGINT is kept until it can be obeyed; a second one works as ever.

    Under torchrun a second one is ignored: it sends its own after the batch system's, and kills after 30 s anyway.
    Outside the main thread nothing can be, and nothing is, changed.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, object] = {}

    @property
    def asked(self) -> bool:
        """Whether to stop."""
        return self.received is not None

    @property
    def exit_code(self) -> int:
        """The code to leave with; where another process of the team got the signal, that of SIGTERM."""
        return EXIT_CODES[self.received or signal.SIGTERM]

    @property
    def name(self) -> str:
        """Name of the signal."""
        return signal.Signals(self.received or signal.SIGTERM).name

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._receive) for number in EXIT_CODES}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            return
        self.received = number
        if "TORCHELASTIC_RUN_ID" not in os.environ:
            self.__exit__()
            if signal.getsignal(number) is signal.SIG_IGN:  # so shells start what a script puts into the background
                signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        print(f"\n{self.name}: stopping after this batch; a second one stops at once", file=sys.stderr, flush=True)


@contextmanager
def leaving_on_sigterm() -> Iterator[None]:
    """While entered, SIGTERM ends the program at once with its exit code: for what is before and after the training."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: FrameType | None) -> None:
        print(
            "stopped by SIGTERM; what was trained is on disk, and --resume goes on with it", file=sys.stderr, flush=True
        )
        raise SystemExit(EXIT_CODES[signal.SIGTERM])

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is leave:
            signal.signal(signal.SIGTERM, before)


def ignore_sigterm() -> None:
    """Ignores SIGTERM until the process ends: for one that is about to end by itself, with a message."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
