"""The checks of signatures that all tests run with."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import type_checks
from jaxtyping import Float64, TypeCheckError

from srgame.shapley.values import Estimate, mean_of


def test_functions_and_dataclasses_of_srgame_are_checked() -> None:
    for wrong in (lambda: mean_of([1.0, 2.0]), lambda: Estimate(np.zeros(2, np.float32), np.zeros(2), 3)):
        with pytest.raises(TypeCheckError):
            wrong()


def test_the_first_calls_of_a_function_in_a_test_are_checked() -> None:
    @type_checks.checked
    def unchanged(pair: Float64[np.ndarray, "2"]) -> object:
        return pair

    for _ in range(2):
        type_checks.start()  # as if another test began
        for _ in range(type_checks.MOST):
            with pytest.raises(TypeCheckError):
                unchanged(np.zeros(3))
        assert unchanged(np.zeros(3)).shape == (3,)


def test_inner_functions_are_checked_when_they_are_first_made() -> None:
    def outer() -> Callable[[object], object]:
        @type_checks.checked
        def inner(pair: Float64[np.ndarray, "2"]) -> object:
            return pair

        return inner

    made = [outer() for _ in range(type_checks.MADE + 1)]
    for inner in made[:-1]:
        with pytest.raises(TypeCheckError):
            inner(np.zeros(3))
    assert made[-1](np.zeros(3)).shape == (3,)


def test_a_frozen_dataclass_keeps_its_fields() -> None:
    @type_checks.checked
    @dataclass(frozen=True)
    class Point:
        x: float
        y: float = 2.0

    assert Point(1.0) == Point(x=1.0, y=2.0)
    with pytest.raises(TypeCheckError):
        Point("one")
