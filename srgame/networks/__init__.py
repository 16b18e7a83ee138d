"""Super-resolution networks."""

from srgame.networks.srresnet import SRResNet

NETWORKS = {"srresnet": SRResNet}
