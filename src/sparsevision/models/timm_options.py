"""Options of timm's models that may come from a file: those of the network alone, and no larger than any network's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sparsevision.errors import ConfigError

# Options of timm's models that a configuration may have: numbers and words of the network itself. Others lead to files
# and addresses (checkpoint_path, pretrained, pretrained_cfg, ...), and configurations come from strangers, too.
_OPTIONS = frozenset(
    ("num_classes", "in_chans", "img_size", "patch_size", "window_size", "output_stride", "drop_rate",
     "drop_path_rate", "drop_block_rate", "proj_drop_rate", "attn_drop_rate", "patch_drop_rate", "pos_drop_rate",
     "global_pool", "pad_type", "init_values", "class_token", "reg_tokens", "strict_img_size", "dynamic_img_size",
     "stem_type", "aa_layer", "se_from_exp", "fix_stem", "replace_stem_pool", "always_partition", "head_init_scale",
     "embed_dim", "dims", "channels", "num_heads", "mlp_ratio", "qkv_bias", "qk_norm", "ls_init_value", "kernel_sizes",
     "stem_width", "base_width", "cardinality", "avg_down", "act_layer", "norm_layer")
)  # fmt: skip
# Each of their repetitions is built as modules, also where no memory is allocated.
_REPEATS = frozenset(("depth", "depths", "layers"))
# Tables of windows and positions grow with powers of these, whatever the weights are.
_SIDES = {"window_size": 64, "img_size": 4096, "patch_size": 256}
_LARGEST, _MOST_REPEATS, _MOST_PARTS = 1 << 20, 200, 8
_WORD = re.compile(r"\w{0,40}")


def check_options(options: Mapping[str, Any]) -> None:
    """Raises ConfigError for an option that is not one of a network alone, or a value that no network has."""
    for name, value in options.items():
        if name not in _OPTIONS | _REPEATS:
            raise ConfigError(
                f"The option {str(name)[:80]!r} of a timm model is not accepted: what may be set is "
                f"{', '.join(sorted(_OPTIONS | _REPEATS))}."
            )
        parts = value if isinstance(value, tuple | list) else [value]
        largest = _MOST_REPEATS if name in _REPEATS else _SIDES.get(name, _LARGEST)
        if len(parts) > _MOST_PARTS or not all(_is_plain(part, largest) for part in parts):
            raise ConfigError(f"The option {name!r} of a timm model is {str(value)[:80]!r}, which no network has.")


def _is_plain(value: Any, largest: int) -> bool:
    if isinstance(value, str):
        return _WORD.fullmatch(value) is not None
    return value is None or (isinstance(value, int | float) and abs(value) <= largest)
