"""Tiny random models of every causal class of transformers that keeps a recurrent state.

Each has two to four layers of both kinds, in hybrids; chunks of 8 tokens where the configuration has them (gated
delta rules have 64 that no configuration changes). The weights are seeded. Parameters that start at zero and the row
of the padding id get small numbers: they would hide faults.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import torch

V = 61
ATTENTION = {"num_attention_heads": 4, "num_key_value_heads": 2}
BASE: dict[str, Any] = {
    "vocab_size": V,
    "hidden_size": 32,
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
MIXED = ["linear_attention", "full_attention", "linear_attention"]
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
DELTA = {
    **BASE,
    **ATTENTION,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "head_dim": 8,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "layer_types": MIXED,
    "max_position_embeddings": 512,
}
DELTA_EXPERTS = {**DELTA, **EXPERTS, "shared_expert_intermediate_size": 32}
MAMBA = {**BASE, "state_size": 8, "num_hidden_layers": 2}
MAMBA2 = {
    **BASE,
    **ATTENTION,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "mamba_n_heads": 8,
    "mamba_n_groups": 2,
    "mamba_d_state": 8,
    "mamba_chunk_size": 8,
    "max_position_embeddings": 512,
}
LATENT = {
    **BASE,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "kv_lora_rank": 16,
    "q_lora_rank": None,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "n_group": 1,
    "topk_group": 1,
    "layer_types": MIXED,
    "mlp_layer_types": ["dense", "sparse", "sparse"],
    "max_position_embeddings": 512,
}
INKLING = {
    **BASE,
    **ATTENTION,
    "unpadded_vocab_size": V,
    "num_hidden_layers": 3,
    "head_dim": 8,
    "swa_num_attention_heads": 4,
    "swa_num_key_value_heads": 2,
    "swa_head_dim": 8,
    "sliding_window_size": 16,
    "d_rel": 4,
    "rel_extent": 64,
    "layer_types": ["hybrid_sliding", "hybrid", "hybrid_sliding"],
    "moe_intermediate_size": 32,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "max_position_embeddings": 512,
}
INKLING2 = {**INKLING, "log_scaling_n_floor": 32, "n_layers_per_attn_res_block": 2}

CLASSES: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    "Mamba": ("mamba", "Mamba", MAMBA),
    "Mamba2": ("mamba2", "Mamba2", {**MAMBA, "num_heads": 8, "head_dim": 8, "n_groups": 2, "chunk_size": 8}),
    "FalconMamba": ("falcon_mamba", "FalconMamba", MAMBA),
    "Jamba": (
        "jamba",
        "Jamba",
        {
            **BASE,
            **ATTENTION,
            "intermediate_size": 64,
            "num_hidden_layers": 4,
            "num_experts": 4,
            "attn_layer_period": 3,
            "attn_layer_offset": 1,
            "mamba_d_state": 8,
            "use_mamba_kernels": False,
        },
    ),
    "Bamba": ("bamba", "Bamba", {**MAMBA2, "attn_layer_indices": [1]}),
    "GraniteMoeHybrid": (
        "granitemoehybrid",
        "GraniteMoeHybrid",
        {
            **MAMBA2,
            "layer_types": MIXED,
            "num_local_experts": 4,
            "shared_intermediate_size": 32,
            "position_embedding_type": "rope",
        },
    ),
    "Qwen3-Next": ("qwen3_next", "Qwen3Next", DELTA_EXPERTS),
    "Qwen3.5": ("qwen3_5", "Qwen3_5", DELTA),
    "Qwen3.5-MoE": ("qwen3_5_moe", "Qwen3_5Moe", DELTA_EXPERTS),
    "Qwen4Exp": (
        "qwen4_exp",
        "Qwen4Exp",
        {
            **DELTA_EXPERTS,
            "layer_types": ["linear_attention", "indexed_attention", "linear_attention"],
            "hc_count": 2,
            "hc_lowrank": 8,
            "ple_layer_ids": [1, 3],
            "ple_embed_dim": 16,
            "heads_per_ngram": 2,
            "ngram_vocab_size_base": 100,
            "make_ngram_vocab_size_divisible_by": 1,
            "split_ngram_parts": 1,
            "indexer_n_heads": 2,
            "indexer_kv_heads": 1,
            "indexer_head_dim": 8,
            "indexer_budget": 64,
            "indexer_compress_ratio": 4,
        },
    ),
    "OlmoHybrid": ("olmo_hybrid", "OlmoHybrid", DELTA),
    "KimiLinear": ("kimi_linear", "KimiLinear", {**LATENT, "linear_head_dim": 8, "linear_num_heads": 4}),
    "BailingHybrid": ("bailing_hybrid", "BailingHybrid", {**LATENT, "head_dim": 8}),
    "LaraMini": (
        "lara_mini",
        "LaraMini",
        {
            **DELTA_EXPERTS,
            "num_hidden_layers": 4,
            "layer_types": ["linear_attention", "sliding_attention", "linear_attention", "full_attention"],
            "sliding_window": 16,
        },
    ),
    "LFM2": (
        "lfm2",
        "Lfm2",
        {
            **BASE,
            **ATTENTION,
            "intermediate_size": 64,
            "num_hidden_layers": 3,
            "layer_types": ["conv", "full_attention", "conv"],
        },
    ),
    "LFM2-MoE": (
        "lfm2_moe",
        "Lfm2Moe",
        {
            **BASE,
            **ATTENTION,
            **EXPERTS,
            "intermediate_size": 64,
            "num_hidden_layers": 3,
            "num_dense_layers": 1,
            "layer_types": ["conv", "full_attention", "conv"],
        },
    ),
    "LFM3": (
        "lfm3",
        "Lfm3",
        {
            **BASE,
            **ATTENTION,
            "intermediate_size": 64,
            "num_hidden_layers": 4,
            "layer_types": ["conv", "sliding_attention", "full_attention", "conv"],
            "head_dim": 8,
            "sliding_window": 16,
        },
    ),
    "NemotronH": (
        "nemotron_h",
        "NemotronH",
        {
            **BASE,
            **ATTENTION,
            "layers_block_type": ["linear_attention", "moe", "full_attention", "linear_attention"],
            "head_dim": 8,
            "intermediate_size": 64,
            "ssm_state_size": 8,
            "mamba_num_heads": 8,
            "mamba_head_dim": 8,
            "n_groups": 2,
            "chunk_size": 8,
            "n_routed_experts": 4,
            "moe_intermediate_size": 32,
            "moe_shared_expert_intermediate_size": 32,
            "use_mamba_kernels": False,
        },
    ),
    "FalconH1": ("falcon_h1", "FalconH1", {**MAMBA2, "num_hidden_layers": 2, "mamba_d_ssm": 64}),
    "Zamba": (
        "zamba",
        "Zamba",
        {
            **BASE,
            "intermediate_size": 64,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "mamba_d_state": 8,
            "layers_block_type": ["linear_attention", "hybrid", "linear_attention", "hybrid"],
            "use_mamba_kernels": False,
        },
    ),
    "Zamba2": (
        "zamba2",
        "Zamba2",
        {
            **BASE,
            "intermediate_size": 64,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "mamba_d_state": 8,
            "mamba_ngroups": 2,
            "n_mamba_heads": 8,
            "chunk_size": 8,
            "use_mem_rope": True,
            "layers_block_type": ["linear_attention", "hybrid", "linear_attention", "linear_attention"],
            "use_mamba_kernels": False,
        },
    ),
    "Zaya": (
        "zaya",
        "Zaya",
        {
            **BASE,
            **ATTENTION,
            "num_hidden_layers": 3,
            "head_dim": 8,
            "moe_intermediate_size": 32,
            "num_experts": 4,
            "router_hidden_size": 16,
            "sliding_window": 16,
            "layer_types": ["hybrid", "hybrid_sliding", "hybrid"],
        },
    ),
    "MiniMax": (
        "minimax",
        "MiniMax",
        {
            **BASE,
            **ATTENTION,
            "intermediate_size": 64,
            "num_hidden_layers": 3,
            "head_dim": 8,
            "num_local_experts": 4,
            "layer_types": MIXED,
            "block_size": 8,
        },
    ),
    "RecurrentGemma": (
        "recurrent_gemma",
        "RecurrentGemma",
        {
            **BASE,
            **ATTENTION,
            "intermediate_size": 96,
            "num_hidden_layers": 3,
            "attention_window_size": 64,
            "w_init_variance_scale": 1.0,
        },
    ),
    "Rwkv": ("rwkv", "Rwkv", {"vocab_size": V, "hidden_size": 32, "num_hidden_layers": 2, "context_length": 512}),
    "xLSTM": (
        "xlstm",
        "xLSTM",
        {**BASE, "hidden_size": 64, "num_hidden_layers": 2, "num_heads": 4, "qk_dim_factor": 1.0, "chunk_size": 8},
    ),
    "Inkling": (
        "inkling",
        "Inkling",
        {
            **INKLING,
            "n_shared_experts": 1,
            "logits_mup_width_multiplier": 1.0,
            "intermediate_size": 64,
            "mlp_layer_types": ["dense", "sparse", "sparse"],
        },
    ),
    "Inkling2": ("inkling2", "Inkling2", INKLING2),
    "Inkling2Loop": (
        "inkling2_loop",
        "Inkling2Loop",
        {
            **INKLING2,
            "num_hidden_layers": 6,
            "layer_types": ["hybrid_sliding", "hybrid"] * 3,
            "loop_layer_index_start": 2,
            "loop_layer_index_end": 4,
            "loop_num_passes": 2,
            "loop_gate_rank": 8,
        },
    ),
}
"""By name: the module below transformers.models, the prefix of its classes, and the arguments of its configuration."""


def build(name: str, *, seed: int = 0, dtype: torch.dtype = torch.float32, **changed: Any) -> Any:
    """Return a tiny seeded model of a class, in eval mode; `changed` are other arguments of its configuration."""
    module, prefix, arguments = CLASSES[name]
    room = f"transformers.models.{module}"
    models = importlib.import_module(f"{room}.modeling_{module}")
    configurations = importlib.import_module(f"{room}.configuration_{module}")
    of_text = getattr(configurations, f"{prefix}TextConfig", None) or getattr(configurations, f"{prefix}Config")
    torch.manual_seed(seed)
    model = getattr(models, f"{prefix}ForCausalLM")(of_text(**{**arguments, **changed})).eval()
    if dtype == torch.float64 and hasattr(model, "set_experts_implementation"):
        model.set_experts_implementation("eager")  # the grouped product of experts knows float32 at most
    fill(model, seed)
    return model.to(dtype)


def fill(model: torch.nn.Module, seed: int) -> None:
    """Give parameters, and rows of embeddings, that are zero small numbers."""
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in model.parameters():
            zero = parameter == 0
            if parameter.dim() < 2:
                zero &= zero.all()
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.add_(zero * 0.1 * noise)
