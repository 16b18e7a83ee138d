"""The findings quote what the figures' numbers say."""

import inspect
import json
import re
from importlib import import_module
from pathlib import Path

import gallery
import pandas as pd
import pytest
import regenerate

from srgame.report.recipe import HELP

FIGURES = Path(__file__).parents[2] / "figures"
QUOTED = re.findall(r"^> `(\w+)`: (.+)$", regenerate.FINDINGS.read_text(encoding="utf-8"), re.MULTILINE)
# In the gallery only: FINDINGS.md says in its own words what follows from the printed tables, and pictures of single
# networks prove no claim.
GALLERY_ONLY = {"audit_gains", "audit_reported", "fig3_csm", "fig5_visual", "fig10_17"}


@pytest.mark.parametrize(("name", "sentence"), QUOTED, ids=[name for name, _ in QUOTED])
def test_a_quoted_sentence_is_the_one_that_the_numbers_make(name: str, sentence: str) -> None:
    assert regenerate.quoting(f"# 1\n\n> `{name}`: old.\n\n> more\n") == f"# 1\n\n> `{name}`: {sentence}\n\n> more\n"


def test_every_recipe_that_answers_a_claim_of_the_paper_is_quoted() -> None:
    of_paper = [name for name in regenerate.recipes() if re.match("fig|tab|audit|training", name)]
    finding = {name for name in of_paper if hasattr(import_module(name), "found")}
    silent = {name for name in finding if not import_module(name).found(pd.read_csv(FIGURES / f"{name}.csv"))}
    quoted = {name for name, _ in QUOTED}
    assert finding - silent - GALLERY_ONLY <= quoted <= finding - silent
    assert finding >= GALLERY_ONLY


def test_every_recipe_has_an_answer_in_the_gallery() -> None:
    assert all(hasattr(import_module(name), "found") for name in regenerate.recipes())


def test_the_gallery_shows_every_figure_with_its_question_answer_and_command() -> None:
    page = gallery.PAGE.read_text(encoding="utf-8")
    assert page == gallery.gallery(regenerate.recipes()), "python -m analyses"
    for name in regenerate.recipes():
        assert f"]({name}.png)" in page and f"`python analyses/{name}.py`" in page


@pytest.mark.parametrize("name", regenerate.recipes())
def test_a_title_has_two_lines_at_most_and_the_caption_begins_with_what_was_found(name: str) -> None:
    source = json.loads((FIGURES / f"{name}.json").read_text(encoding="utf-8"))
    assert source["title"].count("\n") <= 1 and all(len(line) <= 125 for line in source["title"].split("\n"))
    if hasattr(module := import_module(name), "found"):
        assert source["caption"].startswith(module.found(pd.read_csv(FIGURES / f"{name}.csv")))


def test_every_flag_of_a_recipe_has_help() -> None:
    flags = {
        flag for name in regenerate.recipes() for flag in inspect.signature(import_module(name).measure).parameters
    }
    assert flags <= set(HELP)


def test_every_committed_figure_has_a_recipe_and_a_line_in_the_readme() -> None:
    page = (regenerate.HERE / "README.md").read_text(encoding="utf-8")
    committed = {path.stem for path in FIGURES.glob("*.json")} - {"shapley"}  # made by `srgame shapley`
    assert committed == set(regenerate.recipes())
    assert {name for name in committed if f"`{name}`" not in page} <= {"tab2", "tab3", "tab4"}  # `tab1` … `tab5`
