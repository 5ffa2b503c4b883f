"""Language models of other packages, as far as they are installed: whole texts against calls with a state."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from cached.configurations import V, fill
from cached.loops import SEVERAL, SINGLE, distance, text

Step = Callable[[Any, torch.Tensor, Any], tuple[torch.Tensor, Any]]


@dataclass(frozen=True, kw_only=True)
class Package:
    """A model of a package: how it is made, and how it reads tokens after a state."""

    package: str
    make: Callable[[], torch.nn.Module]
    step: Step
    whole: Callable[[Any, torch.Tensor], torch.Tensor] = lambda model, ids: model(ids)
    """Reads a text in one call without a state."""


def _by_token(one: Callable[[Any, torch.Tensor, Any], tuple[torch.Tensor, Any]]) -> Step:
    """Return a step of several tokens that calls one of a single token; its logits are `(rows, V)`."""

    def step(model: Any, ids: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        logits = []
        for column in ids.T:
            out, state = one(model, column, state)
            logits.append(out)
        return torch.stack(logits, dim=1), state

    return step


def _xlstm() -> torch.nn.Module:
    made = importlib.import_module("xlstm")
    layer = made.mLSTMBlockConfig(mlstm=made.mLSTMLayerConfig(conv1d_kernel_size=4, qkv_proj_blocksize=4, num_heads=4))
    scalar = made.sLSTMBlockConfig(
        slstm=made.sLSTMLayerConfig(backend="vanilla", num_heads=4, conv1d_kernel_size=4),
        feedforward=made.FeedForwardConfig(proj_factor=1.3, act_fn="gelu"),
    )
    config = made.xLSTMLMModelConfig(
        vocab_size=V,
        mlstm_block=layer,
        slstm_block=scalar,
        context_length=64,
        num_blocks=3,
        embedding_dim=32,
        slstm_at=[1],
    )
    model: torch.nn.Module = made.xLSTMLMModel(config)
    return model


def _mambapy() -> torch.nn.Module:
    return _MambaPy(importlib.import_module("mambapy.mamba"))


class _MambaPy(torch.nn.Module):
    """The layers of mambapy with an embedding and a head: its own language model needs a CUDA package."""

    def __init__(self, package: Any) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(V, 32)
        self.mamba = package.Mamba(package.MambaConfig(d_model=32, n_layers=2, d_state=8))
        self.head = torch.nn.Linear(32, V)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.mamba(self.embedding(ids)))
        return logits


def _mambapy_one(model: Any, ids: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
    if state is None:
        config = model.mamba.config
        state = [(None, torch.zeros(len(ids), config.d_inner, config.d_conv - 1)) for _ in range(config.n_layers)]
    outputs, after = model.mamba.step(model.embedding(ids), list(state))
    return model.head(outputs), after


def _mingru(*, lstm: bool) -> Callable[[], torch.nn.Module]:
    def make() -> torch.nn.Module:
        model: torch.nn.Module = importlib.import_module("minGRU_pytorch.minLM").minLM(
            num_tokens=V, dim=32, depth=2, use_lstm=lstm
        )
        return model

    return make


def _mingru_several(model: Any, ids: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
    logits: torch.Tensor
    logits, after = model(ids, return_prev_hiddens=True, prev_hiddens=state)
    return logits, after


def _griffin() -> torch.nn.Module:
    package = importlib.import_module("recurrentgemma.torch")
    common = importlib.import_module("recurrentgemma.common")
    kinds = common.TemporalBlockType
    config = common.GriffinConfig(
        vocab_size=V,
        width=32,
        mlp_expanded_width=64,
        num_heads=4,
        block_types=(kinds.RECURRENT, kinds.ATTENTION, kinds.RECURRENT),
        embeddings_scale_by_sqrt_dim=True,
        attention_window_size=64,
        logits_soft_cap=30.0,
    )
    model: torch.nn.Module = package.Griffin(config, gradient_checkpointing=False)
    return model


def _griffin_several(model: Any, ids: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
    start, cache = (0, None) if state is None else state
    at = torch.arange(start, start + ids.shape[1]).expand(len(ids), -1)
    logits, after = model(ids, at, cache)
    return logits, (start + ids.shape[1], after)


MODELS: Mapping[str, Package] = {
    "xLSTM (mLSTM and sLSTM)": Package(
        package="xlstm", make=_xlstm, step=_by_token(lambda m, ids, s: _squeezed(m.step(ids[:, None], s and dict(s))))
    ),
    "Mamba": Package(package="mambapy", make=_mambapy, step=_by_token(_mambapy_one)),
    "minGRU": Package(package="minGRU-pytorch", make=_mingru(lstm=False), step=_mingru_several),
    "minLSTM": Package(package="minGRU-pytorch", make=_mingru(lstm=True), step=_mingru_several),
    "minGRU, one token a call": Package(
        package="minGRU-pytorch",
        make=_mingru(lstm=False),
        step=_by_token(lambda m, ids, s: _squeezed(_mingru_several(m, ids[:, None], s))),
    ),
    "Griffin": Package(
        package="recurrentgemma",
        make=_griffin,
        step=_griffin_several,
        whole=lambda model, ids: _griffin_several(model, ids, None)[0],
    ),
}


def _squeezed(returned: tuple[torch.Tensor, Any]) -> tuple[torch.Tensor, Any]:
    logits, state = returned
    return logits[:, 0], state


def build_package(name: str) -> torch.nn.Module:
    """Return the tiny seeded model of a package."""
    torch.manual_seed(0)
    model = MODELS[name].make().eval()
    if hasattr(model, "reset_parameters"):
        model.reset_parameters()
    fill(model, 0)
    return model


def run_packages(*, checks: bool) -> dict[str, Any]:
    """Run the loops and the check on the models of each package that is installed."""
    found = {}
    for name, package in MODELS.items():
        try:
            version = importlib.metadata.version(package.package)
            model = build_package(name)
        except Exception as error:
            found[f"{package.package}: {name}"] = {"error": f"{type(error).__name__}: {error}"}
            continue
        entry: dict[str, Any] = {"version": version, "loops": {}}
        for loop, cuts in {"single": SINGLE, "several": SEVERAL}.items():
            try:
                entry["loops"][loop] = distance((_read(package, model, cuts), _whole(package, model, sum(cuts))))
            except Exception as error:
                entry["loops"][loop] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        if checks:
            entry["check"] = _check(package, model)
        found[f"{package.package}: {name}"] = entry
    return found


def _whole(package: Package, model: Any, tokens: int) -> torch.Tensor:
    with torch.no_grad():
        return package.whole(model, text(1, tokens))


def _read(package: Package, model: Any, cuts: Any) -> torch.Tensor:
    ids, state, logits = text(1, sum(cuts)), None, []
    with torch.no_grad():
        for part in ids.split(list(cuts), dim=1):
            out, state = package.step(model, part, state)
            logits.append(out)
    return torch.cat(logits, dim=1)


def _check(package: Package, model: Any) -> Any:
    from cached.checked import checked

    import rnneval

    return checked(lambda: rnneval.from_torch(model, package.step, vocabulary=None))
