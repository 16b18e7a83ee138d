"""SR networks, and their weights from checkpoints or the zoo.

Start with `checkpoints.py`, which loads a network from a file. `weights.py` reads files without running code in them,
`layouts.py` lists the networks and the weight names of public checkpoints, and zoo/README.md the shipped networks.
"""

from srgame.networks.checkpoints import fingerprint, load_network, scale_of, tied_filters, zoo
from srgame.networks.han import HAN
from srgame.networks.layouts import NETWORKS
from srgame.networks.rrdbnet import RRDBNet
from srgame.networks.srresnet import SRResNet

__all__ = ["HAN", "NETWORKS", "RRDBNet", "SRResNet", "fingerprint", "load_network", "scale_of", "tied_filters", "zoo"]
