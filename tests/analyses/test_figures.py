"""The figures' recipes on settings small enough for a test."""

from importlib import import_module

import cosines
import fig1_overview
import fig2_erasure
import fig6_convergence
import numpy as np
import pandas as pd
import pytest
from crops import typical_corner
from families import by_strategy
from matplotlib.figure import Figure
from rasters import picture_of, raster
from torch import Tensor, nn
from zoo_names import first_of_each

from srgame.data.images import upsample
from srgame.data.pairs import load_pairs
from srgame.report.recipe import caption

NAMES = [
    "fig1_overview",
    "fig2_erasure",
    "fig3_csm",
    "fig4_cosine",
    "fig5_visual",
    "fig6_convergence",
    "fig7_cosine_srresnet",
    "fig8_cosine_rrdbnet",
    "fig9_responses",
    "fig10_17",
]


@pytest.fixture(autouse=True)
def narrow_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Crops are restored with a narrow margin: its width proves nothing here."""
    monkeypatch.setattr("crops.MARGIN", 2)


@pytest.fixture(scope="module")
def erasures() -> pd.DataFrame:
    return fig2_erasure.measure(**fig2_erasure.SMOKE)


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_shows_every_strategy_or_says_why_not(name: str) -> None:
    recipe = import_module(name)
    frame = recipe.measure(**recipe.SMOKE)
    figure = recipe.draw(frame)
    assert isinstance(figure, Figure) and (figure.axes or "nothing measured" in figure.get_suptitle())
    there = set(by_strategy(first_of_each("small-x4"), "small-x4"))
    if name == "fig6_convergence":
        assert set(frame["strategy"]) <= there and frame["step"].max() == 4000
    elif name == "fig2_erasure":
        assert set(frame["strategy"].dropna()) == {"original", "eats"}
    else:
        said = frame[frame["reason"].fillna("") != ""]
        assert {"dropout", "eats"} <= set(frame["strategy"]) and said["reason"].str.contains("not in the zoo").all()


def test_a_crop_is_harder_than_three_quarters_of_the_others() -> None:
    clean = load_pairs("photographs", "clean", images=1, crop=96)
    bicubic = upsample(clean.lr[0][None], 4)[0]
    places = [(top, left) for top in range(0, 65, 16) for left in range(0, 65, 16)]
    errors = [
        float((bicubic - clean.hr[0])[:, top : top + 32, left : left + 32].square().mean()) for top, left in places
    ]
    assert typical_corner(clean, 32, 4) == places[sorted(range(25), key=errors.__getitem__)[18]]


@pytest.mark.parametrize("strategy", ["original", "eats"])
def test_the_erasure_shown_is_that_of_the_losses(erasures: pd.DataFrame, strategy: str) -> None:
    rows = erasures[erasures["strategy"] == strategy]
    drawn, losses = rows[rows["picture"].notna()], rows[rows["picture"].isna()]
    loss = losses[losses["draw"] == drawn["draw"].iloc[0]].iloc[0]
    change = picture_of(drawn[drawn["picture"] == "|f − f′|"])
    assert change.mean() == pytest.approx(loss["erasure"], abs=0.5 / 255 * change.max())
    maps = {name: rows.groupby("filter")["pixels"].agg(list) for name, rows in drawn.groupby("picture")}
    same = maps["before"] == maps["after"]
    assert set(same.index[~same]) <= {loss["erased"]} and loss["erased"] != loss["donor"]
    assert maps["after"][loss["erased"]] == maps["before"][loss["donor"]]


def test_the_erasure_shown_is_the_median_of_the_first_network(erasures: pd.DataFrame) -> None:
    rows = erasures[(erasures["strategy"] == "original") & erasures["picture"].isna()]
    losses = rows.set_index("draw")["erasure"]
    assert losses[erasures.loc[erasures["picture"] == "f", "draw"].iloc[0]] == losses.median()


def test_the_awakening_loss_teaches_the_erased_filter_nothing(erasures: pd.DataFrame) -> None:
    """Its response is replaced, so its weights change no image; the other filters' weights do."""
    losses = erasures[erasures["erasure"].notna()]
    assert (losses["gradient_erased"] == 0).all() and (losses["gradient_others"] > 0).all()
    assert "own weights is exactly 0 in all erasures" in fig2_erasure.found(erasures)
    assert "is 0.5 in all" in fig2_erasure.found(erasures.assign(gradient_erased=0.5))


