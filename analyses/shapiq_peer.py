"""Estimators of shapiq, run by a Python of their own; rivals.py starts this program and answers it.

It reads tasks from stdin, one in a line, as JSON: [estimator, players, evaluations, seed]. For a task it writes lines
{"coalitions": [hexadecimal bits of a coalition, …]} and reads their worths, a list of numbers; the last line is
{"values": […], "evaluations": n, "seconds": CPU time without that of the worths}.
"""

import json
import sys
from time import process_time
from typing import Any

import numpy as np
from shapiq import approximator

ESTIMATORS: dict[str, Any] = {
    "permutations": lambda n, _, seed: approximator.PermutationSamplingSV(n=n, random_state=seed),
    "KernelSHAP": lambda n, _, seed: approximator.KernelSHAP(n=n, pairing_trick=True, random_state=seed),
    "LeverageSHAP": lambda n, _, seed: approximator.LeverageSHAP(n=n, random_state=seed),
    "OddSHAP": lambda n, _, seed: approximator.OddSHAP(n=n, random_state=seed),
    "PolySHAP": lambda n, evaluations, seed: approximator.PolySHAP(
        n=n, max_order=3, max_terms=max(n + 1, evaluations // 2), pairing_trick=True, random_state=seed
    ),
    "RegressionMSR": lambda n, _, seed: approximator.RegressionMSR(
        n=n, index="SV", proxy_model="linear", random_state=seed
    ),
    "ProxySHAP": lambda n, _, seed: approximator.ProxySHAP(
        n=n, index="SV", max_order=1, proxy_model="lightgbm", adjustment=True, random_state=seed
    ),
}


def answer(estimator: str, players: int, evaluations: int, seed: int) -> dict[str, Any]:
    """The values of an estimator, the coalitions it asked for, and its own CPU seconds."""
    asked, outside = 0, 0.0

    def worth(coalitions: Any) -> Any:
        nonlocal asked, outside
        start = process_time()
        rows = np.atleast_2d(coalitions).astype(bool)
        asked += len(rows)
        tell({"coalitions": [row.tobytes().hex() for row in np.packbits(rows, axis=1)]})
        worths = np.asarray(json.loads(sys.stdin.readline()))
        outside += process_time() - start
        return worths

    start = process_time()
    found = ESTIMATORS[estimator](players, evaluations, seed).approximate(evaluations, worth)
    values = [float(found[(player,)]) for player in range(players)]
    return {"values": values, "evaluations": asked, "seconds": process_time() - start - outside}


def tell(message: dict[str, Any]) -> None:
    """Writes a line."""
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    for line in sys.stdin:
        tell(answer(*json.loads(line)))
