"""Operators that the compiler calls as they are: registered truthfully, and in compiled graphs."""

import pytest
import torch
from torch import library, nn

from sparsevision import create_model
from sparsevision.kernels.attention import attend_by_image
from sparsevision.kernels.early_conv import early_conv_in_strips
from sparsevision.kernels.mixing import mix_by_image


def mixing_arguments(biases: bool) -> tuple[object, ...]:
    samples, channel_mix, point_mix = torch.randn(2, 3, 5, 8), torch.randn(2, 3, 8, 8), torch.randn(2, 3, 7, 5)
    return samples, channel_mix, point_mix, *((torch.randn(8), torch.randn(7)) if biases else (None, None))


CASES = {
    "attend_by_image": lambda: (torch.randn(2, 5, 24), 2, 0.5),
    "early_conv_in_strips": lambda: (
        torch.randn(2, 3, 45, 70).to(memory_format=torch.channels_last), torch.randn(8, 3, 7, 7), torch.randn(8), 1e-6,
        True,
    ),
    "mix_by_image": lambda: mixing_arguments(biases=True),
    "mix_by_image, bare": lambda: mixing_arguments(biases=False),
}  # fmt: skip
FUNCTIONS = {each.__name__: each for each in (attend_by_image, early_conv_in_strips, mix_by_image)}


@pytest.mark.parametrize("case", CASES)
def test_operators_say_truly_what_they_return(case: str) -> None:
    name = case.partition(",")[0]
    operator, arguments = getattr(torch.ops.sparsevision, name), CASES[case]()
    library.opcheck(operator.default, arguments, test_utils=("test_schema", "test_faketensor"))
    torch.testing.assert_close(operator(*arguments), FUNCTIONS[name](*arguments))


@pytest.mark.slow
def test_a_compiled_model_calls_them_in_inference_only() -> None:
    seen: list[str] = []

    def backend(graph: torch.fx.GraphModule, inputs: object) -> nn.Module:
        seen.extend(str(node.target) for node in graph.graph.nodes)
        return graph

    model, images = create_model("sparseformer_nano").eval(), torch.randn(1, 3, 32, 32)
    compiled = torch.compile(model, backend=backend)
    compiled(images)
    assert not any("sparsevision" in target for target in seen)
    with torch.no_grad():
        compiled(images)
    assert all(any(name in target for target in seen) for name in FUNCTIONS)
