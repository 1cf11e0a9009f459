"""Makes a finished training run one of the networks that come along: its weights in half precision, and its card.

``python -m benchmarks.pretrained RUN --name NAME --folds FOLDER`` writes NAME.pt and NAME.json into
radgal/pretrained/ and the checksum into the list there; commit all three. RUN was trained to its end; FOLDER is what
``python main.py repeat --config ... --folds 5`` made with the same recipe. With a network that comes along as RUN
(``fr-d4 --name fr-d4``) its card is made anew, such as with folds that were not there before; its weights stay.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.card import cross_validation, make_card, record_of
from radgal.config.config import Config
from radgal.data.splits import load_training_data
from radgal.evaluation.evaluate import random_angles
from radgal.pretrained import registry
from radgal.runs import checkpoint
from utils import UserError, atomic_write, float32_in_full, pick_device, write_json

AGREE = 1e-3  # in every probability, half precision against what was trained
SMALL = 20_000  # numbers in a tensor that stays in full: kernels, whose rounding is the same all over the map
ORIGIN = (
    "dataset",
    "version",
    "checksum",
    "sources",
    "together",
    "started_from",
    "inherited",
    "inherited_unknown",
)
KEPT = (*checkpoint.REQUIRED, *ORIGIN, "format", "best_epoch", "best_score")
OF_THE_MAKER = {
    "data": {"datadir": "data", "mirror": None, "download": True},
    "training": {"device": "auto", "resume": "never"},
    "output": {"csvfile": None, "modfile": None, "tensorboard": None},
}


def pack(content: dict, name: str, temperature: float | None) -> dict:
    """Returns the content of a checkpoint as it comes along: nothing to resume with, nobody's folders, half precision.

    Args:
        content: of a checkpoint.
        name: of the network, and so of its config.
        temperature: of its probabilities, if it is known.
    """
    config = Config.from_dict(content["config"]).to_dict() | {"name": name}
    for section, values in OF_THE_MAKER.items():
        config[section] |= values
    config["metrics"] |= {"outputdir": f"runs/{name}"}
    weights = {
        key: value.half() if value.is_floating_point() and value.numel() > SMALL else value.clone()
        for key, value in content["model"].items()
    }
    kept = {key: content[key] for key in KEPT if key in content}
    calibrated = {} if temperature is None else {"temperature": temperature}
    return kept | {"config": config, "model": weights} | calibrated


def with_its_test(config: Config) -> Config:
    """Returns a config that trains on the same sources and leaves a test set to test on, where there is one.

    A run on all sources but those of the test part is one on the training part: so said, `evaluate` and `rotate` take
    the network as they take any.
    """
    if config.data.train_on != "all" or f"{config.data.dataset}:test" not in config.data.leave_out:
        return config
    content = config.to_dict()
    content["data"] |= {"train_on": "train"}
    other = Config.from_dict(content)
    here, there = (load_training_data(one).sources.names for one in (config, other))
    return other if here == there else config


def difference(one: checkpoint.TrainedRun, other: checkpoint.TrainedRun, n_images: int = 200) -> tuple[float, int]:
    """Returns the largest difference in a probability, and of how many images, upright and turned."""
    images = load_training_data(one.config).train.images[:n_images]
    poses = [(None, None), (random_angles(1, len(images), 0)[0], None)]
    return max(
        float(np.abs(one.probabilities(images, pose) - other.probabilities(images, pose)).max()) for pose in poses
    ), len(images)


@float32_in_full()
def make(run: str, name: str, folds: str | None, *, mirror: str | None = None, datadir: str = "data") -> dict:
    """Writes a network that comes along, its card and its checksum; returns the card.

    Raises:
        UserError: if the run is not whole, or half precision changes its predictions.
    """
    if not re.fullmatch(r"fr-[a-z0-9]+(-notest)?", name):
        raise UserError(f"--name {name}: use fr-SOMETHING or fr-SOMETHING-notest, of small letters and digits")
    device, before = pick_device("cpu"), registry.read_card(run) if run in registry.names() else None
    trained, path = checkpoint.load_run(run, device), registry.FOLDER / f"{name}.pt"
    if before is not None:  # what comes along names nobody's folders
        content = trained.config.to_dict()
        content["data"] |= {"datadir": datadir, "mirror": mirror}
        trained = replace(trained, config=Config.from_dict(content))
    trained = replace(trained, config=with_its_test(trained.config))
    crossed = None if folds is None else cross_validation(Path(folds), trained.config)
    temperature = None if crossed is None else crossed["temperature"]
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch, path.name)
        checkpoint.save(made, pack(trained.checkpoint | {"config": trained.config.to_dict()}, name, temperature))
        packed = replace(trained, model=checkpoint.load_run(made, device).model)
        worst, n_images = difference(trained, packed)
        if not worst < AGREE:
            raise UserError(f"in half precision a probability of {name} changes by {worst:.1e}; {AGREE:.0e} is allowed")
        if before is not None:  # RUN was in half precision already
            worst, n_images = (before["file"][key] for key in ("largest_difference", "images_compared"))
        where = dict(root=datadir, download=True, mirror=mirror)
        facts = record_of(trained.path.parent) if before is None else before["training"]
        card = make_card(name, packed, crossed, facts, where, print)
        with atomic_write(path) as temporary:
            shutil.copyfile(made, temporary)
    card["file"] = {
        "bytes": path.stat().st_size,
        "sha256": registry.register(name),
        "precision": f"float16, tensors of up to {SMALL:,} numbers in float32",
        "largest_difference": worst,
        "images_compared": n_images,
    }
    write_json(path.with_suffix(".json"), card)
    return card


def main(argv: list[str]) -> None:
    """Understands the command line, and says what was written."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pretrained", description=__doc__.splitlines()[0])
    parser.add_argument("run", metavar="RUN", help="folder of a finished training run, or a network that comes along")
    parser.add_argument("--name", required=True, help="what it will be called, such as fr-d4 or fr-d4-notest")
    parser.add_argument("--folds", metavar="FOLDER", help="what repeat --folds made with its recipe")
    parser.add_argument("--datadir", default="data", metavar="FOLDER", help="of the data sets (default: data)")
    parser.add_argument("--mirror", metavar="PLACE", help="where their archives lie")
    args = parser.parse_args(argv)
    card = make(args.run, args.name, args.folds, mirror=args.mirror, datadir=args.datadir)
    file = card["file"]
    print(f"largest change of a probability by half precision: {file['largest_difference']:.1e}")
    print(f"{args.name}: {file['bytes']:,} bytes, SHA-256 {file['sha256']}, registered in {registry.FOLDER}")
    print(f"next: python main.py models {args.name}; commit {args.name}.pt, {args.name}.json and {registry.LIST}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
