"""Code without rnneval that shows how two readings of a cached model differ, for an issue to its maintainers."""

import re

from rnneval.wiring.torch.cases import Case
from rnneval.wiring.torch.readings import Change, Reader, Reading

_WRITTEN = 40  # tokens whose ids are written out; others are drawn
_LOOPED = 3  # calls of one token that become a loop
_INFINITE = re.compile(r"\binf\b")
_LEFT_OUT = {"model_type", "transformers_version", "architectures", "dtype", "torch_dtype", "_name_or_path"}


def script(reader: Reader, case: Case, position: int | None) -> str:
    """Return a script that prints how far two readings differ at a token; without one, the shape of their logits."""
    if position is None:
        length = case.seen.lengths[-1] if case.seen.lengths else case.seen.tokens
        body = [
            *_reading(reader, case.seen, "seen", case.seen.tokens - 1, None),
            f"print(seen.shape)  # expected: {len(case.seen.ids)} rows, {length} token{'s' * (length > 1)}",
        ]
    else:
        body = _reading(reader, case.wanted, "expected", position, 0)
        seen = _reading(reader, case.seen, "seen", position - case.begins[0] + case.begins[1], case.row)
        body += seen[1:] if seen[0] == body[0] else seen  # the same ids
        body.append("print((expected - seen).abs().max())")
    return "\n".join([*_opening(reader, body), *body, ""])


def _opening(reader: Reader, body: list[str]) -> list[str]:
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


def _reading(reader: Reader, reading: Reading, name: str, column: int, row: int | None) -> list[str]:
    """Return the lines that read a text up to a token, and keep the logits of its last call under a name."""
    ids = f"torch.tensor({[list(each) for each in reading.ids]})"
    if reading.tokens > _WRITTEN:
        width = reader.step.module.config.get_text_config().vocab_size
        shape = f"({len(reading.ids)}, {reading.tokens})"
        ids = f"torch.randint({width}, {shape}, generator=torch.Generator().manual_seed(1))"
    lines, at = [f"ids = {ids}"], "" if row is None else f"[{row}, {{}}]"
    if not reading.lengths:
        given = _given(reader, reading, 0, reading.tokens)
        return [*lines, f"{name} = model(ids{given}, use_cache=False).logits{at.format(column)}"]
    calls = [(first, end) for first, end in reading.calls() if first <= column]
    cache, returned = "", f"out.{reader.step.cache_name}"
    if reader.step.first_cache(1) is not None:  # the model does not return the cache that it fills
        lines.append("cache = DynamicCache(config=config)")
        cache = returned = "cache"
    changes = {change.call: change for change in reading.changes}
    call = 0
    while call < len(calls):
        first, end = calls[call]
        if call in changes:
            cache = _changed(lines, returned, changes[call]) or cache
        given = _given(reader, reading, first, end) + f", {reader.step.cache_name}={cache}" * bool(cache)
        count = _ones(reading, calls[call:])
        if call and count >= _LOOPED:
            lines.append(f"for t in range({first}, {first + count}):")
            lines.append(f"    out = model(ids[:, t : t + 1]{given.replace(f'[[{first}]]', '[[t]]')}, use_cache=True)")
        else:
            count = 1
            lines.append(f"out = model(ids[:, {first}:{end}]{given}, use_cache=True)")
        cache, call = returned, call + count
    logits = f".logits{at.format(column - calls[-1][0])}"
    if lines[-1].startswith("out = "):
        return [*lines[:-1], f"{name} = {lines[-1].removeprefix('out = ')}{logits}"]
    return [*lines, f"{name} = out{logits}"]


def _changed(lines: list[str], cache: str, change: Change) -> str:
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
    for name, value in reader.documents(reading).items() if reading.packed else ():
        code += f", {name}="
        code += repr(value) if isinstance(value, int) else f"torch.tensor({value.tolist()}, dtype=torch.int32)"
    return code
