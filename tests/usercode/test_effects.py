"""Scripts that write, delete, train or start something before the builder is called, or while a module is imported.

Each binds `made`. None may have an effect: most are refused from their source, and the rest when they run.
"""

# ruff: noqa: E501 - code in one line reads as a table

import py_compile
import sys

import pytest

from rnneval.checkpoints.usercode import Builder
from rnneval.errors import CheckpointError

HELPER = """\
import os
class K:
    def __init__(self): os.system('touch canary')
class Base:
    def __init_subclass__(cls): os.system('touch canary')
def go(): os.system('touch canary')
"""
FILES = {
    "helper.py": HELPER,
    "helper2.py": "import os\nos.system('touch canary')\nx = os.system('touch canary')\n",
    "pkg/__init__.py": "import os\nos.system('touch canary')\nfrom .sub import thing\n",
    "pkg/sub.py": "import os\nthing = os.system('touch canary')\n",
    "lib/inlib.py": "x = open('canary', 'w')\n",
    "victim": "precious",
}
CASES = {
    "descriptor get": "import os\nclass D:\n    def __get__(self, i, o): os.system('touch canary')\nclass C:\n    x = D()\nmade = C.x",
    "metaclass prepare": "import os\nclass M(type):\n    @classmethod\n    def __prepare__(m, n, b, **k):\n        os.system('touch canary')\n        return {}\nclass made(metaclass=M): pass",
    "decorator attribute": "import os\nclass R:\n    def reg(self, f):\n        os.system('touch canary')\n        return f\nr = R()\n@r.reg\ndef made(): pass",
    "annotation": "import os\ndef made(x: os.system('touch canary')): pass",
    "format dunder": "import os\nclass F:\n    def __format__(self, s): os.system('touch canary'); return ''\nmade = f'{F()}'",
    "dataclass post_init": "import os\nfrom dataclasses import dataclass\n@dataclass\nclass C:\n    def __post_init__(self): os.system('touch canary')\nmade = C()",
    "defaultdict": "import os, collections\nd = collections.defaultdict(lambda: os.system('touch canary'))\nmade = d[1]",
    "dataset map write": "import tensorflow as tf\ndef f(x):\n    tf.io.write_file('canary', 'x')\n    return x\nmade = [int(x) for x in tf.data.Dataset.range(1).map(f)]",
    "keras layer call": "import keras, os\nclass L(keras.layers.Layer):\n    def call(self, x): os.system('touch canary'); return x\nmade = L()(keras.ops.zeros((1,1)))",
    "argparse action": "import argparse, os\nclass A(argparse.Action):\n    def __init__(self, *a, **k):\n        os.system('touch canary')\n        super().__init__(*a, **k)\np = argparse.ArgumentParser()\np.add_argument('--x', action=A)\nmade = p.parse_args()",
    "cached_property": "import os, functools\nclass A:\n    @functools.cached_property\n    def x(self): os.system('touch canary')\nmade = A().x",
    "star os": "from os import *\nmade = mkdir('canary')",
    "monkeypatch module": "import math, os\nmath.floor = os.system\nmade = math.floor('touch canary')",
    "setattr": "import os\nclass A: pass\nsetattr(A, 'f', os.system)\nmade = A.f('touch canary')",
    "enum member": "import enum, os\nclass made(enum.Enum):\n    @staticmethod\n    def _generate_next_value_(*a): os.system('touch canary')\n    A = enum.auto()",
    "path open unbound": "from pathlib import Path\nmade = Path.open(Path('canary'), 'w')",
    "path subclass": "from pathlib import PosixPath\nclass P(PosixPath):\n    def read_text(self): return self.write_text('x')\nmade = P('canary').read_text()",
    "generator frame": "def g():\n    yield\nx = g()\nmade = x.gi_frame.f_globals['__builtins__']",
    "traceback frame": "try:\n    1/0\nexcept Exception as e:\n    made = e.__traceback__.tb_frame.f_builtins['open']('canary', 'w')",
    "code replace": "def f(): pass\nf.__code__ = (lambda: open('canary','w')).__code__\nmade = f()",
    "logger filter": "import logging, os\nl = logging.getLogger('a')\nl.addFilter(lambda r: os.system('touch canary'))\nl.warning('x')\nmade = l.warning('x')",
    "warnings hook": "import warnings, os\nwarnings.showwarning = lambda *a, **k: os.system('touch canary')\nmade = warnings.warn('x')",
    "atexit": "import atexit, os\natexit.register(os.system, 'touch canary')\nmade = atexit.register(os.system, 'touch canary')",
    "weakref": "import weakref, os\nclass A: pass\na = A()\nmade = weakref.finalize(a, os.system, 'touch canary')",
    "contextmanager": "import contextlib, os\n@contextlib.contextmanager\ndef c():\n    os.system('touch canary')\n    yield 1\nwith c() as made: pass",
    "mro_entries": "import os\nclass E:\n    def __mro_entries__(self, b):\n        os.system('touch canary')\n        return ()\nclass made(E()): pass",
    "json hook": "import json, os\nmade = json.loads('{\"a\": 1}', object_hook=lambda d: os.system('touch canary'))",
    "accumulate": "import itertools, os\nmade = list(itertools.accumulate([1, 'touch canary'], lambda a, b: os.system(b)))",
    "returned module": "import os\ndef outer(): return os\nmade = outer().system('touch canary')",
    "np array_function": "import numpy as np, os\nclass A:\n    def __array_function__(self, *a, **k): os.system('touch canary')\nmade = np.concatenate([A()])",
    "fit in helper": "import keras\ndef prepare():\n    m = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])\n    m.compile('sgd', 'mse')\n    m.fit([[1.]], [[1.]])\n    return m\nmade = prepare()",
    "tape": "import tensorflow as tf\nv = tf.Variable(1.)\nwith tf.GradientTape() as t:\n    y = v * v\nmade = t.gradient(y, v)",
    "tf function": "import tensorflow as tf\n@tf.function\ndef f():\n    tf.io.write_file('canary', 'x')\n    return 1\nmade = f()",
    "coroutine send": "import os\nasync def f(): os.system('touch canary')\nc = f()\nmade = c.send(None)",
    "loader": "made = __loader__",
    "init_subclass kw": "import os\nclass A:\n    def __init_subclass__(cls, **k): os.system(k['c'])\nclass made(A, c='touch canary'): pass",
    "neighbour": "import helper\nmade = helper.go()",
    "neighbour top": "import helper2\nmade = helper2.x",
    "neighbour package": "from pkg import thing\nmade = thing",
    "neighbour class": "from helper import K\nmade = K()",
    "neighbour in sys.path": "import sys\nsys.path.insert(0, 'lib')\nimport inlib\nmade = inlib.x",
    "neighbour dynamic": "import importlib\nmade = importlib.import_module('helper2').x",
    "attribute storage allowed name": "import os\nclass R: pass\nr = R()\nr.items = os.system\nmade = r.items('touch canary')",
    "list subclass append": "import os\nclass L(list):\n    def append(self, x): os.system(x)\nl = L()\nl.append('touch canary')\nmade = l",
    "copyreg": "import copy, os\nclass A:\n    def __reduce__(self): return os.system, ('touch canary',)\nmade = copy.copy(A())",
    "fspath": "import os\nclass P:\n    def __fspath__(self): os.system('touch canary'); return 'x'\nmade = os.path.join(P(), 'a')",
    "class attr builtin allowed": "class A:\n    get = staticmethod(open)\nmade = A.get('canary', 'w')",
    "np duck": "import numpy as np, keras\nclass Z:\n    def sum(self, **k): keras.Sequential().fit([1])\nmade = np.sum(Z())",
    "map method fit": "import keras\nm = keras.Sequential()\nmade = list(map(m.fit, [1]))",
    "h5py in list": "import h5py\nmade = [h5py][0].File('canary', 'w')",
    "keras src": "from keras.src.saving import saving_api\nmade = saving_api.save_model(1, 'canary')",
    "nested class call": "import os\nclass A:\n    class B:\n        def __init__(self): os.mkdir('canary')\nmade = A.B()",
    "pyc module": "import evilc\nmade = evilc.x",
    "open handed on": "import io\nmade = list(map(io.open, ['canary'], ['w']))",
    "compared with None": "import os\nx = 1\nmade = x == os.system('touch canary') is None",
}


@pytest.mark.parametrize("case", CASES)
def test_nothing_happens(user, case, monkeypatch):
    for name in ("helper", "helper2", "pkg", "pkg.sub", "inlib", "evilc"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for name, text in FILES.items():
        (user.folder / name).parent.mkdir(exist_ok=True)
        (user.folder / name).write_text(text)
    (user.folder / "e.py").write_text(FILES["lib/inlib.py"])
    py_compile.compile(str(user.folder / "e.py"), cfile=str(user.folder / "evilc.pyc"))
    spec = user.spec("made", CASES[case])
    before = user.files()
    with pytest.raises(CheckpointError) as caught:
        Builder(spec=spec).run()
    assert {name for name in user.files() - before if "__pycache__" not in name} == set()
    assert before <= user.files()
    assert "\n" not in str(caught.value)
