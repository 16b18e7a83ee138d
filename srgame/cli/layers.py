"""`srgame layers`."""

from srgame.cli.flags import Network


def layers(network: Network) -> None:
    """List the conv layers of a network, and the number of filters in each."""
    from srgame.cli.loading import loaded
    from srgame.filters import filters_of

    filters = filters_of(loaded(network.checkpoint, network.network, network.scale, network.strict, network.convention))
    for layer, width in zip(filters.layers, filters.widths, strict=True):
        print(f"{layer:24} {width:6,}")
    print(f"{len(filters.layers)} layers, {len(filters):,} filters")
