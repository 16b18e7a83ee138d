"""What the atlas measures, and what it takes from earlier runs."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from srgame.atlas import measure
from srgame.atlas.cells import Atlas
from srgame.atlas.measure import Sample, measured, some_layers, strongest
from srgame.atlas.stored import Stored
from srgame.data.pairs import Pairs
from srgame.errors import InputError
from srgame.filters import erased, filters_of
from srgame.metrics import psnr
from srgame.networks import SRResNet, fingerprint, load_network
from srgame.probes.cosine import channel_cosine, cosine_matrix
from srgame.probes.responses import channel_responses
from srgame.probes.salience import channel_salience
from srgame.shapley.audit import network_values
from srgame.shapley.interactions import pair_interactions
from srgame.shapley.restoration import RestorationGame
from srgame.shapley.until import Until
from srgame.training.loop import seeded

Run = Callable[..., tuple[int, str, str]]
KINDS = {"feature", "salience", "change"}
SAMPLE = Sample(images=2, crop=24)
UNTIL = Until(evaluations=400)


@pytest.fixture(scope="module")
def atlas(small: SRResNet) -> Atlas:
    other = seeded(lambda: SRResNet(features=8, blocks=2), 1)
    return measured({"a": small, "b": other}, ["body.0.conv1", "conv_hr"], SAMPLE, until=UNTIL)


@pytest.fixture(scope="module")
def rows(atlas: Atlas) -> pd.DataFrame:
    frame = atlas.frame()
    return frame[(frame["checkpoint"] == "a") & (frame["layer"] == "body.0.conv1")].reset_index(drop=True)


def test_every_filter_has_a_row(atlas: Atlas) -> None:
    frame = atlas.frame()
    assert len(frame) == 2 * 2 * 8 and not frame.duplicated(["checkpoint", "degradation", "layer", "filter"]).any()
    of_pairs = ["partner", "interaction", "interaction_low", "interaction_high"]  # a dummy interacts with nobody
    assert not frame.drop(columns=["flag", *of_pairs]).isna().any().any() and not atlas.missing
    assert frame.loc[frame["partner"].isna(), "change"].lt(1e-5).all()  # of a value in [0, 1]: rounding


def test_numbers_are_those_of_the_functions_that_measure_them(
    rows: pd.DataFrame, small: SRResNet, photographs: Pairs
) -> None:
    layer = ["body.0.conv1"]
    of_phi = network_values(small, filters_of(small, layer), photographs, until=UNTIL)
    for name in measure.SHAPLEY:
        pd.testing.assert_series_equal(rows[name], of_phi[name], check_dtype=False)
    of_responses, of_salience = (f(small, photographs, layer) for f in (channel_responses, channel_salience))
    for frame, names in ((of_responses, measure.RESPONSES), (of_salience, measure.SALIENCE)):
        assert np.allclose(rows[names], frame[names])
    cosines = cosine_matrix(channel_cosine(small, photographs, layer)) - np.eye(8)
    assert (rows["nearest"] == np.abs(cosines).argmax(1)).all()
    assert np.allclose(rows["cosine"], cosines[np.arange(8), rows["nearest"].astype(int)])
    game = RestorationGame(small, filters_of(small, layer), photographs)
    interactions = np.nan_to_num(pair_interactions(game, until=UNTIL).matrix())
    alive = rows[np.abs(interactions).max(1) > 1e-6]  # not rounding
    assert (alive["partner"] == np.abs(interactions).argmax(1)[alive.index]).all() and len(alive) > 4
    assert np.allclose(alive["interaction"], interactions[alive.index, alive["partner"].astype(int)])


def test_what_is_lost_without_a_filter_is_what_erasing_it_changes(
    atlas: Atlas, rows: pd.DataFrame, small: SRResNet, photographs: Pairs
) -> None:
    filters = filters_of(small, ["body.0.conv1"])
    cell = next(c for c in atlas.cells if (c.checkpoint, c.layer) == ("a", "body.0.conv1"))
    for k in range(8):
        drops, changes = [], []
        for name, lr, hr in zip(photographs.names, photographs.lr, photographs.hr, strict=True):
            with torch.inference_mode():
                whole = small(lr[None])
                with erased(small, filters, (torch.arange(8) != k)[None]):
                    without = small(lr[None])
            drops.append((psnr(whole, hr[None]) - psnr(without, hr[None])).item())
            changes.append((whole - without).abs().max().item())
            assert cell.drops[name][k] == pytest.approx(drops[-1], abs=1e-4)
            maps = cell.maps[name]["change"]
            shown = (maps.levels[k] / 127.5 - 1) * maps.peaks[k]
            assert np.abs(shown - (whole - without).mean(1)[0].numpy()).max() <= maps.peaks[k] / 127 + 1e-6
        assert rows["leave_one_out"][k] == pytest.approx(np.mean(drops), abs=1e-4)
        assert rows["change"][k] == pytest.approx(max(changes), abs=1e-5)


def test_a_layer_in_numbers(atlas: Atlas, small: SRResNet, photographs: Pairs) -> None:
    cell = next(c for c in atlas.cells if (c.checkpoint, c.layer) == ("a", "conv_hr"))
    game = RestorationGame(small, filters_of(small, ["conv_hr"]), photographs)
    empty, grand = game([[False] * 8, [True] * 8]).tolist()
    assert cell.summary()["worth"] == pytest.approx(grand - empty, abs=1e-5)
    assert cell.filters["shapley"].sum() == pytest.approx(grand - empty, abs=1e-5)
    cell.filters = cell.filters.assign(change=[0, 0.4 / 255, *[1.0] * 6], high=[-1.0, 0.0, *[1.0] * 6])
    assert cell.summary()["dead"] == 2 / 8 and cell.summary()["harmful"] == 1 / 8
    cell.filters = cell.filters.assign(high=np.inf)  # after a single replicate
    assert np.isnan(cell.summary()["harmful"])


def test_all_pairs_of_a_linear_end_are_measured_and_elsewhere_those_of_the_largest(small: SRResNet) -> None:
    atlas = measured({"a": small}, ["body.0.conv1", "conv_hr"], SAMPLE, until=UNTIL, interacting=3)
    inner, last = atlas.cells
    assert len(last.interactions) == 28 and len(inner.interactions) == 3
    largest = set(inner.filters["shapley"].abs().nlargest(3).index)
    assert set(inner.interactions[["filter", "partner"]].to_numpy().ravel()) == largest
    assert set(inner.filters.index[inner.filters["partner"].notna()]) == largest


def test_the_strongest_partner_is_found_from_either_side() -> None:
    pairs = pd.DataFrame({"filter": [0, 0, 1, 0], "partner": [1, 2, 2, 3], "value": [0.1, -0.5, 0.3, 0.0]})
    found = strongest(pairs, "value", {"partner": "with", "value": "most"})
    assert found.to_dict("list") == {"filter": [0, 1, 2], "with": [2, 2, 0], "most": [-0.5, 0.3, -0.5]}


def test_layers_are_chosen_over_the_depth(small: SRResNet, photographs: Pairs) -> None:
    assert some_layers(small, photographs.lr[0]) == ("conv_first", "body.1.conv1", "conv_hr")


def test_all_layers_and_the_channels_that_a_layer_receives_can_be_named(small: SRResNet) -> None:
    few = Until(evaluations=100)
    every = measured({"a": small}, ["all"], Sample(images=1, crop=24), until=few, interacting=2)
    assert [cell.layer for cell in every.cells] == list(filters_of(small).layers) and not every.missing
    received = measured({"a": small}, ["conv_last:input"], Sample(images=1, crop=24), until=few).cells[0]
    assert received.filters["leave_one_out"].notna().all() and received.maps["astronaut"].keys() == KINDS


def test_pictures_and_scores_are_those_of_the_networks(atlas: Atlas, small: SRResNet, photographs: Pairs) -> None:
    image = atlas.restored["clean"]["chelsea"]
    with torch.inference_mode():
        sr = small(photographs.lr[1][None])
    assert torch.allclose(image["pictures"]["sr a"], sr[0], atol=1e-6)
    assert image["psnr"]["sr a"] == pytest.approx(psnr(sr, photographs.hr[1][None]).item(), abs=1e-6)
    assert set(atlas.scores["checkpoint"]) == {"a", "b", "bicubic"} and atlas.scores["degradation"].nunique() == 8


def test_filters_of_a_second_network_are_matched(atlas: Atlas) -> None:
    assert set(atlas.matching["second"]) == {"b"} and len(atlas.matching) == 2 * 8


def test_what_the_evaluations_do_not_allow_is_named_and_the_rest_kept(small: SRResNet) -> None:
    few = Until(evaluations=40)  # enough for φ of 8 filters, not for their 28 pairs
    atlas = measured({"a": small}, ["body.0.conv1"], SAMPLE, until=few)
    (missing,) = atlas.missing
    assert missing.startswith("a, clean, body.0.conv1: interactions (40 evaluations are fewer than one replicate")
    assert atlas.frame()["shapley"].notna().all() and atlas.scores is not None


def test_what_the_time_does_not_allow_is_named(small: SRResNet, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(1000))
    monkeypatch.setattr(measure.time, "monotonic", lambda: float(next(now)))
    atlas = measured({"a": small}, ["conv_hr"], SAMPLE, until=UNTIL, seconds=3.0)
    assert atlas.missing[-2:] == ["a, clean, conv_hr: Shapley values", "a, clean, conv_hr: interactions"]
    assert atlas.frame()["shapley"].isna().all() and atlas.restored
    with pytest.raises(InputError, match=r"0\.5 seconds"):
        measured({"a": small}, ["conv_hr"], SAMPLE, until=UNTIL, seconds=0.5)


def test_after_ctrl_c_the_atlas_holds_what_was_measured(small: SRResNet, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(measure, "network_values", interrupted)
    atlas = measured({"a": small}, ["conv_hr"], SAMPLE, until=UNTIL)
    assert atlas.interrupted and len(atlas.missing) == 2 and atlas.frame()["cosine"].notna().all()


def test_real_pairs_are_the_only_condition(small: SRResNet, tmp_path: Path, photographs: Pairs) -> None:
    import cv2

    for kind, images in (("lr", photographs.lr), ("hr", photographs.hr)):
        (tmp_path / kind).mkdir()
        for name, image in zip(photographs.names, images, strict=True):
            pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()[..., ::-1]
            cv2.imwrite(str(tmp_path / kind / f"{name}.png"), pixels)
    sample = Sample(crop=24, real=(str(tmp_path / "lr"), str(tmp_path / "hr")))
    atlas = measured({"a": small}, ["conv_hr"], sample, ["noise"], until=UNTIL)
    assert atlas.degradations == ["real"] and set(atlas.scores["degradation"]) == {"real"}


@pytest.mark.parametrize(
    ("layers", "said"), [(["conv_hr/2"], "'conv_hr'"), (["conv_x"], "conv_x"), (["conv_last:output"], "conv_last")]
)
def test_layers_without_a_map_are_refused(small: SRResNet, layers: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        measured({"a": small}, layers, SAMPLE)


COMMON = ("--images", 1, "--crop", 24)
ONE = Sample(images=1, crop=24)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.save(seeded(lambda: SRResNet(features=6, blocks=2), 0).state_dict(), tmp_path / "own.pth")
    return tmp_path / "own.pth"


@pytest.fixture
def earlier(srgame: Run, checkpoint: Path, tmp_path: Path) -> Path:
    """A folder with results of all verbs that the atlas reads, of one network."""
    for words in (
        ("shapley", checkpoint, "--layers", "conv_hr", "--degradation", "clean"),
        ("probe", "responses", checkpoint, "--layers", "conv_hr", "--degradation", "clean"),
        ("probe", "cosine", checkpoint, "--layers", "conv_hr", "--degradation", "noise"),
        ("probe", "salience", checkpoint, "--layers", "conv_hr"),
        ("interactions", checkpoint, "--layers", "conv_hr", "--filters", 1, 3, 5),
        ("evaluate", checkpoint, "--degradations", "clean", "noise"),
    ):
        assert srgame(*words, *COMMON, "--output", tmp_path / "run")[0] == 0
    return tmp_path / "run"


@pytest.mark.usefixtures("without_pictures")
def test_results_of_earlier_runs_are_shown_and_not_measured_again(
    earlier: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("network_values", "channel_responses", "pair_interactions", "benchmark"):
        monkeypatch.setattr(measure, name, None)
    stored = Stored.read([earlier])
    atlas = measured({"mine": load_network(checkpoint)}, ["conv_hr"], ONE, stored=stored, until=UNTIL)
    frame = atlas.frame()
    assert atlas.degradations == ["clean", "noise", "as given"]
    of = {name: rows.reset_index(drop=True) for name, rows in frame.groupby("degradation")}
    phi, responses, cosine, salience, pairs, scores = (
        pd.read_csv(earlier / f"{name}.csv")
        for name in ("shapley", "responses", "cosine", "salience", "interactions", "benchmark")
    )
    assert np.array_equal(of["clean"]["shapley"], phi["shapley"])
    assert np.array_equal(of["clean"]["mean_abs"], responses["mean_abs"])
    assert np.array_equal(of["as given"]["salience"], salience["salience"])
    assert of["noise"]["cosine"].abs().max() == cosine["cosine"].abs().max() and of["noise"]["shapley"].isna().all()
    assert of["clean"]["partner"].dropna().isin([1, 3, 5]).all() and of["clean"]["partner"].notna().sum() == 3
    assert of["clean"]["interaction"].abs().max() == pairs["interaction"].abs().max()
    assert atlas.scores["checkpoint"].tolist() == scores["checkpoint"].replace("own", "mine").tolist()
    clean = atlas.cells[0]
    assert clean.sources["shapley"].startswith("run/shapley.csv, 1 images of photographs, middle 24 pixels")
    assert clean.maps and not atlas.cells[1].maps and not atlas.missing
    stored.warn_of_unused()


@pytest.mark.usefixtures("without_pictures")
def test_results_of_changed_code_with_the_same_weights_are_left_out(earlier: Path, checkpoint: Path) -> None:
    changed = load_network(checkpoint)
    changed.lrelu.negative_slope = 0.9
    weights, kinds = fingerprint(changed), ("shapley", "responses")
    stored, left_out = left_out_of(earlier, changed)
    assert left_out == {f"{name}.csv" for name in (*kinds, "cosine", "salience", "interactions", "benchmark")}
    assert all(stored.find(kind, weights, "conv_hr", "clean") is None for kind in kinds)
    assert stored.scores({weights: "mine"}) is None
    source = json.loads((earlier / "responses.json").read_text())
    del source["behaviour"]  # as earlier versions wrote it
    (earlier / "responses.json").write_text(json.dumps(source))
    stored, left_out = left_out_of(earlier, changed)
    assert "responses.csv" not in left_out and stored.find("responses", weights, "conv_hr", "clean") is not None
    same = Stored.read([earlier]).of_same_code({"mine": load_network(checkpoint)})
    assert all(same.find(kind, weights, "conv_hr", "clean") is not None for kind in kinds)
    assert same.scores({weights: "mine"}) is not None


def left_out_of(folder: Path, network: nn.Module) -> tuple[Stored, set[str]]:
    """What is stored in the folder of the network's code, and the names of the files that are of other code."""
    with pytest.warns(UserWarning, match="restored another image") as noted:
        stored = Stored.read([folder]).of_same_code({"mine": network})
    return stored, {Path(str(note.message).split("'")[1]).name for note in noted}


