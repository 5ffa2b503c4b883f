"""The check over right and wrong modules of PyTorch, whose truth was written before they were run.

By default a sample; `-m grid` is the rest of it, and two more seeds.
"""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import rnneval  # noqa: E402
from rnneval.errors import UsageError  # noqa: E402
from rnneval.render.figures.flow_matrix import figure  # noqa: E402
from rnneval.wiring.torch import readers  # noqa: E402
from tests.wiring.corpus.case import cases_of  # noqa: E402
from tests.wiring.torch import right_modules, right_stacks, wrong_modules, wrong_stacks  # noqa: E402

pytestmark = pytest.mark.torch
RIGHT = (*cases_of(right_modules), *cases_of(right_stacks))
WRONG = (*cases_of(wrong_modules), *cases_of(wrong_stacks))


def verify(case, seed):
    torch.manual_seed(seed)
    case.verify(seed)


def named(case):
    return case.name


def test_there_are_as_many_models_as_are_said():
    assert len({case.name for case in (*RIGHT, *WRONG)}) == len(RIGHT) + len(WRONG)
    assert len(RIGHT) >= 30
    assert len(WRONG) >= 30


@pytest.mark.sampled(4)
@pytest.mark.parametrize("case", RIGHT, ids=named)
def test_right_modules(case):
    verify(case, 0)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("case", WRONG, ids=named)
def test_wrong_modules(case):
    verify(case, 0)


@pytest.mark.grid
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("case", [*RIGHT, *WRONG], ids=named)
def test_with_other_seeds(case, seed):
    verify(case, seed)


def model(make, **options):
    torch.manual_seed(0)
    return right_modules.opened(make, **options)


def line_of(function, code):
    """The line of some code in a function, by its text."""
    first = function.__code__.co_firstlineno
    source = Path(function.__code__.co_filename).read_text().splitlines()[first - 1 :]
    return first + next(number for number, line in enumerate(source) if code in line)


@pytest.mark.parametrize(
    ("part", "rule", "code"),
    [
        (wrong_modules._BatchNorm, "batch-leak", "x - mean"),
        (wrong_modules._Softmax, "batch-leak", "softmax(dim=0)"),
        (wrong_modules._OverTime, "future-leak", "x - x.mean(dim=1"),
        (wrong_modules._Noisy, "always-random", "dropout("),
    ],
)
def test_the_line_is_named_at_which_readings_part(part, rule, code):
    wiring = rnneval.check(model(wrong_modules.Beside, part=part))
    finding = next(each for each in wiring.findings if each.rule == rule)
    assert (finding.file, finding.layer) == (wrong_modules.__file__, "part")
    assert finding.line == line_of(part.forward, code)
    assert f"they part in line {finding.line}" in finding.message


def test_what_goes_on_inside_of_the_module_at_fault_is_not_told():
    wiring = rnneval.check(model(wrong_modules.Inside))
    assert {(row.kind, row.source) for row in wiring.flow} == {("unknown", "unknown")}
    assert "? not told" in str(wiring)
    assert figure(wiring).title == "Whose state stack gets was not told"


def test_a_count_that_is_lost_is_named_and_not_the_layer_beside_it():
    lost, parts = rnneval.check(model(wrong_modules.Counted)).findings
    assert lost.rule == "stale-state"
    assert lost.message.startswith("state[1] stays as it is in calls of 1 token and of 3 tokens.")
    assert (parts.rule, parts.layer) == ("chunk-variance", None)
    wiring = rnneval.check(model(wrong_modules.Restarted))
    assert [each.rule for each in wiring.findings] == ["ignored-state", "chunk-variance"]
    assert wiring.findings[0].message.startswith("state.time counts, and no module reacts")


def test_one_module_of_several_names():
    (finding,) = rnneval.check(model(right_modules.Depth)).findings
    assert finding.message.startswith("layers.0, which is also layers.1, layers.2, runs more than once for one token")
    for name in ("layers.0", "layers.2", "layers", "Depth"):
        assert rnneval.check(model(right_modules.Depth), declare=[f"shared={name}"]).verdict == "pass"
    assert rnneval.check(model(right_modules.Depth), declare=["mixed=layers.0"]).verdict == "fail"


def test_declarations_of_modules():
    wiring = rnneval.check(model(wrong_modules.Lengths), declare=["stateless=high"])
    assert wiring.verdict == "pass"
    assert [each.rule for each in wiring.findings] == ["chunk-variance", "unused-part"]
    assert {each.severity for each in wiring.findings} == {"warning"}
    assert rnneval.check(model(wrong_modules.Lengths), declare=["stateless=low"]).verdict == "fail"
    said = "no module gru9; any of its modules can be declared by its path, and those that keep a state are: low, high"
    with pytest.raises(UsageError, match=said):
        rnneval.check(model(wrong_modules.Lengths), declare=["stateless=gru9"])


def test_a_model_that_takes_no_single_row_is_judged_by_its_behaviour():
    wiring = rnneval.check(model(wrong_modules.Beside, part=wrong_modules._Plain))
    assert {(each.rule, each.layer) for each in wiring.findings} >= {("batch-leak", "part.norm")}
    assert wiring.flow == ()


def test_an_error_of_rnneval_is_a_warning_and_none_of_the_model(monkeypatch):
    monkeypatch.setattr(readers, "CALLS", ())
    with pytest.warns(RuntimeWarning, match=r"rnneval raises ValueError: .* \(readers.py, line \d+\)"):
        wiring = rnneval.check(model(right_modules.Depth), declare=["shared=Depth"])
    assert "where states come from: rnneval raises ValueError" in wiring.reason
