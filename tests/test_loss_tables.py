"""Tables of losses as files: the hash in a record is that of the bytes that were read."""

import hashlib

import pandas as pd
import pytest

from rnneval.records import losses

COLUMNS = {"token": [1, 2], "byte_start": [1, 2], "byte_end": [2, 3], "nats": [0.5, 0.25]}
WRITERS = {
    "parquet": lambda frame, path: frame.to_parquet(path),
    "csv": lambda frame, path: frame.to_csv(path, index=False),
}


@pytest.mark.parametrize("ending", WRITERS)
def test_the_hash_is_of_the_bytes_that_were_read(ending, tmp_path, monkeypatch):
    path, other = tmp_path / f"losses.{ending}", tmp_path / f"other.{ending}"
    WRITERS[ending](pd.DataFrame(COLUMNS), path)
    WRITERS[ending](pd.DataFrame(COLUMNS | {"nats": [7.0, 7.0]}), other)
    raw, arrays_of = path.read_bytes(), losses._arrays

    def exchanged(*given):
        """Another program writes the file anew once it was read."""
        other.replace(path)
        return arrays_of(*given)

    monkeypatch.setattr(losses, "_arrays", exchanged)
    table = losses.read_losses(path)
    assert table.nats.tolist() == [0.5, 0.25]
    assert path.read_bytes() != raw
    assert table.sha256 == hashlib.sha256(raw).hexdigest()
