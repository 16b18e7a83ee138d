"""The tables' machinery on networks and images small enough for a test."""

from pathlib import Path

import families
import numpy as np
import pandas as pd
import psnr_tables
import pytest
import torch
import zoo_names
from intervals import paired_interval
from psnr_tables import NONE
from small_networks import small
from torch import nn
from zoo_names import CONTROL, READING, RRDBNET, TRAINED, shipped

from srgame.data.pairs import load_pairs
from srgame.evaluation import benchmark as benchmarks
from srgame.evaluation.evaluate import bicubic, evaluate
from srgame.report.recipe import caption

CHEAP = {"sets": ("photographs", "Manga109"), "degradations": ("clean", "b+n"), "images": 2, "crop": 64}


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> dict[str, nn.Module]:
    """Two seeds of Original and EATS, three of Dropout's: networks that differ a little."""
    names = [f"small-x4-original-{s}" for s in (0, 1)] + [f"small-x4-eats-{s}" for s in (0, 1)] + ["small-x4-dropout-2"]
    networks = {name: small("srresnet-x4") for name in names}
    for place, network in enumerate(networks.values()):
        with torch.no_grad():
            network.conv_last.bias.add_(0.01 * place)
    monkeypatch.setattr(zoo_names, "zoo", lambda: dict.fromkeys([*names, "srresnet-x4-eats", "small-x4-bicubic"]))
    monkeypatch.setattr(families, "opened", lambda name, _architecture: networks[name])
    return networks


def test_a_familys_networks_are_found_in_the_zoo(trained: dict[str, nn.Module]) -> None:
    assert list(shipped("small-x4")) == list(trained)
    assert shipped("srresnet-x4") == ("srresnet-x4-eats",) and shipped("rrdbnet-x4") == ()


