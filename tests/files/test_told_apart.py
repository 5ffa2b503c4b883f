"""What is locked by another process, or an address, is told apart from a damaged file."""

import subprocess
import sys

import pytest

from rnneval.errors import CheckpointError
from tests.files.identified import identify


def rule_of(path):
    with pytest.raises(CheckpointError) as caught:
        identify(path)
    assert f"refused by rule {caught.value.rule}: " in str(caught.value)
    return caught.value.rule


def test_locked_by_a_process_that_writes(tmp_path):
    path = tmp_path / "m.weights.h5"
    holds = f"import h5py, sys; f = h5py.File({str(path)!r}, 'w'); f['a'] = [1.0]; print('open', flush=True); input()"
    other = subprocess.Popen([sys.executable, "-c", holds], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "open\n"
    try:
        assert rule_of(path) == "locked-file"
    finally:
        other.communicate("\n")
    assert identify(path).format == "weights-h5"


@pytest.mark.parametrize("address", ["https://example.org/m.keras", "gs://bucket/m.keras", "hf://a/b"])
def test_addresses(refused, address):
    assert refused("open", address).partition(": refused by rule ")[2].startswith("remote-path: an address (")
