"""The paper's printed numbers as they stand in the repository, and the audit of them."""

import audit_gains
import audit_reported
import gains as gains_module
import pandas as pd
import pytest
from printed import cells, printed

from srgame.data.degradations.testing import SETTINGS

SETS = ["Set5", "Set14", "BSD100", "Urban100", "Manga109"]
ROWS = {1: 4, 2: 4, 3: 4, 4: 4, 5: 3, 6: 6, 7: 4}


@pytest.mark.parametrize("table", ROWS)
def test_a_printed_table_is_complete(table: int) -> None:
    frame = cells(table)
    assert frame.shape == (40, ROWS[table]) and frame.notna().all(axis=None)
    assert frame.index.tolist() == [(dataset, setting) for dataset in SETS for setting in SETTINGS]
    assert len(printed(f"table{table}")) == 40 * ROWS[table]


def test_known_cells() -> None:
    assert cells(1).loc[("Set5", "clean")].tolist() == [24.9697, 25.6368, 25.7532, 0.7835]
    assert cells(4).loc[("Manga109", "b+n+j"), "eats"] == 20.3086
    assert cells(5).loc[("Set14", "b+n+j"), "improvement"] == 0.0012
    assert cells(6).loc[("Urban100", "noise"), "eats-40%"] == 19.7038
    assert cells(7).loc[("Manga109", "b+j"), "eats-3-filters"] == 19.9487


def test_all_200_improvements_are_eats_minus_original() -> None:
    for table in range(1, 6):
        frame = cells(table)
        assert (frame["eats"] - frame["original"]).to_numpy() == pytest.approx(
            frame["improvement"].to_numpy(), abs=6e-5
        )


@pytest.fixture(scope="module")
def gains() -> pd.DataFrame:
    return audit_gains.measure(sets=("photographs",), images=1)


def test_gains_stand_beside_bicubic_only_where_it_is_measured(gains: pd.DataFrame) -> None:
    assert len(gains) == 160 and gains["bicubic"].isna().all()
    rows = gains[gains["table"] == 1]
    assert audit_gains.correlation(rows, "gain_dropout", "gain_eats") == pytest.approx(0.989, abs=5e-4)
    assert pd.isna(audit_gains.correlation(rows, "bicubic_minus_original", "gain_eats"))


def test_the_audit_finds_what_a_reader_finds(monkeypatch: pytest.MonkeyPatch, gains: pd.DataFrame) -> None:
    known = gains.assign(bicubic=gains["original"] + 1, bicubic_minus_original=gains["gain_eats"])
    monkeypatch.setattr(gains_module, "measure", lambda *_: known)
    frame = audit_reported.measure()
    found = {(row.where, row.claim): (row.found, row.verdict) for row in frame.itertuples()}
    assert found["Tables 1–5", "Improvement is EATS − Original"] == (200, "agrees")
    assert found["A, Table 4", "RRDBNet ×2: EATS − Original, largest"] == (1.4679, "differs")
    assert found["4.3.2, Table 1", "SRResNet ×4: EATS − Original, largest"] == (0.7835, "agrees")
    assert [found[f"Table {t}", "“consistent”: EATS below Dropout"][0] for t in (1, 2, 3, 4)] == [2, 9, 15, 19]
    assert found["Table 6", "EATS as in Table 2: Manga109, clean"] == (18.9220, "differs")
    assert found["F, Table 7", "“decline”: 3 filters above 1"] == (30, "differs")
    assert found["Table 6", "all layers are best"] == (29, "found")
    assert found["Table 2", "bicubic, measured, above Original"] == (40, "found")
    assert found["Table 1, Set5", "gain of EATS and bicubic − Original"] == (pytest.approx(1), "found")
    assert frame["sentence"].str.endswith(".").all() and not frame["sentence"].str.contains("nan").any()
    assert len(audit_reported.draw(frame).axes) == len(audit_gains.draw(known).axes) - 7 == 1
