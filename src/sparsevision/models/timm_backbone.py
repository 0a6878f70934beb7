"""Feature maps of any timm model, for families that stand on a backbone."""

from __future__ import annotations

import re
from typing import Any, Literal

import timm
import torch
from jaxtyping import Float
from timm.layers.norm_act import freeze_batch_norm_2d
from torch import Tensor, nn

from sparsevision.errors import ConfigError, UnknownNameError, first_line
from sparsevision.kernels.dispatch import channels_last_on_cpu, fast
from sparsevision.models.timm_options import check_options
from sparsevision.packing.folding import fold_fixed_norms, pack_folded, turn_convolutions


def check_name(name: str) -> None:
    """Raises UnknownNameError unless timm registers an architecture of the name; paths and addresses are none."""
    if not timm.is_model(name.split(".", 1)[0]) or not re.fullmatch(r"[\w.]+", name):
        raise UnknownNameError("timm model", name[:80], timm.list_models())


def backbone_tensors(backbone: nn.Module) -> dict[str, str]:
    """Names the tensors of a model's `backbone`: {in the model: in the classifier that the backbone is of}."""
    # A map's own norm belongs to the model.
    names = (name for name in backbone.state_dict() if not name.startswith("norms."))
    return {f"backbone.{name}": name.removeprefix("body.") for name in names}


class TimmBackbone(nn.Module):
    """A timm model's last feature maps; its batch norms are fixed affine maps, trained nowhere."""

    def __init__(self, name: str, num_maps: int, options: dict[str, Any]) -> None:
        super().__init__()
        self.name = name
        check_name(name)
        check_options(options)
        try:
            with torch.device("meta"):
                info: Any = timm.create_model(name, features_only=True, **options).feature_info
            strides = info.reduction()
            last = tuple(range(len(strides)))[-num_maps:]
            early = max(index for index, stride in enumerate(strides) if stride <= 4)
            body: Any = timm.create_model(name, features_only=True, out_indices=last, **options)
        # timm's models raise nearly anything for options that they do not have, or maps that they do not make.
        except Exception as error:
            raise ConfigError(
                f"timm makes no feature maps of strides 4 to 32 with {name!r} and {options}: {first_line(error)}."
            ) from error
        self.early = str(info.info[early]["module"])
        self.channels: list[int] = body.feature_info.channels()
        self.body = freeze_batch_norm_2d(body)
        fold_fixed_norms(self.body)
        self.turned: bool | Literal["always"] = turn_convolutions(self.body)

    def freeze_early_stages(self) -> None:
        """Stops training the stem and the first stage, up to stride 4."""
        names = [name for name, _ in self.body.named_parameters()]
        prefix = self.early if any(name.startswith(self.early) for name in names) else self.early.replace(".", "_")
        last = max(index for index, name in enumerate(names) if name.startswith(f"{prefix}."))
        for name in names[: last + 1]:
            self.body.get_parameter(name).requires_grad_(False)

    def packed(self) -> TimmBackbone:
        """Packs the convolutions, in place."""
        pack_folded(self.body)
        self.turned = "always" if self.turned else False
        return self

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> list[Float[Tensor, "batch _ _ _"]]:
        """Returns the maps, finest first."""
        images = channels_last_on_cpu(images)
        if self.turned == "always" or (self.turned and fast()):
            return [level.flip(2, 3) for level in self.body(images.flip(2, 3))]
        return list(self.body(images))