@pytest.mark.usefixtures("without_pictures")
def test_results_of_other_networks_layers_and_games_are_left_out(srgame: Run, checkpoint: Path, tmp_path: Path) -> None:
    for folder, words in {
        "other": ("shapley", "small-x4-eats-0", "--layers", "conv_hr", "--evaluations", 300),
        "mse": ("shapley", checkpoint, "--layers", "conv_hr", "--payoff=-mse"),
    }.items():
        assert srgame(*words, *COMMON, "--output", tmp_path / folder)[0] == 0
    with pytest.warns(UserWarning, match=r"mse/shapley.csv.*payoff -mse"):
        stored = Stored.read([tmp_path / "other", tmp_path / "mse"])
    atlas = measured({"a": load_network(checkpoint)}, ["conv_hr"], ONE, stored=stored, until=UNTIL)
    assert not atlas.cells[0].sources and atlas.frame()["shapley"].notna().all()
    with pytest.warns(UserWarning, match=r"other/shapley.csv"):
        stored.warn_of_unused()


def test_a_folder_without_results_and_a_damaged_result_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=str(tmp_path)):
        Stored.read([tmp_path])
    whole = '{"settings": {}, "weights": "", "images": []}'
    for csv, source in (("layer\na\n", "{}"), ("checkpoint,layer\na,b\n", whole)):
        (tmp_path / "shapley.csv").write_text(csv)
        (tmp_path / "shapley.json").write_text(source)
        with pytest.raises(InputError, match=r"shapley.csv"):
            Stored.read([tmp_path])
