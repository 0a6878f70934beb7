"""Measures Visual Transformers on a CPU against the ResNets that they are made from, and says whether they are faster.

    python benchmarks/vt_speed_claims.py --threads 2

Images of 224 px, eight at once, fp32, channels last, which is the faster format for both sides. Each group is one
interleaved run. The last two groups say where the time goes: what both networks have, and what is another. Status 1 if
a claim is missed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cyclopts
import timm
import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from claims import COLUMNS, Claim, judge_times, milliseconds, missed
from publishing import publish
from sparsevision.factory import create_model
from sparsevision.measure.machine import describe_machine
from sparsevision.measure.report import markdown_table
from sparsevision.measure.speed import Settings, time_interleaved, use_threads
from sparsevision.packing import pack_weights

Call = Callable[[], object]
BATCH, SIDE = 8, 224
TIMES = ("group", "candidate", "ms (quartiles)")
HOW = (
    "Random weights; {batch} images of {side} px, fp32, channels last; the candidates of a group took turns in one "
    "run of {rounds} rounds: medians, with the quartiles over rounds. Ratios are of medians, with a 90 % bootstrap "
    "interval over rounds. *Folded*: norms are part of the convolutions, ours as `predict` has them (`pack_weights`, "
    "which also takes in ReLUs and sums and lays weights out), timm's by `torch.fx.experimental.optimization.fuse`. "
    "*Both packed*: timm's by our `pack_weights`, too. The multiply-adds of VT-ResNet-18 are 0.87 of ResNet-18's."
)


@dataclass(frozen=True)
class Group:
    """Candidates by name, each a function that makes what is timed, and the claims about them."""

    candidates: Mapping[str, Callable[[], Call]]
    claims: tuple[Claim[str], ...] = ()


def as_call(network: nn.Module, inputs: Tensor) -> Call:
    inputs = inputs.contiguous(memory_format=torch.channels_last)

    def run() -> object:
        with torch.inference_mode():
            return network(inputs)

    return run


def as_it_is(name: str) -> Any:
    torch.manual_seed(0)
    model = create_model(name) if name.startswith("vt_") else timm.create_model(name)
    return model.eval().to(memory_format=torch.channels_last)


def folded(name: str) -> Any:
    """timm's network with its norms folded by PyTorch's own tool."""
    return fuse(as_it_is(name)).to(memory_format=torch.channels_last)


def packed(name: str) -> Any:
    """A network as `predict` has ours: norms, ReLUs and sums are parts of convolutions whose weights are laid out."""
    model = as_it_is(name)
    if not pack_weights(model):
        raise SystemExit("This PyTorch cannot pack weights on this machine, so there is nothing packed to measure.")
    return model


def whole(depth: int, our_form: Callable[[str], Any], their_form: Callable[[str], Any]) -> Group:
    """Both networks, each in a form."""
    images = torch.rand(BATCH, 3, SIDE, SIDE)
    vt, resnet = f"vt_resnet{depth}", f"resnet{depth}"
    return Group(
        {
            f"timm/{resnet}": lambda: as_call(their_form(resnet), images),
            vt: lambda: as_call(our_form(vt), images),
        },
        (Claim(f"{vt} / timm/{resnet}", vt, f"timm/{resnet}", 1.0),),
    )


class Beginning(nn.Module):
    """A ResNet's stem and its first three stages."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.parts = nn.ModuleList(
            getattr(network, name) for name in ("conv1", "bn1", "act1", "maxpool", "layer1", "layer2", "layer3")
        )

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x)
        return x


class LastStage(nn.Module):
    """What follows in a ResNet."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.layer4, self.pool, self.fc = network.layer4, network.global_pool, network.fc

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(self.layer4(x)))


class Tokens(nn.Module):
    """What follows in a Visual Transformer."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.modules_, self.head = network.vt, network.fc

    def forward(self, x: Tensor) -> Tensor:
        tokens = None
        for module in self.modules_:
            x, tokens, _ = module(x, tokens)
        return self.head(tokens.mean(dim=1))


def parts() -> dict[str, Group]:
    images, maps = torch.rand(BATCH, 3, SIDE, SIDE), torch.rand(BATCH, 256, SIDE // 16, SIDE // 16)
    return {
        "stem and stages 1 to 3": Group(
            {
                "timm/resnet18, folded": lambda: as_call(fuse(Beginning(as_it_is("resnet18"))), images),
                "packed": lambda: as_call(Beginning(packed("vt_resnet18")), images),
            }
        ),
        "stage 4 or tokens": Group(
            {
                "timm/resnet18, folded": lambda: as_call(fuse(LastStage(as_it_is("resnet18"))), maps),
                "timm/resnet18, packed": lambda: as_call(LastStage(packed("resnet18")), maps),
                "vt_resnet18, packed": lambda: as_call(Tokens(packed("vt_resnet18")), maps),
            }
        ),
    }


GROUPS: Mapping[str, Group] = {
    "18, as they are": whole(18, as_it_is, as_it_is),
    "18, folded": whole(18, packed, folded),
    "18, both packed": whole(18, packed, packed),
    "34, as they are": whole(34, as_it_is, as_it_is),
    "34, folded": whole(34, packed, folded),
    "34, both packed": whole(34, packed, packed),
    **parts(),
}


def main(*, rounds: int = 25, threads: int = 2, out: Path = Path("benchmarks/results")) -> int:
    """Run all groups, print and write times and verdicts."""
    verdicts, rows, records = [], [], []
    with use_threads(threads):
        machine = describe_machine()
        for name, group in GROUPS.items():
            calls = {candidate: make() for candidate, make in group.candidates.items()}
            times = time_interleaved(calls, Settings(rounds=rounds))
            verdicts += judge_times(name, group.claims, times)
            rows += [(name, candidate, milliseconds(seconds)) for candidate, seconds in times.items()]
            records += [{"group": name, "candidate": one, "seconds": seconds} for one, seconds in times.items()]
    tables = [*markdown_table(COLUMNS, verdicts), "", *markdown_table(TIMES, rows)]
    how = HOW.format(batch=BATCH, side=SIDE, rounds=rounds)
    text = "\n".join(["# Claims about Visual Transformers' speed", "", f"{machine}.", "", how, "", *tables, ""])
    publish(out, "vt_speed_claims", text, {"machine": asdict(machine), "verdicts": verdicts, "times": records})
    return missed(verdicts)


if __name__ == "__main__":
    app = cyclopts.App(default_command=main, result_action="return_value")
    sys.exit(app())
