"""Tables as text: Markdown for a page, LaTeX (booktabs) for a paper."""

from collections.abc import Sequence

import pandas as pd

LATEX = str.maketrans({"&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_", "$": r"\$", "−": "$-$", "×": r"$\times$"})


def texts(table: pd.DataFrame) -> dict[str, str]:
    """The table by the suffix of its file, with columns of texts and numbers; numbers have two decimals."""
    rows = [[_cell(value) for value in row] for row in table.itertuples(index=False)]
    return {".md": _markdown(list(table.columns), rows), ".tex": _latex(list(table.columns), rows)}


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:.2f}".replace("-", "−")
    return str(value)


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _latex(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    body = [" & ".join(cell.translate(LATEX) for cell in row) + r" \\" for row in (columns, *rows)]
    begin = rf"\begin{{tabular}}{{ll{'r' * (len(columns) - 2)}}}"
    return "\n".join([begin, r"\toprule", body[0], r"\midrule", *body[1:], r"\bottomrule", r"\end{tabular}", ""])
