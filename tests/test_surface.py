"""What a user of the Python interface may hand over, and what objects look like in a shell and in a notebook."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import srgame
from srgame.data.pairs import Pairs, load_pairs
from srgame.devices import available
from srgame.errors import InputError
from srgame.evaluation.benchmark import benchmark
from srgame.filters import filters_of
from srgame.networks import SRResNet
from srgame.probes.responses import channel_responses
from srgame.probes.salience import channel_salience
from srgame.shapley.exact import exact_shapley
from srgame.shapley.interactions import pair_interactions
from srgame.shapley.permutations import sampled_shapley
from srgame.shapley.restoration import RestorationGame
from srgame.shapley.semivalues import marginal_contributions
from srgame.shapley.until import Until
from srgame.shapley.values import ShapleyValues


@pytest.fixture(scope="module")
def game(small: SRResNet, photographs: Pairs) -> RestorationGame:
    return RestorationGame(small, filters_of(small, "conv_hr"), photographs)


def test_a_single_layer_needs_no_list(small: SRResNet, photographs: Pairs) -> None:
    assert filters_of(small, "conv_hr") == filters_of(small, ["conv_hr"])
    for probe in (channel_responses, channel_salience):
        pd.testing.assert_frame_equal(
            probe(small, photographs.lr, "conv_hr"), probe(small, photographs.lr, ["conv_hr"])
        )


def test_probes_take_the_lr_images_of_pairs(small: SRResNet, photographs: Pairs) -> None:
    for probe in (channel_responses, channel_salience):
        pd.testing.assert_frame_equal(probe(small, photographs, ["conv_hr"]), probe(small, photographs.lr, ["conv_hr"]))
    with pytest.raises(InputError, match=r"\(6, 6\)"):
        channel_responses(small, iter(photographs.lr[0]), ["conv_hr"])


def test_coalitions_may_be_arrays_and_lists(game: RestorationGame) -> None:
    rows = torch.rand(3, 8, generator=torch.Generator().manual_seed(0)) < 0.5
    expected = game(rows)
    for same in (rows.numpy(), rows.tolist(), rows.int(), rows.int().tolist(), rows.float(), rows.numpy().T.copy().T):
        assert torch.equal(game(same), expected)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ([[True] * 7], "(1, 7)"),
        ([True] * 8, "(8,)"),
        (np.ones((2, 3, 8), bool), "(2, 3, 8)"),
        ([[0, 1, 2, 3, 4, 5, 6, 7]], "0"),
        ([[True], [True, False]], "[[True], [True, False]]"),
        ([["conv_hr"] * 8], "conv_hr"),
        (None, "None"),
    ],
)
def test_what_is_no_coalition_is_refused(game: RestorationGame, wrong: object, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        game(wrong)


def test_objects_are_short_in_a_shell_and_tables_in_a_notebook(game: RestorationGame) -> None:
    values = sampled_shapley(game, until=Until(evaluations=60))
    pairs = load_pairs(images=2, crop=24)
    interactions, contributions = pair_interactions(game), marginal_contributions(game)
    for each, numbers in (
        (interactions, ("28", f"{interactions.evaluations:,}", "exact")),
        (contributions, ("8", f"{contributions.evaluations:,}", "exact")),
        (game, ("8", "conv_hr", "2")),
        (values, ("8", f"{values.evaluations}", values.ended)),
        (pairs, ("2", "astronaut", "24×24")),
    ):
        assert "\n" not in repr(each) and len(repr(each)) < 200 and all(number in repr(each) for number in numbers)
        assert each._repr_html_().count("<table") == 1 and "<&" not in each._repr_html_()
    assert f"{values.value.max():.4g}" in values._repr_html_()
    assert all(text in pairs._repr_html_() for text in ("chelsea", "6×6", "24×24", "scale 4"))


def test_a_benchmark_is_a_table_of_mean_scores_in_a_notebook(small: SRResNet) -> None:
    measured = benchmark({"<mine>": small}, ["photographs", "no such set"], ["clean", "noise"], images=2, crop=48)
    page = measured._repr_html_()
    assert "2 checkpoints on 2 images of 1 sets in 2 settings" in repr(measured)
    scores = measured.scores
    mean = scores.loc[(scores["checkpoint"] == "<mine>") & (scores["degradation"] == "noise"), "psnr_y"].mean()
    assert f"{mean:.4g}" in page and "no such set" in page and "&lt;mine&gt;" in page and "<mine>" not in page


def test_a_figure_is_a_picture_in_a_notebook(small: SRResNet, photographs: Pairs) -> None:
    frames = {name: channel_responses(small, photographs, "conv_hr").assign(checkpoint=name) for name in ("a", "b")}
    figure = srgame.figures.responses(pd.concat(frames.values()))
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_every_figure_has_a_docstring() -> None:
    assert all(getattr(srgame.figures, name).__doc__ for name in srgame.figures.__all__)


@pytest.mark.parametrize("exact", [True, False])
def test_values_are_saved_and_loaded_to_the_last_bit(game: RestorationGame, tmp_path: Path, exact: bool) -> None:
    values = exact_shapley(game) if exact else sampled_shapley(game, until=Until(evaluations=60))
    loaded = ShapleyValues.load(values.save(tmp_path / "values.json"))
    pd.testing.assert_frame_equal(loaded.frame(), values.frame(), check_exact=True)
    for name in ("empty", "grand", "evaluations", "ended", "replicates", "variance_reduction", "used"):
        assert getattr(loaded, name) == getattr(values, name)
    np.testing.assert_array_equal(loaded.stderr, values.stderr)


def test_other_files_hold_no_values(tmp_path: Path) -> None:
    path = tmp_path / "values.json"
    for content in (b"", b"[1]", b'{"value": [1]}', b"\xff\x00"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=re.escape(str(path))):
            ShapleyValues.load(path)
    with pytest.raises(InputError, match=r"missing\.json"):
        ShapleyValues.load(tmp_path / "missing.json")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu_is_explained() -> None:
    with pytest.raises(InputError, match="'cuda'.*" + re.escape(torch.__version__)):
        available("cuda")
