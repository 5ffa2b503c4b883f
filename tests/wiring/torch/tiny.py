"""Tiny models with random weights: classes of transformers that read calls of any length right, and models by hand."""

import numpy as np
import torch
import transformers

from rnneval.models.torch.causal import CachedStep
from rnneval.models.torch.module import TorchStep

V = 40
_COMMON = {
    "vocab_size": V,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_ATTENTION = {
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 512,
}
_MAMBA = {
    "mamba_n_heads": 8,
    "mamba_d_head": 8,
    "mamba_n_groups": 2,
    "mamba_d_state": 16,
    "mamba_expand": 2,
    "mamba_d_conv": 4,
    "mamba_chunk_size": 8,
}
_DELTA = {
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_conv_kernel_dim": 4,
    "head_dim": 8,
}
CONFIGS = {
    "Mamba2": {"num_heads": 8, "head_dim": 8, "state_size": 16, "n_groups": 2, "expand": 2, "chunk_size": 8},
    "GraniteMoeHybrid": {
        **_ATTENTION,
        **_MAMBA,
        "layer_types": ["mamba", "attention", "mamba"],
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "shared_intermediate_size": 48,
    },
    "Bamba": {**_ATTENTION, **_MAMBA, "attn_layer_indices": [1]},
    "FalconH1": {**_ATTENTION, **_MAMBA, "mamba_d_ssm": 64, "head_dim": 8},
    "Qwen3Next": {
        **_ATTENTION,
        **_DELTA,
        "layer_types": ["linear_attention", "linear_attention", "full_attention"],
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
        "shared_expert_intermediate_size": 16,
    },
    "OlmoHybrid": {**_ATTENTION, **_DELTA, "layer_types": ["linear_attention", "linear_attention", "full_attention"]},
    "Lfm2": {**_ATTENTION, "layer_types": ["conv", "full_attention", "conv"], "conv_L_cache": 4, "block_ff_dim": 48},
    "NemotronH": {
        **_ATTENTION,
        "mamba_num_heads": 8,
        "mamba_head_dim": 8,
        "n_groups": 2,
        "ssm_state_size": 16,
        "chunk_size": 8,
        "head_dim": 8,
        "layers_block_type": ["mamba", "attention", "mamba"],
    },
    "Zamba2": {
        **_ATTENTION,
        "mamba_d_state": 16,
        "mamba_headdim": 8,
        "mamba_ngroups": 2,
        "n_mamba_heads": 8,
        "chunk_size": 8,
        "layers_block_type": ["mamba", "mamba", "hybrid"],
        "num_mem_blocks": 1,
        "use_mem_rope": True,
        "attention_head_dim": 16,
    },
}


def cached(name, seed=0, **more):
    """A causal language model of transformers."""
    torch.manual_seed(seed)
    config = getattr(transformers, f"{name}Config")(**{**_COMMON, **CONFIGS.get(name, {}), **more})
    return getattr(transformers, f"{name}ForCausalLM")(config).eval()


class Stack(torch.nn.Module):
    """Recurrent layers, each called as `layer(x, state)`, whose states are a list."""

    def __init__(self, make, layers=3, width=24):
        super().__init__()
        self.embedding = torch.nn.Embedding(V, width)
        self.layers = torch.nn.ModuleList(make(width) for _ in range(layers))
        self.out = torch.nn.Linear(width, V)

    def forward(self, ids, states=None):
        x, new = self.embedding(ids), []
        for number, layer in enumerate(self.layers):
            y, state = layer(x, None if states is None else states[number])
            x = x + y
            new.append(state)
        return self.out(x), new


class Gated(torch.nn.Module):
    """A short convolution, then a running mean with gates; a dict of states that is changed in place."""

    def __init__(self, width, kernel=3):
        super().__init__()
        self.mix = torch.nn.Parameter(torch.randn(kernel, width) / kernel**0.5)
        self.gate, self.value = torch.nn.Linear(width, width), torch.nn.Linear(width, width)
        self.decay = torch.nn.Parameter(torch.rand(width) * 0.2 + 0.7)
        self.out = torch.nn.Linear(width, width)

    def forward(self, x, state=None):
        if state is None:
            window, zeros = x.new_zeros(len(x), len(self.mix) - 1, x.shape[-1]), x.new_zeros(len(x), x.shape[-1])
            state = {"window": window, "sum": zeros, "weight": zeros.clone()}
        outputs = []
        for token in x.unbind(1):
            seen = torch.cat([state["window"], token[:, None]], dim=1)
            mixed = (seen * self.mix).sum(dim=1)
            gate = torch.exp(self.gate(mixed).clamp(max=4))
            state["sum"] = self.decay * state["sum"] + gate * self.value(mixed)
            state["weight"] = self.decay * state["weight"] + gate
            state["window"] = seen[:, 1:]
            outputs.append(state["sum"] / state["weight"])
        return self.out(torch.stack(outputs, dim=1)), state


def made(name, seed=0):
    """A model by its name, and its step."""
    torch.manual_seed(seed)
    own = {"LSTM": lambda width: torch.nn.LSTM(width, width, batch_first=True), "Gated": Gated}
    if name not in own:
        model = cached(name, seed)
        step = CachedStep(model)
    else:
        model = Stack(own[name]).eval()
        step = TorchStep(model)
    step.find_held(np.ones((2, 3), np.int32))
    return step


NAMES = (*CONFIGS, "LSTM", "Gated")
