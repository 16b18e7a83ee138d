"""What happens to a run that is killed, runs out of disk space or memory, or is given damaged or odd input?"""

import json
import random
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from io import StringIO
from pathlib import Path
from time import monotonic, sleep

import cv2
import numpy as np
import odd_inputs
import pandas as pd
import torch
from matplotlib.figure import Figure
from safetensors.torch import save_file
from trials import (
    OUTCOMES,
    Contents,
    Problem,
    always_writing,
    both,
    close,
    command,
    damaged,
    fresh,
    little_memory,
    outcome,
    problem,
    read_only,
    reading,
    small_disk,
    start,
    undrawn,
    warm,
    written,
)

from srgame.data.images import read_rgb
from srgame.errors import InputError
from srgame.networks import fingerprint, load_network
from srgame.networks.weights import read_weights
from srgame.report.recipe import run
from srgame.report.style import BLUE, GREEN, ORANGE, RED, styled

VERBS = ("train", "shapley", "evaluate")
SMOKE = {"kills": 1, "disks": 1, "memories": 1, "damages": 9, "images": 12, "pairs": 1, "processes": 1}
Trials = Iterator[tuple[str, str]]  # for each trial its target and its outcome
Calm = dict[str, tuple[Contents, float]]  # for each verb the results of an undisturbed run, and its seconds


def measure(
    kills: int = 100,
    disks: int = 15,
    memories: int = 15,
    damages: int = 1080,
    images: int = 1200,
    pairs: int = 8,
    seed: int = 0,
    processes: int = 2,
) -> pd.DataFrame:
    """One row per fault and target: fault, what, trials, a count for each of OUTCOMES, seconds for all trials.

    - Harmless: the command, or the same command again, ends with the result of an undisturbed run, to the last byte. If
      memory is short, batches are smaller, and a result may differ by 1e-6.
    - Refused: one sentence and exit status 2. After a full disk, the same command must then end with the right result
      once there is room.
    - Noted: another result, after a note that says why, such as that a file carries no checksum.
    - Traceback: neither a result nor a sentence: the command crashed or hung.
    - Wrong: another result, and no note.

    `kills`, `disks`, `memories` and `pairs` count trials of each verb; `damages` and `images` are divided among the
    kinds of files. Odd input is tried with up to `pairs` verbs. Commands run in forks of a process that has imported
    everything, so a kill hits work and no import; they save pictures only if a disk is full. Damaged images and
    checkpoints are read directly, without a command.
    """
    settings = {name: value for name, value in locals().items()}
    words = [sys.executable, str(Path(__file__).resolve()), "--in-a-process-of-its-own"]
    running = [
        subprocess.Popen([*words, json.dumps(settings | {"part": part})], stdout=subprocess.PIPE, text=True)
        for part in range(processes)
    ]
    tables = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        raise InputError("a process that tries faults failed: see above")
    return pd.concat([pd.read_csv(StringIO(table)) for table in tables], ignore_index=True)


def _measured(
    kills: int, disks: int, memories: int, damages: int, images: int, pairs: int, seed: int, processes: int, part: int
) -> pd.DataFrame:
    """The rows of one process: it tries every fault whose number is `part` modulo `processes`."""
    warm()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        small = problem(Path(folder))
        calm = {verb: _undisturbed(small, verb, max(1, min(3, kills))) for verb in VERBS}
        faults: dict[str, Callable[[], Trials]] = {
            "killed at a random moment": lambda: _killed(small, calm, kills, seed),
            "file damaged": lambda: _damaged(small, damages, seed),
            "disk full": lambda: _disk_full(small, calm, disks, seed),
            "image damaged": lambda: _images(small, images, seed),
            "memory short": lambda: _memory_short(small, calm, memories, seed),
            "image unusable": lambda: _unusable(small, pairs),
            "two runs in one folder": lambda: _at_once(small, calm, pairs, seed),
            "folder read-only": lambda: _read_only(small),
            "network misbehaves": lambda: odd_inputs.networks(Path(folder), pairs),
            "pair misfits": lambda: odd_inputs.misfits(small, pairs),
            "output unusable": lambda: odd_inputs.streams(small, pairs),
            "folder with side files": lambda: odd_inputs.side_files(Path(folder), pairs),
            "checkpoint of another layout, damaged": lambda: odd_inputs.layouts(small, pairs),
            "image transparent": lambda: odd_inputs.transparent(small, pairs),
            "image too small for a score": lambda: odd_inputs.too_small(small, pairs),
        }
        for fault, trials in list(faults.items())[part::processes]:
            counts: dict[str, Counter[str]] = {}
            seconds: Counter[str] = Counter()
            began = monotonic()
            for what, result in trials():
                counts.setdefault(what, Counter())[result] += 1
                seconds[what] += monotonic() - began  # type: ignore[assignment]
                began = monotonic()
            for what, ended in counts.items():
                numbers = {"trials": ended.total(), **{name: ended[name] for name in OUTCOMES}}
                rows.append({"fault": fault, "what": what, **numbers, "seconds": round(seconds[what], 1)})
                print(rows[-1], file=sys.stderr, flush=True)
    return pd.DataFrame(rows)


