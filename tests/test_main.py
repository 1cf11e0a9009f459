"""A training run: through ``main([...])``, as a command from another folder, and in a notebook kernel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import main
from tests.conftest import ROOT
from tests.smallrun import WRITTEN, rows, train
from utils import UserError


def command(*words: str, folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(ROOT / "main.py"), *words], cwd=folder, capture_output=True, text=True)


def test_a_run_writes_everything_and_ends_with_the_result(config: Path, tmp_path: Path, capsys) -> None:
    run = train(config)
    assert {name for name in WRITTEN.split() if not (tmp_path / "out" / name).exists()} == set()
    last_line = capsys.readouterr().out.strip().splitlines()[-1]
    page = tmp_path / "out" / "report.html"
    for part in ("best epoch", "validation error", "test error", "(95 %, 100 sources)", f"next: open {page} in a"):
        assert part in last_line
    header = (tmp_path / "out" / "history.csv").read_text().splitlines()[0]
    assert header.startswith("epoch,train_loss,test_loss,test_accuracy,")
    assert len(run.history) == len(rows(tmp_path / "out" / "history.csv")) == 2
    assert 0 < run.metrics["upright"]["error"]["value"] < 1 and not run.model.training
    state = torch.load(tmp_path / "out" / "model.pt", weights_only=True)
    run.model.load_state_dict(state)


def test_same_command_again_same_csv_and_the_first_run_is_kept(
    finished_run: Path, config: Path, tmp_path: Path, capsys
) -> None:
    out = Path(shutil.copytree(finished_run, tmp_path / "out"))
    train(config)
    assert rows(out / "history.csv") == rows(finished_run / "history.csv")
    assert rows(out / "earlier.1" / "history.csv") == rows(finished_run / "history.csv")
    assert {name for name in WRITTEN.split() if not (out / "earlier.1" / name).exists()} == set()
    assert "earlier.1" in capsys.readouterr().out


def test_one_epoch_and_two_resumed_are_three(config: Path, tmp_path: Path) -> None:
    three = train(config, "--no-test", "--set", "training.epochs=3", f"metrics.outputdir={tmp_path / 'three'}")
    train(config, "--no-test", "--set", "training.epochs=1")
    resumed = train(config, "--no-test", "--resume", "--set", "training.epochs=3")
    assert rows(tmp_path / "out" / "history.csv") == rows(tmp_path / "three" / "history.csv")
    for a, b in zip(three.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_resuming_with_another_config_is_refused_with_the_difference(finished_run, config: Path, tmp_path) -> None:
    shutil.copytree(finished_run, tmp_path / "out")
    with pytest.raises(UserError, match=r"\[training\] lr0: was 0.001, is 0.01"):
        train(config, "--resume", "--set", "training.lr0=0.01")


def test_dry_run_builds_everything_and_writes_nothing(config: Path, tmp_path: Path, capsys) -> None:
    run = train(config, "--dry-run", "--set", "model.base=DNSteerableLeNet", "model.nrot=2")
    assert not (tmp_path / "out").exists()
    assert run.model.symmetry == ("D", 2)
    assert "Linear" in capsys.readouterr().out


def test_quiet_prints_one_line(config: Path, capsys) -> None:
    train(config, "--set", "model.quiet=True", "training.epochs=1")
    assert len(capsys.readouterr().out.strip().splitlines()) == 1


def test_bars_are_shown_on_a_terminal_only_and_never_when_quiet(monkeypatch) -> None:
    from radgal.progress import show_bars, working

    assert not show_bars(quiet=False)  # under pytest, nobody is watching
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert show_bars(quiet=False) and not show_bars(quiet=True)
    with working("", quiet=True):
        assert not show_bars(quiet=False)


def test_without_validation_the_last_epoch_is_kept_and_said(config: Path, capsys) -> None:
    run = train(config, "--set", "training.frac_val=0", "training.epochs=1")
    assert "no validation images" in capsys.readouterr().out.strip().splitlines()[-1]
    assert run.history[-1]["test_accuracy"] is None and run.metrics is not None


def test_csv_and_weights_elsewhere_are_kept_under_numbers(config: Path, tmp_path: Path) -> None:
    there = ["--set", f"output.csvfile={tmp_path / 'mine.csv'}", f"output.modfile={tmp_path / 'mine.pt'}"]
    for _ in range(2):
        train(config, "--no-test", *there, "training.epochs=1")
    assert {"mine.csv", "mine.1.csv", "mine.pt", "mine.1.pt"} <= {p.name for p in tmp_path.iterdir()}


def test_a_side_that_spoils_the_symmetry_is_warned_about(config: Path, capsys) -> None:
    train(
        config, "--dry-run", "--set", "model.base=CNSteerableLeNet", "model.nrot=4", "training.imsize=50", "data.pad=1"
    )
    assert "50 and 54" in capsys.readouterr().out


def test_help_answers_without_loading_torch() -> None:
    code = (
        "import sys, main\n"
        "try: main.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip().endswith("False False"), done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "configs/config_first_lenet.txt",
            "a config is named by --config: python main.py --config configs/config_first_",
        ),
        ("nowhere.ini", "python main.py --config nowhere.ini"),
        ("train", "training has no command of its own: python main.py --config FILE"),
        ("--config x.txt --epochs 5", "--epochs is no option: keys of the config are set by --set training.epochs=5"),
        ("-C x.txt --batch-size=3", "--set training.batch_size=3"),
        ("--epochs -C x.txt", "--set training.epochs=VALUE"),
        ("training.epochs=5", "keys of the config are set by --set training.epochs=5"),
        ("--confg x.txt", "there is no option --confg; did you mean --config?"),
        ("-config x.txt", "there is no option -config; did you mean --config?"),
        ("evalute r", "there is no command evalute; did you mean evaluate?"),
        ("zzz", "there is no command zzz; there are fine-tune, evaluate"),
        ("configs", "configs is a folder; what to do with it is said before it: python main.py evaluate configs"),
        ("predict r im --ot x.csv", "there is no option --ot; did you mean --out?"),
        ("predict r im --qqqqqq", "there is no option --qqqqqq; `python main.py predict --help` lists them"),
        ("evaluate", "arguments are required: RUN; `python main.py evaluate --help`"),
        ("predict r im --out c.csv --seed x", "argument --seed: invalid int value: 'x'"),
    ],
)
def test_a_mistaken_command_line_is_a_sentence_with_the_right_way(words, said, capsys, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as end:
        main.main(words.split())
    lines = capsys.readouterr().err.splitlines()
    assert end.value.code == 2 and len(lines) == 1 and lines[0].startswith("error: ") and said in lines[0]


def test_the_version_is_that_of_the_citation(capsys) -> None:
    with pytest.raises(SystemExit) as end:
        main.main(["--version"])
    version = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)[1]
    assert not end.value.code and capsys.readouterr().out == f"E2CNNRadGal {version}\n"


def test_the_word_that_torch_distributed_launch_adds_is_taken() -> None:
    parser = main.build_parser()
    for word in ("--local-rank=1", "--local_rank=1"):
        assert parser.parse_args([word, "-C", "x.txt"]).config == "x.txt"
    for name in ("repeat", "fine-tune"):
        words = [name, *(["run"] if name == "fine-tune" else []), "-C", "x.txt"]
        assert "x.txt" in parser.parse_args(words).config


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate", "runs_of_nobody"], "no run folder or checkpoint runs_of_nobody"),
        (["rotate", "radgl"], "no run folder or checkpoint radgl; did you mean radgal?"),
        (["predict", "radgal", "docz", "--out", "c.csv"], "there is no file or folder docz; did you mean docs?"),
        (["predict", "radgal", "docs", "--out", "c.txt"], "a catalog is written as .csv"),
        (["predict", "radgal", "docs", "--out", "README.md/c.csv"], "README.md is not a folder that can be written"),
        (["predict", "radgal", "docs", "--out", "docs"], "--out docs is a folder; name a file in it"),
        (["demo", "--out", "x.xyz"], "--out x.xyz: the demo is written as .gif"),
        (["demo", "--hdu", "1"], "--hdu is of the file given by --image"),
        (["demo", "--image", "README.mf"], "did you mean README.md?"),
        (["export", "radgal", "--format", "onnx", "--out", "x.pt"], "as --format onnx is written as .onnx"),
        (["export", "radgal", "--format", "torch", "--out", "x.onnx"], "as --format torch is written as .pt"),
        (["report", "radgal", "--out", "x.pdf"], "a report is written as .html"),
        (["evaluate", "radgal", "--out", "README.md"], "README.md is not a folder that can be written"),
        (["repeat", "-C", "configs/config_first_lenet.tx"], "config_first_lenet.tx"),
        (["repeat", "-C", "configs/config_first_lenet.txt", "--out", "README.md/x"], "README.md is not a folder"),
        (["fine-tune", "radgal", "-C", "none.txt"], "none.txt"),
        (["--config", "none.txt"], "none.txt"),
        (["prepare", "docz", "out", "--like", "frdeep"], "there is no file or folder docz"),
        (["prepare", "docs", "README.md/out", "--like", "frdeep"], "README.md is not a folder that can be written"),
        (["prepare", "docs", "out", "--like", "frdeep", "--side", "3"], "--side 3: 10 to 4096"),
        (
            ["predict", "radgal", "--mosaic", "m.fits", "--catalog", "README.md", "--out", "c.csv"],
            "m.fits cannot be read as a mosaic: No such",
        ),
    ],
)
def test_what_is_not_there_is_said_before_torch_is_loaded(words, said, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(main, "float32_in_full", lambda: pytest.fail("torch would be loaded"))
    with pytest.raises(UserError, match=re.escape(said)):
        main.main(words)


def test_a_table_with_other_columns_is_refused_before_torch_is_loaded(tmp_path) -> None:
    for name in ("t.csv", "m.fits"):
        (tmp_path / name).write_text("file,class\na.png,FRI\n")
    (tmp_path / "c.txt").write_text("[model]\nbase: 'VanillaLeNet'\n[data]\ndataset: 'ImageTable'\ntable: 't.csv'\n")
    code = """
