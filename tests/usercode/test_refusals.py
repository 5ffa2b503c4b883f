"""What a slice may not do: refused before anything runs, with the place and the ways on. Nothing is ever written."""

# ruff: noqa: E501 - code in one line reads as a table

import json

import pytest

from rnneval.errors import CheckpointError
from rnneval.usercode import parse_arguments
from rnneval.usercode.builder import neighbours_scanned, run_slice
from rnneval.usercode.plan import plan
from tests.usercode.tutorial import CELLS, NOTEBOOK, SCRIPT

# Every way to write `canary`, or to train, download, delete or start a process, as the value of `made`.
WRITING = {
    "open": "made = open('canary', 'w')",
    "open by keyword": "made = open('canary', mode='a')",
    "open exclusively": "made = open('canary', 'xb')",
    "open for both": "made = open('canary', 'r+')",
    "computed mode": "mode = 'w'\nmade = open('canary', mode)",
    "mode in a map": "made = open('canary', **{'mode': 'w'})",
    "io": "import io\nmade = io.open('canary', 'w')",
    "codecs": "import codecs\nmade = codecs.open('canary', 'w', 'utf-8')",
    "gzip": "import gzip\nmade = gzip.open('canary', 'wb')",
    "other name": "o = open\nmade = o('canary', 'w')",
    "builtins": "import builtins\nmade = builtins.open('canary', 'w')",
    "__builtins__": "made = __builtins__.open('canary', 'w')",
    "with": "with open('canary', 'w') as made:\n    pass",
    "path": "from pathlib import Path\nmade = Path('canary').write_text('x')",
    "path open": "from pathlib import Path\nmade = Path('canary').open('w')",
    "path touch": "import pathlib\nmade = pathlib.Path('canary').touch()",
    "path mkdir": "import pathlib\nmade = pathlib.Path('canary').mkdir()",
    "path replace": "import pathlib\np = pathlib.Path('train.py')\nmade = p.replace('canary')",
    "method not called here": "from pathlib import Path\nf = Path('canary').write_text\nmade = list(map(f, ['x']))",
    "system": "import os\nmade = os.system('touch canary')",
    "system by from": "from os import system as s\nmade = s('touch canary')",
    "system in a lambda": "import os\nmade = (lambda: os.system('touch canary'))()",
    "system in a map": "import os\nmade = list(map(os.system, ['touch canary']))",
    "system by getattr": "import os\nmade = getattr(os, 'system')('touch canary')",
    "system by a computed getattr": "import os\nmade = getattr(os, 'sys' + 'tem')('touch canary')",
    "system by import_module": "import importlib\nmade = importlib.import_module('os').system('touch canary')",
    "system by __import__": "made = __import__('os').system('touch canary')",
    "system by sys.modules": "import sys, os\nmade = sys.modules['os'].system('touch canary')",
    "system of another name": "import os\nx = os\nmade = x.system('touch canary')",
    "posix": "import posix\nmade = posix.system('touch canary')",
    "popen": "import os\nmade = os.popen('touch canary').read()",
    "os.open": "import os\nmade = os.open('canary', os.O_CREAT)",
    "makedirs": "import os\nmade = os.makedirs('canary', exist_ok=True)",
    "remove": "import os\nmade = os.remove('train.py')",
    "rename": "import os\nmade = os.rename('train.py', 'canary')",
    "subprocess": "import subprocess\nmade = subprocess.run(['touch', 'canary'])",
    "subprocess by from": "from subprocess import check_output as c\nmade = c(['touch', 'canary'])",
    "multiprocessing": "import multiprocessing as mp\nmade = mp.Process(target=print)",
    "process pool": "from concurrent.futures import ProcessPoolExecutor\nmade = ProcessPoolExecutor()",
    "shutil": "import shutil\nmade = shutil.copy('train.py', 'canary')",
    "tempfile": "import tempfile\nmade = tempfile.mkdtemp(dir='.')",
    "numpy save": "import numpy as np\nmade = np.save('canary', np.zeros(1))",
    "numpy tofile": "import numpy as np\nmade = np.zeros(1).tofile('canary')",
    "numpy memmap": "import numpy as np\nmade = np.memmap('canary', 'uint8', 'w+', shape=(1,))",
    "pickle": "import pickle\nmade = pickle.dump(1, f)",
    "h5py": "import h5py\nmade = h5py.File('canary', 'w')",
    "zip": "import zipfile\nmade = zipfile.ZipFile('canary', 'w')",
    "tar": "import tarfile\nmade = tarfile.open('canary', 'w:gz')",
    "extract": "import zipfile\nmade = zipfile.ZipFile('a').extractall()",
    "sqlite": "import sqlite3\nmade = sqlite3.connect('canary')",
    "shelve": "import shelve\nmade = shelve.open('canary')",
    "logging": "import logging\nmade = logging.basicConfig(filename='canary')",
    "model.save": "m = object()\nmade = m.save('canary')",
    "save_weights": "m = object()\nmade = m.save_weights('canary')",
    "save_model": "from keras.models import save_model\nm = object()\nmade = save_model(m, 'canary')",
    "fit": "m = object()\nmade = m.fit([1])",
    "fit by getattr": "m = object()\nmade = getattr(m, 'fit')([1])",
    "train_on_batch": "m = object()\nmade = [m.train_on_batch(1) for _ in range(3)]",
    "train of a library": "from textgenrnn import textgenrnn\nt = textgenrnn()\nmade = t.train_from_file('a')",
    "apply_gradients": "o = object()\nmade = o.apply_gradients([])",
    "loop with a tape": "import tensorflow as tf\nmade = 1\nwith tf.GradientTape() as t:\n    made = t.f(made)",
    "checkpoint manager": "import tensorflow as tf\nmade = tf.train.CheckpointManager(None, 'canary', 1)",
    "file writer": "import tensorflow as tf\nmade = tf.summary.create_file_writer('canary')",
    "tf write_file": "import tensorflow as tf\nmade = tf.io.write_file('canary', 'x')",
    "gfile": "import tensorflow as tf\nmade = tf.io.gfile.GFile('canary', 'w')",
    "gfile copy": "from tensorflow.io import gfile\nmade = gfile.copy('train.py', 'canary')",
    "csv": "import pandas as pd\nmade = pd.DataFrame().to_csv('canary')",
    "urlretrieve": "import urllib.request\nmade = urllib.request.urlretrieve('file:train.py', 'canary')",
    "urlopen": "from urllib.request import urlopen\nmade = urlopen('file:train.py')",
    "requests": "import requests\nmade = requests.get('http://localhost')",
    "socket": "import socket\nmade = socket.create_connection(('localhost', 1))",
    "get_file": "import tensorflow as tf\nmade = tf.keras.utils.get_file('canary', 'file:train.py')",
    "keras dataset": "from tensorflow.keras.datasets import imdb\nmade = imdb.load_data()",
    "exec": 'made = exec(\'open("canary", "w")\')',
    "eval": 'made = eval(\'open("canary", "w")\')',
    "globals": "made = globals()['open']('canary', 'w')",
    "input": "made = input()",
    "walrus": "if (made := open('canary', 'w')):\n    pass",
    "default argument": "def made(f=open('canary', 'w')): pass",
    "decorator": "import os\n@os.system\ndef made(): pass",
    "class body": "class made:\n    f = open('canary', 'w')",
    "comprehension": "made = [open(name, 'w') for name in ['canary']]",
    "f-string": 'made = f\'{open("canary", "w")}\'',
    "partial": "import functools\nw = functools.partial(open, mode='w')\nmade = w('canary')",
    "changed object": "import os\nmade = {}\nmade['a'] = os.system('touch canary')",
    "loop": "import os\nfor i in range(2):\n    made = os.system('touch canary')",
    "while": "import os\nwhile os.system('touch canary'):\n    made = 1",
    "handler": "import os\ntry:\n    made = 1 / 0\nexcept ZeroDivisionError:\n    made = os.system('touch canary')",
    "function": "import os\ndef f(): return os.system('touch canary')\nmade = f()",
    "function of a function": "import os\ndef f(): return os.system('touch canary')\ndef g(): return f()\nmade = g()",
    "local import": "def f():\n    from os import system\n    return system('touch canary')\nmade = f()",
    "builder": "import os\ndef made(): return os.system('touch canary')",
    "builder that fits": "def made():\n    m = object()\n    m.fit([1])\n    return m",
    "nested function": "import os\ndef made():\n    def inner(): os.system('touch canary')\n    inner()",
    "__init__": "import os\nclass made:\n    def __init__(self): os.system('touch canary')",
    "method of __init__": "import os\nclass made:\n    def __init__(self): self.f()\n    def f(self): os.system('touch canary')",
    "base class": "import os\nclass A:\n    def __init__(self): os.system('touch canary')\nclass made(A): pass",
    "object": "import os\nclass A:\n    def f(self): os.system('touch canary')\na = A()\nmade = a.f()",
    "function in a table": "import os\ndef f(): os.system('touch canary')\nt = {'a': f}\nmade = t['a']()",
    "alias of a function": "import os\ndef f(): os.system('touch canary')\ng = f\nmade = g()",
    "callback": "import os\ndef f(x): os.system('touch canary')\nmade = list(map(f, [1]))",
    "method of a class": "import os\nclass A:\n    @staticmethod\n    def make(): os.system('touch canary')\nmade = A.make()",
}


