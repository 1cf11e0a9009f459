"""What a notebook, a kernel or an environment leaves behind does not change or end a run, nor does a run change it."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

import radgal
from radgal import trainingrun
from radgal.data import splits
from radgal.figures import plots
from radgal.runs import checkpoint
from tests.conftest import ROOT
from tests.kill.kill_driver import CONFIG, differing, outcome, toy_data
from tests.prediction.tools import make_run


@contextmanager
def left_behind():
    """As some packages and cells leave it."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    try:
        yield
        assert torch.get_default_dtype() == torch.float64 and not torch.is_grad_enabled()
    finally:
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(True)


def test_a_run_sets_what_it_needs_and_puts_it_back(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(splits, "load_training_data", toy_data)
    monkeypatch.setattr(plots, "save_training_curves", lambda *_: None)
    monkeypatch.setattr(trainingrun, "environment", dict)
    monkeypatch.setattr(trainingrun, "make_report", lambda *_: None)
    config = tmp_path / "tiny.txt"
    config.write_text(CONFIG)
    keys = dict(epochs=2, test=False, quiet=True)
    radgal.train(config, outputdir=tmp_path / "plain", **keys)
    with left_behind():
        radgal.train(config, outputdir=tmp_path / "odd", **keys)
        with torch.inference_mode():
            radgal.train(config, outputdir=tmp_path / "inferring", **keys)
    expected = outcome(tmp_path / "plain")
    for name in ("odd", "inferring"):
        assert differing(expected, outcome(tmp_path / name)) == []


def test_a_network_is_opened_and_used_in_its_own_precision(tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    np.save(tmp_path / "image.npy", np.arange(900, dtype=np.uint8).reshape(30, 30))
    opened = radgal.open_run(tmp_path / "run", device="cpu")
    expected = opened.predict(tmp_path / "image.npy", mc_samples=3)
    with left_behind():
        odd = radgal.open_run(tmp_path / "run", device="cpu")
        assert {parameter.dtype for parameter in odd.model.parameters()} == {torch.float32}
        found = odd.predict(tmp_path / "image.npy", mc_samples=3)
        run = checkpoint.load_run(tmp_path / "run", torch.device("cpu"))
        assert {parameter.dtype for parameter in run.model.parameters()} == {torch.float32}
    assert list(found["prob_FRI"]) == list(expected["prob_FRI"])


@pytest.mark.parametrize("backend", ["nonsense", "module://not.there", "tkagg"])
@pytest.mark.slow
def test_a_backend_that_cannot_be_loaded_is_not_needed(backend: str, tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from radgal.figures import style\n"
        "figure = style.new_figure(2, 2)\n"
        "style.style(figure.subplots(), 'title')\n"
        "style.save_figure(figure, sys.argv[1])\n"
        "print(os.environ['MPLBACKEND'])"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "figure.png")]
    done = subprocess.run(words, cwd=ROOT, env=os.environ | {"MPLBACKEND": backend}, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip() == backend, done.stderr
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_a_figure_that_cannot_be_drawn_does_not_cost_the_result(tmp_path: Path, monkeypatch, capsys) -> None:
    def broken(*_):
        raise RuntimeError("no font\nanywhere")

    monkeypatch.setattr(splits, "load_training_data", toy_data)
    monkeypatch.setattr(plots, "save_training_curves", broken)
    monkeypatch.setattr(trainingrun, "environment", dict)
    monkeypatch.setattr(trainingrun, "make_report", lambda *_: None)
    (tmp_path / "tiny.txt").write_text(CONFIG)
    run = radgal.train(tmp_path / "tiny.txt", epochs=1, test=False, outputdir=tmp_path / "out")
    assert "figures could not be drawn: no font" in capsys.readouterr().out
    assert (run.folder / "finished.json").is_file()


@pytest.mark.slow
def test_a_notebook_keeps_its_run_when_main_makes_none(tmp_path: Path) -> None:
    """What IPython does for %run: the names that the script leaves go into the notebook's."""
    code = (
        "import runpy, sys\n"
        "run = 'kept'\n"
        "sys.argv = ['main.py', 'prepare', sys.argv[1], sys.argv[2], '--like', 'frdeep']\n"
        "globals().update(runpy.run_path('main.py', run_name='__main__'))\n"
        "print(run, 'made' in globals())"
    )
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "image.npy", np.arange(900, dtype=np.uint8).reshape(30, 30))
    words = [sys.executable, "-c", code, str(tmp_path / "in"), str(tmp_path / "out")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "kept False", done.stderr
