"""The audits' recipes on settings small enough for a test, and whether committed figures are up to date."""

import json
import re
from importlib import import_module
from pathlib import Path

import ablation_tables
import audit_confound
import audit_eq6
import audit_equity
import audit_equity_vs_generalization
import audit_erasure
import audit_interactions
import audit_pruning
import audit_shares
import audit_submodularity
import audit_targets
import audited
import bench_patches
import equities
import families
import numpy as np
import pandas as pd
import printed
import psnr_tables
import pytest
import regenerate
import tab6
import tab7
import torch
import training_cost
from scipy import stats
from small_networks import small
from torch import nn

from srgame.data.pairs import load_pairs
from srgame.errors import InputError
from srgame.evaluation.benchmark import Benchmark
from srgame.evaluation.evaluate import bicubic, evaluate
from srgame.networks import load_network
from srgame.report.recipe import INPUTS, caption, defaults, measured_with
from srgame.shapley.audit import network_values
from srgame.shapley.until import Until

FIGURES = Path(__file__).parents[2] / "figures"
STEMS = sorted(path.stem for path in FIGURES.glob("*.json"))


@pytest.mark.parametrize("stem", [stem for stem in STEMS if stem in regenerate.recipes()])
def test_a_committed_figure_has_its_recipes_settings(stem: str) -> None:
    """Also the networks of the zoo: new ones, or new weights, make the figures of their family stale."""
    assert measured_with(defaults(import_module(stem).measure), FIGURES / stem), f"python analyses/{stem}.py"


@pytest.mark.parametrize(
    "name",
    ["audit_gains", "audit_readings_logs", "audit_reported", "audit_retreat", "audit_shares", "fig6_convergence",
     "tab1", "tab1_dil", "tab6", "tab7", "training_cost"],
)  # fmt: skip
def test_a_recipe_names_all_files_that_it_reads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, read, paths = import_module(name), pd.read_csv, set[Path]()
    monkeypatch.setattr(pd, "read_csv", lambda path: paths.add(path) or read(path))
    named = recipe.measure(**recipe.SMOKE).attrs[INPUTS]
    assert paths == {file for path in named for file in path.parent.glob(path.name)}
    assert json.loads((FIGURES / f"{name}.json").read_text(encoding="utf-8"))["inputs"]


@pytest.mark.parametrize("name", ["audit_readings_logs", "audit_shares", "fig6_convergence", "training_cost"])
def test_a_figure_of_stored_numbers_has_those_of_today(name: str) -> None:
    recipe = import_module(name)
    today = recipe.measure(**defaults(recipe.measure)).reset_index(drop=True)
    pd.testing.assert_frame_equal(today, pd.read_csv(FIGURES / f"{name}.csv"), check_dtype=False)


@pytest.mark.parametrize("recipe", [audit_eq6, audit_equity, audit_erasure, audit_submodularity, audit_interactions])
def test_a_strategy_that_is_missing_is_said_to_be(recipe: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audited, "shipped", lambda family: recipe.SMOKE["networks"])
    frame = recipe.measure(**recipe.SMOKE)
    assert set(frame["strategy"]) == {"original", "dropout", "bicubic-pull", "eats"}
    assert recipe.found(frame).endswith(".") and "nan" not in recipe.found(frame)
    assert recipe.draw(frame).axes
    assert "not in the zoo: small-x4-dropout" in caption(frame, recipe.found)


def test_what_the_control_lacks_is_said_in_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    two = ("small-x4-original-0", "small-x4-eats-0")
    monkeypatch.setattr(psnr_tables, "shipped", lambda *_: two)
    frame = audit_confound.measure(**audit_confound.SMOKE, networks=two)
    assert audit_confound.draw(frame).axes
    assert "not in the zoo: small-x4-bicubic-pull" in caption(frame, audit_confound.found)