@pytest.mark.parametrize("case", WRITING)
@pytest.mark.parametrize("file", ["train.py", "train.ipynb"])
def test_refused_before_anything_runs(user, case, file):
    # The canary at the top proves that not even the statements before it are run.
    spec = user.spec("made", WRITING[case], file=file)
    with pytest.raises(CheckpointError) as caught:
        run_slice(plan(spec))
    assert user.files() == {file}
    said = str(caught.value)
    places = [f"{file}:{n}" for n in range(1, 9)] + [f"{file}, cell 2, line {n}" for n in range(1, 9)]
    assert any(place in said for place in places), said
    for way in ("--builder-arg NAME=VALUE", "--builder-global ", "--run-module"):
        assert way in said
    assert "\n" not in said


READING = {
    "open": "with open('train.py') as f:\n    made = f.read()",
    "open to read": "with open('train.py', 'rb') as f:\n    made = f.read()",
    "open with a coding": "with open('train.py', 'r', encoding='utf-8') as f:\n    made = f.read()",
    "open keyword": "with open('train.py', mode='rt') as f:\n    made = f.read()",
    "path": "from pathlib import Path\nmade = Path('train.py').read_text()",
    "path open": "from pathlib import Path\nwith Path('train.py').open() as f:\n    made = f.read()",
    "json": "import json\nmade = json.loads('[1]')",
    "dumps": "import json\nmade = json.dumps([1])",
    "replace": "made = 'abc'.replace('a', 'b')",
    "environment": "import os\nmade = os.path.join(os.getcwd(), os.environ.get('HOME', ''))",
    "which": "import shutil\nmade = shutil.which('python')",
    "method that is never called": "import os\nclass made:\n    def train(self): os.system('touch canary'); self.fit(1)",
    "function that is never called": "import os\ndef train(): os.system('touch canary')\ndef made(): return 1",
    "own method save_": "class made:\n    def __init__(self): self.save_states(1)\n    def save_states(self, s): self.s = s",
    "own method train": "class made:\n    def __init__(self): self.train()\n    def train(self): self.mode = 1",
    "write of a tensor array": "class made:\n    def call(self, a): return a.write(0, a)",
    "getattr of layers": "class layers:\n    GRU = int\nkind = 'GRU'\nmade = getattr(layers, kind)(3)",
    "list methods": "made = [1]\nmade.remove(1)\nmade.append(2)",
    "main guard": "import os\nmade = 1\nif __name__ == '__main__':\n    os.system('touch canary')",
    "tape in train_step": "import tensorflow as tf\nclass made:\n    def train_step(self, d):\n        with tf.GradientTape(): pass",
    "custom train_step": "class made:\n    def train_step(self, d): self.optimizer.apply_gradients(d)",
}


