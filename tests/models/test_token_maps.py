"""A feature map's norm gives the usual numbers, and gradients that lie as the map does."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sparsevision.models.visual_transformer.token_maps import MapNorm


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_gradients_lie_as_the_map_does(memory_format) -> None:
    torch.manual_seed(0)
    x, direction = torch.randn(2, 3, 8, 5, 4).unbind()[0].contiguous(memory_format=memory_format), torch.randn(3, 8, 20)
    gradients, strides = [], []
    for norm in (MapNorm(8), nn.BatchNorm2d(8)):
        features = x.clone(memory_format=torch.preserve_format).requires_grad_()
        found = norm(features)
        if isinstance(norm, MapNorm):
            found.register_hook(lambda gradient: strides.append(gradient.stride()))
        gradients.append(torch.autograd.grad((found.flatten(2) * direction).sum(), features)[0])
    torch.testing.assert_close(*gradients)
    assert strides == [x.stride()]
