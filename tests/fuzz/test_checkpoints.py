"""Checkpoints that are damaged, or hold what nobody expects: a network that is one, or a UserError."""

from __future__ import annotations

import copy
import io
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import models
from radgal.config.config import Config
from radgal.evaluation.results import for_reading
from radgal.files import pickles
from radgal.files.pickles import read_arrays
from radgal.images.preparation import Preparation
from radgal.runs import checkpoint
from tests.fuzz.tokens import HOSTILE, PICKLE
from tests.fuzz.tools import Reader, cases, derandomized, each, fuzz, memory_limit, time_limit
from utils import UserError


def network(name: str = "CNSteerableLeNet") -> bytes:
    """A checkpoint of the smallest network."""
    config = Config.from_dict(
        {
            "name": "fuzz",
            "model": {"base": name, "nrot": 2},
            "data": {"dataset": "MBFRConfident"},
            "training": {"imsize": 10},
        }
    )
    torch.manual_seed(0)
    model = models.build_from_config(config, ("FRI", "FRII"), Preparation(0.0, 1.0, imsize=config.training.imsize))
    content = {"format": checkpoint.FORMAT, "config": config.to_dict(), "classes": ["FRI", "FRII"], "mean": 0.003}
    content |= {"std": 0.03, "model": model.state_dict(), "epoch": 3, "seed": 42, "history": [{"epoch": 1}]}
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def check_network(path: Path) -> None:
    run = checkpoint.load_run(path, torch.device("cpu"))
    side = run.config.training.imsize + run.config.data.pad
    with torch.no_grad():
        assert run.model(torch.zeros(1, 1, side, side)).shape == (1, len(run.classes))
    assert run.preparation.std > 0 and all(name.isprintable() for name in run.classes)


def rezip(name: str) -> tuple[Callable[[], bytes], Callable[[bytes], bytes]]:
    """Returns (what is in a member of the checkpoint, how to put other bytes in its place): the checksums hold."""

    def take() -> bytes:
        with zipfile.ZipFile(io.BytesIO(network())) as archive:
            return archive.read(f"archive/{name}")

    def put(content: bytes) -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(network())) as archive, zipfile.ZipFile(stream, "w") as result:
            for member in archive.namelist():
                result.writestr(member, content if member.endswith(name) else archive.read(member))
        return stream.getvalue()

    return take, put


take_pickle, put_pickle = rezip("data.pkl")

READERS = [
    Reader("checkpoint", ".pt", network, check_network, PICKLE),
    Reader("checkpoint-pickle", ".pt", take_pickle, check_network, PICKLE, put_pickle),
]


@each(READERS)
def test_damaged_files(reader: Reader, n_cases: int, tmp_path: Path) -> None:
    fuzz(reader, tmp_path, n_cases)


@cases
def test_hostile_checkpoints(n_cases: int, tmp_path: Path) -> None:
    """Files that torch wrote, so nothing but what they hold is wrong: every value in turn is something else."""
    whole = torch.load(io.BytesIO(network()), weights_only=True)
    places = [(key,) for key in whole] + [("model", key) for key in whole["model"]]
    places += [
        ("config", section, *key)
        for section, values in whole["config"].items()
        for key in ([(), *((key,) for key in values)] if isinstance(values, dict) else [()])
    ]
    path = tmp_path / "best.pt"

    @derandomized(n_cases)
    @given(st.lists(st.tuples(st.sampled_from(places), HOSTILE), min_size=1, max_size=3))
    def check(changes: list[tuple]) -> None:
        content = copy.deepcopy(whole)
        for (*outer, last), value in changes:
            part = content
            for key in outer:
                part = part[key] if isinstance(part, dict) and isinstance(part.get(key), dict) else {}
            part[last] = value
        torch.save(content, path)
        with time_limit():
            try:
                check_network(path)
            except UserError as error:
                str(error).encode()
                assert len(str(error)) < 10_000
        assert [found.name for found in tmp_path.iterdir()] == [path.name]

    with memory_limit():
        check()