@pytest.mark.parametrize("case", READING)
def test_what_only_reads_is_run(user, case):
    module = run_slice(plan(user.spec("made", READING[case])))
    assert hasattr(module, "made")
    assert user.files() == {"train.py"}


def test_a_canary_at_the_top_level_is_not_run_where_the_name_does_not_need_it(user):
    canaries = [
        code.replace("made", f"value_{at}") for at, code in enumerate(WRITING.values()) if "import keras" not in code
    ]
    code = "\n".join(each for each in canaries if "input" not in each)
    module = run_slice(plan(user.spec("wanted", code, "class wanted:\n    size = 3\n")))
    assert module.wanted.size == 3
    assert user.files() == {"train.py"}


def test_the_refusal_of_the_tutorials_model(user):
    spec = user.spec("model", SCRIPT)
    with pytest.raises(CheckpointError) as caught:
        plan(spec)
    said = str(caught.value)
    assert "train.py:7 uses the network" in said
    assert "(model → vocab_size → ids_from_chars → vocab → text → path_to_file)" in said
    assert "`path_to_file = tf.keras.utils.get_file('shakespeare.txt'" in said
    assert "--builder-global vocab_size=VALUE" in said


def test_the_refusal_in_a_notebook_names_cell_and_line(user):
    (user.folder / "t.ipynb").write_text(NOTEBOOK)
    with pytest.raises(CheckpointError, match=r"t\.ipynb, cell 4, line 2 uses the network"):
        plan(f"{user.folder / 't.ipynb'}:model")
    assert user.files() == {"t.ipynb"}


