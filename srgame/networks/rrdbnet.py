"""RRDBNet of ESRGAN (Wang et al. 2018), as in BasicSR and Real-ESRGAN."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, fx, nn

from srgame.errors import InputError
from srgame.networks.initial import scaled_kaiming

RESIDUAL = 0.2


class DenseBlock(nn.Module):
    """Five convs; each takes the input and all earlier responses, and the last response is added to the input."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, growth, 3, padding=1)
        self.conv2 = nn.Conv2d(features + growth, growth, 3, padding=1)
        self.conv3 = nn.Conv2d(features + 2 * growth, growth, 3, padding=1)
        self.conv4 = nn.Conv2d(features + 3 * growth, growth, 3, padding=1)
        self.conv5 = nn.Conv2d(features + 4 * growth, features, 3, padding=1)
        self.lrelu = nn.LeakyReLU(0.2)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        seen = x
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            seen = torch.cat((seen, self.lrelu(conv(seen))), 1)
        residual: Tensor = self.conv5(seen)
        return x + RESIDUAL * residual


class RRDB(nn.Module):
    """Three dense blocks and a skip connection."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.rdb1 = DenseBlock(features, growth)
        self.rdb2 = DenseBlock(features, growth)
        self.rdb3 = DenseBlock(features, growth)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        residual: Tensor = self.rdb3(self.rdb2(self.rdb1(x)))
        return x + RESIDUAL * residual


class RRDBNet(nn.Module):
    """Maps an LR image with values in [0, 1] to an SR image `scale` (2 or 4) times larger.

    `growth`, the width of the convs within a dense block, is half of `features` (as published) if it is not given.
    The body always enlarges 4 times; scale 2 feeds it the image at half the size, with 4 pixels stacked as channels.

    >>> import torch
    >>> RRDBNet(scale=4, features=8, blocks=1, growth=4)(torch.rand(1, 3, 10, 12)).shape
    torch.Size([1, 3, 40, 48])
    """

    def __init__(self, scale: int = 4, features: int = 64, blocks: int = 23, growth: int | None = None) -> None:
        super().__init__()
        if scale not in (2, 4):
            raise InputError(f"RRDBNet enlarges 2 or 4 times, not {scale} times")
        self.scale = scale
        growth = growth or max(1, features // 2)
        self.conv_first = nn.Conv2d(12 if scale == 2 else 3, features, 3, padding=1)
        self.body = nn.Sequential(*(RRDB(features, growth) for _ in range(blocks)))
        self.conv_body = nn.Conv2d(features, features, 3, padding=1)
        self.conv_up1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv_up2 = nn.Conv2d(features, features, 3, padding=1)
        self.conv_hr = nn.Conv2d(features, features, 3, padding=1)
        self.conv_last = nn.Conv2d(features, 3, 3, padding=1)
        self.lrelu = nn.LeakyReLU(0.2)
        scaled_kaiming(self.body)

    def forward(self, lr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 sh sw"]:
        x = self.conv_first(F.pixel_unshuffle(_even(lr), 2) if self.scale == 2 else lr)
        x = x + self.conv_body(self.body(x))
        x = self.lrelu(self.conv_up1(F.interpolate(x, scale_factor=2, mode="nearest")))
        x = self.lrelu(self.conv_up2(F.interpolate(x, scale_factor=2, mode="nearest")))
        sr = self.conv_last(self.lrelu(self.conv_hr(x)))
        return _cropped(sr, lr, 2) if self.scale == 2 else sr


def _even(lr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 H W"]:
    """The images with odd sides extended by one reflected pixel, as in Real-ESRGAN."""
    return F.pad(lr, (0, lr.shape[-1] % 2, 0, lr.shape[-2] % 2), mode="reflect")


@fx.wrap  # one node in a trace: the part behind an erased layer then takes `lr` as input, not its shape
def _cropped(sr: Float[Tensor, "b 3 H W"], lr: Float[Tensor, "b 3 h w"], scale: int) -> Float[Tensor, "b 3 sh sw"]:
    """The part of `sr` that shows `lr`."""
    return sr[..., : scale * lr.shape[-2], : scale * lr.shape[-1]]
