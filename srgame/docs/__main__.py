"""`python -m srgame.docs` writes the reference of the public names to srgame/docs/reference; warnings are errors."""

import inspect
import re
import warnings
from pathlib import Path

import pdoc

import srgame

HERE = Path(__file__).parent
PARAMETER = re.compile(r"^([a-z_]+(?:, [a-z_]+)*): ", re.MULTILINE)


def itemised(docstring: str) -> str:
    """The docstring in Markdown: a line such as "seed: seed of the permutations." becomes an item of a list."""
    text = inspect.cleandoc(docstring)
    first = PARAMETER.search(text)
    items = PARAMETER.sub(r"- **\1**: ", text)
    return text if first is None else f"{items[: first.start()]}\n{items[first.start() :]}"


def load_public_names() -> None:
    """Puts all public names into the namespace of srgame, where pdoc finds them, with their docstrings in Markdown."""
    for name in srgame.__all__:
        public = getattr(srgame, name)
        vars(srgame)[name] = public
        members = [member for member in vars(public).values() if inspect.isfunction(member)]
        for documented in (public, *(members if inspect.isclass(public) else ())):
            if documented.__doc__:
                documented.__doc__ = itemised(documented.__doc__)


if __name__ == "__main__":
    warnings.simplefilter("error", UserWarning)
    load_public_names()
    pdoc.render.configure(docformat="markdown", footer_text=f"srgame {srgame.__version__}")
    pdoc.pdoc("srgame", output_directory=HERE / "reference")
    print(HERE / "reference" / "srgame.html")