def nested(depth: int) -> list:
    value: list = []
    for _ in range(depth):
        value = [value, value]
    return value


def holding_itself() -> list:
    value: list = []
    value.append(value)
    return value


@pytest.mark.parametrize("value", [nested(30), nested(100), holding_itself()], ids=["wide", "deep", "endless"])
def test_a_checkpoint_that_would_print_without_end_is_refused(value: list, tmp_path: Path) -> None:
    content = torch.load(io.BytesIO(network()), weights_only=True)
    content["config"]["model"]["base"] = value
    torch.save(content, tmp_path / "best.pt")
    with time_limit(), pytest.raises(UserError, match="it holds itself, or more than|nested more than"):
        checkpoint.read(tmp_path / "best.pt")


def test_a_tensor_longer_than_its_file_is_refused(tmp_path: Path) -> None:
    """Old versions of torch read beyond the file's bytes in memory."""
    torch.save({"format": checkpoint.FORMAT, "w": torch.zeros(1000)}, tmp_path / "whole.pt")
    with zipfile.ZipFile(tmp_path / "whole.pt") as whole, zipfile.ZipFile(tmp_path / "best.pt", "w") as forged:
        for member in whole.namelist():
            content = whole.read(member)
            forged.writestr(member, content.replace(b"M\xe8\x03", b"J\x00\x00\x00\x10"))
    with pytest.raises(UserError, match="tensor 0 is not as long as it says"):
        checkpoint.read(tmp_path / "best.pt")


def doubled(depth: int = 60) -> bytes:
    """Opcodes that put a tuple on the stack which holds itself twice, so many times over: to hash it takes for ever."""
    return b")" + b"2\x86" * depth


@pytest.mark.parametrize(
    "opcodes",
    [
        b"}" + doubled() + b"Ns.",
        b"}(" + doubled() + b"Nu.",
        b"(" + doubled() + b"Nd.",
        b"ccollections\nOrderedDict\n(](" + doubled() + b"N\x86etR.",
        b"ccollections\nOrderedDict\n)Rq\x00(" + doubled() + b"Nuh\x00.",
        b"ccollections\nOrderedDict\n)R](" + doubled() + b"N\x86eb.",
        b"ccollections\nOrderedDict\n)\x81.",
        b"\x8f(" + doubled() + b"\x90.",
        b"(" + doubled() + b"\x91.",
        b"}" + doubled() + b"q\x05" + b"0h\x05Ns.",
        b"}NNs.",
        b"}G?\xf0" + bytes(6) + b"Ns.",
        b"}\x88Ns.",
        b"}]Ns.",
    ],
)
def test_only_texts_and_whole_numbers_are_keys(opcodes: bytes, tmp_path: Path) -> None:
    (tmp_path / "best.pt").write_bytes(put_pickle(b"\x80\x02" + opcodes))
    with time_limit(), pytest.raises(UserError, match="key|no file here needs|made of a list|not a dictionary"):
        checkpoint.read(tmp_path / "best.pt")
    with time_limit(), pytest.raises((ValueError, pickle.UnpicklingError)):
        read_arrays(b"\x80\x02" + opcodes)


def two_in_one(seen: bytes, hidden: bytes) -> bytes:
    """Returns a zip that Python reads as ``seen``, and torch as ``hidden``, with as long a list of members."""
    ends = [content.rindex(b"PK\x05\x06") for content in (seen, hidden)]
    (size, at), (hidden_size, hidden_at) = (
        struct.unpack("<II", content[end + 12 : end + 20]) for content, end in zip((seen, hidden), ends, strict=True)
    )
    assert size == hidden_size and hidden_at >= at
    body, record = bytearray(seen[: ends[0]]), bytearray(seen[ends[0] :])
    struct.pack_into("<I", record, 16, hidden_at)
    place = at
    while place < len(body):  # where each member begins, as Python will count it
        lengths, start = struct.unpack_from("<HHH", body, place + 28), struct.unpack_from("<I", body, place + 42)[0]
        struct.pack_into("<I", body, place + 42, start - at + hidden_at)
        place += 46 + sum(lengths)
    return hidden[: ends[1]] + bytes(body) + bytes(record)


