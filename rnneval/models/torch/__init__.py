"""Models of PyTorch, read step by step: modules of one's own, and causal language models of transformers."""

from rnneval.models.torch.causal import CachedState, CachedStep, from_transformers
from rnneval.models.torch.module import TorchStep, from_torch

__all__ = ["CachedState", "CachedStep", "TorchStep", "from_torch", "from_transformers"]
