"""The tutorials run from top to bottom, and the reference turns parameters into lists."""

import ast
import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[1] / "srgame" / "docs"
TINY = {
    "audit_your_checkpoint": 'CHECKPOINT, DATASET, CROP, LAYER = "small-x4-eats-0", "photographs", 24, "conv_hr"',
    "train_and_compare": "STEPS, FEATURES, BLOCKS, PATCH, BATCH, CROP = 3, 4, 1, 16, 2, 48",
}


def assigned(source: str) -> set[str]:
    """The names that the code sets."""
    names = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)]
    return {name.id for name in names if isinstance(name.ctx, ast.Store)}


def test_every_notebook_is_run_here() -> None:
    assert {path.stem for path in DOCS.glob("*.ipynb")} == set(TINY)


@pytest.fixture(scope="module")
def kernel() -> Iterator[Any]:
    """One kernel for all notebooks, since its imports take most of the time; each begins without names."""
    pytest.importorskip("ipykernel", reason="no ipykernel (pip install -e '.[dev]')")
    manager = pytest.importorskip("jupyter_client").AsyncKernelManager(kernel_name="python3")
    asyncio.run(manager.start_kernel())
    yield manager
    asyncio.run(manager.shutdown_kernel(now=True))


@pytest.mark.parametrize("name", TINY)
def test_a_notebook_runs_with_tiny_settings(name: str, kernel: Any) -> None:
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient").NotebookClient
    notebook = nbformat.read(DOCS / f"{name}.ipynb", as_version=4)
    (settings,) = [cell for cell in notebook.cells if "settings" in cell.metadata.get("tags", ())]
    assert assigned(settings.source) == assigned(TINY[name])
    settings.source = TINY[name]
    notebook.cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))
    client(notebook, km=kernel, timeout=300).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    kinds = [kind for output in shown for kind in output.get("data", ())]
    assert kinds.count("image/png") >= 1 and kinds.count("text/html") >= 3
    assert not [output for output in shown if output.output_type == "error"]


def test_the_reference_lists_parameters() -> None:
    pytest.importorskip("pdoc", reason="no pdoc (pip install -e '.[dev]')")
    from srgame.docs.__main__ import itemised

    text = itemised("What it does: much.\n\n    seed: seed of it.\n    low, high: the ends.\n")
    assert text == "What it does: much.\n\n\n- **seed**: seed of it.\n- **low, high**: the ends."
