"""`srgame layers`."""

from srgame.cli.flags import Network


def layers(network: Network) -> None:
    """List the layers whose filters can be players: kind, number of filters, and number of calls in a run.

    An arrow points to the norm and the activation that follow a layer. Conv layers take part in games, and so do linear
    layers that --layers names. NAME:input stands for the channels that a layer receives, and NAME/4 for filters of 4
    channels each, such as the channels in front of a PixelShuffle(2). The heads of an attention are NAME:input/SIZE of
    the linear layer behind them, where SIZE is the number of channels in a head. If a layer is called several times,
    NAME stands for all its calls, and NAME@2 for the second one; most probes need one call.
    """
    import warnings

    import torch

    from srgame.cli.loading import loaded
    from srgame.filters import CONVS, PLAYERS, calls_named, calls_of, filters_of

    model = loaded(network.checkpoint, network.network, network.scale, network.strict, network.convention)
    modules = {name: module for name, module in model.named_modules() if isinstance(module, PLAYERS)}
    filters = filters_of(model, list(modules))
    calls = calls_of(model, torch.full((1, 3, 64, 64), 0.5))
    for layer, width in zip(filters.layers, filters.widths, strict=True):
        module = modules[layer]
        groups = getattr(module, "groups", 1)
        kind = type(module).__name__ + (f", {groups} groups" if groups > 1 else "")
        count = calls.count(layer)
        behind = " ".join(("->", *calls.behind(layer))) if calls.behind(layer) else ""
        several = f"({calls_named(layer, count)})" if count > 1 else ""
        print(" ".join(filter(None, (f"{layer:24} {kind:24} {width:6,} {count:4}x", behind, several))))
    convs = [layer for layer in filters.layers if isinstance(modules[layer], CONVS)]
    print(f"{len(convs)} conv layers, {len(filters_of(model, convs)) if convs else 0:,} filters", end="; ")
    print(f"{len(modules) - len(convs)} linear layers; last feature layer: {calls.last_feature_layer()}")
    if idle := [layer for layer in filters.layers if not calls.count(layer)]:
        warnings.warn(f"never called, and so worth 0: {', '.join(idle)}", stacklevel=1)
