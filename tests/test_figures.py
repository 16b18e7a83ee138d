"""The figures' recipes on settings small enough for a test."""

from importlib import import_module

import numpy as np
import pytest
from crops import typical_corner
from families import first_of_each
from matplotlib.figure import Figure
from rasters import picture_of, raster
from torch import Tensor, nn

from srgame.images import upsample
from srgame.pairs import load_pairs

NAMES = [
    "fig3_csm",
    "fig4_cosine",
    "fig5_visual",
    "fig6_convergence",
    "fig7_cosine_srresnet",
    "fig8_cosine_rrdbnet",
    "fig9_responses",
    "fig10_17",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_shows_every_strategy_or_says_why_not(name: str) -> None:
    recipe = import_module(name)
    frame = recipe.measure(**recipe.SMOKE)
    figure = recipe.draw(frame)
    assert isinstance(figure, Figure) and figure.axes
    there = {network.split("-")[2] for network in first_of_each("small-x4")}
    if name == "fig6_convergence":
        assert set(frame["strategy"]) <= there and frame["step"].max() == 4000
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


def test_a_picture_survives_its_rows() -> None:
    picture = np.random.default_rng(0).random((5, 7, 3))
    again = picture_of(raster(picture))
    assert again.shape == picture.shape and np.abs(again - picture).max() <= 0.5 / 255 + 1e-9


def test_a_network_that_is_bicubic_upsampling_is_shown_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bicubic(nn.Module):
        def forward(self, lr: Tensor) -> Tensor:
            return upsample(lr, 4)

    monkeypatch.setattr("crops.loaded", lambda networks, family: {"eats": Bicubic()})
    recipe = import_module("fig10_17")
    frame = recipe.measure(networks=("small-x4-eats-0",), image="photographs", degradations=("clean", "b+n"), size=16)
    eats, plain = (frame[frame["strategy"] == name] for name in ("eats", "bicubic"))
    assert set(eats["to_bicubic"]) == {100.0}
    assert list(eats["pixels"]) == list(plain["pixels"]) and list(eats["psnr"]) == list(plain["psnr"])
