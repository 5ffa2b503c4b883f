"""Files that Keras 2 itself writes, in a process of its own: `pip install tf_keras`, `pytest -m keras2`.

The default run has files of the same form made by hand (`by_hand`), so that it needs no Keras 2.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkpoints.comparing import assert_opens_with_the_writers_logits
from tests.checkpoints.writing import KERAS_2

pytestmark = pytest.mark.keras2


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """Every file, written once."""
    if importlib.util.find_spec("tf_keras") is None:
        pytest.skip("tf_keras is not installed: pip install tf_keras")
    folder = tmp_path_factory.mktemp("keras2")
    ran = subprocess.run(
        [sys.executable, Path(__file__).with_name("writing.py"), folder], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    return folder


@pytest.mark.parametrize(("name", "form"), KERAS_2)
def test_opens_with_the_writers_logits(written, name, form):
    assert_opens_with_the_writers_logits(written, name, form)
