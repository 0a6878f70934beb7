"""Weights into a model: strict, and with a report of everything that was done."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from sparsevision.checkpoints.checkpoint import Checkpoint, LoadReport
from sparsevision.checkpoints.layouts import OTHER, OURS, disagreements, layout_named, layouts, likely_variants
from sparsevision.errors import CheckpointError


def load_into(
    model: nn.Module, checkpoint: Checkpoint, *, fresh_head: bool = False, fresh_tokens: bool = False,
    adapt_channels: bool = False, allow_nonfinite: bool = False, rows: Sequence[int | None] | None = None,
) -> LoadReport:  # fmt: skip
    """Copies a checkpoint's tensors into a model; every tensor of either side must have its counterpart.

    Nothing is copied before everything is known to fit. Two cases are tolerated: a head under its former name, and a
    missing tensor that early files of a released layout lack, which becomes zeros with a warning.

    Args:
        model: what to fill; parameters keep their dtype and device.
        checkpoint: what `read_checkpoint` returned.
        fresh_head: keep the model's own classifier where the checkpoint's has another size.
        fresh_tokens: keep the model's own token embeddings and regions where the checkpoint has another number.
        adapt_channels: sum or repeat the first convolution's weights where the image has another number of channels.
        allow_nonfinite: load NaN and infinite weights too.
        rows: for each class of the model, the checkpoint's class whose outputs it gets; None keeps the model's own.

    Raises:
        CheckpointError: tensors are missing, unexpected, of another shape or type, or not finite.
    """
    own = model.state_dict()
    state = dict(checkpoint.state)
    known = [] if rows is None else [row for row in rows if row is not None]
    if rows is not None and known:
        _take_rows(model, own, state, rows)
    heads = _head_prefixes(model)
    kept = _kept_fresh(model, own, state, heads, fresh_head=fresh_head, fresh_tokens=fresh_tokens)
    if rows is not None and not known:
        kept.update(name for name in own if name.startswith(heads))
    unused = [name for name in state if name in kept or (fresh_head and name not in own and name.startswith(heads))]
    for name in unused:
        del state[name]
    adapted = fit_channels(model, own, state) if adapt_channels else []
    missing = _zeros_for_absent(own, state, checkpoint)
    # A counter that only some batch norms use; files made for inference leave it out.
    uncounted = [name for name in own if name.endswith("num_batches_tracked") and name not in state]
    _check_names_and_shapes(model, own, state, kept.union(uncounted), checkpoint)
    _check_values(state, checkpoint.origin, allow_nonfinite)
    # On the meta device, all that can be done is to find out whether the weights would fit.
    if not all(tensor.is_meta for tensor in own.values()):
        model.load_state_dict({**own, **state})
    originals = checkpoint.original_names
    return LoadReport(
        loaded=len(state) - len(missing), layout=checkpoint.layout, origin=checkpoint.origin,
        renamed=[(originals[name], name) for name in state if originals.get(name, name) != name],
        missing=missing + uncounted, unexpected=[originals.get(name, name) for name in unused],
        fresh=[name for name in own if name in kept], adapted=adapted,
        classes=None if rows is None else (len(known), len(rows)),
    )  # fmt: skip


def _take_rows(
    model: nn.Module, own: Mapping[str, Tensor], state: dict[str, Tensor], rows: Sequence[int | None]
) -> None:
    """Puts the outputs of a checkpoint's classes into the order of the model's, in heads that have one for each.

    What does not look like such a head is left as it is, to be refused.
    """
    pairs = [(ours, theirs) for ours, theirs in enumerate(rows) if theirs is not None]
    last = max(theirs for _, theirs in pairs)
    agnostic = tuple(f"{head}." for head in getattr(model, "agnostic_heads", ()))
    heads = _head_prefixes(model)
    for name in [name for name in own if name in state and name.startswith(heads)]:
        mine, given = own[name], state[name]
        # Behind the classes' outputs there may be one of the background.
        behind = len(mine) - len(rows)
        alike = given.ndim == mine.ndim > 0 and given.is_floating_point() and mine.shape[1:] == given.shape[1:]
        if behind < 0 or not alike or last >= len(given) - behind:
            continue
        # A head that tells no classes apart has the same outputs in any order.
        moved = [(row, row) for row in range(min(len(mine), len(given)))] if name.startswith(agnostic) else pairs
        taken = mine.detach().clone()
        if not taken.is_meta:
            for ours, theirs in moved:
                taken[ours] = given[theirs].to(taken)
            if behind:
                taken[-behind:] = given[-behind:].to(taken)
        state[name] = taken


def _kept_fresh(
    model: nn.Module, own: Mapping[str, Tensor], state: Mapping[str, Tensor], heads: tuple[str, ...], *,
    fresh_head: bool, fresh_tokens: bool,
) -> set[str]:  # fmt: skip
    """Names the tensors of the model that keep their initialisation because that was asked for."""
    kept: set[str] = set()
    head = [name for name in own if name.startswith(heads)]
    # A head's weight and bias belong together: if one does not fit, neither is used.
    if fresh_head and any(not _fits(name, own, state) for name in head):
        kept.update(head)
    if fresh_tokens:
        tables = getattr(model, "token_tables", ())
        found = [name for name in own if name.endswith(tables) and name in state]
        kept.update(name for name in found if not _fits(name, own, state))
    return kept


def _fits(name: str, own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> bool:
    return name in state and state[name].shape == own[name].shape


def _head_prefixes(model: nn.Module) -> tuple[str, ...]:
    """Returns what the names of the tensors begin with whose rows are classes."""
    config = getattr(model, "default_cfg", None) or {}
    heads = getattr(model, "class_heads", None) or config.get("classifier") or "head.fc"
    prefixes: Iterable[str] = (heads,) if isinstance(heads, str) else heads
    return tuple(f"{prefix}." for prefix in prefixes)


def fit_channels(model: nn.Module, own: Mapping[str, Tensor], state: dict[str, Tensor]) -> list[str]:
    """Fits the first convolution to another number of image channels, as timm does: the sum for one, else repeated."""
    name = f"{getattr(model, 'first_conv', None)}.weight"
    theirs, ours = state.get(name), own.get(name)
    if theirs is None or ours is None or theirs.ndim != 4 or not theirs.is_floating_point():
        return []
    if theirs.shape[1] != 3 or theirs.shape[1] == ours.shape[1]:
        return []
    # Imported where it is needed: timm takes seconds.
    from timm.models import adapt_input_conv

    state[name] = adapt_input_conv(ours.shape[1], theirs)
    return [name]


def _zeros_for_absent(own: Mapping[str, Tensor], state: dict[str, Tensor], checkpoint: Checkpoint) -> list[str]:
    layout = layout_named(checkpoint.layout)
    absent = [name for name in own if layout and name.endswith(layout.zeros) and name not in state]
    if not absent:
        return []
    for name in absent:
        state[name] = torch.zeros(own[name].shape)
    warnings.warn(
        f"{checkpoint.origin} holds no {', '.join(absent)}, as files converted by early rules do; zeros are used.",
        stacklevel=3,
    )
    return absent


def _check_names_and_shapes(
    model: nn.Module, own: Mapping[str, Tensor], state: Mapping[str, Tensor], kept: set[str], checkpoint: Checkpoint
) -> None:
    if checkpoint.layout == OTHER and not set(own) & set(state):
        raise CheckpointError(
            f"The tensors of {checkpoint.origin} ({_listed(list(state))}) are named in none of the known layouts "
            f"({', '.join([OURS, *(layout.name for layout in layouts())])})."
        )
    missing = [name for name in own if name not in state and name not in kept]
    unexpected = [name for name in state if name not in own]
    shapes = [name for name in state if name in own and state[name].shape != own[name].shape]
    if not missing and not unexpected and not shapes:
        return
    contradictions = disagreements(checkpoint.state, getattr(model, "config", None))
    described = [f"{name} is {tuple(state[name].shape)}, not {tuple(own[name].shape)}" for name in shapes]
    findings = [
        f"{len(items)} {verb} ({_listed(items)})"
        for items, verb in ((missing, "missing"), (unexpected, "unexpected"), (described, "of another shape"))
        if items
    ]
    # Where a setting explains the misfit, the hundred tensors that follow from it would only hide it.
    if contradictions:
        findings = [_listed(contradictions)]
    advice = _advice(model, contradictions, shapes, checkpoint)
    raise CheckpointError(f"The weights in {checkpoint.origin} do not fit the model: {', '.join(findings)}{advice}.")


def _advice(model: nn.Module, contradictions: Sequence[str], shapes: Sequence[str], checkpoint: Checkpoint) -> str:
    """Suggests what to do when weights do not fit, where that is known."""
    changed = {text.split(" ", 1)[0] for text in contradictions}
    heads = _head_prefixes(model)
    head_alone = not changed and shapes and all(name.startswith(heads) for name in shapes)
    if changed == {"num_classes"} or head_alone:
        return "; num_classes=N asks for a fresh head of N outputs"
    if changed == {"num_tokens"}:
        return "; fresh_tokens=True initialises the tokens anew"
    likely = likely_variants(checkpoint.state, checkpoint.layout)
    return f"; they look like {' or '.join(likely)}" if likely else ""


def _check_values(state: Mapping[str, Tensor], origin: str, allow_nonfinite: bool) -> None:
    for name, tensor in state.items():
        floating = tensor.is_floating_point()
        # The counters and position tables of timm's models are whole numbers.
        if not floating and not name.endswith(("num_batches_tracked", "relative_position_index")):
            raise CheckpointError(
                f"{name!r} in {origin} is of type {tensor.dtype}, and weights are floating-point numbers."
            )
        if floating and not allow_nonfinite and not tensor.is_meta and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(
                f"{name!r} in {origin} holds values that are NaN or infinite, which would make every output invalid: "
                "use an earlier checkpoint."
            )


def _listed(items: Sequence[str]) -> str:
    shown = ", ".join(item[:120] for item in items[:3])
    return shown if len(items) <= 3 else f"{shown}, ..."
