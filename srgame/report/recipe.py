"""The command line of every analysis: measure, or reuse the csv of the same settings, and draw."""

import hashlib
import inspect
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Annotated, Any, get_origin

import pandas as pd
import tyro
from matplotlib.figure import Figure

from srgame.errors import INTERRUPTED, InputError
from srgame.networks import zoo
from srgame.provenance import as_json, provenance, save_files, save_frame
from srgame.report.style import save_figure, styled
from srgame.streams import flush_output, secure_streams

INPUTS = "inputs"  # attrs of a measured frame: paths of files, folders or patterns (*.csv) that `measure` itself reads
FILES = "files"  # attrs of a measured frame: contents of further files by suffix, such as ".html"
Texts = Callable[[pd.DataFrame], dict[str, str]]  # files by suffix

STORE = "store"  # a parameter of `measure` that is no setting: it does not change what is measured
HELP = {  # what the flags of all recipes mean, by the name of the parameter
    "ablation": "how a filter is erased: zero, mean, noise or donor",
    "ablations": "ways to erase a filter: zero, mean, noise, donor",
    "again": "measure anew, even if the csv was measured with the same settings",
    "batch": "images per training step",
    "batches": "batches of patches",
    "bfloat16": "train in bfloat16",
    "blocks": "residual blocks of the network",
    "bytes_per_second": "bytes that a scheduler sends per second (an assumption)",
    "checkpoint": "name in the zoo, or a file of torch or safetensors",
    "chosen_pairs": "random pairs of filters per layer",
    "chunk": "images per timed chunk",
    "coalitions": "coalitions per batch",
    "counts": "numbers of images for which peak memory is measured",
    "crop": "side of the central crop of each image, in pixels; None: whole images",
    "damages": "damaged files, over all kinds of files",
    "data": "training images: a folder, or the name of a data set",
    "dataset": "test images: the name of a data set, a folder or a file",
    "degradation": "test setting, for example clean or b+n",
    "degradations": "test settings, for example clean b+n; all: the eight settings",
    "device": "device on which to compute, for example cpu or cuda",
    "devices": "devices to compare; a device that is missing gives empty rows",
    "disks": "runs on a full disk, per verb",
    "draws": "random draws",
    "evaluations": "largest number of evaluated coalitions per game",
    "evaluations_of_all": "evaluated coalitions in the game of all layers",
    "families": "families of the zoo, a row of crops each",
    "family": "family of the zoo that the networks belong to",
    "features": "features of the network",
    "flops_per_second": "FLOP/s that a GPU sustains (an assumption)",
    "gpus": "numbers of GPUs for which hours are projected",
    "groups": "groups of filters that act as players in the PSNR game",
    "image": "image to restore: a file, or a data set whose first image is taken",
    "images": "number of images, taken from the start of each set; None: all",
    "interacting": "filters, those with the largest Shapley values, between which interactions are measured",
    "kills": "killed runs, per verb",
    "last": "last training step in the picture",
    "layer": "layer, by its name in the network",
    "layers": "layers, by their names in the network; or a number of layers, spread over the depth",
    "lr_size": "side of the LR image in pixels",
    "megabytes": "largest size of the page, in MB",
    "memories": "runs short of memory, per verb",
    "network": "network to measure; a name in the zoo or of an architecture",
    "networks": "networks to measure: names in the zoo, or of architectures",
    "pairs": "pairs of simultaneous runs, per verb",
    "patch": "side of the HR patches in pixels",
    "payoffs": "payoffs of the games: psnr, -mse",
    "permutations": "random permutations in which filters are erased",
    "players": "players of the synthetic games",
    "pool": "patches that a batch is mixed from",
    "presets": "presets of `srgame train`",
    "processes": "processes that work in parallel",
    "repeats": "timed repetitions",
    "repetitions": "runs with a seed each, over which coverage is counted",
    "replicates": "independent replicates per estimate",
    "restored": "data set of the PSNR panel",
    "restored_crop": "side of the central crop in the PSNR panel, in pixels; None: whole images",
    "rounds": "timed rounds",
    "sampled": "trained network whose games show how many replicates a tolerance needs",
    "sampled_crop": "side of the central crop in these games, in pixels",
    "sampled_layers": "layers of these games",
    "sampled_replicates": "replicates in each of these games",
    "scored": "images from which the scores of filters come: the name of a data set, a folder or a file",
    "scores": "scores of filters: shapley, salience, responses",
    "seed": "seed of all random draws",
    "seeds": "runs of each estimator, with a seed each",
    "sets": "test sets: names of data sets, or folders",
    "shapiq": "compare with shapiq, in an environment that the recipe makes; it needs python3.12",
    "shares": "shares of bicubic upsampling in the SR image, between 0 and 1",
    "size": "side of the crop, or largest side of the stored maps, in pixels",
    "steps": "timed training steps, or the number of points on a curve of erased filters",
    STORE: "folder in which the scores of all images are stored, so that the same command resumes",
    "strategies": "training strategies to time",
    "tasks": "empty tasks that the scheduler is timed with",
    "threads": "CPU threads",
    "timed": "number of timed layers, or name of the recipe that measured the times",
    "timed_image": "number of the image on which layers are timed",
    "tolerance": "relative standard error to reach",
    "truth": "evaluations of the reference run",
    "worth_layer": "layer whose filters' Shapley values are measured",
}


