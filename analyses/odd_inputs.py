"""Networks, images, folders and streams that are not what a program hopes for: whether results stay right.

Each function yields, for each trial, what the command was given, and its outcome.
"""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import odd_networks
import tifffile
import torch
from trials import Problem, both, close, command, damaged, fresh, outcome, problem, reading, undrawn, written

from srgame.data.images import read_rgb
from srgame.networks import fingerprint, load_network
from srgame.networks.weights import read_weights, save_weights
from srgame.training.loop import seeded

Trials = Iterator[tuple[str, str]]
NOTHING = {"nothing": b""}  # what a command would have to write that must be refused

PREFIXES = ("module.", "_orig_mod.", "module._orig_mod.", "net_g.", "generator.", "model.")
CONTAINERS = ("params_ema", "params", "state_dict", "model", "generator", "ema")


def networks(folder: Path, most: int) -> Trials:
    """Networks with the habits of odd_networks.py, beside twins without: `most` verbs for each."""
    file = Path(odd_networks.__file__).resolve()
    plain = problem(folder / "networks", f"{file}:Plain", ("head", "body"), 32)
    save_weights(seeded(odd_networks.Plain, 0).state_dict(), plain.checkpoint)
    twins = dict.fromkeys(odd_networks.HABITS, "Plain") | {"normalises over its batch": "OneByOne"}
    for verb in ("shapley", "evaluate", "interactions", "probe", "restore")[:most]:
        expected = {
            twin: _result(Problem(plain.folder, f"{file}:{twin}", plain.layers, plain.crop), verb)
            for twin in set(twins.values())
        }
        for habit, network in odd_networks.HABITS.items():
            odd = Problem(plain.folder, f"{file}:{network.__name__}", plain.layers, plain.crop)
            with fresh(plain.folder) as output:
                ended = command(odd.words(verb, output), undrawn)
                found, twin = written(verb, output), expected[twins[habit]]
                if all(close(found[name], twin[name]) for name in twin):  # one run at a time rounds otherwise
                    found = twin
                yield habit, outcome(ended, found, twin, "not finite")


def _result(small: Problem, verb: str) -> dict[str, bytes]:
    with fresh(small.folder) as output:
        command(small.words(verb, output), undrawn)
        return written(verb, output)


