"""`srgame interactions`."""

from typing import Literal

from srgame.cli.flags import Confidence, ConvLayers, Images, Limits, Network, Output, Worth, flat, stop_measuring

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
    import warnings
    from itertools import combinations

    import pandas as pd

    from srgame.cli.comparison import labels, pairs_of
    from srgame.cli.loading import judge, loaded
    from srgame.cli.shapley import named
    from srgame.data.pairs import toward_bicubic
    from srgame.devices import available
    from srgame.files import ensure_writable
    from srgame.filters import filters_of
    from srgame.networks import identity_of
    from srgame.provenance import provenance
    from srgame.report.figures import interaction_matrices
    from srgame.report.results import save_results
    from srgame.report.tables import interaction_table
    from srgame.shapley.interactions import pair_interactions
    from srgame.shapley.restoration import RestorationGame
    from srgame.shapley.until import OutOfTimeError, Until

    ensure_writable(output.output)
    model = loaded(network.checkpoint, network.network, network.scale, network.strict, network.convention)
    model = model.to(available(output.device))
    pairs = pairs_of(images, model)
    if images.are_own:
        judge(network.checkpoint, model, pairs)
    asked = filters_of(model, named(layers, model, pairs.lr[0])).layers
    target = toward_bicubic(pairs) if worth.target == "bicubic" else pairs
    of_filters = list(combinations(filters, 2)) if filters else None
    unit = "dB" if worth.payoff == "psnr" else ""
    frames: list[pd.DataFrame] = []
    late = False
    print(f"{network.checkpoint}: {', '.join(asked)} on {', '.join(pairs.names)} ({images.setting})")
    print(f"worth: {worth.payoff} against {worth.target}")
    for layer in asked:
        game = RestorationGame(model, filters_of(model, [layer]), target, worth.payoff, worth.ablation, at=worth.at)
        try:
            estimate = pair_interactions(
                game, of_filters, until=Until(**vars(limits)), index=index, seed=seed, progress=True
            )
        except KeyboardInterrupt:
            if not frames:
                raise
            break
        except OutOfTimeError as error:
            if not frames:
                raise
            warnings.warn(f"the interactions end with {frames[-1]['layer'].iloc[0]}: {error}", stacklevel=1)
            late = True
            break
        frame = estimate.frame(confidence)
        frame.insert(0, "checkpoint", labels([network.checkpoint])[0])
        frame.insert(1, "layer", layer)
        how = ("replicates", "evaluations", "relative_stderr", "ended")
        frames.append(frame.assign(**{name: getattr(estimate, name) for name in how}))
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
    missing = asked[len(frames) :]
    source = provenance(settings, **identity_of(model), images=pairs.names, missing=missing)
    written = save_results(output.output, {"interactions": values}, source, interaction_matrices(values, unit))
    for frame in frames:
        print(interaction_table(frame, unit, confidence))
    print("written:", *written)
    if (missing and not late) or (values["ended"] == "interrupted").any():
        stop_measuring(missing)
