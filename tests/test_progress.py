"""Nothing is silent for more than two seconds without a word or a bar: times between outputs, by a clock of its own.

What takes time here lets that clock run; the thread that would look at it four times a second is played by the clock.
"""

from __future__ import annotations

import io
import sys
import time
from argparse import Namespace
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import main
import radgal
from radgal import api, progress, tasks
from radgal.classifier import Classifier
from radgal.data import prepare
from radgal.data.frdeep import FRDEEPF
from radgal.data.splits import Split
from radgal.evaluation.equivariance import measure_errors
from radgal.evaluation.evaluate import evaluate_test
from radgal.images.preparation import Preparation
from radgal.progress import TICK_S, working
from utils import UserError

DUE_S = progress.SILENCE_S + TICK_S


class Watched(io.StringIO):
    """A stream that notes when something is written to it; at a terminal, or in a file."""

    def __init__(self, clock, at_a_terminal: bool):
        super().__init__()
        self.clock, self.at_a_terminal = clock, at_a_terminal

    def isatty(self) -> bool:
        return self.at_a_terminal

    def write(self, text: str) -> int:
        if text.strip():
            self.clock.outputs.append(self.clock.now)
        return super().write(text)


class Clock:
    """Time as the watch sees it: it passes where :meth:`sleep` is called. Inside, all outputs are noted."""

    def __init__(self, is_terminal: bool, monkeypatch):
        self.now, self.outputs = 100.0, [100.0]
        self.is_terminal, self.stream, self.patch = is_terminal, Watched(self, is_terminal), monkeypatch

    def __enter__(self) -> None:
        for name in ("stdout", "stderr"):
            self.patch.setattr(sys, name, self.stream)

    def __exit__(self, *_: object) -> None:
        assert progress.watch.works == []

    def sleep(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK_S)):
            self.now += TICK_S
            progress.watch.check()

    def silences(self) -> list[float]:
        """Returns the seconds between two outputs, from the start to now."""
        return np.diff([*self.outputs, self.now]).tolist()


@pytest.fixture(params=["a file", "a terminal"])
def clock(request, monkeypatch) -> Clock:
    """The clock of a session whose outputs go to a file, and of one at a terminal."""
    clock = Clock(request.param == "a terminal", monkeypatch)
    monkeypatch.setattr(progress, "watch", progress.Watch(lambda: clock.now))
    monkeypatch.setattr(progress.Watch, "running", lambda watch: nullcontext())
    return clock


def said(clock: Clock) -> str:
    return clock.stream.getvalue()


def test_a_long_step_is_told_in_time_and_then_now_and_then(clock) -> None:
    with clock, working("reading"):
        clock.sleep(600)
    assert said(clock).splitlines()[0] == "reading, for 0:00:02 so far"
    assert clock.silences()[0] <= DUE_S and max(clock.silences()) <= 60 + TICK_S
    assert len(said(clock).splitlines()) < 20


def test_what_follows_a_long_step_is_told_as_soon(clock) -> None:
    with clock, working("training is at work"):
        with working("reading"):
            clock.sleep(100)
        clock.outputs.append(clock.now)
        progress.watch.said()
        before = clock.now
        with working("drawing"):
            clock.sleep(10)
    assert "drawing, for" in said(clock)
    assert min(time for time in clock.outputs if time > before) - before <= DUE_S


def test_short_steps_together_are_not_silent(clock) -> None:
    with clock, working("evaluate is at work"):
        for i in range(20):
            with working(f"step {i}"):
                clock.sleep(1.5)
    assert max(clock.silences()) <= DUE_S


def test_a_loop_tells_how_far_it_is(clock) -> None:
    with clock, working("check-data is at work"):
        for _ in progress.progress(range(8), "data sets", quiet=False):
            clock.sleep(5)
    if clock.is_terminal:
        assert max(clock.silences()) <= progress.SILENCE_S  # the bar moves within an item, too
        assert "5/8" in said(clock)
    else:
        assert "data sets: 0 of 8, after 0:00:02" in said(clock) and "data sets: 5 of 8" in said(clock)
        assert clock.silences()[0] <= DUE_S


