"""`rnneval.parity` on candidates whose fault is known, and its statistics on series of known mean."""

import numpy as np
import pytest

import rnneval
from rnneval.errors import CheckpointError, RnnevalError, VocabularyError
from rnneval.gates.clusters import mean_of
from rnneval.parity.statistics import period_of, worst_places
from rnneval.records.run import Blocks

LETTERS = list("abcdefgh")
UNITS = 6


def _text(characters: int = 34_000, seed: int = 0) -> str:
    return "".join(np.random.default_rng(seed).choice([*LETTERS, " "], characters))


VOCABULARY = sorted({*LETTERS, " "})


class Leaky:
    """h ← tanh(E[id] + h·R), logits = h·O, in a loop of our own: every part can be made wrong."""

    def __init__(self, *, noise: float = 0.0, handed=lambda h: h, reset: int = 0, half: bool = False) -> None:
        draw = np.random.default_rng(5)
        width = len(VOCABULARY)
        self.embedded, self.out = draw.normal(0, 1, (width, UNITS)), draw.normal(0, 1, (UNITS, width))
        self.recurrent = draw.normal(0, 0.3, (UNITS, UNITS))
        self.out = self.out + noise * np.random.default_rng(6).normal(0, 1, self.out.shape)
        self.handed, self.reset, self.half = handed, reset, half

    def step(self, ids, state):
        h, count = state
        h, logits = self.handed(h.astype(np.float64)), np.empty((*ids.shape, len(VOCABULARY)), np.float32)
        for at in range(ids.shape[1]):
            if self.reset:
                h = np.where((count + at) % self.reset == 0, 0.0, h)
            h = np.tanh(self.embedded[ids[:, at]] + h @ self.recurrent)
            logits[:, at] = h @ self.out
        return logits, (h.astype(np.float16 if self.half else np.float32), count + ids.shape[1])

    def lm(self, vocabulary=VOCABULARY):
        start = np.float16 if self.half else np.float32
        begin = lambda rows: (np.zeros((rows, UNITS), start), np.zeros((rows, 1), np.int32))  # noqa: E731
        return rnneval.from_step(self.step, begin, vocabulary=vocabulary)


def _parity(candidate, **options):
    options = {"string": _text(), "check": False} | options
    return rnneval.parity(Leaky().lm(), candidate, **options)


def test_the_same_model_in_other_calls_passes_as_rounding() -> None:
    found = _parity(Leaky().lm(), cand_segment=17)
    assert (found.verdict, found.fault, found.first_above) == ("pass", None, None)
    assert found
    assert "rounding" in found.reason
    assert found.same_top.value == 1.0
    assert found.kl.largest <= found.floor.limit
    assert {"calls of 1", "calls of 37"} < {each.kind for each in found.floor.readings}
    assert found.floor.tokens == 8192


def test_a_state_that_is_lost_fails_from_the_first_hand_over() -> None:
    found = _parity(Leaky(handed=np.zeros_like).lm(), max_kl=10.0)
    assert (found.verdict, found.fault) == ("fail", "state")
    assert found.first_above == found.first_hand_over == 64
    assert found.start_over_end.low > 3
    assert found.hand_overs == (34_000 - 2) // 64


@pytest.mark.parametrize("segment", [1, 4])
def test_short_calls_are_compared_with_restarts(segment: int) -> None:
    wrong = Leaky(handed=lambda h: 0.5 * h, noise=1e-3)
    found = _parity(wrong.lm(), cand_segment=segment)
    assert (found.verdict, found.fault, found.first_above) == ("fail", "state", 0)
    assert found.start_over_end is None
    assert found.restarts.low > 3
    right = _parity(Leaky(noise=1e-3).lm(), cand_segment=segment)
    assert right.verdict == "inconclusive"
    assert right.restarts.high < 3


def test_noise_in_weights_is_even_and_judged_by_the_limit() -> None:
    noisy = Leaky(noise=1e-3).lm()
    found = _parity(noisy)
    assert (found.verdict, found.fault, found.first_above) == ("inconclusive", None, 0)
    assert "give a limit" in found.reason
    assert 0.5 < found.start_over_end.value < 2
    assert _parity(noisy, max_kl=10 * found.kl.mean).verdict == "pass"
    assert _parity(noisy, max_kl=found.kl.mean / 10).verdict == "fail"
    assert _parity(noisy, allow={"loss": 0.1}).verdict == "pass"