def test_without_one_of_the_two_networks_the_paradigm_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fig2_erasure, "NETWORKS", ("srresnet-x4-original-0",))
    frame = fig2_erasure.measure(networks=("srresnet-x4-original-0",), **fig2_erasure.SMOKE)
    assert fig2_erasure.draw(frame).axes
    assert "not in the zoo: srresnet-x4-eats" in caption(frame, fig2_erasure.found)


def test_channels_are_chosen_by_rank() -> None:
    assert fig1_overview.ranked(np.array([3.0, 9.0, 1.0, 5.0])) == {"strongest": 1, "median": 3, "weakest": 2}


def test_gains_over_bicubic_are_paired_by_image_and_averaged_over_seeds() -> None:
    rows = [("bicubic", "", "a", 20.0), ("bicubic", "", "b", 30.0)]
    rows += [("eats", f"small-x4-eats-{seed}", image, psnr) for seed, image, psnr in
             [(0, "a", 21.0), (0, "b", 30.0), (1, "a", 23.0), (1, "b", 31.0)]]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["strategy", "checkpoint", "image", "psnr"])
    frame = frame.assign(part="psnr", dataset="Set5", degradation="clean")
    gains = fig1_overview.gains_over_bicubic(frame).set_index("image")["gain"]
    assert gains.to_dict() == {"a": 2.0, "b": 0.5}


def test_a_picture_survives_its_rows() -> None:
    picture = np.random.default_rng(0).random((5, 7, 3))
    again = picture_of(raster(picture))
    assert again.shape == picture.shape and np.abs(again - picture).max() <= 0.5 / 255 + 1e-9


def test_a_network_that_is_bicubic_upsampling_is_shown_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bicubic(nn.Conv2d):
        def forward(self, lr: Tensor) -> Tensor:
            return upsample(lr, 4)

    monkeypatch.setattr("crops.loaded", lambda *_: ({"eats": Bicubic(3, 3, 1)}, 4))
    recipe = import_module("fig10_17")
    frame = recipe.measure(
        networks=("srresnet-x4-eats-0",), image="photographs", degradations=("clean", "b+n"), size=16
    )
    eats, plain = (frame[frame["strategy"] == name] for name in ("eats", "bicubic"))
    assert set(eats["to_bicubic"]) == {100.0}
    assert list(eats["pixels"]) == list(plain["pixels"]) and list(eats["psnr"]) == list(plain["psnr"])


def test_the_end_of_training_is_the_mean_of_a_strategys_networks() -> None:
    rows = [
        ("small-x4-eats-0", 1, 0.9),
        ("small-x4-eats-0", 2, 0.1),
        ("small-x4-eats-1", 1, 0.8),
        ("small-x4-eats-1", 2, 0.3),
    ]
    frame = pd.DataFrame(rows, columns=["checkpoint", "step", "value"]).assign(quantity="erasure", strategy="eats")
    for shuffled in (frame, frame[::-1]):
        assert "‖f − f′‖ eats 0.2000" in fig6_convergence.found(shuffled)


@pytest.fixture
def likeness() -> pd.DataFrame:
    """Two layers in which EATS is less alike than Original, and more; the mean over images is half of the size."""
    rows = [("a", "original", 0.4), ("a", "eats", -0.2), ("b", "original", -0.1), ("b", "eats", 0.3)]
    frame = pd.DataFrame(rows, columns=["layer", "strategy", "correlation"]).assign(reason="", checkpoint="")
    size = frame["correlation"].abs() * 2
    return frame.assign(cosine=frame["correlation"], correlation_size=size, cosine_size=size + 0.1)


def test_cosines_agree_where_channels_are_less_alike_with_eats(likeness: pd.DataFrame) -> None:
    assert cosines.verdict(likeness) == "partly"
    assert cosines.verdict(likeness[likeness["layer"] == "a"]) == "agrees so far"
    assert cosines.verdict(likeness[likeness["layer"] == "b"]) == "differs"
    assert cosines.verdict(likeness[likeness["strategy"] == "eats"]) == "—"
    torn = likeness.assign(cosine_size=1 - likeness["cosine_size"])
    assert cosines.verdict(torn[torn["layer"] == "a"]) == "partly"  # less correlated, but of larger cosine


def test_correlations_and_cosines_are_said_side_by_side_and_over_images_too(likeness: pd.DataFrame) -> None:
    sentence = cosines.found(likeness[likeness["layer"] == "a"])
    assert "a, correlation: original 0.80 (0.40), eats 0.40 (0.20)" in sentence
    assert "a, cosine: original 0.90 (0.40), eats 0.50 (0.20)" in sentence
