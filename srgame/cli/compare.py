"""`srgame compare`."""

from srgame.cli.flags import Confidence, ConvLayersByChannel, Images, Limits, Networks, Output, Worth

LIMITS = Limits(evaluations=50_000)


def compare(
    networks: Networks,
    images: Images,
    worth: Worth,
    output: Output,
    limits: Limits = LIMITS,
    layers: ConvLayersByChannel = (),
    confidence: Confidence = 0.95,
    seed: int = 0,
) -> None:
    """Compare networks: Shapley values, responses, cosines, salience, equity and PSNR side by side, with differences.

    Each layer is a game of its own. Differences are those from the first network, over the same images. Prints a table
    of networks and layers, and writes compare.csv (a row per checkpoint, layer and filter), compare_layers.csv
    (quantities of networks and layers, with intervals of their differences), and pictures. Filters of separately
    trained networks do not correspond by number: compare their distributions.

    Args:
        seed: seed of the permutations.
    """
    from functools import lru_cache

    import pandas as pd
    from torch import nn

    from srgame.cli.comparison import measure_each, pairs_of, save_measured
    from srgame.cli.shapley import named
    from srgame.data.pairs import Pairs, toward_bicubic
    from srgame.filters import filters_of
    from srgame.probes.profiles import filter_profiles, layer_profiles, profile_differences
    from srgame.report.profile_figures import profile_plot
    from srgame.report.tables import profile_table
    from srgame.shapley.until import Until

    unit = "dB" if worth.payoff == "psnr" else ""
    restoration = {"payoff": worth.payoff, "ablation": worth.ablation, "at": worth.at}

    def pairs_for(network: nn.Module) -> Pairs:
        pairs = pairs_of(images, network)
        return toward_bicubic(pairs) if worth.target == "bicubic" else pairs

    @lru_cache(maxsize=1)
    def profiles(network: nn.Module) -> pd.DataFrame:
        pairs = pairs_for(network)
        return filter_profiles(
            network,
            pairs,
            filters_of(network, named(layers, network, pairs.lr[0])).layers,
            until=Until(**vars(limits)),
            seed=seed,
            confidence=confidence,
            progress=True,
            **restoration,
        )

    def quantities(network: nn.Module) -> pd.DataFrame:
        return layer_profiles(network, pairs_for(network), profiles(network), seed, **restoration)

    measured = measure_each({"compare": profiles, "compare_layers": quantities}, networks, images, output)
    differences = profile_differences(measured.frames["compare_layers"], confidence)
    measured.frames["compare_layers"] = differences
    save_measured(
        measured,
        differences,
        profile_table(differences, unit, confidence),
        profile_plot(measured.frames["compare"], differences, unit),
        networks,
        images,
        output,
        **vars(worth),
        **vars(limits),
        layers=layers,
        confidence=confidence,
        seed=seed,
    )