def test_a_reset_is_found_with_its_period_in_calls_of_another_length() -> None:
    found = _parity(Leaky(reset=1000, noise=1e-3).lm(), cand_segment=40)
    assert found.reset_period == 1000


def test_a_state_in_half_precision_passes_a_limit_with_a_warning() -> None:
    half = Leaky(half=True).lm()
    found = _parity(half)
    assert (found.verdict, found.fault, found.first_above) == ("fail", "state", found.first_hand_over)
    assert found.reason.startswith("the state is handed over in lower precision, or wrong")
    assert "give a limit" not in _parity(half, max_kl=found.kl.mean / 10).reason
    for segment in (64, 1):
        passed = _parity(half, max_kl=1e-4, cand_segment=segment)
        assert passed.verdict == "pass"
        assert "state of lower precision" in passed.warnings[-1].message
        assert passed.departure.difference <= 2.0**-8
    assert _parity(Leaky(handed=lambda h: 0.9 * h).lm(), max_kl=10.0).verdict == "fail"


def test_another_initial_state_is_no_even_difference() -> None:
    found = _parity(Leaky(handed=lambda h: np.where(h.any(axis=1, keepdims=True), h, 0.3)).lm())
    assert (found.verdict, found.first_above) == ("inconclusive", 0)
    last = int(found.reason.partition("differs up to position ")[2].partition(",")[0])
    assert 1 <= last < 40
    assert max(found.by_position.mean_kl[sum(edge <= last for edge in found.by_position.edges) :]) <= found.floor.limit


def test_a_difference_that_grows_with_the_text_is_no_even_one() -> None:
    class Drifting(Leaky):
        def step(self, ids, state):
            logits, (h, count) = super().step(ids, state)
            return logits * (1 + 1e-6 * (count[..., None] + np.arange(ids.shape[1])[:, None])), (h, count)

    found = _parity(Drifting(noise=1e-4).lm())
    assert (found.verdict, found.first_above) == ("inconclusive", 0)
    assert "more and more along the stream" in found.reason


def _two_layers(names: tuple[str, str] | None, *, lost: bool = False):
    """Return two leaky layers; the state is a tuple (low, high), or a dict that lists them by their names."""
    one, two = Leaky(), Leaky()

    def step(ids, state):
        low, high = state if names is None else (state[name] for name in names)
        below, (low, _) = one.step(ids, (low, np.zeros((len(ids), 1), np.int32)))
        logits, (after, _) = two.step(below.argmax(axis=-1), (high, np.zeros((len(ids), 1), np.int32)))
        new = low, high if lost else after
        return logits, new if names is None else dict(sorted(zip(names, new, strict=True)))

    def begin(rows):
        zeros = np.zeros((rows, UNITS), np.float32)
        return (zeros, zeros) if names is None else dict.fromkeys(sorted(names), zeros)

    return rnneval.from_step(step, begin, vocabulary=VOCABULARY)


@pytest.mark.parametrize(("names", "paired_by"), [(("low", "high"), "values"), (("a", "b"), "order and shape")])
def test_the_state_that_is_lost_is_named_in_whatever_order_an_export_lists_states(names, paired_by) -> None:
    found = rnneval.parity(
        _two_layers(None), _two_layers(names, lost=True), string=_text(), check=False, max_kl=10.0
    )  # fmt: skip
    assert (found.verdict, found.fault, found.first_above) == ("fail", "state", 64)
    departure = found.departure
    assert (departure.part, departure.in_candidate) == ("state.1", f"state.{names[1]}")
    assert (departure.token, departure.paired_by) == (63, paired_by)


