"""The games that a network's filters can play."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from srgame.data.pairs import Pairs, load_pairs
from srgame.errors import InputError
from srgame.filters import Filters, filters_of
from srgame.networks import SRResNet
from srgame.report.tables import shapley_table
from srgame.shapley import audit, sampling
from srgame.shapley.audit import GAMES, interrupted, network_values, uninterrupted
from srgame.shapley.exact import exact_shapley
from srgame.shapley.low_precision import NEGLIGIBLE
from srgame.shapley.permutations import sampled_shapley
from srgame.shapley.restoration import RestorationGame
from srgame.shapley.until import OutOfTimeError, Until


@pytest.fixture
def filters(small: SRResNet) -> Filters:
    return filters_of(small, ["body.0.conv1", "conv_hr", "conv_last"])


@pytest.mark.parametrize("name", GAMES)
def test_the_values_of_every_game_add_up_to_what_its_players_are_worth(
    small: SRResNet, photographs: Pairs, filters: Filters, name: str
) -> None:
    frame = network_values(small, filters, photographs, until=Until(evaluations=300), game=name)
    games = frame.groupby("layer", sort=False) if name == "each layer" else [("", frame)]
    for _, players in games:
        assert players["shapley"].sum() == pytest.approx(players["grand"].iloc[0] - players["empty"].iloc[0])
    assert (frame["shapley"].abs() > 0).sum() > 2 and (frame["evaluations"] <= 300).all()


def test_each_layer_is_a_game_of_its_own(small: SRResNet, photographs: Pairs, filters: Filters) -> None:
    frame = network_values(small, filters, photographs, until=Until(evaluations=200))
    for layer, rows in frame.groupby("layer"):
        exact = exact_shapley(RestorationGame(small, filters_of(small, [str(layer)]), photographs)).value
        assert (np.abs(rows["shapley"] - exact) <= 5 * rows["stderr"] + 1e-6).all()


def test_owen_values_of_a_layer_add_up_to_its_value_among_layers(
    small: SRResNet, photographs: Pairs, filters: Filters
) -> None:
    until = Until(evaluations=1000)
    within = network_values(small, filters, photographs, until=until, game="within layers")
    layers = network_values(small, filters, photographs, until=until, game="layers")
    assert layers["filter"].tolist() == list(filters.layers) and (layers["ended"] == "exact").all()
    sums = within.groupby("layer", sort=False)["shapley"].sum()
    error = 5 * (within["stderr"] ** 2).groupby(within["layer"], sort=False).sum() ** 0.5
    assert (np.abs(sums.to_numpy() - layers["shapley"].to_numpy()) <= error.to_numpy()).all()


@pytest.mark.parametrize(
    ("replicates", "payoff", "warning"),
    [
        (1, "psnr", "one replicate: no error yet"),
        (4, "psnr", "fewer than 12"),
        (12, "psnr", ""),
        (4, "-mse", "fewer than 12"),
        (14, "-mse", "all replicates agree on 8 of 8"),
    ],
)
def test_the_table_warns_of_few_replicates_unless_each_is_exact(
    small: SRResNet, photographs: Pairs, replicates: int, payoff: str, warning: str
) -> None:
    filters = filters_of(small, ["conv_hr"])
    until = Until(evaluations=2 + replicates * 2 * (len(filters) - 1))
    values = network_values(small, filters, photographs, until=until, payoff=payoff, antithetic=True)
    printed = shapley_table(values, "dB", 0.95)
    assert warning in printed and ("fewer than" in printed) == (replicates == 4)
    assert ("allow more evaluations" in printed) == (replicates < 12)
    assert values["replicates"].eq(replicates if replicates < 14 else 12).all()  # the agreement was checked
    assert (values["stderr"].max() < 1e-9) == (replicates == 14)


@pytest.mark.parametrize("first", ["conv_first", "conv_hr"])
def test_one_game_of_all_layers_is_told_from_games_of_their_own_even_if_one_layer_has_all_top_ranks(
    small: SRResNet, photographs: Pairs, first: str
) -> None:
    filters = filters_of(small, ["conv_first", "conv_hr"])
    until = Until(evaluations=2 + 3 * 2 * (len(filters) - 1))
    values = network_values(small, filters, photographs, until=until, game="all filters", gradients=False)
    assert sorted(values["rank"]) == list(range(1, len(values) + 1))
    values["rank"] = (values["layer"] != first).rank(method="first").astype(int)
    printed = shapley_table(values, "dB", 0.95)
    assert printed.count("φ of this layer add up to") == 2
    assert printed.count("one game of all layers") == printed.count("all φ add up to") == 1


def test_an_unknown_game_is_refused(small: SRResNet, photographs: Pairs, filters: Filters) -> None:
    with pytest.raises(InputError, match="unknown game 'chess': choose one of each layer"):
        network_values(small, filters, photographs, until=Until(evaluations=9), game="chess")


@pytest.mark.parametrize(("layer", "used"), [("conv_hr", True), ("conv_first", False)])
def test_bfloat16_is_used_for_a_layer_whose_permutations_vary_more_than_rounding(
    small: SRResNet, layer: str, used: bool
) -> None:
    filters, pairs = filters_of(small, [layer]), load_pairs("photographs", images=1, crop=12)
    until = Until(evaluations=2 + 14 * 14)
    fine = sampled_shapley(RestorationGame(small, filters, pairs), until=until, regression=False).frame()
    low_precision = network_values(small, filters, pairs, until=until, bfloat16=True)
    assert (low_precision["used"].str.contains("low_precision") == used).all()
    assert ((low_precision["low_precision_reduction"] > 1 / NEGLIGIBLE) == used).all()
    total = (low_precision["grand"] - low_precision["empty"])[0]
    assert low_precision["shapley"].sum() == pytest.approx(total, abs=1e-9)
    difference = (low_precision["shapley"] - fine["shapley"]).abs().max()
    assert 0 < difference < fine["stderr"].max() if used else difference == 0


@pytest.mark.parametrize("game", ["layers", "within layers"])  # "layers" are enumerated, in float32
def test_bfloat16_is_used_for_games_of_layers_too(
    small: SRResNet, photographs: Pairs, filters: Filters, game: str
) -> None:
    how = {"game": game, "until": Until(evaluations=400), "filters": filters, "pairs": photographs}
    low_precision, fine = network_values(small, bfloat16=True, **how), network_values(small, **how)
    assert (low_precision["shapley"] - fine["shapley"]).abs().max() <= fine["stderr"].max() + 1e-9
    assert (
        (low_precision["ended"] == "exact").all()
        if game == "layers"
        else low_precision["low_precision_reduction"].notna().all()
    )


def test_bfloat16_is_for_permutations_alone(small: SRResNet, photographs: Pairs, filters: Filters) -> None:
    with pytest.raises(InputError, match="ask for either"):
        network_values(small, filters, photographs, until=Until(evaluations=9), gradients=True, bfloat16=True)
    with pytest.raises(InputError, match="ask for either"):
        network_values(small, filters, photographs, until=Until(evaluations=9), regression=True, bfloat16=True)


def raising(error: BaseException) -> Callable[..., None]:
    """A function that raises the error."""

    def function(*_: object, **__: object) -> None:
        raise error

    return function


def test_ctrl_c_outside_the_sampling_names_the_layers_that_it_leaves_out(
    small: SRResNet, photographs: Pairs, filters: Filters, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = network_values(small, filters, photographs, until=Until(evaluations=300))
    assert not interrupted(whole) and whole.attrs["missing"] == [] and uninterrupted(whole) is whole
    monkeypatch.setattr(audit, "additive_shapley", raising(KeyboardInterrupt()))
    values = network_values(small, filters, photographs, until=Until(evaluations=300))
    pd.testing.assert_frame_equal(values, whole[whole["layer"] == "body.0.conv1"])
    assert values.attrs["missing"] == ["conv_hr", "conv_last"] and interrupted(values)
    with pytest.raises(KeyboardInterrupt):
        uninterrupted(values)


def test_ctrl_c_in_the_sampling_names_the_layers_that_it_leaves_out(
    small: SRResNet, photographs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, numbers = sampling._make, []

    def stopped(*words: Any) -> Any:
        numbers.append(words[-1])
        if len(numbers) == 4:
            raise KeyboardInterrupt
        return make(*words)

    monkeypatch.setattr(sampling, "_make", stopped)
    for game, layers in (("each layer", ["conv_hr"]), ("all filters", [])):
        numbers.clear()
        filters = filters_of(small, ["body.0.conv1", "conv_hr"])
        values = network_values(small, filters, photographs, until=Until(evaluations=900), game=game, gradients=False)
        assert values["replicates"].eq(3).all() and values["ended"].eq("interrupted").all()
        assert values.attrs["missing"] == layers and interrupted(values)
        with pytest.raises(KeyboardInterrupt):
            uninterrupted(values)


def test_a_layer_without_time_is_noted_and_no_interruption(
    small: SRResNet, photographs: Pairs, filters: Filters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "additive_shapley", raising(OutOfTimeError("no time")))
    with pytest.warns(UserWarning, match=r"end with body\.0\.conv1: no time"):
        values = network_values(small, filters, photographs, until=Until(evaluations=300))
    assert set(values["layer"]) == {"body.0.conv1"} and values.attrs["missing"] == ["conv_hr", "conv_last"]
    assert uninterrupted(values) is values