def run(
    file: str,
    measure: Callable[..., pd.DataFrame],
    draw: Callable[[pd.DataFrame], Figure],
    found: Callable[[pd.DataFrame], str] | None = None,
    texts: Texts | None = None,
) -> None:
    """Writes the csv, json, png and pdf of the analysis `file`, and prints the answer and the files.

    They go to figures/, or to figures/draft/ if a flag differs from its default. The parameters of `measure` are the
    flags. If the json shows the same settings and inputs (`measured_with`), the csv is redrawn, unless --again is
    given. `found` puts the answer into a sentence, which is printed and begins the caption in the json; without it, the
    title of the picture is printed. `texts` returns further files by suffix, such as a table in Markdown.
    """
    secure_streams()
    settings, again, store = _flags(measure)
    try:
        stem = stem_of(Path(file), draft=settings != defaults(measure))
        again = again or not measured_with(settings, stem)
        figure = make(stem, partial(measure, **store), draw, settings, again, found, texts)
    except InputError as error:
        print(f"{Path(file).name}: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        resumes = ": the same command continues" if store.get(STORE) else ""
        print(f"{Path(file).name}: interrupted{resumes}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    answer = found(pd.read_csv(stem.with_suffix(".csv"))) if found else figure.get_suptitle()
    if answer:
        print(answer)
    if not again:
        shown = stem.relative_to(stem_of(Path(file), draft=False).parents[1])
        print(f"redrawn from {shown.with_suffix('.csv').as_posix()}; --again measures anew")
    print(*(stem.with_suffix(suffix).as_posix() for suffix in (".csv", ".json", ".png", ".pdf")), sep="\n")
    try:
        flush_output()
    except OSError as error:
        print(f"{Path(file).name}: {error.strerror}; what was measured is saved", file=sys.stderr)
        sys.exit(2)


def make(
    stem: Path,
    measure: Callable[..., pd.DataFrame],
    draw: Callable[[pd.DataFrame], Figure],
    settings: dict[str, Any],
    again: bool = False,
    found: Callable[[pd.DataFrame], str] | None = None,
    texts: Texts | None = None,
) -> Figure:
    """The picture of the numbers measured with `settings`; writes both under `stem`.

    The json holds its title, of at most two lines, and its caption: all else that a reader needs.

    What `measure` puts into the frame's attrs under FILES, contents by suffix, is written too. The paths that it puts
    there under INPUTS are recorded with their sha256, as are the files that the settings name.

    Measures if `again`, or if the json there shows other settings, weights or inputs. Raises InputError as `measure`
    does, and if nothing can be written.
    """
    if again or not measured_with(settings, stem):
        start, inputs = monotonic(), _inputs(settings)
        frame = measure(**settings)
        seconds = round(monotonic() - start, 1)
        inputs |= _digests({_relative(Path(path), stem): Path(path) for path in frame.attrs.get(INPUTS, ())})
        save_files(stem, frame.attrs.get(FILES, {}))
        facts = {"weights": _weights(settings), INPUTS: inputs, "seconds": seconds}
        save_frame(stem, frame, provenance(settings, **facts))
    frame = pd.read_csv(stem.with_suffix(".csv"))
    if texts:
        save_files(stem, {suffix: text.encode() for suffix, text in texts(frame).items()})
    with styled():
        figure = draw(frame)
        save_figure(stem, figure)
    source: dict[str, Any] = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))
    source |= {"title": figure.get_suptitle(), "caption": caption(frame, found)}
    save_files(stem, {".json": as_json(source)})
    return figure


def caption(frame: pd.DataFrame, found: Callable[[pd.DataFrame], str] | None = None) -> str:
    """The text below a picture: the answer, the settings in the frame, and what it lacks."""
    parts = [found(frame) if found else ""]
    parts += frame["settings"].dropna().unique()[:1].tolist() if "settings" in frame else []
    reasons = frame["reason"].dropna().unique().tolist() if "reason" in frame else []
    lacking = "; ".join(str(reason) for reason in reasons if reason)
    return " ".join([*filter(None, parts), *([f"Not measured: {lacking}."] if lacking else [])])