def test_a_count_that_stands_still_is_not_told_again_and_again(clock) -> None:
    with clock, working("predict is at work"), progress.bar(22, "predicting", quiet=False, unit="image") as shown:
        clock.sleep(50)
        shown.update(11)
        clock.sleep(30)
    if not clock.is_terminal:
        told = [line.partition(",")[0] for line in said(clock).splitlines()]
        assert told == ["predicting: image 0 of 22", "predicting: image 11 of 22"]


def test_bytes_are_told_in_megabytes(clock) -> None:
    with clock, working("x"), progress.bar(34_000_000, "batches.tar.gz", quiet=False, unit="B") as shown:
        shown.update(12_345_678)
        clock.sleep(3)
    assert ("12.3M/34.0M" if clock.is_terminal else "batches.tar.gz: 12.3 of 34.0 MB, after") in said(clock)


def test_whoever_asks_for_silence_has_it(clock, monkeypatch) -> None:
    with clock, working("training"), working("", quiet=True), working("reading"):
        for _ in progress.progress(range(3), "rotations", quiet=False):
            clock.sleep(30)
    assert said(clock) == ""
    with clock, working("training", quiet=True):
        clock.sleep(30)
    assert said(clock) == ""


@pytest.mark.parametrize("name, value", [("TQDM_DISABLE", "1"), ("RANK", "1")])
def test_workers_and_other_processes_of_a_team_say_nothing(name: str, value: str, monkeypatch) -> None:
    assert progress.is_wanted()
    monkeypatch.setenv(name, value)
    assert not progress.is_wanted() and not progress.show_bars(quiet=False)


def test_a_loop_that_an_error_ended_is_not_told_of_afterwards(clock) -> None:
    with clock, working("evaluate is at work"):
        kept = None
        try:
            with working("reading"):
                for _ in progress.progress(range(3), "rotations", quiet=False):
                    raise UserError("spoiled")
        except UserError as error:
            kept = error  # as a notebook keeps the last error, and with it the loop
        clock.sleep(10)
    assert kept is not None and "evaluate is at work, for" in said(clock) and "rotations" not in said(clock)


@pytest.mark.parametrize("name", [None, *main.COMMANDS])
def test_every_command_says_a_word_in_time(name, clock, monkeypatch) -> None:
    def check(args) -> None:
        clock.sleep(7)  # as loading torch may take

    args = Namespace(command=name, check=check, run_command=lambda args: clock.sleep(7))
    monkeypatch.setattr(main, "build_parser", lambda: SimpleNamespace(parse_args=lambda argv: args))
    with clock:
        main.main([])
    assert f"{name or 'training'} is at work, for 0:00:02" in said(clock)
    assert clock.silences()[0] <= DUE_S


@pytest.mark.parametrize(
    "call, inside",
    [
        (lambda: radgal.train({}), "read_config"),
        (lambda: radgal.open_run("run"), "find"),
        (lambda: radgal.predict(None, "images"), "open_settings"),
        (lambda: radgal.evaluate(None), "results.test_run"),
    ],
    ids=["train", "open_run", "predict", "evaluate"],
)
def test_every_cell_of_a_notebook_says_a_word_in_time(call, inside: str, clock, monkeypatch) -> None:
    def slow(*_, **__):
        clock.sleep(7)
        raise UserError("enough")

    network = SimpleNamespace(quiet=False, path="best.pt", device="cpu")
    monkeypatch.setattr(api, "_trained", lambda one: network)
    monkeypatch.setattr(f"radgal.api.{inside}", slow)
    with clock, pytest.raises(UserError, match="enough"):
        call()
    assert clock.silences()[0] <= DUE_S


class SlowNet(nn.Module):
    """Two logits of the mean brightness; each batch takes a while."""

    symmetry = ("C", 1)

    def __init__(self, clock: Clock, seconds: float):
        super().__init__()
        self.clock, self.seconds, self.last = clock, seconds, nn.Linear(1, 2)

    def trunk(self, x):
        return x

    def forward(self, x):
        self.clock.sleep(self.seconds)
        return self.last(x.mean(dim=(1, 2, 3))[:, None])


