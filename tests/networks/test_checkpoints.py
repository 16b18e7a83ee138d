"""Networks from checkpoints: weights that do not fit are refused in one sentence."""

import hashlib
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import save_file
from small_networks import assert_same_images, images, saved, small
from torch import nn

from srgame.errors import InputError
from srgame.metrics import luma
from srgame.networks import checkpoints, fingerprint, load_network, scale_of, tied_filters, untrained, zoo


def srresnet() -> nn.Module:
    return small("srresnet-x4")


def changed(name: str, tensor: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """The weights of an SRResNet with one replaced, added or (None) removed."""
    weights = {**srresnet().state_dict(), name: tensor}
    return {name: tensor for name, tensor in weights.items() if tensor is not None}


ONES = torch.ones(8)


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        (lambda: changed("conv_hr.bias", None), "lacks weights of SRResNet: 'conv_hr.bias'; is it another"),
        (lambda: changed("body.1.conv2.weight", None), "lacks weights of SRResNet: 'body.1.conv2.weight'"),
        (lambda: changed("conv_first.weight", None), "lacks weights of SRResNet: 'conv_first.weight'"),
        (lambda: changed("body.0.bn1.weight", ONES), "does not have: 'body.0.bn1.weight'; is it another"),
        (lambda: changed("conv_hr.bias", torch.ones(9)), r"'conv_hr.bias' in .* is \(9,\) .* needs \(8,\)"),
        (lambda: changed("conv_first.weight", ONES), r"'conv_first.weight' in .* needs \(8, 3, 3, 3\)"),
        (lambda: changed("conv_hr.bias", ONES.int()), "'conv_hr.bias' in .*int32, .* needs .*float32"),
        (lambda: changed("HRconv.bias", ONES), "two names for one weight"),
        (
            lambda: {"a": ONES, "b": ONES},
            r"\('a', 'b'\) are not recognised as one of our networks: name the network: srresnet",
        ),
        (lambda: changed("la.gamma", ONES), "are not recognised as one of our"),
        (lambda: {"conv_first.weight": torch.ones(8, 48, 3, 3), "body.0.rdb1.conv1.bias": ONES}, "2 or 4 times, not 1"),
    ],
)
def test_weights_that_fit_no_network_are_refused_in_one_sentence_with_the_file(weights, sentence, tmp_path):
    path = saved(weights(), tmp_path / "weights.pth")
    with pytest.raises(InputError, match=sentence) as refusal:
        load_network(path)
    assert f"'{path}'" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_another_scale_than_expected_is_named(tmp_path):
    path = saved(srresnet().state_dict(), tmp_path / "weights.pth")
    with pytest.raises(InputError, match=f"wrong scale: '{path}' enlarges 4 times, not 2 times"):
        load_network(path, scale=2)


def test_an_unknown_network_is_answered_with_the_nearest(tmp_path):
    path = saved(srresnet().state_dict(), tmp_path / "weights.pth")
    with pytest.raises(InputError, match=f"unknown network 'sresnet' for '{path}'.*nearest is 'srresnet'"):
        load_network(path, network="sresnet")


@pytest.fixture
def foreign(tmp_path, monkeypatch) -> Path:
    """A checkpoint of a network that only the module `foreign_nets` knows."""
    (tmp_path / "foreign_nets.py").write_text(
        "from torch import nn\n"
        "def build(): return nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12), nn.PixelShuffle(2))\n"
        "def scaled(scale=4): return nn.Sequential(\n"
        "    nn.Conv2d(3, 3 * scale**2, 3, padding=1), nn.BatchNorm2d(3 * scale**2), nn.PixelShuffle(scale))\n"
        "def number(): return 3\n"
        "def failing(): return 1 / 0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import foreign_nets

    return saved(foreign_nets.build().state_dict(), tmp_path / "foreign.pth")


def test_a_function_may_build_the_network(foreign):
    network = load_network(foreign, network="foreign_nets:build")
    assert network(images(2, 5, 7)).shape == (2, 3, 10, 14)
    assert not network.training


def test_a_foreign_network_of_another_scale_is_refused(foreign):
    with pytest.raises(InputError, match="enlarges 2 times, not 4 times"):
        load_network(foreign, network="foreign_nets:build", scale=4)


def test_a_function_that_takes_a_scale_is_given_it(foreign):
    assert load_network(foreign, network="foreign_nets:scaled", scale=2)(images(2, 5, 7)).shape == (2, 3, 10, 14)
    with pytest.raises(InputError, match=f"'0.weight' in '{foreign}' is .* Sequential needs"):
        load_network(foreign, network="foreign_nets:scaled")


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        ("no_such_module:build", "cannot be built .ModuleNotFoundError: No module named 'no_such_module'.: give"),
        ("foreign_nets:no_such_function", "cannot be built .AttributeError: .* has no attribute 'no_such_function'"),
        ("foreign_nets:failing", "cannot be built .ZeroDivisionError: division by zero"),
        ("foreign_nets:number", "is of type int: let the function return a torch.nn.Module"),
        (":build", "cannot be built"),
    ],
)
def test_a_function_that_builds_no_network_is_named(foreign, function, sentence):
    with pytest.raises(InputError, match=f"network '{function}' {sentence}"):
        load_network(foreign, network=function)


