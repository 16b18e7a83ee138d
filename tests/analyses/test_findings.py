"""The findings quote what the figures' numbers say."""

import re
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest
import regenerate

FIGURES = Path(__file__).parents[2] / "figures"
QUOTED = re.findall(r"^> `(\w+)`: (.+)$", regenerate.FINDINGS.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize(("name", "sentence"), QUOTED, ids=[name for name, _ in QUOTED])
def test_a_quoted_sentence_is_the_one_that_the_numbers_make(name: str, sentence: str) -> None:
    assert regenerate.quoting(f"# 1\n\n> `{name}`: old.\n\n> more\n") == f"# 1\n\n> `{name}`: {sentence}\n\n> more\n"


def test_every_recipe_that_finds_something_of_the_paper_is_quoted() -> None:
    of_paper = [name for name in regenerate.recipes() if re.match("fig|tab|audit|training", name)]
    finding = {name for name in of_paper if hasattr(import_module(name), "found")}
    silent = {name for name in finding if not import_module(name).found(pd.read_csv(FIGURES / f"{name}.csv"))}
    assert finding - silent == {name for name, _ in QUOTED}
