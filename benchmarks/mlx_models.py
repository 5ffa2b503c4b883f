"""Check tiny models of mlx-lm in batches, beside its own generator, and write docs/evidence/mlx.md.

`python benchmarks/mlx_models.py` adds the results of the mlx-lm that is installed to `benchmarks/mlx_models.json`, and
writes the page from all of them. Weights are random; decays and steps are set so that the states matter.
"""

import importlib
import json
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx_lm
import numpy as np
from mlx.utils import tree_map_with_path
from mlx_lm.generate import BatchGenerator
from mlx_lm.models.cache import make_prompt_cache

import rnneval

RESULTS = Path(__file__).with_suffix(".json")
PAGE = Path(__file__).parent.parent / "docs" / "evidence" / "mlx.md"
SIZES = {
    "vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "tie_word_embeddings": False, "rms_norm_eps": 1e-5,
    "layer_norm_epsilon": 1e-5, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 8, "rope_theta": 1e4, "max_position_embeddings": 512, "attention_bias": False, "mlp_bias": False,
}  # fmt: skip
MAMBA = {"conv_kernel": 4, "n_groups": 1, "use_bias": False, "use_conv_bias": True, "time_step_limit": (0.0, 100.0)}
MOE = {"moe_intermediate_size": 32, "num_experts": 2, "num_experts_per_tok": 1, "norm_topk_prob": True}
BAILING = {
    **MOE, "num_shared_experts": 1, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 2, "layer_group_size": 2,
    "group_norm_size": 1, "routed_scaling_factor": 1.0,
}  # fmt: skip
LATENT = {"kv_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 8, "v_head_dim": 8}
DELTA = {
    "linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
    "linear_conv_kernel_dim": 4,
}  # fmt: skip
CONVOLUTION = {"norm_eps": 1e-5, "conv_bias": False, "conv_L_cache": 3, "full_attn_idxs": [1]}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "mamba": {"state_size": 8, "conv_kernel": 4, "use_bias": False, "use_conv_bias": True, "time_step_rank": 4},
    "mamba2": {
        **MAMBA, "num_heads": 4, "head_dim": 8, "intermediate_size": 32, "state_size": 8, "time_step_rank": "auto",
    },
    "nemotron_h": {
        **MAMBA, "num_hidden_layers": 3, "mamba_num_heads": 4, "mamba_head_dim": 8, "mamba_proj_bias": False,
        "ssm_state_size": 8, "hybrid_override_pattern": ["M", "*", "-"], "residual_in_fp32": True,
    },
    "granitemoehybrid": {
        "embedding_multiplier": 1.0, "attention_multiplier": 0.35, "logits_scaling": 1.0, "residual_multiplier": 1.0,
        "layer_types": ["mamba", "attention"], "num_local_experts": 0, "num_experts_per_tok": 0,
        "shared_intermediate_size": 32, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_proj_bias": False,
        "mamba_d_state": 8, "mamba_d_conv": 4, "mamba_n_groups": 1, "mamba_conv_bias": True,
        "position_embedding_type": "rope", "time_step_limit": (0.0, 100.0),
    },
    "jamba": {
        "attn_layer_offset": 1, "attn_layer_period": 2, "expert_layer_offset": 1, "expert_layer_period": 2,
        "mamba_d_conv": 4, "mamba_d_state": 8, "mamba_expand": 2, "num_experts": 1, "num_experts_per_tok": 1,
        "mamba_dt_rank": 4, "mamba_proj_bias": False, "mamba_conv_bias": True,
    },
    "falcon_h1": {
        "mamba_d_conv": 4, "mamba_d_head": 16, "mamba_d_ssm": 64, "mamba_d_state": 8, "mamba_expand": 2,
        "mamba_n_groups": 1, "mamba_n_heads": 4, "mamba_norm_before_gate": False, "mamba_rms_norm": False,
        "mamba_conv_bias": True, "mamba_proj_bias": False, "projectors_bias": False, "mamba_use_mlp": True,
        "mamba_chunk_size": 16, "rope_traditional": False, "attention_in_multiplier": 1.0,
        "attention_out_multiplier": 1.0, "embedding_multiplier": 1.0, "key_multiplier": 1.0, "lm_head_multiplier": 1.0,
        "mlp_multipliers": [1.0, 1.0], "ssm_in_multiplier": 1.0, "ssm_multipliers": [1.0] * 5,
        "ssm_out_multiplier": 1.0,
    },
    "recurrent_gemma": {
        "conv1d_width": 4, "logits_soft_cap": 30.0, "block_types": ["recurrent", "recurrent", "attention"],
        "attention_window_size": 16, "embeddings_scale_by_sqrt_dim": True, "num_hidden_layers": 3, "lru_width": 32,
    },
    "rwkv7": {
        "norm_eps": 1e-5, "head_dim": 16, "a_low_rank_dim": 8, "v_low_rank_dim": 8, "gate_low_rank_dim": 8,
        "decay_low_rank_dim": 8,
    },
    "lfm2": {
        **CONVOLUTION, "block_dim": 32, "block_ff_dim": 64, "block_multiple_of": 8, "block_ffn_dim_multiplier": 1.0,
        "block_auto_adjust_ff_dim": False,
    },
    "lfm2_moe": {**CONVOLUTION, **MOE, "use_expert_bias": False, "num_dense_layers": 1},
    "qwen3_next": {
        **DELTA, "num_experts": 0, "num_experts_per_tok": 0, "decoder_sparse_step": 1,
        "shared_expert_intermediate_size": 32, "mlp_only_layers": [], "moe_intermediate_size": 32,
        "partial_rotary_factor": 0.5, "full_attention_interval": 2, "norm_topk_prob": True,
    },
    "qwen3_5": {**DELTA, "full_attention_interval": 2},
    "olmo_hybrid": {
        **DELTA, "linear_allow_neg_eigval": False, "layer_types": ["linear_attention", "full_attention"],
    },
    "plamo2": {
        "hidden_size_per_head": 8, "attention_window_size": 64, "full_attention_idx": [1], "mamba_d_state": 8,
        "mamba_d_conv": 4, "mamba_num_heads": 4, "mamba_step": 2, "mamba_chunk_size": 16,
    },
    "baichuan_m1": {"sliding_window": 16, "sliding_window_layers": [0], "conv_window": 2},
    "gear": {"layer_types": ["conv_mixer", "full_attention"]},
    "bailing_moe_linear": BAILING,
    "bailing_hybrid": {**BAILING, **LATENT},
    "kimi_linear": {
        **LATENT, "model_max_length": 512, "num_experts": 0, "moe_intermediate_size": 32,
        "linear_attn_config": {
            "kda_layers": [1], "full_attn_layers": [2], "num_heads": 4, "head_dim": 8, "short_conv_kernel_size": 4,
        },
    },
    "kimi_k3": {
        **LATENT, "num_experts": 0, "moe_intermediate_size": 32, "attn_res_block_size": 1,
        "activation_situ_beta": 1.0, "activation_situ_linear_beta": 1.0,
        "linear_attn_config": {
            "kda_layers": [1], "full_attn_layers": [2], "num_heads": 4, "head_dim": 8, "short_conv_kernel_size": 4,
        },
    },
    "bailing_moe_v3": {
        **MOE, **LATENT, "moe_shared_expert_intermediate_size": 32, "num_shared_experts": 1, "n_group": 1,
        "topk_group": 1, "first_k_dense_replace": 2, "layer_group_size": 2, "q_lora_rank": 8,
        "routed_scaling_factor": 1.0,
    },
    "longcat_flash_ngram": {
        **LATENT, "ffn_hidden_size": 64, "moe_topk": 1, "expert_ffn_hidden_size": 32, "n_routed_experts": 2,
        "zero_expert_num": 1, "num_layers": 2, "q_lora_rank": 8, "routed_scaling_factor": 1.0,
        "mla_scale_q_lora": True, "mla_scale_kv_lora": True, "ngram_vocab_size_ratio": 2,
    },
    "deepseek_v41": {
        "q_lora_rank": 8, "qk_rope_head_dim": 4, "o_groups": 1, "o_lora_rank": 8, "moe_intermediate_size": 32,
        "n_routed_experts": 2, "num_experts_per_tok": 1, "sliding_window": 16, "compress_ratios": (0, 4),
        "kv_source_layer_ids": (0, 1), "index_source_layer_ids": (0, 1), "index_n_heads": 2, "index_head_dim": 8,
        "index_topk": 16, "hc_mult": 2, "hc_sinkhorn_iters": 3,
    },
}  # fmt: skip


