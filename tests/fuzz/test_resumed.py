"""``--resume`` in a folder from a stranger: its last.pt holds what torch would take unseen: refused, or gone on."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from radgal.runs import checkpoint
from radgal.runs.statecheck import check_random
from tests.fuzz.tokens import HOSTILE
from tests.fuzz.tools import cases_from, derandomized, memory_limit, time_limit
from tests.runs.test_resume import config, go, spoil, toy  # noqa: F401
from utils import UserError, random_states


def places_in(content: object, place: tuple = ()) -> list[tuple]:
    """Returns where there is something to put something else in place of."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if type(content) is list else ()
    return [found for key, part in items for found in ((*place, key), *places_in(part, (*place, key)))]


@cases_from(30)
def test_spoiled_states(n_cases: int, config: Path) -> None:  # noqa: F811
    folder = go(config, epochs=1).folder
    whole, spoiled = checkpoint.read(folder / "last.pt"), folder.with_name("spoiled")
    part = {"losses": torch.zeros(2, dtype=torch.float64), "n_correct": 1, "seconds": 1.0, "random": whole["random"]}
    places = [place for place in places_in(whole | {"unfinished": part}) if place[0] not in ("model", "config")]
    refused = 0

    @derandomized(n_cases)
    @given(st.sampled_from(places), HOSTILE, st.booleans())
    def check(place: tuple, value: object, is_within_epoch: bool) -> None:
        nonlocal refused
        shutil.rmtree(spoiled, ignore_errors=True)
        shutil.copytree(folder, spoiled)
        content = copy.deepcopy(whole)
        if is_within_epoch or place[0] == "unfinished":
            content["unfinished"] = dict(part)
        spoil(content, place, value)
        checkpoint.save(spoiled / ("unfinished.pt" if "unfinished" in content else "last.pt"), content)
        with time_limit():
            try:
                go(config, "--resume", "--force", "model.quiet=True", out=spoiled.name, epochs=2)
            except UserError as error:
                refused += 1
                assert str(error).strip()
        assert not list(spoiled.glob(".*")) and not (spoiled / "run.lock").exists()

    assert len(places) > 100
    with memory_limit():
        check()
    assert n_cases // 20 < refused < n_cases


def test_the_state_of_another_parameter_is_refused(config: Path) -> None:  # noqa: F811
    """torch would write past the memory of a smaller one."""
    folder = go(config, epochs=1).folder
    content = checkpoint.read(folder / "last.pt")
    content["optimizer"]["param_groups"][0]["params"][5] = 1
    checkpoint.save(folder / "last.pt", content)
    with pytest.raises(UserError, match="numbers the parameters in another order"):
        go(config, "--resume", epochs=2)


@pytest.mark.parametrize(
    "place, value",
    [
        (("numpy", 2), 10**6),  # NumPy would read there, far behind its 624 numbers
        (("numpy", 2), -1),
        (("numpy", 1), torch.zeros(623, dtype=torch.int64)),
        (("numpy", 1), torch.full((624,), 2**40)),
        (("numpy", 0), "PCG64"),
        (("python", 1), (1,) * 624),
        (("python", 2), "x"),
        (("torch",), torch.zeros(8, dtype=torch.uint8)),
        (("torch",), torch.zeros(5056, dtype=torch.int64)),
        (("cuda",), torch.zeros(2, 8)),
    ],
)
def test_random_states_have_the_length_that_they_have(place: tuple, value: object) -> None:
    states = random_states()
    check_random(states)
    first, *rest = place
    if rest:
        value = tuple(value if i == rest[0] else part for i, part in enumerate(states[first]))
    with pytest.raises(ValueError, match="random state"):
        check_random(states | {first: value})
