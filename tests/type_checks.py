"""Checks of the shapes and types in srgame's signatures: jaxtyping and beartype make them while tests run."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from beartype import beartype
from jaxtyping import config, install_import_hook

PACKAGE = Path(__file__).parents[1] / "srgame"
MOST = 1000  # checks in a test: if it repeats a computation thousands of times, they take most of its time


class FirstChecks:
    """A type checker that checks the first calls in each test. A function costs nothing until it is called."""

    left = MOST

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        checked = cache(lambda: beartype(function))

        def check(*arguments: Any, **named: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                config.update("jaxtyping_disable", True)
            return checked()(*arguments, **named)

        return check

    def start(self) -> None:
        """Checks are made again, up to MOST."""
        self.left = MOST
        config.update("jaxtyping_disable", False)


first_checks = FirstChecks()


def install() -> None:
    """Checks all of srgame but its networks, which torch.fx traces with proxies."""
    modules = [f"srgame.{path.stem}" for path in PACKAGE.iterdir() if path.stem != "networks"]
    install_import_hook(modules, "type_checks.first_checks")
