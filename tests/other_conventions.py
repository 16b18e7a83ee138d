"""Small networks of the conventions that published ones have; each function builds one, with fixed weights."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MEAN = (0.45, 0.44, 0.40)


class Plain(nn.Module):
    """Three convs and a bilinear skip; each class below changes one habit of it."""

    def __init__(self, scale: int = 4, channels: int = 3, width: int = 6) -> None:
        super().__init__()
        self.scale = scale
        self.head = nn.Conv2d(channels, width, 3, padding=1)
        self.body = nn.Conv2d(width, width, 3, padding=1)
        self.tail = nn.Conv2d(width, channels * scale * scale, 3, padding=1)

    def restored(self, x: Tensor) -> Tensor:
        detail = F.pixel_shuffle(self.tail(F.relu(self.body(F.relu(self.head(x))))), self.scale)
        smooth = F.interpolate(x, scale_factor=self.scale, mode="bilinear") if self.scale > 1 else x
        return smooth + 0.1 * detail

    def forward(self, x: Tensor) -> Any:
        return self.restored(x)


class Bytes(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return self.restored(x / 255) * 255


class Signed(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return self.restored((x + 1) / 2) * 2 - 1


class SignedOutput(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return self.restored(x) * 2 - 1


class Shifted(Plain):
    def forward(self, x: Tensor) -> Tensor:
        mean = x.new_tensor(MEAN).view(1, 3, 1, 1)
        return self.restored(x + mean) - mean


class Bgr(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return self.restored(x.flip(1)).flip(1)


class Several(Plain):
    def forward(self, x: Tensor) -> Any:
        sr = self.restored(x)
        return {"sr": [sr + torch.tanh(sr), sr], "code": x.mean((2, 3))}


class Coded(Plain):
    """A code of the blur kernel and a map of the noise join the image."""

    def forward(self, x: Tensor, code: Tensor, level: Tensor) -> Tensor:
        return self.restored(x * (1 + 0.01 * code.mean(1)[:, None, None, None]) + level)


class Windowed(Plain):
    """Its input has sides that are multiples of the window, as window attention wants them."""

    def __init__(self, window: int) -> None:
        super().__init__()
        self.window, self.mix = window, nn.Linear(window * window, window * window)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        s = self.window
        mixed = self.mix(x.view(b, c, h // s, s, w // s, s).permute(0, 1, 2, 4, 3, 5).flatten(4))
        mixed = mixed.unflatten(4, (s, s)).permute(0, 1, 2, 4, 3, 5).reshape(b, c, h, w)
        return self.restored(x + 0.01 * mixed)


class AtLeast(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return self.restored(F.pad(F.pad(x, (20,) * 4, mode="reflect"), (-20,) * 4))


class Modulated(nn.Module):
    """A residual block of SFTMD: maps of the code scale and shift the features before each conv (SFT)."""

    def __init__(self, width: int, code: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.scales = nn.ModuleList(nn.Conv2d(width + code, width, 3, padding=1) for _ in range(2))
        self.shifts = nn.ModuleList(nn.Conv2d(width + code, width, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor, maps: Tensor) -> Tensor:
        z = x
        for conv, scale, shift in zip((self.conv1, self.conv2), self.scales, self.shifts, strict=True):
            both = torch.cat((z, maps), 1)
            z = conv(F.relu(z * scale(both).sigmoid() + shift(both)))
        return x + z


class SFTMD(nn.Module):
    """IKC's restorer (Gu et al. 2019): an SRResNet whose blocks are modulated by a code of the blur kernel."""

    def __init__(self, width: int = 6, code: int = 10, blocks: int = 2) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.ModuleList(Modulated(width, code) for _ in range(blocks))
        self.up = nn.Conv2d(width, 4 * width, 3, padding=1)
        self.tail = nn.Conv2d(width, 12, 3, padding=1)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        maps = code[:, :, None, None].expand(-1, -1, x.shape[2], x.shape[3])
        features = first = F.leaky_relu(self.head(x), 0.2)
        for block in self.body:
            features = block(features, maps)
        detail = F.pixel_shuffle(self.tail(F.leaky_relu(F.pixel_shuffle(self.up(features + first), 2), 0.2)), 2)
        return F.interpolate(x, scale_factor=4, mode="bilinear") + 0.1 * detail


class IKC(nn.Module):
    """A predictor of the code, the restorer, and a corrector that sees the SR image; it returns every iteration."""

    def __init__(self, iterations: int = 2, width: int = 6, code: int = 10) -> None:
        super().__init__()
        self.iterations = iterations
        self.predictor = nn.Sequential(nn.Conv2d(3, width, 5, padding=2), nn.LeakyReLU(0.2), nn.Conv2d(width, code, 3))
        self.restorer = SFTMD(width, code)
        self.seen = nn.Sequential(nn.Conv2d(3, width, 5, 2, 2), nn.LeakyReLU(0.2), nn.Conv2d(width, code, 3))
        self.believed = nn.Sequential(nn.Linear(code, code), nn.LeakyReLU(0.2), nn.Linear(code, code))
        self.corrector = nn.Linear(2 * code, code)

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        code = self.predictor(x).mean((2, 3))
        results = [[self.restorer(x, code), code]]
        for _ in range(self.iterations):
            seen = self.seen(results[-1][0]).mean((2, 3))
            code = code + self.corrector(torch.cat((seen, self.believed(code)), 1))
            results.append([self.restorer(x, code), code])
        return results


class DAN(nn.Module):
    """A restorer and an estimator of the kernel in turns (Luo et al. 2020): all SR images, and all kernels."""

    def __init__(self, turns: int = 2, width: int = 6, kernel: int = 5) -> None:
        super().__init__()
        self.turns, self.kernel = turns, kernel
        self.restorer = SFTMD(width, 10)
        self.reduced = nn.Linear(kernel * kernel, 10)
        self.estimator = nn.Sequential(nn.Conv2d(width + 3, width, 3, padding=1), nn.LeakyReLU(0.2))
        self.down = nn.Conv2d(3, width, 9, 4, 4)
        self.last = nn.Conv2d(width, kernel * kernel, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        kernel = x.new_full((x.shape[0], self.kernel**2), 1 / self.kernel**2)
        images, kernels = [], []
        for _ in range(self.turns):
            images.append(self.restorer(x, self.reduced(kernel)))
            features = self.estimator(torch.cat((self.down(images[-1]), x), 1))
            kernel = self.last(features).mean((2, 3)).softmax(1)
            kernels.append(kernel.unflatten(1, (self.kernel, self.kernel)))
        return images, kernels


def _built(kind: Callable[..., nn.Module], *args: int) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return kind(*args).eval()

    return build


plain, in_bytes, signed, signed_output = map(_built, (Plain, Bytes, Signed, SignedOutput))
shifted, bgr, several, coded, at_least = map(_built, (Shifted, Bgr, Several, Coded, AtLeast))
window7, window8, window64 = (_built(Windowed, window) for window in (7, 8, 64))
one_channel, enlarged_first, denoiser = _built(Plain, 4, 1), _built(Plain, 1), _built(Plain, 1)
sftmd, ikc, dan = map(_built, (SFTMD, IKC, DAN))
