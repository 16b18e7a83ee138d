"""Probes against slow definitions, axioms and other libraries."""

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import gennorm
from sklearn.datasets import make_blobs
from sklearn.decomposition import PCA
from sklearn.metrics import calinski_harabasz_score
from small_networks import SMALL
from small_networks import small as small_network
from torch import Tensor, nn

from srgame.data.images import Image
from srgame.data.lazy import LRPatches, lr_images
from srgame.data.pairs import Pairs, load_pairs
from srgame.errors import InputError
from srgame.filters import filters_of
from srgame.networks import SRResNet
from srgame.probes.attributions import channel_attributions
from srgame.probes.cosine import channel_cosine, cosine_matrix, cosine_summary, cosines
from srgame.probes.ddr import ddr, ddr_summary
from srgame.probes.equity import effective_players, entropy, equity, gini
from srgame.probes.features import features, out_of_place
from srgame.probes.lam import attributed, blurred, diffusion_index, lam, lam_summary
from srgame.probes.principal import principal_scores
from srgame.probes.responses import channel_responses, response_summary
from srgame.probes.salience import channel_salience, edges, salience_maps
from srgame.probes.srga import divergence, generalized_gaussian, srga, srga_index
from srgame.shapley.exact import exact_shapley
from srgame.shapley.game import RestorationGame

LAYERS = ("body.1", "conv_hr")


def some_images(*sizes: tuple[int, int]) -> list[Image]:
    rng = torch.Generator().manual_seed(0)
    return [torch.rand(3, *size, generator=rng) for size in sizes]


IMAGES = some_images((9, 7), (6, 11), (8, 8))


def by_hand(network: SRResNet, image: Image) -> dict[str, Tensor]:
    """What two layers respond, from the network's parts in a row instead of hooks."""
    with torch.no_grad():
        block = network.body(network.lrelu(network.conv_first(image[None])))
        x = network.lrelu(network.shuffle(network.upconv1(block)))
        x = network.lrelu(network.shuffle(network.upconv2(x)))
        hr = network.conv_hr(x)
    return {"body.1": block[0], "conv_hr": hr[0], "conv_hr:input": x[0], "conv_last:input": network.lrelu(hr)[0]}