def one(frame: pd.DataFrame, strategy: str, against: str = NONE, **cell: str) -> pd.Series:
    chosen = {"dataset": "photographs", "degradation": "clean", "colour": "y"} | cell
    for column, value in ({"strategy": strategy, "against": against} | chosen).items():
        frame = frame[frame[column] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def test_a_table_holds_means_and_paired_differences(trained: dict[str, nn.Module]) -> None:
    frame = psnr_tables.measure(1, "small-x4", shipped("small-x4"), **CHEAP)
    pairs = load_pairs("photographs", "clean", 4, images=2, crop=64)
    psnr = {name: evaluate(network, pairs)["psnr_y"].to_numpy() for name, network in trained.items()}
    eats = np.stack([psnr[f"small-x4-eats-{s}"] for s in (0, 1)])
    original = np.stack([psnr[f"small-x4-original-{s}"] for s in (0, 1)])
    level, gain = one(frame, "eats"), one(frame, "eats", "original")
    assert (level["psnr"], level["images"], level["seeds"]) == (pytest.approx(eats.mean()), 2, 2)
    assert gain["psnr"] == pytest.approx((eats - original).mean())
    assert (gain["low"], gain["high"]) == pytest.approx(paired_interval(eats - original)[1:])
    assert [float(of_seed) for of_seed in gain["by_seed"].split()] == pytest.approx((eats - original).mean(1), abs=1e-6)
    alone = psnr_tables.measure(1, "small-x4", ["small-x4-eats-0", "small-x4-original-0"], **CHEAP)
    assert "(95% intervals over seeds; with 2 seeds" in psnr_tables.found(frame)
    assert "intervals over images of one training" in psnr_tables.found(alone)
    lone = one(alone, "eats", "original")
    assert (lone["low"], lone["high"]) == pytest.approx(paired_interval((eats - original)[:1])[1:])
    assert one(frame, "bicubic")["psnr"] == pytest.approx(evaluate(bicubic(4), pairs)["psnr_y"].mean())


def test_what_is_not_there_is_empty_and_says_why(trained: dict[str, nn.Module]) -> None:
    frame = psnr_tables.measure(1, "small-x4", shipped("small-x4"), **CHEAP)
    assert (frame["psnr"].isna() == (frame["reason"] != "")).all()
    assert one(frame, "bicubic-pull")["reason"] == "not in the zoo: small-x4-bicubic-pull"
    assert one(frame, "eats", "bicubic-pull")["reason"] == "not in the zoo: small-x4-bicubic-pull"
    assert one(frame, "dropout", "original")["reason"] == "dropout and original have no seed in common"
    missing = one(frame, "eats", "original", dataset="Manga109", colour="rgb")
    assert missing["reason"] == "no images of Manga109" and missing["reported"] == pytest.approx(0.3987)
    assert one(frame, "dropout", dataset="Manga109", colour="rgb", degradation="b+n")["reported"] == 19.0785
    assert one(frame, "eats", dataset="Manga109")["reported"] != one(frame, "eats", dataset="Manga109")["reported"]


def test_the_reading_nearest_to_the_paper_stands_beside_eats_and_its_control_replaces_another() -> None:
    names = [f"{RRDBNET}-{strategy}-0" for strategy in ("original", "dropout", "eats", READING, CONTROL)]
    assert sorted(shipped(RRDBNET, TRAINED)) == sorted(names)
    few = CHEAP | {"sets": ("photographs",), "images": 1, "crop": 32}
    frame = psnr_tables.measure(2, RRDBNET, shipped(RRDBNET, TRAINED), **few)
    assert frame["strategy"].unique().tolist() == ["bicubic", "original", "dropout", "eats", READING, CONTROL]
    own, control = (one(frame, name)["psnr"] for name in (READING, CONTROL))
    assert one(frame, READING, CONTROL)["psnr"] == pytest.approx(own - control)
    assert one(frame, "eats", dataset="photographs", colour="rgb")["reason"] == ""
    sentence = psnr_tables.found(frame)
    assert sentence.startswith("eats minus the others") and " EATS (λ = 0.1) minus the others" in sentence
    assert "bicubic-pull (λ = 0.1) " in sentence and "Distance of the gains" not in sentence.split(" EATS (λ")[0]
    headers = psnr_tables.texts(frame.assign(reported=20.0))[".md"].splitlines()[0]
    assert "| eats | eats, printed | eats − printed eats | EATS (λ = 0.1) | EATS (λ = 0.1) − printed eats |" in headers


def test_dil_stands_beside_original_alone() -> None:
    assert families.missing_strategies(("a",), ["original", "dil"], ("a",)) == []
    assert families.missing_strategies(("a",), ["original", CONTROL], ("a",)) == ["dropout", "eats"]
    assert families.missing_strategies(("a",), ["original"], ("b",)) == []


def test_a_strategy_that_is_far_behind_is_left_out_of_the_differences_and_named() -> None:
    cell = {"dataset": "Set5", "degradation": "clean", "colour": "rgb", "images": 5, "seeds": 1, "reason": ""}
    levels = {"bicubic": 28.0, "original": 26.0, "dropout": 21.0, "eats": 26.5}
    rows = [cell | {"strategy": name, "against": NONE, "psnr": psnr} for name, psnr in levels.items()]
    gains = {"dropout": -5.0, "eats": 0.5}
    rows += [cell | {"strategy": name, "against": "original", "psnr": gain} for name, gain in gains.items()]
    figure = psnr_tables.draw(pd.DataFrame(rows).reindex(columns=psnr_tables.COLUMNS), "Title")
    assert "right: without dropout (−5.00 to −5.00 dB)" in figure.get_suptitle()
    level, gain = (np.concatenate([line.get_ydata() for line in panel.lines]) for panel in figure.axes)
    assert 21.0 in level and 0.5 in gain and -5.0 not in gain


def test_a_table_is_drawn_from_its_csv(trained: dict[str, nn.Module], tmp_path: Path) -> None:
    psnr_tables.measure(1, "small-x4", shipped("small-x4"), **CHEAP).to_csv(tmp_path / "t.csv", index=False)
    figure = psnr_tables.draw(pd.read_csv(tmp_path / "t.csv"), "Title")
    level, gain, missing, _ = figure.axes
    assert level.get_title(loc="left") == "photographs: all 2 images" and "not measured" in missing.get_title(
        loc="left"
    )
    frame = pd.read_csv(tmp_path / "t.csv")
    assert "not in the zoo: small-x4-bicubic-pull" in caption(frame, psnr_tables.found)
    assert len(gain.collections) > 0


def test_stored_scores_are_not_measured_again(
    trained: dict[str, nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    *earlier, latest = shipped("small-x4")
    psnr_tables.measure(1, "small-x4", earlier, **CHEAP, store=tmp_path)
    restored = []
    monkeypatch.setattr(benchmarks, "scores", lambda network, pair: restored.append(network) or evaluate(network, pair))
    whole = psnr_tables.measure(1, "small-x4", shipped("small-x4"), **CHEAP, store=tmp_path)
    assert {network.network for network in restored} == {trained[latest]}
    pd.testing.assert_frame_equal(whole, psnr_tables.measure(1, "small-x4", shipped("small-x4"), **CHEAP))


def test_networks_of_several_families_are_compared_by_name() -> None:
    names = ["srresnet-x4-bicubic", "small-x4-eats-0"]
    frame = psnr_tables.measure(1, "small-x4", names, **CHEAP | {"sets": ("photographs",), "images": 1, "crop": 32})
    assert set(frame["strategy"]) == {"bicubic", *names} and (frame["reason"] == "").all()
    assert set(frame.loc[frame["strategy"] == names[1], "against"]) == {NONE, names[0], "bicubic"}
    levels = [one(frame, name)["psnr"] for name in names]
    assert one(frame, names[1], names[0])["psnr"] == pytest.approx(levels[1] - levels[0])
    assert f"{names[1]} minus the others" in psnr_tables.found(frame)
    assert "2 networks" in psnr_tables.draw(frame, "Title").get_suptitle()


def test_a_table_agrees_where_eats_is_ahead_in_every_cell() -> None:
    cell = {"strategy": "eats", "colour": "rgb", "low": 0.0, "high": 1.0, "seeds": 1.0}
    rows = [cell | {"against": against, "psnr": gain} for against, gain in (("original", 0.2), ("dropout", 0.1))]
    behind = cell | {"against": "dropout", "psnr": -0.1}
    assert psnr_tables.verdict(pd.DataFrame(rows)) == "agrees so far"
    assert psnr_tables.verdict(pd.DataFrame([*rows, behind])) == "partly"
    assert psnr_tables.verdict(pd.DataFrame([behind])) == "differs"
    assert psnr_tables.verdict(pd.DataFrame([behind | {"psnr": np.nan}])) == "—"
    sentence = psnr_tables.found(pd.DataFrame([*rows, behind | {"high": -0.05}]))
    assert "original +0.20 dB (1 seed; over its images better in 0, worse in 0, the rest undecided)" in sentence
    assert "dropout +0.00 dB (1 seed; over its images better in 0, worse in 1, the rest undecided)" in sentence
    without = pd.DataFrame(rows).assign(low=np.nan, high=np.nan)
    assert "original +0.20 dB (1 seed); dropout +0.10 dB (1 seed)." in psnr_tables.found(without)


def test_decided_cells_are_counted_beside_those_of_swapped_seeds() -> None:
    cell = {"strategy": "eats", "against": "original", "colour": "rgb", "seeds": 3}
    ahead = [{"psnr": 0.2, "low": 0.1, "high": 0.3, "by_seed": "0.19 0.20 0.21"}] * 2
    torn = {"psnr": -0.1, "low": -0.8, "high": 0.6, "by_seed": "0.20 -0.20 -0.22"}
    sentence = psnr_tables.found(pd.DataFrame([cell | row for row in (*ahead, torn)]))
    assert (
        "3 seeds; better in 2, worse in 0, the rest undecided; 0 to 1 decided after swapping the strategies" in sentence
    )
    assert "has a p below 1/4" in sentence
