"""The reference turns parameters into lists."""

import pytest


def test_the_reference_lists_parameters() -> None:
    pytest.importorskip("pdoc", reason="no pdoc (pip install -e '.[dev]')")
    from docs.__main__ import itemised

    text = itemised("What it does: much.\n\n    seed: seed of it.\n    low, high: the ends.\n")
    assert text == "What it does: much.\n\n\n- **seed**: seed of it.\n- **low, high**: the ends."
