"""`srgame prune`."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from srgame.cli.flags import SET, Images, Limits, Network, Output, flat
from srgame.errors import InputError

if TYPE_CHECKING:
    from srgame.data.pairs import Pairs

LIMITS = Limits(evaluations=50_000)


def prune(
    network: Network,
    images: Images,
    output: Output,
    count: int,
    limits: Limits = LIMITS,
    layer: str | None = None,
    by: Literal["shapley", "leave-one-out", "salience", "response", "norm"] = "shapley",
    held_out: Annotated[
        str | None, tyro.conf.arg(help=f"images that rank no filter: {SET}; None: every second image.")
    ] = None,
    seed: int = 0,
) -> None:
    """Remove the filters of a layer that have the lowest scores, and measure what their joint removal costs.

    Prints the sum of their Shapley values φ, the sum of their leave-one-out losses, and the real loss of PSNR, on the
    images that rank the filters and on held-out images. The sums do not predict the joint removal. Writes prune.csv (a
    row per filter), prune_losses.csv (losses by number of removed filters), pictures, and the network in
    prune.safetensors: the weights and biases of removed filters are 0, so the layer keeps its width.

    Args:
        count: number of filters to remove.
        layer: conv or linear layer, as `srgame layers` lists them; None: the last feature layer.
        by: score of a filter; the lowest scores are removed first. shapley: φ of PSNR. leave-one-out: loss of PSNR
            without this filter alone. salience: sum of its salience map. response: mean size of its response. norm: L1
            norm of its weights.
        seed: seed of the permutations.
    """
    import numpy as np
    import pandas as pd

    from srgame.cli.comparison import labels, pairs_of
    from srgame.cli.loading import judge, loaded
    from srgame.devices import available
    from srgame.files import ensure_writable
    from srgame.filters import filters_of, last_feature_layer
    from srgame.networks import identity_of, original
    from srgame.networks.weights import save_weights
    from srgame.probes.pruning import pruned, removal_drops, removal_scores
    from srgame.provenance import provenance
    from srgame.report.figures import removal_plot
    from srgame.report.results import save_results
    from srgame.report.tables import removal_table
    from srgame.shapley.restoration import RestorationGame
    from srgame.shapley.until import Until

    ensure_writable(output.output)
    model = loaded(network.checkpoint, network.network, network.scale, network.strict, network.convention)
    model = model.to(available(output.device))
    pairs = pairs_of(images, model)
    if images.are_own:
        judge(network.checkpoint, model, pairs)
    other = pairs_of(replace(images, dataset=held_out), model) if held_out else None
    ranking, held = (pairs, other) if other else _halves(pairs)
    layer = layer or last_feature_layer(model, pairs.lr[0])
    filters = filters_of(model, [layer])
    if not 0 < count <= len(filters):
        raise InputError(f"--count is between 1 and the {len(filters)} filters of '{layer}', not {count}")
    wanted = tuple(dict.fromkeys(("shapley", "leave-one-out", by)))
    scores = removal_scores(model, layer, ranking, until=Until(**vars(limits)), by=wanted, seed=seed)
    order = np.argsort(scores[by].to_numpy(), kind="stable")
    removed = sorted(order[:count].tolist())
    result = pruned(model, layer, removed)

    counts = np.unique([*np.linspace(0, len(filters), 17).round().astype(int), count])
    losses = pd.DataFrame(
        {"removed": counts}
        | {
            name: removal_drops(RestorationGame(model, filters, on), order[None], counts)
            for name, on in (("loss", ranking), ("held_out_loss", held))
        }
        | {f"sum_{name}": np.concatenate([[0], scores[name][order].cumsum()])[counts] for name in wanted[:2]}
    )
    scores["place"] = np.argsort(order) + 1
    scores["removed"] = scores["place"] <= count
    for frame in (scores, losses):
        frame.insert(0, "checkpoint", labels([network.checkpoint])[0])
    settings = flat(network, images, limits, output, count=count, layer=layer, by=by, held_out=held_out, seed=seed)
    source = provenance(settings, **identity_of(model), images=ranking.names, held_out_images=held.names)
    frames = {"prune": scores, "prune_losses": losses}
    written = save_results(output.output, frames, source, removal_plot(losses, count, f"{layer}, by {by}"))
    path = output.output / "prune.safetensors"
    about = {"removed": f"{layer}: {', '.join(map(str, removed))}", "by": by}
    save_weights(original(result).state_dict(), path, about)
    print(f"{network.checkpoint}: {count} of {len(filters)} filters of {layer} removed, lowest {by} first: ", end="")
    print(*removed)
    print(removal_table(losses, count, ranking.names, held.names))
    print("written:", *written, path)


def _halves(pairs: "Pairs") -> tuple["Pairs", "Pairs"]:
    """Every second pair, and the others."""
    from srgame.data.pairs import Pairs

    if len(pairs) == 1:
        raise InputError("one image cannot rank the filters and be held out too: give more images, or --held-out")
    return (
        Pairs(pairs.names[::2], pairs.lr[::2], pairs.hr[::2]),
        Pairs(pairs.names[1::2], pairs.lr[1::2], pairs.hr[1::2]),
    )
