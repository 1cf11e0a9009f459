"""fine-tune: from a trained run to other images and classes, frozen or not, recorded, resumed as one run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import main
from radgal.runs import checkpoint
from radgal.runs.finetune import freeze_trunk
from radgal.runs.learned import learned_from
from radgal.training.loop import Progress
from tests.data.test_imagetable import CONFIG, labeled, make_table
from tests.runs.test_resume import RECIPE
from tests.smallrun import rows
from utils import UserError


def write_config(folder: Path, name: str, images: list[dict]) -> Path:
    table = make_table(folder / f"{name}_images", images, seed=50 * sum(map(ord, name)))
    path = folder / f"{name}.txt"
    n_classes = len({row["label"] for row in images})
    text = CONFIG.format(table=table.as_posix(), folder=(folder / name).as_posix())
    path.write_text(text.replace("epochs: 1", f"epochs: 1\nlr0: 1e-3\nbatch_size: 4\nnum_classes: {n_classes}"))
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """The folder of a run on three classes, of sources along the equator."""
    folder = tmp_path_factory.mktemp("trained")
    images = [row | {"id": f"old{i}", "ra": str(i), "dec": "0"} for i, row in enumerate(labeled(18))]
    main.main(["--config", str(write_config(folder, "old", images))])
    return folder / "old"


def two_classes(*, n: int = 16, n_test: int = 0, first_ra: int = 100) -> list[dict]:
    return [
        {
            "label": ("one", "two")[i % 2],
            "split": "test" if i < n_test else "train",
            "id": f"new{i}",
            "ra": str(first_ra + i),
            "dec": "0",
        }
        for i in range(n)
    ]


def weights(folder: Path, which: str = "last.pt") -> dict[str, torch.Tensor]:
    return checkpoint.read(folder / which)["model"]


def test_the_trunk_is_kept_and_the_head_is_new_where_classes_differ(trained, tmp_path, capsys) -> None:
    config = write_config(tmp_path, "new", two_classes())
    capsys.readouterr()
    main.main(
        ["fine-tune", str(trained), "--config", str(config), "--freeze-epochs", "2", "--set", "training.epochs=2"]
    )
    said = capsys.readouterr().out
    assert f"starting from {trained / 'best.pt'}, epoch 1, trained on ImageTable mine.csv" in said
    assert "its last layer is new: there the classes were FRII, bent, compact" in said
    before, after = weights(trained, "best.pt"), weights(tmp_path / "new")
    for key in before:
        if key.startswith("fc3"):
            assert after[key].shape[0] == 2
        else:
            assert torch.equal(before[key], after[key]), key

    old, new = checkpoint.read(trained / "best.pt"), checkpoint.read(tmp_path / "new" / "last.pt")
    assert (new["mean"], new["std"]) == (old["mean"], old["std"])
    record = json.loads((tmp_path / "new" / "environment.json").read_text())["started_from"]
    assert record == new["started_from"]
    assert record["new_head"] and record["checksum"] == old["checksum"] and record["run"] == str(trained / "best.pt")
    assert (new["config"]["training"]["start_from"], new["config"]["training"]["freeze_epochs"]) == (str(trained), 2)


def test_without_freezing_all_layers_go_on_and_equal_classes_keep_the_head(trained, tmp_path) -> None:
    images = [row | {"id": f"new{i}"} for i, row in enumerate(labeled(18))]
    config = write_config(tmp_path, "new", images)
    dry = main.main(["fine-tune", str(trained), "--config", str(config), "--dry-run"])
    for key, value in weights(trained, "best.pt").items():
        assert torch.equal(dry.model.state_dict()[key], value), key
    assert not (tmp_path / "new").exists()
    main.main(["fine-tune", str(trained), "--config", str(config)])
    before, after = weights(trained, "best.pt"), weights(tmp_path / "new")
    assert not any(torch.equal(before[key], after[key]) for key in before)


def test_a_resumed_run_is_the_same_run_though_it_thaws_on_the_way(trained, tmp_path) -> None:
    config = write_config(tmp_path, "new", two_classes())
    words = ["fine-tune", str(trained), "--config", str(config), "--freeze-epochs", "1", "--set"]
    main.main([*words, "training.epochs=2", f"metrics.outputdir={(tmp_path / 'whole').as_posix()}"])
    main.main([*words, "training.epochs=1"])
    record = checkpoint.read(tmp_path / "new" / "last.pt")["started_from"]
    main.main([*words, "training.epochs=2", "--resume"])
    assert rows(tmp_path / "new" / "history.csv") == rows(tmp_path / "whole" / "history.csv")
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "new")
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    assert checkpoint.read(tmp_path / "new" / "last.pt")["started_from"] == record is not None


def test_every_way_of_training_leaves_a_frozen_trunk_alone(trained, tmp_path) -> None:
    """The averaged weights, too; and one's own images, and bfloat16."""
    config = write_config(tmp_path, "new", two_classes())
    words = ["fine-tune", str(trained), "--config", str(config), "--freeze-epochs", "2", "--set"]
    main.main([*words, *RECIPE, "training.epochs=2", "training.precision=bf16"])
    before, after = weights(trained, "best.pt"), weights(tmp_path / "new", "best.pt")
    heads = [key for key in before if key.startswith("fc3")]
    assert heads and all(torch.equal(before[key], after[key]) for key in before.keys() - set(heads))
    start = weights(tmp_path / "new", "best.pt")["fc3.bias"]
    assert not torch.equal(start, checkpoint.read(tmp_path / "new" / "best.pt")["average"]["trained"]["fc3.bias"])


