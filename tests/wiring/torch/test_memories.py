"""Trained attention models: each key is rounded once, so a right model passes and a small fault fails."""

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import rnneval  # noqa: E402
from rnneval.models.torch.causal import CachedStep  # noqa: E402

pytestmark = pytest.mark.torch

V = 24
SIZES = {
    "vocab_size": V,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 64,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def trained(name):
    """A model that has learned to repeat what it read eight tokens before: its attention is sharp."""
    torch.manual_seed(0)
    if name == "Gemma3":
        kinds = ["sliding_attention", "full_attention"]
        config = transformers.Gemma3TextConfig(**SIZES, sliding_window=16, layer_types=kinds)
    else:
        config = transformers.LlamaConfig(**SIZES)
    model = getattr(transformers, f"{name}ForCausalLM")(config)
    optimizer, generator = torch.optim.Adam(model.parameters(), lr=1e-2), torch.Generator().manual_seed(0)
    for _ in range(150):
        ids = torch.randint(3, V, (16, 8), generator=generator).repeat(1, 3)
        loss = model(input_ids=ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


class Fading:
    """A fault: keys of earlier calls are a little smaller after each call."""

    def __init__(self, model):
        self.name = CachedStep(model).cache_name

    def __call__(self, module, ids, state):
        returned = module(input_ids=ids, use_cache=True, **{self.name: state})
        for layer in returned[self.name].layers:
            layer.keys = layer.keys * (1 - 1e-4)
        return returned.logits, returned[self.name]


@pytest.mark.parametrize("name", ["Llama", pytest.param("Gemma3", marks=pytest.mark.grid)])
def test_a_trained_model_passes_and_a_small_fault_fails(name):
    model = trained(name)
    right = rnneval.check(model)
    assert right.verdict == "pass", f"\n{right}"
    assert right.oracles["chunk"].tolerance < 1e-3
    wrong = rnneval.check(rnneval.from_torch(model, Fading(model)))
    assert wrong.oracles["chunk"].verdict == "fail", f"\n{wrong}"
