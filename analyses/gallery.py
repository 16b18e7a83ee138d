"""The page figures/README.md: each figure with its question, its answer and its command."""

import json
from importlib import import_module
from inspect import cleandoc
from pathlib import Path

from srgame.report.recipe import stem_of

HERE = Path(__file__).parent
PAGE = HERE.parent / "figures" / "README.md"
HEAD = """# Figures

`python -m analyses` writes this page. The numbers of each figure are in the csv of its name, its settings in the json.
[analyses/README.md](../analyses/README.md) lists the commands, [analyses/FINDINGS.md](../analyses/FINDINGS.md) says
what follows for the paper's claims.
"""


def gallery(names: list[str]) -> str:
    """The page, with a section for each recipe of `names` whose figure is there."""
    there = [name for name in names if _json(name).exists()]
    return "\n".join([HEAD, *(_section(name) for name in there)])


def _json(name: str) -> Path:
    return stem_of(HERE / f"{name}.py", draft=False).with_suffix(".json")


def _section(name: str) -> str:
    question = " ".join(cleandoc(import_module(name).__doc__ or "").split("\n\n")[0].split())
    answer = json.loads(_json(name).read_text(encoding="utf-8")).get("caption", "")
    lines = [f"## {name}", f"**{question}**", f"![{question}]({name}.png)", answer, f"`python analyses/{name}.py`"]
    return "\n\n".join(line.replace("|", "\\|") for line in lines if line) + "\n"
