"""Small sources of figures whose numbers are known by hand."""

from pathlib import Path

import msgspec
import numpy as np
import pandas as pd

from rnneval.records import Gate, Gradients, Wiring, read
from rnneval.records.gate import Comparison
from rnneval.records.run import BesideReset, ContextCurve, HowFar, Score, StateSummary, ThroughTime
from rnneval.records.wiring import Finding, Flow, Slot, WiredLayer
from rnneval.render.figures import TidyTable
from tests.gates.synthetic import make_run

HOSTILE = "_a$x^2$b\n\x1b[2J</text><script>" + "long_" * 12


def run(losses=(1.0, 2.0, 3.0, 2.0), *, median=192.0, most=256.0, **changes):
    """A run of blocks of 256 bytes, with a context curve and a forgetting length."""
    streams = {
        "count": 8, "segment": 64, "kernel": "model", "passes": 1, "tokens_rerun": 0,
        "forgetting_length": {"median": median, "p95": most, "max": most},
    }  # fmt: skip
    return make_run(losses, **{"streams": streams} | changes)


def curve(nats=(2.6, 2.0, 1.805, 1.80), lengths=(1, 10, 100, 1000)):
    return ContextCurve(
        lengths=tuple(lengths), nats=tuple(nats), extra_error=(0.01,) * len(nats), whole=1.80, anchors=256
    )


def collapse(name):
    """A run whose carried state costs from 600 tokens on; the state of the layer is doubled in 1,000 tokens."""
    far = HowFar(
        verdict="collapses", helps_to=500, costs_from=1000, turns_at=Score(value=600, unit="tokens", low=500, high=700),
        trained_at=64, distance=(0, 500, 1000), end=1500, change=(-0.1, 0.0, 0.2), low=(-0.2, -0.1, 0.1),
        high=(-0.05, 0.1, 0.3), reset=(2.0, 2.0, 2.0),
    )  # fmt: skip
    state = StateSummary(
        norm_mean=2.0, norm_max=3.0, rms=0.5, mean=0.0, lowest=-1.0, highest=1.0, dead=0.0, speed=0.1, drift=1.0,
        growth=Score(value=2.0, unit="", low=1.9, high=2.1), norms=(1.0, None, 2.0, 2.8),
    )  # fmt: skip
    beside = BesideReset(segment=64, signature="", scores={}, how_far=far)
    return msgspec.structs.replace(run(), beside_reset=beside, states={f"{name}.h": state})


def wiring(source_of, verdict="fail", slots=("h",)):
    """`source_of` gives for each layer the layer whose state it gets."""
    flow = []
    for into, source in source_of.items():
        for slot in slots:
            flow.append(Flow(into=Slot(layer=into, slot=slot), source="initial", kind="initial", calls=(0,)))
            kind = "carried" if into == source else "crossed"
            came = Slot(layer=source, slot=slot)
            flow.append(Flow(into=Slot(layer=into, slot=slot), source=came, kind=kind, calls=(1, 2, 3)))
    layers = tuple(WiredLayer(name=name, path=name, kind="GRU", slots=slots) for name in source_of)
    wrong = [entry for entry in flow if entry.kind == "crossed"]
    findings = tuple(Finding(rule="crossed-state", severity="error", message="m", help="h") for _ in wrong)
    return Wiring(
        verdict=verdict, reason="", layers=layers, flow=tuple(flow), findings=findings, oracles={}, declared=(),
        calls=4, wired_by="author",
    )  # fmt: skip


def comparison(metric="perplexity", *, difference=0.02, half=0.004, allowed=0.01, verdict="fail", unit="nats a token"):
    return Comparison(
        metric=metric, baseline="base.json", candidate="new.json", unit=unit, difference=difference,
        low=difference - half, high=difference + half, allowed=allowed, verdict=verdict, reason="", method="t",
        about="these checkpoints",
    )  # fmt: skip


def gate(*comparisons, verdict="fail"):
    return Gate(verdict=verdict, reason="because", comparisons=comparisons, warnings=())


def gradients(decays, *, lags=60, truncation=40):
    """Slots whose gradient falls by a factor a token, exactly."""
    of = run()
    slots = {}
    for name, decay in decays.items():
        median = tuple(decay**k for k in range(lags + 1))
        below = [k for k, value in enumerate(median) if value < 0.01]
        slots[name] = ThroughTime(
            median=median, low=tuple(v / 2 for v in median), high=tuple(v * 2 for v in median), base=0, decay=decay,
            gone=below[0] if below else None, band=0.95,
        )  # fmt: skip
    return Gradients(
        rnneval="0", created="", command=(), signature="", checkpoint=of.checkpoint, text=of.text,
        truncation=truncation,
        segments=1, loss=1.0, variables={}, anchors=64, lags=lags, through_time=slots, findings=(), warnings=(),
    )  # fmt: skip


