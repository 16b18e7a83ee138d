"""captum's attributions, summed per filter: an alternative to Shapley values φ that takes a fraction of the time."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn

from srgame.data.pairs import Pairs
from srgame.errors import InputError, chosen
from srgame.filters import differentiating, evaluating, run
from srgame.metrics import Images, Payoff, PerImage, payoff_named
from srgame.probes.equity import equity
from srgame.probes.features import Response, features, listening, out_of_place

BATCH = 4  # points of the path in one run of the network
SAME = 1e-4  # of the largest value, as in a game: the same image from another batch


def channel_attributions(
    network: nn.Module,
    pairs: Pairs,
    layers: Sequence[str] = ("conv_hr",),
    method: str = "integrated-gradients",
    payoff: str | Payoff = "psnr",
    steps: int = 50,
) -> pd.DataFrame:
    """One row per layer and filter: layer, filter, attribution (in the payoff's unit; mean over pairs), stderr, gap.

    "integrated-gradients" is captum's LayerIntegratedGradients: the layer's response grows from zero to its full value,
    while everything that does not pass through the layer is fixed. The attributions are the Aumann–Shapley values of
    the game with ablation zero, so they have the same sum as its Shapley values, v(all) − v(none). "conductance" is
    captum's LayerConductance: the image grows from black, and a filter gets the part of the payoff that flows through
    it.

    `gap` is captum's convergence delta, mean over pairs. For integrated gradients it is the discretization error of the
    integral, which falls with more `steps`; for conductance it also contains everything that flows past the layer, for
    example through a skip. Raises InputError for an unknown method or payoff, for layers as `features` does, for a
    network that cannot be differentiated, and for conductance of a network that restores one image at a time.

    >>> import srgame
    >>> network = srgame.seeded(lambda: srgame.SRResNet(features=4, blocks=1), seed=0)
    >>> pairs = srgame.load_pairs(images=1, crop=24)
    >>> channel_attributions(network, pairs, ["conv_hr"], steps=4)[["layer", "filter", "attribution"]].shape
    (4, 3)
    """
    attribute = chosen("method", method, METHODS)
    worth = payoff_named(payoff)
    if not (layers and len(pairs)):
        raise InputError("there is nothing to attribute: give at least one layer and one pair of images")
    results: dict[str, list[Attributed]] = {layer: [] for layer in layers}
    with evaluating(network), out_of_place(network), differentiating():
        for lr, hr in zip(pairs.lr, pairs.hr, strict=True):
            for layer, response in next(features(network, [lr], layers, lambda response: response.clone())).items():
                worth_of = _Worth(network, worth, hr[None].to(response.device))
                image = lr[None].to(response.device)
                batch = _batch(network, layer, image)
                results[layer].append(attribute(worth_of, layer, image, response.clone(), steps, batch))
    return pd.concat([_frame(layer, of_images) for layer, of_images in results.items()], ignore_index=True)


def compared_attributions(
    network: nn.Module,
    pairs: Pairs,
    layers: Sequence[str],
    methods: Sequence[str],
    payoff: str | Payoff = "psnr",
    steps: int = 50,
) -> pd.DataFrame:
    """`channel_attributions` by each of `methods`, with a first column `method`."""
    if not methods:
        raise InputError(f"no method: name at least one of {', '.join(METHODS)}")
    frames = {method: channel_attributions(network, pairs, layers, method, payoff, steps) for method in methods}
    return pd.concat(frames, names=["method"]).reset_index(0).reset_index(drop=True)


def attribution_summary(attributions: pd.DataFrame, by: Sequence[str] = ("layer",)) -> pd.DataFrame:
    """One row per group: the equity of the attributions, their sum (`total`) and their `gap`."""
    groups = attributions.groupby(list(by), sort=False)
    more = groups.agg(total=("attribution", "sum"), gap=("gap", "first"))
    return equity(attributions, "attribution", by).merge(more.reset_index(), on=list(by))


Layer = Float[Tensor, "1 channel *place"]  # not Response, whose axes must match those of the images
Attributed = tuple[Layer, float]


class _Worth(nn.Module):
    """The payoff of the network's SR image, as a function of the LR image."""

    def __init__(self, network: nn.Module, payoff: Payoff, hr: Images) -> None:
        super().__init__()
        self.network, self.payoff, self.hr = network, payoff, hr

    def forward(self, lr: Images) -> PerImage:
        return self.payoff(run(self.network, lr), self.hr.clone())


class _WorthThrough(nn.Module):
    """The same payoff, where the response of one layer passes through the module `response`."""

    def __init__(self, worth: _Worth, layer: str) -> None:
        super().__init__()
        self.worth, self.layer = worth, layer
        self.response = nn.Identity()

    def forward(self, lr: Images) -> PerImage:
        def pass_on(_: str, response: Response) -> Response:
            passed: Tensor = self.response(response)
            return passed.clone()  # code behind may overwrite it

        with listening(self.worth.network, [self.layer], pass_on):
            worth: Tensor = self.worth(lr)
        return worth


class _WorthOfResponse(nn.Module):
    """The same payoff as a function of one layer's response to `lr`."""

    def __init__(self, worth: _Worth, layer: str, lr: Images) -> None:
        super().__init__()
        self.worth, self.layer, self.lr = worth, layer, lr
        self.response = nn.Identity()

    def forward(self, response: Response) -> PerImage:
        given: Tensor = self.response(response)
        with listening(self.worth.network, [self.layer], lambda _, __: given.clone()):  # code behind may overwrite
            worth: Tensor = self.worth(self.lr.expand(len(given), -1, -1, -1))
        return worth


def _batch(network: nn.Module, layer: str, lr: Images) -> int:
    """The number of points in one run: 1 if the network fails in batches, lets the images of a batch depend on each
    other, or calls the layer for each of them."""
    calls: list[int] = []
    with torch.inference_mode():
        alone = run(network, lr)
        try:
            with listening(network, [layer], lambda _, response: calls.append(len(response))):
                together = run(network, torch.cat([lr, torch.zeros_like(lr)]))[:1]
        except InputError:
            return 1
    is_same = (together - alone).abs().max() <= SAME * alone.abs().max()
    return BATCH if is_same and len(calls) == 1 else 1


def integrated_gradients(worth: _Worth, layer: str, lr: Images, response: Layer, steps: int, batch: int) -> Attributed:
    """captum's LayerIntegratedGradients of a layer's response, from zero."""
    from captum.attr import LayerIntegratedGradients

    behind = _WorthOfResponse(worth, layer, lr)
    values, gap = LayerIntegratedGradients(behind, behind.response).attribute(
        response,
        baselines=torch.zeros_like(response),
        n_steps=steps,
        internal_batch_size=batch,
        return_convergence_delta=True,
    )
    return values.detach(), abs(gap.item())


def conductance(worth: _Worth, layer: str, lr: Images, response: Layer, steps: int, batch: int) -> Attributed:
    """captum's LayerConductance of a layer, from a black image."""
    from captum.attr import LayerConductance

    if batch == 1:
        raise InputError(
            "conductance needs batches of images, and the network fails in batches, restores them one by one, or lets "
            "their images depend on each other: choose integrated-gradients"
        )
    through = _WorthThrough(worth, layer)
    values, gap = LayerConductance(through, through.response).attribute(
        lr,
        baselines=torch.zeros_like(lr),
        n_steps=steps,
        internal_batch_size=batch,
        return_convergence_delta=True,
    )
    return values.detach(), abs(gap.item())


METHODS = {"integrated-gradients": integrated_gradients, "conductance": conductance}


def _frame(layer: str, of_images: Sequence[Attributed]) -> pd.DataFrame:
    channels = np.stack([values[0].flatten(1).sum(1).double().cpu().numpy() for values, _ in of_images])
    count, width = channels.shape
    stderr = channels.std(0, ddof=1) / np.sqrt(count) if count > 1 else np.full(width, np.nan)
    columns = {"filter": np.arange(width), "attribution": channels.mean(0), "stderr": stderr}
    return pd.DataFrame({"layer": layer} | columns).assign(gap=float(np.mean([gap for _, gap in of_images])))
