"""SRResNet of Reflash Dropout (Kong et al. 2022): no batch norm, and the upsampled input is added at the end."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from srgame.errors import InputError
from srgame.networks.initial import scaled_kaiming


class ResidualBlock(nn.Module):
    """conv, ReLU, conv and a skip connection."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        detail: Tensor = self.conv2(self.relu(self.conv1(x)))
        return x + detail


class SRResNet(nn.Module):
    """Maps an LR image with values in [0, 1] to an SR image `scale` (2, 3 or 4) times larger.

    Layers have the names of BasicSR's MSRResNet. Scale 4 upsamples twice by 2, other scales once.

    >>> import torch
    >>> SRResNet(scale=4, features=8, blocks=2)(torch.rand(1, 3, 10, 12)).shape
    torch.Size([1, 3, 40, 48])
    """

    def __init__(self, scale: int = 4, features: int = 64, blocks: int = 16) -> None:
        super().__init__()
        if scale not in (2, 3, 4):
            raise InputError(f"SRResNet enlarges 2, 3 or 4 times, not {scale} times")
        step = 2 if scale == 4 else scale
        self.scale = scale
        self.conv_first = nn.Conv2d(3, features, 3, padding=1)
        self.body = nn.Sequential(*(ResidualBlock(features) for _ in range(blocks)))
        self.upconv1 = nn.Conv2d(features, features * step**2, 3, padding=1)
        if scale == 4:
            self.upconv2 = nn.Conv2d(features, features * step**2, 3, padding=1)
            scaled_kaiming(self.upconv2)
        self.shuffle = nn.PixelShuffle(step)
        self.conv_hr = nn.Conv2d(features, features, 3, padding=1)
        self.conv_last = nn.Conv2d(features, 3, 3, padding=1)
        self.lrelu = nn.LeakyReLU(0.1)
        scaled_kaiming(self.conv_first, self.body, self.conv_hr, self.conv_last)  # as there, upconv1 keeps PyTorch's

    def forward(self, lr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 sh sw"]:
        x = self.body(self.lrelu(self.conv_first(lr)))
        x = self.lrelu(self.shuffle(self.upconv1(x)))
        if self.scale == 4:
            x = self.lrelu(self.shuffle(self.upconv2(x)))
        detail: Tensor = self.conv_last(self.lrelu(self.conv_hr(x)))
        return detail + F.interpolate(lr, scale_factor=self.scale, mode="bilinear")
