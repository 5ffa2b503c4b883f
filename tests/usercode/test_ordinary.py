"""Ordinary training scripts and notebooks, in short forms: they open as they are, or with the hint of the message."""

# ruff: noqa: E501 - the scripts are as their authors write them

import pytest

from rnneval.checkpoints.usercode import Builder, parse_arguments, plan
from rnneval.errors import CheckpointError
from tests.usercode.tutorial import NOTEBOOK, SCRIPT, notebook

S = {"tutorial.py": ("MyModel", SCRIPT), "tutorial.ipynb": ("model", NOTEBOOK)}
S["char_rnn_keras.py"] = (
    "model",
    """
import keras, numpy as np, random, io, sys
from keras import layers
path = keras.utils.get_file("nietzsche.txt", origin="https://s3.amazonaws.com/text-datasets/nietzsche.txt")
with io.open(path, encoding="utf-8") as f:
    text = f.read().lower()
text = text.replace("\\n", " ")
print("Corpus length:", len(text))
chars = sorted(list(set(text)))
print("Total chars:", len(chars))
char_indices = dict((c, i) for i, c in enumerate(chars))
indices_char = dict((i, c) for i, c in enumerate(chars))
maxlen = 40
step = 3
sentences = []
next_chars = []
for i in range(0, len(text) - maxlen, step):
    sentences.append(text[i : i + maxlen])
    next_chars.append(text[i + maxlen])
x = np.zeros((len(sentences), maxlen, len(chars)), dtype="bool")
y = np.zeros((len(sentences), len(chars)), dtype="bool")
for i, sentence in enumerate(sentences):
    for t, char in enumerate(sentence):
        x[i, t, char_indices[char]] = 1
    y[i, char_indices[next_chars[i]]] = 1
model = keras.Sequential([keras.Input(shape=(maxlen, len(chars))), layers.LSTM(128), layers.Dense(len(chars), activation="softmax")])
optimizer = keras.optimizers.RMSprop(learning_rate=0.01)
model.compile(loss="categorical_crossentropy", optimizer=optimizer)
def sample(preds, temperature=1.0):
    preds = np.asarray(preds).astype("float64")
    return np.argmax(np.random.multinomial(1, preds, 1))
epochs = 40
for epoch in range(epochs):
    model.fit(x, y, batch_size=128, epochs=1)
    model.save("m.keras")
""",
)
S["argparse_top.py"] = (
    "model",
    """
import argparse
import tensorflow as tf
parser = argparse.ArgumentParser(description="train a char rnn")
parser.add_argument("--units", type=int, default=64)
parser.add_argument("--embedding", type=int, default=16, help="size")
parser.add_argument("--data", default="input.txt")
parser.add_argument("--cell", choices=["gru", "lstm"], default="gru")
args = parser.parse_args()
text = open(args.data, "rb").read().decode("utf-8")
vocab = sorted(set(text))
Cell = {"gru": tf.keras.layers.GRU, "lstm": tf.keras.layers.LSTM}[args.cell]
model = tf.keras.Sequential([tf.keras.layers.Embedding(len(vocab), args.embedding), Cell(args.units, return_sequences=True), tf.keras.layers.Dense(len(vocab))])
model.compile("adam", tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
ckpt = tf.keras.callbacks.ModelCheckpoint("ck/{epoch}.weights.h5", save_weights_only=True)
history = model.fit(text, callbacks=[ckpt])
""",
)
S["wandb_config.py"] = (
    "make_model",
    """
import keras, wandb
from wandb.integration.keras import WandbMetricsLogger
run = wandb.init(project="char", config={"units": 32, "embed": 8, "vocab": 20})
config = wandb.config
def make_model():
    return keras.Sequential([keras.layers.Embedding(config.vocab, config.embed), keras.layers.GRU(config.units, return_sequences=True), keras.layers.Dense(config.vocab)])
model = make_model()
model.compile("adam", "sparse_categorical_crossentropy")
model.fit([1], callbacks=[WandbMetricsLogger()])
wandb.finish()
""",
)
S["dataclass_config.py"] = (
    "model",
    """
from __future__ import annotations
from dataclasses import dataclass, field, replace
import keras
from keras import layers
@dataclass(frozen=True)
class Config:
    vocab: int = 30
    units: list[int] = field(default_factory=lambda: [16, 16])
    dropout: float = 0.1
    @property
    def depth(self) -> int: return len(self.units)
config = replace(Config(), dropout=0.0)
def build(c: Config):
    x = inp = keras.Input((None,), dtype="int32")
    x = layers.Embedding(c.vocab, 8)(x)
    for i, u in enumerate(c.units):
        x = layers.LSTM(u, return_sequences=True, name=f"lstm{i}")(x)
        x = layers.Dropout(c.dropout)(x)
    return keras.Model(inp, layers.Dense(c.vocab)(x))
model = build(config)
model.summary()
model.compile(keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
model.fit([1])
""",
)
S["hydra_dict.py"] = (
    "model",
    """
import json, os, keras
DEFAULTS = {"model": {"units": 32, "layers": 2}, "data": {"path": "input.txt"}}
def merge(a, b):
    out = dict(a)
    for k, v in b.items():
        out[k] = merge(out[k], v) if isinstance(v, dict) else v
    return out
with open("config.json") as f:
    cfg = merge(DEFAULTS, json.load(f))
class AttrDict(dict):
    __getattr__ = dict.__getitem__
cfg = AttrDict({k: AttrDict(v) for k, v in cfg.items()})
with open(cfg.data.path, encoding="utf-8") as f:
    text = f.read()
chars = sorted(set(text))
model = keras.Sequential()
model.add(keras.layers.Embedding(len(chars), 16))
for _ in range(cfg.model.layers):
    model.add(keras.layers.GRU(cfg.model.units, return_sequences=True))
model.add(keras.layers.Dense(len(chars)))
os.makedirs("out", exist_ok=True)
model.compile("adam")
model.fit(1)
json.dump(dict(cfg), open("out/cfg.json", "w"))
""",
)
S["stringlookup.ipynb"] = (
    "build_model",
    notebook(
        "%pip install -q tensorflow\nimport tensorflow as tf\nfrom tensorflow import keras",
        "!wget http://x/y.txt\ntext = open('input.txt').read()\nids_from_chars = keras.layers.StringLookup(vocabulary=sorted(set(text)), mask_token=None)\nchars_from_ids = keras.layers.StringLookup(vocabulary=ids_from_chars.get_vocabulary(), invert=True, mask_token=None)",
        "%%time\nall_ids = ids_from_chars(tf.strings.unicode_split(text, 'UTF-8'))\nds = tf.data.Dataset.from_tensor_slices(all_ids).batch(101, drop_remainder=True)",
        "def build_model(units=32):\n    return keras.Sequential([keras.layers.Embedding(len(ids_from_chars.get_vocabulary()), 8), keras.layers.GRU(units, return_sequences=True), keras.layers.Dense(len(ids_from_chars.get_vocabulary()))])",
        "model = build_model()\nmodel.compile('adam', keras.losses.SparseCategoricalCrossentropy(from_logits=True))\nmodel.fit(ds, epochs=3)\nmodel.save_weights('w.weights.h5')",
    ),
)
S["tokenizer.py"] = (
    "model",
    """
import numpy as np
from tensorflow.keras.preprocessing.text import Tokenizer
from tensorflow.keras.preprocessing.sequence import pad_sequences
from tensorflow.keras.utils import to_categorical
from tensorflow.keras.models import Sequential
from tensorflow.keras.layers import Embedding, LSTM, Dense
data = open("input.txt").read()
corpus = data.lower().split("\\n")
tokenizer = Tokenizer()
tokenizer.fit_on_texts(corpus)
total_words = len(tokenizer.word_index) + 1
input_sequences = []
for line in corpus:
    token_list = tokenizer.texts_to_sequences([line])[0]
    for i in range(1, len(token_list)):
        input_sequences.append(token_list[:i + 1])
max_sequence_len = max([len(x) for x in input_sequences])
input_sequences = np.array(pad_sequences(input_sequences, maxlen=max_sequence_len, padding="pre"))
predictors, label = input_sequences[:, :-1], input_sequences[:, -1]
label = to_categorical(label, num_classes=total_words)
model = Sequential()
model.add(Embedding(total_words, 10))
model.add(LSTM(16))
model.add(Dense(total_words, activation="softmax"))
model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
history = model.fit(predictors, label, epochs=100, verbose=1)
import matplotlib.pyplot as plt
plt.plot(history.history["accuracy"])
plt.show()
""",
)
S["strategy.py"] = (
    "model",
    """
import tensorflow as tf, os, logging
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
tf.get_logger().setLevel("ERROR")
logger = logging.getLogger(__name__)
gpus = tf.config.list_physical_devices("GPU")
for g in gpus:
    tf.config.experimental.set_memory_growth(g, True)
tf.random.set_seed(1)
strategy = tf.distribute.MirroredStrategy() if len(gpus) > 1 else tf.distribute.get_strategy()
print("replicas", strategy.num_replicas_in_sync)
with strategy.scope():
    model = tf.keras.Sequential([tf.keras.layers.Embedding(30, 8), tf.keras.layers.GRU(16, return_sequences=True), tf.keras.layers.Dense(30)])
    model.compile("adam", "mse")
model.fit(1)
""",
)
S["textvec.py"] = (
    "model",
    """
import tensorflow as tf, pathlib, re, string
DATA = pathlib.Path("input.txt")
lines = DATA.read_text(encoding="utf-8").splitlines()
@tf.keras.utils.register_keras_serializable()
def clean(s):
    s = tf.strings.lower(s)
    return tf.strings.regex_replace(s, "[%s]" % re.escape(string.punctuation), "")
vec = tf.keras.layers.TextVectorization(standardize=clean, split="character")
vec.adapt(tf.data.Dataset.from_tensor_slices(lines).batch(16))
V = vec.vocabulary_size()
train_ds = tf.data.Dataset.from_tensor_slices(lines).batch(4).map(vec, num_parallel_calls=tf.data.AUTOTUNE).cache().prefetch(tf.data.AUTOTUNE)
model = tf.keras.Sequential([tf.keras.layers.Embedding(V, 8), tf.keras.layers.SimpleRNN(16, return_sequences=True), tf.keras.layers.Dense(V)])
model.compile("adam")
model.fit(train_ds)
""",
)
S["torch_step.py"] = (
    "make",
    """
import torch, torch.nn as nn, math, time, os
from torch.nn import functional as F
device = "cuda" if torch.cuda.is_available() else "cpu"
torch.manual_seed(1337)
with open("input.txt", "r", encoding="utf-8") as f:
    text = f.read()
chars = sorted(list(set(text)))
vocab_size = len(chars)
stoi = {ch: i for i, ch in enumerate(chars)}
encode = lambda s: [stoi[c] for c in s]
data = torch.tensor(encode(text), dtype=torch.long)
n = int(0.9 * len(data))
train_data, val_data = data[:n], data[n:]
class CharRNN(nn.Module):
    def __init__(self, v, h):
        super().__init__()
        self.e = nn.Embedding(v, h); self.r = nn.GRU(h, h, batch_first=True); self.o = nn.Linear(h, v)
    def forward(self, x, s=None):
        y, s = self.r(self.e(x), s)
        return self.o(y), s
model = CharRNN(vocab_size, 16).to(device)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
for it in range(100):
    loss = F.cross_entropy(model(data)[0], data)
    optimizer.zero_grad(); loss.backward(); optimizer.step()
torch.save(model.state_dict(), "ckpt.pt")
def make():
    net = CharRNN(vocab_size, 16)
    return lambda ids, s: net(torch.as_tensor(ids), s)
""",
)
S["neighbours.py"] = (
    "model",
    """
import sys, os
sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from data_utils import load, VOCAB
from nets import CharModel
text = load("input.txt")
model = CharModel(len(VOCAB) or len(set(text)), units=16)
model.compile("adam")
model.fit(text)
""",
)
S["pickle_vocab.py"] = (
    "model",
    """
import pickle, keras
with open("vocab.pkl", "rb") as f:
    char2idx = pickle.load(f)
vocab_size = len(char2idx)
model = keras.Sequential([keras.layers.Embedding(vocab_size, 8), keras.layers.GRU(16, return_sequences=True), keras.layers.Dense(vocab_size)])
model.compile("adam"); model.fit(1)
""",
)
S["globals.ipynb"] = (
    "RNN",
    notebook(
        "import numpy as np\nimport keras\nfrom keras import layers as L\nimport matplotlib.pyplot as plt\n%matplotlib inline",
        "from google.colab import drive\ndrive.mount('/content/drive')\nfile = '/content/drive/MyDrive/input.txt'",
        "UNITS = 16\nEMB = 8\nwith open('input.txt') as fh:\n    raw = fh.read()\nvocab = sorted(set(raw))\nVOCAB = len(vocab)\nassert VOCAB > 3",
        "class RNN(keras.Model):\n    def __init__(self):\n        super().__init__()\n        self.e = L.Embedding(VOCAB, EMB)\n        self.r = L.LSTM(UNITS, return_sequences=True, return_state=True)\n        self.d = L.Dense(VOCAB)\n    def call(self, x, states=None, return_state=False, training=False):\n        x, h, c = self.r(self.e(x), initial_state=states, training=training)\n        return (self.d(x), [h, c]) if return_state else self.d(x)",
        "m = RNN()\nm.compile('adam', keras.losses.SparseCategoricalCrossentropy(from_logits=True))\nh = m.fit(np.zeros((1, 2)), np.zeros((1, 2)))\nplt.plot(h.history['loss'])",
    ),
)

