"""Stored patches: the same as patches made during training, resumable, shared, and refused if damaged."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import room_for

from srgame.data.images import image_paths, read_rgb
from srgame.errors import InputError
from srgame.metrics import quantized
from srgame.training import patch_store
from srgame.training.patch_store import StoredPatches, write_patches
from srgame.training.patches import Patches

IMAGES = [read_rgb(image_paths("photographs")[i])[20:90, 180:250] for i in (0, 1)]
COUNT = 10


def patches(seed: int = 0) -> Patches:
    return Patches(IMAGES, "second-order", patch=24, batch=4, crop=36, sharpen=True, seed=seed)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_patches(patches(), COUNT, tmp_path_factory.mktemp("store")).parent


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_stored_patches_are_those_of_training_rounded_to_8_bits(store: Path) -> None:
    made = [torch.cat(parts)[:COUNT] for parts in zip(*map(patches(), range(3)), strict=True)]
    for name, expected in zip(("lr", "hr"), made, strict=True):
        pixels = np.load(store / f"{name}.npy")
        assert pixels.dtype == np.uint8 and pixels.shape == (COUNT, *expected.shape[2:], 3)
        torch.testing.assert_close(
            torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255, quantized(expected), rtol=0, atol=1e-7
        )


def test_an_epoch_uses_each_patch_once_in_a_permutation_of_the_seed(store: Path) -> None:
    pixels = [image.tobytes() for image in np.load(store / "hr.npy")]

    def epochs(seed: int, batch: int = 4) -> list[list[int]]:
        read = StoredPatches(store, batch=batch, seed=seed)
        rows = [
            pixels.index((255 * hr).round().byte().permute(1, 2, 0).contiguous().numpy().tobytes())
            for step in range(2 * COUNT // batch)
            for hr in read(step)[1]
        ]
        return [rows[:COUNT], rows[COUNT:]]

    first, second = epochs(seed=0)
    assert sorted(first) == sorted(second) == list(range(COUNT)) and first != second
    assert epochs(seed=0, batch=5) == [first, second] != epochs(seed=1)


def test_lr_and_hr_patches_stay_together(store: Path) -> None:
    lr, hr = StoredPatches(store, batch=COUNT)(0)
    small = torch.nn.functional.avg_pool2d(hr, 4)
    apart = (lr[:, None] - small[None]).abs().mean((2, 3, 4))
    assert torch.equal(apart.argmin(1), torch.arange(COUNT))


def test_processes_share_the_batches_of_one_process(store: Path) -> None:
    whole = StoredPatches(store, batch=4, seed=3)
    shares = [StoredPatches(store, batch=2, seed=3, shard=shard, shards=2) for shard in (0, 1)]
    for step in (0, 1, 2, 7):
        for part, parts in zip(whole(step), zip(*(share(step) for share in shares), strict=True), strict=True):
            assert torch.equal(part, torch.cat(parts))


def test_an_interrupted_store_resumes_to_the_same_bytes(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patch_store, "BATCHES_BETWEEN_RECORDS", 1)
    calls = []

    def stops(self: Patches, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        calls.append(step)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return made(self, step)

    made = Patches.__call__
    monkeypatch.setattr(Patches, "__call__", stops)
    with pytest.raises(KeyboardInterrupt):
        write_patches(patches(), COUNT, tmp_path)
    with (tmp_path / "lr.npy").open("ab") as file:  # written, but not yet recorded
        file.write(b"torn")
    with pytest.raises(InputError, match=f"{tmp_path}.*4 of 10"):
        StoredPatches(tmp_path)
    write_patches(patches(), COUNT, tmp_path)
    assert calls == [0, 1, 1, 2] and contents(tmp_path) == contents(store)
    write_patches(patches(), COUNT, tmp_path)
    assert len(calls) == 4


def test_workers_write_the_same_bytes(store: Path, tmp_path: Path) -> None:
    write_patches(patches(), COUNT, tmp_path, workers=2)
    assert contents(tmp_path) == contents(store)


def test_a_full_disk_loses_nothing(store: Path, tmp_path: Path) -> None:
    with room_for(10_000), pytest.raises(InputError, match=str(tmp_path)):
        write_patches(patches(), COUNT, tmp_path)
    write_patches(patches(), COUNT, tmp_path)
    assert contents(tmp_path) == contents(store)


@pytest.mark.parametrize("other", [patches(seed=1), Patches(IMAGES[:1], "second-order", patch=24, batch=4, crop=36)])
def test_other_patches_are_not_mixed_in(store: Path, other: Patches) -> None:
    before = contents(store)
    with pytest.raises(InputError, match=str(store)):
        write_patches(other, COUNT, store)
    with pytest.raises(InputError, match="count 10"):
        write_patches(patches(), COUNT + 1, store)
    assert contents(store) == before


def _flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(content)


def _edited(path: Path) -> None:
    manifest = json.loads(path.read_text())
    del manifest["settings"]["count"]
    path.write_text(json.dumps(manifest))


DAMAGES = {
    "a flipped bit": ("hr.npy", _flipped),
    "cut": ("lr.npy", lambda path: path.write_bytes(path.read_bytes()[:-5])),
    "empty": ("lr.npy", lambda path: path.write_bytes(b"")),
    "gone": ("hr.npy", Path.unlink),
    "no manifest": ("patches.json", Path.unlink),
    "half a manifest": ("patches.json", lambda path: path.write_text('{"settings": {')),
    "a manifest without a count": ("patches.json", _edited),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_store_is_never_trained_on(store: Path, tmp_path: Path, damage: str) -> None:
    for name, content in contents(store).items():
        (tmp_path / name).write_bytes(content)
    name, harm = DAMAGES[damage]
    harm(tmp_path / name)
    with pytest.raises(InputError, match=str(tmp_path)):
        StoredPatches(tmp_path)


def test_batches_larger_than_the_store_continue_with_the_next_epoch(store: Path) -> None:
    lr, hr = StoredPatches(store, batch=2 * COUNT + 1)(5)
    assert lr.shape == (21, 3, 6, 6) and hr.shape == (21, 3, 24, 24)
    seen = [len(np.unique(hr[a:b].flatten(1), axis=0)) for a, b in pairwise((5, 15))]
    assert seen == [COUNT]  # step 5 begins 105 patches in: rows 5 to 14 are one epoch
