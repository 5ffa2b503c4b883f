"""Show that each canary fires once, with an old release or with the plain call that a rule forbids.

    python -m venv old && old/bin/pip install 'tensorflow-cpu==2.18.*' 'keras==3.8.0' 'tf_keras==2.18.*' google-crc32c
    python -m tests.hostile.show_canaries old/bin/python [NAME …]

Writes docs/hostile.json, which docs/security.md shows. Each case is built and fired in a process of its own.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.hostile.corpus import Case, all_cases

ROOT = Path(__file__).resolve().parents[2]
VERSIONS = "import keras, tensorflow, h5py, numpy; print(keras.__version__, tensorflow.__version__, h5py.__version__)"


def main() -> None:
    """Fire every case and write the table."""
    python = sys.argv[1]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    versions = subprocess.run([python, "-c", VERSIONS], capture_output=True, text=True, env=environment, check=True)
    named = dict(zip(("keras", "tensorflow", "h5py"), versions.stdout.split(), strict=True))
    out = ROOT / "docs" / "hostile.json"
    before = {found["name"]: found for found in json.loads(out.read_text())["cases"]} if sys.argv[2:] else {}
    rows = [
        before[name] if sys.argv[2:] and name not in sys.argv[2:] else row(case, python, environment)
        for name, case in all_cases().items()
    ]
    out.write_text(json.dumps({"versions": named, "cases": rows}, indent=1, ensure_ascii=False) + "\n")
    silent = [found["name"] for found in rows if not found["fired"] and not found["why"]]
    sys.stdout.write(f"{sum(bool(found['fired']) for found in rows)} of {len(rows)} fired; unexplained: {silent}\n")


def row(case: Case, python: str, environment: dict[str, str]) -> dict[str, object]:
    """One line of the table."""
    why = case.fires.partition("none: ")[2]
    fired, said = "", ""
    if not why:
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [python, "-m", "tests.hostile.fire", case.name, folder],
                capture_output=True, text=True, env=environment, cwd=folder, timeout=300, check=False,
            )  # fmt: skip
        try:
            fired, said = json.loads(done.stdout.splitlines()[-1]).values()
        except (IndexError, ValueError):
            fired = f"the process died ({done.returncode})" if done.returncode < 0 else ""
            said = done.stderr[-300:]
    sys.stdout.write(f"{case.name}: {fired or why or 'SILENT ' + said}\n")
    sys.stdout.flush()
    return {
        "name": case.name, "about": case.about, "rule": case.rule, "routes": list(case.routes),
        "by": "" if why else case.fires, "fired": fired, "why": why,
    }  # fmt: skip


if __name__ == "__main__":
    main()