def test_the_imaginary_part_of_a_state_that_turns_the_other_way_is_seen() -> None:
    """h ← 0.9·exp(i·θ)·h + E[id], complex; the candidate hands on the conjugate of h."""
    draw = np.random.default_rng(8)
    width, turn = len(VOCABULARY), 0.9 * np.exp(1j * draw.uniform(0, 3, UNITS))
    embedded, out = draw.normal(0, 1, (width, UNITS)), draw.normal(0, 0.3, (2 * UNITS, width))
    last = np.zeros(UNITS, np.complex64)
    for token in map(VOCABULARY.index, _text()[:64]):
        last = turn * last + embedded[token]

    def model(hands_on):
        def step(ids, h):
            logits = np.empty((*ids.shape, width), np.float32)
            for at in range(ids.shape[1]):
                h = turn * h + embedded[ids[:, at]]
                logits[:, at] = np.concatenate([h.real, h.imag], axis=1) @ out
            return logits, hands_on(h).astype(np.complex64)

        return rnneval.from_step(step, lambda rows: np.zeros((rows, UNITS), np.complex64), vocabulary=VOCABULARY)

    found = rnneval.parity(model(np.asarray), model(np.conj), string=_text(2_000), check=False)
    assert (found.verdict, found.departure.token) == ("fail", 63)
    assert found.departure.difference == pytest.approx(2 * abs(last.imag).max() / abs(last).max(), rel=1e-5)


def test_the_same_tokens_in_another_order_are_mapped_and_others_are_refused() -> None:
    order = VOCABULARY[::-1]
    right = Leaky()
    place = np.array([VOCABULARY.index(token) for token in order])

    def step(ids, state):
        logits, state = right.step(place[ids], state)
        return logits[..., place], state

    begin = lambda rows: (np.zeros((rows, UNITS), np.float32), np.zeros((rows, 1), np.int32))  # noqa: E731
    assert _parity(rnneval.from_step(step, begin, vocabulary=order)).verdict == "pass"
    with pytest.raises(VocabularyError, match="differ in 2 tokens"):
        _parity(Leaky().lm(["z", *VOCABULARY[1:]]))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_candidate_that_is_not_finite_fails_and_such_a_reference_is_refused(value: float) -> None:
    broken, text = Leaky(), _text()

    def step(ids, state):
        logits, after = broken.step(ids, state)
        late = state[1] + np.arange(ids.shape[1]) >= 700  # in the middle of a call and of a block
        return np.where(late[..., None], logits + np.eye(1, len(VOCABULARY))[0] * value, logits).astype("f"), after

    begin = lambda rows: (np.zeros((rows, UNITS), np.float32), np.zeros((rows, 1), np.int32))  # noqa: E731
    with np.errstate(invalid="ignore"):
        broken_lm = rnneval.from_step(step, begin, vocabulary=VOCABULARY)
        found = _parity(broken_lm)
        assert (found.verdict, found.fault, found.kl) == ("fail", "not finite", None)
        assert "token 701 " in found.reason
        bad = text.index(VOCABULARY[0], 701) if value == -np.inf else 701  # a logit of −∞ costs its own id alone
        with pytest.raises(CheckpointError, match=f"loss of token {bad} is not finite"):
            rnneval.parity(broken_lm, Leaky().lm(), string=text, check=False)


