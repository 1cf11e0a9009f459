"""Exported networks give the original's predictions, on real images, without this program."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import main
import models
from radgal.config.config import Config
from radgal.data.datasets import preparation_of
from radgal.data.firstgalaxy import FIRSTGalaxyData
from radgal.layers.plain import GroupMax
from radgal.layers.steerable import SteerableConv
from radgal.prediction import export
from radgal.runs.checkpoint import FORMAT, TrainedRun, save
from radgal.runs.finetune import head_name
from tests.conftest import ROOT
from utils import UserError

MEAN, STD = 0.0019, 0.0281
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "export.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def galaxies(tmp_path_factory) -> torch.Tensor:
    """Eight real images, uint8 (8, 1, 150, 150)."""
    return FIRSTGalaxyData(tmp_path_factory.mktemp("data"), train=False).data[::13, None].contiguous()


def make_run(name: str, nrot: int | None = None, *, head="flatten", mask=True, engine="fast", pad=0) -> TrainedRun:
    """A network of random weights and statistics, with logits that differ between images, as after training."""
    config = Config.from_dict(
        {
            "model": {"base": name, "nrot": nrot, "head": head, "mask": mask},
            "data": {"dataset": "FIRSTGalaxyData", "download": False, "pad": pad},
            "training": {"imsize": 50},
        }
    )
    torch.manual_seed(5)
    model = models.build_model(
        name,
        n_classes=2,
        side=50 + pad,
        nrot=nrot,
        mask=mask,
        head=head,
        background=-MEAN / STD,
        engine=engine,
    )
    with torch.no_grad():
        last_layer(model).weight.mul_(30)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(std=0.1)
                module.running_var.uniform_(0.5, 2)
    content = {"config": config.to_dict(), "classes": ["FRI", "FRII"], "mean": MEAN, "std": STD, "epoch": 7, "seed": 1}
    content |= {"format": FORMAT, "model": model.state_dict(), "history": [], "dataset": "FIRSTGalaxyData"}
    return TrainedRun(
        model=model.eval(),
        classes=("FRI", "FRII"),
        preparation=preparation_of(config, (MEAN, STD)),
        config=config,
        epoch=7,
        seed=1,
        history=[],
        path=Path("best.pt"),
        checkpoint=content,
    )


def last_layer(model: models.GalaxyNet) -> torch.nn.Linear:
    return model.get_submodule(head_name(model))


def check(run: TrainedRun, form: str, galaxies: torch.Tensor, folder: Path) -> None:
    """Holds a file against the original, image by image, for batches of 1, 2 and 5; their logits differ by 1."""
    write, load = export.FORMATS[form]
    x = run.to_input(run.preparation.crop(galaxies[:, 0]))
    with torch.no_grad():
        logits = run.model(x)
        last_layer(run.model).weight.div_((logits.amax(0) - logits.amin(0)).max())
        expected = run.model(x)
    plain = export.from_run(run)
    own = {type(m) for m in plain.modules() if type(m).__module__.startswith(("e2cnn", "radgal.layers"))}
    assert own <= {GroupMax}
    write(plain, export.describe(run, plain), folder / "net")
    predict = load(folder / "net")
    for batch, logits in zip(galaxies.split([1, 2, 5]), expected.split([1, 2, 5]), strict=True):
        found, probs = predict(batch.numpy())
        np.testing.assert_allclose(found, logits, rtol=0, atol=1e-4)
        np.testing.assert_allclose(probs, logits.softmax(1), rtol=0, atol=1e-4)


@pytest.mark.parametrize("form", export.FORMATS)
@pytest.mark.parametrize(
    ("name", "nrot", "options"),
    [
        ("VanillaLeNet", None, {"pad": 1}),
        ("HMTNet", None, {"head": "invariant"}),
        ("CNSteerableLeNet", 8, {"mask": False}),
        ("DNSteerableLeNet", 4, {"head": "invariant"}),
        ("DNSteerableLeNet", 4, {"engine": "e2cnn"}),
        ("DNRestrictedLeNet", 4, {"pad": 2}),
    ],
)
def test_files_agree_with_the_original(name, nrot, options, form, galaxies, tmp_path) -> None:
    check(make_run(name, nrot, **options), form, galaxies, tmp_path)


def every_network() -> Iterator[tuple]:
    for name, model in models.MODELS.items():
        for engine in ("fast", "e2cnn") if model.takes_nrot else ("fast",):
            for nrot in (4, 8, 16) if model.takes_nrot else (None,):
                for head in models.HEADS:
                    for mask in (True, False):
                        yield name, nrot, dict(engine=engine, head=head, mask=mask)


@pytest.mark.slow
@pytest.mark.parametrize("form", export.FORMATS)
@pytest.mark.parametrize(
    ("name", "nrot", "options"),
    list(every_network()),
    ids=lambda v: "-".join(map(str, v.values())) if isinstance(v, dict) else None,
)
def test_every_network_agrees(name, nrot, options, form, galaxies, tmp_path) -> None:
    check(make_run(name, nrot, **options), form, galaxies, tmp_path)


def test_the_torch_file_takes_both_shapes_and_types_and_clipped_values(galaxies, tmp_path) -> None:
    run = make_run("VanillaLeNet")
    export.write_torch(export.from_run(run), {}, tmp_path / "net.pt")
    net = torch.jit.load(tmp_path / "net.pt")
    expected = net(galaxies)[0]
    assert torch.equal(net(galaxies[:, 0])[0], expected) and torch.equal(net(galaxies.double())[0], expected)
    assert not torch.equal(net(galaxies + torch.rand(galaxies.shape))[0], expected)
    with pytest.raises(RuntimeError, match="invalid for input of size"):
        net(galaxies[..., :100])


def test_the_original_is_left_as_it_was(galaxies) -> None:
    run = make_run("DNSteerableLeNet", 4)
    before = {key: value.clone() for key, value in run.model.state_dict().items()}
    plain = export.from_run(run)
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.zero_()
    for key, value in run.model.state_dict().items():
        assert torch.equal(value, before[key])


@pytest.mark.parametrize("form", export.FORMATS)
def test_a_file_that_differs_is_not_kept(form, tmp_path, monkeypatch) -> None:
    plainly = SteerableConv.to_plain

    def wrongly(conv):
        plain = plainly(conv)
        plain.weight.data *= 1.01
        return plain

    monkeypatch.setattr(SteerableConv, "to_plain", wrongly)
    (tmp_path / "net").write_text("earlier")
    with pytest.raises(UserError, match=r"not kept: on 40 real images it differs by .*1e-04 is allowed"):
        export.export(make_run("CNSteerableLeNet", 4), tmp_path / "net", form)
    assert (tmp_path / "net").read_text() == "earlier" and len(list(tmp_path.iterdir())) == 1


def test_a_difference_that_is_not_a_number_is_one(galaxies) -> None:
    run = make_run("VanillaLeNet")
    nothing = np.full((1, 2), np.nan, np.float32)
    assert export.largest_difference(run, galaxies[:1], lambda images: (nothing, nothing)) == float("inf")


def save_run(run: TrainedRun, folder: Path) -> Path:
    save(folder / "best.pt", run.checkpoint)
    return folder


@pytest.mark.parametrize(
    "block, form, name",
    [(0, "onnx", "exported.onnx"), pytest.param(1, "torch", "exported.pt", marks=pytest.mark.slow)],
)
def test_the_command_with_the_docs_example(block, form, name, galaxies, tmp_path, capsys) -> None:
    """As documented, in a process that cannot import this program, with the class names."""
    save_run(make_run("DNSteerableLeNet", 4), tmp_path)
    np.save(tmp_path / "images.npy", galaxies[:, 0].numpy())
    assert len(BLOCKS) == 2 and "onnxruntime" in BLOCKS[0]
    main.main(["export", str(tmp_path), "--format", form])
    printed = capsys.readouterr().out
    assert f"written to {tmp_path / name}" in printed
    assert float(re.search(r"40 real images .*: (\S+) .allowed", printed)[1]) < 1e-5
    assert len(BLOCKS[block].strip().splitlines()) <= 13
    done = subprocess.run(
        [sys.executable, "-I", "-c", BLOCKS[block].replace("runs/config_first_lenet/", "")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "FRI" in done.stdout
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", ["best.pt", "last.pt", "model.pt"])
def test_a_file_of_the_run_is_never_overwritten(name, tmp_path) -> None:
    save_run(make_run("VanillaLeNet"), tmp_path)
    before = (tmp_path / "best.pt").read_bytes()
    with pytest.raises(UserError, match=f"{name} is a file of the run itself; give --out another name"):
        main.main(["export", str(tmp_path), "--format", "torch", "--out", str(tmp_path / name)])
    assert (tmp_path / "best.pt").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_it_is_said_whose_images_the_file_was_checked_on(tmp_path, capsys) -> None:
    run = make_run("VanillaLeNet")
    save_run(run, tmp_path / "own")
    main.main(["export", str(tmp_path / "own"), "--format", "torch"])
    assert "real images (validation images of FIRSTGalaxyData):" in capsys.readouterr().out
    content = json.loads(json.dumps(run.config.to_dict()))
    content["data"] |= {"dataset": "MBFRConfident", "datadir": str(tmp_path / "nowhere")}
    save(tmp_path / "moved" / "best.pt", run.checkpoint | {"config": content})
    main.main(["export", str(tmp_path / "moved"), "--format", "torch"])
    said = capsys.readouterr().out
    assert "real images (FIRSTGalaxyData, because the images of MBFRConfident are not at hand):" in said


def test_what_the_onnx_file_says_of_itself(tmp_path) -> None:
    import onnx

    run = make_run("CNSteerableLeNet", 4, pad=1)
    plain = export.from_run(run)
    export.write_onnx(plain, export.describe(run, plain), tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    about = {item.key: item.value for item in model.metadata_props}
    assert json.loads(about["classes"]) == ["FRI", "FRII"] and about["model"] == "CNSteerableLeNet"
    assert about["preprocessing"].startswith("in the network: central 50 pixels, 1 of padding, (pixel / 255 - 0.0019)")
    assert [entry.version for entry in model.opset_import if not entry.domain] == [export.OPSET]
    sizes = [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    assert sizes == ["N", 1, 150, 150]


def test_a_missing_package_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match="ONNX needs onnxruntime: pip install -r requirements-export.txt"):
        export.export(make_run("VanillaLeNet"), tmp_path / "net.onnx", "onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_onnx_file_runs_where_there_is_only_onnxruntime_and_numpy(galaxies, tmp_path) -> None:
    save_run(make_run("DNSteerableLeNet", 8), tmp_path)
    main.main(["export", str(tmp_path), "--format", "onnx"])
    np.save(tmp_path / "images.npy", galaxies[:, 0].numpy())
    venv.create(tmp_path / "venv", with_pip=True)
    python = next(path for path in tmp_path.glob("venv/*/python*") if path.stem == "python")
    installed = subprocess.run(
        [python, "-m", "pip", "install", "-q", "onnxruntime", "numpy"], capture_output=True, text=True
    )
    if installed.returncode:
        pytest.skip(f"pip cannot install onnxruntime here: {installed.stderr.strip().splitlines()[-1]}")
    script = BLOCKS[0].replace("runs/config_first_lenet/", "")
    script = re.sub(r"^images = .*$", "images = np.load('images.npy')", script, flags=re.MULTILINE)
    script += "\nimport importlib.util as u\nassert not u.find_spec('torch') and not u.find_spec('e2cnn')\n"
    script += "np.save('probs.npy', probs)\n"
    done = subprocess.run([python, "-I", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    run = make_run("DNSteerableLeNet", 8)
    with torch.no_grad():
        expected = run.model(run.to_input(run.preparation.crop(galaxies[:, 0]))).softmax(1)
    np.testing.assert_allclose(np.load(tmp_path / "probs.npy"), expected, rtol=0, atol=1e-4)
