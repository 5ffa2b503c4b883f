"""Models of folders that `save_pretrained` of transformers wrote, read by its own classes; no file runs code."""

import math
from dataclasses import replace
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging

from rnneval.checkpoints.places import Artefact
from rnneval.checkpoints.pretrained import TOKENIZER, config_of, no_tokenizer
from rnneval.errors import CheckpointError, type_and_message
from rnneval.models.protocol import require_finite
from rnneval.models.state import as_array
from rnneval.models.step import StepLM
from rnneval.models.torch.causal import from_transformers, quiet
from rnneval.text import Vocabulary

_MOST_TIMES = 2  # numbers that a model may have for each number that is stored: tied weights are stored once
_UNFIT = {"missing_keys": "is missing", "unexpected_keys": "is left over", "mismatched_keys": "has another shape"}


def open_folder(artefact: Artefact, vocabulary: Vocabulary | None) -> StepLM:
    """Open a folder of `save_pretrained`, with the vocabulary that is given or its `tokenizer.json`, in float32.

    Raises:
        CheckpointError: transformers does not know the model, the weights do not fit, or the model keeps no cache.
    """
    _require_modest(artefact)
    before = artefact.sha256
    model = _loaded(artefact)
    if replace(artefact).sha256 != before:  # the hash of an artefact is computed once, and this is a new one
        raise CheckpointError(f"{artefact.path}: it was changed while it was read")
    require_finite(((name, as_array(weight, name)) for name, weight in model.state_dict().items()), str(artefact.path))
    beside = artefact.path / TOKENIZER
    if vocabulary is None and beside.is_file():
        vocabulary = Vocabulary.from_file(beside)
    made = from_transformers(model, vocabulary)
    known = msgspec.structs.replace(made.checkpoint, path=str(artefact.path), sha256=before, name=None)
    return replace(made, checkpoint=known, why_no_vocabulary="" if made.vocabulary else no_tokenizer(artefact.path))


def _loaded(artefact: Artefact) -> Any:
    """Load the model by the class that transformers has for it, and refuse weights that do not fill it exactly."""
    had_bar = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with quiet():  # what it reports of weights that do not fit is told below
            model, found = AutoModelForCausalLM.from_pretrained(
                artefact.path,
                trust_remote_code=False,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are among what it found
                dtype=torch.float32,
            )
    except Exception as error:
        raise CheckpointError(f"{artefact.path}: transformers cannot load it: {type_and_message(error)}") from error
    finally:
        if had_bar:
            logging.enable_progress_bar()
    for kind, what in _UNFIT.items():
        if found[kind]:
            weight = min(key if isinstance(key, str) else key[0] for key in found[kind])
            raise _other(artefact, f"by config.json, the weight {weight} {what}")
    return model


def _require_modest(artefact: Artefact) -> None:
    """Refuse a configuration that asks for more than the stored weights fill, before anything of its size is made."""
    stored = _stored(artefact)
    layers = config_of(artefact).get("num_hidden_layers", 0)
    if not isinstance(layers, int) or layers > len(stored):
        raise _other(artefact, f"config.json asks for {layers} layers, and {len(stored)} weights are stored")
    try:
        known = AutoConfig.from_pretrained(artefact.path, local_files_only=True)
        with torch.device("meta"):
            model: Any = AutoModelForCausalLM.from_config(known)
    except Exception as error:
        unfit = f"transformers cannot make it of config.json: {type_and_message(error)}"
        raise CheckpointError(f"{artefact.path}: {unfit}") from error
    wanted, numbers = sum(parameter.numel() for parameter in model.parameters()), sum(stored)
    if wanted > _MOST_TIMES * numbers:
        raise _other(artefact, f"config.json asks for {wanted:,} numbers, and {numbers:,} are stored")


def _stored(artefact: Artefact) -> list[int]:
    """Return the count of numbers of each stored weight, from the heads of the files alone."""
    counts = []
    for file in (file for file in artefact.files if file.suffix == ".safetensors"):
        try:
            with safe_open(file, framework="pt") as weights:
                counts += [math.prod(weights.get_slice(name).get_shape()) for name in list(weights.keys())]
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{file}: not a whole file of safetensors ({error})") from error
    return counts


def _other(artefact: Artefact, message: str) -> CheckpointError:
    advice = "config.json and the weights are of different models: take both from one save_pretrained"
    return CheckpointError(f"{artefact.path}: {message}: {advice}")