def tiny(kind: str, seed: int = 0) -> Any:
    """Return a small random model whose state matters."""
    module = importlib.import_module(f"mlx_lm.models.{kind}")
    model = module.Model(module.ModelArgs.from_dict({**SIZES, "model_type": kind, **CONFIGURATIONS[kind]}))
    mx.random.seed(seed)

    def weight(name: str, array: Any) -> Any:
        if name.endswith("A_log"):
            return mx.full(array.shape, -2.0)
        if name.endswith("dt_bias"):
            return mx.full(array.shape, 0.5)
        if "g_norm" in name:  # of RWKV: zeros would hide the state
            return mx.ones(array.shape)
        return array if "norm" in name else mx.random.normal(array.shape) * 0.3

    model.update(tree_map_with_path(weight, model.parameters()))
    model.eval()
    mx.eval(model.parameters())
    return model


def by_generator(model: Any) -> float:
    """Return how far the first log-probabilities of a prompt of 7 tokens move beside one of 20, in nats."""
    draws = np.random.default_rng(0).integers(1, 64, (2, 20)).tolist()
    prompts = [draws[0], draws[1][:7]]
    generator = BatchGenerator(model, max_tokens=2)
    ids = generator.insert(prompts)
    while True:
        responses = generator.next()
        made = responses[1] if isinstance(responses, tuple) else responses
        if short := [each for each in made if each.uid == ids[1]]:
            break
    alone = model(mx.array([prompts[1]]), cache=make_prompt_cache(model))[0, -1]
    expected = alone - mx.logsumexp(alone)
    return float(mx.abs(short[0].logprobs - expected).max())


