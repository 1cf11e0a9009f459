"""What ends a run early, and going on with it: signals, changed configs, full disks, folders that vanish."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import main
from radgal import api, trainingrun
from radgal.data import splits
from radgal.figures import plots
from radgal.images.preparation import Preparation
from radgal.runs import checkpoint, finished
from tests.kill import kill_driver
from tests.kill.kill_driver import CONFIG, differing, outcome, toy_data
from utils import UserError


@pytest.fixture(autouse=True)
def toy(monkeypatch) -> None:
    monkeypatch.setattr(splits, "load_training_data", toy_data)
    monkeypatch.setattr(plots, "save_training_curves", lambda *_: None)
    monkeypatch.setattr(trainingrun, "environment", dict)
    monkeypatch.setattr(trainingrun, "make_report", lambda *_: None)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.txt"
    path.write_text(CONFIG.replace("resume: 'auto'", ""))
    return path


def go(config: Path, *words: str, out: str = "out", epochs: int = 3) -> api.Run:
    """Trains in ``out`` beside the config."""
    options = ["--no-test", *[word for word in words if word.startswith("--")]]
    sets = [f"metrics.outputdir={config.parent / out}", f"training.epochs={epochs}"]
    return main.main(["--config", str(config), *options, "--set", *sets, *[w for w in words if "=" in w]])


def at_input(monkeypatch, count: int, happens) -> None:
    """Lets something happen before the ``count``-th batch, training (5 an epoch) and validation (2) alike."""
    to_input, left = Preparation.to_input, [count]

    def counted(*args, **options):
        left[0] -= 1
        if left[0] == 0:
            happens()
        return to_input(*args, **options)

    monkeypatch.setattr(Preparation, "to_input", counted)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Callable[..., Path]:
    """Returns what trains for all tests that ask for the same, once; the folder must stay as it is."""
    folders: dict[tuple, Path] = {}

    def train(config: Path, *words: str, epochs: int = 3) -> Path:
        if (words, epochs) not in folders:
            home = tmp_path_factory.mktemp("trained")
            shutil.copy(config, home)
            folders[words, epochs] = go(home / config.name, *words, epochs=epochs).folder
        return folders[words, epochs]

    return train


@pytest.fixture
def untouched(trained: Callable[..., Path], config: Path) -> Callable[..., tuple]:
    """Returns what gives the outcome of a run that nothing befell."""
    return lambda *words, epochs=3: outcome(trained(config, *words, epochs=epochs))


@pytest.fixture
def one_epoch(trained: Callable[..., Path], config: Path) -> Path:
    """The folder of a run of one epoch, ``out`` beside the config, to be changed and gone on with."""
    return Path(shutil.copytree(trained(config, epochs=1), config.parent / "out"))


@pytest.mark.parametrize(
    "batch, epoch, number, code",
    [(3, 0, signal.SIGTERM, 75), (6, 0, signal.SIGTERM, 75), (7, 1, signal.SIGTERM, 75), (9, 1, signal.SIGINT, 130)],
)
def test_a_signal_ends_the_batch_saves_and_the_run_goes_on_bit_for_bit(
    batch: int, epoch: int, number: int, code: int, config: Path, untouched, monkeypatch, capsys
) -> None:
    expected = untouched()
    with monkeypatch.context() as patch:
        at_input(patch, batch, lambda: os.kill(os.getpid(), number))
        with pytest.raises(SystemExit) as end:
            go(config)
    assert end.value.code == code
    said = capsys.readouterr().err
    assert f"after epoch {epoch}" in said and "--no-test --resume" in said and f"main.py --config {config}" in said
    assert not (config.parent / "out" / "run.lock").exists()
    go(config, "--resume")
    assert differing(expected, outcome(config.parent / "out")) == []
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


RECIPE = [  # every way of training that is not the default
    "training.optimizer=adamw",
    "training.decay=0.05",
    "training.scheduler=onecycle",
    "training.ema=0.9",
    "training.label_smoothing=0.1",
    "training.val_rotations=2",
    "training.keep=last",
    "data.augment=rotate+flip+scale+shift+brightness+noise",
]


BATCHES = {"within": 3, "validating": 6, "one": 9, "two": 18, "two and a batch": 19}
NETWORKS = {
    "VanillaLeNet": ("model.base=VanillaLeNet",),
    "HMTNet": ("model.base=HMTNet", "training.imsize=34"),  # has batch normalization
    "CNSteerableLeNet": ("model.base=CNSteerableLeNet", "model.nrot=4", "model.engine=e2cnn"),
}  # the last keeps filters while it validates
QUICK = [("VanillaLeNet", "within"), ("VanillaLeNet", "two and a batch")]
QUICK += [("HMTNet", "within"), ("CNSteerableLeNet", "validating")]


@pytest.mark.parametrize(
    "network, where",
    [
        pytest.param(network, where, marks=[] if (network, where) in QUICK else pytest.mark.slow)
        for network in NETWORKS
        for where in BATCHES
    ],
)
def test_every_way_of_training_goes_on_bit_for_bit(network: str, where: str, config, untouched, monkeypatch) -> None:
    """Stopped in a run of 4 epochs; an epoch has 5 batches of training and, with two rotations, 4 of validation."""
    monkeypatch.setattr(kill_driver, "SIDE", 34 if network == "HMTNet" else 18)
    words = [*RECIPE, *NETWORKS[network]]
    expected = untouched(*words, epochs=4)
    with monkeypatch.context() as patch:
        at_input(patch, BATCHES[where], lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(SystemExit):
            go(config, *words, epochs=4)
    go(config, "--resume", *words, epochs=4)
    assert differing(expected, outcome(config.parent / "out")) == []


def test_what_is_kept_is_the_averaged_weights(config: Path) -> None:
    run = go(config, *RECIPE)
    content, plain = checkpoint.read(run.folder / "last.pt"), torch.load(run.folder / "model.pt", weights_only=True)
    for name, value in run.model.state_dict().items():
        assert torch.equal(value, plain[name]) and torch.equal(value, content["model"][name])
        assert not torch.equal(value, content["average"]["trained"][name])


@pytest.mark.parametrize("before, after", [(None, 0.9), (0.9, None), (0.9, 0.5)])
def test_another_average_may_be_forced(before: float | None, after: float | None, config: Path, trained) -> None:
    shutil.copytree(trained(config, f"training.ema={before}", epochs=1), config.parent / "out")
    with pytest.raises(UserError, match=f"ema: was {before}, is {after}"):
        go(config, "--resume", f"training.ema={after}")
    run = go(config, "--resume", "--force", f"training.ema={after}", epochs=2)
    content = checkpoint.read(run.folder / "last.pt")
    assert len(run.history) == 2 and (content["average"] is None) == (after is None)
    if content["average"] is not None:
        assert content["average"]["n_batches"] == (5 if before is None else 10)


def test_a_signal_in_the_very_last_batch_is_obeyed_too(config: Path, untouched, monkeypatch, capsys) -> None:
    expected = untouched()
    with monkeypatch.context() as patch:
        at_input(patch, 3 * 7, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(SystemExit) as end:
            go(config)
    assert end.value.code == 75 and "after epoch 3;" in capsys.readouterr().err
    go(config, "--resume")
    assert differing(expected, outcome(config.parent / "out")) == []


def test_sigterm_while_testing_has_the_exit_code_too(config: Path, monkeypatch) -> None:
    monkeypatch.setattr(plots, "save_training_curves", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit) as end:
        go(config, epochs=1)
    assert end.value.code == 75 and (config.parent / "out" / "best.pt").is_file()


def test_a_checkpoint_that_lacks_what_a_resume_needs_is_refused(config: Path, one_epoch: Path) -> None:
    path = one_epoch / "last.pt"
    content = checkpoint.read(path)
    checkpoint.save(path, content | {"random": {"python": 1, "numpy": 2, "torch": 3, "cuda": None}})
    with pytest.raises(UserError, match="cannot be resumed"):
        go(config, "--resume")
    checkpoint.save(path, {key: value for key, value in content.items() if key != "optimizer"})
    with pytest.raises(UserError, match="lacks optimizer"):
        go(config, "--resume")


@pytest.mark.parametrize(
    "before, after",
    [
        ("plateau", "cosine"),
        ("plateau", "none"),
        ("onecycle", "plateau"),
    ],
)
def test_another_schedule_may_be_forced(before: str, after: str, config: Path, trained) -> None:
    shutil.copytree(trained(config, f"training.scheduler={before}", epochs=1), config.parent / "out")
    run = go(config, "--resume", "--force", f"training.scheduler={after}", epochs=3)
    assert len(run.history) == 3


def test_a_state_that_another_torch_wrote_is_gone_on_with(config: Path, one_epoch: Path) -> None:
    """Options come and go between versions."""
    path = one_epoch / "last.pt"
    state = checkpoint.read(path)
    del state["optimizer"]["param_groups"][0]["decoupled_weight_decay"]
    state["scheduler"] |= {"verbose": False}
    del state["scheduler"]["cooldown"]
    checkpoint.save(path, state)
    assert len(go(config, "--resume").history) == 3


def spoil(state: dict, place: tuple, value) -> None:
    for key in place[:-1]:
        state = state[key]
    state[place[-1]] = value


@pytest.mark.parametrize(
    "place, value",
    [
        (("history", 0), {"epoch": 1, "<b>": 2}),
        (("history", 0, "seconds"), {}),
        (("history", 0, "test_accuracy"), "1"),
        (("history",), []),
        (("best_epoch",), 7),
        (("best_score", 0), None),
        (("best_score",), 3),
        (("started_from",), {"run": float("nan")}),
        (("unfinished", "losses"), [1.0]),
        (("unfinished", "losses"), torch.zeros(6, dtype=torch.float64)),
        (("unfinished", "seconds"), None),
        (("optimizer", "param_groups", 0, "maximize"), {}),
        (("optimizer", "param_groups", 0, "params"), [0]),
        (("optimizer", "state", 0, "exp_avg"), torch.zeros(2)),
        (("optimizer", "state", 0), {}),
        (("optimizer", "state"), {"0": {}}),
        (("scheduler", "last_epoch"), []),
        (("scheduler", "best"), None),
        (("random", "python"), 1),
        (("average",), {"trained": {}, "n_batches": 1}),
    ],
    ids=str,
)
def test_a_state_from_a_stranger_is_refused_before_the_first_batch(
    place: tuple, value, config: Path, one_epoch: Path, monkeypatch
) -> None:
    folder = one_epoch
    state = checkpoint.read(folder / "last.pt")
    part = {"losses": torch.zeros(2, dtype=torch.float64), "n_correct": 1, "seconds": 1.0, "random": state["random"]}
    name = "unfinished.pt" if place[0] == "unfinished" else "last.pt"
    state |= {"unfinished": part} if name == "unfinished.pt" else {}
    spoil(state, place, value)
    checkpoint.save(folder / name, state)
    before = (folder / name).read_bytes()
    monkeypatch.setattr(Preparation, "to_input", lambda *_: pytest.fail("it trains"))
    with pytest.raises(UserError, match="cannot be resumed|this program did not write it|has 5 batches"):
        go(config, "--resume")
    assert (folder / name).read_bytes() == before


@pytest.mark.parametrize("before", [signal.default_int_handler, signal.SIG_IGN], ids=["shell", "background"])
def test_a_second_signal_is_not_held_back(before: object, config: Path, monkeypatch) -> None:
    def twice() -> None:
        """Two signals that come together are one: the second is sent when the first has been seen."""
        first = signal.getsignal(signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        while signal.getsignal(signal.SIGINT) == first:
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10)  # until it is seen, too

    at_input(monkeypatch, 3, twice)
    kept = signal.signal(signal.SIGINT, before)
    try:
        with pytest.raises(KeyboardInterrupt):
            go(config)
    finally:
        signal.signal(signal.SIGINT, kept)


def test_auto_starts_goes_on_and_says_when_finished(config: Path, untouched, monkeypatch, capsys) -> None:
    expected = untouched()
    with monkeypatch.context() as patch:
        at_input(patch, 9, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(SystemExit):
            go(config, "training.resume=auto")
    go(config, "training.resume=auto")
    assert "resumed after epoch 1, 2 batches into the next" in capsys.readouterr().out
    rows, files, _ = outcome(config.parent / "out")
    assert (rows, files) == expected[:2]
    run = go(config, "training.resume=auto")
    assert "is finished" in capsys.readouterr().out and len(run.history) == 3
    assert len(go(config, "training.resume=auto", epochs=4).history) == 4
    with pytest.raises(UserError, match="lr0: was 0.001, is 0.01(.|\n)*training.resume=never"):
        go(config, "training.resume=auto", "training.lr0=0.01")


@pytest.mark.parametrize("content", [b"", b"[" * 100_000, b"\xff"])
def test_a_finished_run_whose_result_is_damaged_says_how_to_make_it_again(content, config: Path, one_epoch) -> None:
    folder = one_epoch
    finished.mark(folder, 1, 1, tested=True)
    (folder / "metrics.json").write_bytes(content)
    again = ["--set", "training.epochs=1", f"metrics.outputdir={folder}", "training.resume=auto"]
    with pytest.raises(UserError, match=r"metrics\.json cannot be read.*main\.py evaluate .*out"):
        main.main(["--config", str(config), *again])


@pytest.mark.usefixtures("one_epoch")
def test_a_changed_config_is_refused_unless_forced(config: Path, capsys) -> None:
    changes = ["training.lr0=0.01", "training.decay=0.1", "training.batch_size=7"]
    with pytest.raises(UserError) as refused:
        go(config, "--resume", *changes)
    for part in ("lr0: was 0.001, is 0.01", "decay: was 1e-06, is 0.1", "batch_size: was 5, is 7", "--force"):
        assert part in str(refused.value)
    run = go(config, "--resume", "--force", *changes)
    assert "in spite of" in capsys.readouterr().out
    assert [row["lr"] for row in run.history] == pytest.approx([0.001, 0.01, 0.01])
    assert checkpoint.read(run.folder / "last.pt")["optimizer"]["param_groups"][0]["weight_decay"] == 0.1


@pytest.mark.usefixtures("one_epoch")
def test_another_optimizer_may_be_forced(config: Path) -> None:
    with pytest.raises(UserError, match="optimizer: was 'adam', is 'adamw'"):
        go(config, "--resume", "training.optimizer=adamw")
    run = go(config, "--resume", "--force", "training.optimizer=adamw")
    assert checkpoint.read(run.folder / "last.pt")["optimizer"]["param_groups"][0]["decoupled_weight_decay"] is True


def kept(run: api.Run) -> int:
    return checkpoint.read(run.folder / "best.pt")["epoch"]


def test_the_last_epoch_is_kept_where_that_is_asked_for(config: Path) -> None:
    """The toy's labels are noise, so its best epoch by validation accuracy is an early one."""
    assert kept(go(config, epochs=6)) < 6
    run = go(config, "training.keep=last", out="last", epochs=6)
    assert kept(run) == 6 and run.history[-1]["test_accuracy"] is not None
    assert kept(go(config, "training.keep=last", "--resume", out="last", epochs=8)) == 8


