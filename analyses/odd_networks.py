"""Networks with habits that published code has; each restores what `Plain` restores, or fails in a way of its own."""

import torch
from torch import Tensor, nn


class Plain(nn.Module):
    """Three convs and a bilinear skip, scale 4."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 6, 3, padding=1)
        self.body = nn.Conv2d(6, 6, 3, padding=1)
        self.tail = nn.Conv2d(6, 48, 3, padding=1)
        self.register_buffer("mean", torch.full((1, 3, 1, 1), 0.45))

    def restored(self, x: Tensor) -> Tensor:
        sr = nn.functional.pixel_shuffle(self.tail(self.body(self.head(x).relu()).relu()), 4)
        return sr * 0.2 + nn.functional.interpolate(x, scale_factor=4, mode="bilinear")

    def forward(self, x: Tensor) -> Tensor:
        return self.restored(x - self.mean) + self.mean


class EditsInput(Plain):
    """Subtracts the mean from its caller's image."""

    def forward(self, x: Tensor) -> Tensor:
        x -= self.mean
        return self.restored(x) + self.mean


class SetsAttributes(Plain):
    """Replaces a buffer, an attribute and a parameter by their equals."""

    def forward(self, x: Tensor) -> Tensor:
        self.mean = self.mean.type_as(x)
        self.seen = x.mean()
        self.head.weight = nn.Parameter(self.head.weight.detach() + 0)
        return super().forward(x)


class OneImage(Plain):
    """Takes a batch of one only."""

    def forward(self, x: Tensor) -> Tensor:
        assert len(x) == 1, "one image at a time"
        return super().forward(x)


class MultiplesOf8(Plain):
    """Takes images only if 8 divides their sides."""

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[-1] % 8 == x.shape[-2] % 8 == 0
        return super().forward(x)


class OneByOne(Plain):
    """Normalises each image on its own; the twin of `Coupled`."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.normalised(each) for each in x.split(1)])

    def normalised(self, x: Tensor) -> Tensor:
        return super().forward((x - x.mean()) / (x.std() + 1e-3) * 0.2) + 0.5


class Coupled(OneByOne):
    """Normalises over its batch."""

    def forward(self, x: Tensor) -> Tensor:
        return self.normalised(x)


class NotFinite(Plain):
    """Divides zero by zero."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + torch.zeros(1) / torch.zeros(1)


class Raises(Plain):
    """Fails at every size."""

    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("no kernel for this operation")


HABITS = {
    "edits its input": EditsInput,
    "sets its attributes": SetsAttributes,
    "takes one image at a time": OneImage,
    "takes multiples of 8 pixels": MultiplesOf8,
    "normalises over its batch": Coupled,
    "returns NaN": NotFinite,
    "fails at every size": Raises,
}
