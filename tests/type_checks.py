"""Checks of the shapes and types in srgame's signatures: jaxtyping and beartype make them while tests run."""

import ast
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import is_dataclass
from functools import cache, wraps
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any

from beartype import beartype
from jaxtyping import jaxtyped

MOST = 10  # checked calls of a function in each test: some call it thousands of times, and a check takes a while
MADE = 10  # checked instances of an inner function, which is made anew whenever the outer one is called

_tests = 0  # that have begun
_made: Counter[CodeType] = Counter()


def start() -> None:
    """A test begins: the next calls of each function are checked, up to MOST."""
    global _tests
    _tests += 1


def checked(made: Any) -> Any:
    """The function with checks of its first calls in each test, or the dataclass with checks of its fields."""
    if isinstance(made, type):
        if is_dataclass(made):
            made.__init__ = checked(made.__init__)
        return made
    _made[made.__code__] += 1
    return made if _made[made.__code__] > MADE else _with_checks(made)


def _with_checks(function: Callable[..., Any]) -> Callable[..., Any]:
    checking = cache(lambda: jaxtyped(function, typechecker=beartype))  # made when it is called: few are in a test
    test, calls = 0, 0  # the last test that called the function, and its calls

    @wraps(function)
    def check(*arguments: Any, **named: Any) -> Any:
        nonlocal test, calls
        test, calls = _tests, calls + 1 if test == _tests else 1
        return (checking() if calls <= MOST else function)(*arguments, **named)

    return check


class Loader(SourceFileLoader):
    """Decorates each function and class of a module with `checked`."""

    def get_code(self, fullname: str) -> CodeType:
        """The decorated code, which no file keeps."""
        path = self.get_filename(fullname)
        tree = ast.parse(self.get_data(path))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):  # innermost: other decorators may hide the signature
                node.decorator_list.append(ast.copy_location(ast.Name("__checked__", ast.Load()), node))
            elif isinstance(node, ast.ClassDef):  # outermost: @dataclass comes first
                node.decorator_list.insert(0, ast.copy_location(ast.Name("__checked__", ast.Load()), node))
        code: CodeType = compile(tree, path, "exec", dont_inherit=True)
        return code

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__checked__"] = checked
        super().exec_module(module)


class Finder(MetaPathFinder):
    """Finds all of srgame but its networks, which torch.fx traces with proxies."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        package, *rest = fullname.split(".")
        if package != "srgame" or not rest or rest[0] == "networks":
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec and spec.origin:
            spec.loader = Loader(fullname, spec.origin)
        return spec


def install() -> None:
    """Checks what is imported from now on."""
    sys.meta_path.insert(0, Finder())
