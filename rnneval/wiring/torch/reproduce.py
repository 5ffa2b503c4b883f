"""Code without rnneval that shows how two readings of a cached model differ, for an issue to its maintainers."""

import re
from itertools import takewhile

import torch

from rnneval.wiring.cases import Case
from rnneval.wiring.readings import CacheMethod, KeepCopy, Reading, TakeBack
from rnneval.wiring.torch.readings import CacheReader

_WRITTEN = 40  # tokens whose ids are written out; others are drawn
_LOOPED = 3  # calls of one token that become a loop
_BY_HAND = ("input_ids", "cache_position")
_INFINITE = re.compile(r"\binf\b")
_LEFT_OUT = {"model_type", "transformers_version", "architectures", "dtype", "torch_dtype", "_name_or_path"}


def script(reader: CacheReader, case: Case, position: int | None) -> str:
    """Return a script that prints how far two readings differ at a token; without one, the shape of their logits."""
    if position is None:
        first, end = case.reading.calls[-1]
        wanted = f"{len(case.reading.ids)} rows, {end - first} token{'s' * (end - first > 1)}"
        body = [*_reading(reader, case.reading, "seen", end - 1, None), f"print(seen.shape)  # expected: {wanted}"]
    else:
        body = _reading(reader, case.wanted, "expected", position, 0)
        seen = _reading(reader, case.reading, "seen", position - case.begins[0] + case.begins[1], case.row)
        body += seen[1:] if seen[0] == body[0] else seen  # the same ids
        body.append("print((expected - seen).abs().max())")
    return "\n".join([*_opening(reader, body), *body, ""])


def _opening(reader: CacheReader, body: list[str]) -> list[str]:
    """Return the lines that make the model: a random one of the same configuration, in which no parameter is zero."""
    config = reader.step.module.config
    usual = type(config)().to_dict()
    own = {
        name: value
        for name, value in config.to_dict().items()
        if name not in _LEFT_OUT and (name not in usual or value != usual[name])
    }
    names = ["AutoConfig", "AutoModelForCausalLM", *["DynamicCache"] * any("DynamicCache" in line for line in body)]
    given = ", ".join([repr(config.model_type), *(f"{name}={value!r}" for name, value in own.items())])
    given = _INFINITE.sub("float('inf')", given)
    return [
        *["import copy", ""] * any("copy." in line for line in body),
        "import torch",
        f"from transformers import {', '.join(names)}",
        "",
        f"config = AutoConfig.for_model({given})",
        "torch.set_grad_enabled(False)",
        "torch.manual_seed(0)",
        f"model = AutoModelForCausalLM.from_config(config).eval(){'.double()' * reader.double}",
        "for weights in model.parameters():",
        "    weights += 0.05 * torch.randn_like(weights)  # none is zero then",
    ]


def _reading(reader: CacheReader, reading: Reading, name: str, column: int, row: int | None) -> list[str]:
    """Return the lines that read a text up to a token, and keep the logits of its last call under a name."""
    ids = f"torch.tensor({[list(each) for each in reading.ids]})"
    if reading.tokens > _WRITTEN:
        width = reader.step.module.config.get_text_config().vocab_size
        shape = f"({len(reading.ids)}, {reading.tokens})"
        ids = f"torch.randint({width}, {shape}, generator=torch.Generator().manual_seed(1))"
    lines, calls = [f"ids = {ids}"], [(first, end) for first, end in reading.calls if first <= column]
    logits = "logits" if row is None else f"logits[{row}, {column - calls[-1][0]}]"
    if not reading.lengths:
        return [
            *lines,
            f"{name} = model(ids{_arguments(reader, reading, 0, reading.tokens)}, use_cache=False).{logits}",
        ]
    cache, returned = "", f"out.{reader.step.cache_name}"
    if reader.step.first_cache(1) is not None:  # the model does not return the cache that it fills
        lines.append("cache = DynamicCache(config=config)")
        cache = returned = "cache"
    read = 0
    may_loop = reading.mask is None and reading.positions is None and not reading.changes and len(reading.ids) == 1
    for call, (first, end) in enumerate(calls):
        if first < read:  # in the loop before
            continue
        for command in reading.commands(call):
            current = cache or returned
            match command:
                case KeepCopy.SAVE:
                    lines.append(f"saved = copy.deepcopy({current})")
                case KeepCopy.RESTORE:
                    cache = "saved"
                case _:
                    lines.append(f"{current}.{_call(command)}")
        arguments = _arguments(reader, reading, first, end) + f", {reader.step.cache_name}={cache}" * bool(cache)
        ones = [*takewhile(lambda bounds: bounds[1] - bounds[0] == 1, calls[call:])]
        cache, read = returned, end
        if call and may_loop and len(ones) >= _LOOPED:
            read = ones[-1][1]
            lines.append(f"for t in range({first}, {read}):")
            lines.append(
                f"    out = model(ids[:, t : t + 1]{arguments.replace(f'[[{first}]]', '[[t]]')}, use_cache=True)"
            )
        else:
            lines.append(f"out = model(ids[:, {first}:{end}]{arguments}, use_cache=True)")
    if lines[-1].startswith("out = "):
        return [*lines[:-1], f"{name} = {lines[-1].removeprefix('out = ')}.{logits}"]
    return [*lines, f"{name} = out.{logits}"]


def _arguments(reader: CacheReader, reading: Reading, first: int, end: int) -> str:
    """Return the arguments of a call other than ids and cache, as code."""
    arguments = reader.arguments(reading, first, end)
    return "".join(f", {name}={_code(value)}" for name, value in arguments.items() if name not in _BY_HAND)


def _call(command: CacheMethod | TakeBack) -> str:
    """Return the call of a method of a cache, as code."""
    if isinstance(command, TakeBack):
        return f"crop({-command.tokens})"
    return f"{command.name}({'' if command.rows is None else _code(torch.tensor(command.rows))})"


def _code(value: torch.Tensor | int) -> str:
    if not isinstance(value, torch.Tensor):
        return repr(value)
    return f"torch.tensor({value.tolist()}{', dtype=torch.int32' * (value.dtype == torch.int32)})"
