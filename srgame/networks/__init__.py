"""SR networks, and their weights from checkpoints or the zoo.

Start with `checkpoints.py`, which loads a network from a file. `weights.py` reads files without running code in them
(`inert.py`: what else may be in such files), `builders.py` builds networks that are not ours, `loading.py` puts the
weights into a network and checks them, `layouts.py` lists our networks and the weight names of public checkpoints, and
`adapter.py` adapts networks of other conventions, which README.md explains; `behaviour.py` says what stored results
know a network by. zoo/README.md lists the shipped networks.
"""

from srgame.networks.adapter import adapted, original, scale_of
from srgame.networks.behaviour import behaviour_of, identity_of
from srgame.networks.checkpoints import fingerprint, load_network, tied_filters, untrained, zoo
from srgame.networks.han import HAN
from srgame.networks.layouts import NETWORKS
from srgame.networks.rrdbnet import RRDBNet
from srgame.networks.srresnet import SRResNet

__all__ = [
    "HAN",
    "NETWORKS",
    "RRDBNet",
    "SRResNet",
    "adapted",
    "behaviour_of",
    "fingerprint",
    "identity_of",
    "load_network",
    "original",
    "scale_of",
    "tied_filters",
    "untrained",
    "zoo",
]
