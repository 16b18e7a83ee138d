"""The page as a file: complete in itself, of a limited size, and deaf to what names contain."""

import base64
import io
import re
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from srgame.atlas.cells import Atlas
from srgame.atlas.maps import Maps
from srgame.atlas.measure import Sample, measured
from srgame.atlas.page import data_in, page_of, restyled
from srgame.errors import InputError
from srgame.networks import SRResNet
from srgame.report.recipe import FILES, defaults
from srgame.shapley.until import Until

FIGURE = Path(__file__).parents[2] / "figures" / "atlas.html"
EVIL = "</script><script>alert(1)</script>{{ style }} \u2028 & <img src=x onerror=alert(2)>"


@pytest.fixture(scope="module")
def atlas(small: SRResNet) -> Atlas:
    return measured({EVIL: small}, ["conv_hr"], Sample(images=1, crop=48), until=Until(evaluations=300))


def decoded(sheet: dict[str, str]) -> np.ndarray:
    content = base64.b64decode(sheet["src"].partition(",")[2])
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)


def test_a_page_loads_nothing_from_elsewhere(atlas: Atlas) -> None:
    page = page_of(atlas, {})
    assert "default-src 'none'" in page and not re.search(r"""(src|href)=["']?(https?:)?//|@import|url\(""", page)
    addresses = set(re.findall(r"https?://[^\s\"']+", page))
    assert addresses == {"http://www.w3.org/2000/svg"}


def test_names_never_become_part_of_the_html(atlas: Atlas) -> None:
    page = page_of(atlas, {"settings": {"note": EVIL}})
    assert "alert(1)</script>" not in page and "<img" not in page and "\u2028" not in page.partition("</head>")[2]
    assert page.count("</script>") == 2 and page.count("<style>") == 1 and "&lt;script&gt;alert(1)" in page
    assert data_in(page)["checkpoints"] == [EVIL] and data_in(page)["made"]["settings"]["note"] == EVIL


def test_maps_shrink_until_the_page_is_small_enough(atlas: Atlas) -> None:
    large = page_of(atlas, {})
    small = page_of(atlas, {}, megabytes=len(large) / 1e6 * 0.8)
    sides = [data_in(page)["cells"][0]["maps"]["astronaut"]["feature"]["width"] for page in (large, small)]
    assert sides[0] == 48 > sides[1] and len(small) <= 0.8 * len(large)
    with pytest.raises(InputError, match=r"0\.01 MB"):
        page_of(atlas, {}, megabytes=0.01)


def test_a_sheet_holds_the_map_of_each_filter(atlas: Atlas) -> None:
    page, maps = page_of(atlas, {}), atlas.cells[0].maps["astronaut"]
    for kind, sheet in data_in(page)["cells"][0]["maps"]["astronaut"].items():
        levels, own = decoded(sheet), maps[kind]
        assert np.allclose(sheet["peaks"], own.peaks, rtol=1e-6) and sheet["signed"] == (kind != "salience")
        for k in range(8):
            row, column = divmod(k, sheet["columns"])
            tile = levels[row * 48 : row * 48 + 48, column * 48 : column * 48 + 48]
            assert np.abs(tile.astype(int) - own.levels[k]).mean() < 8  # lossy


@pytest.mark.parametrize("signed", [True, False])
def test_levels_run_from_minus_the_peak_to_the_peak(signed: bool) -> None:
    maps = torch.rand(3, 5, 7, generator=torch.Generator().manual_seed(0)) - (0.5 if signed else 0)
    maps[2] = 0
    stored = Maps.of(maps, signed)
    again = stored.levels / 255 * (2 if signed else 1) - signed
    assert np.allclose(again * stored.peaks[:, None, None], maps.numpy(), atol=1 / 255)
    assert stored.peaks[2] == 0


def test_a_large_map_is_shrunk_by_averaging() -> None:
    maps = torch.rand(1, 512, 256, generator=torch.Generator().manual_seed(0))
    stored = Maps.of(maps, signed=False)
    assert stored.levels.shape == (1, 128, 64)
    means = maps[0].reshape(128, 4, 64, 4).mean((1, 3)).numpy()
    assert np.allclose(stored.levels[0] / 255 * stored.peaks[0], means, atol=1 / 255)


def test_the_page_shows_the_numbers_of_the_table(atlas: Atlas) -> None:
    (cell,), frame = data_in(page_of(atlas, {}))["cells"], atlas.frame()
    for name, values in cell["filters"].items():
        if name != "flag":
            assert np.allclose([np.nan if v is None else v for v in values], frame[name], rtol=1e-6, equal_nan=True)
    assert cell["summary"]["worth"] == pytest.approx(frame["shapley"].sum(), abs=1e-5)


def test_the_recipe_makes_a_page_a_picture_and_a_sentence() -> None:
    import atlas as recipe

    frame = recipe.measure(**recipe.SMOKE)
    data = data_in(frame.attrs[FILES][".html"].decode())
    assert data["checkpoints"] == list(recipe.NETWORKS) and data["made"]["settings"]["crop"] == recipe.SMOKE["crop"]
    again = pd.read_csv(io.StringIO(frame.to_csv(index=False)))
    assert len(recipe.draw(again).axes) == 1
    harmful = (frame["checkpoint"] == recipe.NETWORKS[0]) & (frame["high"] < 0)
    assert f"in {recipe.NETWORKS[0]}, and {harmful.sum()} do harm" in recipe.found(again)


def test_the_committed_page_has_the_numbers_and_the_template_of_today() -> None:
    import atlas as recipe

    page = FIGURE.read_text(encoding="utf-8")
    assert FIGURE.stat().st_size <= defaults(recipe.measure)["megabytes"] * 1e6
    assert page == restyled(page), "the template has changed: analyses/README.md says how the page gets the new one"
    frame = pd.read_csv(FIGURE.with_suffix(".csv"))
    for cell in data_in(page)["cells"]:
        at = frame[["checkpoint", "degradation", "layer"]] == [cell["checkpoint"], cell["degradation"], cell["layer"]]
        own = frame[at.all(axis=1)]
        assert len(own) == cell["width"] and np.allclose(own["shapley"], cell["filters"]["shapley"], rtol=1e-6)