@pytest.mark.usefixtures("one_epoch")
def test_other_images_are_refused(config: Path, monkeypatch) -> None:
    from dataclasses import replace

    monkeypatch.setattr(splits, "load_training_data", lambda cfg, *_: replace(toy_data(cfg), checksum="another"))
    with pytest.raises(UserError, match="images: were v1"):
        go(config, "--resume")


@pytest.mark.parametrize("scheduler", ["cosine", "onecycle"])
def test_a_schedule_with_an_end_has_a_fixed_number_of_epochs(scheduler: str, config: Path) -> None:
    scheduler = f"training.scheduler={scheduler}"
    whole = go(config, scheduler, epochs=4, out="whole")
    go(config, scheduler, epochs=2)
    with pytest.raises(UserError, match="epochs: was 2, is 4"):
        go(config, scheduler, "--resume", epochs=4)
    run = go(config, scheduler, "--resume", "--force", epochs=4)
    assert [row["lr"] for row in run.history[2:]] == pytest.approx([row["lr"] for row in whole.history[2:]])


def test_every_random_state_is_stored_and_put_back(one_epoch: Path) -> None:
    import random

    import numpy as np

    from utils import random_states, set_random_states, set_seed

    set_seed(5)
    states = random_states()
    drawn = [
        (random.random(), np.random.rand(), float(torch.rand(()))) for _ in range(2) if not set_random_states(states)
    ]
    assert drawn[0] == drawn[1]
    assert set(checkpoint.read(one_epoch / "last.pt")["random"]) == set(states)