def trace(norms, *, stride=16):
    """A trace: norms a slot (`LAYER.SLOT`)."""
    rows = []
    for name, values in norms.items():
        layer, _, slot = name.rpartition(".")
        rows += [
            {"position": k * stride, "layer": layer, "slot": slot, "statistic": "norm", "value": float(value)}
            for k, value in enumerate(values)
        ]
    columns = ["position", "unit", "layer", "slot", "statistic", "value", "low", "high"]
    return TidyTable(schema="rnneval.trace/1", frame=pd.DataFrame(rows, columns=columns))


def history(norms, *, clip=None, bad=None):
    """A history: a norm a step and layer; clipped by the whole norm; not finite at `bad` = (step, layer)."""
    rows = []
    steps = len(next(iter(norms.values()))) if norms else 0
    whole = np.sqrt(sum(np.square(np.array(v, float)) for v in norms.values())) if norms else np.zeros(0)
    for k in range(steps):
        for layer, values in (*norms.items(), ("", whole)):
            row = {"step": k + 1, "layer": layer, "variable": ""}
            scale = min(1.0, clip / whole[k]) if clip and whole[k] > 0 else 1.0
            rows.append({**row, "statistic": "grad_norm", "value": float(values[k])})
            rows.append({**row, "statistic": "grad_norm_clipped", "value": float(values[k]) * scale})
    if bad is not None:
        row = {"step": bad[0], "variable": "", "statistic": "not_finite", "value": 3.0}
        rows += [{**row, "layer": layer} for layer in (bad[1], "")]
    return TidyTable(
        schema="rnneval.gradient-history/1",
        frame=pd.DataFrame(rows, columns=["step", "layer", "variable", "statistic", "value"]),
    )


def state_history(perplexities, states, *, epochs=None, kept=False, metadata=None):
    """A history: perplexities by epoch, and the mean norm of each state; its largest norm is twice the mean.

    Older histories left out what is not finite; `kept` keeps it.
    """
    rows = []
    for k, perplexity in enumerate(perplexities):
        of_epoch = {"epoch": k + 1 if epochs is None else epochs[k]}
        rows.append({**of_epoch, "layer": "", "variable": "", "statistic": "perplexity", "value": perplexity})
        for name, norms in states.items():
            layer, _, slot = name.rpartition(".")
            for statistic, scale in (("norm_mean", 1.0), ("norm_max", 2.0)):
                row = {"layer": layer, "variable": slot, "statistic": statistic, "value": scale * norms[k]}
                rows.append({**of_epoch, **row})
    frame = pd.DataFrame(rows, columns=["epoch", "layer", "variable", "statistic", "value"])
    return TidyTable(schema="rnneval.state-history/1", frame=frame if kept else frame.dropna(), metadata=metadata or {})


def losses(text, bits, *, first=1):
    """Losses of a text of one token a character, in bits; the first `first` characters have none."""
    ends = np.cumsum([len(character.encode()) for character in text])
    starts = np.concatenate([[0], ends[:-1]])
    kept = slice(first, None)
    frame = pd.DataFrame(
        {
            "token": np.arange(len(text))[kept],
            "document": 0,
            "byte_start": starts[kept],
            "byte_end": ends[kept],
            "id": 0,
            "nats": np.broadcast_to(np.asarray(bits, float), len(text) - first) * np.log(2),
        }
    )
    return TidyTable(schema="rnneval.losses/1", frame=frame, text=text)


def sweep(runs, *, across="epoch", failed=0, name="bits_per_char"):
    """The table of a sweep: for each run, scores at 1, 2, 3 …, with an interval of ± 0.1; and some that failed."""
    rows = [
        {
            "path": f"{run}/ckpt_{at}.keras", "run": run, "epoch": None, "step": None, "status": "ok", across: at,
            name: score, f"{name}_low": score - 0.1, f"{name}_high": score + 0.1,
        }
        for run, scores in runs.items()
        for at, score in enumerate(scores, start=1)
    ]  # fmt: skip
    rows += [{"path": f"bad_{k}.h5", "run": "", "epoch": None, "step": None, "status": "failed"} for k in range(failed)]
    return TidyTable(schema="rnneval.sweep/1", frame=pd.DataFrame(rows))


def parity(name):
    """The candidate of the guide under another name."""
    record = read(Path(__file__).resolve().parents[3] / "docs" / "records" / "parity.json")
    checkpoint = msgspec.structs.replace(record.candidate.checkpoint, path="", name=name)
    return msgspec.structs.replace(record, candidate=msgspec.structs.replace(record.candidate, checkpoint=checkpoint))
