"""Kernels, JPEG and training degradations against slow definitions, the codec and the published probabilities."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from jaxtyping import Float
from scipy import stats
from torch import Tensor

from srgame.data.degradations.bsrgan import bsrgan_plan
from srgame.data.degradations.jpeg import jpeg
from srgame.data.degradations.kernels import BETAS, KINDS, SIZES, drawn_blur, drawn_sinc, gaussian, kernel, padded
from srgame.data.degradations.steps import Plan, blurred, degraded, noisy
from srgame.data.degradations.training import DEGRADATIONS, second_order, second_order_plans, sharpened
from srgame.data.images import image_paths, read_image
from srgame.errors import InputError

WIDTHS = (0.2, 3.0)
NOISES = ("noise1", "noise2")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small images gain nothing from more threads, and lose much if other processes are running."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def pictures() -> list[Tensor]:
    return [read_image(path) for path in image_paths("photographs")]


@pytest.fixture(scope="module")
def crops(pictures: list[Tensor]) -> Float[Tensor, "4 3 96 96"]:
    return torch.stack([image[:, 100:196, 150:246] for image in pictures])


def likely(counts: Iterable[int], probabilities: Iterable[float]) -> bool:
    """Whether a chi-square test accepts the probabilities, at one in ten thousand."""
    observed, expected = np.array(list(counts)), np.array(list(probabilities))
    return bool(stats.chisquare(observed, expected * observed.sum()).pvalue > 1e-4)


def uniform(values: Iterable[float], low: float, high: float) -> bool:
    """Whether a Kolmogorov-Smirnov test accepts the uniform distribution, at one in ten thousand."""
    return bool(stats.kstest(list(values), "uniform", (low, high - low)).pvalue > 1e-4)


# Kernels


def slow_bell(kind: str, size: int, sigma_x: float, sigma_y: float, theta: float, beta: float = 1) -> np.ndarray:
    turn = np.array([[np.cos(theta), -np.sin(theta)], [np.sin(theta), np.cos(theta)]])
    inverse = np.linalg.inv(turn @ np.diag([sigma_x**2, sigma_y**2]) @ turn.T)
    values = np.zeros((size, size))
    for row in range(size):
        for column in range(size):
            x = np.array([column - size // 2, row - size // 2])
            d = x @ inverse @ x
            values[row, column] = 1 / (1 + d**beta) if kind == "plateau" else np.exp(-(d**beta) / 2)
    return values / values.sum()


def slow_sinc(kind: str, size: int, cutoff: float) -> np.ndarray:
    """J₁ from Bessel's integral."""
    tau = (np.arange(1000) + 0.5) * np.pi / 1000
    values = np.zeros((size, size))
    for row in range(size):
        for column in range(size):
            r = np.hypot(column - size // 2, row - size // 2)
            bessel = np.cos(tau - cutoff * r * np.sin(tau)).mean()
            values[row, column] = cutoff * bessel / (2 * np.pi * r) if r else cutoff**2 / (4 * np.pi)
    return values / values.sum()


def test_every_drawn_kernel_matches_its_formula() -> None:
    rng = np.random.default_rng(0)
    drawn = [drawn_blur(rng, WIDTHS) for _ in range(40)]
    assert {each["kind"] for each in drawn} == {"gaussian", "generalized", "plateau", "sinc"}
    for each in drawn:
        slow, error = (slow_sinc, 1e-7) if each["kind"] == "sinc" else (slow_bell, 1e-12)  # torch's J₁: 8 digits
        np.testing.assert_allclose(kernel(**each), slow(**each), rtol=1e-6, atol=error)


def test_padding_keeps_a_kernel_in_the_middle() -> None:
    taps = kernel(kind="sinc", size=7, cutoff=2.0)
    np.testing.assert_array_equal(padded(taps, 21)[7:14, 7:14], taps)
    assert padded(taps, 21).sum() == pytest.approx(1)


def test_kernels_are_drawn_with_the_published_probabilities_and_ranges() -> None:
    rng = np.random.default_rng(1)
    drawn = [drawn_blur(rng, WIDTHS) for _ in range(3000)]
    bells, sincs = [d for d in drawn if d["kind"] != "sinc"], [d for d in drawn if d["kind"] == "sinc"]
    assert likely([len(sincs), len(bells)], [0.1, 0.9])
    assert likely(Counter(d["size"] for d in drawn).values(), [1 / len(SIZES)] * len(SIZES))
    kinds = Counter((d["kind"], d["sigma_x"] == d["sigma_y"]) for d in bells)
    assert likely([kinds[kind] for kind in KINDS], KINDS.values())
    assert uniform((d["sigma_x"] for d in bells), *WIDTHS)
    turned = [d for d in bells if d["sigma_x"] != d["sigma_y"]]
    assert uniform((d["sigma_y"] for d in turned), *WIDTHS)
    assert uniform((d["theta"] for d in turned), -np.pi, np.pi)
    assert uniform((d["cutoff"] for d in sincs if d["size"] < 13), np.pi / 3, np.pi)
    assert uniform((d["cutoff"] for d in sincs if d["size"] >= 13), np.pi / 5, np.pi)


@pytest.mark.parametrize("kind", BETAS)
def test_beta_lies_below_and_above_one_equally_often(kind: str) -> None:
    rng = np.random.default_rng(2)
    betas = [d["beta"] for d in (drawn_blur(rng, WIDTHS) for _ in range(3000)) if d["kind"] == kind]
    low, high = BETAS[kind]
    assert likely([sum(b <= 1 for b in betas), sum(b > 1 for b in betas)], [0.5, 0.5])
    assert uniform((b for b in betas if b > 1), 1, high)
    assert min(betas) >= low


def test_the_last_filter_is_mostly_a_sinc() -> None:
    rng = np.random.default_rng(3)
    drawn = [drawn_sinc(rng) for _ in range(3000)]
    cutoffs = [d["cutoff"] for d in drawn if d["kind"] == "sinc"]
    assert likely([len(cutoffs), 3000 - len(cutoffs)], [0.8, 0.2]) and uniform(cutoffs, np.pi / 3, np.pi)


# Blur


def test_both_blurs_are_the_mirrored_correlation(crops: Tensor) -> None:
    rng = np.random.default_rng(4)
    kernels = [kernel(**drawn_blur(rng, WIDTHS)) for _ in range(2)]
    kernels += [gaussian(9, 2.0, 0.7, 0.5, shift=1.5), gaussian(25, 0.1, 0.1, shift=1.5)]
    for opencv in (True, False):
        for image, taps, result in zip(crops, kernels, blurred(crops, kernels, opencv), strict=True):
            margin, (height, width) = len(taps) // 2, image.shape[1:]
            mirrored = np.pad(image.double().numpy(), ((0, 0), (margin, margin), (margin, margin)), "reflect")
            slow = np.zeros(image.shape)
            for row in range(len(taps)):
                for column in range(len(taps)):
                    slow += taps[row, column] * mirrored[:, row : row + height, column : column + width]
            np.testing.assert_allclose(result, slow, atol=1e-5)


@pytest.mark.parametrize("height, width", [(1, 9), (5, 6), (37, 22)])
def test_both_blurs_agree_if_the_kernel_is_wider_than_the_image(height: int, width: int) -> None:
    images = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    kernels = [kernel(kind="sinc", size=21, cutoff=1.2), kernel(kind="identity")]
    torch.testing.assert_close(blurred(images, kernels, True), blurred(images, kernels, False), atol=1e-5, rtol=0)


# Noise


def test_gaussian_noise_has_the_drawn_deviation_and_is_the_same_in_all_channels_only_if_grey() -> None:
    image = torch.full((3, 200, 200), 0.5)
    for grey in (False, True):
        noise = noisy(image, "gaussian", seed=0, strength=0.05, grey=grey) - image
        assert noise.mean().abs() < 1e-3 and noise.std() == pytest.approx(0.05, rel=0.02)
        assert (torch.corrcoef(noise.flatten(1))[0, 1] > 0.99) == grey


def test_correlated_noise_has_the_drawn_covariance() -> None:
    covariance = np.array([[4, 1, 0], [1, 3, 2], [0, 2, 2]]) * 1e-4
    image = torch.full((3, 300, 300), 0.5)
    noise = noisy(image, "correlated", seed=1, covariance=covariance.tolist()) - image
    np.testing.assert_allclose(torch.cov(noise.flatten(1)), covariance, atol=6e-6)


@pytest.mark.parametrize("levels, photons", [(2, 2), (5, 8), (64, 64), (65, 128)])
@pytest.mark.parametrize("grey", [False, True])
def test_poisson_noise_has_the_variance_of_counted_photons(levels: int, photons: int, grey: bool) -> None:
    values = torch.linspace(60, 124, levels).round() / 255
    image = values.repeat_interleave(20_000 // levels).expand(3, 1, -1)
    noise = noisy(image, "poisson", seed=levels, strength=0.05, grey=grey) - image
    assert (noise.square() * photons / image).mean() == pytest.approx(0.05**2, rel=0.04)
    assert noise.mean().abs() < 4 * noise.std() / 20_000**0.5
    assert (torch.corrcoef(noise.flatten(1))[0, 1] > 0.99) == grey


def test_grey_noise_differs_between_the_images_of_a_batch(crops: Tensor) -> None:
    plans = next(plans for plans in map(plans_of, range(100)) if all(p["noise1"]["grey"] for p in plans))
    assert len({plan["noise1"]["seed"] for plan in plans}) == len(plans)
    flat = torch.full((3, 50, 50), 0.5)
    noises = torch.stack([noisy(flat, **plan["noise1"])[0].flatten() for plan in plans])
    assert (torch.corrcoef(noises) - torch.eye(len(plans))).abs().max() < 0.1


# JPEG


@pytest.mark.parametrize("quality", [30, 49, 50, 75, 90, 95])
def test_jpeg_in_torch_is_within_a_level_of_the_codec(quality: int, pictures: list[Tensor]) -> None:
    for image in pictures:
        batch = image[None, :, 109:210, 105:198]
        codec, torch_ = (jpeg(batch, [quality], opencv) for opencv in (True, False))
        apart, loss = (255 * (each - codec).abs().mean() for each in (torch_, batch))
        assert apart < 0.8 and apart < 0.4 * loss
        assert 255 * (torch_ - codec).mean().abs() < 0.1


def test_each_image_has_its_own_quality(crops: Tensor) -> None:
    qualities = [95, 30, 80, 31]
    for opencv in (True, False):
        together = jpeg(crops, qualities, opencv)
        for image, quality, result in zip(crops, qualities, together, strict=True):
            torch.testing.assert_close(jpeg(image[None], [quality], opencv)[0], result)


def test_a_uniform_image_survives_jpeg() -> None:
    images = torch.full((1, 3, 13, 9), 128 / 255)
    for opencv in (True, False):
        assert torch.equal(jpeg(images, [30], opencv), images)


# The second-order degradation


def plans_of(seed: int, batch: int = 4, size: tuple[int, int] = (24, 24)) -> list[Plan]:
    return second_order_plans(np.random.default_rng(seed), batch, size)


def test_stages_are_drawn_with_the_published_probabilities_and_ranges() -> None:
    rng = np.random.default_rng(5)
    side = 10**7  # large, so sizes give the factors exactly
    plans = [second_order_plans(rng, 1, (side, side), scale=1)[0] for _ in range(1500)]
    resizes = {"1": ((0.2, 0.7, 0.1), 0.15, 1.5), "2": ((0.3, 0.4, 0.3), 0.3, 1.2)}
    for number, (probabilities, low, high) in resizes.items():
        factors = np.array([plan[f"resize{number}"]["height"] / side for plan in plans])
        assert likely([(factors > 1).sum(), (factors < 1).sum(), (factors == 1).sum()], probabilities)
        assert uniform(factors[factors > 1], 1, high) and uniform(factors[factors < 1], low, 1)
    for number in "123":
        modes = Counter(plan[f"resize{number}"]["mode"] for plan in plans)
        assert likely([modes["area"], modes["bilinear"], modes["bicubic"]], [1 / 3] * 3)
    for number, sigma, scale in (("1", 30, 3.0), ("2", 25, 2.5)):
        noises = [plan[f"noise{number}"] for plan in plans]
        sigmas, scales = ([n["strength"] for n in noises if n["kind"] == kind] for kind in ("gaussian", "poisson"))
        assert likely([len(sigmas), len(scales)], [0.5, 0.5])
        assert uniform(sigmas, 1 / 255, sigma / 255) and uniform(scales, 0.05, scale)
        grey = sum(n["grey"] for n in noises)
        assert likely([grey, len(noises) - grey], [0.4, 0.6])
    for number in "12":
        qualities = [plan[f"jpeg{number}"]["quality"] for plan in plans]
        inner = Counter(q for q in qualities if 30 < q < 95)
        assert (min(qualities), max(qualities)) == (30, 95) and likely(inner.values(), [1 / 64] * 64)
    blurred_twice = sum("blur2" in plan for plan in plans)
    assert likely([blurred_twice, 1500 - blurred_twice], [0.8, 0.2])
    jpeg_last = sum(list(plan)[-1] == "jpeg2" for plan in plans)
    assert likely([jpeg_last, 1500 - jpeg_last], [0.5, 0.5])


def test_the_second_stage_blurs_less() -> None:
    plans = [plan for seed in range(300) for plan in plans_of(seed)]
    widths = {n: [p[n]["sigma_x"] for p in plans if "sigma_x" in p.get(n, {})] for n in ("blur1", "blur2")}
    assert uniform(widths["blur1"], 0.2, 3.0) and uniform(widths["blur2"], 0.2, 1.5)


def test_a_batch_shares_sizes_modes_kinds_and_order_only() -> None:
    for seed in range(20):
        plans = plans_of(seed)
        assert all(list(plan) == list(plans[0]) for plan in plans)
        for name in plans[0]:
            distinct = {json.dumps(plan[name]) for plan in plans}
            assert len(distinct) == 1 if "resize" in name else len(distinct) > 1
            assert "noise" not in name or len({plan[name]["kind"] for plan in plans}) == 1


@pytest.mark.parametrize("name", DEGRADATIONS)
@pytest.mark.parametrize("scale, height, width", [(4, 96, 96), (4, 60, 100), (3, 33, 75), (2, 62, 46)])
def test_every_degradation_gives_8_bit_images_of_the_right_size(
    name: str, scale: int, height: int, width: int, crops: Tensor
) -> None:
    for seed in range(3):
        hr = F.interpolate(crops, (height, width), mode="bilinear")
        lr, drawn = DEGRADATIONS[name](hr, np.random.default_rng(seed), scale)
        assert lr.shape == (4, 3, height // scale, width // scale) and len(drawn) == 4
        assert lr.min() >= 0 and lr.max() <= 1
        torch.testing.assert_close(255 * lr, (255 * lr).round(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_a_batch_is_a_function_of_its_generator(name: str, crops: Tensor) -> None:
    first, again, other = (DEGRADATIONS[name](crops, np.random.default_rng(seed), 4) for seed in (6, 6, 7))
    assert torch.equal(first[0], again[0]) and first[1] == again[1]
    assert torch.equal(first[0], other[0]) == (name == "bicubic")


@pytest.mark.parametrize("kind", ["blur", "resize", "noise", "jpeg"])
def test_a_part_of_the_second_order_degradation_keeps_its_steps_of_one_kind(kind: str, crops: Tensor) -> None:
    for seed in range(4):
        lr, plans = DEGRADATIONS[f"second-order:{kind}"](crops, np.random.default_rng(seed), 4)
        whole = second_order(crops, np.random.default_rng(seed), 4)[1]
        for plan, full in zip(plans, whole, strict=True):
            assert {name: step for name, step in plan.items() if name.startswith(kind)} == {
                name: step for name, step in full.items() if name.startswith(kind)
            }
            assert list(plan) == [name for name in full if name in plan]
            assert {re.sub(r"\d", "", name) for name in plan} == {kind, "resize"}
            assert kind == "resize" or [name for name in plan if name.startswith("resize")] == ["resize2"]
    once = F.avg_pool2d(crops, 4)
    if kind != "resize":  # without the steps of its kind, a part is the mean of squares
        alone = [{"resize2": plan["resize2"]} for plan in plans]
        torch.testing.assert_close(degraded(crops, alone), once, rtol=0, atol=0.51 / 255)
    assert not torch.allclose(lr, once, rtol=0, atol=0.51 / 255)


@pytest.mark.parametrize("name", [name for name in DEGRADATIONS if name != "bicubic"])
def test_a_stored_plan_replays_each_image_without_its_batch(name: str, crops: Tensor) -> None:
    for seed in range(3):
        lr, plans = DEGRADATIONS[name](crops, np.random.default_rng(seed), 4)
        for image, plan, result in zip(crops, json.loads(json.dumps(plans)), lr, strict=True):
            assert torch.equal(degraded(image[None], [plan])[0], result)


@pytest.mark.parametrize("name", DEGRADATIONS)
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_uniform_and_tiny_images_stay_finite(name: str, value: float) -> None:
    for side in (8, 64):
        hr = torch.full((2, 3, side, side), value)
        assert all(DEGRADATIONS[name](hr, np.random.default_rng(s), 4)[0].isfinite().all() for s in range(4))


def test_images_that_are_not_multiples_of_the_scale_are_refused() -> None:
    with pytest.raises(InputError, match="crop"):
        second_order(torch.zeros(1, 3, 64, 65), np.random.default_rng(0), 4)


def test_a_plan_with_an_unknown_step_is_refused() -> None:
    with pytest.raises(InputError, match="'rain'"):
        degraded(torch.zeros(1, 3, 8, 8), [{"rain1": {}}])


def statistics(images: Tensor) -> Tensor:
    """Mean, contrast, gradient and amplitude of fine detail of each image."""
    gradient = (images.diff(dim=-1).abs().mean((1, 2, 3)) + images.diff(dim=-2).abs().mean((1, 2, 3))) / 2
    spectrum = torch.fft.rfft2(images.mean(1), norm="ortho").abs().square()
    detail = spectrum[:, 6:18, 6:].mean((1, 2)).sqrt()
    return torch.stack([images.mean((1, 2, 3)), images.std((1, 2, 3)), gradient, detail], 1)


def test_opencv_and_torch_give_the_same_distribution(crops: Tensor) -> None:
    measured: dict[str, list[Tensor]] = {"opencv": [], "torch": [], "worse": []}
    for seed in range(24):
        plans = plans_of(seed)
        worse = [{n: {"quality": s["quality"] - 10} if "jpeg" in n else s for n, s in p.items()} for p in plans]
        measured["opencv"].append(statistics(degraded(crops, plans, True)))
        measured["torch"].append(statistics(degraded(crops, plans, False)))
        measured["worse"].append(statistics(degraded(crops, worse, True)))
    means, deviations = ({n: f(torch.cat(m), 0) for n, m in measured.items()} for f in (torch.mean, torch.std))
    torch.testing.assert_close(means["torch"], means["opencv"], rtol=0.01, atol=0)
    torch.testing.assert_close(deviations["torch"], deviations["opencv"], rtol=0.05, atol=0)
    assert (means["worse"] / means["opencv"] - 1).abs().max() > 0.05  # so the tolerances would notice
    assert (deviations["worse"] / deviations["opencv"] - 1).abs().max() > 0.1


def test_opencv_and_torch_give_the_same_image_of_the_same_gaussian_noise(crops: Tensor) -> None:
    alike = [plans for plans in map(plans_of, range(40)) if {"gaussian"} == {plans[0][n]["kind"] for n in NOISES}]
    apart = [255 * (degraded(crops, plans, True) - degraded(crops, plans, False)).abs().mean() for plans in alike]
    assert len(apart) > 5 and max(apart) < 3


def test_sharpening_is_the_unsharp_mask_of_its_formula(pictures: list[Tensor]) -> None:
    image = pictures[0][:, 100:160, 200:270]

    def soft(planes: np.ndarray) -> np.ndarray:
        taps = np.exp(-(np.arange(-25, 26) ** 2) / (2 * 8.0**2))
        taps /= taps.sum()
        padded = np.pad(planes, ((0, 0), (25, 25), (25, 25)), "reflect")
        return sum(
            taps[row] * taps[column] * padded[:, row : row + planes.shape[1], column : column + planes.shape[2]]
            for row in range(51)
            for column in range(51)
        )

    original = image.double().numpy()
    detail = original - soft(original)
    mask = soft((np.abs(detail) * 255 > 10).astype(float))
    expected = mask * np.clip(original + 0.5 * detail, 0, 1) + (1 - mask) * original
    np.testing.assert_allclose(sharpened(image[None])[0], expected, atol=1e-4)


# BSRGAN


def test_bsrgan_draws_with_the_published_probabilities() -> None:
    rng = np.random.default_rng(8)
    plans = [bsrgan_plan(rng, (25, 25)) for _ in range(1500)]
    for share, happened in {
        0.25: [next(iter(plan)) == "resize1" for plan in plans],
        0.9: ["jpeg1" in plan for plan in plans],
        0.75: ["resize2" in plan for plan in plans],
        0.5: ["theta" in plan["blur1"] for plan in plans],
        0.2: [plan["noise1"]["kind"] == "correlated" for plan in plans],
        0.4: [plan["noise1"].get("grey") is True for plan in plans],
    }.items():
        assert likely([sum(happened), 1500 - sum(happened)], [share, 1 - share])
    assert uniform((p["blur3"]["sigma_x"] for p in plans if "blur3" in p and "resize1" not in p), 0.1, 2.4)
    levels = Counter(round(255 * p["noise1"]["strength"]) for p in plans if "strength" in p["noise1"])
    assert likely([levels[level] for level in range(2, 26)], [1 / 24] * 24)


def test_bsrgan_shuffles_but_downsamples_to_the_end_last() -> None:
    rng = np.random.default_rng(9)
    orders = [[n for n in bsrgan_plan(rng, (25, 25)) if n != "resize1"] for _ in range(1500)]
    assert all(min(o.index(n) for n in ("resize2", "stride1") if n in o) < o.index("resize3") for o in orders)
    assert all(o[-1] == "jpeg2" for o in orders)
    blur_first = sum(o.index("blur1") < o.index("noise1") for o in orders)
    assert likely([blur_first, 1500 - blur_first], [0.5, 0.5])


def test_shifted_gaussian_and_stride_keep_the_image_in_place() -> None:
    ramp = torch.arange(64.0).expand(1, 3, 64, 64) / 64
    blur = {"kind": "gaussian", "size": 25, "sigma_x": 1.3, "sigma_y": 1.3, "shift": 1.5}
    small = degraded(ramp, [{"blur3": blur, "stride1": {"step": 4}}])
    torch.testing.assert_close(small[..., 4:-4], F.avg_pool2d(ramp, 4)[..., 4:-4], atol=0.6 / 255, rtol=0)
