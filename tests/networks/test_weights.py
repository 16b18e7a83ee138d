"""Files of weights: every container and precision is read, all else is refused in one sentence, and no code runs."""

import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from srgame.errors import InputError
from srgame.networks import SRResNet, load_network
from srgame.networks.weights import CONTAINERS, read_weights

KINDS = ("safetensors", "torch", "torch before 1.6")


@pytest.fixture(scope="module")
def network() -> SRResNet:
    return SRResNet(4, features=8, blocks=2)


def written(content: object, path: Path, kind: str = "torch") -> Path:
    if kind == "safetensors":
        save_file(content, path)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "torch")
    return path


def assert_same_weights(path: Path, network: SRResNet, rtol: float = 0, atol: float = 0) -> None:
    torch.testing.assert_close(read_weights(path), dict(network.state_dict()), rtol=rtol, atol=atol)


@pytest.mark.parametrize("container", [*CONTAINERS, None])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_every_container_and_data_parallel_are_unwrapped(container, prefix, network, tmp_path):
    weights = {prefix + name: tensor for name, tensor in network.state_dict().items()}
    content = {container: weights, "epoch": 3, "optimizer": {"state": {}}} if container else weights
    assert_same_weights(written(content, tmp_path / "weights.pth"), network)


def test_averaged_weights_come_before_raw_ones(network, tmp_path):
    raw = {name: torch.zeros_like(tensor) for name, tensor in network.state_dict().items()}
    assert_same_weights(written({"params": raw, "params_ema": network.state_dict()}, tmp_path / "x.pth"), network)


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth", "weights"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_content_decides_the_format_not_the_name(kind, name, network, tmp_path):
    assert_same_weights(written(network.state_dict(), tmp_path / name, kind), network)


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float16, 1e-3), (torch.bfloat16, 1e-2), (torch.float64, 0)])
def test_other_precisions_become_float32(dtype, rtol, network, tmp_path):
    weights = {name: tensor.to(dtype) for name, tensor in network.state_dict().items()}
    assert_same_weights(written(weights, tmp_path / "weights.pth"), network, rtol, atol=1e-6)


class Bomb:
    """Creates `marker` when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch '{self.marker}'",)


def test_the_bomb_of_the_next_test_works(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "marker")))
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize("name", ["bomb.pth", "bomb.safetensors", "bomb"])
@pytest.mark.parametrize("protocol", ["torch", "torch before 1.6", 0, 2, 4])
@pytest.mark.parametrize("beside_weights", [True, False])
def test_code_in_a_file_is_refused_and_leaves_no_trace(beside_weights, protocol, name, network, tmp_path):
    bomb, path = Bomb(tmp_path / "marker"), tmp_path / name
    content = {**network.state_dict(), "bomb": bomb} if beside_weights else bomb
    if isinstance(protocol, int):
        path.write_bytes(pickle.dumps(content, protocol))
    else:
        written(content, path, protocol)
    with pytest.raises(InputError, match=rf"'.*{name}' (holds code|is truncated, damaged)"):
        load_network(path)
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_pickled_module_is_refused_by_its_name(kind, network, tmp_path):
    path = written(network, tmp_path / "module.pth", kind)
    with pytest.raises(InputError, match=rf"^refused: '{path}' holds code \(srgame.*SRResNet\), .* its state_dict"):
        load_network(path, "srresnet")


def test_a_torchscript_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:
        for name, content in {"constants.pkl": b"\x80\x02}.", "data.pkl": b"\x80\x02}.", "version": b"3\n"}.items():
            archive.writestr(f"script/{name}", content)
    with pytest.raises(InputError, match=r"'.*script.pt' holds code \(TorchScript\)"):
        read_weights(tmp_path / "script.pt")


OPTIMIZER = {"state": {0: {"step": torch.ones(1)}}, "param_groups": [{"lr": 1e-4}]}
ONES = torch.ones(3)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (OPTIMIZER, r"holds an optimizer's state \('state', 'param_groups'\): give the file with the network's"),
        ({"epoch": 1, "optimizers": [OPTIMIZER]}, "holds an optimizer's state"),
        ([ONES], r"holds no weights by name \(a list\)"),
        (ONES, r"holds no weights by name \(a Tensor\)"),
        ({}, r"holds no weights by name \(a dict\)"),
        ({"params": None}, r"holds no weights by name \('params'\)"),
        ({0: ONES, 1: ONES}, r"holds no weights by name \('0', '1'\)"),
        ({"a": 1.0, "epoch": 3}, r"holds no weights by name \('a', 'epoch'\)"),
        ({"a": ONES, "b": ONES * float("nan")}, "'b' in '.*' holds NaN or infinite values"),
        ({"a": ONES, "b": ONES / 0}, "'b' in '.*' holds NaN or infinite values"),
        ({"a": ONES * 1j}, "'a' in '.*' is no plain tensor"),
        ({"a": ONES.to_sparse()}, "'a' in '.*' is no plain tensor"),
        ({"a": ONES.to("meta")}, "'a' in '.*' is no plain tensor"),
        ({"a": torch.ones(0)}, "'a' in '.*' is no plain tensor"),
    ],
)
def test_a_file_without_weights_is_refused_in_one_sentence(content, sentence, tmp_path):
    path = written(content, tmp_path / "weights.pth")
    with pytest.raises(InputError, match=sentence) as refusal:
        read_weights(path)
    assert f"'{path}'" in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 6\n", "is a git-LFS pointer.*git lfs pull"),
        (b"<!DOCTYPE html><html>Not found</html>", "is truncated, damaged, or no file of torch or safetensors"),
        (b"\x89PNG\r\n\x1a\n", "is truncated, damaged, or no file of torch or safetensors"),
    ],
)
def test_a_file_without_tensors_is_named(content, sentence, tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"'{path}' {sentence}"):
        read_weights(path)


@pytest.mark.parametrize("share", [0.001, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_file_is_named(kind, share, network, tmp_path):
    path = written(network.state_dict(), tmp_path / "weights.pth", kind)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError, match=f"'{path}' is truncated"):
        read_weights(path)


def test_a_directory_is_named(tmp_path):
    with pytest.raises(InputError, match=f"'{tmp_path}' cannot be read .*directory"):
        read_weights(tmp_path)
