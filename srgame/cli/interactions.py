"""`srgame interactions`."""

from typing import Literal

from srgame.cli.flags import Confidence, ConvLayers, Images, Limits, Network, Output, Worth, flat

LIMITS = Limits(seconds=90.0)
IMAGES = Images(crop=48)


def interactions(
    network: Network,
    worth: Worth,
    output: Output,
    images: Images = IMAGES,
    limits: Limits = LIMITS,
    layers: ConvLayers = (),
    filters: tuple[int, ...] = (),
    index: Literal["shapley", "banzhaf"] = "shapley",
    confidence: Confidence = 0.95,
    seed: int = 0,
) -> None:
    """Estimate how the filters of a layer interact in pairs: which are interchangeable, which co-adapted.

    A negative interaction: either filter does the work of both. A positive one: each filter needs the other. Each layer
    is a game of its own. Prints a table for each layer, and writes interactions.csv, interactions.json,
    interactions.png and interactions.pdf into the output folder.

    Args:
        filters: numbers of the filters whose pairs are measured; by default all filters of the layer. All filters are
            players in either case.
        index: weight of a coalition in the mean: each size counts the same (shapley), or each coalition (banzhaf).
        seed: seed of the coalitions.
    """
    from itertools import combinations

    import pandas as pd

    from srgame.cli.comparison import labels
    from srgame.cli.shapley import named
    from srgame.data.pairs import load_pairs, toward_bicubic
    from srgame.devices import available
    from srgame.files import ensure_writable
    from srgame.filters import filters_of
    from srgame.networks import fingerprint, load_network, scale_of
    from srgame.provenance import provenance, save_frame
    from srgame.report.figures import interaction_matrices
    from srgame.report.style import save_figure
    from srgame.report.tables import interaction_table
    from srgame.shapley.game import RestorationGame
    from srgame.shapley.interactions import pair_interactions
    from srgame.shapley.until import Until

    ensure_writable(output.output)
    model = load_network(network.checkpoint, network.network, network.scale).to(available(output.device))
    pairs = load_pairs(images.dataset, images.degradation, scale_of(model), images.images, images.crop)
    asked = filters_of(model, named(layers, model, pairs.lr[0])).layers
    target = toward_bicubic(pairs) if worth.target == "bicubic" else pairs
    of_filters = list(combinations(filters, 2)) if filters else None
    unit = "dB" if worth.payoff == "psnr" else ""
    frames = []
    print(f"{network.checkpoint}: {', '.join(asked)} on {', '.join(pairs.names)} ({images.degradation})")
    print(f"worth: {worth.payoff} against {worth.target}")
    for layer in asked:
        game = RestorationGame(model, filters_of(model, [layer]), target, worth.payoff, worth.ablation, at=worth.at)
        estimate = pair_interactions(
            game, of_filters, until=Until(**vars(limits)), index=index, seed=seed, progress=True
        )
        frame = estimate.frame(confidence)
        frame.insert(0, "checkpoint", labels([network.checkpoint])[0])
        frame.insert(1, "layer", layer)
        how = ("replicates", "evaluations", "relative_stderr", "ended")
        frames.append(frame.assign(**{name: getattr(estimate, name) for name in how}))
        print(interaction_table(frames[-1], unit, confidence))
        if estimate.ended == "interrupted":
            break
    values = pd.concat(frames, ignore_index=True)
    settings = flat(
        network,
        images,
        worth,
        limits,
        output,
        layers=asked,
        filters=filters,
        index=index,
        confidence=confidence,
        seed=seed,
    )
    stem = output.output / "interactions"
    written = save_frame(stem, values, provenance(settings, weights=fingerprint(model), images=pairs.names))
    written += save_figure(stem, interaction_matrices(values, unit))
    print("written:", *written)
