"""Models that `torch.compile` made."""

import sys
from contextlib import AbstractContextManager, nullcontext

import torch


def uncompiled() -> AbstractContextManager[None]:
    """Run compiled models uncompiled while a block runs.

    Where nothing was compiled, PyTorch's compiler stays out: its import ends a process that has TensorFlow.
    """
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    stance: AbstractContextManager[None] = torch.compiler.set_stance("force_eager")
    return stance