def test_networks_of_one_family_are_known_by_strategy_and_of_several_by_name() -> None:
    two, mixed = ["small-x4-eats-1", "small-x4-original-0"], ["srresnet-x4-eats-0", "small-x4-eats-0"]
    of_one, of_several = (families.identified(names, names[0].split("-x4")[0] + "-x4") for names in (two, mixed))
    assert [of_one[name]["strategy"] for name in two] == ["eats", "original"] and of_one[two[0]]["seed"] == 1
    assert [of_several[name]["strategy"] for name in mixed] == mixed and of_several[mixed[1]]["seed"] == 0
    assert of_one[two[0]]["steps"] == 20000 and np.isnan(families.identified(["my.pth"], "small-x4")["my.pth"]["steps"])


def test_without_networks_an_audit_asks_for_some() -> None:
    with pytest.raises(InputError, match="--networks"):
        audit_erasure.measure(**audit_erasure.SMOKE | {"networks": ()})


class Additive:
    """Worth adds up: nothing diminishes, nothing grows."""

    def __init__(self, power: float) -> None:
        self.power, self.players = power, 6

    def __call__(self, coalitions: torch.Tensor) -> torch.Tensor:
        return coalitions.double().sum(1) ** self.power


@pytest.mark.parametrize(("power", "share", "ties"), [(0.5, 1.0, 0.0), (1.0, 0.0, 1.0), (2.0, 0.0, 0.0)])
def test_returns_diminish_where_worth_is_concave_and_ties_do_not_count(power: float, share: float, ties: float) -> None:
    row = audit_submodularity.diminishing(Additive(power), draws=40, seed=0)
    assert (row["diminishing"], row["ties"]) == (share, ties)


def test_erasure_goes_from_the_whole_network_to_none_of_the_layers_filters() -> None:
    frame = families.measured(audit_erasure.measure(**audit_erasure.SMOKE))
    assert frame["erased"].tolist()[0] == 0 and frame["erased"].tolist()[-1] == frame["filters"].iloc[0]
    network, pairs = load_network(audit_erasure.NETWORKS[0]), load_pairs("photographs", "b+n", 4, images=1, crop=16)
    with torch.inference_mode():
        whole = audit_erasure.stored_psnr(network(pairs.lr[0][None]), pairs.hr[0][None])
        for name, parameter in network.named_parameters():
            parameter *= name.startswith("conv_last")
        skip = audit_erasure.stored_psnr(network(pairs.lr[0][None]), pairs.hr[0][None])
    assert frame["psnr"].iloc[[0, -1]].tolist() == pytest.approx([whole.item(), skip.item()])


def test_eq6_rates_are_shares_of_the_filters() -> None:
    verdicts = ["held", "violated", "violated", "open"]
    frame = pd.DataFrame(
        {"strategy": "eats", "layer": "conv_hr", "ablation": "zero", "kind": "filter", "eq6": verdicts}
    )
    (rates,) = audit_eq6.rates(pd.concat([frame.assign(reason=""), pd.DataFrame({"kind": ["size"]})])).to_dict(
        "records"
    )
    assert {name: rates[name] for name in ("filters", *dict.fromkeys(verdicts))} == {
        "filters": 4, "held": 0.25, "violated": 0.5, "open": 0.25,
    }  # fmt: skip


def test_a_margin_is_in_units_of_the_mean_shapley_value_of_its_game() -> None:
    frame = pd.DataFrame({"shapley": [1.0, -3.0, 10.0, 30.0], "leave_one_out": [0.0, 1.0, 10.0, 10.0]})
    frame = frame.assign(strategy="eats", seed=[0, 0, 1, 1], layer="conv_hr", ablation="zero", kind="filter", reason="")
    assert audit_eq6.margins(frame)["margin"].tolist() == [0.5, -2.0, 0.0, 1.0]


