"""`srgame shapley`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from srgame.cli.flags import Confidence, ConvLayers, Images, Limits, Network, Output, Worth, flat, stop_measuring
from srgame.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

LIMITS = Limits(evaluations=100_000)


def shapley(
    network: Network,
    images: Images,
    worth: Worth,
    output: Output,
    limits: Limits = LIMITS,
    layers: ConvLayers = (),
    game: Literal["each layer", "layers", "within layers", "all filters"] = "each layer",
    regression: bool | None = None,
    antithetic: bool | None = None,
    gradients: bool | None = None,
    bfloat16: bool = False,
    confidence: Confidence = 0.95,
    seed: int = 0,
    store: Path | None = None,
    scheduler: str | None = None,
    workers: int | None = None,
) -> None:
    """Estimate the Shapley values of a network's filters: what each one contributes to the restored image.

    Prints a table, and writes shapley.csv, shapley.json, shapley.png and shapley.pdf into the output folder.

    Args:
        game: each layer: one game per layer, while all other layers stay intact. layers: one game whose players are
            the layers. within layers: one game of all filters, in permutations that keep the filters of a layer
            together (Owen values). all filters: one game of all filters, in any permutation.
        regression: draw random coalitions, and adjust their worths by a regression, instead of permutations: about
            half the error; None: if the game has at most 256 players and no option of permutations is given.
        antithetic: evaluate each permutation in reverse too; None: if the first replicates show that this lowers the
            variance.
        gradients: estimate from gradients, and correct them with marginal contributions, instead of permutations:
            cheaper for many players; None: only for all filters at once.
        bfloat16: evaluate most permutations in bfloat16, if the first replicates show that its rounding is negligible:
            up to twice as fast on processors that have it. A coalition evaluated in both precisions counts once. It
            does without the regression, whose error is smaller: on a CPU it can pay only for more than 256 players.
        seed: seed of the coalitions and permutations.
        store: folder that stores the replicates of one network, image set and game. An interrupted run resumes; a run
            asked for a smaller tolerance adds replicates to the stored ones.
        scheduler: address or scheduler file of a dask cluster that computes; trust it as you trust your own shell.
        workers: number of local processes that compute, each with as many threads as one process alone.
    """
    from srgame.cli.comparison import labels, pairs_of
    from srgame.cli.loading import judge, loaded
    from srgame.data.pairs import toward_bicubic
    from srgame.devices import available, faster_in_bfloat16
    from srgame.files import ensure_writable
    from srgame.filters import filters_of
    from srgame.networks import identity_of
    from srgame.provenance import provenance
    from srgame.report.figures import shapley_bars
    from srgame.report.results import save_results
    from srgame.report.tables import shapley_table
    from srgame.shapley.audit import MISSING, interrupted, network_values
    from srgame.shapley.until import Until

    ensure_writable(output.output)
    model = loaded(network.checkpoint, network.network, network.scale, network.strict, network.convention)
    if bfloat16 and not scheduler and not faster_in_bfloat16(available(output.device)):
        raise InputError("this processor emulates bfloat16, which takes longer than float32: leave out --bfloat16")
    pairs = pairs_of(images, model)
    if images.are_own:
        judge(network.checkpoint, model, pairs)
    filters = filters_of(model, named(layers, model, pairs.lr[0]))
    print(f"{network.checkpoint}: {len(filters)} filters of {', '.join(filters.layers)}")
    print(f"on {', '.join(pairs.names)} ({images.setting}); worth: {worth.payoff} against {worth.target}")
    with _executor(scheduler, workers, output.device) as executor:
        values = network_values(
            model if scheduler or workers else model.to(available(output.device)),
            filters,
            toward_bicubic(pairs) if worth.target == "bicubic" else pairs,
            until=Until(**vars(limits)),
            game=game,
            seed=seed,
            regression=regression,
            antithetic=antithetic,
            gradients=gradients,
            confidence=confidence,
            progress=True,
            store=store,
            executor=executor,
            payoff=worth.payoff,
            ablation=worth.ablation,
            bfloat16=bfloat16,
            at=worth.at,
        )
    values.insert(0, "checkpoint", labels([network.checkpoint])[0])
    unit = "dB" if worth.payoff == "psnr" else ""
    settings = flat(
        network,
        images,
        worth,
        limits,
        output,
        layers=filters.layers,
        game=game,
        regression=regression,
        antithetic=antithetic,
        gradients=gradients,
        bfloat16=bfloat16,
        confidence=confidence,
        seed=seed,
        store=store,
        scheduler=scheduler,
        workers=workers,
    )
    missing = values.attrs[MISSING]
    source = provenance(settings, **identity_of(model), images=pairs.names, missing=missing)
    sample = f"{len(pairs)} image{'s' * (len(pairs) > 1)} of {Path(images.lr or images.dataset).name}, {images.setting}"
    figure = shapley_bars(values, unit, f"{values['checkpoint'].iloc[0]}; {sample}")
    written = save_results(output.output, {"shapley": values}, source, figure)
    print(shapley_table(values, unit, confidence))
    print("written:", *written)
    if interrupted(values):
        stop_measuring(missing)


def named(layers: tuple[str, ...], network: "nn.Module", lr: "Tensor") -> tuple[str, ...] | None:
    """The layers that --layers names, by default the last feature layer; None for all of them."""
    from srgame.filters import last_feature_layer

    if "all" in layers and len(layers) > 1:
        raise InputError("--layers all includes every layer: give no other name beside it")
    return None if layers == ("all",) else layers or (last_feature_layer(network, lr),)


@contextmanager
def _executor(scheduler: str | None, workers: int | None, device: str) -> Iterator[Any]:
    """The executor of the games: this process, or the workers of a cluster."""
    if scheduler is None and workers is None:
        from srgame.shapley.audit import in_process

        yield in_process
        return
    from srgame.shapley.cluster import connected

    with connected(scheduler, workers, device) as cluster:
        yield cluster.executor
