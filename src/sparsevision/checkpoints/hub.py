"""Models to and from the Hugging Face Hub in our own format, by huggingface_hub's mixin."""

from __future__ import annotations

import os
import types
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Self, cast

from huggingface_hub import ModelCard, ModelHubMixin, hf_hub_download
from huggingface_hub.errors import HFValidationError
from torch import nn

from sparsevision.checkpoints.card import LIBRARY, REPOSITORY, model_card
from sparsevision.checkpoints.checkpoint import CONFIG_FILE, WEIGHTS_FILE
from sparsevision.checkpoints.identity import Identity, identity_of
from sparsevision.checkpoints.reading import read_checkpoint
from sparsevision.checkpoints.saving import save_checkpoint
from sparsevision.errors import CheckpointError, first_line
from sparsevision.models.registry import Family


class HubModel(ModelHubMixin, library_name=LIBRARY, repo_url=REPOSITORY):
    """Adds `save_pretrained`, `from_pretrained` and `push_to_hub` to a model.

    The two that save write a model card, for which `model_card_kwargs` has what the model does not know: "license",
    "data" and "scores", as `card.model_card` takes them. `HubModel.from_pretrained` makes whatever model the files
    describe; called on a model's own class, it insists on that class.
    """

    _family: ClassVar[Family]

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], *, force_download: bool = False,
        token: str | bool | None = None, cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False, revision: str | None = None, **config: Any,
    ) -> Self:  # fmt: skip
        """Makes a model from a local folder or from a repository of the Hub, in evaluation mode.

        `config` overrides fields of the configuration, as in `create_model`.

        Raises:
            CheckpointError: neither a folder nor a repository that can be reached has the files, or they do not fit.
        """
        # Imported here because assembly makes classes with this mixin.
        from sparsevision.checkpoints.assembly import assemble

        where = Path(pretrained_model_name_or_path).expanduser()
        if not where.is_dir():
            options = {"force_download": force_download, "token": token, "cache_dir": cache_dir, "revision": revision}
            where = fetch_from_hub(str(pretrained_model_name_or_path), local_files_only=local_files_only, **options)
        model = assemble(None, read_checkpoint(where), config=config).eval()
        if not isinstance(model, cls):
            raise CheckpointError(f"{str(where)!r} holds a {type(model).__name__}, not a {cls.__name__}.")
        return model

    def generate_model_card(self, *_: Any, **known: Any) -> ModelCard:
        """Returns the card; `known` as `card.model_card` takes it."""
        return model_card(self._identity(), self._family, **known)

    def _identity(self) -> Identity:
        identity = identity_of(self)  # type: ignore[arg-type]
        if identity is None:
            raise CheckpointError(
                "Only models made by create_model know what to write beside their weights: use save_checkpoint."
            )
        return identity

    def _save_pretrained(self, save_directory: Path) -> None:
        model, identity = cast(nn.Module, self), self._identity()
        shared = {name: getattr(identity, name) for name in ("name", "preprocessing", "labels", "class_metadata")}
        save_checkpoint(save_directory, model, **shared)

    def __reduce__(self) -> tuple[Any, ...]:
        # The class is made on demand, so pickle and copy cannot find it by name.
        return _blank, (self._family,), self.__dict__


@cache
def with_hub(family: Family) -> type[nn.Module]:
    """Returns a subclass of a family's network with the Hub's verbs: the models themselves know nothing of files."""
    model_class = family.model_class
    names = {"__doc__": model_class.__doc__, "__module__": model_class.__module__, "_family": family}
    return types.new_class(model_class.__name__, (HubModel, model_class), {}, lambda space: space.update(names))


def _blank(family: Family) -> nn.Module:
    made = with_hub(family)
    return made.__new__(made)


def fetch_from_hub(repository: str, **options: Any) -> Path:
    """Returns the local copy of a repository's model; raises CheckpointError where there is none."""
    try:
        hf_hub_download(repository, CONFIG_FILE, **options)
        return Path(hf_hub_download(repository, WEIGHTS_FILE, **options)).parent
    except HFValidationError as error:
        raise CheckpointError(
            f"{repository!r} is neither a folder nor the name of a repository (user/name)."
        ) from error
    # The library raises its own errors for what the Hub answers, and its HTTP client's for what the network does.
    except Exception as error:
        raise CheckpointError(
            f"{repository!r} is not a local folder, and {CONFIG_FILE} and {WEIGHTS_FILE} could not be fetched "
            f"from the Hub under that name ({type(error).__name__}: {first_line(error)})."
        ) from error