def test_confound_of_networks_that_are_bicubic_is_the_identity() -> None:
    frame = pd.DataFrame({"gain": [0.3, 0.7, 1.1, 1.2], "below": [0.1, 0.5, 0.9, 1.0]})
    frame = frame.assign(over_pull=np.nan, dropout=1 - frame["below"], reason="", settings="")
    assert "r = 1.000" in audit_confound.found(frame) and "difference 0.20 dB" in audit_confound.found(frame)
    assert "Dropout: r = −1.00, 0.65 dB)" in audit_confound.found(frame)
    assert audit_confound.verdict(frame.assign(gain=frame["below"])) == "differs"
    assert "3 cells are too few" in audit_confound.found(frame.head(3))


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> dict[str, nn.Module]:
    """A zoo of four networks. Two of them, EATS towards HR and the Original of the other seed, are brighter."""
    names = ["small-x4-original-0", "small-x4-original-1", "small-x4-eats-hr-1", "small-x4-eats-unsharpened-0"]
    networks = {name: small("srresnet-x4") for name in names}
    with torch.no_grad():
        for name in ("small-x4-eats-hr-1", "small-x4-original-0"):
            networks[name].conv_last.bias.add_(0.02)
    monkeypatch.setattr(audit_targets, "zoo", lambda: dict.fromkeys(names))
    monkeypatch.setattr(families, "opened", lambda name, _architecture: networks[name])
    return networks


@pytest.fixture
def targets(trained: dict[str, nn.Module]) -> pd.DataFrame:
    return audit_targets.measure(audit_targets.default_networks(), **audit_targets.SMOKE)


def test_targets_are_compared_on_seeds_that_both_have(targets: pd.DataFrame) -> None:
    known = families.measured(targets)
    assert set(known["variant"]) == {audit_targets.TO_HR, audit_targets.LUCK} and set(known["seeds"]) == {1}


def test_luck_is_the_gain_of_another_seed(targets: pd.DataFrame) -> None:
    gains = {variant: rows["gain"].to_numpy() for variant, rows in families.measured(targets).groupby("variant")}
    # The Original of the other seed is as bright as EATS towards HR.
    assert gains[audit_targets.LUCK] == pytest.approx(-gains[audit_targets.TO_HR])


def test_a_gain_is_a_difference_of_evaluations(trained: dict[str, nn.Module], targets: pd.DataFrame) -> None:
    pairs = load_pairs("photographs", "blur", 4, images=2, crop=32)
    brighter, dark = (
        evaluate(trained[name], pairs)["psnr_rgb"].mean() for name in ("small-x4-eats-hr-1", "small-x4-original-1")
    )
    known = families.measured(targets)
    row = known[known["variant"] == audit_targets.TO_HR].set_index("degradation").loc["blur"]
    assert row["gain"] == pytest.approx(brighter - dark) and row["low"] <= row["gain"] <= row["high"]
    assert row["below"] == pytest.approx(evaluate(bicubic(4), pairs)["psnr_rgb"].mean() - dark)


def test_trainings_that_targets_lack_are_named(targets: pd.DataFrame) -> None:
    lacking = targets[targets["reason"] != ""]
    lacks = ["small-x4-eats", "small-x4-original-unsharpened"]
    assert lacking["reason"].tolist() == [f"not in the zoo: {name}" for name in lacks]
    assert "nothing to compare" in audit_targets.found(lacking)


def test_targets_are_judged_by_their_intervals(targets: pd.DataFrame) -> None:
    known = families.measured(targets)
    assert (known.loc[known["variant"] == audit_targets.TO_HR, "gain"] <= 0).all()
    assert audit_targets.verdict(targets) == "differs"
    assert audit_targets.verdict(targets.assign(low=0.01)) == "agrees so far"


def test_targets_are_drawn_and_said_with_their_seeds(targets: pd.DataFrame) -> None:
    assert (
        "1 seed; over its images better in 0" in audit_targets.found(targets)
        and len(audit_targets.draw(targets).axes) == 4
    )


@pytest.mark.usefixtures("trained")
def test_a_single_training_is_compared_with_nothing() -> None:
    alone = audit_targets.measure(("small-x4-original-1",), **audit_targets.SMOKE)
    assert alone["reason"].tolist()[-1] == "no two trainings to compare" and len(alone) == 4


