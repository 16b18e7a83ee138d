"""Imports point down only, and the heavy libraries stay in their packages."""

import ast
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path

import pytest

import srgame

PACKAGE = Path(srgame.__file__).parent
LAYERS = [
    {"errors"},
    {"devices", "files", "metrics", "streams"},
    {"data", "filters", "provenance"},
    {"networks"},
    {"evaluation", "shapley"},
    {"probes", "training"},
    {"report"},
    {"atlas"},
    {"cli", "figures"},
    {"__main__", "docs"},
]
LAYER_OF = {package: layer for layer, packages in enumerate(LAYERS) for package in packages}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
TRAINING_NEEDS = {"torch", "numpy", "cv2", "pandas", "tqdm", "safetensors", "jaxtyping"}


def package_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports_of(path: Path, everywhere: bool = True) -> set[str]:
    """The dotted names that a file imports, within functions too or only when it is itself imported."""
    nodes = ast.walk(parsed(path)) if everywhere else parsed(path).body
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def test_no_recipe_imports_another() -> None:
    files = {path.stem: path for path in (PACKAGE.parent / "analyses").glob("*.py")}
    recipes = {name for name, path in files.items() if "    run(__file__, " in path.read_text(encoding="utf-8")}
    assert {"fig4_cosine", "audit_reported", "tab1"} <= recipes
    assert not {name: shared for name, path in files.items() if (shared := recipes & imports_of(path))}


def test_every_package_has_a_layer() -> None:
    assert {package_of(path) for path in FILES} == set(LAYER_OF)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    package = package_of(path)
    for name in imports_of(path):
        if name.startswith("srgame."):
            other = name.split(".")[1]
            assert other == package or LAYER_OF[other] < LAYER_OF[package], f"{package} imports {other}"
        top = name.split(".")[0]
        assert top != "analyses"
        assert top not in ("matplotlib", "seaborn") or package == "report"
        assert top != "captum" or package == "probes"


def modules_behind(module: str) -> set[Path]:
    """The files that are loaded when this module of srgame is imported."""
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        place = PACKAGE.joinpath(*waiting.pop().split(".")[1:])
        for path in (place.with_suffix(".py"), place / "__init__.py", place.parent / "__init__.py"):
            if path.exists() and path not in found and path != PACKAGE / "__init__.py":
                found.add(path)
                waiting += [name for name in imports_of(path, everywhere=False) if name.startswith("srgame.")]
    return found


def test_training_needs_few_libraries() -> None:
    files = modules_behind("srgame.training.loop") | modules_behind("srgame.training.strategies")
    assert PACKAGE / "data" / "degradations" / "training.py" in files | modules_behind("srgame.training.patches")
    for path in files | modules_behind("srgame.training.patches"):
        for name in imports_of(path, everywhere=False):
            top = name.split(".")[0]
            assert top == "srgame" or top in TRAINING_NEEDS | sys.stdlib_module_names, f"{path} imports {name}"


@pytest.mark.parametrize(
    "statement", ["import srgame", "from srgame.__main__ import main, sys; sys.argv[1:] = ['--help']; main()"]
)
def test_help_and_import_load_no_heavy_library(statement: str) -> None:
    heavy = "{'torch', 'captum', 'matplotlib', 'pandas', 'scipy', 'skimage', 'cv2'}"
    code = f"import sys\ntry: {statement}\nexcept SystemExit: pass\nprint(sorted({heavy} & set(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip().endswith("[]")


def test_public_names_are_there_and_typed() -> None:
    checked = ast.parse((PACKAGE / "__init__.py").read_text()).body
    block = next(node for node in checked if isinstance(node, ast.If))
    typed = {alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert typed == set(srgame.__all__)
    for name in srgame.__all__:
        assert getattr(srgame, name).__name__ == name
    with pytest.raises(AttributeError, match="srgame has no 'sharpley'"):
        _ = srgame.sharpley


def test_every_public_name_has_an_example() -> None:
    assert not [name for name in srgame.__all__ if ">>> " not in (getattr(srgame, name).__doc__ or "")]


def test_dir_lists_the_public_names_before_they_are_loaded() -> None:
    code = "import sys, srgame; print(*dir(srgame)); sys.exit('torch' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert {*srgame.__all__, "__version__", "figures"} <= set(printed.split())


def test_the_version_is_that_of_the_installed_package() -> None:
    assert srgame.__version__ == version("srgame")


def test_loading_a_network_does_not_load_torch_s_compiler() -> None:
    """Its import takes a hundred times longer than the network."""
    code = "import sys, srgame; srgame.load_network('srresnet-x4-bicubic'); sys.exit('torch._dynamo' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
