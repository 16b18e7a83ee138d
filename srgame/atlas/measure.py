"""What the atlas shows: results that are there, and everything else measured within a limit of time.

What takes a few forward passes is measured first: maps, responses, cosines, salience and matchings. Then come the
restored images without each filter and Shapley values, and last interactions; the games share the time that is left.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn
from tqdm.auto import tqdm

from srgame.atlas.cells import COLUMNS, ERASED, NEAREST, RESPONSES, SALIENCE, SHAPLEY, STRONGEST, Atlas, Cell
from srgame.atlas.maps import Maps
from srgame.atlas.stored import Stored
from srgame.data.images import upsample
from srgame.data.pairs import Pairs, load_pairs, paired
from srgame.errors import InputError, check_counts
from srgame.evaluation.benchmark import REAL, benchmark, common_scale
from srgame.filters import Filters, calls_of, filters_of, run
from srgame.metrics import psnr
from srgame.networks import fingerprint
from srgame.probes.cosine import channel_cosine
from srgame.probes.matching import channel_matching
from srgame.probes.responses import channel_responses
from srgame.probes.salience import channel_salience, salient_features
from srgame.shapley.additive import additive_tail
from srgame.shapley.audit import network_values
from srgame.shapley.interactions import pair_interactions
from srgame.shapley.restoration import RestorationGame
from srgame.shapley.until import OutOfTimeError, Until

UNTIL = Until(tolerance=0.02, evaluations=100_000)
PHI = "Shapley values"
SHARES = {PHI: 4}  # of the time that is left; all other steps have one
ERASED_AT_ONCE = 16  # SR images in memory


@dataclass(frozen=True)
class Sample:
    """The images: the first `images` of a set, cut to their middle `crop` pixels, or real pairs (LR and HR sets)."""

    dataset: str = "photographs"
    images: int | None = None
    crop: int | None = 96
    subfolders: bool = False
    real: tuple[str, str] | None = None

    def pairs(self, degradation: str, scale: int) -> Pairs:
        """The pairs under a degradation."""
        if self.real:
            return paired(*self.real, scale, self.images, self.crop, self.subfolders)
        return load_pairs(self.dataset, degradation, scale, self.images, self.crop, subfolders=self.subfolders)

    def scores(self, networks: Mapping[str, nn.Module]) -> pd.DataFrame:
        """PSNR of the networks and of bicubic upsampling, under all eight settings or on the real pairs."""
        sets = () if self.real else (self.dataset,)
        how = {"images": self.images, "crop": self.crop, "subfolders": self.subfolders, "real": self.real}
        return benchmark(networks, sets, **how).scores  # type: ignore[arg-type]


def some_layers(network: nn.Module, lr: Float[Tensor, "3 h w"]) -> tuple[str, ...]:
    """Three layers over the depth of a network: its first conv layer, one in the middle, and its last feature layer."""
    calls = calls_of(network, lr[None])
    last = calls.last_feature_layer()
    convs = [call.layer for call in calls.calls if call.is_conv and calls.count(call.layer) == 1]
    before = convs[: convs.index(last)] if last in convs else []
    return tuple(dict.fromkeys((*before[:1], *before[len(before) // 2 :][:1], last)))


def measured(
    networks: Mapping[str, nn.Module],
    layers: Sequence[str] | None = None,
    sample: Sample | None = None,
    degradations: Sequence[str] = ("clean",),
    *,
    stored: Stored | None = None,
    until: Until = UNTIL,
    seconds: float | None = None,
    interacting: int = 12,
    progress: bool = False,
) -> Atlas:
    """The atlas of the networks, by their names: what is in `stored`, and the rest measured.

    layers: conv layers of each network, as in filters_of, or ("all",); by default `some_layers` of each.
    until: limits of each game; `seconds` limits the whole, and what is left out is named in `Atlas.missing`.
    interacting: interactions are measured between this number of filters, those with the largest |φ|, and between all
        if the layer's game is one of sums (additive_tail).

    After Ctrl-C, the atlas holds what was measured so far.

    Raises InputError if networks have different scales, for a layer that does not exist, runs more than once or groups
    channels (NAME/4), and if the seconds end before anything is measured.
    """
    check_counts(interacting=interacting)
    surveyor = _Surveyor(networks, layers, sample or Sample(), degradations, stored or Stored(), until, interacting)
    surveyor.survey(seconds, progress)
    return surveyor.atlas


class _Surveyor:
    """Measures an atlas step by step."""

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        layers: Sequence[str] | None,
        sample: Sample,
        degradations: Sequence[str],
        stored: Stored,
        until: Until,
        interacting: int,
    ) -> None:
        if grouped := [layer for layer in layers or () if "/" in layer]:
            raise InputError(f"the atlas has a map for each channel: write '{grouped[0].partition('/')[0]}', without /")
        self.networks, self.sample, self.stored = networks, sample, stored.of_same_code(networks)
        self.until, self.interacting = until, interacting
        scale = common_scale(networks, None)
        names = [REAL] if sample.real else list(dict.fromkeys(degradations))
        self.pairs = {name: sample.pairs(name, scale) for name in names}
        weights = {name: fingerprint(network) for name, network in networks.items()}
        lr = next(iter(self.pairs.values())).lr[0]
        filters = {name: _filters(network, layers, lr) for name, network in networks.items()}
        extra = self.stored.degradations(
            weights.values(), {layer for each in filters.values() for layer in each.layers}
        )
        self.atlas = Atlas(list(networks), weights, scale, list(dict.fromkeys([*names, *extra])))
        self.atlas.cells = [
            _blank(name, degradation, layer, width)
            for name, each in filters.items()
            for degradation in self.atlas.degradations
            for layer, width in zip(each.layers, each.widths, strict=True)
        ]

    def survey(self, seconds: float | None, progress: bool) -> None:
        """Reads what is stored, and measures the rest until the seconds end."""
        for cell in self.atlas.cells:
            self._read(cell)
        self.atlas.cells = [c for c in self.atlas.cells if c.degradation in self.pairs or c.sources]
        self.end = np.inf if seconds is None else time.monotonic() + seconds
        steps = list(self._steps())
        done = 0
        with tqdm(total=len(steps), disable=not progress, unit="step", leave=False) as bar:
            for number, (what, measure) in enumerate(steps):
                weights = [SHARES.get(step.rpartition(": ")[2], 1) for step, _ in steps[number:]]
                self.share = weights[0] / sum(weights)
                if time.monotonic() >= self.end or self.atlas.interrupted:
                    self.atlas.missing.append(what)
                    continue
                bar.set_description_str(what)
                try:
                    measure()
                    done += 1
                except OutOfTimeError:
                    self.atlas.missing.append(what)
                except InputError as error:  # such as too few evaluations: what is measured is kept
                    if not done:
                        raise
                    self.atlas.missing.append(f"{what} ({error})")
                except KeyboardInterrupt:
                    if not done:
                        raise
                    self.atlas.interrupted = True
                    self.atlas.missing.append(what)
                bar.update()
        if steps and not done:
            raise InputError(f"{seconds:g} seconds end before anything is measured: allow more")

    def _read(self, cell: Cell) -> None:
        """Fills a cell with the results that are stored."""
        weights = self.atlas.weights[cell.checkpoint]
        for kind in ("shapley", "responses", "cosine", "salience", "interactions"):
            result = self.stored.find(kind, weights, cell.layer, cell.degradation)
            if result is not None:
                cell.sources[kind] = result.source
                self._fill(kind, cell, result.rows)

    def _fill(self, kind: str, cell: Cell, rows: pd.DataFrame) -> None:
        """Puts rows of one kind into a cell."""
        if kind == "shapley":
            cell.empty, cell.grand = (float(rows[name].iloc[0]) for name in ("empty", "grand"))
            cell.add(rows.assign(flag=rows["flag"].fillna("")), SHAPLEY)
        elif kind == "responses":
            cell.add(rows, RESPONSES)
        elif kind == "salience":
            cell.add(rows, SALIENCE)
        elif kind == "cosine":
            cell.cosine = rows
            cell.add(strongest(rows, "cosine", NEAREST), list(NEAREST.values()))
        else:
            cell.interactions = rows
            cell.add(strongest(rows, "interaction", STRONGEST), list(STRONGEST.values()))

    def _steps(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """What is measured, in this order."""
        atlas = self.atlas
        for degradation, pairs in self.pairs.items():
            yield f"restored images ({degradation})", partial(self._restore, degradation, pairs)
            for name in atlas.checkpoints:
                cells = [c for c in atlas.cells if (c.checkpoint, c.degradation) == (name, degradation)]
                yield f"{name}, {degradation}: maps", partial(self._probe, cells)
            for name in atlas.checkpoints[1:]:
                yield f"{name}, {degradation}: matching", partial(self._match, name, degradation)
        yield "PSNR under the eight settings", self._score
        deepest_first = [cell for cell in reversed(atlas.cells) if cell.degradation in self.pairs]  # they are cheaper
        for cell in deepest_first:
            yield f"{_title(cell)}: without each filter", partial(self._erase, cell)
            if "shapley" not in cell.sources:
                yield f"{_title(cell)}: {PHI}", partial(self._estimate, cell)
        for cell in deepest_first:
            if "interactions" not in cell.sources and len(cell.filters) > 1:
                yield f"{_title(cell)}: interactions", partial(self._interact, cell)

    def _restore(self, degradation: str, pairs: Pairs) -> None:
        """The images, restored by each network and by bicubic upsampling."""
        for pair in pairs:
            lr, hr = pair.lr[0][None], pair.hr[0][None]
            pictures = {"lr": lr, "hr": hr, "bicubic": upsample(lr, self.atlas.scale)}
            with torch.inference_mode():
                pictures |= {f"sr {name}": run(network, lr).cpu() for name, network in self.networks.items()}
            scored = {name: psnr(sr, hr).item() for name, sr in pictures.items() if name not in ("lr", "hr")}
            images = {name: picture[0] for name, picture in pictures.items()}
            self.atlas.restored.setdefault(degradation, {})[pair.names[0]] = {"pictures": images, "psnr": scored}

    def _probe(self, cells: Sequence[Cell]) -> None:
        """The maps, responses, cosines and salience of all layers of a network."""
        network, pairs = self.networks[cells[0].checkpoint], self.pairs[cells[0].degradation]
        probes = {"responses": channel_responses, "cosine": channel_cosine, "salience": channel_salience}
        for kind, probe in probes.items():
            wide = [c for c in cells if kind not in c.sources and (len(c.filters) > 1 or kind != "cosine")]
            if wide:
                rows = probe(network, pairs, [c.layer for c in wide])
                for cell in wide:
                    self._fill(kind, cell, rows[rows["layer"] == cell.layer].drop(columns="layer"))
        for pair in pairs:
            maps = salient_features(network, pair.lr[0], [cell.layer for cell in cells])
            for cell in cells:
                feature, salience = maps[cell.layer]
                both = {"feature": Maps.of(feature, signed=True), "salience": Maps.of(salience, signed=False)}
                cell.maps.setdefault(pair.names[0], {}).update(both)

    def _game(self, cell: Cell) -> RestorationGame:
        network = self.networks[cell.checkpoint]
        return RestorationGame(network, filters_of(network, [cell.layer]), self.pairs[cell.degradation])

    def _erase(self, cell: Cell) -> None:
        """What each restored image loses without each filter: the change of its pixels, and PSNR."""
        game = self._game(cell)
        without = torch.cat([torch.ones(1, game.players, dtype=torch.bool), ~torch.eye(game.players, dtype=torch.bool)])
        empty = torch.zeros(1, game.players, dtype=torch.bool)
        largest, ends = torch.zeros(game.players), []
        for image, (name, hr) in enumerate(zip(game.pairs.names, game.pairs.hr, strict=True)):
            whole = game.images.of(without[:1], image)
            lost, drops = [], []
            for rows in without[1:].split(ERASED_AT_ONCE):
                sr = game.images.of(rows, image)
                lost.append(whole - sr)
                drops.append(psnr(whole, hr[None]) - psnr(sr, hr[None]))
            change = torch.cat(lost)
            largest = torch.maximum(largest, change.abs().flatten(1).max(1).values)
            cell.maps.setdefault(name, {})["change"] = Maps.of(change.mean(1), signed=True)
            cell.drops[name] = torch.cat(drops).tolist()
            ends.append([psnr(game.images.of(empty, image), hr[None]).item(), psnr(whole, hr[None]).item()])
        if "shapley" not in cell.sources:
            cell.empty, cell.grand = np.mean(ends, 0).tolist()
        mean_drop = np.mean(list(cell.drops.values()), 0)
        rows = {"filter": np.arange(game.players), "leave_one_out": mean_drop, "change": largest.double().numpy()}
        cell.add(pd.DataFrame(rows), ERASED)

    def _match(self, second: str, degradation: str) -> None:
        """The matching of the first network's filters with those of another."""
        of_first, of_second = (
            {c.layer for c in self.atlas.cells if (c.checkpoint, c.degradation) == (name, degradation)}
            for name in (self.atlas.checkpoints[0], second)
        )
        layers = [layer for layer in dict.fromkeys(c.layer for c in self.atlas.cells) if layer in of_first & of_second]
        if layers:
            first = self.networks[self.atlas.checkpoints[0]]
            rows = channel_matching(first, self.networks[second], self.pairs[degradation], layers)
            rows = rows.assign(second=second, degradation=degradation)
            self.atlas.matching = pd.concat([self.atlas.matching, rows]) if self.atlas.matching is not None else rows

    def _score(self) -> None:
        """PSNR under the eight settings, stored or measured."""
        labels = {weights: name for name, weights in self.atlas.weights.items()}
        self.atlas.scores = self.stored.scores(labels)
        self.atlas.scores_source = "an earlier run" if self.atlas.scores is not None else ""
        if self.atlas.scores is None:
            self.atlas.scores = self.sample.scores(self.networks)

    def _limits(self) -> Until:
        """The limits of the next game: its share of the time that is left."""
        share = None if np.isinf(self.end) else max(1e-3, (self.end - time.monotonic()) * self.share)
        limits = [each for each in (share, self.until.seconds) if each is not None]
        return Until(self.until.tolerance, self.until.evaluations, min(limits, default=None), self.until.rms_tolerance)

    def _estimate(self, cell: Cell) -> None:
        network = self.networks[cell.checkpoint]
        filters, pairs = filters_of(network, [cell.layer]), self.pairs[cell.degradation]
        rows = network_values(network, filters, pairs, until=self._limits())
        self.atlas.interrupted |= bool((rows["ended"] == "interrupted").any())
        self._fill("shapley", cell, rows.drop(columns="layer"))

    def _interact(self, cell: Cell) -> None:
        game, limits = self._game(cell), self._limits()
        phi = cell.filters["shapley"].fillna(cell.filters["leave_one_out"]).fillna(0).abs()
        everyone = game.players <= self.interacting or additive_tail(game) is not None
        chosen = range(game.players) if everyone else sorted(phi.nlargest(self.interacting).index.tolist())
        estimate = pair_interactions(game, combinations(chosen, 2), until=limits)
        self.atlas.interrupted |= estimate.ended == "interrupted"
        self._fill("interactions", cell, estimate.frame())


