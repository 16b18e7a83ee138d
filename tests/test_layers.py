"""Imports point down only, and the heavy libraries stay in their rooms."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import srgame

PACKAGE = Path(srgame.__file__).parent
FLOORS = [
    {"errors", "headers", "processes"},
    {"files"},
    {"compared", "devices", "images", "kept", "metrics", "networks", "states", "style", "until"},
    {"degradations", "filters", "tiling"},
    {"pairs"},
    {"evaluation", "game", "patches", "probes", "strategies"},
    {"coalitions", "patch_store", "training", "units"},
    {"cluster", "controls", "interactions", "semivalues"},
    {"shapley"},
    {"two_level"},
    {"audit", "pictures", "probe_pictures", "results", "tables"},
    {"benchmarks", "recipe", "scores", "side_by_side"},
    {"learning", "probing"},
    {"cli"},
    {"__main__"},
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
TRAINING_NEEDS = {"torch", "numpy", "cv2", "pandas", "tqdm", "safetensors", "jaxtyping"}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports_of(path: Path, everywhere: bool = True) -> set[str]:
    """The dotted names that a file imports, within functions too or only when it is itself imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = ast.walk(tree) if everywhere else tree.body
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def test_every_room_has_a_floor() -> None:
    assert {room_of(path) for path in FILES} == set(FLOOR_OF)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    room = room_of(path)
    for name in imports_of(path):
        if name.startswith("srgame."):
            other = name.split(".")[1]
            assert other == room or FLOOR_OF[other] < FLOOR_OF[room], f"{room} imports {other}"
        top = name.split(".")[0]
        assert top != "analyses"
        assert top not in ("matplotlib", "seaborn") or room in (
            "pictures",
            "probe_pictures",
            "recipe",
            "results",
            "side_by_side",
            "style",
        )
        assert top != "captum" or room == "probes"


def test_training_needs_few_libraries() -> None:
    waiting, seen = ["training", "strategies", "networks", "degradations"], set()
    while waiting:
        room = waiting.pop()
        if room in seen:
            continue
        seen.add(room)
        for path in FILES:
            if room_of(path) == room:
                for name in imports_of(path, everywhere=False):
                    top = name.split(".")[0]
                    if top == "srgame":
                        waiting += name.split(".")[1:2]
                    else:
                        assert top in TRAINING_NEEDS | sys.stdlib_module_names, f"{path} imports {name}"


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
    assert typed == set(srgame.__all__) == set(srgame._ROOM_OF)
    for name in srgame.__all__:
        assert getattr(srgame, name).__name__ == name
    with pytest.raises(AttributeError, match="srgame has no 'sharpley'"):
        _ = srgame.sharpley


def test_loading_a_network_does_not_load_torch_s_compiler() -> None:
    """Its import takes a hundred times longer than the network."""
    code = "import sys, srgame; srgame.load_network('srresnet-x4-bicubic'); sys.exit('torch._dynamo' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
