"""Networks side by side, against the functions and formulas that their numbers stand for."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from srgame.data.pairs import Pairs, load_pairs
from srgame.errors import InputError
from srgame.evaluation.evaluate import evaluate
from srgame.filters import filters_of
from srgame.networks import SRResNet
from srgame.probes.cosine import channel_cosine, cosine_matrix
from srgame.probes.equity import gini
from srgame.probes.profiles import OF_VALUES, WHOLE, filter_profiles, layer_profiles, profile_differences
from srgame.probes.responses import channel_responses
from srgame.shapley.audit import network_values
from srgame.shapley.restoration import RestorationGame
from srgame.shapley.until import Until
from srgame.training.loop import seeded

UNTIL = Until(evaluations=120)
LAYERS = ["conv_hr", "body.0.conv1"]


def profiles_of(network: SRResNet, pairs: Pairs) -> tuple[pd.DataFrame, pd.DataFrame]:
    filters = filter_profiles(network, pairs, LAYERS, until=UNTIL)
    return filters, layer_profiles(network, pairs, filters)


def test_a_filter_has_the_numbers_of_the_game_and_of_the_probes(small: SRResNet, photographs: Pairs) -> None:
    profiles = filter_profiles(small, photographs, LAYERS, until=UNTIL)
    values = network_values(small, filters_of(small, LAYERS), photographs, until=UNTIL)
    pd.testing.assert_frame_equal(profiles[values.columns], values)
    responses = channel_responses(small, photographs, ["body.0.conv1", "conv_hr"])
    np.testing.assert_array_equal(profiles["mean_abs"], responses["mean_abs"])
    cosine = channel_cosine(small, photographs, LAYERS)
    for layer, rows in profiles.groupby("layer"):
        matrix = cosine_matrix(cosine[cosine["layer"] == layer])
        np.fill_diagonal(matrix, 0)
        np.testing.assert_allclose(rows["cosine"].abs(), np.abs(matrix).max(1), rtol=1e-12)
        np.testing.assert_allclose(matrix[rows["filter"], rows["nearest"]], rows["cosine"], rtol=1e-12)


def test_a_layer_of_one_filter_has_no_nearest(photographs: Pairs) -> None:
    network = seeded(lambda: SRResNet(features=1, blocks=1), 0)
    filters = filter_profiles(network, photographs, ["conv_hr"], until=UNTIL)
    assert np.isnan(filters["cosine"].item())
    layers = layer_profiles(network, photographs, filters)
    assert layers.loc[layers["quantity"] == "mean_cosine", "value"].isna().all()


def test_layers_have_the_numbers_of_each_image(small: SRResNet, photographs: Pairs) -> None:
    filters, layers = profiles_of(small, photographs)
    value = layers.set_index(["layer", "quantity", "image"])["value"]
    psnr = evaluate(small, photographs).set_index("image")["psnr_y"]
    assert value[WHOLE, "psnr_y"].to_dict() == psnr.to_dict()
    for layer in LAYERS:
        game = RestorationGame(small, filters_of(small, [layer]), photographs)
        grand, empty = game.per_image([[True] * 8, [False] * 8]).T
        np.testing.assert_allclose(value[layer, "worth"], grand - empty)
        of_layer = filters[filters["layer"] == layer]
        assert value[layer, "worth"].mean() == pytest.approx(of_layer["shapley"].sum(), abs=1e-6)
        assert value[layer, "shapley_gini"].item() == gini(of_layer["shapley"])
        assert value[layer, "harmful"].item() == (of_layer["shapley"] < 0).mean()
        alone = next(iter(photographs))
        size = channel_cosine(small, alone, [layer])["cosine"].abs()
        assert value[layer, "mean_cosine", alone.names[0]] == pytest.approx(size.mean(), rel=1e-5)


def test_the_error_of_gini_is_that_of_many_draws(small: SRResNet, photographs: Pairs) -> None:
    filters, layers = profiles_of(small, photographs)
    of_layer = filters[filters["layer"] == "body.0.conv1"]
    rng = np.random.default_rng(7)
    draws = [gini(rng.normal(of_layer["shapley"], of_layer["stderr"])) for _ in range(4000)]
    stderr = layers.set_index(["layer", "quantity"])["stderr"]["body.0.conv1", "shapley_gini"]
    assert stderr == pytest.approx(np.std(draws), rel=0.12) and stderr > 0


def test_differences_are_paired_over_images() -> None:
    networks = [seeded(lambda: SRResNet(features=4, blocks=1), seed) for seed in (0, 1)]
    pairs = load_pairs(images=3, crop=24)
    own = [profiles_of(network, pairs)[1] for network in networks]
    both = pd.concat([frame.assign(checkpoint=name) for name, frame in zip("ab", own, strict=True)])
    found = profile_differences(both, 0.9).set_index(["layer", "quantity", "checkpoint"])
    row = found.loc[("conv_hr", "mean_cosine", "b")]
    first, second = (frame[(frame["layer"] == "conv_hr") & (frame["quantity"] == "mean_cosine")] for frame in own)
    test = stats.ttest_rel(second["value"], first["value"]).confidence_interval(0.9)
    np.testing.assert_allclose((row["low"], row["high"]), test, rtol=1e-9)
    assert row["over"] == "images" and found.loc[("conv_hr", "shapley_gini", "b"), "over"] == "sampling"
    assert found["difference"].isna().sum() == len(found) / 2 and found.xs("a", level=2)["difference"].isna().all()


def test_filters_of_several_channels_are_refused(small: SRResNet, photographs: Pairs) -> None:
    with pytest.raises(InputError, match="'conv_hr/4'"):
        filter_profiles(small, photographs, ["conv_hr/4"], until=UNTIL)


def test_an_image_without_a_score_is_left_out_of_the_interval() -> None:
    scores = {"a": [1.0, 2.0, 3.0, np.nan], "b": [1.1, 2.2, 2.97, 4.0], "c": [1.0, np.nan, np.nan, 5.0]}
    rows = [(name, image, value) for name, of in scores.items() for image, value in zip("wxyz", of, strict=True)]
    profiles = pd.DataFrame(rows, columns=["checkpoint", "image", "value"])
    profiles = profiles.assign(layer=WHOLE, quantity="psnr_y", stderr=np.nan)
    found = profile_differences(profiles).set_index("checkpoint")
    expected = stats.ttest_rel(scores["b"][:3], scores["a"][:3]).confidence_interval()
    np.testing.assert_allclose(found.loc["b", ["low", "high"]].astype(float), expected, rtol=1e-9)
    without = profile_differences(profiles[profiles["image"] != "z"]).set_index("checkpoint")
    columns = ["difference", "low", "high"]
    pd.testing.assert_series_equal(found.loc["b", columns], without.loc["b", columns])
    assert found.loc["c", "difference"] == 0 and np.isnan(found.loc["c", "low"])  # one image has no interval


def test_after_one_replicate_shares_have_no_interval_and_a_note_says_why(photographs: Pairs) -> None:
    network = seeded(lambda: SRResNet(features=32, blocks=1), 0)
    filters = filter_profiles(network, photographs, ["body.0.conv1"], until=Until(evaluations=100))
    assert filters["replicates"].eq(1).all() and np.isinf(filters["stderr"]).all()
    with pytest.warns(UserWarning, match=r"body\.0\.conv1 .* more evaluations"):
        layers = layer_profiles(network, photographs, filters)
    both = pd.concat([layers.assign(checkpoint=name) for name in "ab"])
    found = profile_differences(both).query("checkpoint == 'b'").set_index("quantity")
    assert found.loc["shapley_gini", "value"] == gini(filters["shapley"])
    for quantity in OF_VALUES:
        assert found.loc[quantity, "difference"] == 0 and found.loc[quantity, "over"] == "sampling"
        assert found.loc[quantity, ["low", "high"]].isna().all()
    assert found.loc["mean_abs", ["low", "high"]].tolist() == [0, 0]
