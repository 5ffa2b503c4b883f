"""What a slice may not do: refused before anything runs, with the place and the ways on. Nothing is ever written."""

# ruff: noqa: E501 - code in one line reads as a table

import sys
from itertools import cycle

import pytest

from rnneval.checkpoints.usercode import Builder
from rnneval.checkpoints.usercode.builder import run_slice
from rnneval.checkpoints.usercode.plan import plan
from rnneval.errors import CheckpointError

# Every way to write `canary`, or to train, download, delete or start a process, as the value of `made`.
WRITING = {
    "open": "made = open('canary', 'w')",
    "computed mode": "mode = 'w'\nmade = open('canary', mode)",
    "mode in a map": "made = open('canary', **{'mode': 'w'})",
    "codecs": "import codecs\nmade = codecs.open('canary', 'w', 'utf-8')",
    "other name": "o = open\nmade = o('canary', 'w')",
    "__builtins__": "made = __builtins__.open('canary', 'w')",
    "getattr of __builtins__": "made = getattr(__builtins__, 'op' + 'en')('canary', 'w')",
    "with": "with open('canary', 'w') as made:\n    pass",
    "path": "from pathlib import Path\nmade = Path('canary').write_text('x')",
    "path replace": "import pathlib\np = pathlib.Path('train.py')\nmade = p.replace('canary')",
    "method not called here": "from pathlib import Path\nf = Path('canary').write_text\nmade = list(map(f, ['x']))",
    "system by from": "from os import system as s\nmade = s('touch canary')",
    "system in a map": "import os\nmade = list(map(os.system, ['touch canary']))",
    "system by a computed getattr": "import os\nmade = getattr(os, 'sys' + 'tem')('touch canary')",
    "system by import_module": "import importlib\nmade = importlib.import_module('os').system('touch canary')",
    "system by sys.modules": "import sys, os\nmade = sys.modules['os'].system('touch canary')",
    "popen": "import os\nmade = os.popen('touch canary').read()",
    "remove": "import os\nmade = os.remove('train.py')",
    "subprocess by from": "from subprocess import check_output as c\nmade = c(['touch', 'canary'])",
    "process pool": "from concurrent.futures import ProcessPoolExecutor\nmade = ProcessPoolExecutor()",
    "shutil": "import shutil\nmade = shutil.copy('train.py', 'canary')",
    "numpy memmap": "import numpy as np\nmade = np.memmap('canary', 'uint8', 'w+', shape=(1,))",
    "h5py": "import h5py\nmade = h5py.File('canary', 'w')",
    "logging": "import logging\nmade = logging.basicConfig(filename='canary')",
    "model.save": "m = object()\nmade = m.save('canary')",
    "save_model": "from keras.models import save_model\nm = object()\nmade = save_model(m, 'canary')",
    "fit by getattr": "m = object()\nmade = getattr(m, 'fit')([1])",
    "train of a library": "from textgenrnn import textgenrnn\nt = textgenrnn()\nmade = t.train_from_file('a')",
    "apply_gradients": "o = object()\nmade = o.apply_gradients([])",
    "loop with a tape": "import tensorflow as tf\nmade = 1\nwith tf.GradientTape() as t:\n    made = t.f(made)",
    "file writer": "import tensorflow as tf\nmade = tf.summary.create_file_writer('canary')",
    "gfile copy": "from tensorflow.io import gfile\nmade = gfile.copy('train.py', 'canary')",
    "urlretrieve": "import urllib.request\nmade = urllib.request.urlretrieve('file:train.py', 'canary')",
    "get_file": "import tensorflow as tf\nmade = tf.keras.utils.get_file('canary', 'file:train.py')",
    "keras dataset": "from tensorflow.keras.datasets import imdb\nmade = imdb.load_data()",
    "eval": 'made = eval(\'open("canary", "w")\')',
    "walrus": "if (made := open('canary', 'w')):\n    pass",
    "default argument": "def made(f=open('canary', 'w')): pass",
    "class body": "class made:\n    f = open('canary', 'w')",
    "f-string": 'made = f\'{open("canary", "w")}\'',
    "partial": "import functools\nw = functools.partial(open, mode='w')\nmade = w('canary')",
    "handler": "import os\ntry:\n    made = 1 / 0\nexcept ZeroDivisionError:\n    made = os.system('touch canary')",
    "function of a function": "import os\ndef f(): return os.system('touch canary')\ndef g(): return f()\nmade = g()",
    "local import": "def f():\n    from os import system\n    return system('touch canary')\nmade = f()",
    "builder that fits": "def made():\n    m = object()\n    m.fit([1])\n    return m",
    "function in a table": "import os\ndef f(): os.system('touch canary')\nt = {'a': f}\nmade = t['a']()",
    "callback": "import os\ndef f(x): os.system('touch canary')\nmade = list(map(f, [1]))",
    "method of a made object": "import os\nclass A:\n    def __init__(self): self.f()\n    def f(self): os.system('touch canary')\nmade = A()",
    "base of a made object": "import os\nclass A:\n    def __init__(self): os.system('touch canary')\nclass B(A): pass\nmade = B()",
    "property": "import os\nclass A:\n    @property\n    def f(self): os.system('touch canary')\nmade = A().f",
    "map of a method": "from pathlib import Path\nmade = list(map(Path('canary').touch, [0o600]))",
    "pickle load": "import pickle\nwith open('train.py', 'rb') as f:\n    made = pickle.load(f)",
    "load_model": "from keras.models import load_model\nmade = load_model('a.keras')",
    "key function": "import os\nmade = sorted(['touch canary'], key=os.system)",
    "module in a list": "import os\nmade = [os][0].system('touch canary')",
    "frame": "made = (i for i in ()).gi_frame.f_builtins['exec']",
    "globals of a function": "def f(): pass\nmade = f.__globals__",
    "changed module": "import numpy as np\nnp.zeros = print\nmade = np.zeros(1)",
    "py_function": "import tensorflow as tf\nmade = tf.py_function(print, [], tf.int32)",
    "Lambda": "import os, keras\nmade = keras.layers.Lambda(lambda x: os.system('touch canary'))",
    "opener": "import os\nmade = open('canary', opener=lambda p, f: os.open(p, os.O_CREAT))",
    "star import": "from os import *\nmade = system('touch canary')",
    "many meanings": "import os\nf = os.system\n"
    + "".join(f"f = {i}\n" for i in range(12))
    + "if f:\n    f = os.system\nmade = f('touch canary')",
}


