"""Damaged files of every kind: refused in one line, or another whole value; never another error, a hang or code run."""

import io
import json
import random
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rnneval
from rnneval.errors import RnnevalError
from rnneval.records import encode, read, read_table
from rnneval.text import Vocabulary
from tests.gates.synthetic import ar_losses, make_run

EACH = 25


def damaged(raw: bytes, draw: random.Random) -> bytes:
    """Cut short, with a bit flipped, bytes zeroed, left out or doubled; of JSON one value may be another."""
    at, size = draw.randrange(len(raw)), draw.choice([1, 16, 256])
    ways = [
        raw[:at],
        raw[:at] + bytes([raw[at] ^ 1 << draw.randrange(8)]) + raw[at + 1 :],
        raw[:at] + bytes(len(raw[at : at + size])) + raw[at + size :],
        raw[:at] + raw[at + size :],
        raw[: at + size] + raw[at:],
    ]
    if raw[:1] in (b"{", b"["):
        ways += [edited(raw, draw)] * 5
    return draw.choice(ways)


def edited(raw: bytes, draw: random.Random) -> bytes:
    """Put something else into one place of a JSON text."""
    whole = json.loads(raw)
    holder = whole
    while True:
        key = draw.choice(sorted(holder) if isinstance(holder, dict) else range(len(holder)))
        if not isinstance(holder[key], dict | list) or not holder[key] or draw.random() < 0.2:
            break
        holder = holder[key]
    holder[key] = draw.choice([None, True, -1, 0, 1e308, 10**30, "", "\x1b[31m\u202e", [], {}, "x" * 10_000])
    return json.dumps(whole).encode()


def parquet(columns: dict, schema: str) -> bytes:
    table, held = pa.table(columns).replace_schema_metadata({"rnneval.schema": schema}), io.BytesIO()
    pq.write_table(table, held, write_page_checksum=True)
    return held.getvalue()


def array(tokens: list[str]) -> bytes:
    held = io.BytesIO()
    np.save(held, np.array(tokens))
    return held.getvalue()


LETTERS = list("\n abcdefgh")
COUNT = np.arange(400)
LOSSES = {"token": COUNT, "document": COUNT // 200, "byte_start": COUNT, "byte_end": COUNT + 1, "id": COUNT % 9}
SUBJECTS = {
    "r.json": (encode(make_run(ar_losses(24))).encode(), read),
    "t.parquet": (
        parquet({**LOSSES, "nats": COUNT * 0.1}, "rnneval.losses/1"),
        lambda path: read_table(path).to_pydict(),
    ),
    "v.json": (json.dumps({token: at for at, token in enumerate(LETTERS)}).encode(), Vocabulary.from_file),
    "v.txt": (b"\\n\n \na\nb\nc\nd\ne\nf\ng\nh\n", Vocabulary.from_file),
    "v.npy": (array(LETTERS), Vocabulary.from_file),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", SUBJECTS)
def test_a_damaged_file_is_refused_or_another_whole_one(tmp_path, name):
    (raw, opened), path, said = SUBJECTS[name], tmp_path / name, []
    for seed in range(EACH):
        path.write_bytes(damaged(raw, random.Random(f"{name} {seed}")))  # noqa: S311 - repeatable, no secret
        try:
            opened(path)
        except RnnevalError as error:
            said.append(str(error))
    assert all(map(str.isprintable, said))
    assert said


CHECKPOINTS = {"flat.keras": "", "flat.h5": "", "flat.weights.h5": "flat", "flat_ckpt": "flat"}


@pytest.mark.parametrize(
    ("seeds", "refusals"), [(range(2), 0), pytest.param(range(2, 40), 9, marks=pytest.mark.grid)], ids=["few", "many"]
)
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_damaged_checkpoint_is_refused_or_another_whole_model(shelf, tmp_path, name, seeds, refusals):
    builder = f"{shelf / 'model.py'}:{CHECKPOINTS[name]}" if CHECKPOINTS[name] else None
    said = []
    for seed in seeds:
        draw = random.Random(f"{name} {seed}")  # noqa: S311 - repeatable, no secret
        folder = tmp_path / str(seed)
        folder.mkdir()
        place = (shutil.copytree if (shelf / name).is_dir() else shutil.copy)(shelf / name, folder / name)
        file = draw.choice(sorted(place.glob("c-*"))) if place.is_dir() else place
        file.write_bytes(damaged(file.read_bytes(), draw))
        before = sorted(folder.rglob("*"))
        try:
            lm = rnneval.open(place, builder=builder, vocabulary=shelf / "vocab.json")
            logits, _ = lm.step(np.array([[1, 2, 3]], np.int32), lm.initial_state(1))
            assert np.isfinite(np.asarray(logits)).all()
        except RnnevalError as error:
            said.append(str(error))
        assert sorted(folder.rglob("*")) == before
    assert all(map(str.isprintable, said))
    assert len(said) >= refusals