NEIGHBOURS = {
    "data_utils.py": "import os\nVOCAB = sorted('abc')\nos.makedirs('cache', exist_ok=True)\ndef load(path):\n    with open(path) as f:\n        return f.read()\n",
    "nets.py": "import keras\nclass CharModel(keras.Model):\n    def __init__(self, v, units): pass\nif __name__ == '__main__':\n    CharModel(3, 4).fit(1)\n",
}
# What the message asks for, and the value that the user gives.
HINTS = {
    "wandb_config.py": ("builder_globals={'config': VALUE}", "config={'vocab': 20, 'embed': 8, 'units': 16}"),
    "pickle_vocab.py": ("builder_globals={'vocab_size': VALUE}", "vocab_size=30"),
}


@pytest.mark.parametrize("file", S)
def test_ordinary_code_may_run_untouched_or_with_the_hint(user, monkeypatch, file):
    name, code = S[file]
    (user.folder / "lib").mkdir()
    for neighbour, text in NEIGHBOURS.items():
        (user.folder / "lib" / neighbour).write_text(text)
    cache = user.folder / "keras" / "datasets"
    cache.mkdir(parents=True)
    monkeypatch.setenv("KERAS_HOME", str(cache.parent))
    for text in ("nietzsche.txt", "shakespeare.txt"):
        (cache / text).write_text("to be")
    (user.folder / file).write_text(code, encoding="utf-8")
    given = {}
    if file in HINTS:
        hint, value = HINTS[file]
        with pytest.raises(CheckpointError) as caught:
            plan(f"{file}:{name}")
        assert hint in str(caught.value)
        given = parse_arguments([value], "--builder-global")
    lines = plan(f"{file}:{name}", given).shown_lines()
    assert lines
    assert "cache" not in {path.name for path in user.folder.iterdir()}


def test_a_script_with_settings_and_a_vocabulary_runs(user):
    """No framework is needed for this one: the value is compared with that of the whole script."""
    code = S["hydra_dict.py"][1].split("model = keras")[0].replace(", keras", "")
    (user.folder / "config.json").write_text('{"model": {"units": 16}}')
    (user.folder / "input.txt").write_text("to be or not")
    spec = user.spec(
        "made",
        code,
        "import os\nos.remove('input.txt')\ndef made(): return len(chars), cfg.model.units, cfg.model.layers\n",
    )
    assert Builder(spec=spec).run().made() == (7, 16, 2)
    assert (user.folder / "input.txt").exists()