@pytest.mark.parametrize(("case", "file"), list(zip(WRITING, cycle(["train.py", "train.ipynb"]))))
def test_refused_before_anything_runs(user, case, file):
    # The canary at the top proves that not even the statements before it are run.
    spec = user.spec("made", WRITING[case], file=file)
    with pytest.raises(CheckpointError) as caught:
        run_slice(plan(spec))
    assert user.files() == {file}
    said = str(caught.value)
    places = [f"{file}:{n}" for n in range(1, 9)] + [f"{file}, cell 2, line {n}" for n in range(1, 9)]
    assert any(place in said for place in places), said
    for way in ("builder_arguments={'NAME': VALUE}", "builder_globals=", "run_module=True"):
        assert way in said
    assert "\n" not in said


TRUSTED = {
    "function": "import os\ndef made(): return os.cpu_count() or os.system('')",
    "class": "import os\nclass made:\n    def __init__(self): self.f()\n    def f(self): self.pid = os.getpid()",
    "base class": "import os\nclass A:\n    def __init__(self): self.pid = os.getpid()\nclass made(A): pass",
    "own method save_": "class made:\n    def __init__(self): self.save_states(1)\n    def save_states(self, s): self.s = s",
    "own method train": "class made:\n    def __init__(self): self.train()\n    def train(self): self.mode = 1",
    "tape in train_step": "import tensorflow as tf\nclass made:\n    def train_step(self, d):\n        with tf.GradientTape(): pass",
    "custom train_step": "class made:\n    def train_step(self, d): self.optimizer.apply_gradients(d)",
    "method that is never called": "import os\nclass made:\n    def train(self): os.system('touch canary'); self.fit(1)",
    "function that is never called": "import os\ndef train(): os.system('touch canary')\ndef made(): return 1",
}


@pytest.mark.parametrize("case", TRUSTED)
def test_the_builder_itself_is_trusted(user, case):
    assert callable(user.value("made", TRUSTED[case]))
    assert user.files() == {"train.py"}


