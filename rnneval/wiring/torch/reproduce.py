"""Code without rnneval that shows how two readings of a cached model differ, for an issue to its maintainers."""

from typing import Any

from rnneval.wiring.torch.cases import Case
from rnneval.wiring.torch.readings import Reader, Reading

_WRITTEN = 40  # tokens whose ids are written out; others are drawn
_LOOPED = 3  # calls of one token that become a loop


def script(reader: Reader, case: Case, position: int | None) -> str:
    """Return a script that prints how far two readings differ at a token; without one, the shape of their logits."""
    wanted = _reading(reader, case.wanted, "expected", case.begins[0] + (position or 0), 0)
    seen = _reading(reader, case.seen, "seen", case.begins[1] + (position or 0), case.row)
    printed = "print((expected - seen).abs().max())"
    if position is None:
        wanted, seen = [], _reading(reader, case.seen, "seen", case.seen.tokens - 1, None)
        printed = f"print(seen.shape)  # the last call reads {len(case.seen.ids)} rows of {case.seen.lengths[-1]} tokens"
    body = [*wanted, *seen, printed]
    return "\n".join([*_opening(reader, body), *body, ""])


def _opening(reader: Reader, body: list[str]) -> list[str]:
    """Return the lines that make the model: a random one of the same configuration, in which no parameter is zero."""
    config = reader.step.module.config
    own = {name: value for name, value in config.to_diff_dict().items() if name not in _LEFT_OUT}
    names = ["AutoConfig", "AutoModelForCausalLM"]
    names += ["DynamicCache"] * any("DynamicCache" in line for line in body)
    return [
        *["import copy", ""] * any("copy." in line for line in body),
        "import torch",
        f"from transformers import {', '.join(names)}",
        "",
        f"config = AutoConfig.for_model({config.model_type!r}, **{own})",
        "torch.manual_seed(0)",
        f"model = AutoModelForCausalLM.from_config(config).eval(){'.double()' * reader.double}",
        "torch.set_grad_enabled(False)",
        "for weights in model.parameters():",
        "    weights += 0.05 * torch.randn_like(weights)  # none is zero then",
    ]


_LEFT_OUT = {"model_type", "transformers_version", "architectures", "dtype", "torch_dtype", "_name_or_path"}


def _reading(reader: Reader, reading: Reading, name: str, column: int, row: int | None) -> list[str]:
    """Return the lines that read a text up to a token, and keep its logits under a name."""
    text = f"{name}_ids"
    lines = [f"{text} = torch.tensor({[list(each) for each in reading.ids]})"]
    if reading.tokens > _WRITTEN:  # the same tokens for both readings
        width = reader.step.module.config.get_text_config().vocab_size
        drawn = f"torch.randint({width}, ({len(reading.ids)}, {reading.tokens})"
        lines = [f"{text} = {drawn}, generator=torch.Generator().manual_seed(1))"]
    if not reading.lengths:
        given = _given(reader, reading, 0, reading.tokens)
        return [*lines, f"{name} = model({text}{given}, use_cache=False).logits[{row}, {column}]"]
    calls = [(first, end) for first, end in reading.calls() if first <= column]
    cache = _first_cache(reader, lines)
    returned = "cache" if cache else f"out.{reader.step.cache_name}"
    changes = {change.call: change for change in reading.changes}
    at = 0
    while at < len(calls):
        first, end = calls[at]
        if at in changes:
            cache = _changed(lines, returned, changes[at]) or cache
        count = _ones(reading, calls[at:])
        if at and count >= _LOOPED:
            lines.append(f"for t in range({first}, {first + count}):")
            given = ", position_ids=torch.tensor([[t]])" * (reading.numbered and reader.takes("position_ids"))
            lines.append(
                f"    out = model({text}[:, t : t + 1]{given}, use_cache=True, {reader.step.cache_name}={cache})"
            )
            at += count
            continue
        given = _given(reader, reading, first, end) + f", {reader.step.cache_name}={cache}" * bool(cache)
        lines.append(f"out = model({text}[:, {first}:{end}]{given}, use_cache=True)")
        cache, at = returned, at + 1
    last = calls[-1][0]
    return [*lines, f"{name} = out.logits" + (f"[{row}, {column - last}]" if row is not None else "")]


def _first_cache(reader: Reader, lines: list[str]) -> str:
    """Make a cache before the first call of a model that does not return the one that it fills."""
    if reader.step._first_cache() is None:
        return ""
    lines.append("cache = DynamicCache(config=config)")
    return "cache"


def _changed(lines: list[str], cache: str, change: Any) -> str:
    """Add the line of a change of the cache; return the cache of the next call, if it is another one."""
    if change.method == "restore":
        return "saved"
    argument = "" if change.argument is None else repr(change.argument)
    if isinstance(change.argument, tuple):
        argument = f"torch.tensor({list(change.argument)})"
    lines.append(
        f"saved = copy.deepcopy({cache})" if change.method == "save" else f"{cache}.{change.method}({argument})"
    )
    return ""


def _ones(reading: Reading, calls: list[tuple[int, int]]) -> int:
    """Return the number of calls of one token with which a list begins, where they can be a loop."""
    if reading.mask is not None or reading.positions is not None or len(reading.ids) > 1:
        return 0
    return next((at for at, (first, end) in enumerate(calls) if end - first > 1), len(calls))


def _given(reader: Reader, reading: Reading, first: int, end: int) -> str:
    """Return the arguments of a call other than ids and cache, as code."""
    code = ""
    if reading.mask is not None:
        code += f", attention_mask=torch.tensor({[list(row[:end]) for row in reading.mask]})"
    if (reader.takes("position_ids") and reading.numbered) or reading.packed:
        code += f", position_ids=torch.tensor({reading.numbers()[:, first:end].tolist()})"
    if reading.packed:
        code += "".join(f", {name}={_code(value)}" for name, value in reading.documents().items())
    return code


def _code(value: Any) -> str:
    return repr(value) if isinstance(value, int) else f"torch.tensor({value.tolist()}, dtype=torch.int32)"
