"""Runs that are killed, starved or fed damage, each kind a few times; analyses/bench_faults.py does it at length."""

import bench_faults
import pandas as pd
import pytest
from matplotlib.figure import Figure
from odd_networks import HABITS


@pytest.fixture(scope="module")
def faults() -> pd.DataFrame:
    """A row for each fault and target, with the number of trials by their outcome."""
    return bench_faults.measure(**bench_faults.SMOKE)


def test_each_fault_has_all_its_targets(faults: pd.DataFrame) -> None:
    targets = {fault: set(rows["what"].str.split(",").str[0]) for fault, rows in faults.groupby("fault")}
    verbs = {"train", "shapley", "evaluate"}
    for fault in ("killed at a random moment", "disk full", "memory short", "two runs in one folder"):
        assert targets[fault] == verbs
    assert targets["folder read-only"] == verbs | {"interactions", "probe", "degrade"}
    assert targets["image unusable"] == {"zero bytes", "1×1", "CMYK", "animated", "bomb"}
    assert len(targets["file damaged"]) == 9 and len(targets["image damaged"]) == 6
    assert targets["network misbehaves"] == set(HABITS) and len(targets["pair misfits"]) == 4
    assert len(targets["output unusable"]) == 7 and len(targets["folder with side files"]) == 5
    assert len(targets["checkpoint of another layout, damaged"]) == 12 and len(targets["image transparent"]) == 5
    assert targets["image too small for a score"] == {"for PSNR", "for SSIM"}


def test_no_fault_ends_in_a_traceback(faults: pd.DataFrame) -> None:
    assert not faults["traceback"].any(), faults[faults["traceback"] > 0].to_string()


def test_no_fault_changes_a_number_without_a_word(faults: pd.DataFrame) -> None:
    wrong, noted = faults[faults["wrong"] > 0], faults[faults["noted"] > 0]
    assert (noted.loc[noted["fault"] != "file damaged", "what"].isin(["returns NaN", "for PSNR", "for SSIM"])).all()
    noted = noted[noted["fault"] == "file damaged"]
    assert (wrong["fault"] == "image damaged").all(), wrong.to_string()  # a damaged pixel is a pixel
    for rows in (wrong, noted):
        assert rows["what"].str.contains("no checksum").all(), rows.to_string()


def test_who_was_killed_goes_on_to_the_same_result(faults: pd.DataFrame) -> None:
    killed = faults[faults["fault"] == "killed at a random moment"]
    assert (killed["harmless"] == killed["trials"]).all()


def test_what_cannot_be_done_is_refused(faults: pd.DataFrame) -> None:
    impossible = faults[faults["fault"].isin(["folder read-only", "image unusable", "pair misfits"])]
    assert (impossible["refused"] == impossible["trials"]).all()


def test_odd_input_changes_no_result(faults: pd.DataFrame) -> None:
    odd = faults[faults["fault"].isin(["folder with side files", "image transparent"])]
    odd = pd.concat([odd, faults[faults["what"].isin(set(HABITS) - {"returns NaN", "fails at every size"})]])
    assert len(odd) == 5 + 5 + 5 and (odd["harmless"] == odd["trials"]).all(), odd.to_string()


def test_the_picture_shows_every_row(faults: pd.DataFrame) -> None:
    figure = bench_faults.draw(faults)
    assert isinstance(figure, Figure) and len(figure.axes[0].get_yticks()) == len(faults)
