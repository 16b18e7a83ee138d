"""Malicious files: no code in them runs, they fill no memory, and nothing is written outside the chosen folder."""

import argparse
import builtins
import collections
import datetime
import hashlib
import io
import json
import os
import pathlib
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save
from small_networks import saved, small

from srgame.cli.verbs import main
from srgame.errors import InputError
from srgame.networks import load_network
from srgame.networks.inert import Inert, emptied, inert_types
from srgame.networks.weights import read_weights, save_weights
from srgame.shapley.store import open_store
from srgame.training.state import STATES, read_state


class Reduced:
    """Unpickling it calls `function` with the arguments."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.reduced


class Settings(argparse.Namespace):
    """A Namespace that runs a shell when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        super().__init__(canary=canary)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.system, (f"touch '{self.canary}'",)


def shell(canary: Path) -> Reduced:
    return Reduced(os.system, f"touch '{canary}'")


# Objects that create the canary when unpickled: by a shell, by Python, by functions of torch, hidden among tensors.
HARM: dict[str, Callable[[Path], object]] = {
    "os.system": shell,
    "exec": lambda canary: Reduced(builtins.exec, f"open({str(canary)!r}, 'w')"),
    "eval": lambda canary: Reduced(builtins.eval, f"open({str(canary)!r}, 'w')"),
    "open": lambda canary: Reduced(io.open, str(canary), "w"),
    "torch.save": lambda canary: Reduced(torch.save, 1, str(canary)),
    "numpy.save": lambda canary: Reduced(np.save, f"{canary}", np.zeros(1)),
    "a parameter": lambda canary: Reduced(torch._utils._rebuild_parameter, shell(canary), False, {}),
    "among weights": lambda canary: {**small("srresnet-x4").state_dict(), "harm": shell(canary)},
    "in a container": lambda canary: {"params_ema": shell(canary), "epoch": 1},
    "beside a Namespace": lambda canary: {"args": argparse.Namespace(harm=shell(canary)), "params": {}},
    "a subclass of Namespace": lambda canary: {"args": Settings(canary), "params": {}},
    "an array of objects": lambda canary: {"metric": np.array([shell(canary)], dtype=object), "params": {}},
    "a default factory": lambda canary: Reduced(collections.defaultdict, shell(canary)),
    "a Path": lambda canary: Reduced(pathlib.Path, shell(canary)),
    "an optimiser's state": lambda canary: {"run": {}, "log": [{"step": 1}], "optimiser": shell(canary)},
}


def zipped(harm: object) -> bytes:
    """A zip as torch.save writes it, but with a pickle of Python."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        parts = {"data.pkl": pickle.dumps(harm, 2), "byteorder": b"little", "data/0": bytes(8), "version": b"3\n"}
        for name, content in parts.items():
            archive.writestr(f"archive/{name}", content)
    return file.getvalue()


def tarred(harm: object) -> bytes:
    """A checkpoint as torch wrote it before version 0.1.10."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            content = pickle.dumps(harm, 2)
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def torched(harm: object, new: bool = True) -> bytes:
    file = io.BytesIO()
    torch.save(harm, file, _use_new_zipfile_serialization=new)
    return file.getvalue()


def arrayed(harm: object) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([harm], dtype=object), allow_pickle=True)
    return file.getvalue()


VESSELS: dict[str, Callable[[object], bytes]] = {
    "pickle 0": lambda harm: pickle.dumps(harm, 0),
    "pickle 2": lambda harm: pickle.dumps(harm, 2),
    "pickle 5": lambda harm: pickle.dumps(harm, 5),
    "torch": torched,
    "torch before 1.6": lambda harm: torched(harm, new=False),
    "zip": zipped,
    "tar": tarred,
    "numpy": arrayed,
}
NAMES = ("harm.pth", "harm.safetensors", "harm.npy")


@pytest.mark.parametrize("kind", HARM)
def test_the_harm_of_the_next_tests_is_real(kind: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary.npy"
    with suppress(AttributeError, TypeError):  # a number is no parameter; that fails only after the shell has run
        pickle.loads(pickle.dumps(HARM[kind](canary)))
    assert canary.exists()


@pytest.mark.parametrize("vessel", VESSELS)
@pytest.mark.parametrize("kind", HARM)
def test_no_code_in_a_checkpoint_runs(kind: str, vessel: str, tmp_path: Path) -> None:
    canary, content = tmp_path / "canary.npy", VESSELS[vessel](HARM[kind](tmp_path / "canary.npy"))
    canary.unlink(missing_ok=True)
    for name in NAMES:
        (tmp_path / name).write_bytes(content)
        for network in (None, "srresnet"):
            with pytest.raises(InputError, match=rf"'.*{name}' (holds code|is truncated, damaged|holds no weights)"):
                load_network(tmp_path / name, network)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)


