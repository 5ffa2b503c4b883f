"""Tests of calls: a right model passes all of them, and each planted fault is found where it is, and nowhere else."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from rnneval.models.torch.causal import CachedStep  # noqa: E402
from rnneval.wiring.readings import CacheMethod, Change, KeepCopy, Reading  # noqa: E402
from rnneval.wiring.torch.calls import KEYS, CallTests, run_calls  # noqa: E402
from rnneval.wiring.torch.readings import CacheReader  # noqa: E402
from tests.wiring.torch.tiny_calls import WIDTH, Tiny  # noqa: E402

pytestmark = pytest.mark.torch


def results(module: Any, width: int, newline: int | None = None) -> CallTests:
    return run_calls(CachedStep(module), width=width, newline=newline)


def tiny(fault: str = "") -> CallTests:
    return results(Tiny(fault).eval(), WIDTH, newline=5)


def test_a_right_model_passes_every_test() -> None:
    made = tiny()

    assert {key: oracle.verdict for key, oracle in made.oracles.items()} == dict.fromkeys(KEYS, "pass")
    assert all((oracle.largest_difference or 0) < 1e-9 for oracle in made.oracles.values())
    assert not made.patterns
    assert not made.scripts


@pytest.mark.parametrize(
    ("fault", "key", "pattern"),
    [
        ("train", "train", "in one call with a cache"),
        ("several", "shapes", "in calls of more than one token after a state"),
        ("positions", "shapes", "in calls without position_ids"),
        ("growing mask", "shapes", "with a growing mask of ones, one token a call"),
        ("rows", "shapes", "in calls of one token for two rows"),
        ("shape", "shapes", "in calls of one token for two rows"),
        ("chunk", "shapes", "across 8 tokens (chunk_size)"),
        ("mask", "padding", "in padded rows"),
        ("mask of the past", "padding", "in padded rows, when a later call holds the pads"),
        ("packed", "packed", "in packed rows"),
        ("shared", "restore", "after the cache was copied and put back"),
        ("crop", "rollback", "after cache.crop()"),
        ("reset", "reset", "after cache.reset()"),
        ("reorder", "reorder", "after cache.reorder_cache()"),
        ("special", "special", "after a first call of one token"),
    ],
)
def test_a_planted_fault_is_found(fault: str, key: str, pattern: str) -> None:
    made = tiny(fault)

    assert key in made.patterns
    assert pattern in made.patterns[key]
    assert made.oracles[key].verdict == "fail"
    assert pattern in made.oracles[key].detail
    assert made.scripts[key]


def test_all_changes_before_one_call_are_made_in_their_order() -> None:
    reader, exchange = CacheReader(CachedStep(Tiny().eval())), CacheMethod("reorder_cache", (1, 0))

    def last_call(*commands: CacheMethod | KeepCopy) -> Any:
        changes = tuple(Change(call=1, command=command) for command in commands)
        return reader.read(Reading(ids=((3, 7, 9), (4, 8, 9)), lengths=(2, 1), changes=changes))[:, 2].tolist()

    plain, exchanged = last_call(), last_call(exchange)
    assert exchanged == plain[::-1] != plain
    assert last_call(exchange, exchange) == plain
    assert last_call(KeepCopy.SAVE, exchange, KeepCopy.RESTORE) == plain
    assert last_call(exchange, KeepCopy.SAVE, exchange, KeepCopy.RESTORE) == exchanged


def test_the_script_of_a_fault_shows_it_without_rnneval(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(transformers.cache_utils.LinearAttentionLayer, "reset", lambda _: None)
    config = transformers.Mamba2Config(
        vocab_size=WIDTH,
        hidden_size=16,
        state_size=4,
        num_heads=4,
        head_dim=8,
        num_hidden_layers=1,
        n_groups=2,
        chunk_size=8,
    )
    torch.manual_seed(0)

    made = results(transformers.Mamba2ForCausalLM(config).eval(), WIDTH)

    failed = {key for key, oracle in made.oracles.items() if oracle.verdict == "fail"}
    assert failed == {"reset", "right_padding"}  # the latter is a fault of this class
    script = made.scripts["reset"]
    assert "rnneval" not in script
    assert len([line for line in script.splitlines() if line]) <= 16
    with torch.no_grad():
        exec(script, {})  # noqa: S102 - as a user would run it
    assert float(capsys.readouterr().out.strip().removeprefix("tensor(").split(",")[0].rstrip(")")) > 1e-3


def test_what_a_model_cannot_take_is_left_out_with_the_reason() -> None:
    class NoMask(Tiny):
        def forward(self, input_ids: Any, cache: Any = None, use_cache: bool = False) -> Any:
            return super().forward(input_ids, cache=cache, use_cache=use_cache)

    made = results(NoMask().eval(), WIDTH)

    assert "padding" not in made.oracles
    assert "packed" not in made.oracles
    assert "padded rows: the model takes no attention_mask" in made.untested
    assert any(said.startswith("packed rows: the model takes neither") for said in made.untested)
    assert all(oracle.verdict == "pass" for oracle in made.oracles.values())


def test_a_model_that_raises_is_not_judged() -> None:
    class Broken(Tiny):
        def forward(self, input_ids: Any, cache: Any = None, use_cache: bool = False) -> Any:
            raise ValueError("no weights")

    made = results(Broken().eval(), WIDTH)

    assert not made.oracles
    assert made.untested == ("calls: the model raises ValueError: no weights",)


def test_the_module_that_gives_other_rows_is_named() -> None:
    """One token a call for two rows: RWKV's attention adds a state `(rows, units)` to a token `(rows, 1, units)`."""
    config = transformers.RwkvConfig(vocab_size=11, hidden_size=16, num_hidden_layers=2, attention_hidden_size=16)
    where = results(transformers.RwkvForCausalLM(config).eval(), 11).divergences["shapes"]
    assert (where.module, where.shape) == ("rwkv.blocks.0.attention", (2, 2, 16))