def misfits(small: Problem, most: int) -> Trials:
    """Real pairs of which one does not fit: `most` verbs for each."""
    from PIL import Image

    def pair(hr: Image.Image) -> Image.Image:
        return hr.resize((hr.width // 4, hr.height // 4), Image.Resampling.BICUBIC)

    spoil: dict[str, Callable[[Image.Image], Image.Image]] = {
        "a row is missing": lambda lr: lr.crop((0, 0, lr.width, lr.height - 1)),
        "a column too many": lambda lr: lr.resize((lr.width + 1, lr.height)),
        "another scale": lambda lr: lr.resize((2 * lr.width, 2 * lr.height)),
        "on its side": lambda lr: lr.transpose(Image.Transpose.ROTATE_90),
    }
    for what, change in spoil.items():
        folder = small.folder / what.replace(" ", "-")
        for kind in ("lr", "hr"):
            (folder / kind).mkdir(parents=True)
        for name, changed in (("one", lambda lr: lr), ("two", change)):
            hr = Image.open(small.images / f"{name}.png")
            hr.save(folder / "hr" / f"{name}.png")
            changed(pair(hr)).save(folder / "lr" / f"{name}.png")
        real = ["--network", small.network, "--lr", str(folder / "lr"), "--hr", str(folder / "hr")]
        for verb in ("evaluate", "shapley", "interactions", "probe equity")[:most]:
            with fresh(small.folder) as output:
                words = [*verb.split(), str(small.checkpoint), *real, "--output", str(output)]
                yield what, outcome(command(words, undrawn), {}, NOTHING)


def transparent(small: Problem, most: int) -> Trials:
    """Images with alpha, in each format that has it: read as Pillow stored them, `most` of each."""
    from PIL import Image

    rng, path = np.random.default_rng(0), small.folder / "transparent"
    writers: dict[str, Callable[[np.ndarray, Path], object]] = {
        "PNG": lambda pixels, file: Image.fromarray(pixels).save(file.with_suffix(".png")),
        "WebP": lambda pixels, file: Image.fromarray(pixels).save(file.with_suffix(".webp"), lossless=True, exact=True),
        "BMP": lambda pixels, file: Image.fromarray(pixels).save(file.with_suffix(".bmp")),
        "TIFF": lambda pixels, file: Image.fromarray(pixels).save(file.with_suffix(".tiff")),
        "TIFF of 16 bits": lambda pixels, file: tifffile.imwrite(
            file.with_suffix(".tif"), pixels.astype(np.uint16) * 257, photometric="rgb", extrasamples=["unassalpha"]
        ),
    }
    suffixes = dict(zip(writers, (".png", ".webp", ".bmp", ".tiff", ".tif"), strict=True))
    for what, write in writers.items():
        for _ in range(most):
            pixels = rng.integers(0, 256, (9, 11, 4), dtype=np.uint8)
            write(pixels, path)
            yield what, reading(partial(_same, path.with_suffix(suffixes[what]), pixels[:, :, :3]))


def _same(path: Path, pixels: np.ndarray) -> bool:
    return np.array_equal(read_rgb(path), pixels)


def too_small(small: Problem, most: int) -> Trials:
    """Images that are too small for PSNR or SSIM: the table has to say of how many images a mean is."""
    from PIL import Image

    for what, side in {"for PSNR": 8, "for SSIM": 16}.items():
        images = small.folder / f"small-{side}"
        shutil.copytree(small.images, images)
        Image.open(small.images / "one.png").crop((0, 0, side, side)).save(images / "small.png")
        words = ["evaluate", str(small.checkpoint), "--network", small.network, "--sets", str(images)]
        with fresh(small.folder) as output:
            ended = command([*words, "--output", str(output)], undrawn)
            yield what, outcome(ended, {}, NOTHING, f"{'PSNR' if side == 8 else 'SSIM'} of 2")


def streams(small: Problem, most: int) -> Trials:
    """Standard output and error that are closed, full, unread, or of few characters: results are saved anyway."""
    kinds: dict[str, Callable[[], None]] = {
        "output closed": partial(_closed, 1),
        "output and error closed": both(partial(_closed, 1), partial(_closed, 2)),
        "output full": partial(_opened, "/dev/full", 1),
        "error full": partial(_opened, "/dev/full", 2),
        "output without a reader": partial(_unread, 1),
        "output in cp1252": partial(_encoded, "cp1252"),
        "output in ASCII": partial(_encoded, "ascii"),
    }
    for verb in ("shapley", "evaluate", "interactions", "probe", "train", "degrade")[:most]:
        expected = _result(small, verb)
        for what, prepare in kinds.items():
            with fresh(small.folder) as output:
                ended = command(small.words(verb, output), both(undrawn, prepare))
                found = written(verb, output)
                yield what, outcome(ended, found, expected) if found == expected else "wrong"


def _closed(descriptor: int) -> None:
    setattr(sys, {1: "stdout", 2: "stderr"}[descriptor], None)  # as Python itself sets them if they are closed
    os.close(descriptor)


def _opened(path: str, descriptor: int) -> None:
    os.dup2(os.open(path, os.O_WRONLY), descriptor)


def _unread(descriptor: int) -> None:
    reader, writer = os.pipe()
    os.dup2(writer, descriptor)
    os.close(reader)
    os.close(writer)


def _encoded(encoding: str) -> None:
    for descriptor, name in enumerate(("stdout", "stderr"), start=1):
        setattr(sys, name, open(descriptor, "w", encoding=encoding, closefd=False))  # noqa: SIM115


def layouts(small: Problem, most: int) -> Trials:
    """Checkpoints of torch with a prefix or in a container: whole, then `most` times damaged."""
    weights, path = read_weights(small.checkpoint), small.folder / "layout.pth"
    good = fingerprint(load_network(small.checkpoint, small.network))
    contents: dict[str, dict[str, object]] = {
        f"prefix {prefix}": {f"{prefix}{name}": value for name, value in weights.items()} for prefix in PREFIXES
    }
    contents |= {f"container {name}": {name: weights, "epoch": 3, "optimizer": {"state": {}}} for name in CONTAINERS}
    rng = np.random.default_rng(0)
    for what, content in contents.items():
        torch.save(content, path)
        whole = path.read_bytes()
        for trial in range(most + 1):
            path.write_bytes(damaged(whole, rng) if trial else whole)
            yield what, reading(lambda: fingerprint(load_network(path, small.network)) == good)


def side_files(folder: Path, most: int) -> Trials:
    """Image folders with files and folders that other programs leave there: `most` verbs for each."""
    small = problem(folder / "beside")
    kinds: dict[str, Callable[[], object]] = {
        "._one.png of macOS": lambda: (small.images / "._one.png").write_bytes(b"\0\5\x16\7" + bytes(100)),
        "Thumbs.db of Windows": lambda: (small.images / "Thumbs.db").write_bytes(bytes(100)),
        "a folder called x.png": (small.images / "x.png").mkdir,
        "a text": lambda: (small.images / "readme.txt").write_text("my images"),
        "a subfolder of images": lambda: shutil.copytree(small.images, small.images / "more"),
    }
    verbs = ("evaluate", "shapley", "train", "interactions", "degrade", "restore")[:most]
    expected = {verb: _result(small, verb) for verb in verbs}
    for what, add in kinds.items():
        before = set(small.images.iterdir())
        add()
        for verb in verbs:
            with fresh(small.folder) as output:
                yield what, outcome(command(small.words(verb, output), undrawn), written(verb, output), expected[verb])
        for path in set(small.images.iterdir()) - before:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
