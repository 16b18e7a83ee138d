"""Foreign networks load as torch loads them, and nothing of them stays unloaded unnoticed."""

import re
import warnings
from pathlib import Path

import pytest
import torch
from foreign_networks import Copying, Fused, Normed, OwnLoad, Plain, Scaled, Twice, Wrapped, drawn
from safetensors.torch import save_file
from small_networks import assert_same_images, images, saved
from torch import nn

from srgame.errors import InputError
from srgame.networks import load_network, tied_filters


@pytest.fixture(autouse=True)
def without_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    """No notes on the convention of these random networks; test_adapter.py tests them."""
    monkeypatch.setattr("srgame.networks.checkpoints.notes", lambda network: ())


def loaded(kind: type[nn.Module], weights: object, folder: Path, strict: bool = True) -> nn.Module:
    path = saved(weights, folder / "weights.pth")
    return load_network(path, f"foreign_networks:{kind.__name__}", strict=strict)


def weights_of(kind: type[nn.Module]) -> dict[str, torch.Tensor]:
    return dict(drawn(kind).state_dict())


def renamed(weights: dict[str, torch.Tensor], old: str, new: str) -> dict[str, torch.Tensor]:
    return {re.sub(old, new, name): tensor for name, tensor in weights.items()}


def test_batch_normalisation_of_before_its_counter_loads(tmp_path, recwarn):
    weights = {name: tensor for name, tensor in weights_of(Plain).items() if "num_batches" not in name}
    assert_same_images(loaded(Plain, weights, tmp_path), drawn(Plain))
    assert not recwarn.list


@pytest.mark.parametrize("old", [True, False])
def test_weight_norm_loads_by_its_names_of_today_and_of_before_and_nothing_is_tied(old, tmp_path, recwarn):
    weights = weights_of(Normed)
    if old:
        weights = renamed(
            renamed(weights, r"parametrizations\.weight\.original0", "weight_g"), r"p.*original1", "weight_v"
        )
        assert {"head.weight_g", "tail.weight_v"} <= weights.keys()
    network = loaded(Normed, weights, tmp_path)
    assert_same_images(network, drawn(Normed))
    assert tied_filters(network) == [] and not recwarn.list


def test_weight_norm_that_is_tied_is_noticed():
    network = Normed()
    second = Normed()
    second.head.parametrizations.weight.original1 = network.head.parametrizations.weight.original1
    assert tied_filters(nn.ModuleList([network, second])) == [("0.head", "1.head")]


@pytest.mark.parametrize(
    "prefix",
    ["module.", "_orig_mod.", "module._orig_mod.", "module.module.", "model.", "net_g.", "generator.", "a.b.module."],
)
@pytest.mark.parametrize("container", [None, "model", "ema", "generator", "model_state", "state_dict.net"])
def test_prefixes_and_containers_are_unwrapped(prefix, container, tmp_path, recwarn):
    content: object = {prefix + name: tensor for name, tensor in weights_of(Plain).items()}
    for part in reversed(container.split(".") if container else []):
        content = {
            "epoch": 3,
            part: content,
            "optimizer": {"state": {0: {"exp_avg": torch.ones(2, 2)}}, "param_groups": []},
        }
    assert_same_images(loaded(Plain, content, tmp_path), drawn(Plain))
    assert not recwarn.list


def test_a_prefix_inside_names_is_dropped_but_not_one_that_the_network_has(tmp_path):
    inside = renamed(weights_of(Plain), r"^(head|tail)", r"\1._orig_mod")
    assert_same_images(loaded(Plain, inside, tmp_path), drawn(Plain))
    network = loaded(Wrapped, drawn(Wrapped).state_dict(), tmp_path)
    assert_same_images(network, drawn(Wrapped))


def test_averaged_weights_are_preferred_and_said(tmp_path):
    raw = {name: torch.zeros_like(tensor) for name, tensor in weights_of(Plain).items()}
    for content in (
        {"net": raw, "net_ema": weights_of(Plain)},
        {f"generator.{n}": t for n, t in raw.items()} | {f"generator_ema.{n}": t for n, t in weights_of(Plain).items()},
    ):
        with pytest.warns(UserWarning, match=r"weights.pth' .*('net' too|'generator\.)"):
            network = loaded(Plain, content, tmp_path)
        assert_same_images(network, drawn(Plain))


