"""What is handed to a function that calls it must be allowed as if it were called, and so must what a format reads.

Each hostile script binds `made`, and is refused from its source: nothing of it runs, so that it needs no guard.
"""

# ruff: noqa: E501 - code in one line reads as a table

import pytest

from rnneval.checkpoints.usercode.plan import plan
from rnneval.errors import CheckpointError

HOSTILE = {
    "formatter get_field in map": "import string\nf = string.Formatter()\nmade = list(map(f.get_field, ['0.count'], [('a',)], [{}]))",
    "formatter unbound": "import string\nmade = list(map(string.Formatter.get_field, [string.Formatter()], ['0.a'], [(1,)], [{}]))",
    "formatter in a list": "import string\nmade = [string.Formatter().get_field][0]('0.a', (1,), {})",
    "formatter subclass": "import string\nclass made(string.Formatter):\n    pass\nx = made().vformat('{0.a}', (1,), {})\nmade = x",
    "formatter by from": "from string import Formatter as F\nmade = [F().get_field]",
    "partial of get_field": "import string, functools\nmade = functools.partial(string.Formatter().get_field, '0.a')((1,), {})",
    "reduce of getattr": "import functools\nmade = functools.reduce(getattr, ['__class__'], 1)",
    "partial of getattr": "import functools\nmade = functools.partial(getattr, 1)('real')",
    "attrgetter in map": "import operator\nmade = list(map(operator.attrgetter('__class__'), [1]))",
    "attrgetter by from": "from operator import attrgetter as a\nmade = a('__class__')(1)",
    "methodcaller": "import operator\nmade = operator.methodcaller('touch')(1)",
    "object getattribute": "made = object.__getattribute__(1, '__class__')",
    "getattribute in map": "made = list(map(object.__getattribute__, [1], ['__class__']))",
    "type getattribute": "made = list(map(type.__getattribute__, [int], ['__subclasses__']))",
    "super getattribute": "class A:\n    def f(self): return super().__getattribute__('__class__')\nmade = A().f()",
    "subclasses": "made = object.__subclasses__()",
    "subclasses in map": "made = list(map(type.__subclasses__, [object]))",
    "mro in map": "made = list(map(type.mro, [int]))",
    "format string": "made = '{0.__class__.__mro__}'.format(1)",
    "format string of a name": "t = '{0.__class__}'\nmade = t.format(1)",
    "format_map": "made = '{a.__class__}'.format_map({'a': 1})",
    "str.format in map": "made = list(map(str.format, ['{0.__class__}'], [1]))",
    "format of globals": "def f(): pass\nmade = '{0.__globals__}'.format(f)",
    "bound format in map": "made = list(map('{0.__init__.__globals__}'.format, [1]))",
    "index and attribute": "made = '{0[a].__class__}'.format({'a': 1})",
    "tf print": "import tensorflow as tf\nmade = tf.print('x', output_stream='file://canary')",
    "tf print in partial": "import tensorflow as tf, functools\nmade = functools.partial(tf.print, output_stream='file://canary')('x')",
    "tf print by name": "import tensorflow as tf\np = tf.print\nmade = p('x', output_stream='file://' + 'canary')",
    "tf print stars": "import tensorflow as tf\nmade = tf.print('x', **{'output_stream': 'file://canary'})",
    "tf print stream in a name": "import tensorflow as tf\ns = 'file://canary'\nmade = tf.print('x', output_stream=s)",
    "tf print in map": "import tensorflow as tf\nmade = list(map(lambda x: tf.print(x, output_stream='file://canary'), ['x']))",
    "tf print in dataset": "import tensorflow as tf\ndef f(x):\n    tf.print(x, output_stream='file://canary')\n    return x\nmade = [int(x) for x in tf.data.Dataset.range(1).map(f)]",
    "tf print in function": "import tensorflow as tf\n@tf.function\ndef f(x):\n    tf.print(x, output_stream='file://canary')\n    return x\nmade = f(1)",
    "tf print by from": "from tensorflow import print as p\nmade = p('x', output_stream='file://canary')",
    "tf print in a list": "import tensorflow as tf\nmade = [tf.print][0]('x', output_stream='file://canary')",
    "tf print as a default": "import tensorflow as tf\ndef f(p=tf.print): return p('x', output_stream='file://canary')\nmade = f()",
    "tf print handed to an own function": "import tensorflow as tf\ndef f(p): return p('x', output_stream='file://canary')\nmade = f(tf.print)",
    "tf print in starmap": "import tensorflow as tf, itertools\nmade = list(itertools.starmap(tf.print, [('x',)]))",
    "singledispatch annotation": "import functools\n@functools.singledispatch\ndef f(x): return x\n@f.register\ndef g(x: \"open('canary', 'w')\"): return x\nmade = f",
    "singledispatch unaudited": "import functools\n@functools.singledispatch\ndef f(x): return x\n@f.register\ndef g(x: \"__import__('os').mkfifo('canary') or int\"): return x\nmade = f",
    "filter of a method": "from pathlib import Path\nmade = list(filter(Path('canary').touch, [438]))",
    "sorted key of a method": "from pathlib import Path\nmade = sorted(['x'], key=Path('canary').write_text)",
    "max key unknown": "import torch\nmade = max(['canary'], key=torch.zeros(1).untyped_storage().from_file)",
    "map of unknown method": "import numpy as np\na = np.zeros(3)\nmade = list(map(a.setfield, [1], ['int8']))",
    "reduce of a method": "import functools, io\ns = io.StringIO()\nmade = functools.reduce(s.detach_all, [1, 2])",
    "iter sentinel": "import io\ns = io.BytesIO()\nmade = list(iter(s.getbuffer_all, 1))",
    "sort key": "x = ['a']\nx.sort(key=x.foo_bar)\nmade = x",
    "own function that calls": "import io\ndef call(f, x): return f(x)\ns = io.StringIO()\nmade = call(s.reconfigure_all, 1)",
    "defaultdict of a method": "import collections, io\nd = collections.defaultdict(io.StringIO().fileno_all)\nmade = d[1]",
    "partial of os by sys modules": "import functools, sys\nmade = functools.partial(sys.modules.get, 'os')()",
    "map of sys.modules.get": "import sys\nmade = list(map(sys.modules.get, ['os']))",
    "vars of module": "import string\nmade = vars(string)['_re']",
    "map of __import__": "made = list(map(__import__, ['os']))",
    "accumulate of getattr": "import itertools\nmade = list(itertools.accumulate([1, 'real'], getattr))",
    "groupby key": "import itertools, pathlib\nmade = list(itertools.groupby(['x'], pathlib.Path('canary').write_text))",
    "re.sub with a function": "import re, os\nmade = re.sub('a', os.mkdir, 'a')",
    "json hook by method": "import json, pathlib\nmade = json.loads('{}', object_hook=pathlib.Path('canary').write_text)",
    "argparse type": "import argparse, pathlib\np = argparse.ArgumentParser()\np.add_argument('--x', type=pathlib.Path('canary').write_text, default='a')\nmade = p.parse_args()",
    "lambda that formats": "made = (lambda x: '{0.__class__}'.format(x))(1)",
    "operator call": "import operator, os\nmade = operator.call(os.mkfifo, 'canary')",
    "functools cache of os": "import functools, os\nmade = functools.cache(os.mkfifo)('canary')",
    "wraps dunder": "import functools\ndef f(): pass\nmade = functools.update_wrapper(f, f, ('__globals__',)).__globals__",
    "copy of a module": "import copy, string\nmade = copy.copy(string)",
    "enum of a module": "import enum, string\nmade = enum.global_enum(string)",
    "update_wrapper reads": "import functools\nclass A: pass\na = A()\ndef f(): pass\nb = functools.update_wrapper(a, f, ['__globals__'], [])\nmade = b.__dict__['__globals__']",
    "wraps with names": "import functools\nclass A: pass\ndef f(): pass\nmade = functools.wraps(f, ['__globals__'])(A())",
    "starred": "import io\nf = io.StringIO()\nmade = map(*[f.anything], 'a')",
    "unsafe deserialization": "import keras\nmade = keras.config.enable_unsafe_deserialization()",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_refused_from_the_source(user, case):
    with pytest.raises(CheckpointError, match="it was not run"):
        plan(user.spec("made", HOSTILE[case]))


RIGHT = {
    "str methods": "made = list(map(str.lower, ['A'])) + sorted(['b', 'a'], key=str.upper) + list(filter(str.isalpha, 'a1'))",
    "len key": "made = max(['a', 'bb'], key=len)",
    "get key": "d = {'a': 2, 'b': 1}\nmade = sorted(d, key=d.get)",
    "own key": "def k(x): return -x\nmade = sorted([1, 2], key=k)",
    "lambda key": "made = sorted([1, 2], key=lambda x: -x)",
    "partial": "import functools\nadd = functools.partial(max, 3)\nmade = add(1)",
    "partial of layer": "import functools, keras\nD = functools.partial(keras.layers.Dense, activation='relu')\nmade = D(3).units",
    "reduce": "import functools, operator\nmade = functools.reduce(operator.mul, [2, 3], 1)",
    "itemgetter": "import operator\nmade = sorted({'a': 2, 'b': 1}.items(), key=operator.itemgetter(1))",
    "format": "made = '{:>3} {0!r} {x.real}'.replace('{0!r}', '').format(1, x=2)",
    "format fields": "made = '{0} {name:<5} {x[0]} {y.real}'.format(1, name='a', x=[1], y=2)",
    "format template": "t = 'model_{units}_{rate}'\nmade = t.format(units=3, rate=0.1)",
    "join map": "made = ' '.join(map(str, range(3)))",
    "map int": "made = list(map(int, '1 2'.split()))",
    "map of split": "made = [w for line in map(str.split, ['a b', 'c']) for w in line]",
    "Counter": "import collections\nmade = collections.Counter('aab').most_common(1)",
    "defaultdict": "import collections\nd = collections.defaultdict(list)\nd['a'].append(1)\nmade = dict(d)",
    "defaultdict of own": "import collections\nc = collections.defaultdict(lambda: len(c))\nmade = [c[x] for x in 'aab']",
    "counter of ids": "import itertools, collections\nc = itertools.count()\nids = collections.defaultdict(c.__next__)\nmade = [ids[x] for x in 'aba']",
    "encode map": "vocab = {'a': 0}\ndef encode(t): return [vocab[c] for c in t]\nmade = list(map(encode, ['aa']))",
    "tf print": "import tensorflow as tf\ntf.print('x')\nmade = 1\nif tf.print('a') is None:\n    made = 2",
    "dataset map": "import tensorflow as tf\nd = tf.data.Dataset.range(3).map(lambda x: x + 1)\nmade = [int(x) for x in d]",
    "args as data": "import argparse\np = argparse.ArgumentParser()\np.add_argument('--units', type=int, default=3)\nargs = p.parse_args()\ndef build(units): return units\nmade = build(args.units)",
    "config as data": "class C:\n    units = 3\n    names = ['a']\ndef build(units, names): return units\nmade = build(C.units, C().names)",
    "max of attributes": "class A:\n    def __init__(self, n): self.size = n\nmade = max(A(1).size, A(2).size)",
    "min of config": "import argparse\na = argparse.Namespace(window=3, most=2)\nmade = min(a.window, a.most)",
    "sorted of an attribute": "import argparse\na = argparse.Namespace(sizes=[2, 1])\nmade = sorted(a.sizes)",
    "map over an attribute": "import argparse\na = argparse.Namespace(sizes=[2, 1])\nmade = list(map(float, a.sizes))",
    "zip product": "import itertools\nmade = list(itertools.product('ab', repeat=2))",
    "lru_cache": "import functools\n@functools.lru_cache(maxsize=None)\ndef f(x): return x\nmade = f(3)",
    "wraps": "import functools\ndef d(f):\n    @functools.wraps(f)\n    def g(*a): return f(*a)\n    return g\n@d\ndef h(): return 3\nmade = h()",
    "template string": "import string\nmade = string.Template('$a').substitute(a=1)",
    "ascii letters": "import string\nmade = sorted(string.ascii_letters)[:2]",
    "method of own object in map": "class T:\n    def encode_one(self, c): return ord(c)\nt = T()\nmade = list(map(t.encode_one, 'ab'))",
    "own function that calls its argument": "def twice(f, x): return f(f(x))\ndef inc(x): return x + 1\nmade = twice(inc, 1)",
    "stringlookup": "import keras\nl = keras.layers.StringLookup(vocabulary=['a'])\nmade = len(l.get_vocabulary())",
    "re sub": "import re\nmade = re.sub('[a-z]', lambda m: m.group(0).upper(), 'ab')",
    "json": "import json\nmade = json.loads('{\"a\": 1.5}', parse_float=float)",
}


@pytest.mark.parametrize("case", RIGHT)
def test_usual_code_still_runs(user, case):
    assert hasattr(user.run("made", RIGHT[case]), "made")
    assert user.files() == {"train.py"}