def measured(kind: str) -> dict[str, str]:
    """Return what the check and the generator of mlx-lm say of a model."""
    try:
        model = tiny(kind)
    except Exception as error:  # a release without this model, or with other settings
        return {"verdict": "not made", "said": type(error).__name__, "generator": ""}
    try:
        wiring = rnneval.check(rnneval.from_mlx(model))
        said = "; ".join(finding.message.partition(". ")[0] for finding in wiring.findings)
        verdict = wiring.verdict
    except rnneval.errors.RnnevalError as error:
        verdict, said = "refused", str(error)[:200]
    try:
        generator = f"{by_generator(model):.2g}"
    except Exception as error:
        generator = f"raises {type(error).__name__}"
    return {"verdict": verdict, "said": said or wiring.reason.rpartition("; ")[2], "generator": generator}


def page(results: dict[str, dict[str, dict[str, str]]]) -> str:
    """Return the table of all releases, and the sentences of the newest one."""
    releases = sorted(results, key=lambda name: [*map(int, name.split("."))])
    lines = [f"| model | {' | '.join(f'mlx-lm {each}' for each in releases)} |", "| --- " * (len(releases) + 1) + "|"]
    for kind in CONFIGURATIONS:
        cells = (results[each].get(kind, {"verdict": "", "generator": ""}) for each in releases)
        verdicts = (f"{cell['verdict']}{', ' * bool(cell['generator'])}{cell['generator']}" for cell in cells)
        lines.append(f"| {kind} | {' | '.join(verdicts)} |")
    lines += ["", f"What `rnneval check` says with mlx-lm {releases[-1]}:", ""]
    lines += ["| model | sentence |", "| --- | --- |"]
    lines += [f"| {kind} | {each['said'].replace('|', '/')} |" for kind, each in results[releases[-1]].items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results[mlx_lm.__version__] = {kind: measured(kind) for kind in CONFIGURATIONS}
    for kind, each in results[mlx_lm.__version__].items():
        print(mlx_lm.__version__, kind, each, flush=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    PAGE.write_text(PAGE.read_text().partition("| model |")[0] + page(results))


if __name__ == "__main__":
    main()