def test_of_generator_and_discriminator_the_one_that_fits_is_loaded(tmp_path):
    content = {"a": {"features.weight": torch.ones(4, 4)}, "b": weights_of(Plain)}
    with pytest.warns(UserWarning, match="'a' too"):
        assert_same_images(loaded(Plain, content, tmp_path), drawn(Plain))
    with pytest.raises(InputError, match=r"weights.pth' holds several sets of weights \('a', 'b'\)"):
        loaded(Plain, {"a": weights_of(Plain), "b": weights_of(Plain)}, tmp_path)


def test_counters_of_tools_are_ignored_with_a_note(tmp_path):
    counters = {"step_counter": torch.zeros(1), "total_ops": torch.zeros(1), "head.total_params": torch.zeros(1)}
    with pytest.warns(UserWarning, match="'step_counter', 'total_ops', 'head.total_params' are ignored"):
        assert_same_images(loaded(Plain, weights_of(Plain) | counters, tmp_path), drawn(Plain))


def test_a_wrapper_takes_the_weights_of_its_inner_network(tmp_path):
    with pytest.warns(UserWarning, match="lacks 'peak' of Wrapped"):
        network = loaded(Wrapped, weights_of(Plain), tmp_path)
    lr = images(1, 5, 7)
    torch.testing.assert_close(network(lr), drawn(Plain)(lr * 255) / 255)
    with pytest.raises(InputError, match=r"weights.pth' lacks weights of Scaled: 'gain'"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded(Scaled, weights_of(Plain), tmp_path)


@pytest.mark.parametrize("kind", [OwnLoad, Copying])
def test_a_network_with_its_own_way_to_load_uses_it(kind, tmp_path, recwarn):
    weights = renamed(weights_of(Plain), "^head", "stem") if kind is OwnLoad else weights_of(Plain)
    assert_same_images(loaded(kind, weights, tmp_path), drawn(Plain))
    assert not recwarn.list


def test_weights_that_a_network_computes_are_said_to_be_unchecked(tmp_path):
    weights, parts = weights_of(Plain), {}
    for kind in ("weight", "bias"):
        parts[f"one.{kind}"], parts[f"two.{kind}"] = (weights[f"head.{kind}"] * share for share in (0.25, 0.75))
        del weights[f"head.{kind}"]
    with pytest.warns(UserWarning, match="'head.weight', 'head.bias' of Fused are computed"):
        assert_same_images(loaded(Fused, weights | parts, tmp_path), drawn(Plain))


@pytest.mark.parametrize("kind", [Plain, OwnLoad, Copying])
def test_missing_and_unexpected_weights_are_listed_and_strict_no_goes_on(kind, tmp_path):
    weights = weights_of(Plain) | {"other.weight": torch.ones(2, 2)}
    del weights["tail.bias"]
    with pytest.raises(InputError, match=r"weights.pth' .*tail.bias.*other.weight"):
        loaded(kind, weights, tmp_path)
    with pytest.warns(UserWarning, match=r"weights.pth' lacks .*'tail.bias' .*'other.weight'"):
        network = loaded(kind, weights, tmp_path, strict=False)
    assert torch.equal(network.head.weight, weights["head.weight"])
    with pytest.raises(InputError, match=r"weights.pth' "):
        loaded(kind, {"other.weight": torch.ones(2, 2)}, tmp_path, strict=False)


def test_weights_that_the_architecture_ties_stay_tied_even_if_the_file_drops_one(tmp_path):
    weights = weights_of(Twice)
    for content in (weights, {name: tensor for name, tensor in weights.items() if "again" not in name}):
        save_file({name: tensor.clone() for name, tensor in content.items()}, tmp_path / "tied.safetensors")
        with pytest.warns(UserWarning) as notes:
            network = load_network(tmp_path / "tied.safetensors", "foreign_networks:Twice")
        assert any("'body', 'again'" in str(n.message) or "(body, again" in str(n.message) for n in notes)
        assert tied_filters(network) == [("body", "again")]
        assert_same_images(network, drawn(Twice))
    save_file({name: t + ("again" in name) for name, t in weights.items()}, tmp_path / "tied.safetensors")
    with pytest.raises(InputError, match=r"share memory .* differ in '.*tied.safetensors'"):
        load_network(tmp_path / "tied.safetensors", "foreign_networks:Twice")


def test_loading_draws_no_random_numbers(tmp_path):
    torch.manual_seed(3)
    loaded(Plain, weights_of(Plain), tmp_path)
    drawn_after = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(drawn_after, torch.rand(1))
