"""Convolutions that apply the fixed norms behind them give the same maps and gradients, and keep the same weights."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from timm.layers.norm_act import freeze_batch_norm_2d
from torch import Tensor, nn

from sparsevision.kernels.dispatch import plain_operators
from sparsevision.packing.folding import FoldedConv, fold_fixed_norms, turn_convolutions

NETWORKS = {"resnet18": (20, {}), "mobilenetv2_035": (51, {"pad_type": "same"})}
SIDES = (1, 3, 33, 47)


def frozen(name: str) -> nn.Module:
    """Returns a network whose fixed norms are not identities."""
    torch.manual_seed(0)
    network = freeze_batch_norm_2d(timm.create_model(name, features_only=True, **NETWORKS[name][1]))
    for key, buffer in network.named_buffers():
        spread = torch.rand_like(buffer)
        buffer.copy_(spread + 0.5 if key.endswith(("weight", "running_var")) else spread - 0.5)
    return network


def learn(network: nn.Module, images: Tensor) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Returns the maps, and the gradients of all parameters."""
    network.zero_grad()
    maps = network(images)
    sum(level.square().mean() for level in maps).backward()
    gradients = {name: parameter.grad.clone() for name, parameter in network.named_parameters()}
    return [level.detach() for level in maps], gradients


@pytest.mark.parametrize("name", NETWORKS)
def test_folded_networks_give_the_same_maps_and_gradients(name: str) -> None:
    network, images = frozen(name), torch.rand(SIDES)
    expected, gradients = learn(network, images)
    state = copy.deepcopy(network.state_dict())
    assert fold_fixed_norms(network) == NETWORKS[name][0]
    folded = copy.deepcopy(network)
    maps, folded_gradients = learn(folded, images.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(maps, expected, atol=1e-4, rtol=1e-4)
    for key, gradient in gradients.items():
        bound = 1e-4 * float(gradient.abs().max())
        torch.testing.assert_close(folded_gradients[key], gradient, atol=bound, rtol=1e-3, msg=lambda m, k=key: k + m)
    assert folded.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[key]) for key, tensor in folded.state_dict().items())
    with plain_operators():
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(learn(folded, images)[0], expected, strict=True))


@pytest.mark.parametrize("sides", [(64, 96), (33, 47), (1, 3), (2, 50)])
def test_turned_networks_give_turned_maps(sides: tuple[int, int]) -> None:
    network, images = frozen("mobilenetv2_035"), torch.rand(1, 3, *sides)
    fold_fixed_norms(network)
    expected, gradients = learn(network, images)
    assert turn_convolutions(network)
    maps, turned_gradients = learn(network, images.flip(2, 3))
    torch.testing.assert_close([level.flip(2, 3) for level in maps], expected, atol=1e-4, rtol=1e-4)
    for key, gradient in gradients.items():
        bound = 1e-4 * float(gradient.abs().max())
        torch.testing.assert_close(turned_gradients[key], gradient, atol=bound, rtol=1e-3)


@pytest.mark.parametrize("body", ["resnet18", "pooled", "norm left", "strided"])
def test_other_networks_are_not_turned(body: str) -> None:
    network = frozen("resnet18" if body == "resnet18" else "mobilenetv2_035")
    if body == "pooled":
        network.add_module("pool", nn.MaxPool2d(2))
    if body == "strided":
        next(each for each in network.modules() if getattr(each, "kernel_size", None) == (1, 1)).stride = (2, 2)
    if body != "norm left":
        fold_fixed_norms(network)
    assert not turn_convolutions(network)


@pytest.mark.parametrize(("stride", "groups"), [(1, 8), (2, 1), (2, 8)])
def test_autocast_gives_half_precision_behind_every_convolution(stride: int, groups: int) -> None:
    network = nn.Sequential(nn.Conv2d(8, 8, 3, stride, 1, groups=groups, bias=False), nn.BatchNorm2d(8))
    network, images = freeze_batch_norm_2d(network), torch.rand(2, 8, 9, 11)
    assert fold_fixed_norms(network) == 1
    expected, gradients = learn(network, images)
    with torch.autocast("cpu", torch.bfloat16):
        maps, halved = learn(network, images)
    assert {level.dtype for level in maps} == {torch.bfloat16}
    torch.testing.assert_close([level.float() for level in maps], expected, atol=0.02, rtol=0.02)
    torch.testing.assert_close(halved, gradients, atol=0.02, rtol=0.02)


def test_weights_that_are_loaded_later_and_a_copy_are_followed() -> None:
    name = "resnet18"
    network, images = frozen(name), torch.rand(SIDES)
    expected, _ = learn(network, images)
    state = copy.deepcopy(network.state_dict())
    fold_fixed_norms(network)
    for buffer in network.buffers():
        buffer.add_(1)
    copied = copy.deepcopy(network)
    copied.load_state_dict(state)
    torch.testing.assert_close(learn(copied, images)[0], expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(learn(network, images)[0][-1], expected[-1], atol=1e-2)


class Shared(nn.Module):
    """A map that more than a norm reads, a convolution with a bias, and one that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.read_twice, self.biased = nn.Conv2d(3, 3, 1, bias=False), nn.Conv2d(3, 3, 1)
        self.called_twice, self.norm = nn.Conv2d(3, 3, 1, bias=False), nn.BatchNorm2d(3)
        self.norm_biased, self.norm_twice = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.read_twice(x)
        x = x + self.norm(x)
        x = self.norm_biased(self.biased(x))
        return self.norm_twice(self.called_twice(self.called_twice(x)))


class Undecided(nn.Module):
    """A network whose way depends on what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1, bias=False), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) if x.sum() > 0 else x


@pytest.mark.parametrize("kind", [Shared, Undecided])
def test_what_cannot_be_folded_stays(kind: type[nn.Module]) -> None:
    network = freeze_batch_norm_2d(kind())
    assert fold_fixed_norms(network) == 0
    assert not [module for module in network.modules() if isinstance(module, FoldedConv)]
