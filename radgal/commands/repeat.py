"""``repeat``: the same configs with several seeds, and the table of what they reach."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from itertools import product
from pathlib import Path

from radgal.commands import train
from radgal.commands.common import add_overrides, read_config

HELP = "train configs with several seeds, and make the table of means, spreads and paired differences"
EXAMPLE = "repeat --config configs/config_first_lenet.txt configs/config_first_dn4lenet.txt --seeds 5"


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument("--config", nargs="+", required=True, metavar="FILE", help="configs to train")
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds: 0, 1, ... (default: 5)")
    parser.add_argument("--first-seed", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--out", metavar="FOLDER", default="runs/repeat", help="where to write (default: runs/repeat)")
    add_overrides(parser)


def run(args) -> None:
    """Trains every config with several seeds, skipping what is finished, and makes the tables."""
    import models
    from radgal import repeat as tables
    from radgal.checkpoint import read
    from radgal.testing import finished_test

    runs, planned = [], list(product(args.config, range(args.first_seed, args.first_seed + args.seeds)))
    for i, (path, seed) in enumerate(planned, start=1):
        folder = Path(args.out, Path(path).stem, f"seed_{seed}")
        own = [f"training.seed={seed}", f"metrics.outputdir={folder.as_posix()}"]
        own += [f"output.{key}=None" for key in ("csvfile", "modfile")]
        cfg = read_config(path, [*args.set, *own])
        if finished_test(folder, cfg) is None:
            again = (folder / "last.pt").is_file()
            done = f"run {i} of {len(planned)}"
            print(f"{cfg.name}, seed {seed}: {'going on' if again else 'training'} in {folder} ({done})", flush=True)
            train.run(Namespace(config=path, set=[*args.set, *own], dry_run=False, resume=again, no_test=False))
        metrics, table = finished_test(folder, cfg)
        network = models.build_from_config(cfg, tuple(metrics["classes"]), 0.0, 1.0)
        runs.append(
            tables.collect_run(
                cfg.name,
                seed,
                metrics,
                table,
                read(folder / "last.pt")["history"],
                parameters=models.count_parameters(network)[0],
                multiply_adds=models.count_multiply_adds(network, network.imsize),
            )
        )
    tables.write_repeat(args.out, runs)
    print(Path(args.out, "repeat.md").read_text(encoding="utf-8"))
    print(f"written to {args.out}: repeat.md, repeat.tex, repeat.csv, repeat_pairs.csv, learning_curves.png")
    firsts = " ".join(Path(args.out, Path(path).stem, f"seed_{args.first_seed}").as_posix() for path in args.config)
    print(f"next: python main.py report {firsts} --out {Path(args.out, 'report.html').as_posix()}")