def test_recipes_are_found_and_in_order() -> None:
    found = regenerate.recipes()
    assert {"tab1", "audit_eq6", "bench_eats"} <= set(found) and "printed" not in found
    tables = [name for name in found if re.fullmatch(r"tab\d+", name)]
    assert tables == sorted(tables, key=lambda name: int(name[3:]))


def test_the_runner_tells_how_recipes_fared(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(regenerate, "stem_of", lambda file, draft: tmp_path / file.stem)
    assert regenerate.regenerate(("audit_equity", "audit_submodularity"), smoke=True) == 0
    printed = capsys.readouterr().out
    assert "audit_equity" in printed and (tmp_path / "audit_submodularity.png").exists()


def test_networks_whose_pairs_tell_opposite_things_tell_nothing_together() -> None:
    cosine = np.linspace(-1, 1, 9)
    wave = np.cos(7 * cosine)
    each = [
        pd.DataFrame({"seed": seed, "cosine": cosine, "interaction": sign * cosine + wave})
        for seed, sign in ((0, 1), (1, -1))
    ]
    frame = pd.concat(each).assign(strategy="eats", layer="conv_hr", low=-1, high=1, reason="")
    r, low, high = (audit_interactions.correlations(frame)[name].item() for name in ("r", "low", "high"))
    assert r == pytest.approx(0, abs=1e-9) and (low, high) == pytest.approx((-1, 1), abs=1e-3)  # two networks, t = 12.7
    alone = audit_interactions.correlations(frame[frame["seed"] == 0]).iloc[0]
    assert alone["r"] == pytest.approx(stats.pearsonr(cosine, cosine + wave).statistic) and alone["low"] > 0


def test_equity_is_judged_where_enough_networks_are_compared() -> None:
    share = np.arange(6.0)
    frame = pd.DataFrame({"score": "shapley", "strategy": "eats", "checkpoint": list("abcdef"), "reason": ""})
    risen = frame.assign(effective_share=share, psnr=share + np.cos(share) / 9)
    assert audit_equity_vs_generalization.verdict(risen) == "agrees so far"
    sentence = audit_equity_vs_generalization.found(risen)
    assert "shapley +1.00" in sentence and sentence.endswith("; 6 networks.")
    assert "0 networks are too few" in audit_equity_vs_generalization.found(frame.assign(reason="none"))


def test_gains_by_share_are_over_the_original_that_is_trained_alike() -> None:
    frame = audit_shares.measure().set_index(["series", "degradation", "share"])["gain"]
    last = {
        name: pd.read_csv(audit_shares.LOGS / f"small-rrdbnet-x4-bf16-{name}-0.csv").set_index("step").loc[6000]
        for name in ("original", "pull-w0.02")
    }
    clean = last["pull-w0.02"]["psnr_rgb_clean"] - last["original"]["psnr_rgb_clean"]
    assert frame[audit_shares.PULLED, "clean", 20] == pytest.approx(clean)
    assert frame[audit_shares.PRINTED, "clean", 100] == pytest.approx(26.007 - 25.269, abs=1e-3)
    grown = frame.reset_index().assign(gain=lambda rows: rows["share"] / 100)
    assert audit_shares.verdict(grown) == "agrees so far" and audit_shares.verdict(frame.reset_index()) == "differs"
    assert "printed, clean: +0.20, +0.40, +0.60, +0.80, +1.00;" in audit_shares.found(grown)


def test_printed_ablations_count_as_a_reader_counts() -> None:
    six, seven = tab6.measure(networks=()), tab7.measure(networks=())
    assert "29 of 40" in tab6.found(six) and "30 of 40" in tab7.found(seven)
    shares = printed.cells(6).loc[("Set5", "clean"), list(ablation_tables.SHARES)].astype(float)
    r = np.corrcoef([0.2, 0.4, 0.6, 0.8, 1], shares)[0, 1]
    linear = tab6.linear(six, "reported_gain")
    assert linear["Set5", "clean"] == pytest.approx(r) and "r = 0.99 on clean Set5" in tab6.found(six)
    assert (tab6.verdict(six), tab7.verdict(seven)) == ("differs", "differs")
    assert six["psnr"].isna().all() and (six["reason"] != "").all() and "Trained" not in tab6.found(six)


def test_trained_ablations_stand_beside_the_printed_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [tab7.VARIANTS[variant] for variant in ("original", "nothing erased", tab7.AGAINST)]
    psnr = dict(zip(names, ([20.0, 22.0], [20.5, 22.1], [20.1, 22.5]), strict=True))
    rows = [
        {"checkpoint": name, "dataset": "Set5", "degradation": "clean", "psnr_rgb": value}
        for name, values in psnr.items()
        for value in values
    ]
    monkeypatch.setattr(ablation_tables, "load_each", lambda networks, network: dict.fromkeys(networks))
    monkeypatch.setattr(ablation_tables, "benchmark", lambda *_, **__: Benchmark(pd.DataFrame(rows), {}))
    frame = tab7.measure(networks=tuple(names))
    cell = frame[(frame["dataset"] == "Set5") & (frame["degradation"] == "clean")].set_index("variant")
    assert list(cell.loc["nothing erased", ["psnr", "gain", "over"]]) == pytest.approx([21.3, 0.3, 0.0])
    assert cell.at["nothing erased", "low"] == pytest.approx(-0.4 * stats.t.ppf(0.975, 1))  # of +0.4 and −0.4 dB
    assert cell.at["eats-3-filters", "reason"] and not cell.at[tab7.AGAINST, "reason"]
    assert cell.at[tab7.AGAINST, "reported_gain"] == pytest.approx(26.0074 - 25.2688)
    sentence = tab7.found(frame)
    assert "nothing erased +0.30 dB; eats-1-filter +0.30 dB." in sentence
    assert "nothing erased +0.000 dB (better in 0, worse in 0 of 1)." in sentence
    assert "filled: small RRDBNet" in tab7.draw(frame).get_suptitle()
    headers = tab7.texts(frame)[".md"].splitlines()[0]
    assert "| eats-1-filter | eats-1-filter, printed | eats-1-filter − printed | eats-3-filters, printed |" in headers


def test_the_cost_of_a_strategy_is_relative_to_original_on_the_same_stored_patches() -> None:
    seconds = {("original", "from a store"): 1.0, ("eats", "from a store"): 1.5, ("eats", "degraded on the way"): 3.0}
    seconds["original", "degraded on the way"] = 1.1
    slower = {"eats": 1.2, "original": 1.0}  # in the second round
    rows = [
        (strategy, patches, turn, value * slower[strategy] ** turn)
        for (strategy, patches), value in seconds.items()
        for turn in (0, 1)
    ]
    frame = pd.DataFrame(rows, columns=["strategy", "patches", "round", "seconds"])
    sentence = bench_patches.found(frame)
    assert (
        "as long as one of original (2 rounds, in brackets the least and the most): eats 1.65 (1.50 to 1.80)."
        in sentence
    )
    assert "original 1.10× (1.10 to 1.10), eats 2.00× (2.00 to 2.00)" in sentence
    assert "as long as" not in bench_patches.found(frame[frame["strategy"] == "eats"])


def test_noise_is_taken_out_of_shares() -> None:
    rng = np.random.default_rng(0)
    true = np.r_[np.full(8, 1.0), np.zeros(56)]
    noisy = [true + rng.normal(0, 0.2, 64) for _ in range(50)]
    raw, corrected = (
        np.mean([equities.MEASURES["effective_share"](values) for values in sets])
        for sets in (noisy, [equities.without_noise(values, np.full(64, 0.2)) for values in noisy])
    )
    assert 8 / 64 < corrected < raw
    assert (equities.without_noise(np.array([-3.0, 0.1]), np.array([0.0, 0.2])) == [3.0, 0.0]).all()
    with pytest.raises(InputError, match="allow more evaluations"):
        equities.without_noise(np.array([-3.0, 0.1]), np.array([np.inf, 0.2]))


def test_ctrl_c_ends_a_recipe_of_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    def cut_short(*words: object, **named: object) -> pd.DataFrame:
        return network_values(*words, **named).assign(ended="interrupted")

    monkeypatch.setattr(equities, "network_values", cut_short)
    pairs, until = load_pairs(images=1, crop=16), Until(evaluations=130)
    with pytest.raises(KeyboardInterrupt):
        equities._scored(load_network("srresnet-x4-bicubic"), pairs, ["conv_hr"], ["responses", "shapley"], until)


def test_the_cost_is_the_mean_over_layers() -> None:
    frame = training_cost.measure()
    timed = pd.read_csv(FIGURES / "bench_eats.csv").groupby("network", sort=False)["ratio"].mean()
    assert frame["ratio"].tolist() == pytest.approx(timed.tolist()) and (frame["reported"] == 1.4).all()


def test_a_claim_is_judged_by_where_it_was_found() -> None:
    found = [printed.judged(holds) for holds in ([True, True], [True, False], [False], [])]
    assert found == ["agrees so far", "partly", "differs", printed.UNKNOWN]
    assert printed.eats_over(pd.Series({"original": 1.0, "dropout": 3.0, "eats": 2.0})) == [False, True]
    assert printed.eats_over(pd.Series({"original": 1.0, "eats": 2.0})) == [True]
    assert printed.eats_over(pd.Series({"original": 1.0, "dropout": 3.0})) == []


def test_every_verdict_says_what_the_committed_numbers_do() -> None:
    """Two of them are derived from the numbers by hand."""
    verdicts = {}
    for name in regenerate.recipes():
        module = import_module(name)
        if hasattr(module, "verdict"):
            verdicts[name] = module.verdict(pd.read_csv(FIGURES / f"{name}.csv"))
    assert set(verdicts.values()) <= {"agrees", "agrees so far", "partly", "differs", printed.UNKNOWN}
    frame = pd.read_csv(FIGURES / "audit_equity.csv")
    means = frame[frame["reason"].isna()].pivot_table(index="score", columns="strategy", values="effective_share")
    claims = [means["eats"] > means["original"], means["eats"] > means["dropout"]]
    holds = [bool(one) for claim in claims for one in claim]
    assert verdicts["audit_equity"] == ("agrees so far" if all(holds) else "partly" if any(holds) else "differs")
    rates = pd.read_csv(FIGURES / "audit_reported.csv")["verdict"].eq("agrees")
    assert verdicts["audit_reported"] == ("agrees so far" if rates.all() else "partly" if rates.any() else "differs")


def test_pruning_removes_by_each_score_until_nothing_is_left() -> None:
    frame = audit_pruning.measure(**audit_pruning.SMOKE)
    assert set(frame["score"]) == set(audit_pruning.SCORES)
    ends = frame.groupby("removed")["drop"].agg(np.ptp)
    assert ends[0] == ends[32] == 0 and ends[16] > 0  # the same filters are gone, whatever the order
    everything = frame[(frame["score"] == "shapley") & (frame["removed"] == 32)].iloc[0]
    assert everything["predicted"] == pytest.approx(everything["drop_scored"], abs=1e-4)  # efficiency
    assert frame.loc[~frame["score"].isin(audit_pruning.SUMMED), "predicted"].isna().all()
    by_hand = frame[(frame["removed"] == 16) & (frame["score"] == "norm")]["drop"].mean()
    assert audit_pruning.areas(frame)["small-x4-original-0", "conv_hr", "norm"] == pytest.approx(by_hand)
    assert "of 1 layers" in audit_pruning.found(frame) and audit_pruning.draw(frame).axes