def _flags(measure: Callable[..., pd.DataFrame]) -> tuple[dict[str, Any], bool, dict[str, Path | None]]:
    """The settings; whether to measure again; and the folder of `store`, if `measure` takes one."""

    def collected(**settings: Any) -> dict[str, Any]:
        return settings

    collected.__doc__ = (measure.func if isinstance(measure, partial) else measure).__doc__
    again = inspect.Parameter("again", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=bool)
    parameters = [_with_help(each) for each in [*inspect.signature(measure).parameters.values(), again]]
    vars(collected)["__signature__"] = inspect.Signature(parameters)
    collected.__annotations__ = {each.name: each.annotation for each in parameters}
    settings = tyro.cli(collected)
    return settings, settings.pop("again"), {STORE: settings.pop(STORE)} if STORE in settings else {}


def _with_help(parameter: inspect.Parameter) -> inspect.Parameter:
    """The parameter, its annotation with the sentence of HELP, unless it has one."""
    if parameter.name not in HELP or get_origin(parameter.annotation) is Annotated:  # has its own sentence
        return parameter
    return parameter.replace(annotation=Annotated[parameter.annotation, tyro.conf.arg(help=HELP[parameter.name])])


def defaults(measure: Callable[..., pd.DataFrame]) -> dict[str, Any]:
    """The settings of the picture in figures/."""
    parameters = inspect.signature(measure).parameters
    return {name: parameter.default for name, parameter in parameters.items() if name != STORE}


def stem_of(file: Path, draft: bool) -> Path:
    """The path, without suffix, to which the analysis `file` writes: figures/NAME, or figures/draft/NAME."""
    figures = file.resolve().parents[1] / "figures"
    return (figures / "draft" if draft else figures) / file.stem


def measured_with(settings: dict[str, Any], stem: Path) -> bool:
    """Whether csv and json exist, and the json shows these settings, and networks and input files as they are now.

    Networks of the zoo are compared by their sha256, and so are the files and folders that the settings name and those
    that `measure` read. Image sets that $SRGAME_DATA has are not compared.
    """
    source = stem.with_suffix(".json")
    if not (source.exists() and stem.with_suffix(".csv").exists()):
        return False
    then = json.loads(source.read_text(encoding="utf-8"))
    inputs, named = then.get(INPUTS, {}), _inputs(settings)
    now = _digests({name: stem.parent / name for name in inputs if name not in named}) | named
    return bool(
        then["settings"] == json.loads(json.dumps(settings))
        and then.get("weights", {}) == _weights(settings)
        and inputs == now
    )


def _weights(settings: dict[str, Any]) -> dict[str, str]:
    """The sha256 of each network of the zoo in the settings, by name."""
    values = list(_values(settings))
    return {name: row["sha256"] for name, row in zoo().items() if name in values}


def _inputs(settings: dict[str, Any]) -> dict[str, str]:
    """The sha256 of each file and folder that the settings name, by its name."""
    names = [name for value in _values(settings) if isinstance(value, str) for name in (value, _code_of(value)) if name]
    there = {name: Path(name) for name in names if os.path.exists(name)}  # noqa: PTH110, which raises for long texts
    return _digests(there)


def _values(settings: dict[str, Any]) -> Iterator[Any]:
    for setting in settings.values():
        yield from setting if isinstance(setting, tuple) else (setting,)


def _code_of(network: str) -> str:
    """The file with the function that "nets.py:build range=255" or, in the current folder, "nets:build" names."""
    if file := re.match(r"(.+\.py):", network):
        return file[1]
    module = re.match(r"([\w.]+):\w", network)
    return f"{module[1].replace('.', '/')}.py" if module else ""


def _digests(paths: dict[str, Path]) -> dict[str, str]:
    """The sha256 by name: of a file, or of the names and contents of all files in a folder or of a pattern."""
    return {name: _sha256(path) if path.is_file() else _sha256_of_all(path) for name, path in paths.items()}


def _sha256(file: Path) -> str:
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"'{file}' cannot be read ({error.strerror}): replace or remove it") from error


def _sha256_of_all(path: Path) -> str:
    """Hidden files, such as the lock of a running training, do not count."""
    base, files = (path, path.rglob("*")) if path.is_dir() else (path.parent, path.parent.glob(path.name))
    of_each = {file.relative_to(base): file for file in files if file.is_file()}
    shown = sorted(name for name in of_each if not any(part.startswith(".") for part in name.parts))
    lines = [f"{name.as_posix()} {_sha256(of_each[name])}\n" for name in shown]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _relative(path: Path, stem: Path) -> str:
    """The path as seen from the folder of the results, so that a checkout may be moved."""
    return Path(os.path.relpath(path, stem.parent)).as_posix()
