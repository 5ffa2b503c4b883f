"""TensorFlow's text-generation tutorial as a user has it: a script and a notebook, which train and save when run."""

import json

SETUP = """\
import tensorflow as tf

import numpy as np
import os
import time
"""

DATA = """\
path_to_file = tf.keras.utils.get_file('shakespeare.txt', 'https://storage.googleapis.com/download/shakespeare.txt')

# Read, then decode for py2 compat.
text = open(path_to_file, 'rb').read().decode(encoding='utf-8')
print(f'Length of text: {len(text)} characters')

# The unique characters in the file
vocab = sorted(set(text))
print(f'{len(vocab)} unique characters')
"""

IDS = """\
ids_from_chars = tf.keras.layers.StringLookup(vocabulary=list(vocab), mask_token=None)
chars_from_ids = tf.keras.layers.StringLookup(
    vocabulary=ids_from_chars.get_vocabulary(), invert=True, mask_token=None)


def text_from_ids(ids):
  return tf.strings.reduce_join(chars_from_ids(ids), axis=-1)


all_ids = ids_from_chars(tf.strings.unicode_split(text, 'UTF-8'))
ids_dataset = tf.data.Dataset.from_tensor_slices(all_ids)
seq_length = 100
sequences = ids_dataset.batch(seq_length+1, drop_remainder=True)


def split_input_target(sequence):
  return sequence[:-1], sequence[1:]


dataset = sequences.map(split_input_target)
BATCH_SIZE = 64
dataset = dataset.shuffle(10000).batch(BATCH_SIZE, drop_remainder=True).prefetch(tf.data.experimental.AUTOTUNE)
"""

MODEL = """\
# Length of the vocabulary in StringLookup Layer
vocab_size = len(ids_from_chars.get_vocabulary())

# The embedding dimension
embedding_dim = 5

# Number of RNN units
rnn_units = 6


class MyModel(tf.keras.Model):
  def __init__(self, vocab_size, embedding_dim, rnn_units):
    super().__init__()
    self.embedding = tf.keras.layers.Embedding(vocab_size, embedding_dim)
    self.gru = tf.keras.layers.GRU(rnn_units, return_sequences=True, return_state=True)
    self.dense = tf.keras.layers.Dense(vocab_size)

  def call(self, inputs, states=None, return_state=False, training=False):
    x = inputs
    x = self.embedding(x, training=training)
    if states is None:
      states = self.gru.get_initial_state(tf.shape(x)[0])
    x, states = self.gru(x, initial_state=states, training=training)
    x = self.dense(x, training=training)

    if return_state:
      return x, states
    else:
      return x


model = MyModel(
    vocab_size=vocab_size,
    embedding_dim=embedding_dim,
    rnn_units=rnn_units)
"""

TRAIN = """\
for input_example_batch, target_example_batch in dataset.take(1):
  example_batch_predictions = model(input_example_batch)
  print(example_batch_predictions.shape)

model.summary()
loss = tf.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(optimizer='adam', loss=loss)
checkpoint_dir = './training_checkpoints'
checkpoint_prefix = os.path.join(checkpoint_dir, "ckpt_{epoch}.weights.h5")
checkpoint_callback = tf.keras.callbacks.ModelCheckpoint(filepath=checkpoint_prefix, save_weights_only=True)
EPOCHS = 20
history = model.fit(dataset, epochs=EPOCHS, callbacks=[checkpoint_callback])
model.save_weights("final.weights.h5")
"""

GENERATE = """\
class OneStep(tf.keras.Model):
  def __init__(self, model, chars_from_ids, ids_from_chars, temperature=1.0):
    super().__init__()
    self.model = model
    self.chars_from_ids = chars_from_ids

  @tf.function
  def generate_one_step(self, inputs, states=None):
    input_ids = ids_from_chars(tf.strings.unicode_split(inputs, 'UTF-8')).to_tensor()
    predicted_logits, states = self.model(inputs=input_ids, states=states, return_state=True)
    return self.chars_from_ids(tf.random.categorical(predicted_logits[:, -1, :], num_samples=1)), states


one_step_model = OneStep(model, chars_from_ids, ids_from_chars)
start = time.time()
states = None
next_char = tf.constant(['ROMEO:'])
result = [next_char]
for n in range(1000):
  next_char, states = one_step_model.generate_one_step(next_char, states=states)
  result.append(next_char)
print(tf.strings.join(result)[0].numpy().decode('utf-8'), time.time() - start)
tf.saved_model.save(one_step_model, 'one_step')
"""

CELLS = [SETUP, DATA, IDS, MODEL, TRAIN, GENERATE]
SCRIPT = "\n".join(CELLS)


def notebook(*cells: str) -> str:
    """A notebook with these code cells, a text cell before them."""
    code = [
        {"cell_type": "code", "source": cell.splitlines(keepends=True), "outputs": [], "execution_count": None}
        for cell in cells
    ]
    text = {"cell_type": "markdown", "source": ["# Text generation"]}
    return json.dumps({"cells": [text, *code], "nbformat": 4, "nbformat_minor": 5, "metadata": {}})


NOTEBOOK = notebook(
    "%load_ext autoreload\n%matplotlib inline\n!pip install -q tensorflow\n" + SETUP,
    "%%bash\ntouch canary\n",
    "!touch canary\n" + DATA,
    IDS,
    "%%time\n" + MODEL,
    TRAIN,
    GENERATE,
)
