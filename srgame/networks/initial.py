"""Initial weights of the networks."""

from torch import nn


def scaled_kaiming(*roots: nn.Module, factor: float = 0.1) -> None:
    """Draws every conv in `roots` from Kaiming's normal distribution times `factor`; biases are 0 (as in ESRGAN)."""
    for root in roots:
        for layer in root.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)
                layer.weight.data *= factor
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
