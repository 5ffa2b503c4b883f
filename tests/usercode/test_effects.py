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
    "meanings by imports": "from os import system as f\n"
    + "if 0:\n    from math import floor as f\n" * 9
    + "made = f('touch canary')",
    "descriptor set_name": "class D:\n    def __set_name__(self, o, n): open('canary','w')\nclass made:\n    x = D()",
    "descriptor get": "import os\nclass D:\n    def __get__(self, i, o): os.system('touch canary')\nclass C:\n    x = D()\nmade = C.x",
    "class_getitem": "import os\nclass C:\n    def __class_getitem__(cls, k): os.system('touch canary')\nmade = C[int]",
    "metaclass prepare": "import os\nclass M(type):\n    @classmethod\n    def __prepare__(m, n, b, **k):\n        os.system('touch canary')\n        return {}\nclass made(metaclass=M): pass",
    "metaclass by type call": "import os\ndef f(self): os.system('touch canary')\nC = type('C', (), {'__init__': f})\nmade = C()",
    "decorator call": "import os\ndef deco(f):\n    os.system('touch canary')\n    return f\n@deco\ndef made(): pass",
    "decorator attribute": "import os\nclass R:\n    def reg(self, f):\n        os.system('touch canary')\n        return f\nr = R()\n@r.reg\ndef made(): pass",
    "kw default lambda": "import os\nmade = (lambda *, x=os.system('touch canary'): x)",
    "annotation": "import os\ndef made(x: os.system('touch canary')): pass",
    "annotation variable": "import os\nx: os.system('touch canary') = 3\nmade = x",
    "annotation class": "import os\nclass made:\n    x: os.system('touch canary') = 3",
    "return annotation": "import os\ndef made() -> os.system('touch canary'): pass",
    "format dunder": "import os\nclass F:\n    def __format__(self, s): os.system('touch canary'); return ''\nmade = f'{F()}'",
    "str format property": "import os\nclass F:\n    @property\n    def p(self): os.system('touch canary')\nmade = '{0.p}'.format(F())",
    "percent format": "import os\nclass F:\n    def __str__(self): os.system('touch canary'); return ''\nmade = '%s' % F()",
    "walrus": "import os\nmade = [y := os.system('touch canary')]",
    "dataclass default_factory": "import os\nfrom dataclasses import dataclass, field\n@dataclass\nclass C:\n    x: int = field(default_factory=lambda: os.system('touch canary'))\nmade = C()",
    "dataclass post_init": "import os\nfrom dataclasses import dataclass\n@dataclass\nclass C:\n    def __post_init__(self): os.system('touch canary')\nmade = C()",
    "namedtuple": "import collections\nmade = collections.namedtuple('X', ['a'], defaults=[open('canary','w')])",
    "partial": "import os, functools\nmade = functools.partial(os.system, 'touch canary')()",
    "reduce direct": "from functools import reduce\nmade = reduce(open, ['w'], 'canary')",
    "filter": "import os\nmade = list(filter(os.system, ['touch canary']))",
    "defaultdict": "import os, collections\nd = collections.defaultdict(lambda: os.system('touch canary'))\nmade = d[1]",
    "missing": "import os\nclass D(dict):\n    def __missing__(self, k): os.system(k)\nmade = D()['touch canary']",
    "userdict": "import os, collections\nclass D(collections.UserDict):\n    def __setitem__(self, k, v): os.system(v)\nmade = D(a='touch canary')",
    "dataset map write": "import tensorflow as tf\ndef f(x):\n    tf.io.write_file('canary', 'x')\n    return x\nmade = [int(x) for x in tf.data.Dataset.range(1).map(f)]",
    "dataset save": "import tensorflow as tf\nmade = tf.data.Dataset.range(1).save('canary')",
    "raw_ops": "import tensorflow as tf\nmade = tf.raw_ops.WriteFile(filename='canary', contents='x')",
    "tf print": "import tensorflow as tf\nmade = tf.print('x', output_stream='file://canary')",
    "keras layer call": "import keras, os\nclass L(keras.layers.Layer):\n    def call(self, x): os.system('touch canary'); return x\nmade = L()(keras.ops.zeros((1,1)))",
    "argparse type": "import argparse, os\np = argparse.ArgumentParser()\np.add_argument('--x', type=os.system, default='touch canary')\nmade = p.parse_args()",
    "argparse open type 2": "import argparse\nfrom functools import partial\np = argparse.ArgumentParser()\np.add_argument('--x', type=partial(open, mode='w'), default='canary')\nmade = p.parse_args()",
    "argparse action": "import argparse, os\nclass A(argparse.Action):\n    def __init__(self, *a, **k):\n        os.system('touch canary')\n        super().__init__(*a, **k)\np = argparse.ArgumentParser()\np.add_argument('--x', action=A)\nmade = p.parse_args()",
    "argparse formatter": "import argparse, os\nclass F(argparse.HelpFormatter):\n    def format_help(self): os.system('touch canary')\np = argparse.ArgumentParser(formatter_class=F)\nmade = p.format_help()",
    "cached_property": "import os, functools\nclass A:\n    @functools.cached_property\n    def x(self): os.system('touch canary')\nmade = A().x",
    "star os": "from os import *\nmade = mkdir('canary')",
    "star pathlib": "from pathlib import *\nmade = Path('canary').touch()",
    "environ hook": "import os\nos.environ['PATH'] = '.'\nmade = os.popen('touch canary')",
    "monkeypatch module": "import math, os\nmath.floor = os.system\nmade = math.floor('touch canary')",
    "patch own class by name": "import os\nclass A: pass\nA.f = os.system\nmade = A.f('touch canary')",
    "setattr": "import os\nclass A: pass\nsetattr(A, 'f', os.system)\nmade = A.f('touch canary')",
    "typing": "import typing\nmade = typing.get_type_hints(type('C', (), {'__annotations__': {'x': \"open('canary','w')\"}}))",
    "enum": "import enum, os\nclass made(enum.Enum):\n    def __init__(self, x): os.system(x)\n    A = 'touch canary'",
    "enum member": "import enum, os\nclass made(enum.Enum):\n    @staticmethod\n    def _generate_next_value_(*a): os.system('touch canary')\n    A = enum.auto()",
    "enum missing": "import enum, os\nclass E(enum.Enum):\n    A = 1\n    @classmethod\n    def _missing_(cls, v): os.system('touch canary')\nmade = E(7)",
    "path replace two": "from pathlib import Path\np = Path('train.py')\nmade = p.replace(*['canary'])",
    "path replace unbound": "from pathlib import Path\nmade = Path.replace(Path('train.py'), 'canary')",
    "path open unbound": "from pathlib import Path\nmade = Path.open(Path('canary'), 'w')",
    "path subclass": "from pathlib import PosixPath\nclass P(PosixPath):\n    def read_text(self): return self.write_text('x')\nmade = P('canary').read_text()",
    "path map unbound": "from pathlib import Path\nmade = list(map(Path.touch, [Path('canary')]))",
    "generator frame": "def g():\n    yield\nx = g()\nmade = x.gi_frame.f_globals['__builtins__']",
    "traceback frame": "try:\n    1/0\nexcept Exception as e:\n    made = e.__traceback__.tb_frame.f_builtins['open']('canary', 'w')",
    "code replace": "def f(): pass\nf.__code__ = (lambda: open('canary','w')).__code__\nmade = f()",
    "codecs writer": "import codecs\nmade = codecs.getwriter('utf8')(open('canary', 'wb'))",
    "logging file": "import logging\nmade = logging.FileHandler('canary')",
    "logger filter": "import logging, os\nl = logging.getLogger('a')\nl.addFilter(lambda r: os.system('touch canary'))\nl.warning('x')\nmade = l.warning('x')",
    "warnings hook": "import warnings, os\nwarnings.showwarning = lambda *a, **k: os.system('touch canary')\nmade = warnings.warn('x')",
    "atexit": "import atexit, os\natexit.register(os.system, 'touch canary')\nmade = atexit.register(os.system, 'touch canary')",
    "excepthook": "import sys, os\nsys.excepthook = lambda *a: os.system('touch canary')\nmade = sys.excepthook(1, 2, 3)",
    "settrace": "import sys, os\nmade = sys.settrace(lambda *a: os.system('touch canary'))",
    "print file obj": "import os\nclass W:\n    def write(self, s): os.system('touch canary')\nmade = print('x', file=W())",
    "weakref": "import weakref, os\nclass A: pass\na = A()\nmade = weakref.finalize(a, os.system, 'touch canary')",
    "contextmanager": "import contextlib, os\n@contextlib.contextmanager\ndef c():\n    os.system('touch canary')\n    yield 1\nwith c() as made: pass",
    "with exit": "import os\nclass C:\n    def __enter__(self): return 3\n    def __exit__(self, *a): os.system('touch canary')\nwith C() as made: pass",
    "exitstack": "import contextlib, os\nwith contextlib.ExitStack() as s:\n    s.callback(os.system, 'touch canary')\n    made = 1",
    "iter sentinel": "import os\nmade = list(iter(lambda: os.system('touch canary'), 0))",
    "match args": "import os\nclass P:\n    __match_args__ = ('x',)\n    @property\n    def x(self): os.system('touch canary')\nmatch P():\n    case P(x): made = x",
    "mro_entries": "import os\nclass E:\n    def __mro_entries__(self, b):\n        os.system('touch canary')\n        return ()\nclass made(E()): pass",
    "json hook": "import json, os\nmade = json.loads('{\"a\": 1}', object_hook=lambda d: os.system('touch canary'))",
    "re sub": "import re, os\nmade = re.sub('a', lambda m: os.system('touch canary') and '' or '', 'a')",
    "accumulate": "import itertools, os\nmade = list(itertools.accumulate([1, 'touch canary'], lambda a, b: os.system(b)))",
    "singledispatch": "import functools, os\n@functools.singledispatch\ndef f(x): os.system('touch canary')\nmade = f(1)",
    "singledispatch register": "import functools, os\n@functools.singledispatch\ndef f(x): pass\n@f.register\ndef g(x: int): os.system('touch canary')\nmade = f(1)",
    "returned module": "import os\ndef outer(): return os\nmade = outer().system('touch canary')",
    "module in dict": "import os\nd = {'o': os}\nmade = d['o'].system('touch canary')",
    "np tofile": "import numpy as np\na = np.zeros(3)\nmade = a.tofile('canary')",
    "np array_function": "import numpy as np, os\nclass A:\n    def __array_function__(self, *a, **k): os.system('touch canary')\nmade = np.concatenate([A()])",
    "fit in helper": "import keras\ndef prepare():\n    m = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])\n    m.compile('sgd', 'mse')\n    m.fit([[1.]], [[1.]])\n    return m\nmade = prepare()",
    "tape": "import tensorflow as tf\nv = tf.Variable(1.)\nwith tf.GradientTape() as t:\n    y = v * v\nmade = t.gradient(y, v)",
    "tf function": "import tensorflow as tf\n@tf.function\ndef f():\n    tf.io.write_file('canary', 'x')\n    return 1\nmade = f()",
    "thread": "import threading, os\nmade = threading.Thread(target=os.system, args=('touch canary',)).start()",
    "coroutine send": "import os\nasync def f(): os.system('touch canary')\nc = f()\nmade = c.send(None)",
    "await top": "import os\nasync def f(): os.system('touch canary')\nmade = await f()",
    "from random import": "from random import _os\nmade = _os.system('touch canary')",
    "loader": "made = __loader__",
    "os path os": "import os\nmade = os.path.os.system('touch canary')",
    "type call": "from pathlib import Path\nmade = type(Path('canary')).touch(Path('canary'))",
    "init_subclass kw": "import os\nclass A:\n    def __init_subclass__(cls, **k): os.system(k['c'])\nclass made(A, c='touch canary'): pass",
    "neighbour": "import helper\nmade = helper.go()",
    "neighbour top": "import helper2\nmade = helper2.x",
    "neighbour package": "from pkg import thing\nmade = thing",
    "neighbour package sub": "from pkg.sub import thing\nmade = thing",
    "neighbour class": "from helper import K\nmade = K()",
    "neighbour sub class": "from helper import Base\nclass made(Base): pass",
    "neighbour in sys.path": "import sys\nsys.path.insert(0, 'lib')\nimport inlib\nmade = inlib.x",
    "neighbour dynamic": "import importlib\nmade = importlib.import_module('helper2').x",
    "attribute storage allowed name": "import os\nclass R: pass\nr = R()\nr.items = os.system\nmade = r.items('touch canary')",
    "list subclass append": "import os\nclass L(list):\n    def append(self, x): os.system(x)\nl = L()\nl.append('touch canary')\nmade = l",
    "global rebinding": "import os\nf = len\ndef set_f():\n    global f\n    f = os.system\nset_f()\nmade = f('touch canary')",
    "lambda default": "import os\nf = lambda c, s=os.system: s(c)\nmade = f('touch canary')",
    "copyreg": "import copy, os\nclass A:\n    def __reduce__(self): return os.system, ('touch canary',)\nmade = copy.copy(A())",
    "datetime tz": "import datetime, os\nclass Z(datetime.tzinfo):\n    def utcoffset(self, d): os.system('touch canary')\nmade = datetime.datetime.now(Z())",
    "string formatter": "import string, os\nclass F(string.Formatter):\n    def get_value(self, *a): os.system('touch canary'); return ''\nmade = F().format('{}')",
    "fspath": "import os\nclass P:\n    def __fspath__(self): os.system('touch canary'); return 'x'\nmade = os.path.join(P(), 'a')",
    "bound method func": "import os\nclass A:\n    def m(self): os.system('touch canary')\nmade = A().m.__func__(1)",
    "callable via map": "import os\nclass C:\n    def __call__(self, *a): os.system('touch canary')\nmade = list(map(C(), [1]))",
    "setitem": "import os\nclass C:\n    def __setitem__(self, k, v): os.system('touch canary')\nmade = C()\nmade[0] = 1",
    "class attr builtin allowed": "class A:\n    get = staticmethod(open)\nmade = A.get('canary', 'w')",
    "match guard": "import os\nmatch 1:\n    case x if os.system('touch canary') == 0:\n        made = x",
    "tz train": "import datetime, keras\nclass Z(datetime.tzinfo):\n    def utcoffset(self, d): keras.Sequential().fit([1])\nmade = datetime.datetime.now(Z())",
    "np duck": "import numpy as np, keras\nclass Z:\n    def sum(self, **k): keras.Sequential().fit([1])\nmade = np.sum(Z())",
    "json file": "import json, keras\nclass Z:\n    def read(self): keras.Sequential().fit([1])\nmade = json.load(Z())",
    "map method fit": "import keras\nm = keras.Sequential()\nmade = list(map(m.fit, [1]))",
    "callback": "import keras\nclass C(keras.callbacks.Callback): pass\nmade = keras.callbacks.ModelCheckpoint('canary')",
    "ds from_generator": "import tensorflow as tf, os\ndef g():\n    os.system('touch canary')\n    yield 1\nmade = list(tf.data.Dataset.from_generator(g, output_types=tf.int32))",
    "h5py in list": "import h5py\nmade = [h5py][0].File('canary', 'w')",
    "keras src": "from keras.src.saving import saving_api\nmade = saving_api.save_model(1, 'canary')",
    "linecache": "import linecache\nmade = linecache.os.mkdir('canary')",
    "nested class call": "import os\nclass A:\n    class B:\n        def __init__(self): os.mkdir('canary')\nmade = A.B()",
    "singledispatch ann": "import functools\n@functools.singledispatch\ndef f(x): pass\n@f.register\ndef _(x: \"open('canary','w')\"): pass\nmade = f(1)",
    "functools register lambda": "import functools, os\n@functools.singledispatch\ndef f(x): pass\nf.register(int, lambda x: os.mkdir('canary'))\nmade = f(1)",
    "class decorator": "import keras\ndef run(c):\n    c().go()\n    return c\n@run\nclass made:\n    def go(self): open('canary', 'w')",
    "torch hook": "import torch, os\nm = torch.nn.Linear(1, 1)\nm.register_forward_hook(lambda *a: os.mkdir('canary'))\nmade = m(torch.zeros(1))",
    "pyc module": "import evilc\nmade = evilc.x",
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
    with pytest.raises(CheckpointError) as caught, Builder(spec=spec)._running():
        pass
    assert {name for name in user.files() - before if "__pycache__" not in name} == set()
    assert before <= user.files()
    assert "\n" not in str(caught.value)