@pytest.mark.parametrize("vessel", VESSELS)
@pytest.mark.parametrize("kind", HARM)
def test_no_code_in_a_run_folder_runs(kind: str, vessel: str, tmp_path: Path) -> None:
    content = VESSELS[vessel](HARM[kind](tmp_path / "canary.npy"))
    for name in STATES:
        (tmp_path / name).write_bytes(content)
    with (
        pytest.warns(UserWarning, match=r"state.*\.pt' is damaged"),
        pytest.raises(InputError, match=r"state.pt' cannot be read: train in another folder"),
    ):
        read_state(tmp_path, {})
    store = open_store(tmp_path / "store", {})
    for checksum in (b"", hashlib.sha256(content).digest()):
        (tmp_path / "store" / "0000000.replicate").write_bytes(checksum + content)
        with pytest.warns(UserWarning, match=r"0000000\.replicate' is damaged"):
            assert store.get(0) is None
    (tmp_path / "store" / "game.json").write_bytes(content)
    with pytest.raises(InputError, match=r"game\.json"):
        open_store(tmp_path / "store", {})
    assert not (tmp_path / "canary.npy").exists()


HARMLESS = {
    "numpy scalars": [np.float64(30.5), np.int64(3), np.bool_(True)],
    "numpy arrays": [np.zeros(3), np.array(["a"]), np.array([{"a": 1}, None], dtype=object)],
    "a Namespace": argparse.Namespace(lr=1e-4, folder=pathlib.Path("runs/a"), more=argparse.Namespace()),
    "paths": [pathlib.Path("/etc/passwd"), pathlib.PureWindowsPath("C:/x")],
    "defaultdicts": collections.defaultdict(list, loss=[np.float32(1)]),
    "dates": [datetime.datetime(2026, 1, 2), datetime.timedelta(1)],
    "the state of a generator": np.random.RandomState(0).get_state(),
}


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("kind", HARMLESS)
def test_harmless_things_beside_weights_are_read_past(kind: str, new: bool, tmp_path: Path) -> None:
    network = small("srresnet-x4")
    content = {"epoch": 3, "model": network.state_dict(), "optimizer": {"param_groups": []}, kind: HARMLESS[kind]}
    (tmp_path / "harmless.pth").write_bytes(torched(content, new))
    weights = read_weights(tmp_path / "harmless.pth")
    assert weights.keys() == network.state_dict().keys()
    assert all(torch.equal(weights[name], value) for name, value in network.state_dict().items())


def test_what_stands_for_harmless_types_reaches_none_of_their_code() -> None:
    for stand_in, name in inert_types():
        assert stand_in in (Inert, emptied, dict), name
    assert Inert(os.system, "x").__reduce_ex__(2)[1] == (Inert,)
    Inert().__setstate__({"__class__": os})
    assert type(Inert()) is Inert and not hasattr(Inert(), "__dict__")