def test_a_resume_reads_each_checkpoint_once(config: Path, monkeypatch) -> None:
    go(config, epochs=2)
    counts, read = Counter(), checkpoint.read
    monkeypatch.setattr(checkpoint, "read", lambda path: counts.update([Path(path).name]) or read(path))
    at_input(monkeypatch, 1, lambda: counts.update(["trained"]))
    go(config, "training.resume=auto", epochs=3)
    assert counts["last.pt"] == 1 and counts["trained"] == 1
    assert counts["best.pt"] == 2  # once more for the test, by then another
    counts.clear()
    go(config, "training.resume=auto", epochs=3)
    assert counts == {"last.pt": 1, "best.pt": 1}


def fill_the_disk(patch) -> None:
    """From now on, every write of a checkpoint finds no space after half of it."""
    write = Path.write_bytes

    def write_bytes(path, content):
        write(path, bytes(content)[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    patch.setattr(Path, "write_bytes", write_bytes)


def test_a_full_disk_leaves_the_last_checkpoint_and_says_so(config: Path, untouched, monkeypatch) -> None:
    expected = untouched()
    with monkeypatch.context() as patch:
        at_input(patch, 9, lambda: fill_the_disk(patch))
        with pytest.raises(
            UserError, match=r"last\.pt: No space left on device.*last\.pt \(epoch 1\) is intact.*--resume"
        ):
            go(config)
    assert not list((config.parent / "out").glob(".*"))
    go(config, "--resume")
    assert differing(expected, outcome(config.parent / "out")) == []


def test_a_limit_of_the_system_is_met_like_a_full_disk(config: Path, monkeypatch) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))

    at_input(monkeypatch, 9, limit)
    try:
        with pytest.raises(UserError, match=r"cannot write .*last\.pt: .*epoch 1\) is intact"):
            go(config)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_folder_that_vanishes_is_said(config: Path, monkeypatch) -> None:
    at_input(monkeypatch, 9, lambda: shutil.rmtree(config.parent / "out"))
    with pytest.raises(UserError, match="has vanished"):
        go(config)
    assert not (config.parent / "out").exists()


def test_a_folder_that_cannot_be_written_is_said_before_training(config: Path) -> None:
    (config.parent / "out").write_text("a file is in the way")
    with pytest.raises(UserError, match="cannot write in .*outputdir"):
        go(config)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_said_before_training(config: Path) -> None:
    (config.parent / "out").mkdir(mode=0o500)
    with pytest.raises(UserError, match="Permission denied; nothing was begun"):
        go(config)