def test_torch_reads_what_was_looked_through(tmp_path: Path) -> None:
    whole = put_pickle(take_pickle())
    hidden = put_pickle(b"\x80\x02}X\x05\x00\x00\x00stateK\x01s0" + b"N0" * len(whole) + take_pickle()[2:])
    path = tmp_path / "best.pt"
    path.write_bytes(two_in_one(put_pickle(take_pickle().replace(b"SteerableLeNet", b"SteerableLeNot")), hidden))
    assert len(torch._C.PyTorchFileReader(str(path)).get_record("data.pkl")) > len(whole)
    assert checkpoint.read(path)["config"]["model"]["base"] == "CNSteerableLeNot"


def tensor(size: tuple, stride: tuple, more: bytes = b"\x89ccollections\nOrderedDict\n)R") -> bytes:
    """Returns opcodes of a tensor in the first storage of ``network()``."""
    n_numbers = len(torch.load(io.BytesIO(network()), weights_only=True)["model"]["conv1.weights"])
    sides = [
        b"(" + b"".join(b"\x8a\x0a" + n.to_bytes(10, "little", signed=True) for n in part) + b"t"
        for part in (size, stride)
    ]
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuM%btQ"
    storage = storage.replace(b"%b", struct.pack("<H", n_numbers))
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00" + b"".join(sides) + more + b"tR"


@pytest.mark.parametrize(
    "opcodes",
    [
        tensor((1,) * 60_000, (1,) * 60_000),
        tensor((0, 2**70), (1, 1)),
        tensor((5,), (1,), b"\x89}X\x01\x00\x00\x00aK\x01s"),
        tensor((5,), (1,), b"\x89})X\x00\x00\x00\x00}X\x03\x00\x00\x00neg\x88s"),
        tensor((5,), (1,), b"K\x07ccollections\nOrderedDict\n)R"),
    ],
    ids=["axes", "sides", "hooks", "more", "grad"],
)
def test_tensors_are_described_as_torch_save_does(opcodes: bytes, tmp_path: Path) -> None:
    path, whole = tmp_path / "best.pt", take_pickle()
    path.write_bytes(put_pickle(whole[:-1] + b"X\x01\x00\x00\x00x" + tensor((5,), (1,)) + b"s."))
    assert checkpoint.read(path)["x"].shape == (5,)
    path.write_bytes(put_pickle(whole[:-1] + b"X\x01\x00\x00\x00x" + opcodes + b"s."))
    with time_limit(), pytest.raises(UserError, match="a tensor is not described as one"):
        checkpoint.read(path)


@pytest.mark.slow
@pytest.mark.parametrize("opcodes", [b"N" * 200_000 + b"(t" * 100_000 + b".", b"(" * 100_000 + b"t" * 100_000 + b"."])
def test_a_pickle_of_many_steps_takes_no_longer_than_they_are_many(opcodes: bytes, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "best.pt").write_bytes(put_pickle(b"\x80\x02" + opcodes))
    with time_limit(), pytest.raises(UserError, match="not a checkpoint|nested"):
        checkpoint.read(tmp_path / "best.pt")
    monkeypatch.setattr(pickles, "MAX_STEPS", 100_000)
    with pytest.raises(ValueError, match="more than 100,000 steps"):
        read_arrays(b"\x80\x02" + opcodes)


def strided(size: tuple, stride: tuple) -> torch.Tensor:
    return torch.arange(12.0).as_strided(size, stride)


