"""The sentences of benchmarks, audits of printed tables and pictures, on frames whose answers are known by hand."""

import audit_gains
import audit_reported
import bench_coverage
import bench_eats
import bench_faults
import bench_multilevel
import bench_probes
import bench_resume
import bench_training
import cluster_cost
import fig3_csm
import fig5_visual
import fig10_17
import gains
import numpy as np
import pandas as pd
import pytest
from rasters import raster
from trials import OUTCOMES


@pytest.fixture
def printed_gains() -> pd.DataFrame:
    """On four settings EATS gains a tenth of bicubic − Original, and Dropout the opposite; noise and BSD100 do not."""
    below = np.array([-1.0, 0.0, 1.0, 2.0, 9.0])
    frame = pd.DataFrame({"degradation": ["clean", "blur", "jpeg", "b+n", "noise"], "bicubic_minus_original": below})
    frame = frame.assign(gain_eats=[-0.1, 0.0, 0.1, 0.2, 0.0], gain_dropout=[0.1, 0.0, -0.1, -0.2, 0.0])
    unmeasured = frame.assign(dataset="BSD100", bicubic=np.nan, bicubic_minus_original=np.nan)
    return pd.concat([frame.assign(dataset="Set5", bicubic=25.0), unmeasured]).assign(
        table=1, network="srresnet", scale=4
    )


def test_gains_of_eats_and_dropout_stand_beside_each_other(printed_gains: pd.DataFrame) -> None:
    sentence = audit_gains.found(printed_gains)
    assert "−1.00 in Table 1 (+0.08 dB)" in sentence  # (0.2 + 0.2) / 5 more on average
    assert "Set5 without noise, 4 cells a table" in sentence
    assert sentence.endswith("Table 1 EATS 1.00 and 0.10, Dropout −1.00 and −0.10.")
    assert audit_gains.found(printed_gains[printed_gains["dataset"] == "BSD100"]).endswith("Table 1 (+0.08 dB).")


def test_a_slope_is_that_of_the_least_squares_line_and_unknown_for_two_points() -> None:
    rows = pd.DataFrame({"x": [0.0, 1.0, 2.0, np.nan], "y": [0.0, 1.0, 5.0, 9.0]})
    assert gains.slope(rows, "x", "y") == pytest.approx(2.5)  # cov = 5 / 3, var = 2 / 3
    assert np.isnan(gains.slope(rows.head(2), "x", "y"))


def test_the_audit_writes_dropout_beside_eats(printed_gains: pd.DataFrame) -> None:
    both = pd.concat([printed_gains.assign(table=table) for table in gains.TABLES])
    fits = {(one["where"], one["claim"]): one["found"] for one in audit_reported._correlations(both)}
    of_table = {claim: value for (where, claim), value in fits.items() if where == "Table 2, Set5"}
    assert of_table == pytest.approx(
        {
            "gain of EATS and bicubic − Original": 1.0,
            "gain of EATS and bicubic − Original: slope": 0.1,
            "gain of Dropout and bicubic − Original": -1.0,
            "gain of Dropout and bicubic − Original: slope": -0.1,
        }
    )


def test_checks_are_counted_by_what_a_number_is_checked_against() -> None:
    rows = [
        ("Table 3, Set5", "blur changes PSNR: equal cells", "differs"),
        ("A, Table 4", "RRDBNet ×2: EATS − Original, largest", "agrees"),
        ("Table 1", "“consistent”: EATS below Dropout", "differs"),
        ("Table 1, Set5", "clean: Original, beside Reflash Dropout's", "agrees"),
        ("Table 1, Set5", "(b+n) − noise, beside bicubic's", "differs"),
        ("Table 1", "bicubic, measured, above Original", "found"),
    ]
    sentence = audit_reported.found(pd.DataFrame(rows, columns=["where", "claim", "verdict"]))
    assert "in 2 of 5 checks: 0 of 1 among the tables, 1 of 2 between tables and text" in sentence
    assert sentence.endswith("1 of 1 with published numbers, 0 of 1 with bicubic upsampling.")


def test_coverage_is_the_median_and_its_worst_game_is_named() -> None:
    rows = [("a", 12, 0.90, 0.94, False), ("b", 12, 0.96, 0.96, False), ("b", 24, 0.97, 0.97, False)]
    rows += [("c", 12, 0.0, 0.0, True)]  # exact: not counted
    frame = pd.DataFrame(rows, columns=["game", "replicates", "coverage", "honest", "exact"])
    sentence = bench_coverage.found(frame.assign(estimator="multilevel"))
    assert "multilevel 96.0% (94.0%: a, 12 replicates)." in sentence


def test_a_step_of_eats_is_the_mean_over_layers_with_its_ends() -> None:
    frame = pd.DataFrame({"layer": ["first", "middle", "last"], "ratio": [2.0, 1.6, 1.2], "limit": [2.0, 1.5, 1.0]})
    sentence = bench_eats.found(frame.assign(network="net"))
    assert sentence.endswith(": net 1.60 (limit 1.50; 1.20 at last to 2.00 at first).")


def test_trials_are_counted_and_bad_outcomes_are_placed() -> None:
    counts = [
        dict.fromkeys(OUTCOMES, 0) | some for some in ({"harmless": 900, "noted": 300}, {"refused": 2, "wrong": 3})
    ]
    frame = pd.DataFrame(counts).assign(fault=["killed", "image damaged"], what=["train", "JPEG"], trials=[1200, 5])
    sentence = bench_faults.found(frame)
    assert sentence.startswith("Of 1,205 trials, 900 gave the undisturbed result, 2 were refused in a sentence, 300 ")
    assert sentence.endswith("0 ended in a traceback, crashed or hung, 3 gave another result without a note "
                             "(image damaged: JPEG).")  # fmt: skip


