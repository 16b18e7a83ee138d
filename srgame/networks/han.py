"""HAN, the holistic attention network (Niu et al., ECCV 2020), and a variant of 1/20 of its size.

Layers have the names of the public code, so its checkpoints load.
"""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from srgame.errors import InputError

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)
STEPS = {2: (2,), 3: (3,), 4: (2, 2), 8: (2, 2, 2)}


class ChannelAttention(nn.Module):
    """Scales each channel by a weight computed from the means of all channels (RCAN, Eq. 8–11)."""

    def __init__(self, features: int, reduction: int) -> None:
        super().__init__()
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        squeezed = features // reduction
        self.conv_du = nn.Sequential(
            nn.Conv2d(features, squeezed, 1), nn.ReLU(), nn.Conv2d(squeezed, features, 1), nn.Sigmoid()
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        weight: Tensor = self.conv_du(self.avg_pool(x))
        return x * weight


class Residual(nn.Module):
    """The layers in a row, and a skip connection."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*layers)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        residual: Tensor = self.body(x)
        return x + residual


class LayerAttention(nn.Module):
    """Adds to each layer a mixture of all, weighted by dissimilarity (Eq. 4–6); stacks the results as channels."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Float[Tensor, "b n c h w"]) -> Float[Tensor, "b n*c h w"]:
        layers = x.flatten(2)
        energy = layers @ layers.transpose(1, 2)
        attention = (energy.amax(-1, keepdim=True) - energy).softmax(-1)
        return (x + self.gamma * (attention @ layers).reshape_as(x)).flatten(1, 2)


class ChannelSpatialAttention(nn.Module):
    """Scales each value by a weight computed from its neighbours in channel and space (Eq. 7)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(1, 1, 3, padding=1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        weight: Tensor = self.conv(x.unsqueeze(1)).squeeze(1).sigmoid()
        return x + self.gamma * weight * x


def conv3x3(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def attention_block(features: int, reduction: int) -> Residual:
    """RCAN's residual channel attention block."""
    convs = (conv3x3(features, features), nn.ReLU(), conv3x3(features, features))
    return Residual(*convs, ChannelAttention(features, reduction))


class HAN(nn.Module):
    """Maps an LR image with values in [0, 1] to an SR image `scale` (2, 3, 4 or 8) times larger.

    Inside, the mean colour is 0 and the values span `rgb_range`: 1 here, 255 in public checkpoints.

    >>> import torch
    >>> HAN(scale=2, groups=1, blocks=1, features=8, reduction=4)(torch.rand(1, 3, 10, 12)).shape
    torch.Size([1, 3, 20, 24])
    """

    rgb_mean: Tensor
    rgb_range: Tensor

    def __init__(
        self, scale: int = 4, groups: int = 10, blocks: int = 20, features: int = 64, reduction: int = 16
    ) -> None:
        super().__init__()
        if scale not in STEPS:
            raise InputError(f"HAN enlarges 2, 3, 4 or 8 times, not {scale} times")
        self.scale = scale
        self.register_buffer("rgb_mean", torch.tensor(DIV2K_MEAN)[:, None, None])
        self.register_buffer("rgb_range", torch.tensor(1.0))
        self.head = nn.Sequential(conv3x3(3, features))
        self.body = nn.Sequential(
            *(
                Residual(*(attention_block(features, reduction) for _ in range(blocks)), conv3x3(features, features))
                for _ in range(groups)
            ),
            conv3x3(features, features),
        )
        self.csa = ChannelSpatialAttention()
        self.la = LayerAttention()
        self.last_conv = conv3x3((groups + 1) * features, features)
        self.last = conv3x3(2 * features, features)
        steps = (layer for s in STEPS[scale] for layer in (conv3x3(features, features * s**2), nn.PixelShuffle(s)))
        self.tail = nn.Sequential(nn.Sequential(*steps), conv3x3(features, 3))

    def forward(self, lr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 sh sw"]:
        head = self.head((lr - self.rgb_mean) * self.rgb_range)
        layers = [head]
        for stage in self.body:
            layers.append(stage(layers[-1]))
        holistic = self.last_conv(self.la(torch.stack(layers[:0:-1], 1)))  # the last first, as in the public code
        detail = self.last(torch.cat((self.csa(layers[-1]), holistic), 1))
        sr: Tensor = self.tail(detail + head)
        return sr / self.rgb_range + self.rgb_mean


# 5 % of the parameters; the layer attention still spans 11 layers.
han_lite = partial(HAN, blocks=4, features=28, reduction=8)