MISTAKES = {
    "fit": ("def made():\n    m = object()\n    m.fit([1])\n    return m", 3, "trains a model"),
    "save": ("def made():\n    m = object()\n    m.save_weights('a')\n    return m", 3, "saves a file"),
    "in a method": (
        "class made:\n    def __init__(self): self.f()\n    def f(self): self.m.fit(1)",
        3,
        "trains a model",
    ),
    "in a function": ("def f(m): m.train_on_batch(1)\ndef made(): f(1)", 1, "trains a model"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_builder_that_trains_or_saves_is_refused_by_name(user, case):
    code, line, does = MISTAKES[case]
    with pytest.raises(CheckpointError, match=rf"train\.py:{line} {does}"):
        plan(user.spec("made", code))


READING = {
    "open with a coding": "with open('train.py', 'r', encoding='utf-8') as f:\n    made = f.read()",
    "path": "from pathlib import Path\nmade = Path('train.py').read_text()",
    "names of a folder": "from pathlib import Path\nmade = [p.name for p in Path('.').glob('*.py')]",
    "replace": "made = 'abc'.replace('a', 'b')",
    "environment": "import os\nmade = os.path.join(os.getcwd(), os.environ.get('HOME', ''))",
    "main guard": "import os\nmade = 1\nif __name__ == '__main__':\n    os.system('touch canary')",
    "own function": "def clean(t):\n    return ' '.join(w for w in t.lower().split() if w)\nmade = clean('A  b')",
    "own class": "class A:\n    def __init__(self, n): self.n = n\n    def twice(self): return 2 * self.n\nmade = A(3).twice()",
    "dataclass": "from dataclasses import dataclass, field\n@dataclass\nclass A:\n    n: int = 3\n    l: list = field(default_factory=list)\nmade = A(n=4).n",
    "enum": "import enum\nclass E(enum.Enum):\n    A = 1\nmade = E.A.value",
    "own decorator": "def keep(f): return f\n@keep\ndef g(): return 3\nmade = g()",
    "numpy": "import numpy as np\nmade = np.array(sorted(set('ab'))).astype(str).tolist()",
    "table of functions": "def f(): return 1\nt = {'a': f}\nmade = t['a']()",
    "nested function": "def f():\n    def g(): return 3\n    return g()\nmade = f()",
}


@pytest.mark.parametrize("case", READING)
def test_what_has_no_effect_is_run(user, case):
    module = user.run("made", READING[case])
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


NEIGHBOURS = {
    "import": "import other_7\nmade = 1\nx = other_7.size",
    "from": "from other_7 import size\nx = size",
    "star": "from other_7 import *\nx = size",
    "in a function": "def f():\n    import other_7\n    return other_7.size\nx = f()",
    "through another": "import between_7\nx = between_7.other_7.size",
}
TOPS = ["open('canary', 'w')", "import os; os.system('touch canary')", "model = object(); model.fit(1)"]


@pytest.fixture
def forgotten(monkeypatch):
    """Modules of an earlier test are imported anew."""
    for name in ("other_7", "between_7", "data_7", "pack_7", "pack_7.layers", "hidden_7"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.parametrize("case", NEIGHBOURS)
@pytest.mark.parametrize("top", TOPS)
def test_of_a_neighbour_only_what_is_allowed_runs(user, forgotten, case, top):
    user.write(f"size = 3\n{top}\nif __name__ == '__main__':\n    open('canary', 'w')\n", name="other_7.py")
    user.write("import other_7\n", name="between_7.py")
    assert Builder(spec=user.spec("x", NEIGHBOURS[case])).numbers()["x"] == 3
    assert "canary" not in user.files()


@pytest.mark.parametrize(
    "code",
    ["from data_7 import load\nx = load()", "import data_7 as d\nx = d.load()", "from data_7 import *\nx = load()"],
)
def test_a_function_of_a_neighbour_that_is_called(user, forgotten, code):
    user.write(
        "import os\ndef load():\n    return inner()\ndef inner():\n    return os.system('touch canary')\n",
        name="data_7.py",
    )
    with pytest.raises(CheckpointError, match=r"data_7\.py:5 calls os\.system"):
        plan(user.spec("x", code))
    assert "canary" not in user.files()


def test_a_package_beside_the_file(user, forgotten):
    (user.folder / "pack_7").mkdir()
    user.write("from .layers import size", name="pack_7/__init__.py")
    user.write("size = 3\nopen('canary', 'w')", name="pack_7/layers.py")
    assert Builder(spec=user.spec("x", "from pack_7 import size as x")).numbers()["x"] == 3
    assert "canary" not in user.files()


def test_an_import_from_another_folder(user, forgotten):
    (user.folder / "far").mkdir()
    user.write("size = 3\nopen('canary', 'w')", name="far/hidden_7.py")
    code = "import os, sys\nsys.path.append({})\nfrom hidden_7 import size\nx = size"
    with pytest.raises(CheckpointError, match=r"train\.py:4 uses hidden_7\.size"):
        plan(user.spec("x", code.format("os.path.join(os.getcwd(), 'f' + 'ar')")))
    assert Builder(spec=user.spec("x", code.format("'far'"))).numbers()["x"] == 3
    assert "canary" not in user.files()
