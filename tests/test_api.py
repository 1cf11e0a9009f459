"""The Python interface: its examples as they stand, and that it does what the commands do."""

from __future__ import annotations

import doctest
import importlib
import io
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import torch
from astropy.table import Table

import main
import radgal
from radgal.config.config import override_texts
from tests.conftest import ROOT
from utils import UserError

SMALL = dict(imsize=18, downsample=1, quiet=True, device="cpu")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a user has it: configs, a trained run, cutouts."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "configs").symlink_to(ROOT / "configs")
    cutouts = folder / "my_cutouts"
    cutouts.mkdir()
    generator = np.random.default_rng(0)
    for name in ("one", "two"):
        np.save(cutouts / f"{name}.npy", generator.integers(0, 256, (150, 150), dtype=np.uint8))
    with redirect_stdout(io.StringIO()):
        run = radgal.train(
            ROOT / "configs" / "config_first_lenet.txt",
            epochs=1,
            outputdir=folder / "runs" / "config_first_lenet",
            **SMALL,
        )
    assert run.folder == folder / "runs" / "config_first_lenet"
    return folder


@pytest.fixture
def at_work(work: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(work)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    return work


@pytest.mark.parametrize("module", ["radgal.api", "radgal.classifier"])
def test_the_examples_of_the_docstrings_run_as_they_stand(module: str, at_work: Path) -> None:
    found = [test for test in doctest.DocTestFinder().find(importlib.import_module(module)) if test.examples]
    assert found
    said = io.StringIO()
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for test in found:
        runner.run(test, out=said.write)
    assert runner.failures == 0, said.getvalue()


def test_every_name_of_the_package_is_there_and_documented() -> None:
    for name in radgal.__all__:
        assert getattr(radgal, name).__doc__ and name in dir(radgal)
    with pytest.raises(AttributeError, match="no attribute 'trains'"):
        radgal.trains  # noqa: B018


def test_a_config_is_a_file_a_dict_or_an_object(tmp_path: Path) -> None:
    content = {
        "model": {"base": "VanillaLeNet"},
        "data": {"dataset": "FIRSTGalaxyData"},
        "training": {"imsize": 50},
        "name": "mine",
    }
    from_dict = radgal.read_config(content)
    text = "[model]\nbase: 'VanillaLeNet'\n[data]\ndataset: 'FIRSTGalaxyData'\n[training]\nimsize: 50\n"
    (tmp_path / "mine.txt").write_text(text)
    from_file = radgal.read_config(tmp_path / "mine.txt")
    assert from_dict == from_file == radgal.read_config(from_file)
    assert from_dict.output_dir == from_file.output_dir == Path("runs", "mine")
    changed = radgal.read_config(from_file, ["training.epochs=7"])
    assert changed.training.epochs == 7 and changed.overridden == ("training.epochs",)
    with pytest.raises(UserError, match=r"\[training\] imsize = 'big'"):
        radgal.read_config(content | {"training": {"imsize": "big"}})
    with pytest.raises(UserError, match="must hold keys"):
        radgal.read_config({"model": 3})


@pytest.mark.parametrize(
    "keys, texts",
    [
        ({"epochs": 2}, ["training.epochs=2"]),
        ({"outputdir": Path("a b")}, ["metrics.outputdir='a b'"]),
        ({"nrot": None, "mirror": "x"}, ["model.nrot=None", "data.mirror='x'"]),
        ({"epochs": np.int64(2), "lr0": np.float64(0.5)}, ["training.epochs=2", "training.lr0=0.5"]),
    ],
)
def test_keys_are_known_by_their_names(keys: dict, texts: list[str]) -> None:
    assert override_texts(keys) == texts


def test_a_key_that_no_section_has_is_an_error_with_the_nearest() -> None:
    with pytest.raises(UserError, match="epoch: no section of a config has this key; did you mean epochs?"):
        radgal.train("configs/config_first_lenet.txt", epoch=2)


def test_overrides_are_a_list_that_is_read_whole() -> None:
    config = ROOT / "configs" / "config_first_lenet.txt"
    read = radgal.read_config(config, (text for text in ["training.seed=None", "training.epochs=7"]))
    assert read.training.epochs == 7 and read.training.seed is not None
    for function in (radgal.read_config, radgal.train):
        with pytest.raises(UserError, match=r"must be a list, such as \['training.epochs=5'\]"):
            function(config, overrides="training.epochs=5")


def test_predict_is_the_command(at_work: Path, tmp_path: Path) -> None:
    classifier = radgal.open_run("runs/config_first_lenet", device="cpu")
    catalog = classifier.predict("my_cutouts", mc_samples=3, seed=5)
    words = f"--out {tmp_path / 'c.ecsv'} --mc-samples 3 --seed 5 --device cpu --quiet"
    main.main(["predict", "runs/config_first_lenet", "my_cutouts", *words.split()])
    written = Table.read(tmp_path / "c.ecsv")
    assert catalog.colnames == written.colnames and list(catalog["id"]) == ["one", "two"]
    np.testing.assert_allclose(catalog["prob_FRI"], written["prob_FRI"], rtol=1e-5)  # written in six digits
    pair = radgal.predict([classifier, classifier], ["my_cutouts/one.npy"], tmp_path / "one.csv", mc_samples=0)
    assert len(pair) == 1 and (tmp_path / "one.csv").is_file()
    with pytest.raises(UserError, match="no classifier"):
        radgal.predict([], "my_cutouts")


def test_evaluate_is_the_command(at_work: Path, tmp_path: Path) -> None:
    classifier = radgal.open_run("runs/config_first_lenet", device="cpu")
    before = sorted(path.name for path in classifier.folder.iterdir())
    scores = classifier.evaluate(rotations=2, mc_samples=2)
    assert sorted(path.name for path in classifier.folder.iterdir()) == before
    written = radgal.evaluate(classifier, tmp_path / "again", rotations=2, mc_samples=2)
    assert written == scores and (tmp_path / "again" / "metrics.json").is_file()


def test_a_run_is_taken_for_its_classifier(at_work: Path, tmp_path: Path) -> None:
    keys = SMALL | dict(epochs=1, test=False)
    config = "configs/config_first_lenet.txt"
    run = radgal.train(config, outputdir=tmp_path / "first", **keys)
    assert len(radgal.predict([run, run.classifier], "my_cutouts", mc_samples=0)) == 2
    few = dict(rotations=np.int64(1), mc_samples=np.int64(1), seed=np.int64(3))
    found = radgal.evaluate(run, priors={"FRII": 0.3, "FRI": 0.7}, **few)
    assert found["n_test"] == 100 and found["priors"]["survey"] == {"FRI": 0.7, "FRII": 0.3}
    assert found["questions"]["completeness_purity"]["survey"] == {"FRI": 0.7, "FRII": 0.3}
    for wrong in ({"FRI": 0.7}, [0.7, 0.3], {"FRI": 0.7, "FRII": 0.7}):
        with pytest.raises(UserError, match="--priors"):
            radgal.evaluate(run, priors=wrong, **few)
    tuned = radgal.fine_tune(
        run, config, overrides=iter(["training.epochs=2"]), outputdir=tmp_path / "tuned", test=False, **SMALL
    )
    assert tuned.config.training.start_from == str(run.classifier.path) and len(tuned.history) == 2
    dry = radgal.train(config, dry_run=True, outputdir=tmp_path / "dry", **SMALL)
    for wrong, why in ((dry, "nothing was trained"), (str(run.folder), "it is a str"), (None, "it is a NoneType")):
        for function in (lambda one: radgal.predict(one, "my_cutouts"), radgal.evaluate):
            with pytest.raises(UserError, match=f"no trained network, since .*{why}.*open_run"):
                function(wrong)


def test_a_run_is_opened_by_paths_and_devices_as_others_give_them(at_work: Path, tmp_path: Path) -> None:
    opened = radgal.open_run(Path("runs/config_first_lenet"), device=torch.device("cpu"), datadir=tmp_path)
    assert opened.config.data.datadir == str(tmp_path)


def test_choices_out_of_range_are_refused(at_work: Path) -> None:
    classifier = radgal.open_run("runs/config_first_lenet", device="cpu")
    for wrong in ({"rotations": 0}, {"batch_size": 0}, {"threads": 0}, {"mc_samples": -1}):
        with pytest.raises(UserError, match="is needed"):
            classifier.predict("my_cutouts", **wrong)
    with pytest.raises(UserError, match="seed = -1"):
        classifier.evaluate(seed=-1)
    assert len(classifier.predict("my_cutouts", rotations=np.int64(2), mc_samples=0)) == 2


def test_images_of_another_kind_are_refused(at_work: Path) -> None:
    classifier = radgal.open_run("runs/config_first_lenet", device="cpu")
    images = torch.zeros(3, 1, 18, 18, dtype=torch.uint8)
    for wrong in (images[:, 0], images / 255, images.numpy(), images.repeat(1, 3, 1, 1)):
        with pytest.raises(UserError, match=r"must be uint8 \(N, 1, S, S\), not .*crop"):
            classifier.probabilities(wrong)
    with pytest.raises(UserError, match="no images"):
        classifier.dropout_samples(images[:0])
    for wrong in (images, images[0, 0], images[:, 0, :17], images[:, 0].numpy()):
        with pytest.raises(UserError, match="at least 18 x 18 pixels is needed"):
            classifier.preparation.crop(wrong)


def test_a_run_says_what_it_is_in_a_line(at_work: Path, tmp_path: Path) -> None:
    run = radgal.train("configs/config_first_lenet.txt", dry_run=True, outputdir=tmp_path / "dry", **SMALL)
    assert repr(run) == f"<Run config_first_lenet: 0 epochs, not tested, in {tmp_path / 'dry'}>"
    assert run.classifier.probabilities(torch.zeros(1, 1, 18, 18, dtype=torch.uint8)).shape == (1, 2)
    assert run.model is run.classifier.model and not (tmp_path / "dry").exists()


@pytest.mark.parametrize(
    "base, nrot", [("VanillaLeNet", None), pytest.param("CNSteerableLeNet", 4, marks=pytest.mark.slow)]
)
def test_averaged_pixels_go_through_everything(base: str, nrot: int | None, at_work: Path, tmp_path: Path) -> None:
    keys = SMALL | dict(imsize=36, downsample=2, epochs=1, outputdir=tmp_path / "half", base=base, nrot=nrot)
    run = radgal.train("configs/config_first_lenet.txt", **keys)
    assert run.model.imsize == 18 and run.metrics["n_test"] == 100
    opened = radgal.open_run(run.folder, device="cpu")
    assert opened.preparation.downsample == 2
    catalog = opened.predict("my_cutouts", mc_samples=0)
    pixels = torch.from_numpy(np.load("my_cutouts/one.npy"))[None]
    expected = opened.probabilities(opened.preparation.crop(pixels))
    assert catalog["prob_FRI"][0] == pytest.approx(expected[0, 0], abs=1e-6)
    main.main(["export", str(run.folder), "--format", "torch"])
    main.main(["rotate", str(run.folder), "--limit", "1", "--figures", "0", "--mc-samples", "2", "--device", "cpu"])
    main.main(["equivariance", str(run.folder), "--step", "90", "--n-images", "2", "--device", "cpu"])
    tuned = radgal.fine_tune(
        run.folder, "configs/config_first_lenet.txt", **keys | {"outputdir": tmp_path / "tuned", "test": False}
    )
    assert len(tuned.history) == 1
    with pytest.raises(UserError, match=r"\[data\] downsample: 2 there, 1 here"):
        radgal.fine_tune(run.folder, "configs/config_first_lenet.txt", **keys | {"downsample": 1, "outputdir": "x"})


def test_sizes_that_cannot_be_averaged_are_refused_with_those_that_can() -> None:
    with pytest.raises(UserError, match="imsize . pad = 149 is no multiple of it: make that 148 or 150"):
        radgal.read_config(ROOT / "configs" / "config_first_lenet.txt", ["data.downsample=2", "data.pad=1"])


def test_a_side_that_averaging_makes_too_small_is_explained(at_work: Path) -> None:
    with pytest.raises(UserError, match=r"4 x 4 pixels, .imsize \+ pad. / downsample; the smallest .* is 10"):
        radgal.train("configs/config_first_lenet.txt", dry_run=True, **SMALL | dict(imsize=12, downsample=3))
