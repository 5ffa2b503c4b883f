"""Show what gate_calibration.py wrote: Markdown tables for docs/statistics.md, and the power curve as an SVG file.

python benchmarks/gate_tables.py calibration.json [--figure docs/_static/gate-power.svg]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

SHOWN = ("-1.0", "0.0", "0.5", "1.0", "1.5", "2.0", "3.0")
CURVES = {
    "12 pieces of 2,048": "12 pieces of 2,048 (25 kB)",
    "48 pieces of 2,048": "48 pieces of 2,048 (98 kB)",
    "100k, AR(20), 8 batches": "100 kB, no drift",
}


def cell(rates: Mapping[str, float]) -> str:
    return " / ".join(f"{rates[name]:.1f}" for name in ("false_fail", "false_pass", "two_sided"))


def calibration(table: Mapping[str, dict]) -> Iterator[str]:
    yield "| Text | the gate | t-test on tokens |"
    yield "| --- | ---: | ---: |"
    for name, found in table.items():
        note = " (below the floor: refused)" if found.get("below_the_floor") else ""
        tokens = cell(found["tokens"]) if "tokens" in found else ""
        yield f"| {name}{note} | {cell(found['gate'])} | {tokens} |"


def verdicts(table: Mapping[str, dict]) -> Iterator[str]:
    yield f"| Text | SE / allowed | {' | '.join(f'{float(each):g}' for each in SHOWN)} |"
    yield f"| --- | ---: | {' | '.join('---:' for _ in SHOWN)} |"
    for name, found in table.items():
        cells = (f"{found['rates'][each]['fail']:.1f} / {found['rates'][each]['pass']:.1f}" for each in SHOWN)
        note = " (below the floor)" if found["below_the_floor"] else ""
        yield f"| {name}{note} | {found['se_over_allowed']:.2f} | {' | '.join(cells)} |"


def draw(table: Mapping[str, dict], path: Path) -> None:
    """Draw the rates of fail and pass against the true difference."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "rnneval", "font.size": 9})
    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    for number, (name, label) in enumerate(CURVES.items()):
        rates = table[name]["rates"]
        x = [float(each) for each in rates]
        colour = f"C{number}"
        axes.plot(x, [rates[each]["fail"] for each in rates], color=colour, marker=".", label=label)
        axes.plot(x, [rates[each]["pass"] for each in rates], color=colour, marker=".", linestyle=":")
    axes.axvline(1, color="0.6", linewidth=0.8)
    axes.axhline(5, color="0.6", linewidth=0.8)
    axes.set_xlabel("true difference, in units of what is allowed")
    axes.set_ylabel("% of texts: fail (line), pass (dots)")
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("calibration", type=Path)
    parser.add_argument("--figure", type=Path)
    arguments = parser.parse_args()
    found = json.loads(arguments.calibration.read_text())
    for name, table in found.items():
        print(f"\n{name}\n")
        print("\n".join((verdicts if name == "verdicts" else calibration)(table)))
    if arguments.figure:
        draw(found["verdicts"], arguments.figure)


if __name__ == "__main__":
    main()
