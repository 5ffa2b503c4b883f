"""Builders: the user's own code, run only because the user named it.

`--builder FILE.py:NAME` and `FILE.ipynb:NAME` run the statements that NAME needs; `package.module:NAME` is imported.
"""

import difflib
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import tensorflow as tf

from rnneval.errors import CheckpointError, RnnevalError, UsageError
from rnneval.models.lm import eagerly
from rnneval.text import Vocabulary
from rnneval.usercode import Slice, forget, is_file, neighbours_scanned, plan, run_slice, split_spec, whole


@dataclass(frozen=True, kw_only=True)
class Builder:
    """The user's own code that makes the model, its arguments, and how it is run."""

    spec: str
    """`FILE.py:NAME`, `FILE.ipynb:NAME` or `package.module:NAME`, split at the last colon."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """The arguments of `--builder-arg`."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """The values of `--builder-global`."""
    run_module: bool = False
    """Whether a file is imported as a whole. By default only the statements that NAME needs are run."""

    def __post_init__(self) -> None:
        target, _ = split_spec(self.spec)
        if self.values and (self.run_module or not is_file(self.spec)):
            what = "--run-module runs all statements" if self.run_module else f"{target} is imported as a whole"
            raise UsageError(f"--builder-global stands in place of a statement of FILE.py or FILE.ipynb, and {what}")

    def build(self, vocabulary: Vocabulary | None) -> Any:
        """Run the code and call what it names for a model.

        Args:
            vocabulary: Offered as `vocabulary` (the tokens in the order of their ids) and `vocab_size`, to a callable
                whose signature takes them.

        Returns:
            The model: the value that the callable returned, or the named object itself if it is a model.

        Raises:
            CheckpointError: the code may not be run, cannot be run, found or called, or returns no model; the message
                says which.
        """
        with self._importable():
            module, name = self._module()
            named = _named(module, name, self.spec)
            if isinstance(named, (keras.layers.Layer, tf.Module)):
                self._require_no_arguments()
                if self._slice is not None:
                    forget(module)  # another opening gets a model of its own
                return named
            with eagerly():
                arguments = _arguments(named, self.spec, self.arguments, vocabulary)
                model = self._ran(lambda: named(**arguments), f"builder {self.spec} raised")
        if not callable(model) or isinstance(model, (str, type)):
            raise CheckpointError(f"builder {self.spec} returned {_described(model)}: a model is needed")
        return model

    def takes_vocabulary(self) -> bool:
        """Return whether the builder has a parameter `vocab_size` or `vocabulary` without a default."""
        return any(
            parameter.default is inspect.Parameter.empty
            for name, parameter in self.parameters().items()
            if name in {"vocab_size", "vocabulary"}
        )

    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """Return the parameters of the named callable; a model has none."""
        with self._importable():
            module, name = self._module()
            named = _named(module, name, self.spec)
        return {} if isinstance(named, (keras.layers.Layer, tf.Module)) else _parameters(named)

    def numbers(self) -> dict[str, int]:
        """Return the whole numbers that the file binds at its top level, by name; none of a module."""
        if self._slice is None:
            return {}
        with self._importable():
            module, _ = self._module()
        bound = {name for unit in self._slice.units for name in unit.names.binds} | set(self.values)
        return {name: value for name, value in vars(module).items() if name in bound and type(value) is int}

    def custom_objects(self) -> dict[str, Any]:
        """Return the objects of the user's file or module that a full model may ask for.

        These are its layers and models, by their own names and by the names under which they are registered, and its
        functions (an activation, for example). Classes and functions that need a statement which may not be run are
        left out. NAME need not exist.

        Raises:
            CheckpointError: the code may not be run or cannot be run.
        """
        with self._importable():
            module, _ = self._module(everything=True)
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

    def notes(self, *, everything: bool = False) -> tuple[str, ...]:
        """Return the assumptions: which lines were run, and what was left out; none for a module."""
        sliced = self._everything if everything else self._slice
        if sliced is None:
            return ()
        count, name = len(sliced.lines()), self.spec.rpartition(":")[2]
        of, needed = f"{len(sliced.source.lines):,} lines", "all were run"
        if not self.run_module:
            needed = f"{count:,} were run, which {name} needs: {sliced.shown_lines()}"
        return (f"of the {of} of {sliced.source.shown}, {needed}", *sliced.notes, *sliced.source.notes)

    @cached_property
    def _slice(self) -> Slice | None:
        if not is_file(self.spec):
            return None
        return whole(self.spec) if self.run_module else plan(self.spec, self.values)

    @cached_property
    def _everything(self) -> Slice | None:
        if not is_file(self.spec):
            return None
        return whole(self.spec) if self.run_module else plan(self.spec, self.values, everything=True)

    @contextmanager
    def _importable(self) -> Iterator[None]:
        """Let the user's file import its neighbours, as it could when run as a script; no other code may."""
        target, _ = split_spec(self.spec)
        folder = str(Path(target).resolve().parent) if is_file(self.spec) else str(Path.cwd())
        sys.path.insert(0, folder)
        try:
            if is_file(self.spec) and not self.run_module and self._slice is not None:
                with neighbours_scanned(self._slice):
                    yield
            else:
                yield
        finally:
            with suppress(ValueError):  # the user's code may have changed the list
                sys.path.remove(folder)

    def _module(self, *, everything: bool = False) -> tuple[ModuleType, str]:
        """Run the code; return its module and NAME."""
        target, name = split_spec(self.spec)
        sliced = self._everything if everything else self._slice
        if sliced is None:
            return self._ran(
                lambda: importlib.import_module(target), f"importing {target} (which runs it) failed:"
            ), name
        what = f"importing {target} (which runs it)"
        if not self.run_module:
            what = f"running what {name} needs of {target} ({sliced.shown_lines()})"
        return self._ran(lambda: run_slice(sliced), f"{what} failed:"), name

    def _ran(self, run: Callable[[], Any], what: str) -> Any:
        """Run code of the user's, and turn what it raises into one line."""
        try:
            return run()
        except RnnevalError:
            raise
        except (Exception, SystemExit) as error:
            said = f"{type(error).__name__}: {_one_line(error)}{self._where(error)}{self._about_name(error)}"
            raise CheckpointError(f"{what} {said}") from error

    def _where(self, error: BaseException) -> str:
        """Return the last line of the user's own file in the traceback, in parentheses; "" if there is none."""
        target, _ = split_spec(self.spec)
        line, trace = None, error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename.endswith(Path(target).name):
                line = trace.tb_lineno
            trace = trace.tb_next
        if isinstance(error, SyntaxError) and error.lineno is not None:
            line = error.lineno
        if not line:
            return ""
        return f" ({target}:{line})" if self._slice is None else f" ({self._slice.source.place(line)})"

    def _about_name(self, error: BaseException) -> str:
        """Return what to do about a name that the file does not bind where it is run."""
        if not isinstance(error, NameError) or self._slice is None or self.run_module:
            return ""
        guarded = error.name in self._slice.source.guarded
        where = ', which is bound under if __name__ == "__main__" alone' if guarded else ""
        return f"{where}: give --builder-global {error.name}=VALUE"

    def _require_no_arguments(self) -> None:
        if self.arguments:
            name = self.spec.rpartition(":")[2]
            raise CheckpointError(
                f"builder {self.spec}: {name} is a model that is made already, and takes no "
                f"{', '.join(self.arguments)}: leave --builder-arg out, name its class or the function that makes it, "
                "or change what it is made of by --builder-global NAME=VALUE"
            )


def build(spec: str, arguments: Mapping[str, Any], vocabulary: Vocabulary | None) -> Any:
    """Build the model that `spec` names; see `Builder`."""
    return Builder(spec=spec, arguments=arguments).build(vocabulary)


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


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


def _described(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
