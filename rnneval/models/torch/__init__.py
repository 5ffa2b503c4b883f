"""Models of PyTorch, read step by step: modules of one's own, and causal language models of transformers.

The package itself may be imported where PyTorch is not installed.
"""

import sys
from typing import TYPE_CHECKING, Any

from rnneval.models.step import StepLM

if TYPE_CHECKING:
    from rnneval.models.torch.module import TorchStep


def step_of(lm: Any) -> "TorchStep | None":
    """Return the step of a model of `from_torch` or `from_transformers`; None of any other model."""
    if "torch" not in sys.modules or not isinstance(lm, StepLM):
        return None
    from rnneval.models.torch.module import TorchStep

    step = lm.function.step
    return step if isinstance(step, TorchStep) else None