@pytest.fixture
def slow_classifier(clock) -> Classifier:
    how = Preparation(mean=0.1, std=0.3, imsize=18)
    return Classifier(model=SlowNet(clock, 1.75), classes=("FRI", "FRII"), preparation=how, quiet=False)


def images(n: int = 4) -> torch.Tensor:
    return torch.randint(0, 256, (n, 1, 18, 18), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


@pytest.mark.parametrize("clock", ["a terminal"], indirect=True)
def test_evaluation_and_equivariance_move_a_bar_all_the_time(clock, slow_classifier) -> None:
    test = Split(images(), torch.arange(4) % 2, ("a", "b", "c", "d"))
    with clock, working("evaluate is at work"):
        evaluate_test(slow_classifier, test, None, rotations=6, mc_samples=5)
    assert max(clock.silences()) <= 2 * progress.SILENCE_S  # upright images are told of in a line
    clock.outputs.append(clock.now)
    with clock, working("equivariance is at work"):
        measure_errors(slow_classifier, images(), step_deg=90)
    assert max(clock.silences()) <= 2 * progress.SILENCE_S


@pytest.mark.parametrize("clock", ["a file"], indirect=True)
def test_evaluation_says_in_a_file_what_it_is_at(clock, slow_classifier) -> None:
    test = Split(images(), torch.arange(4) % 2, ("a", "b", "c", "d"))
    with clock, working("evaluate is at work"):
        evaluate_test(slow_classifier, test, None, rotations=6, mc_samples=5)
    text = said(clock)
    assert "rotations: " in text and " of 6, after" in text and "poses to average over: " in text
    assert clock.silences()[0] <= DUE_S and max(clock.silences()) < 20


def test_tasks_of_workers_are_told_while_they_are_waited_for(clock, monkeypatch) -> None:
    def completed(futures):
        for future in futures:
            clock.sleep(9)
            yield future

    @contextmanager
    def client(*_):
        done = SimpleNamespace(key="1", status="finished", release=lambda: None)
        yield SimpleNamespace(map=lambda function, packed, pure: [done] * len(packed))

    monkeypatch.setattr(tasks, "_client", client)
    monkeypatch.setattr(tasks, "_as_completed", completed)
    with clock, working("repeat is at work"):
        tasks.run_tasks(print, [1, 2, 3], workers=2, unit="run")
    assert clock.silences()[0] <= DUE_S
    assert ("1/3" if clock.is_terminal else "runs done: 0 of 3, after 0:00:02") in said(clock)


def test_preparing_images_tells_how_far_it_is(clock, tmp_path, monkeypatch) -> None:
    def slow(path, name, out, options):
        clock.sleep(4)
        return dict.fromkeys(prepare.COLUMNS, "") | {"error": "none"}, None

    for i in range(3):
        np.save(tmp_path / f"{i}.npy", np.zeros((30, 30), dtype=np.uint8))
    monkeypatch.setattr(prepare, "_prepare_one", slow)
    with clock, working("prepare is at work"), pytest.raises(UserError, match="none of 3 files"):
        prepare.prepare(tmp_path, tmp_path / "out", like=FRDEEPF, quiet=False)
    assert clock.silences()[0] <= DUE_S
    assert ("1/3" if clock.is_terminal else "preparing: 0 of 3") in said(clock)


def test_the_thread_itself_speaks_and_ends(monkeypatch, capsys) -> None:
    import threading

    monkeypatch.setattr(progress, "TICK_S", 0.01)
    monkeypatch.setattr(progress, "SILENCE_S", 0.05)
    with working("at it"):
        assert "radgal-progress" in {thread.name for thread in threading.enumerate()}
        for _ in range(500):
            time.sleep(0.01)
            if (text := capsys.readouterr().err) != "":
                break
    assert text.startswith("at it, for 0:00:0")
    assert "radgal-progress" not in {thread.name for thread in threading.enumerate()}
