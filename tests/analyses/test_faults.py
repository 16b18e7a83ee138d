"""Runs that are killed, starved or fed damage, each kind a few times; analyses/bench_faults.py does it at length."""

import bench_faults
import pandas as pd
import pytest
from matplotlib.figure import Figure

pytestmark = pytest.mark.xdist_group("faults")  # in one process, which measures once


@pytest.fixture(scope="module")
def faults() -> pd.DataFrame:
    """A row for each fault and what it befell, with the number of trials by their outcome."""
    return bench_faults.measure(**bench_faults.SMOKE)


def test_each_fault_befell_all_that_it_can(faults: pd.DataFrame) -> None:
    befallen = {fault: set(rows["what"].str.split(",").str[0]) for fault, rows in faults.groupby("fault")}
    verbs = {"train", "shapley", "evaluate"}
    for fault in ("killed at a random moment", "disk full", "memory short", "two runs in one folder"):
        assert befallen[fault] == verbs
    assert befallen["folder read-only"] == verbs | {"interactions", "probe", "degrade"}
    assert befallen["image unusable"] == {"zero bytes", "1×1", "CMYK", "animated", "bomb"}
    assert len(befallen["file damaged"]) == 9 and len(befallen["image damaged"]) == 6


def test_no_fault_ends_in_a_traceback(faults: pd.DataFrame) -> None:
    assert not faults["traceback"].any(), faults[faults["traceback"] > 0].to_string()


def test_no_fault_changes_a_number_without_a_word(faults: pd.DataFrame) -> None:
    wrong, noted = faults[faults["wrong"] > 0], faults[faults["noted"] > 0]
    for rows, only in ((wrong, "image damaged"), (noted, "file damaged")):  # a damaged pixel is a pixel
        assert (rows["fault"] == only).all() and rows["what"].str.contains("no checksum").all(), rows.to_string()


def test_who_was_killed_goes_on_to_the_same_result(faults: pd.DataFrame) -> None:
    killed = faults[faults["fault"] == "killed at a random moment"]
    assert (killed["harmless"] == killed["trials"]).all()


def test_what_cannot_be_done_is_refused(faults: pd.DataFrame) -> None:
    impossible = faults[faults["fault"].isin(["folder read-only", "image unusable"])]
    assert (impossible["refused"] == impossible["trials"]).all()


def test_the_picture_shows_every_row(faults: pd.DataFrame) -> None:
    figure = bench_faults.draw(faults)
    assert isinstance(figure, Figure) and len(figure.axes[0].get_yticks()) == len(faults)