def test_games_are_counted_where_the_multilevel_estimator_is_cheaper_and_exact_ones_are_not() -> None:
    frame = pd.DataFrame({"layer": ["all", "conv", "conv", "sum"], "payoff": "psnr", "gain": [20.0, 0.5, 0.25, 3.0]})
    errors = {"permutations_error": [0.1, 0.1, 0.1, 1e-8], "multilevel_error": [0.1, 0.1, 0.1, 1e-9]}
    sentence = bench_multilevel.found(frame.assign(**errors))
    assert "in 1 of 3 games whose errors are more than rounding: all layers, psnr (20 times fewer)." in sentence
    assert sentence.endswith("it needs 2.0 to 4.0 times as many.")
    assert bench_multilevel.found(frame.head(1).assign(permutations_error=1.0, multilevel_error=1.0)).endswith(
        "fewer)."
    )


def test_the_memory_of_a_probe_grows_from_the_fewest_images_to_the_most() -> None:
    rows = [
        ("bare", 5, np.nan, 500.0),
        ("bare", 100, 1.0, 520.0),
        ("cosine", 100, 1.25, 530.0),
        ("cosine", 5, np.nan, 533.0),
    ]
    frame = pd.DataFrame(rows, columns=["probe", "images", "ratio", "peak_mib"])
    sentence = bench_probes.found(frame.assign(seconds=frame["ratio"] * 9))
    assert "on 100 images relative to bare forward passes: cosine 1.25." in sentence
    assert sentence.endswith("from 5 to 100 images, in MiB: bare passes +20, cosine −3; at most 533 MiB are used.")


def test_what_resuming_saves_is_one_minus_the_ratio() -> None:
    sentence = bench_resume.found(pd.DataFrame({"network": "net", "ratio": [1.1, 0.6, 0.1]}))
    assert sentence.endswith("mean over layers: net 40% (−10% to 90% over 3 layers).")


def test_the_loop_is_compared_with_eager_float32() -> None:
    rows = [("float32", 2.0, np.nan), ("bfloat16", 1.5, np.nan)]
    rows += [(bench_training.ON_ONE_BATCH, 0.5, 0.0), (bench_training.ON_PATCHES, 1.0, 0.025)]
    frame = pd.DataFrame(rows, columns=["way", "seconds", "waiting"]).assign(preset="paper", device="cpu", threads=2)
    sentence = bench_training.found(frame)
    assert sentence.startswith("On cpu, 2 threads. paper: 2.00 s per step in the eager float32 loop, 0.50 s")
    assert "(4.0 times faster), 1.00 s" in sentence and "(2.0 times; 2.50% of it waiting" in sentence


def test_projected_hours_are_in_the_caption_and_not_in_the_title() -> None:
    hours = [("hours", 8.0, 1), ("hours", 1.5, 8), ("hours", 0.5, 64)]
    only = [("GPU sustains", 2e13, np.nan), ("most GPUs at half efficiency", 1234.0, np.nan)]
    frame = pd.DataFrame([*hours, *only], columns=["quantity", "value", "gpus"]).assign(layer=np.nan)
    sentence = cluster_cost.found(frame)
    assert "takes 8 h on 1, 1.5 h on 8, 0.5 h on 64 GPUs, assuming 20 TFLOP/s each" in sentence
    assert sentence.endswith("above 1,234 GPUs.")


def test_filters_that_share_equally_are_all_effective() -> None:
    scores = pd.DataFrame({"map": fig3_csm.SCORES, "filter": [0, 1], "salience": [3.0, 3.0]})
    maps = [
        raster(np.full((1, 2, 1), value), -1, 1).assign(map="feature", filter=number)
        for number, value in enumerate((1.0, 0.0039))  # the second filter responds with one 255th
    ]
    frame = pd.concat([scores, *maps]).assign(strategy="eats", layer="conv", checkpoint="net", reason=np.nan)
    assert fig3_csm.found(frame).startswith("Effective filters of 2 at conv, by salience")
    assert fig3_csm.found(frame).endswith("shown): eats 2.0 (1.0).")
    assert fig3_csm.found(frame.assign(reason="not in the zoo: net")) == ""


@pytest.fixture
def crops() -> pd.DataFrame:
    """A network 1 dB above bicubic upsampling on clean and 2 dB below it on noise; each crop has two lines."""
    rows = [("HR", "clean", np.nan, np.nan), ("bicubic", "clean", 20.0, 100.0), ("eats", "clean", 21.0, 30.0)]
    rows += [("bicubic", "noise", 15.0, 100.0), ("eats", "noise", 13.0, 40.0)]
    frame = pd.DataFrame(rows, columns=["strategy", "degradation", "psnr", "to_bicubic"]).assign(pixels="AA==")
    lacking = pd.DataFrame([{"strategy": "dropout", "degradation": "clean", "reason": "not in the zoo: x"}])
    return pd.concat([frame, frame, lacking]).assign(family="small-x4")


def test_crops_are_compared_with_bicubic_upsampling_under_the_same_setting(crops: pd.DataFrame) -> None:
    sentence = fig10_17.found(crops)
    assert "means of 2 settings" in sentence and "dropout" not in sentence
    assert sentence.endswith(": eats: −0.50 (−2.00 to +1.00) and 35.0 dB (30.0 to 40.0).")
    clean = fig5_visual.found(crops[crops["degradation"] == "clean"])
    assert clean.endswith("eats: +1.00 and 30.0 dB.") and "nan" not in clean


def test_without_networks_the_pictures_say_nothing(crops: pd.DataFrame) -> None:
    lacking = crops[crops["strategy"] != "eats"]
    assert fig5_visual.found(lacking) == fig10_17.found(lacking) == ""