def test_a_module_of_the_current_folder_builds_the_network_and_its_training(tmp_path, monkeypatch, foreign):
    package = tmp_path / "own_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "nets.py").write_text((tmp_path / "foreign_nets.py").read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [path for path in sys.path if path not in ("", str(tmp_path))])
    assert load_network(foreign, "own_package.nets:build")(images(1, 5, 7)).shape == (1, 3, 10, 14)
    assert scale_of(untrained("own_package.nets:scaled", 3)) == 3
    with pytest.raises(InputError, match=r"'own_package.nets:build' enlarges 2 times, not 4 times"):
        untrained("own_package.nets:build", 4)


def test_a_file_builds_the_network_and_two_files_of_one_name_are_two(tmp_path):
    for name, scale in {"a": 2, "b": 3}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "same_name.py").write_text(
            "from torch import nn\n"
            f"def build(): return nn.Sequential(nn.Conv2d(3, {3 * scale**2}, 1), nn.PixelShuffle({scale}))\n"
        )
        function = f"{tmp_path / name}/same_name.py:build"
        path = saved(untrained(function).state_dict(), tmp_path / name / "weights.pth")
        assert scale_of(load_network(path, function)) == scale
    with pytest.raises(InputError, match=r"cannot be built .FileNotFoundError: there is no file '.*absent.py'"):
        untrained(f"{tmp_path}/absent.py:build")


def test_a_folder_stands_for_the_weights_in_it(tmp_path):
    (tmp_path / "log.csv").touch()
    with pytest.raises(InputError, match=f"'{tmp_path}' is a folder with no checkpoint"):
        load_network(tmp_path)
    saved(srresnet().state_dict(), tmp_path / "one.pth")
    assert_same_images(load_network(tmp_path), srresnet())
    saved(srresnet().state_dict(), tmp_path / "two.pth")
    with pytest.raises(InputError, match=rf"'{tmp_path}' is a folder with several checkpoints .'one.pth', 'two.pth'."):
        load_network(tmp_path)
    save_file(srresnet().state_dict(), tmp_path / "weights.safetensors")
    with pytest.warns(UserWarning, match=r"weights.safetensors' carries no checksum"):
        assert_same_images(load_network(tmp_path), srresnet())


def test_our_networks_are_recognised_under_prefixes(tmp_path):
    for prefix in ("module.", "net_g.", "generator._orig_mod."):
        content = {prefix + name: tensor for name, tensor in srresnet().state_dict().items()}
        path = saved({"model": content}, tmp_path / "weights.pth")
        assert_same_images(load_network(path), srresnet())
        assert_same_images(load_network(path, "srresnet"), srresnet())


@pytest.fixture(scope="module")
def spandrel() -> ModuleType:
    return pytest.importorskip("spandrel", reason="spandrel needs a torchvision that fits torch", exc_type=Exception)


def span(channels: int, path: Path) -> Path:
    """A random network of spandrel's architecture SPAN, saved as frameworks save it."""
    from spandrel.architectures.SPAN import SPAN

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = SPAN(num_in_ch=channels, num_out_ch=channels, feature_channels=16, norm=channels == 3).eval()
    return saved({"params": {f"module.{name}": t for name, t in network.state_dict().items()}}, path)


def test_spandrel_loads_what_it_knows(spandrel, tmp_path):
    path = span(3, tmp_path / "span.pth")
    loaded = load_network(path, "spandrel", scale=4)
    with torch.no_grad():
        torch.testing.assert_close(
            loaded(images(1, 9, 7)).clamp(0, 1), spandrel.ModelLoader().load_from_file(path)(images(1, 9, 7))
        )
    with pytest.raises(InputError, match=rf"spandrel knows no architecture with the weights in '{tmp_path}"):
        load_network(saved({"a.weight": torch.ones(2, 2)}, tmp_path / "unknown.pth"), "spandrel")