def _undisturbed(small: Problem, verb: str, runs: int) -> tuple[Contents, float]:
    """What the command writes, and the longest time that it takes in some runs."""
    seconds = 0.0
    for _ in range(runs):
        with fresh(small.folder) as output:
            ended = command(small.words(verb, output), undrawn)
            expected, seconds = written(verb, output), max(seconds, ended.seconds)
    return expected, seconds


def _again(small: Problem, verb: str, output: Path, expected: Contents) -> str:
    """The outcome of the same command, which resumes a run in `output`."""
    return outcome(command(small.words(verb, output), undrawn), written(verb, output), expected)


def _killed(small: Problem, calm: Calm, kills: int, seed: int) -> Trials:
    """Runs ended by SIGKILL at a uniformly random moment of their usual time; then the same command again."""
    for verb in VERBS:
        rng, hit = random.Random(seed), 0
        expected, seconds = calm[verb]
        while hit < kills:
            with fresh(small.folder) as output:
                ended = start(small.words(verb, output), undrawn).end(kill_after=rng.uniform(0, seconds))
                if ended.status == -9:  # it had not ended before
                    hit += 1
                    yield verb, _again(small, verb, output, expected)


def _disk_full(small: Problem, calm: Calm, disks: int, seed: int) -> Trials:
    """Runs with disk space for a random part of what they write; then with enough."""
    for verb in VERBS:
        rng, (expected, _) = random.Random(seed), calm[verb]
        with fresh(small.folder) as output:
            command(small.words(verb, output), always_writing)
            needed = sum(-(-path.stat().st_size // 4096) * 4096 for path in output.rglob("*") if path.is_file())
        for _ in range(disks):
            with fresh(small.folder) as output, small_disk(output, rng.randrange(needed)) as (how, prepare, make_room):
                ended = command(small.words(verb, output), both(always_writing, prepare))
                result = outcome(ended, written(verb, output), expected)
                if result == "refused":
                    make_room()
                    resumed = _again(small, verb, output, expected)
                    result = result if resumed == "harmless" else resumed
                yield f"{verb}, {how}", result


def _memory_short(small: Problem, calm: Calm, memories: int, seed: int) -> Trials:
    """Runs with a random limit on memory, between almost nothing and what the command needs."""
    for verb in VERBS:
        rng = random.Random(seed)
        expected, _ = calm[verb]
        for _ in range(memories):
            with fresh(small.folder) as output:
                ended = command(small.words(verb, output), little_memory(int(2 ** rng.uniform(12, 28))))
                found = written(verb, output) if ended.status == 0 else None
                if found and all(close(found[name], expected[name]) for name in expected):
                    found = expected
                yield verb, outcome(ended, found or {}, expected)


def _damaged(small: Problem, damages: int, seed: int) -> Trials:
    """Damaged checkpoints, and damaged files from which a run resumes."""
    rng, foreign = np.random.default_rng(seed), small.folder / "foreign"
    foreign.mkdir()
    weights = read_weights(small.checkpoint)
    checkpoints = {"ours.safetensors": small.checkpoint.read_bytes()}
    save_file(weights, foreign / "others.safetensors")
    torch.save(weights, foreign / "torch.pth")
    torch.save(weights, foreign / "old.pth", _use_new_zipfile_serialization=False)
    checkpoints |= {path.name: path.read_bytes() for path in sorted(foreign.iterdir())}
    stored = {
        "a stored replicate": ("shapley", "store/game0/0000003.replicate"),
        "the description of a store": ("shapley", "store/game0/game.json"),
        "a training state": ("train", "state.pt"),
        "an evaluation's csv": ("evaluate", "benchmark.csv"),
        "an evaluation's json": ("evaluate", "benchmark.json"),
    }
    names = {"ours.safetensors": "safetensors of srgame", "others.safetensors": "safetensors of others (no checksum)"}
    names |= {"torch.pth": "checkpoint of torch", "old.pth": "checkpoint of torch before 1.6 (no checksum)"}
    each = -(-damages // (len(stored) + len(checkpoints)))
    for what, (verb, name) in stored.items():
        yield from ((what, result) for result in _damaged_run(small, verb, name, each, rng))
    for name, content in checkpoints.items():
        for result in _damaged_checkpoint(foreign / name, content, each, rng):
            yield names[name], result


def _damaged_run(small: Problem, verb: str, name: str, trials: int, rng: np.random.Generator) -> Iterator[str]:
    """The same command after a file of its finished run was damaged."""
    with fresh(small.folder) as output:
        words = small.words(verb, output)
        command(words, undrawn)
        whole = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
        expected = written(verb, output)
        for _ in range(trials):
            for path, content in whole.items():
                path.write_bytes(damaged(content, rng) if path == output / name else content)
            yield outcome(command(words, undrawn), written(verb, output), expected)


def _damaged_checkpoint(path: Path, content: bytes, trials: int, rng: np.random.Generator) -> Iterator[str]:
    """Damaged checkpoints, read: whether the network is the same."""
    path.write_bytes(content)
    with warnings.catch_warnings(record=True):
        good = fingerprint(load_network(path, "srresnet"))
    for _ in range(trials):
        path.write_bytes(damaged(content, rng))
        yield reading(lambda: fingerprint(load_network(path, "srresnet")) == good)


FORMATS = {".png": "PNG", ".jpg": "JPEG (no checksum)", ".webp": "WebP (no checksum)"}
FORMATS |= {f".{name.lower()}": f"{name} (no checksum)" for name in ("BMP", "TIFF", "PPM")}


def _images(small: Problem, images: int, seed: int) -> Trials:
    """Damaged images of each format, read; only PNG carries checksums."""
    rng = np.random.default_rng(seed)
    pixels = read_rgb(small.images / "one.png")
    for suffix, kind in FORMATS.items():
        content = cv2.imencode(suffix, pixels)[1].tobytes()
        path = small.folder / f"damaged{suffix}"
        path.write_bytes(content)
        good = read_rgb(path)
        for _ in range(-(-images // len(FORMATS))):
            path.write_bytes(damaged(content, rng))
            yield kind, reading(partial(_same_pixels, path, good))


def _same_pixels(path: Path, good: np.ndarray) -> bool:
    return np.array_equal(read_rgb(path), good)


def _unusable(small: Problem, pairs: int) -> Trials:
    """Files that are no images, or images that cannot be restored; every command refuses them.

    Each file is tried with up to `pairs` of the verbs, and each verb with some file.
    """
    from PIL import Image

    picture = Image.open(small.images / "one.png")
    other = Image.eval(picture, lambda value: 255 - value)
    folder = small.folder / "unusable"
    folder.mkdir()
    files = {
        "zero bytes": "zero.png",
        "1×1": "dot.png",
        "CMYK": "print.jpg",
        "animated": "moving.webp",
        "bomb": "bomb.ppm",
    }
    (folder / files["zero bytes"]).touch()
    picture.crop((0, 0, 1, 1)).save(folder / files["1×1"])
    picture.convert("CMYK").save(folder / files["CMYK"])
    picture.save(folder / files["animated"], save_all=True, append_images=[other])
    (folder / files["bomb"]).write_bytes(b"P6 100000 100000 255\n" + bytes(64))
    verbs = ("train", "shapley", "evaluate", "interactions", "degrade")
    for number, (what, name) in enumerate(files.items()):
        for verb in (verbs[number:] + verbs[:number])[:pairs]:
            with fresh(small.folder) as output:
                words = [
                    str(folder / name) if word == str(small.images) else word for word in small.words(verb, output)
                ]
                yield what, outcome(command(words, undrawn), {}, {"nothing": b""})


def _read_only(small: Problem) -> Trials:
    """Every verb that writes, with an output folder into which nothing can be written."""
    for verb in (*VERBS, "interactions", "probe", "degrade"):
        with fresh(small.folder) as output, read_only(output) as how:
            yield f"{verb}, {how}", outcome(command(small.words(verb, output)), {}, {"nothing": b""})


def _at_once(small: Problem, calm: Calm, pairs: int, seed: int) -> Trials:
    """Two runs of the same command at once in one folder: one is refused, or both are right."""
    for verb in VERBS:
        rng, met = random.Random(seed), 0
        expected, seconds = calm[verb]
        while met < pairs:
            with fresh(small.folder) as output:
                words, wait = small.words(verb, output), rng.uniform(0, seconds)
                first, later = start(words, undrawn), start(words, both(undrawn, partial(sleep, wait)))
                ended = first.end(), later.end()
                results = [outcome(each, written(verb, output), expected) for each in ended]
                if ended[0].seconds > wait:  # the second began before the first ended
                    met += 1
                    yield verb, max(results, key=OUTCOMES.index)


SAID = {
    "harmless": "gave the undisturbed result",
    "refused": "were refused in a sentence",
    "noted": "gave another result after a note",
    "traceback": "ended in a traceback, crashed or hung",
    "wrong": "gave another result without a note",
}
COLOURS = dict(zip(OUTCOMES, (GREEN, BLUE, ORANGE, "black", RED), strict=True))
MEANINGS = {
    "harmless": "harmless: the undisturbed result",
    "refused": "refused in a sentence",
    "noted": "another result, after a note",
    "traceback": "traceback, crash or hang",
    "wrong": "another result, without a note",
}


def found(frame: pd.DataFrame) -> str:
    """The answer in a sentence: how many trials had each outcome, and where a bad one occurred."""
    parts = []
    for name in OUTCOMES:
        where = frame[frame[name] > 0] if name in ("traceback", "wrong") else frame[:0]
        places = "; ".join(f"{fault}: {', '.join(rows['what'])}" for fault, rows in where.groupby("fault", sort=False))
        parts.append(f"{frame[name].sum():,} {SAID[name]}" + (f" ({places})" if places else ""))
    return f"Of {frame['trials'].sum():,} trials, {', '.join(parts)}."


def draw(frame: pd.DataFrame) -> Figure:
    """A bar for each fault and target: the share of each outcome, and the number of trials."""
    with styled():
        figure = Figure(figsize=(6.2, 0.19 * len(frame) + 1.1))
        panel = figure.subplots()
        places = np.arange(len(frame)) + 0.8 * frame["fault"].ne(frame["fault"].shift()).cumsum().to_numpy()
        left = np.zeros(len(frame))
        for name in OUTCOMES:
            share = (100 * frame[name] / frame["trials"]).to_numpy()
            label = f"{MEANINGS[name]} ({frame[name].sum():,})"
            panel.barh(places, share, 0.8, left=left, color=COLOURS[name], label=label)
            left += share
        for place, trials in zip(places, frame["trials"], strict=True):
            panel.text(101, place, f"{trials:,}", va="center")
        panel.set_yticks(places, [f"{what}" for what in frame["what"]])
        for fault, rows in frame.groupby("fault", sort=False):
            panel.text(0, places[rows.index[0]] - 0.5, str(fault), va="bottom", weight="bold")
        panel.set_ylim(places[-1] + 0.6, places[0] - 1.3)
        panel.set_xlim(0, 100)
        panel.grid(False)
        panel.set_xlabel("share of trials (%); their number at the right")
        figure.legend(loc="outside upper center", ncols=2)
    return figure


if __name__ == "__main__":
    if sys.argv[1:2] == ["--in-a-process-of-its-own"]:
        sys.stdout.write(_measured(**json.loads(sys.argv[2])).to_csv(index=False))
    else:
        run(__file__, measure, draw, found)
