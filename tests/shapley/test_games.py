"""The games that other tests measure by: what they claim to know is what the definitions give."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from games import (
    SolvedGame,
    cubic,
    humped,
    interaction_by_definition,
    present_without,
    quadratic,
    saturating_groups,
    shapley_by_definition,
    voting,
)

FAMILIES = {"quadratic": quadratic, "cubic": cubic, "saturating": saturating_groups, "humped": humped}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("players", [3, 9])
def test_solved_games_bring_along_what_the_definitions_give(family: str, players: int) -> None:
    game = FAMILIES[family](players, 1)
    np.testing.assert_allclose(game.shapley, shapley_by_definition(game), rtol=0, atol=1e-10)
    np.testing.assert_allclose(game.interaction, interaction_by_definition(game), rtol=0, atol=1e-10)


@pytest.mark.parametrize(("present", "absent"), [(1, 1), (2, 2), (3, 1), (1, 3), (4, 0), (3, 3)])
def test_games_of_who_is_there_and_who_is_not_have_the_values_of_the_definition(present: int, absent: int) -> None:
    game = present_without(8, 1, present, absent, worth=2.5)
    np.testing.assert_allclose(game.shapley, shapley_by_definition(game), rtol=0, atol=1e-10)


@pytest.mark.parametrize("family", FAMILIES.values())
def test_values_of_64_players_add_up(family: Callable[[int, int], SolvedGame]) -> None:
    game = family(64, 0)
    everyone = torch.ones(1, 64, dtype=torch.bool)
    assert game.shapley.sum() == pytest.approx((game(everyone) - game(~everyone)).item(), abs=1e-9)


def test_the_definition_gives_textbook_values() -> None:
    apex = voting([3, 1, 1, 1, 1], quota=4)
    np.testing.assert_allclose(shapley_by_definition(apex), [3 / 5, 1 / 10, 1 / 10, 1 / 10, 1 / 10], atol=1e-12)