class Foreign(nn.Module):
    """In-place activations, a layer that runs twice, one that never runs, one without channels, one of two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.twice = nn.Conv2d(4, 4, 3, padding=1)
        self.never = nn.Conv2d(4, 4, 3)
        self.flat = nn.Flatten()
        self.pair = Pair()
        self.last = nn.Conv2d(4, 12, 3, padding=1)

    def forward(self, lr: Tensor) -> Tensor:
        x = self.act(self.conv(lr))
        try:
            x = self.twice(self.twice(x))
        except Exception:  # as careless code has it: a probe must not depend on its exceptions passing here
            x = x * 0
        self.flat(x)
        if x.mean() > 1e9:  # what torch.fx cannot trace
            return x
        sr: Tensor = nn.functional.pixel_shuffle(self.last(self.pair(x)[0]), 2)
        return sr


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


@pytest.fixture(scope="module")
def foreign() -> Foreign:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Foreign()


# --- features


def test_features_are_what_the_layers_respond(small: SRResNet) -> None:
    names = [*LAYERS, "conv_hr:input", "conv_last:input"]
    for image, kept in zip(IMAGES, features(small, iter(IMAGES), names, torch.clone), strict=True):
        for name, expected in by_hand(small, image).items():
            torch.testing.assert_close(kept[name][0], expected)


def test_later_images_run_only_as_far_as_the_last_layer(small: SRResNet) -> None:
    runs: list[int] = []
    handle = small.conv_last.register_forward_hook(lambda *_: runs.append(1))
    list(features(small, IMAGES, ["body.0"], torch.clone))
    handle.remove()
    assert len(runs) == 1


def test_reading_leaves_nothing_behind(small: SRResNet) -> None:
    reading = features(small, IMAGES, LAYERS, torch.clone)
    next(reading)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in small.modules())


def test_images_are_asked_for_one_at_a_time(small: SRResNet) -> None:
    asked: list[int] = []

    def images() -> Iterator[Image]:
        for number, image in enumerate(IMAGES):
            asked.append(number)
            yield image

    reading = features(small, images(), LAYERS, torch.clone)
    next(reading)
    assert asked == [0]


def test_an_activation_in_place_does_not_overwrite_what_was_read(foreign: Foreign) -> None:
    with torch.no_grad():
        conv = foreign.conv(IMAGES[0][None])
    assert (conv < 0).any()
    kept = next(features(foreign, IMAGES, ["conv"], torch.clone))["conv"]
    torch.testing.assert_close(kept, conv)
    means = channel_responses(foreign, IMAGES[:1], ["conv"])["mean"].to_numpy()
    np.testing.assert_allclose(means, conv[0].mean((1, 2)), atol=1e-6)


@pytest.mark.parametrize("name", SMALL)
def test_every_probe_of_channels_works_on_every_network(name: str) -> None:
    network = small_network(name)
    layers = filters_of(network).layers
    wanted = [layers[0], layers[-2], f"{layers[-1]}:input"]
    for probe in (channel_responses, channel_cosine, channel_salience):
        frame = probe(network, IMAGES[:2], wanted)
        assert frame["layer"].unique().tolist() == wanted and np.isfinite(frame.iloc[:, 2:].to_numpy()).all()


BAD_LAYERS = {
    "conv_hrr": "no layer 'conv_hrr'; the nearest are conv_hr",
    "": "no layer ''",
    "conv_hr:output": "write 'conv_hr' for its output or 'conv_hr:input'",
    "lrelu": "'lrelu' is run 4 times per image",
}


@pytest.mark.parametrize("layer", BAD_LAYERS)
@pytest.mark.parametrize("probe", [channel_responses, channel_cosine, channel_salience])
def test_a_wrong_layer_is_refused_in_a_sentence(small: SRResNet, probe: object, layer: str) -> None:
    assert callable(probe)
    with pytest.raises(InputError, match=BAD_LAYERS[layer]):
        probe(small, IMAGES, [layer])


FOREIGN_LAYERS = {
    "flat": "'flat' has no channels: its response is 1×252",
    "pair": "'pair' has no channels: it responds with a tuple",
    "twice": "'twice' is run 2 times",
    "never": "'never' is run 0 times",
}


@pytest.mark.parametrize("layer", FOREIGN_LAYERS)
def test_a_layer_without_channels_or_one_response_says_so(foreign: Foreign, layer: str) -> None:
    with pytest.raises(InputError, match=FOREIGN_LAYERS[layer]):
        channel_responses(foreign, IMAGES, [layer])


@pytest.mark.parametrize("probe", [channel_responses, channel_cosine, channel_salience])
def test_no_image_is_refused(small: SRResNet, probe: object) -> None:
    assert callable(probe)
    with pytest.raises(InputError, match="no image"):
        probe(small, [], ["conv_hr"])


# --- streams


def test_streamed_images_are_those_that_pairs_have(tmp_path: Path) -> None:
    streamed = lr_images("photographs", "b+n", 4, 2, 48)
    pairs = load_pairs("photographs", "b+n", 4, 2, 48)
    assert streamed.names == pairs.names and len(streamed) == 2
    for _ in range(2):
        assert all(torch.equal(a, b) for a, b in zip(streamed, pairs.lr, strict=True))
    assert [image.shape for image in lr_images("photographs", images=1, crop=40)] == [(3, 40, 40)]
    with pytest.raises(InputError, match="crop is a number from 1 on"):
        lr_images(crop=0)


def test_patches_come_from_all_images_and_do_not_overlap(tmp_path: Path) -> None:
    for name in ("a", "b"):
        values = np.arange(20 * 30 * 3, dtype=np.int64).reshape(20, 30, 3) % 251
        cv2.imwrite(str(tmp_path / f"{name}.png"), values.astype(np.uint8))
    images = lr_images(str(tmp_path))
    assert [len(list(LRPatches(images, 10, count))) for count in (4, 5, 12)] == [4, 5, 12]
    with pytest.warns(UserWarning, match="12 patches where 100 were asked for"):
        assert len(list(LRPatches(images, 10, 100))) == 12
    patches = list(LRPatches(images, 10, 12))
    whole = torch.cat([torch.cat(patches[row : row + 3], 2) for row in (0, 3)], 1)
    assert torch.equal(whole, next(iter(images)))
    with pytest.raises(InputError, match="no LR image has 31×31 pixels"):
        list(LRPatches(images, 31, 4))


# --- responses


def test_responses_are_the_means_over_pixels_then_images(small: SRResNet) -> None:
    frame = channel_responses(small, IMAGES, LAYERS).set_index(["layer", "filter"])
    responses = [by_hand(small, image) for image in IMAGES]
    for layer in LAYERS:
        for channel in range(8):
            maps = [response[layer][channel].double().flatten().tolist() for response in responses]
            row = frame.loc[(layer, channel)]
            means = [sum(values) / len(values) for values in maps]
            sizes = [sum(map(abs, values)) / len(values) for values in maps]
            squares = [sum(v * v for v in values) / len(values) for values in maps]
            roots = [math.sqrt(len(values)) for values in maps]
            ratios = [sum(map(abs, v)) / math.sqrt(sum(x * x for x in v)) for v in maps]
            hoyer = [(root - ratio) / (root - 1) for root, ratio in zip(roots, ratios, strict=True)]
            assert row["mean"] == pytest.approx(np.mean(means), abs=1e-6)
            assert row["mean_abs"] == pytest.approx(np.mean(sizes), abs=1e-6)
            assert row["std"] == pytest.approx(math.sqrt(np.mean(squares) - np.mean(means) ** 2), abs=1e-5)
            assert row["active"] == pytest.approx(np.mean([np.mean(np.array(v) > 0) for v in maps]))
            assert row["sparsity"] == pytest.approx(np.mean(hoyer), abs=1e-5)
            assert row["stderr"] == pytest.approx(np.std(sizes, ddof=1) / math.sqrt(3), abs=1e-6)


def with_filters(weights: Tensor, bias: Tensor) -> nn.Module:
    network = nn.Sequential(nn.Conv2d(3, len(weights), 1), nn.Conv2d(len(weights), 3, 1))
    network[0].weight.data = weights[:, :, None, None]
    network[0].bias = nn.Parameter(bias)
    return network


def test_a_dead_channel_is_sparse_and_a_constant_one_is_not() -> None:
    network = with_filters(torch.tensor([[0.0, 0, 0], [0, 0, 0], [1, 0, 0]]), torch.tensor([0.0, -2, 0]))
    frame = channel_responses(network, IMAGES, ["0"])
    np.testing.assert_allclose(frame["sparsity"][:2], [1, 0], atol=1e-6)
    np.testing.assert_allclose(frame["mean_abs"][:2], [0, 2])
    np.testing.assert_allclose(frame["std"][:2], [0, 0], atol=1e-3)
    assert not frame.isna().any(axis=None)
    assert response_summary(frame)["inhibited"].item() == pytest.approx(1 / 3)
    assert channel_responses(network, IMAGES[:1], ["0"])["stderr"].isna().all()  # one image tells of no spread


# --- cosine


def test_cosine_is_the_mean_cosine_of_each_pair(small: SRResNet) -> None:
    frame = channel_cosine(small, IMAGES, LAYERS)
    assert len(frame) == 2 * 8 * 7 / 2
    responses = [by_hand(small, image) for image in IMAGES]
    for _, row in frame.iterrows():
        values = []
        for response in responses:
            a, b = (response[row["layer"]][row[which]].double().flatten() for which in ("first", "second"))
            values.append(float(a @ b / (a.norm() * b.norm())))
        assert row["cosine"] == pytest.approx(np.mean(values), abs=1e-6)
    of_one = frame[frame["layer"] == "conv_hr"]
    summary = cosine_summary(frame).set_index("layer").loc["conv_hr"]
    off_diagonal = cosine_matrix(of_one)[~np.eye(8, dtype=bool)]
    assert summary["mean_abs"] == pytest.approx(np.abs(off_diagonal).mean())
    assert summary["alike"] == pytest.approx((np.abs(off_diagonal) > 0.5).mean())
    assert np.array_equal(cosine_matrix(of_one), cosine_matrix(of_one).T)


@given(st.integers(0, 4), st.floats(1e-25, 1e25))
def test_cosine_does_not_feel_a_channel_rescaled(channel: int, factor: float) -> None:
    response = torch.randn(1, 5, 6, 7, generator=torch.Generator().manual_seed(1))
    scaled = response.clone()
    scaled[:, channel] *= factor
    torch.testing.assert_close(cosines(scaled), cosines(response), rtol=0, atol=1e-5)


@given(st.permutations(range(5)))
def test_cosine_follows_the_channels_and_forgets_the_order_of_pixels(order: list[int]) -> None:
    response = torch.randn(1, 5, 6, 7, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(cosines(response[:, order]), cosines(response)[order][:, order])
    torch.testing.assert_close(cosines(response.flip(2, 3)), cosines(response))


def test_dead_and_constant_channels_have_no_similarity_and_no_nan() -> None:
    network = with_filters(
        torch.tensor([[0.0, 0, 0], [0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0]]), torch.tensor([0.0, 3, 0, 0, 3])
    )
    frame = channel_cosine(network, IMAGES, ["0"])
    idle = frame["first"].isin([0, 1, 4]) | frame["second"].isin([0, 1, 4])
    assert (frame.loc[idle, "cosine"] == 0).all() and (frame.loc[~idle, "cosine"] > 0.5).all()
    with pytest.raises(InputError, match="one channel and so no pairs"):
        channel_cosine(with_filters(torch.ones(1, 3), torch.zeros(1)), IMAGES, ["0"])


# --- salience


def test_edges_are_their_definition() -> None:
    sr = IMAGES[0][None].double()
    found = edges(sr, 1e-8)
    for c, y, x in [(0, 0, 0), (1, 3, 4), (2, 7, 5)]:
        down, across = sr[0, c, y, x] - sr[0, c, y + 1, x], sr[0, c, y, x] - sr[0, c, y, x + 1]
        assert found[0, c, y, x].item() == pytest.approx(math.sqrt(down**2 + across**2 + 1e-8))
    assert found.shape == (1, 3, 8, 6)


def test_salience_is_the_change_of_edges_when_a_response_changes(small: SRResNet) -> None:
    image, network = some_images((3, 3))[0].double(), small.double()
    try:
        frame = channel_salience(network, [image], ["body.0"])
        with torch.no_grad():
            response = network.body[0](network.lrelu(network.conv_first(image[None])))

            def total(features: Tensor) -> float:
                handle = network.body[0].register_forward_hook(lambda *_: features)
                sum_of_edges = edges(network(image[None])).sum().item()
                handle.remove()
                return sum_of_edges

            gradient = torch.zeros_like(response)
            for place in np.ndindex(*response.shape):
                step = torch.zeros_like(response)
                step[place] = 1e-6
                gradient[place] = (total(response + step) - total(response - step)) / 2e-6
    finally:
        network.float()
    csm = gradient[0].abs() / gradient.abs().max()
    np.testing.assert_allclose(frame["salience"], csm.sum((1, 2)), rtol=1e-3)
    np.testing.assert_allclose(frame["share"], csm.sum((1, 2)) / csm.sum(), rtol=1e-3)
    assert frame["share"].sum() == pytest.approx(1)


def test_salience_reads_what_an_activation_in_place_overwrites(foreign: Foreign) -> None:
    maps = salience_maps(foreign, IMAGES[0], ["conv"])
    with torch.no_grad():
        conv = foreign.conv(IMAGES[0][None])[0]
    np.testing.assert_allclose(maps["feature"], conv.flatten(), rtol=1e-5)
    idle = maps["feature"] < 0  # ReLU lets no gradient pass
    assert idle.any() and (maps.loc[idle, "salience"] == 0).all() and maps["salience"].max() == 1


def test_a_flat_image_has_salience_without_nan_and_frozen_networks_work() -> None:
    network = small_network("srresnet-x4").requires_grad_(False)
    frame = channel_salience(network, [torch.full((3, 6, 6), 0.5)], ["conv_first", "conv_last:input"])
    assert np.isfinite(frame[["salience", "share"]]).all(axis=None)


# --- LAM


def test_lam_is_integrated_gradients_along_the_blur(small: SRResNet) -> None:
    image = some_images((10, 12))[0]
    found = attributed(small, image, window=8, steps=5, sigma=1.0)
    points = [blurred(image[None], sigma) for sigma in (1.0, 0.8, 0.6, 0.4, 0.2, 0.0)]
    total = torch.zeros_like(points[0])
    for before, after in pairwise(points):
        after = after.clone().requires_grad_()
        sr = small(after)
        detail = torch.zeros(())
        for y in range(15, 23):  # the middle of 39 × 47 edges
            for x in range(19, 27):
                square = (sr[0, :, y, x] - sr[0, :, y + 1, x]) ** 2 + (sr[0, :, y, x] - sr[0, :, y, x + 1]) ** 2
                detail = detail + (square + 1e-8).sqrt().sum()
        (gradient,) = torch.autograd.grad(detail, after)
        total += gradient * (after.detach() - before)
    torch.testing.assert_close(found.values, total[0], rtol=1e-3, atol=1e-5)
    assert np.argwhere(found.watched).min(0).tolist() == [3, 4]
    assert np.argwhere(found.watched).max(0).tolist() == [5, 6]


def test_lam_is_complete_on_a_fine_path(small: SRResNet) -> None:
    image = some_images((10, 12))[0]
    gaps = [lam_summary(lam(small, [image], window=8, steps=steps))["gap"].item() for steps in (10, 160)]
    assert gaps[1] < 0.02 < gaps[0]


def test_a_flat_image_has_no_detail_and_no_nan() -> None:
    network = with_filters(torch.ones(2, 3), torch.zeros(2))
    summary = lam_summary(lam(network, [torch.full((3, 20, 20), 0.5)], steps=3))
    np.testing.assert_allclose(summary[["attributed", "gain"]], 0, atol=1e-6)
    assert not summary.isna().any(axis=None)


def test_blurring_is_that_of_opencv() -> None:
    image = some_images((13, 11))[0]
    expected = cv2.GaussianBlur(image.permute(1, 2, 0).numpy(), (9, 9), 1.2, borderType=cv2.BORDER_REFLECT_101)
    np.testing.assert_allclose(blurred(image[None], 1.2)[0].permute(1, 2, 0), expected, atol=1e-5)


def test_diffusion_index_is_100_for_all_alike_and_near_0_for_one() -> None:
    assert diffusion_index(np.full((4, 5), -2.0)) == pytest.approx(100)
    assert diffusion_index(np.eye(1, 50)) == pytest.approx(2)


def test_a_window_outside_or_an_image_too_small_is_refused(small: SRResNet) -> None:
    for corner, window in [((30, 0), 16), ((-1, 0), 16), (None, 200)]:
        with pytest.raises(InputError, match="is not within the SR image's edges"):
            lam(small, IMAGES[:1], window, corner)
    with pytest.raises(InputError, match="too small to be blurred"):
        lam(small, some_images((4, 9)), 2)
    with pytest.raises(InputError, match="no path of 0 steps"):
        lam(small, IMAGES[:1], steps=0)


# --- principal components, SRGA, DDR


@pytest.mark.parametrize("components", [3, 40])
def test_principal_scores_are_those_of_scikit_learn(components: int) -> None:
    values = np.random.default_rng(0).normal(size=(12, 40_000)).astype(np.float32) * np.linspace(1, 3, 40_000) + 5
    found = principal_scores((torch.from_numpy(row) for row in values), components)
    expected = PCA(min(components, 12), svd_solver="full").fit_transform(values.astype(np.float64))
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-2)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, rtol=1e-4, atol=1)


def test_features_of_different_sizes_or_too_few_are_refused(small: SRResNet) -> None:
    with pytest.raises(InputError, match="images of one size are needed"):
        srga(small, IMAGES, {})
    with pytest.raises(InputError, match="give at least two"):
        srga(small, IMAGES[:1], {})


@pytest.mark.parametrize("beta", [1, 2, 4])
def test_a_generalized_gaussian_is_found_by_its_moments(beta: float) -> None:
    alpha, shape = generalized_gaussian(gennorm.rvs(beta, scale=3, size=200_000, random_state=0))
    assert shape == pytest.approx(beta, rel=0.06) and alpha == pytest.approx(3, rel=0.12)


def test_divergence_is_the_integral_that_defines_it() -> None:
    for first, second in [((1.0, 2.0), (1.0, 2.0)), ((1.0, 0.7), (2.0, 1.5)), ((3.0, 2.0), (1.5, 2.0))]:
        x = np.linspace(-200, 200, 2_000_001)
        log_p, log_q = (gennorm.logpdf(x, beta, scale=alpha) for alpha, beta in (first, second))
        assert divergence(first, second) == pytest.approx(np.trapezoid(np.exp(log_p) * (log_p - log_q), x), abs=1e-4)


def test_srga_of_a_set_with_itself_is_0(small: SRResNet) -> None:
    images = some_images(*[(5, 5)] * 6)
    frame = srga(small, images, {"same": images, "other": [1 - image.square() for image in images]}).set_index("set")
    assert frame.loc["reference", "srga"] == frame.loc["same", "srga"] == 0
    assert frame.loc["other", "srga"] > 0 and frame.loc["other", "patches"] == 6


def test_srga_grows_with_a_change_of_shape() -> None:
    indices = [srga_index(divergence((1.0, 1.0), (1.0, beta))) for beta in (1.0, 1.1, 1.3, 1.6, 2.0)]
    assert indices[0] == 0 and all(a < b for a, b in pairwise(indices))
    sampled = [generalized_gaussian(gennorm.rvs(beta, size=50_000, random_state=0)) for beta in (1, 1.3, 2)]
    moved = [srga_index(divergence(sampled[0], shape)) for shape in sampled]
    assert moved[0] == 0 and moved[0] < moved[1] < moved[2]


def test_a_layer_that_never_changes_has_no_distribution() -> None:
    network = with_filters(torch.zeros(2, 3), torch.ones(2))
    with pytest.raises(InputError, match="is the layer dead"):
        srga(network, some_images((5, 5), (5, 5)), {}, "0")


class Points(nn.Module):
    """Its response to an image is the image."""

    def __init__(self) -> None:
        super().__init__()
        self.same = nn.Identity()

    def forward(self, lr: Tensor) -> Tensor:
        same: Tensor = self.same(lr)
        return same


def test_ddr_tells_clusters_apart_as_scikit_learn_does() -> None:
    points, labels = make_blobs([10, 12], n_features=12, cluster_std=0.05, random_state=0, centers=None)
    sets = {
        str(label): [torch.from_numpy(p).float().reshape(3, 2, 2) for p in points[labels == label]] for label in (0, 1)
    }
    frame = ddr(Points(), sets, "same", components=5, seeds=(0, 1))
    assert frame["space"].unique().tolist() == ["pca", "t-sne 0", "t-sne 1"] and len(frame) == 3 * 22
    scores = PCA(5).fit_transform(np.concatenate([points[labels == label] for label in (0, 1)]))
    assert frame["chi"].iloc[0] == pytest.approx(calinski_harabasz_score(scores, np.sort(labels)), rel=1e-3)
    assert frame["chi"].iloc[0] == pytest.approx(slow_chi(scores, np.sort(labels)), rel=1e-3)
    for _, of_space in frame[frame["space"] != "pca"].groupby("space"):
        assert of_space["chi"].iloc[0] == pytest.approx(slow_chi(of_space[["x", "y"]].to_numpy(), of_space["set"]))
    summary = ddr_summary(frame).set_index("kind")
    assert summary.loc["t-sne", "spaces"] == 2 and summary.loc["pca", "chi"] == frame["chi"].iloc[0]


def slow_chi(points: np.ndarray, labels: np.ndarray | pd.Series) -> float:
    """Scatter between clusters over scatter within them, each by its degrees of freedom."""
    kinds = np.unique(labels)
    between, within = 0.0, 0.0
    for kind in kinds:
        cluster = points[np.asarray(labels) == kind]
        between += len(cluster) * ((cluster.mean(0) - points.mean(0)) ** 2).sum()
        within += sum(((point - cluster.mean(0)) ** 2).sum() for point in cluster)
    return float(between / (len(kinds) - 1) / (within / (len(points) - len(kinds))))


def test_ddr_needs_two_sets_of_two() -> None:
    same = some_images((2, 2), (2, 2))
    with pytest.raises(InputError, match="nothing to tell apart among 1 sets"):
        ddr(Points(), {"clean": same}, "same")
    with pytest.raises(InputError, match="two crops each: 2 of clean, 1 of blur"):
        ddr(Points(), {"clean": same, "blur": same[:1]}, "same")


# --- equity


@given(st.integers(1, 40), st.floats(1e-300, 1e300))
def test_equal_shares_have_gini_zero(n: int, share: float) -> None:
    scores = [share, -share] * n
    assert gini(scores) == pytest.approx(0, abs=1e-12) and entropy(scores) == pytest.approx(1)
    assert effective_players(scores) == pytest.approx(2 * n)


@given(st.integers(2, 40))
def test_one_takes_all_has_the_largest_gini(n: int) -> None:
    scores = np.eye(1, n)[0] * 7
    assert gini(scores) == pytest.approx((n - 1) / n)
    assert effective_players(scores) == pytest.approx(1) and entropy(scores) == pytest.approx(0, abs=1e-12)


@given(
    st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=2, max_size=20), st.floats(1e-3, 1e3), st.randoms()
)
def test_equity_feels_neither_unit_nor_order(scores: list[float], factor: float, random: object) -> None:
    others = [score * factor for score in reversed(scores)]
    for measure in (gini, entropy, effective_players):
        assert measure(others) == pytest.approx(measure(scores), abs=1e-6)
    assert -1e-12 <= gini(scores) < 1 and 1 - 1e-9 <= effective_players(scores) <= len(scores) + 1e-9


def test_gini_is_half_the_mean_difference_of_all_pairs() -> None:
    scores = [3.0, 1, 4, 1, 5, 9, 2, 6]
    differences = np.mean([abs(a - b) for a in scores for b in scores])
    assert gini(scores) == pytest.approx(differences / (2 * np.mean(scores)))
    shares = np.array(scores) / sum(scores)
    assert effective_players(scores) == pytest.approx(math.prod(s**-s for s in shares))


def test_scores_of_nothing_are_equal_and_of_nan_are_refused() -> None:
    assert gini([0, 0, 0]) == 0 and effective_players([0, 0, 0]) == pytest.approx(3) and entropy([5]) == 1
    for scores in ([], [1, math.nan]):
        with pytest.raises(InputError, match="at least one score, and finite ones"):
            gini(scores)
    frame = equity(pd.DataFrame({"layer": list("aab"), "phi": [1.0, -1, 2]}), "phi")
    assert frame["layer"].tolist() == ["a", "b"] and frame["effective"].tolist() == pytest.approx([2, 1])


# --- captum's attributions


def test_integrated_gradients_add_up_to_what_shapley_values_do(small: SRResNet, photographs: Pairs) -> None:
    for layer in ("conv_hr", "body.0.conv2"):
        frame = channel_attributions(small, photographs, [layer], steps=60)
        game = RestorationGame(small, filters_of(small, [layer]), photographs)
        worth = game(torch.tensor([[True] * 8, [False] * 8]))
        assert frame["attribution"].sum() == pytest.approx((worth[0] - worth[1]).item(), rel=1e-2)


def test_integrated_gradients_are_shapley_values_before_a_linear_tail(small: SRResNet, photographs: Pairs) -> None:
    frame = channel_attributions(small, photographs, ["conv_last"], payoff="-mse")
    values = exact_shapley(RestorationGame(small, filters_of(small, ["conv_last"]), photographs, payoff="-mse"))
    np.testing.assert_allclose(frame["attribution"], values.value, rtol=1e-4)


def test_conductance_is_the_flow_through_each_channel(photographs: Pairs) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(5, 48, 1), nn.PixelShuffle(4)
        )
    frame = channel_attributions(network, photographs, ["0"], "conductance", "-mse", steps=100)
    assert network[1].inplace is True
    expected = []
    for lr, hr in zip(photographs.lr, photographs.hr, strict=True):
        flow, steps = torch.zeros(5), 400
        before = network[0](torch.zeros_like(lr[None]))
        for step in range(steps):
            middle = network[0](lr[None] * ((step + 0.5) / steps)).detach().requires_grad_()
            worth = -(network[3](network[2](middle.relu())) - hr).square().mean()
            (gradient,) = torch.autograd.grad(worth, middle)
            after = network[0](lr[None] * ((step + 1) / steps)).detach()
            flow += (gradient * (after - before)).sum((0, 2, 3)).detach()
            before = after
        expected.append(flow)
    np.testing.assert_allclose(frame["attribution"], torch.stack(expected).mean(0), rtol=0.02, atol=1e-3)
    grown = [
        -(network(x[None]) - hr).square().mean()
        for lr, hr in zip(photographs.lr, photographs.hr, strict=True)
        for x in (lr, 0 * lr)
    ]
    assert frame["attribution"].sum() == pytest.approx(
        ((grown[0] - grown[1] + grown[2] - grown[3]) / 2).item(), rel=0.02
    )


def test_attributions_work_on_what_cannot_be_traced(foreign: Foreign) -> None:
    pairs = load_pairs("photographs", scale=2, images=1, crop=24)
    for method in ("integrated-gradients", "conductance"):
        frame = channel_attributions(foreign, pairs, ["conv", "last:input"], method, steps=10)
        assert len(frame) == 8 and np.isfinite(frame["attribution"]).all() and frame["attribution"].abs().max() > 0
    with pytest.raises(InputError, match="unknown method 'guess'"):
        channel_attributions(foreign, pairs, ["conv"], "guess")


def test_activations_are_in_place_again_when_a_body_raises(foreign: Foreign) -> None:
    with pytest.raises(KeyError), out_of_place(foreign):
        assert not foreign.act.inplace
        raise KeyError
    assert foreign.act.inplace