def safetensors(header: object, content: bytes = bytes(16), length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + content


def tensor(start: int, end: int, shape: tuple[int, ...] = (4,)) -> dict[str, object]:
    return {"dtype": "F32", "shape": shape, "data_offsets": (start, end)}


LIES = {
    "a header longer than the file": safetensors({"a": tensor(0, 16)}, length=2**40),
    "a header of all memory": safetensors({"a": tensor(0, 16)}, length=2**64 - 1),
    "a header that ends early": safetensors({"a": tensor(0, 16)}, length=9),
    "overlapping tensors": safetensors({"a": tensor(0, 16), "b": tensor(0, 16)}),
    "a tensor behind the end": safetensors({"a": tensor(0, 64, (16,))}),
    "a tensor that ends before it begins": safetensors({"a": tensor(16, 0)}),
    "a tensor before the file": safetensors({"a": tensor(-16, 0)}),
    "a size that overflows": safetensors({"a": tensor(0, 16, (2**62, 2**62))}),
    "a shape without its bytes": safetensors({"a": tensor(0, 16, (2**40,))}),
    "a hole": safetensors({"a": tensor(8, 16, (2,))}),
    "an unknown type": safetensors({"a": tensor(0, 16) | {"dtype": "PICKLE"}}),
    "metadata that are no text": safetensors({"__metadata__": {"srgame.sha256": 3}, "a": tensor(0, 16)}),
    "brackets without end": safetensors(b"{" + b'"a":{' * 100_000),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_lies_is_refused(lie: str, tmp_path: Path) -> None:
    (tmp_path / "lie.safetensors").write_bytes(LIES[lie])
    with pytest.raises(InputError, match=r"lie.safetensors' is truncated, damaged, or no file"):
        load_network(tmp_path / "lie.safetensors")


def test_a_zip_that_would_fill_the_memory_is_refused_with_the_limit(tmp_path: Path) -> None:
    whole = zipfile.ZipFile(io.BytesIO(torched({"a": torch.zeros(2**18)})))
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        for part in whole.infolist():
            archive.writestr(part.filename, whole.read(part))
    size = (tmp_path / "bomb.pth").stat().st_size
    assert size < 10_000
    with pytest.raises(
        InputError, match=rf"refused: .*bomb.pth' has {size:,} bytes but would unpack to 1,04\d,\d+, and"
    ):
        read_weights(tmp_path / "bomb.pth")
    run = tmp_path / "run"
    run.mkdir()
    (run / STATES[0]).write_bytes((tmp_path / "bomb.pth").read_bytes())
    with (
        pytest.warns(UserWarning, match=r"state\.pt' is damaged"),
        pytest.raises(InputError, match="cannot be read: train in another"),
    ):
        read_state(run, {})
    declared = torched({"a": torch.zeros(2)})
    place = declared.rfind(b"PK\x01\x02") + 24
    (tmp_path / "lie.pth").write_bytes(declared[:place] + struct.pack("<I", 2**32 - 2) + declared[place + 4 :])
    with pytest.raises(InputError, match=r"would unpack to 4,294,967,\d+"):
        read_weights(tmp_path / "lie.pth")


def test_one_number_that_claims_to_be_a_million_million_is_no_plain_tensor(tmp_path: Path) -> None:
    path = saved({"a": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "expanded.pth")
    assert path.stat().st_size < 3000
    with pytest.raises(InputError, match=r"'a' in '.*' is no plain tensor"):
        read_weights(path)


def test_flipped_bits_in_weights_with_a_checksum_are_noticed(tmp_path: Path) -> None:
    weights, rng = dict(small("srresnet-x4").state_dict()), np.random.default_rng(0)
    save_weights(weights, tmp_path / "ours.safetensors")
    saved(weights, tmp_path / "torch.pth")
    for path in (tmp_path / "ours.safetensors", tmp_path / "torch.pth"):
        good, refused = path.read_bytes(), 0
        for _ in range(100):
            bad = bytearray(good)
            bad[rng.integers(len(bad))] ^= 1 << int(rng.integers(8))
            path.write_bytes(bad)
            try:
                read = read_weights(path)
            except InputError:
                refused += 1
            else:
                assert all(torch.equal(read[name], value) for name, value in weights.items())
        assert refused > 80


def test_a_file_without_a_checksum_is_named_with_its_sha256(tmp_path: Path) -> None:
    weights = dict(small("srresnet-x4").state_dict())
    for name, content in {"other.safetensors": save(weights), "old.pth": torched(weights, new=False)}.items():
        (tmp_path / name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        with pytest.warns(UserWarning, match=rf"{name}' carries no checksum, .* with its publisher's, {digest}"):
            load_network(tmp_path / name)


def test_a_name_in_a_checkpoint_neither_writes_nor_controls_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["../../outside", "/etc/outside", "\x1b[2J\nsrgame: all is well"]
    saved({name: torch.ones(2) for name in names}, tmp_path / "names.pth")
    monkeypatch.setattr(
        "sys.argv", ["srgame", "shapley", str(tmp_path / "names.pth"), "--output", str(tmp_path / "out")]
    )
    with pytest.raises(SystemExit):
        main()
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and message[:-1].isprintable()
    assert "\\x1b[2J\\nsrgame: all is well" in message
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["names.pth", "out"]