def strongest(pairs: pd.DataFrame, value: str, names: Mapping[str, str]) -> pd.DataFrame:
    """One row per filter: filter, and of its pair with the largest |value| the columns in `names`, by their new names.

    `pairs` has each pair once, in the columns filter and partner. A filter whose values are all 0 has no row.
    """
    swapped = pairs.rename(columns={"filter": "partner", "partner": "filter"})
    both = pd.concat([pairs, swapped]).query(f"{value} != 0").reset_index(drop=True)
    largest = both[value].abs().groupby(both["filter"]).idxmax()
    return both.loc[largest, ["filter", *names]].rename(columns=dict(names)).reset_index(drop=True)


def _filters(network: nn.Module, layers: Sequence[str] | None, lr: Float[Tensor, "3 h w"]) -> Filters:
    """The filters of the layers that are named."""
    if layers and list(layers) == ["all"]:
        return filters_of(network)
    return filters_of(network, layers or some_layers(network, lr))


def _blank(checkpoint: str, degradation: str, layer: str, width: int) -> Cell:
    """A cell of which nothing is measured yet."""
    blank = dict.fromkeys(COLUMNS, np.nan)
    return Cell(checkpoint, degradation, layer, pd.DataFrame({"filter": np.arange(width)} | blank))


def _title(cell: Cell) -> str:
    return f"{cell.checkpoint}, {cell.degradation}, {cell.layer}"