import sys, main, utils
for words in (
    "prepare t.csv out.csv --split 0.2",
    "predict fr-d4 --mosaic m.fits --catalog t.csv --out c.csv",
    "label . --table t.csv --classes A B",
    "--config c.txt",
    "fine-tune fr-d4 --config c.txt",
    "check-data t.csv",
    "evaluate fr-d4 --dataset t.csv",
):
    try: main.main(words.split())
    except utils.UserError as error: print(words.split()[0], "torch" in sys.modules, str(error)[:30])
"""
    importable = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=importable)
    told = [line.split()[:2] for line in done.stdout.splitlines()]
    names = ["prepare", "predict", "label", "--config", "fine-tune", "check-data", "evaluate"]
    assert told == [[name, "False"] for name in names], done.stderr


def test_a_closed_pipe_ends_quietly() -> None:
    code = (
        "import sys, main\ndef many(argv=None):\n    while True: print('line')\nmain.main = many\nmain.run_as_program()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as done:
        assert done.stdout.readline() == b"line\n"
        done.stdout.close()
        assert done.stderr.read() == b"" and done.wait(60) == 141


@pytest.mark.parametrize("accuracy", [0.5, 1.0, None])
def test_the_bar_of_a_long_run_fits_80_columns_with_its_validation_error(accuracy) -> None:
    from tqdm import tqdm

    from radgal.runs.epochs import BAR, _in_bar

    said = _in_bar({"epoch": 1999, "test_accuracy": accuracy, "train_loss": 0.69314}, 1888)
    for n, elapsed in ((0, 0), (1, 50_000), (70_000, 90_000)):
        line = tqdm.format_meter(n, 70_000, elapsed, ncols=80, bar_format=BAR, postfix=said)
        assert len(line) <= 80 and said in line
    assert (f"validation error {100 * (1 - accuracy):.1f} %" in said) if accuracy is not None else "train loss" in said


def test_a_mistake_is_one_line_and_an_exit_code_from_any_folder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["main.py", "--config", "configs/config_mb_lenett.txt"])
    with pytest.raises(SystemExit, match=r"^error: .*config_mb_lenet.*$"):  # said on stderr, and the code is 1
        main.run_as_program()


@pytest.mark.parametrize(
    "option, said",
    [
        ("--version", "E2CNNRadGal"),
        pytest.param("--dry-run", "nothing is wrong", marks=pytest.mark.slow),
        pytest.param("--no-test", "best epoch 1 of 1", marks=pytest.mark.slow),
    ],
)
def test_runs_as_a_command_from_another_folder(option: str, said: str, config: Path, tmp_path: Path) -> None:
    done = command("--config", config.name, option, "--set", "training.epochs=1", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize("base, nrot", [("CNSteerableLeNet", 4), ("DNSteerableLeNet", 4)])
@pytest.mark.parametrize("dataset", ["MBFRConfident", "FRDEEPF"])
def test_steerable_nets_train_on_the_published_archives(
    base: str, nrot: int, dataset: str, config: Path, tmp_path: Path, real_data: Path
) -> None:
    run = train(
        config,
        "--no-test",
        "--set",
        f"model.base={base}",
        f"model.nrot={nrot}",
        f"data.dataset={dataset}",
        f"data.datadir={tmp_path / 'data'}",
        f"data.mirror={real_data}",
        "training.imsize=30",
        "training.epochs=1",
    )
    assert run.model.symmetry == (base[0], nrot)
    assert run.history[0]["train_loss"] < 5.0 and 0.2 < run.history[0]["test_accuracy"] <= 1.0


@pytest.mark.slow
def test_percent_run_twice_in_one_kernel(config: Path, tmp_path: Path) -> None:
    """As on Kaggle: the project is a folder below the notebook's, and ``run`` is there afterwards."""
    manager = pytest.importorskip("jupyter_client.manager")
    manager_, client = manager.start_new_kernel(kernel_name="python3", cwd=str(tmp_path))

    def cell(code: str) -> str:
        said = []
        reply = client.execute_interactive(code, timeout=120, output_hook=lambda m: said.append(str(m["content"])))
        assert reply["content"]["status"] == "ok", said
        return "".join(said)

    try:
        line = f"%run {ROOT / 'main.py'} --config {config.name} --no-test --set training.epochs=1"
        for _ in range(2):
            assert "best epoch 1 of 1" in cell(line)
            assert "VanillaLeNet" in cell("print(type(run.model).__name__, len(run.history), run.config.name)")
    finally:
        client.stop_channels()
        manager_.shutdown_kernel(now=True)


@pytest.mark.parametrize("name", ["a\x1b[2Jb", "a\x9bb", "a\rb", "a\x1b]0;title\x07"])
def test_what_a_message_names_does_not_steer_the_terminal(name: str, monkeypatch) -> None:
    def fail() -> None:
        raise UserError(f"{name} is no image;\nsay another")

    monkeypatch.setattr(main, "main", fail)
    with pytest.raises(SystemExit) as ended:
        main.run_as_program()
    first, second = ended.value.code.split("\n")
    assert first.isprintable() and first.startswith("error: a\\") and second == "say another"
