"""Precision, engine and torch.compile as a config asks for them: what is refused, what comes out, what is kept."""

from __future__ import annotations

import math
import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

import main
import models
from radgal.config.config import load_config
from radgal.data.splits import Split, TrainingData
from radgal.images.preparation import Preparation
from radgal.runs import checkpoint
from radgal.runs.epochs import run_epochs
from radgal.runs.folder import RunFolder
from radgal.runs.resume import Start
from radgal.training import precision
from radgal.training.precision import Precision, choose_precision, compile_for_training, runnable
from utils import UserError

CPU = torch.device("cpu")
CONFIG = """
[model]
base: '{base}'
nrot: {nrot}
[data]
dataset: 'FIRSTGalaxyData'
[training]
imsize: 50
epochs: 2
batch_size: 6
lr0: 1e-3
[metrics]
outputdir: '{folder}'
"""


@pytest.fixture(scope="module")
def images() -> TrainingData:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(16) % 2
    pixels = torch.randint(0, 40, (16, 1, 50, 50), generator=generator) + 60 * labels[:, None, None, None]
    whole = Split(pixels.to(torch.uint8), labels, tuple(f"s{i}" for i in range(16)))
    parts = whole.take(list(range(12))), whole.take(list(range(12, 16)))
    return TrainingData(*parts, ("FRI", "FRII"), Preparation(0.2, 0.2, 50), "toy", "v1", "none")


def train(tmp_path: Path, images: TrainingData, *overrides: str, resume=False, base="VanillaLeNet", nrot=None):
    path = tmp_path / "run.txt"
    path.write_text(CONFIG.format(base=base, nrot=nrot, folder=(tmp_path / "out").as_posix()))
    config = load_config(path, overrides)
    torch.manual_seed(0)
    model = models.build_from_config(config, images.classes, images.preparation)
    folder = RunFolder(config)
    progress = run_epochs(model, images, config, folder, Start(resume), say=lambda *_: None)
    return progress.history, checkpoint.read(folder.last)


@pytest.mark.parametrize(("base", "nrot"), [("VanillaLeNet", None), ("CNSteerableLeNet", 4), ("DNSteerableLeNet", 2)])
def test_bf16_learns_what_fp32_learns(tmp_path: Path, images: TrainingData, base: str, nrot: int | None) -> None:
    full, _ = train(tmp_path, images, "training.precision=fp32", base=base, nrot=nrot)
    half, content = train(tmp_path, images, "training.precision=bf16", base=base, nrot=nrot)
    assert content["precision"] == "bf16" and content["scaler"] is None
    for a, b in zip(full, half, strict=True):
        for key in ("train_loss", "test_loss"):
            assert a[key] != b[key] and math.isclose(a[key], b[key], rel_tol=0.1)


def test_both_engines_train_alike_and_read_each_others_runs(tmp_path: Path, images: TrainingData) -> None:
    options = dict(base="DNSteerableLeNet", nrot=2)
    fast, _ = train(tmp_path, images, **options)
    stock, content = train(tmp_path, images, "model.engine=e2cnn", **options)
    for a, b in zip(fast, stock, strict=True):
        assert math.isclose(a["train_loss"], b["train_loss"], rel_tol=1e-3)
        assert math.isclose(a["test_loss"], b["test_loss"], rel_tol=1e-3)
    assert content["config"]["model"]["engine"] == "e2cnn"
    longer, _ = train(tmp_path, images, "training.epochs=3", resume=True, **options)
    assert longer[:2] == stock and len(longer) == 3


def test_a_run_goes_on_in_the_precision_it_was_trained_in(tmp_path: Path, images: TrainingData) -> None:
    train(tmp_path, images, "training.precision=bf16")
    more = ("training.epochs=3",)
    with pytest.raises(UserError, match=r"trained in bf16.* is fp32 here; --set training.precision=bf16"):
        train(tmp_path, images, *more, resume=True)
    history, _ = train(tmp_path, images, *more, "training.precision=bf16", resume=True)
    assert len(history) == 3


def test_a_checkpoint_from_before_these_keys_is_used_and_gone_on_with(tmp_path: Path, images: TrainingData) -> None:
    before, content = train(tmp_path, images)
    for section, key in (("model", "engine"), ("training", "precision"), ("training", "compile")):
        del content["config"][section][key]
    del content["precision"], content["scaler"]
    for name in ("last.pt", "best.pt"):
        checkpoint.save(tmp_path / "out" / name, content)
    run = checkpoint.load_run(tmp_path / "out", CPU)
    assert (run.config.model.engine, run.config.training.precision, run.config.training.compile) == (
        "fast",
        "auto",
        False,
    )
    after, _ = train(tmp_path, images, "training.epochs=3", resume=True)
    assert after[:2] == before


