"""Models of PyTorch, read step by step: modules of one's own, and causal language models of transformers."""
