"""The user's own code, run only because the user named it: `--builder FILE.py:NAME` or `package.module:NAME`."""

import ast
import difflib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import keras

from rnneval.errors import CheckpointError, UsageError
from rnneval.models.lm import eagerly
from rnneval.text import Vocabulary


def build(spec: str, arguments: Mapping[str, Any], vocabulary: Vocabulary | None) -> Any:
    """Import what `spec` names and call it for a model.

    Args:
        spec: `FILE.py:NAME` or `package.module:NAME`, split at the last colon. Importing it runs it.
        arguments: The arguments of `--builder-arg`.
        vocabulary: Offered as `vocabulary` (the tokens in the order of their ids) and `vocab_size`, to a callable
            whose signature takes them.

    Returns:
        The model: the value that the callable returned, or the named object itself if it is a Keras model.

    Raises:
        CheckpointError: it cannot be imported, found or called, or returns no model; the message says which.
    """
    with _importable(spec):
        module, name = _module(spec)
        named = _named(module, name, spec)
        if isinstance(named, keras.Model):
            return named
        with eagerly():
            model = _call(named, spec, _arguments(named, spec, arguments, vocabulary))
    if not callable(model) or isinstance(model, (str, type)):
        raise CheckpointError(f"builder {spec} returned {_described(model)}: a model is needed")
    return model


def parse_arguments(pairs: Sequence[str] | Mapping[str, Any]) -> Mapping[str, Any]:
    """Read `name=value` pairs whose values are Python literals; what is no literal is text. A map stays as it is.

    Example:
        >>> parse_arguments(("rnn_units=1024", "cell=lstm", "dropout=0.1", "sizes=(2, 3)"))
        {'rnn_units': 1024, 'cell': 'lstm', 'dropout': 0.1, 'sizes': (2, 3)}
    """
    if isinstance(pairs, Mapping):
        return pairs
    arguments: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(f"--builder-arg {pair!r}: give name=value, such as rnn_units=1024")
        try:
            arguments[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            arguments[name] = value
    return arguments


def takes_vocabulary(spec: str) -> bool:
    """Return whether the builder has a parameter `vocab_size` or `vocabulary` without a default."""
    with _importable(spec):
        module, name = _module(spec)
        named = _named(module, name, spec)
    parameters = _parameters(named)
    return any(
        parameters[key].default is inspect.Parameter.empty for key in ("vocab_size", "vocabulary") if key in parameters
    )


def custom_objects(spec: str) -> dict[str, Any]:
    """Import the module of `spec`, which runs it, and return the objects that a full model may ask for.

    These are its layers and models, by their own names and by the names under which they are registered, and its
    functions (an activation, for example). The name in `spec` need not exist in the module.

    Raises:
        CheckpointError: the module cannot be imported.
    """
    with _importable(spec):
        module, _ = _module(spec)
    found: dict[str, Any] = {}
    for name, value in vars(module).items():
        if isinstance(value, type):
            of_keras = value.__module__.startswith(("keras.", "tensorflow."))
            may_be_saved = not of_keras and issubclass(value, keras.layers.Layer)
        else:
            of_module = getattr(value, "__module__", None) == module.__name__
            may_be_saved = callable(value) and of_module and hasattr(value, "__code__")
        if may_be_saved:
            found[name] = value
            found[keras.saving.get_registered_name(value)] = value
    return found


@contextmanager
def _importable(spec: str) -> Iterator[None]:
    """Let the user's file import its neighbours, as it could when run as a script; no other code may."""
    target, _, _ = spec.rpartition(":")
    folder = str(Path(target).resolve().parent) if target.endswith(".py") else str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _module(spec: str) -> tuple[ModuleType, str]:
    target, colon, name = spec.rpartition(":")
    if not colon or not target or not name:
        raise UsageError(f"--builder {spec!r}: give FILE.py:NAME or package.module:NAME")
    if not target.endswith(".py"):
        return _ran(lambda: importlib.import_module(target), target), name
    path = Path(target)
    if not path.is_file():
        raise CheckpointError(f"builder {spec}: {target} is not a file")
    seen = path.stat()  # a file that was edited since is another module: in a notebook the second try must see it
    unique = f"rnneval_builder_{path.stem}_{abs(hash((path.resolve(), seen.st_mtime_ns, seen.st_size)))}"
    if unique in sys.modules:
        return sys.modules[unique], name
    return _ran(lambda: _run_file(path, unique), target), name


def _run_file(path: Path, unique: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(unique, path)
    assert spec is not None  # noqa: S101 - a path that ends in .py always has one
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    sys.modules[unique] = module  # before it runs: dataclasses and Keras look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[unique]
        raise
    return module


def _ran(run: Callable[[], ModuleType], target: str) -> ModuleType:
    try:
        return run()
    except (Exception, SystemExit) as error:
        said = f"{type(error).__name__}: {_one_line(error)}{_where(error, target)}"
        raise CheckpointError(f"importing {target} (which runs it) failed: {said}") from error


def _named(module: ModuleType, name: str, spec: str) -> Any:
    named: Any = module
    for part in name.split("."):
        if not hasattr(named, part):
            own = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
            close = difflib.get_close_matches(name, own, n=3) or own[:5]
            raise CheckpointError(
                f"builder {spec}: there is no {name} in it; there is {', '.join(close) or 'nothing callable'}"
            )
        named = getattr(named, part)
    if not callable(named):
        raise CheckpointError(
            f"builder {spec}: {name} is {_described(named)}: a function, a class or a Keras model is needed"
        )
    return named


def _parameters(named: Any) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(named).parameters
    except (TypeError, ValueError):
        return {}


def _arguments(named: Any, spec: str, given: Mapping[str, Any], vocabulary: Vocabulary | None) -> dict[str, Any]:
    parameters = _parameters(named)
    free = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    unknown = [name for name in given if name not in parameters and not free]
    if unknown:
        raise CheckpointError(
            f"builder {spec} takes no {', '.join(unknown)}; it takes {', '.join(parameters) or 'nothing'}"
        )
    offered = {} if vocabulary is None else {"vocab_size": vocabulary.size, "vocabulary": list(vocabulary.tokens)}
    arguments = {**{name: value for name, value in offered.items() if name in parameters}, **given}
    missing = [
        name
        for name, parameter in parameters.items()
        if parameter.default is inspect.Parameter.empty
        and name not in arguments
        and parameter.kind in {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
    ]
    if missing:
        raise CheckpointError(f"builder {spec} needs {', '.join(missing)}: {_how_to_give(missing)}")
    return arguments


def _how_to_give(missing: list[str]) -> str:
    plain = [name for name in missing if name not in {"vocab_size", "vocabulary"}]
    ways = [f"give {' '.join(f'--builder-arg {name}=…' for name in plain)}"] if plain else []
    if len(plain) < len(missing):
        ways.append("give --vocab FILE or --vocab-from TEXT, from which it is known (or --builder-arg vocab_size=…)")
    return " and ".join(ways)


def _call(named: Any, spec: str, arguments: Mapping[str, Any]) -> Any:
    try:
        return named(**arguments)
    except (Exception, SystemExit) as error:
        target = spec.rpartition(":")[0]
        said = f"{type(error).__name__}: {_one_line(error)}{_where(error, target)}"
        raise CheckpointError(f"builder {spec} raised {said}") from error


def _where(error: BaseException, target: str) -> str:
    """Return the last line of the user's own file in the traceback, in parentheses; "" if there is none."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.endswith(Path(target).name):
            line = trace.tb_lineno
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.lineno is not None:
        line = error.lineno
    return f" ({target}:{line})" if line else ""


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


def _described(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