@pytest.mark.parametrize(
    "tensor",
    [strided((3, 4), (0, 1)), strided((10**12,), (0,)), strided((3, 3), (1, 1)), strided((4, 3), (1, 4))],
    ids=["rows", "endless", "overlapping", "turned"],
)
def test_tensors_that_are_not_stored_number_after_number_are_refused(tensor: torch.Tensor, tmp_path: Path) -> None:
    """Of such a one, Adam writes past the memory, or more is asked for than there is."""
    torch.save({"format": checkpoint.FORMAT, "w": tensor}, tmp_path / "best.pt")
    with memory_limit(), pytest.raises(UserError, match="number after number|over the end"):
        checkpoint.read(tmp_path / "best.pt")


def test_a_tensor_that_is_changed_after_it_was_made_is_refused(tmp_path: Path) -> None:
    """torch lets a state change the shape of a tensor that has been looked at."""
    content = take_pickle()
    at = content.index(b"R", content.index(b"R", content.index(b"_rebuild_tensor_v2")) + 1) + 1
    (tmp_path / "best.pt").write_bytes(put_pickle(content[:at] + b"(K\x00)K\x05tb" + content[at:]))
    with pytest.raises(UserError, match="changed after it was made"):
        checkpoint.read(tmp_path / "best.pt")


def test_one_bit_that_is_not_as_it_was_written_is_never_used(tmp_path: Path) -> None:
    whole, path = network(), tmp_path / "best.pt"
    path.write_bytes(whole)
    good, n_refused = checkpoint.read(path), 0
    places = range(0, len(whole), len(whole) // 80)
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        try:
            content = checkpoint.read(path)
        except UserError:
            n_refused += 1
            continue
        assert all(torch.equal(content["model"][key], value) for key, value in good["model"].items())
        assert content["config"] == good["config"] and content["std"] == good["std"]
    assert n_refused > len(places) // 2


def test_packed_checkpoints_and_programs_are_refused(tmp_path: Path) -> None:
    torch.save({"format": checkpoint.FORMAT, "w": torch.zeros(10**6)}, tmp_path / "whole.pt")
    with (
        zipfile.ZipFile(tmp_path / "whole.pt") as whole,
        zipfile.ZipFile(tmp_path / "packed.pt", "w", compression=zipfile.ZIP_DEFLATED) as packed,
    ):
        for member in whole.namelist():
            packed.writestr(member, whole.read(member))
    with pytest.raises(UserError, match="packed or repeated members"):
        checkpoint.read(tmp_path / "packed.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(torch.nn.ReLU(), torch.zeros(1)), tmp_path / "program.pt")
    with pytest.raises(UserError, match="cannot be read as a checkpoint"):
        checkpoint.read(tmp_path / "program.pt")


@pytest.mark.parametrize("key", ["epoch", "seed"])
def test_numbers_that_count_nothing_are_refused(key: str, tmp_path: Path) -> None:
    content = torch.load(io.BytesIO(network()), weights_only=True)
    for number in (10**70, -1, 1.5, True):
        torch.save(content | {key: number}, tmp_path / "best.pt")
        with pytest.raises(UserError, match="no whole numbers"):
            checkpoint.read(tmp_path / "best.pt")


@pytest.mark.parametrize("told", [{}, {"download": True}, {"datadir": "mine"}], ids=str)
def test_a_stranger_s_config_does_not_say_what_is_fetched_and_written(told: dict) -> None:
    data = {"dataset": "MBFRConfident", "download": True, "mirror": "http://example.org", "datadir": "theirs"}
    config = Config.from_dict({"model": {"base": "VanillaLeNet"}, "data": data})
    read = for_reading(config, told.get("datadir"), told.get("download", False))
    assert read.data.mirror is None and read.data.download == told.get("download", False)
    assert read.data.datadir == told.get("datadir", "theirs") and read.reads_only == (told == {})
    local = for_reading(Config.from_dict({**config.to_dict(), "data": data | {"mirror": "archives"}}), None, False)
    assert local.data.mirror == "archives"
