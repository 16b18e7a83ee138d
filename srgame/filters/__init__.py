"""The filters of a network, how to erase them, and how to resume the network behind a layer.

A filter is one output channel of a conv layer, or one feature of a linear layer; its response is that channel before
any activation. To erase a filter is to replace its response; an ablation computes the replacement. The game and EATS
both build on this package.

Start with `erasure.py`. `layers.py` says which layers have filters and how a run calls them, `resuming.py` cuts a
network, and `running.py` runs one. What a coalition of filters is worth is not known here: see srgame/shapley.
"""

from srgame.filters.erasure import ABLATIONS, Ablation, Behind, Presences, ablation_named, donor, erased
from srgame.filters.layers import (
    CONVS,
    NORMS,
    PLAYERS,
    Calls,
    CurrentRun,
    Filters,
    Place,
    activations,
    as_it_was,
    calls_named,
    calls_of,
    channels_first,
    filters_of,
    following,
    last_feature_layer,
)
from srgame.filters.resuming import Resumable, ResumeError, resume
from srgame.filters.running import copy_for, differentiating, evaluating, run, whole_precision

__all__ = [
    "ABLATIONS",
    "CONVS",
    "NORMS",
    "PLAYERS",
    "Ablation",
    "Behind",
    "Calls",
    "CurrentRun",
    "Filters",
    "Place",
    "Presences",
    "Resumable",
    "ResumeError",
    "ablation_named",
    "activations",
    "as_it_was",
    "calls_named",
    "calls_of",
    "channels_first",
    "copy_for",
    "differentiating",
    "donor",
    "erased",
    "evaluating",
    "filters_of",
    "following",
    "last_feature_layer",
    "resume",
    "run",
    "whole_precision",
]
