"""JPEG compression of a batch of images: the codec itself on a CPU, its arithmetic in torch on any device.

The arithmetic follows libjpeg's defaults: chroma is halved and enlarged linearly, the example tables of the standard
(ITU-T T.81, annex K) are scaled by quality, and every plane is rounded to 8 bits. The lossless part has no effect.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from srgame.data.degradations.testing import compressed
from srgame.data.images import from_bytes, to_bytes
from srgame.metrics import quantized

Images = Float[Tensor, "b 3 h w"]
Planes = Float[Tensor, "b c h w"]
Table = Float[Tensor, "b 1 1 1 8 8"]

YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))  # JFIF
LUMA_TABLE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMA_TABLE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)


def jpeg(images: Images, qualities: Sequence[int], opencv: bool | None = None) -> Images:
    """The images after JPEG, each with its own quality (1 to 100), as 8-bit values in [0, 1].

    `opencv` forces the codec (True) or the arithmetic in torch (False); the default is the codec on a CPU.
    """
    if images.device.type == "cpu" if opencv is None else opencv:
        pairs = zip(images.cpu(), qualities, strict=True)
        coded = [from_bytes(compressed(to_bytes(image), quality)) for image, quality in pairs]
        return torch.stack(coded).to(images.device)
    return _simulated(images, qualities)


def _simulated(images: Images, qualities: Sequence[int]) -> Images:
    height, width = images.shape[-2:]
    matrix = images.new_tensor(YCC)
    ycc = torch.einsum("yc,bchw->byhw", matrix, 255 * quantized(images)).round()
    ycc = F.pad(ycc, (0, -width % 16, 0, -height % 16), mode="replicate")
    luma = _coded(ycc[:, :1] - 128, _table(LUMA_TABLE, qualities, images)) + 128
    chroma = _coded(F.avg_pool2d(ycc[:, 1:], 2).round(), _table(CHROMA_TABLE, qualities, images))
    chroma = chroma[..., : (height + 1) // 2, : (width + 1) // 2]  # libjpeg enlarges only the visible part
    chroma = F.interpolate(chroma, scale_factor=2.0, mode="bilinear").round()
    ycc = torch.cat([plane[..., :height, :width] for plane in (luma, chroma)], 1)
    return quantized(torch.einsum("cy,byhw->bchw", matrix.inverse(), ycc) / 255)


def _coded(planes: Planes, table: Table) -> Planes:
    """The planes (0 is mid-grey), their 8×8 blocks quantised in the cosine basis, as 8-bit values."""
    basis = _cosines().to(planes)
    blocks = planes.unflatten(-1, (-1, 8)).unflatten(-3, (-1, 8)).transpose(-3, -2)
    coefficients = (basis @ blocks @ basis.T / table).round() * table
    decoded: Tensor = (basis.T @ coefficients @ basis + 1e-3).round().clamp(-128, 127)  # libjpeg rounds halves up
    return decoded.transpose(-3, -2).flatten(-2).flatten(-3, -2)


def _cosines() -> Float[Tensor, "8 8"]:
    """The orthonormal cosine basis, one frequency per row."""
    u, x = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    return torch.cos((2 * x + 1) * u * np.pi / 16) * torch.where(u == 0, 0.125, 0.25).sqrt()


def _table(table: tuple[tuple[int, ...], ...], qualities: Sequence[int], like: Tensor) -> Table:
    """The quantisation steps for each quality, by libjpeg's rule."""
    quality = like.new_tensor(qualities)[:, None, None]
    percent = torch.where(quality < 50, (5000 / quality).floor(), 200 - 2 * quality)
    return ((like.new_tensor(table) * percent + 50) / 100).floor().clamp(1, 255)[:, None, None, None]
