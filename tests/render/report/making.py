"""Records for a page, made of numbers: a wrong wiring, two runs, a verdict, gradients."""

import msgspec
import numpy as np

from rnneval import gate
from rnneval.records import Finding, Gradients, Wiring
from rnneval.records.run import (
    ContextCurve,
    Exponent,
    GateSummary,
    ThroughTime,
    TokenByToken,
    VariableGradient,
    WiringSummary,
)
from rnneval.records.run import Warning as RunWarning
from rnneval.records.wiring import Flow, Slot, TestResult, WiredLayer
from rnneval.render.report import PageRecord
from tests.gates.synthetic import ar_losses, make_run

LOSSES = ar_losses(128)
_FAILED = TestResult(verdict="fail", largest_difference=1.1, tolerance=1e-4, detail="differ: 1.1")


def wrong_wiring(**changes):
    upper, lower = Slot(layer="gru_2", slot="h"), Slot(layer="gru", slot="h")
    return Wiring(
        **{
            "verdict": "fail",
            "reason": "shared-state",
            "layers": tuple(WiredLayer(name=n, path=n, kind="GRU", slots=("h",)) for n in ("gru", "gru_2")),
            "flow": (
                Flow(into=lower, source="initial", kind="initial", calls=(0,)),
                Flow(into=lower, source=lower, kind="carried", calls=(1, 2, 3)),
                Flow(into=upper, source=lower, kind="crossed", calls=(0, 1, 3)),
            ),
            "findings": (
                Finding(
                    rule="shared-state",
                    severity="error",
                    layer="gru_2",
                    source_layer="gru",
                    file="model.py",
                    line=18,
                    message="gru_2 starts from the state that gru made in the same call (gru_2.h ← gru.h). And so on.",
                    help="write `x, s2 = self.gru_2(x, initial_state=s2)`",
                ),
            ),
            "oracles": {
                "chunk": TestResult(verdict="fail", largest_difference=1.1, tolerance=1e-4, detail="differ: 1.1")
            },
            "declared": (),
            "calls": 4,
            "wired_by": "author",
            **changes,
        }
    )


def good_run(**changes):
    return make_run(LOSSES, checkpoint="models/good.keras", command=["rnneval", "evaluate", "a b.keras"], **changes)


def full_run(**changes):
    """A run whose inside was looked into, too."""
    gate = GateSummary(mean=0.2, saturated_low=0.64, saturated_high=0.08, time_constant=0.165, every=16)
    curve = ContextCurve(
        lengths=(1, 2, 5, 10, 100),
        nats=(2.65, 2.24, 1.86, 1.8078, 1.8034),
        extra_error=(0.08, 0.06, 0.02, 0.007, 0.0),
        whole=1.8034,
        anchors=256,
    )
    return msgspec.structs.replace(
        good_run(**changes),
        gates={"gru.update": gate, "gru.reset": gate},
        lyapunov={"gru": Exponent(value=-0.48, standard_error=0.002, steps=8000)},
        context=curve,
        warnings=(RunWarning(code="saturated-layer", message="gru.update: the gate is saturated"),),
    )


def worse_run(**changes):
    noise = 0.01 * np.random.default_rng(0).normal(size=LOSSES.size)
    return make_run(LOSSES + 0.1 + noise, checkpoint="models/worse.keras", **changes)


def gradients(run):
    course = ThroughTime(
        median=(1.0, 0.5, 0.005), low=(1.0, 0.4, 0.001), high=(1.0, 0.6, 0.01), base=0, decay=0.5, gone=2
    )
    return Gradients(
        rnneval="0.1.0",
        created="2026-01-01T00:00:00+00:00",
        command=("rnneval", "gradients"),
        signature=run.signature,
        checkpoint=run.checkpoint,
        text=run.text,
        truncation=100,
        segments=32,
        loss=1.5,
        variables={"gru.kernel": VariableGradient(
            layer="gru", variable="kernel", norm_mean=0.5, norm_max=0.75, norm_of_mean=0.125, weight_norm=8.0
        )},
        anchors=64,
        lags=2,
        through_time={"gru.h": course},
        findings=(Finding(rule="vanishing-gradients", severity="warning", message="gone after 2", help=""),),
        warnings=(),
    )  # fmt: skip


def three_models():
    """The records of the demo: a stack that is wired wrong, a right one, one layer, and the gate of the last two."""
    wrong = wrong_wiring(reason="shared-state, crossed-state, future-leak, chunk-variance")
    (first,) = wrong.findings
    said = f"{first.message} {'A sentence on what follows from it for the text that is to be predicted. ' * 3}"
    findings = [
        msgspec.structs.replace(first, rule=rule, line=line, message=said)
        for line, rule in enumerate(wrong.reason.split(", "))
    ]
    wrong = msgspec.structs.replace(wrong, findings=tuple(findings))
    right = wrong_wiring(verdict="pass", reason="the states are carried", findings=())
    runs = {
        "wrong-stack": msgspec.structs.replace(
            make_run(LOSSES - 0.5, checkpoint="out/wrong-stack.weights.h5", valid=False),
            wiring=WiringSummary(verdict="fail", reason=wrong.reason, findings=wrong.findings),
            token_by_token=TokenByToken(segment=1, total_nats=9.0 * 128 * 255),
        ),
        "right-stack": make_run(LOSSES, checkpoint="out/right-stack.weights.h5"),
        "one-layer": make_run(LOSSES + 0.1, checkpoint="out/one-layer.weights.h5"),
    }
    named = [
        PageRecord(name=f"{model}.{kind}.json", record=record)
        for model, run in runs.items()
        for kind, record in (("wiring", wrong if model == "wrong-stack" else right), ("run", run))
    ]
    allow = {"perplexity": "+1%", "accuracy": "0.01"}
    verdict = gate(runs["right-stack"], baseline=runs["one-layer"], allow=allow)
    inside = [PageRecord(name="right-stack.gradients.json", record=gradients(runs["right-stack"]))]
    return [*named, *inside, PageRecord(name="gate.json", record=verdict)]


def given(**records):
    return [PageRecord(name=f"{name}.json", record=record) for name, record in records.items()]


def all_kinds():
    good, worse = good_run(), worse_run()
    warned = msgspec.structs.replace(good, warnings=(RunWarning(code="lossy", message="no round trip"),))
    return given(
        wiring=wrong_wiring(), good=warned, worse=worse, gate=gate(worse, baseline=good), gradients=gradients(good)
    )


RUN = full_run(vocabulary="v")
OWN_WORDS = ("blocks", "severity", "slots", "verdict", "wired_by")
"""Fields whose values are words of this package, or numbers by such words."""


def planted(value, text):
    """Put a text into every place of a record that holds one, also into names."""
    if isinstance(value, str):
        return text
    if isinstance(value, tuple):
        return tuple(planted(each, text) for each in value)
    if isinstance(value, dict):
        return dict.fromkeys([text], planted(next(iter(value.values())), text)) if value else value
    if isinstance(value, msgspec.Struct):
        fields = {name: getattr(value, name) for name in value.__struct_fields__}
        return msgspec.structs.replace(
            value, **{k: v if k in OWN_WORDS else planted(v, text) for k, v in fields.items()}
        )
    return value


def run_with(text):
    return msgspec.structs.replace(planted(RUN, text), signature=f"tok:{text}")


def wiring_with(text):
    return planted(wrong_wiring(), text)