def test_a_command_whose_output_is_needed(user):
    spec = user.spec("made", "files = !touch canary\nx = 1", "made = files", file="n.ipynb")
    with pytest.raises(CheckpointError, match=r"n\.ipynb, cell 2, line 1 starts a process .*`files = !touch canary`"):
        plan(spec)
    assert plan(spec.replace(":made", ":x")).lines() == [2]


@pytest.mark.parametrize(
    ("code", "line", "name"),
    [
        ("exec(open('a').read())\ndef made(): return size\n", 1, "size"),
        ("globals()['size'] = 3\ndef made(): return size\n", 1, "size"),
        ("exec('made = 1')\n", 1, None),
    ],
)
def test_what_cannot_be_decided_is_said(user, code, line, name):
    with pytest.raises(CheckpointError) as caught:
        plan(user.spec("made", code))
    said = str(caught.value)
    assert "cannot be decided" in said
    assert f"train.py:{line}" in said
    assert "--run-module" in said
    assert name is None or f"--builder-global {name}=VALUE" in said


def test_an_unneeded_exec_is_left_out(user):
    assert plan(user.spec("made", "exec('1 / 0')\nmade = 3")).lines() == [2]


def test_run_magic_may_bind_a_name(user):
    with pytest.raises(CheckpointError, match=r"cannot be decided whether .*cell 2, line 1 does: `%run other\.py`"):
        plan(user.spec("made", "%run other.py", "def made(): return size", file="n.ipynb"))


NEIGHBOURS = {
    "import": "import other_7\nmade = 1\nx = other_7.size",
    "from": "from other_7 import size\nx = size",
    "star": "from other_7 import *\nx = size",
    "in a function": "def f():\n    import other_7\n    return other_7.size\nx = f()",
    "import_module": "import importlib\nx = importlib.import_module('other_7').size",
    "through another": "import between_7\nx = between_7.other_7.size",
}