def test_auto_is_fp32_on_a_cpu_and_bf16_only_where_the_gpu_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_precision("auto", CPU).name == "fp32"
    assert choose_precision("bf16", CPU).name == "bf16"
    for known in (("bf16", "fp32", "fp16"), ("fp32", "fp16")):
        monkeypatch.setattr(precision, "runnable", lambda device, known=known: known)
        assert choose_precision("auto", torch.device("cuda")).name == known[0]


@pytest.mark.parametrize(("name", "device"), [("fp16", "cpu"), ("bf16", "mps"), ("fp16", "mps")])
def test_a_precision_the_device_lacks_is_refused_with_what_it_has(name: str, device: str) -> None:
    with pytest.raises(UserError, match=rf"precision: '{name}' cannot be trained in on {device}; use .*'fp32'"):
        choose_precision(name, torch.device(device))
    assert name not in runnable(torch.device(device))


@pytest.mark.parametrize("override", ["model.engine=escnn", "training.precision=fp64", "training.compile=2"])
def test_unknown_values_are_refused_with_the_known_ones(tmp_path: Path, images: TrainingData, override: str) -> None:
    with pytest.raises(UserError, match=override.split("=")[0].split(".")[1]):
        train(tmp_path, images, override)


@pytest.mark.parametrize("fails", [False, True])
def test_float32_is_not_tensorfloat32_in_a_command_and_what_was_set_is_put_back(monkeypatch, fails: bool) -> None:
    switches, seen = (torch.backends.cudnn, torch.backends.cuda.matmul), []

    def compute(args) -> None:
        seen.extend(switch.allow_tf32 for switch in switches)
        if fails:
            raise UserError("of no use")

    monkeypatch.setattr("radgal.commands.train.run", compute)
    before = [switch.allow_tf32 for switch in switches]
    try:
        for switch in switches:
            switch.allow_tf32 = True
        with pytest.raises(UserError, match="of no use") if fails else nullcontext():
            main.main(["--config", str(Path(main.__file__).with_name("configs") / "config_first_lenet.txt")])
        assert seen == [False, False] and [switch.allow_tf32 for switch in switches] == [True, True]
    finally:
        for switch, allowed in zip(switches, before, strict=True):
            switch.allow_tf32 = allowed


def test_the_precision_of_a_run_is_chosen_once(tmp_path: Path, monkeypatch) -> None:
    chosen = []

    def choose(*args) -> Precision:
        chosen.append(choose_precision(*args))
        return chosen[-1]

    for module in ("trainingrun", "runs.epochs"):
        monkeypatch.setattr(f"radgal.{module}.choose_precision", choose)
    content = CONFIG.format(base="VanillaLeNet", nrot=None, folder=(tmp_path / "out").as_posix())
    (tmp_path / "run.txt").write_text(content)
    quick = ["training.epochs=1", "training.imsize=26", "training.batch_size=64"]
    main.main(["--config", str(tmp_path / "run.txt"), "--no-test", "--set", *quick])
    assert len(chosen) == 1


def test_a_network_that_cannot_be_compiled_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self) -> None:
        self._compiled_call_impl = lambda *_: (_ for _ in ()).throw(RuntimeError("no C++ compiler"))

    monkeypatch.setattr(torch.nn.Module, "compile", broken)
    model = models.build_model("VanillaLeNet", n_classes=2, side=50)
    with pytest.raises(UserError, match=r"compile: .*no C\+\+ compiler.*compile: False"):
        compile_for_training(model, torch.zeros(2, 1, 50, 50), Precision())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("engine", models.ENGINES)
def test_compiled_training_is_training_and_keeps_the_keys(tmp_path: Path, images: TrainingData, engine: str) -> None:
    same = (
        f"model.engine={engine}",
        "training.ema=0.9",
        "model.dropout=0.0",
    )  # compiled code draws other random numbers
    options = dict(base="CNSteerableLeNet", nrot=4)
    plain, content = train(tmp_path, images, *same, **options)
    compiled, compiled_content = train(tmp_path, images, *same, "training.compile=True", **options)
    assert list(compiled_content["model"]) == list(content["model"])
    for a, b in zip(plain, compiled, strict=True):
        assert math.isclose(a["train_loss"], b["train_loss"], rel_tol=1e-3)
        assert math.isclose(a["test_loss"], b["test_loss"], rel_tol=1e-3)
