"""Runs all recipes, updates the findings that quote them and the gallery, and prints a table of the outcomes."""

import re
from importlib import import_module
from pathlib import Path
from time import monotonic

import pandas as pd
import torch
from gallery import PAGE, gallery
from printed import UNKNOWN

from srgame.errors import InputError
from srgame.files import write_atomic
from srgame.report.recipe import defaults, make, stem_of

HERE = Path(__file__).parent
FINDINGS = HERE / "FINDINGS.md"


def recipes() -> list[str]:
    """The files that end in `run(__file__, …)`, in the order of their names and numbers."""
    names = [path.stem for path in HERE.glob("*.py") if re.search(r"^ +run\(__file__, ", path.read_text("utf-8"), re.M)]
    return sorted(names, key=lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)])


def regenerate(names: tuple[str, ...] = (), smoke: bool = False, again: bool = False) -> int:
    """Makes the recipes `names` (default: all) and prints a table; returns 1 if one could not be made, else 0.

    With `smoke` each has the tiny settings of its SMOKE and writes to figures/draft/; without, what was measured with
    the same settings is only drawn anew, unless `again`, FINDINGS.md quotes what was found, and figures/README.md shows
    all figures.
    """
    rows = []
    for name in names or recipes():
        print(f"— {name}", flush=True)
        rows.append(_row(name, smoke, again))
    if not smoke:
        write_atomic(FINDINGS, quoting(FINDINGS.read_text(encoding="utf-8")).encode())
        write_atomic(PAGE, gallery(recipes()).encode())
    print(pd.DataFrame(rows).to_string(index=False, max_colwidth=48))
    return int(any(row["paper"].startswith("failed") for row in rows))


def quoting(page: str) -> str:
    """The page with its quotations of recipes (> `name`: sentence) generated anew from the numbers of their figures."""

    def sentence(quotation: re.Match[str]) -> str:
        name = quotation["name"]
        numbers = stem_of(HERE / f"{name}.py", draft=False).with_suffix(".csv")
        if not numbers.exists():
            return quotation[0]
        return f"> `{name}`: {import_module(name).found(pd.read_csv(numbers))}"

    return re.sub(r"^> `(?P<name>\w+)`: .+$", sentence, page, flags=re.MULTILINE)


def _row(name: str, smoke: bool, again: bool) -> dict[str, str]:
    start, threads = monotonic(), torch.get_num_threads()
    changed: dict[str, object] = {}
    try:
        module = import_module(name)
        changed = getattr(module, "SMOKE", {}) if smoke else {}
        stem = stem_of(HERE / f"{name}.py", draft=smoke)
        texts = getattr(module, "texts", None)
        found = getattr(module, "found", None)
        make(stem, module.measure, module.draw, defaults(module.measure) | changed, again or smoke, found, texts)
        frame = pd.read_csv(stem.with_suffix(".csv"))
        paper = module.verdict(frame) if hasattr(module, "verdict") else UNKNOWN
    except InputError as error:
        paper = f"failed: {error}"
    finally:
        torch.set_num_threads(threads)
    settings = ", ".join(f"{key}={value}" for key, value in changed.items()) or "defaults"
    return {"recipe": name, "seconds": f"{monotonic() - start:.1f}", "paper": paper, "settings": settings}