@pytest.mark.parametrize("case", NEIGHBOURS)
@pytest.mark.parametrize("top", ["open('canary', 'w')", "import os; os.system('touch canary')", "model.fit(1)"])
def test_a_neighbour_that_trains_or_writes_at_its_top_level(user, case, top):
    user.write(f"size = 3\n{top}\n", name="other_7.py")
    user.write("import other_7\n", name="between_7.py")
    with pytest.raises(CheckpointError, match=r"other_7\.py:2 "):
        plan(user.spec("x", NEIGHBOURS[case]))
    assert "canary" not in user.files()


@pytest.mark.parametrize("case", NEIGHBOURS)
def test_a_neighbour_that_only_defines_is_imported(user, case):
    user.write(
        "import os\nsize = 3\ndef train(): os.system('touch canary')\nif __name__ == '__main__':\n    train()\n",
        name="other_7.py",
    )
    user.write("import other_7\n", name="between_7.py")
    sliced = plan(user.spec("x", NEIGHBOURS[case]))
    with neighbours_scanned(sliced):
        assert run_slice(sliced).x == 3
    assert "canary" not in user.files()


@pytest.mark.parametrize(
    "code",
    ["from data_7 import load\nx = load()", "import data_7 as d\nx = d.load()", "from data_7 import *\nx = load()"],
)
def test_a_function_of_a_neighbour_that_is_called(user, code):
    user.write(
        "import os\ndef load():\n    return inner()\ndef inner():\n    return os.system('touch canary')\n",
        name="data_7.py",
    )
    with pytest.raises(CheckpointError, match=r"data_7\.py:5 starts a process"):
        plan(user.spec("x", code))
    assert "canary" not in user.files()


def test_a_function_of_a_neighbour_whose_name_alone_speaks_against_it(user):
    user.write("def save_path(): return 'a'\n", name="data_7.py")
    assert user.value("x", "from data_7 import save_path\nx = save_path()") == "a"


def test_a_package_beside_the_file(user):
    (user.folder / "pack_7").mkdir()
    user.write("from .layers import size", name="pack_7/__init__.py")
    user.write("size = 3\nopen('canary', 'w')", name="pack_7/layers.py")
    with pytest.raises(CheckpointError, match=r"layers\.py:2 writes a file"):
        plan(user.spec("x", "from pack_7 import size as x"))
    assert "canary" not in user.files()


def test_a_computed_import_is_scanned_when_it_happens(user):
    (user.folder / "far").mkdir()
    user.write("size = 3\nopen('canary', 'w')", name="far/hidden_7.py")
    code = "import os, sys\nsys.path.append(os.path.join(os.getcwd(), 'f' + 'ar'))\nimport hidden_7\nx = hidden_7.size"
    sliced = plan(user.spec("x", code))
    with (
        pytest.raises(CheckpointError, match=r"it imports hidden_7, which writes a file .*--run-module"),
        neighbours_scanned(sliced),
    ):
        run_slice(sliced)
    assert "canary" not in user.files()


def test_a_notebook_file_without_code(user):
    (user.folder / "n.ipynb").write_text(json.dumps({"cells": []}))
    with pytest.raises(CheckpointError, match="there is no x in it; there is nothing callable"):
        plan(f"{user.folder / 'n.ipynb'}:x")
    (user.folder / "n.ipynb").write_text("no json")
    with pytest.raises(CheckpointError, match="not a notebook"):
        plan(f"{user.folder / 'n.ipynb'}:x")


def test_the_tutorials_pieces_are_whole():
    assert "\n".join(CELLS) == SCRIPT


def test_a_value_that_is_given_clears_the_alias_of_a_refused_module(user):
    spec = user.spec("made", "import wandb\nconfig = wandb.config\nmade = config['units'] + config.emb")
    with pytest.raises(CheckpointError, match=r"uses the network.*--builder-global config=VALUE"):
        plan(spec)
    given = parse_arguments(["config={'units': 3, 'emb': 4}"])
    assert run_slice(plan(spec, given)).made == 7