def test_sums_by_block_and_quantiles_are_those_of_a_loop_over_all_predictions() -> None:
    models, text = [Leaky(), Leaky(noise=0.1)], _text()
    ids = np.array([VOCABULARY.index(letter) for letter in text])
    logs, states = [[], []], [(np.zeros((1, UNITS), np.float32), np.zeros((1, 1), np.int32))] * 2
    for start in range(0, len(ids) - 1, 64):
        for which, model in enumerate(models):
            logits, states[which] = model.step(ids[None, start : min(start + 64, len(ids) - 1)], states[which])
            for row in logits[0].astype(np.float64):
                logs[which].append(row - np.log(np.exp(row).sum()))
    p, q = map(np.array, logs)
    rows = np.arange(len(p))
    kl, same = (np.exp(p) * (p - q)).sum(axis=1), p.argmax(axis=1) == q.argmax(axis=1)
    wanted = {"kl": kl, "same": same, "nats_ref": -p[rows, ids[1:]], "nats_cand": -q[rows, ids[1:]]}
    found = _parity(models[1].lm(), string=text)
    ends = np.array(found.blocks.bytes)  # one byte each letter
    assert len(ends) > 16
    assert ends[-1] == len(text)
    assert set(found.blocks.sums) == set(wanted)
    for name, values in wanted.items():
        by_block = [float(values[max(a - 1, 0) : b - 1].sum()) for a, b in zip([0, *ends[:-1]], ends, strict=True)]
        assert found.blocks.sums[name] == pytest.approx(by_block, rel=1e-9)
    assert found.kl.mean == pytest.approx(kl.mean(), rel=1e-9)
    assert found.same_top.value == pytest.approx(same.mean(), rel=1e-12)
    assert found.loss.value == pytest.approx((wanted["nats_cand"] - wanted["nats_ref"]).mean(), rel=1e-9)
    assert found.largest_margin_lost == pytest.approx((p.max(axis=1) - p[rows, q.argmax(axis=1)]).max(), rel=1e-9)
    ordered = np.sort(kl)
    for per_cent, value in found.kl.quantiles.items():
        low, part = divmod(float(per_cent) / 100 * (len(kl) - 1), 1)
        between = ordered[int(low)] * (1 - part) + ordered[min(int(low) + 1, len(kl) - 1)] * part
        assert value == pytest.approx(between, rel=1e-5)  # KL of each prediction is kept in float32
    assert (found.kl.largest, found.kl.at) == (pytest.approx(ordered[-1], rel=1e-6), int(kl.argmax()) + 1)


def test_a_candidate_that_raises_in_the_middle_is_one_line() -> None:
    broken = Leaky()

    def step(ids, state):
        if state[1].max() > 5000:
            raise ValueError("out of memory")
        return broken.step(ids, state)

    begin = lambda rows: (np.zeros((rows, UNITS), np.float32), np.zeros((rows, 1), np.int32))  # noqa: E731
    with pytest.raises(RnnevalError, match="out of memory"):
        _parity(rnneval.from_step(step, begin, vocabulary=VOCABULARY))


@pytest.mark.parametrize(("handed", "segment"), [(lambda h: h, 64), (lambda h: 0.5 * h, 1)])
def test_a_reference_that_is_wrong_in_longer_calls_does_not_raise_the_floor(handed, segment) -> None:
    """As Mamba of transformers, which begins anew in calls of several tokens: right is what calls of one give."""

    def by_token(handed):
        model = Leaky(handed=handed)

        def step(ids, state):
            return model.step(ids, state if ids.shape[1] == 1 else (np.zeros_like(state[0]), state[1]))

        begin = lambda rows: (np.zeros((rows, UNITS), np.float32), np.zeros((rows, 1), np.int32))  # noqa: E731
        return rnneval.from_step(step, begin, vocabulary=VOCABULARY)

    reference = by_token(lambda h: h)
    found = rnneval.parity(
        reference, by_token(handed), string=_text(9000), check=False, ref_segment=1, cand_segment=segment
    )
    assert (found.verdict, found.fault, found.first_above) == ("fail", "state", segment)
    assert found.floor.limit < 1e-11
    assert any("in calls of 37" in each.message for each in found.warnings)


@pytest.mark.parametrize("calls", [(37,), (1, 37)])
def test_a_reading_of_the_floor_that_is_not_finite_is_left_out_and_said(calls) -> None:
    """The reference overflows in calls of some lengths; the candidate is another model of the same numbers."""
    model = Leaky()

    def step(ids, state):
        logits, after = model.step(ids, state)
        return np.where(ids.shape[1] in calls and ids.shape[0] == 1, np.nan, logits).astype(np.float32), after

    begin = lambda rows: (np.zeros((rows, UNITS), np.float32), np.zeros((rows, 1), np.int32))  # noqa: E731
    reference = rnneval.from_step(step, begin, vocabulary=VOCABULARY)
    found = rnneval.parity(reference, Leaky().lm(), string=_text(9_000), check=False)
    left_out = [each.message for each in found.warnings if "not finite in calls of" in each.message]
    assert len(left_out) == len(calls)
    assert (found.verdict, np.isfinite(found.floor.limit)) == ("pass", True)


