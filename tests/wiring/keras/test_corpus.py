"""The check over its corpus: right models pass, wrong ones fail and are named by their rule.

By default one seed of the 67 models in `QUICK` and of three that are made by rule; `-m grid` is the rest of it, with
two more seeds (hours), whose table is in docs, wiring (made by benchmarks/wiring_corpus.py).
"""

import pytest

from tests.wiring.corpus.case import by_hand
from tests.wiring.corpus.generator import case_of, recipes
from tests.wiring.keras.agreement import compare

pytestmark = pytest.mark.filterwarnings("ignore:.*(build|unbuilt):UserWarning")  # users' layers make others late
CASES = by_hand()
RECIPES = tuple(recipes())
COMPARED = ("zoneout_between_calls", "second_layer_not_carried", "one_cell_twice")
_QUICK = """
blocks by_hand_layers_share_a_state by_hand_state_unread by_hand_states_exchanged cache_cleared_at_a_fresh_start
cell_returns_its_incoming_state cell_state_reset cells_crossed_in_scan cells_share_a_state_in_a_loop closure
dropout_at_inference dropout_of_tensorflow_on_the_outputs each_token_is_read_twice encoder_and_decoder
encoder_reads_the_same_text first_initial_state_cached gated_feedback_declared gaussian_noise_left_on
graph_hands_on_h_alone h_and_c_swapped_on_the_way_in h_given_as_c half_of_the_state_kept keras_random_at_every_call
layer_of_ones_own layer_runs_backwards masked_embedding one_call_behind one_cell_on_two_streams_in_a_loop
one_cell_twice one_layer_declared_stateless one_row_padded_to_two only_c_exchanged_between_places
own_cell_of_three_states random_first_state_in_training recurrence_by_hand second_layer_not_carried
second_stream_of_the_lstm_starts_afresh separate_arguments siamese_lstm_returns_right_before_left slice_off_by_four
stacked_cells_swapped state_as_numpy_array state_inputs_and_outputs state_normalised_between_calls
stateful_layer_reset_in_call states_kept_in_a_closure states_logged_but_not_read stream_reader_with_its_own_memory
takes_states_and_returns_none tf_function_on_step tf_scan through_numpy time_major_slip traced_before_it_was_built
training_swaps_h_and_c_in_a_block translator_graph_for_training transposed tutorial words_dropped_in_every_call
zoneout_between_calls queue_of_two_states state_negated_between_calls state_fades_at_every_token
slow_cell_runs_and_is_not_kept word_layer_reads_the_state_of_the_letters slow_state_lost_between_calls
ring_begins_at_its_first_place
"""
QUICK = frozenset(_QUICK.split())
"""For each rule and each file the model that is checked in the least time, and the fastest of the others."""


def name(case):
    return case.name


def test_the_corpus_is_as_large_as_it_is_said_to_be():
    right, wrong = [c for c in CASES if c.right], [c for c in CASES if not c.right]
    assert len({c.name for c in CASES}) == len(CASES)
    assert (len(right), len(wrong)) == (87, 111)
    assert [c.name for c in right if c.verdict == "inconclusive"] == ["recurrence_by_hand"]


def test_the_default_run_has_a_model_of_each_rule_and_file():
    quick = [case for case in CASES if case.name in QUICK]
    assert len(quick) == len(QUICK) == 67
    assert {case.rule for case in quick} == {case.rule for case in CASES}
    assert {case.build.__module__ for case in quick} == {case.build.__module__ for case in CASES}


@pytest.mark.parametrize(
    "case", [case if case.name in QUICK else pytest.param(case, marks=pytest.mark.grid) for case in CASES], ids=name
)
def test_models_by_hand(case):
    case.verify()


@pytest.mark.sampled(160)
@pytest.mark.parametrize("recipe", RECIPES, ids=name)
def test_models_made_by_rule(recipe, tmp_path):
    case_of(recipe, tmp_path).verify()


@pytest.mark.grid
@pytest.mark.parametrize("case", [*CASES, *RECIPES], ids=name)
def test_every_model_with_other_seeds(case, tmp_path):
    for seed in (1, 2):
        (case if case in CASES else case_of(case, tmp_path)).verify(seed)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("case", [case for case in CASES if case.name in COMPARED], ids=name)
def test_intervention_finds_the_same_sources_as_the_tape(case):
    found = compare(case)
    assert found["differ"] == []
    assert found["slots"] or found["why"]


@pytest.mark.grid
@pytest.mark.parametrize("case", CASES, ids=name)
def test_intervention_agrees_everywhere(case):
    assert compare(case)["differ"] == []
