"""A network that edits its input gets copies: every public function leaves its images as they were, and its numbers are
those of the same network without that habit."""

from copy import deepcopy
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from every_function import FUNCTIONS
from small_networks import with_habit
from torch import Tensor, nn

from srgame.data.pairs import Pairs
from srgame.errors import InputError
from srgame.training.strategies import STRATEGIES


def random_images(count: int, side: int) -> tuple[Tensor, ...]:
    return tuple(torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0)))


PAIRS = Pairs(("a", "b", "c"), random_images(3, 12), random_images(3, 48))


def losses(network: nn.Module) -> pd.DataFrame:
    lr, hr = torch.stack(PAIRS.lr), torch.stack(PAIRS.hr)
    before = lr.clone()
    rows = {}
    for name, strategy in STRATEGIES.items():
        options = {"eats": {"layers": ["body"], "count": 2}, "dil": {"types": 3}}
        measured = strategy(network, **options.get(name, {}))(lr, hr, np.random.default_rng(0)).minimised
        rows[name] = {loss: value.item() for loss, value in measured.items()}
        assert torch.equal(lr, before)
    return pd.DataFrame(rows)


EVERY = FUNCTIONS | {"losses": lambda network, *_: losses(network)}


@cache
def of_plain(name: str) -> pd.DataFrame:
    """The numbers of the network without the habit."""
    return EVERY[name](with_habit("Plain"), PAIRS, "body")


@pytest.mark.parametrize("name", EVERY)
def test_images_stay_and_numbers_are_those_without_the_habit(name: str) -> None:
    before = deepcopy(PAIRS)
    edited = EVERY[name](with_habit("EditsInput"), PAIRS, "body")
    assert all(map(torch.equal, (*before.lr, *before.hr), (*PAIRS.lr, *PAIRS.hr)))
    expected = of_plain(name)
    columns = [column for column in expected if not str(column).endswith("_reduction")]
    pd.testing.assert_frame_equal(edited[columns], expected[columns], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in EVERY if name not in ("losses", "lam")])
def test_images_stay_if_responses_are_edited_too(name: str) -> None:
    before = deepcopy(PAIRS)
    first, again = (EVERY[name](with_habit("EditsInputTwice"), PAIRS, "body") for _ in range(2))
    assert all(map(torch.equal, (*before.lr, *before.hr), (*PAIRS.lr, *PAIRS.hr)))
    pd.testing.assert_frame_equal(first, again)
    expected = of_plain(name)
    columns = [column for column in expected if not str(column).endswith("_reduction")]
    pd.testing.assert_frame_equal(first[columns], expected[columns], rtol=1e-3, atol=1e-4)


def test_attributions_of_code_that_overwrites_what_gradients_need_are_refused() -> None:
    before = deepcopy(PAIRS)
    with pytest.raises(InputError, match="overwrites values that they need"):
        EVERY["lam"](with_habit("EditsInputTwice"), PAIRS, "body")
    assert all(map(torch.equal, before.lr, PAIRS.lr))
