"""The benchmarks run, refuse to time different functions, and write what they found."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import accuracy, equality, gpu, limits, predict_memory, table
from benchmarks.__main__ import main
from benchmarks.options import ALL_GROUPS, FULL_RUN_CONFIG, command_text, parse
from benchmarks.published import build
from benchmarks.timing import compare, interleave
from main import build_parser
from radgal.config.config import load_config
from radgal.layers.modelinfo import count_multiply_adds
from tests.conftest import ROOT
from utils import UserError, environment

SMALL = "--quick --models C4 --imsize 50 --pad 0 --batch-size 2 --repeats 2 --epoch-images 6 --device cpu".split()


@pytest.mark.slow
def test_a_small_benchmark_writes_json_and_a_page(tmp_path: Path, capsys) -> None:
    page = tmp_path / "page.md"
    begin, end = (f"<!-- cpu FIRSTGalaxyData 50: {mark} -->" for mark in ("begin", "end"))
    page.write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    main([*SMALL, "--out", str(tmp_path), "--update", str(page)])
    result = json.loads((tmp_path / "benchmarks.json").read_text())
    measured = {row["what"]: row for row in result["rows"]}
    assert list(measured) == [
        "training step",
        "evaluation step",
        "data loading",
        "epoch",
        "construction",
        "peak memory",
        "peak memory beyond imports",
    ]
    for row in result["rows"]:
        assert row["model"] == "C4" and row["ratio"] > 0
        assert 0 < row["ours"]["low"] <= row["ours"]["median"] <= row["ours"]["high"]
    assert measured["epoch"]["training_images"] + measured["epoch"]["validation_images"] == 6
    assert 1e-2 < measured["peak memory"]["ours"]["median"] < 10  # GB
    same = result["equality"]["C4"]
    assert max(same["logits_train_mode"], same["logits_eval_mode"], same["stock_gradients"]) < 1e-4
    assert same["gradients"] < 1e-2
    assert result["environment"]["packages"]["torch"] and str(tmp_path) not in result["command"]
    text = (tmp_path / "benchmarks.md").read_text()
    assert "| C4 | 2 | training step | fp32 | ms/image |" in text and "not met" not in text.split("| logits")[0]
    assert page.read_text() == f"before\n{begin}\n{text}{end}\nafter\n"
    limit = measured["training step"]["limit"]
    assert limit["multiply_adds"] == 3 * count_multiply_adds(build("C4", 50, stock=False), 50)
    assert limit["computing_ms"] == pytest.approx(1e3 * limit["multiply_adds"] / result["rates"]["multiply_adds"])
    printed = capsys.readouterr().out
    assert printed.index("C4: as stock") < printed.index("training step: stock")

    rate = {"best_tflops": 500.0, "by_shape": {}}
    full = dict(config="c.txt", precision="bf16", epochs=600, seconds=120.0, test_error_upright=0.05, n_test=104)
    rows = [row | {"precision": "bf16"} for row in result["rows"]]
    gpu.add_shares(rows, 50, rate)
    assert 0 < rows[0]["share_of_conv_rate"] < 1 and "share_of_conv_rate" not in rows[1]
    text = table.markdown(result | {"device": "cuda", "convolution_rate": rate, "full_runs": [full], "rows": rows})
    assert "500 TFLOP/s" in text and "% of that" in text and "600 epochs in 2.0 min, test error 5.00 %" in text


CHEAP = ["training.imsize=18", "data.downsample=1", "training.frac_val=0", "training.keep=last", "training.ema=0.9"]


@pytest.mark.slow
def test_time_to_accuracy_is_the_first_test_at_or_under_the_target(tmp_path: Path, monkeypatch) -> None:
    config = ROOT / "configs" / "config_first_lenet.txt"
    overrides = [*CHEAP, "training.epochs=3", "data.augment=none", f"data.datadir='{tmp_path}'"]
    errors = iter([0.3, 0.2, 0.4, 0.1, 0.1, 0.1, 0.0, 0.3, 0.3])
    monkeypatch.setattr(accuracy, "load_training_data", few_images(accuracy.load_training_data))
    monkeypatch.setattr(accuracy, "score_rotated", lambda *_: ({"error": {"mean": next(errors)}}, None))
    found = accuracy.measure_recipe(config, overrides, 0.12, torch.device("cpu"), say=lambda text: None)
    assert [row["epoch"] for row in found["curve"]] == [1, 2, 3] and found["reached"] == found["curve"][1]
    assert found["end"]["error"] == pytest.approx(0.2)
    seconds = [row["seconds"] for row in found["curve"]]
    assert 0 < seconds[0] < seconds[1] < seconds[2]


def test_a_table_says_when_the_papers_error_was_reached() -> None:
    result = {"command": "c", "date": "d", "device": "cpu", "cores": 2, "load_before": [0.0], "load_after": [0.0]}
    result |= {"environment": environment(), "dataset": "MBFRConfident", "side": 151}
    reached, end = {"seconds": 36.0, "epoch": 2, "error": 0.1}, {"seconds": 50.0, "error": 0.2}
    row = {"model": "LeNet", "target": 0.12, "stock_epoch_seconds": {"median": 6.0}, "reached": reached, "end": end}
    lines = table.time_to_accuracy(result | {"time_to_accuracy": [row, row | {"reached": None}]}).splitlines()
    assert "| LeNet | 12.00 % | 36 | 2 | 10.00 % | 50 | 20.00 % | 6.0 | 1.0 | 100x |" in lines
    assert "| **not reached** | - | - |" in lines[-1] and len({line.count("|") for line in lines[2:]}) == 1


def few_images(load):
    """Returns a reader of the training data that reads them once, and keeps 60."""
    kept = []

    def load_few(cfg):
        if not kept:
            data = load(cfg)
            kept.append(replace(data, train=data.train.take(list(range(0, len(data.train), len(data.train) // 60)))))
        return kept[0]

    return load_few


@pytest.mark.slow
def test_time_to_accuracy_runs_as_a_command(real_data: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- time-to-accuracy cpu: begin -->\n<!-- time-to-accuracy cpu: end -->\n")
    words = ["time-to-accuracy", "--quick", "--device", "cpu", "--epoch-images", "60", "--mirror", str(real_data)]
    main([*words, "--datadir", str(tmp_path), "--out", str(tmp_path), "--update", str(page)])
    (row,) = json.loads((tmp_path / "time-to-accuracy.json").read_text())["time_to_accuracy"]
    assert (tmp_path / "time-to-accuracy.png").exists()
    assert row["model"] == "LeNet" and row["epochs"] == 2 and row["target"] == 0.0596
    assert row["stock_epoch_seconds"]["n"] == 2 and len(row["end"]["errors"]) == 3
    assert (tmp_path / "time-to-accuracy.md").read_text() in page.read_text()


def test_the_rate_of_convolutions_is_measured(monkeypatch) -> None:
    monkeypatch.setattr(gpu, "SHAPES", ((2, 8, 8, 3, 10),))
    rate = gpu.convolution_rate(torch.device("cpu"), 2)
    assert list(rate["by_shape"]) == ["2 x 8 -> 8, 3 x 3, 10 px"] and 0 < rate["best_tflops"] < 10


def test_full_runs_are_commands_that_main_understands(tmp_path: Path, monkeypatch) -> None:
    def run(command: list[str], cwd: Path, check: bool) -> None:
        args = build_parser().parse_args(command[2:])
        config = load_config(ROOT / args.config, args.set)
        assert config.training.device == "cuda" and config.training.epochs == 600 and config.data.mirror == "m"
        config.output_dir.mkdir()
        config.csv_path.write_text("epoch,seconds\n1,2.5\n2,0.5\n")
        metrics = {"upright": {"error": {"value": 0.1}}, "rotated": {"accuracy": {"mean": 0.9}}, "n_test": 104}
        (config.output_dir / "metrics.json").write_text(json.dumps(metrics))

    monkeypatch.setattr(gpu.subprocess, "run", run)
    runs = gpu.full_runs(FULL_RUN_CONFIG, ["data.mirror='m'"], tmp_path, "cuda")
    assert [(r["precision"], r["epochs"], r["seconds"]) for r in runs] == [("bf16", 2, 3.0), ("fp32", 2, 3.0)]


@pytest.mark.slow
@pytest.mark.usefixtures("drawing")
def test_growth_is_drawn(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("benchmarks.growth.QUICK_SIDES", (34, 50))
    main(["growth", "--quick", "--imsize", "34", "--repeats", "1", "--batch-size", "1", "--out", str(tmp_path)])
    result = json.loads((tmp_path / "growth.json").read_text())
    assert [row["model"] for row in result["by_group"]] == ["C1", "C2", "C4", "D1", "D2", "D4"]
    assert {row["side"] for row in result["by_side"]} == {34, 50}
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_is_timed_if_the_paths_differ(tmp_path: Path, monkeypatch, capsys) -> None:
    def other(name: str, side: int, *, stock: bool, **options):
        model = build(name, side, stock=stock, **options)
        if not stock:
            model.forward = lambda x: 1.001 * type(model).forward(model, x)
        return model

    monkeypatch.setattr(equality, "build", other)
    with pytest.raises(UserError, match="not the same function, so nothing was timed"):
        main([*SMALL, "--out", str(tmp_path)])
    assert not list(tmp_path.iterdir()) and "training step" not in capsys.readouterr().out


def test_of_all_groups_the_worst_is_named(tmp_path: Path) -> None:
    small = ["--imsize", "26", "--pad", "0", "--device", "cpu", "--out", str(tmp_path)]
    result = main(["equality", "--models", "C2", "D1", *small])
    assert table.section_name(result) == "equality FIRSTGalaxyData 26"
    found = result["equality"]
    assert all(one["float64_gradients"] < 1e-5 for one in found.values())  # stock group pooling rounds to float32
    found["D1"]["gradients"], found["C2"]["gradients"] = 2e-5, 1e-6
    assert "| gradients | 2.0e-05 | D1 | 1 |" in table.worst_equality(result)
    assert parse(["equality"]).models == ALL_GROUPS and len(ALL_GROUPS) == 40


def test_paths_take_turns_and_the_warm_up_does_not_count() -> None:
    calls: list[str] = []
    paths = {name: lambda name=name: calls.append(name) for name in ("stock", "ours")}
    times = interleave(paths, 2, torch.device("cpu"))
    assert calls == ["stock", "ours", "ours", "stock", "stock", "ours"]
    assert {name: len(pairs) for name, pairs in times.items()} == {"stock": 2, "ours": 2}
    assert compare({"stock": [(4.0, 8.0)] * 3, "ours": [(2.0, 2.0)] * 3})["ratio"] == 2.0


def test_folders_are_not_told_and_mistakes_are(tmp_path: Path, capsys) -> None:
    assert command_text(["--out", "/a/b", "--quick", "--mirror=/c"]) == "python -m benchmarks --quick"
    for wrong in (["--models", "E8"], ["--repeats", "0"], ["--bogus"]):
        with pytest.raises(SystemExit):
            parse(wrong)
    with pytest.raises(UserError, match="no section"):
        table.update_section(tmp_path / "none.md", "cpu", "")
    with pytest.raises(UserError, match="CUDA"):
        main(["--full-run", "--device", "cpu"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pixels", "mosaic"])
def test_memory_and_rate_of_predict_are_read_after_every_batch(kind: str, capsys, monkeypatch) -> None:
    monkeypatch.setattr(predict_memory, "MOSAIC_SIDE", 700)
    rows = predict_memory.measure(kind, 70)
    assert [row[0] for row in rows] == [64, 70, 70] and rows[0][1] <= rows[1][1]
    assert all(50 < resident < 5000 for *_, resident in rows)  # MiB
    assert "images/s per core" in capsys.readouterr().out


def test_what_a_step_moves_is_every_map_once_read_and_once_written() -> None:
    """Of one convolution and one linear layer, counted by hand."""
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(32, 2))
    pixels, maps, logits = 6 * 6, 2 * 4 * 4, 2
    assert limits.bytes_moved(network, 6) == 4 * ((pixels + maps) + (maps + maps) + (maps + logits))