def test_test_sources_that_were_trained_on_are_warned_about(trained, tmp_path, capsys) -> None:
    words = ["fine-tune", str(trained), "--dry-run", "--config"]
    main.main([*words, str(write_config(tmp_path, "same", two_classes(n_test=4, first_ra=15)))])
    said = capsys.readouterr().out
    assert "WARNING: the network was trained on 3 of the 4 test sources (new0; new1; new2)" in said
    main.main([*words, str(write_config(tmp_path, "other", two_classes(n_test=4)))])
    assert "WARNING" not in capsys.readouterr().out
    content = checkpoint.read(trained / "best.pt")
    assert learned_from(content)[0].names == tuple(content["sources"]["names"])
    older = {key: value for key, value in content.items() if key not in ("sources", "inherited")}
    assert sorted(learned_from(older)[0].names) == sorted(content["sources"]["names"])
    table = trained.parent / "old_images" / "mine.csv"
    table.rename(table.with_suffix(".away"))
    main.main([*words, str(tmp_path / "same.txt"), "--set", "model.quiet=True"])
    unknown = learned_from(older)
    table.with_suffix(".away").rename(table)
    assert "WARNING: the network was trained on 3 of the 4" in capsys.readouterr().out
    assert not unknown[0].names and "the sources of ImageTable cannot be read" in unknown[1][0]


def test_what_the_run_before_the_run_before_was_trained_on_is_known(trained, tmp_path, capsys) -> None:
    second = write_config(tmp_path, "b", two_classes(first_ra=200))
    third = write_config(tmp_path, "c", two_classes(n_test=4, first_ra=15))
    start = ["--set", "training.epochs=1", "model.quiet=True"]
    main.main(["fine-tune", str(trained), "--no-test", "--config", str(second), *start])
    main.main(["fine-tune", str(tmp_path / "b"), "--config", str(third), *start])
    assert "WARNING: the network was trained on 3 of the 4 test sources" in capsys.readouterr().out
    for file in ("metrics.json", "environment.json"):
        leak = json.loads((tmp_path / "c" / file).read_text())["test_sources_trained_on"]
        assert leak == {"count": 3, "of": 4, "names": ["new0", "new1", "new2"]}
    assert "trained on 3 of the 4 test sources" in (tmp_path / "c" / "report.html").read_text()


def test_a_run_that_cannot_be_started_from_is_refused_with_the_difference(trained, tmp_path) -> None:
    config = write_config(tmp_path, "new", two_classes())
    words = ["fine-tune", str(trained), "--config", str(config), "--set"]
    for change, said in (
        ("training.imsize=34", r"imsize \+ \[data\] pad: 30 there, 34 here"),
        ("model.head=invariant", "head: 'flatten' there, 'invariant' here"),
        ("model.base=CNSteerableLeNet", "base: 'VanillaLeNet' there, 'CNSteerableLeNet' here"),
        (f"metrics.outputdir={trained.as_posix()}", "also the folder to write to"),
    ):
        more = ["model.nrot=4"] if "CN" in change else []
        with pytest.raises(UserError, match=said):
            main.main([*words, change, *more])
    with pytest.raises(UserError, match="no run folder or checkpoint"):
        main.main(["fine-tune", str(tmp_path / "absent"), "--config", str(config)])
    with pytest.raises(UserError, match="without start_from there are no trained layers to freeze"):
        main.main(["--config", str(config), "--set", "training.freeze_epochs=2"])
    assert (trained / "best.pt").is_file() and not (tmp_path / "new" / "last.pt").exists()


def test_frozen_layers_keep_weights_and_statistics_until_they_thaw() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2 * 36, 3), nn.Linear(3, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1, weight_decay=0.1)
    progress = Progress()
    freeze_trunk(model, optimizer, progress, 1)
    for is_frozen in (True, False):
        before = {key: value.clone() for key, value in model.state_dict().items()}
        model.train()
        optimizer.zero_grad()
        model(torch.randn(4, 1, 8, 8)).square().sum().backward()
        optimizer.step()
        for key, value in model.state_dict().items():
            assert torch.equal(value, before[key]) == (is_frozen and not key.startswith("4.")), (is_frozen, key)
        progress.history.append({})