def test_a_short_text_is_inconclusive_and_says_what_is_needed() -> None:
    found = _parity(Leaky(noise=1e-3).lm(), string=_text(500))
    assert (found.verdict, found.kl.low) == ("inconclusive", None)
    assert "32 kB" in found.reason


def test_few_hand_overs_are_no_proof_even_where_every_token_agrees() -> None:
    found = _parity(Leaky(reset=1024).lm(), string=_text(500))
    assert (found.verdict, found.first_above) == ("inconclusive", None)
    assert "7 hand-overs of the state, 64 are needed" in found.reason
    assert _parity(Leaky().lm(), string=_text(500), cand_segment=4).verdict == "pass"


def test_a_reference_that_fails_the_check_is_refused() -> None:
    wrong = Leaky(handed=np.zeros_like).lm()
    with pytest.raises(CheckpointError, match="fails the wiring check"):
        rnneval.parity(wrong, Leaky().lm(), string=_text())


def test_the_record_is_read_back_gated_and_drawn(tmp_path) -> None:
    found = _parity(Leaky(noise=1e-3).lm(), max_kl=1.0)
    found.save(tmp_path / "parity.json")
    read = rnneval.read(tmp_path / "parity.json")
    assert read == found
    assert rnneval.gate(read, require="parity.kl.mean<=1").verdict == "pass"
    assert rnneval.gate(read, require="kl.mean<=1e-9").verdict == "fail"
    assert found.reason in str(found).replace("\n", " ").replace("  ", " ") or "pass" in str(found)
    rnneval.report([read], tmp_path / "page.html")
    assert "Parity" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_intervals_of_kl_cover_the_mean_of_a_series_with_memory() -> None:
    # AR(1) with φ = 0.3 around 1: the mean is known. 256 blocks of 64 tokens.
    draw, blocks, hits, trials = np.random.default_rng(1), 256, 0, 1000
    shape = tuple(range(256, 256 * (blocks + 1), 256))
    ones, zeros = (64,) * blocks, (0,) * blocks
    text = Blocks(bytes=shape, document=zeros, scored_bytes=ones, tokens=ones, characters=ones, words=ones,
                  unknown=zeros, sums={})  # fmt: skip
    for _ in range(trials):
        noise, series, value = draw.normal(size=blocks * 64), np.empty(blocks * 64), draw.normal() / np.sqrt(0.91)
        for at, step in enumerate(noise.tolist()):
            value = 0.3 * value + step
            series[at] = value
        score = mean_of(text, (1 + series).reshape(blocks, 64).sum(axis=1), "nats a token")
        hits += score.low <= 1 <= score.high
    assert 0.93 <= hits / trials <= 0.97


def test_worst_places_and_periods_by_hand() -> None:
    kl = np.full(10_000, 1e-6)
    for at in (1024, 2048, 5120, 7168, 9216):
        kl[at : at + 5] = [2, 1, 0.5, 0.3, 0.2]
    places = worst_places(kl, 1e-9)
    assert sorted(start for start, _ in places) == [1024, 2048, 5120, 7168, 9216]
    assert period_of([start for start, _ in places]) == 1024
    assert period_of(np.random.default_rng(0).integers(0, 10_000, 9).tolist()) is None


def test_a_graph_is_compiled_once_for_all_documents_and_restarts() -> None:
    keras, traces = pytest.importorskip("keras"), []

    @keras.saving.register_keras_serializable("parity")
    class Counted(keras.layers.Layer):
        def call(self, inputs):
            traces.append(1)  # runs where a graph is traced, and not where it is called
            return inputs

    ids, letters = keras.Input((None,), dtype="int32"), ["\n", *VOCABULARY]
    hidden = keras.layers.GRU(4, return_sequences=True)(keras.layers.Embedding(len(letters), 3)(ids))
    model = keras.Model(ids, Counted()(keras.layers.Dense(len(letters))(hidden)))
    traces.clear()
    documents = "\n\n".join(_text(40, seed).strip() for seed in range(30))
    found = rnneval.parity(
        model, model, string=documents, vocabulary=letters, documents="blank-line",
        cand_dtype="bfloat16", ref_segment=1, check=False,
    )  # fmt: skip
    assert found.restarts is not None
    assert len(traces) < 30