def test_networks_of_one_channel_are_loaded_by_spandrel(spandrel, tmp_path):
    path = span(1, tmp_path / "luma.pth")
    with pytest.raises(InputError, match="--channels y"):
        load_network(path, "spandrel")
    loaded = load_network(path, "spandrel", scale=4, channels="y")
    own = spandrel.ModelLoader().load_from_file(path).model
    with torch.no_grad():
        torch.testing.assert_close(luma(loaded(images(1, 9, 7))), own(luma(images(1, 9, 7))), atol=1e-5, rtol=1e-4)
        assert loaded(images(1, 9, 7)).shape == (1, 3, 36, 28)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_filters_that_are_tied_in_the_file_are_tied_in_the_network_and_warned_of(dtype, tmp_path):
    weights = srresnet().to(dtype).state_dict()
    for layer in ("conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias"):
        weights[f"body.1.{layer}"] = weights[f"body.0.{layer}"]
    path = saved(weights, tmp_path / "tied.pth")
    with pytest.warns(UserWarning, match=f"'{path}' 2 weights .* tied over several layers .*several players"):
        network = load_network(path)
    assert tied_filters(network) == [("body.0.conv1", "body.1.conv1"), ("body.0.conv2", "body.1.conv2")]


def test_a_block_that_is_used_twice_is_tied():
    block = nn.Conv2d(3, 3, 3)
    assert tied_filters(nn.Sequential(block, nn.ReLU(), block, nn.Conv2d(3, 3, 3))) == [("0", "2")]


def test_weights_that_lie_side_by_side_in_one_memory_are_not_tied(tmp_path, recwarn):
    network = srresnet()
    flat = torch.cat([tensor.flatten() for tensor in network.state_dict().values()])
    parts = flat.split([tensor.numel() for tensor in network.state_dict().values()])
    weights = {n: part.view_as(t) for (n, t), part in zip(network.state_dict().items(), parts, strict=True)}
    loaded = load_network(saved(weights, tmp_path / "flat.pth"))
    assert not recwarn.list
    assert tied_filters(loaded) == []
    assert_same_images(loaded, network)


def test_a_fingerprint_is_the_sha256_of_names_and_bytes(tmp_path):
    network = srresnet()
    written = b"".join(name.encode() + value.numpy().tobytes() for name, value in network.state_dict().items())
    assert fingerprint(network) == hashlib.sha256(written).hexdigest()
    assert fingerprint(network) == fingerprint(load_network(saved(network.state_dict(), tmp_path / "x.pth")))
    with torch.no_grad():
        network.conv_last.bias[1] += 1e-6
    assert fingerprint(network) != fingerprint(srresnet())


def test_every_kind_of_tensor_has_a_fingerprint():
    assert len(fingerprint(small("han-x4").to(torch.bfloat16))) == len(fingerprint(nn.BatchNorm2d(3))) == 64


@pytest.fixture
def shipped(tmp_path, monkeypatch) -> Path:
    """A zoo with one network."""
    monkeypatch.setattr(checkpoints, "ZOO", tmp_path)
    save_file(srresnet().state_dict(), tmp_path / "a.safetensors")
    digest = hashlib.sha256((tmp_path / "a.safetensors").read_bytes()).hexdigest()
    (tmp_path / "zoo.csv").write_text(f"name,network,file,sha256\nsrresnet-x4-eats,srresnet,a.safetensors,{digest}\n")
    return tmp_path


def test_a_name_of_the_zoo_loads(shipped):
    assert_same_images(load_network("srresnet-x4-eats", scale=4), srresnet())
    assert zoo()["srresnet-x4-eats"]["network"] == "srresnet"


def test_a_shipped_file_that_was_changed_is_refused(shipped):
    path = shipped / "a.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(InputError, match=f"'{path}' is not the file that zoo.csv lists .its sha256 differs"):
        load_network("srresnet-x4-eats")


@pytest.mark.parametrize("name", ["srresnet-x4", "srresnet-x4.pth"])
def test_an_unknown_name_is_answered_with_those_of_the_zoo(shipped, name):
    with pytest.raises(
        InputError, match=f"'{name}' is neither a file nor in the zoo; the nearest is 'srresnet-x4-eats' .*srresnet"
    ):
        load_network(name)


@pytest.mark.parametrize("table", [None, "", "name,network,file,sha256\n"])
def test_a_zoo_may_be_empty(tmp_path, monkeypatch, table):
    monkeypatch.setattr(checkpoints, "ZOO", tmp_path)
    if table is not None:
        (tmp_path / "zoo.csv").write_text(table)
    assert zoo() == {}
    with pytest.raises(InputError, match="is neither a file nor in the zoo, which has no networks"):
        load_network("absent.pth")


def test_every_shipped_network_loads():
    for name in zoo():
        assert load_network(name).training is False


def test_a_wheel_stays_small_and_lists_what_it_holds(monkeypatch, tmp_path):
    """Networks that only analyses use belong into analyses/zoo."""
    assert sum(path.stat().st_size for path in checkpoints.ZOO.iterdir()) < 11e6
    in_checkout = zoo()
    monkeypatch.setattr(checkpoints, "OF_ANALYSES", tmp_path)
    assert {row["file"] for row in zoo().values()} == {path.name for path in checkpoints.ZOO.glob("*.safetensors")}
    (other, *_) = in_checkout.keys() - zoo().keys()
    with pytest.raises(InputError, match=f"'{other}' is neither a file nor in the zoo"):
        load_network(other)
