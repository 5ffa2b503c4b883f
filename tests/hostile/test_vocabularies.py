"""Vocabularies that grow: refused by what is counted before anything is parsed."""

import json
import os
import subprocess
import sys

import pytest

from tests.hostile.cost import ROOT

_CHILD = """
import json, resource, sys
from rnneval.errors import VocabularyError
from rnneval.text import Vocabulary
try:
    vocabulary = Vocabulary.from_file(sys.argv[1])
    said = f"{len(vocabulary.ids):,} {vocabulary.sha256}"
except VocabularyError as error:
    said = str(error)
used = resource.getrusage(resource.RUSAGE_SELF)
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([said, used.ru_utime + used.ru_stime, int(peak.split()[1]) / 1024]))
"""


def read(path):
    """Read in a process of its own, within 10 processor seconds and a gigabyte; give what was said."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", _CHILD, path], capture_output=True, text=True, check=True, timeout=120,
        env={**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", str(ROOT))},
    )  # fmt: skip
    said, seconds, mb = json.loads(done.stdout)
    assert seconds < 10, (said[:200], seconds)
    assert mb < 1000, (said[:200], mb)
    return said


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("name", "unit", "said"),
    [
        ("v.txt", "aaaaaaaa\n", "7,000,000 lines, a vocabulary has at most 1,048,576: give the one of the model"),
        ("v.txt", "{number}\n", "7,000,000 lines, a vocabulary has at most 1,048,576"),
        ("v.json", '"a",', "14,000,000 quotation marks, a vocabulary has at most 8,388,608"),
        ("v.json", "[],", "7,000,001 lists and objects, a vocabulary has at most 2,097,152"),
        ("v.json", "300,", "has the token 300 of type int: tokens are strings"),
        ("v.json", "1.5,", "has the token 1.5 of type float: tokens are strings"),
    ],
)
def test_seven_million_tokens(tmp_path, name, unit, said):
    """Before: 40 s and 1.4 GB for 60 MB of lines."""
    text = "".join(unit.format(number=number) for number in range(7_000_000)) if "{" in unit else unit * 7_000_000
    (tmp_path / name).write_text(text if name == "v.txt" else f"[{text}1]")
    assert said in read(tmp_path / name)
