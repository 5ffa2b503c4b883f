"""Builders: the user's own code, run only because the user named it.

`--builder FILE.py:NAME` and `FILE.ipynb:NAME` run the statements that NAME needs; `package.module:NAME` is imported.
"""

import ast
import difflib
import importlib.util
import inspect
import shlex
import sys
import traceback
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from rnneval.errors import CheckpointError, RnnevalError, UsageError, type_and_message
from rnneval.options import OpeningGroup
from rnneval.text import Vocabulary
from rnneval.usercode.arguments import parse_arguments
from rnneval.usercode.plan import is_file, plan, read_file, split_spec, whole
from rnneval.usercode.run import forget, neighbours_scanned, run_slice
from rnneval.usercode.slice import Slice
from rnneval.usercode.source import Source, read_source

T = TypeVar("T")
_MAKERS = ("__new__", "__init__")


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
        if self.values and self.runs_everything:
            what = "--run-module runs all statements" if self.run_module else f"{target} is imported as a whole"
            raise UsageError(f"--builder-global stands in place of a statement of FILE.py or FILE.ipynb, and {what}")

    def build(
        self,
        vocabulary: Vocabulary | None,
        *,
        checkpoint: str | None = None,
        around: Callable[[], AbstractContextManager[None]] = nullcontext,
        seen: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> Any:
        """Run the code and call what it names for a model.

        Args:
            vocabulary: Offered as `vocabulary` (the tokens in the order of their ids) and `vocab_size`, to a callable
                whose signature takes them.
            checkpoint: Path of the checkpoint, offered in the same way to one that reads the file itself.
            around: Context in which the callable is called.
            seen: Called with the names that the code binds, and their values.

        Returns:
            The model: the value that the callable returned, or the named object itself if it is a model.

        Raises:
            CheckpointError: the code may not be run, cannot be run, found or called, or returns no model; the message
                says which.
        """
        name = split_spec(self.spec)[1]
        with self._importable(self._slice):
            module = self._module(self._slice)
            if seen is not None:
                seen(vars(module))
            named = _named(module, name, self.spec)
            if _is_model(named):
                self._require_no_arguments()
                if self._slice is not None:
                    forget(module)  # another opening gets a model of its own
                return named
            with around():
                offered = {} if checkpoint is None else {"checkpoint": checkpoint}
                arguments = _arguments(named, self.spec, {**offered, **self.arguments}, vocabulary)
                model = self._ran(lambda: named(**arguments), f"builder {self.spec} raised")
        if checkpoint is None and (not callable(model) or isinstance(model, (str, type))):
            raise CheckpointError(f"builder {self.spec} returned {_described(model)}: a model is needed")
        return model

    @property
    def runs_everything(self) -> bool:
        """True if all statements are run, and none is searched for what it does."""
        return self.run_module or not is_file(self.spec)

    def takes_vocabulary(self) -> bool:
        """Return whether the builder has a parameter `vocab_size` or `vocabulary` without a default."""
        return any(
            parameter.default is inspect.Parameter.empty
            for name, parameter in self.parameters().items()
            if name in {"vocab_size", "vocabulary"}
        )

    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """Return the parameters of the named callable; a model has none."""
        with self._importable(self._slice):
            named = _named(self._module(self._slice), split_spec(self.spec)[1], self.spec)
        return {} if _is_model(named) else _parameters(named)

    def numbers(self) -> dict[str, int]:
        """Return the whole numbers that the file binds at its top level, by name; none of a module."""
        if self._slice is None:
            return {}
        with self._importable(self._slice):
            module = self._module(self._slice)
        bound = {name for unit in self._slice.units for name in unit.names.binds} | set(self.values)
        return {name: value for name, value in vars(module).items() if name in bound and type(value) is int}

    def everything(self) -> ModuleType:
        """Run the whole file or module but for statements that may not be run; NAME need not exist.

        Raises:
            CheckpointError: the code may not be run or cannot be run.
        """
        with self._importable(self._everything):
            return self._module(self._everything)

    def preflight(self, *, everything: bool = False, offered: Container[str] = ()) -> None:
        """Refuse code that may not be run or cannot be called, before anything is run; see `build` and `everything`.

        Args:
            everything: Whether the code is run for all that it defines, and NAME is not called.
            offered: Arguments that it may be offered beside those of `--builder-arg`.

        Raises:
            CheckpointError: the file cannot be read, has no such name, needs a statement that may not be run, or an
                argument that is not given.
        """
        _ = self._everything if everything else self._slice
        if not everything and self._source is not None:
            known = _needed_of(self._source, split_spec(self.spec)[1])
            _require_given(self.spec, [name for name in known if name not in self.arguments and name not in offered])

    def notes(self, *, everything: bool = False) -> tuple[str, ...]:
        """Return the assumptions: which lines were run, and what was left out; none for a module."""
        sliced = self._everything if everything else self._slice
        if sliced is None:
            return ()
        count, name = len(sliced.lines()), self.spec.rpartition(":")[2]
        of, needed = f"{len(sliced.source.lines):,} lines", "all were run"
        if not self.run_module:
            why = "which the model may ask for" if everything else f"which {name} needs"
            needed = f"{count:,} were run, {why}: {sliced.shown_lines()}"
        return (f"of the {of} of {sliced.source.shown}, {needed}", *sliced.notes, *sliced.source.notes)

    @cached_property
    def _source(self) -> Source | None:
        return read_file(self.spec) if is_file(self.spec) else None

    @cached_property
    def _slice(self) -> Slice | None:
        return self._planned(everything=False)

    @cached_property
    def _everything(self) -> Slice | None:
        return self._planned(everything=True)

    def _planned(self, *, everything: bool) -> Slice | None:
        """Return the statements to be run; None for a module, which is imported."""
        if self._source is None:
            return None
        if self.run_module:
            return whole(self.spec, self._source)
        return plan(self.spec, self.values, everything=everything, source=self._source)

    @contextmanager
    def _importable(self, sliced: Slice | None) -> Iterator[None]:
        """Let the user's file import its neighbours, as it could when run as a script; no other code may."""
        target, _ = split_spec(self.spec)
        folder = str(Path(target).resolve().parent) if sliced is not None else str(Path.cwd())
        sys.path.insert(0, folder)
        try:
            with nullcontext() if sliced is None or self.run_module else neighbours_scanned(sliced):
                yield
        finally:
            with suppress(ValueError):  # the user's code may have changed the list
                sys.path.remove(folder)

    def _module(self, sliced: Slice | None) -> ModuleType:
        """Run the code and return its module."""
        target, name = split_spec(self.spec)
        what = f"importing {target} (which runs it)"
        if sliced is None:
            return self._ran(lambda: importlib.import_module(target), f"{what} failed:")
        if not self.run_module:
            what = f"running what {name} needs of {target} ({sliced.shown_lines()})"
        return self._ran(lambda: run_slice(sliced), f"{what} failed:")

    def _ran(self, run: Callable[[], T], what: str) -> T:
        """Run code of the user's, and turn what it raises into one line."""
        try:
            return run()
        except RnnevalError:
            raise
        except (Exception, SystemExit) as error:
            about = (self._about_name, self._about_path, self._about_exit, self._about_package)
            advice = next(filter(None, (each(error) for each in about)), "")
            said = f"{type_and_message(error)}{self._where(error)}{advice}"
            raise CheckpointError(f"{what} {said}") from error

    def _where(self, error: BaseException) -> str:
        """Return the last line of the user's own file in the traceback, in parentheses; "" if there is none."""
        if self._source is None:
            return ""
        own = str(self._source.path.absolute())
        line = None
        for frame, number in traceback.walk_tb(error.__traceback__):
            line = number if frame.f_code.co_filename == own else line
        if isinstance(error, SyntaxError) and error.filename == own:
            line = error.lineno
        return f" ({self._source.place(line)})" if line else ""

    def _about_name(self, error: BaseException) -> str:
        """Return what to do about a name that the file does not bind where it is run."""
        if not isinstance(error, NameError) or self._source is None or self.run_module:
            return ""
        guarded = error.name in self._source.guarded
        where = ', which is bound under if __name__ == "__main__" alone' if guarded else ""
        return f"{where}: give --builder-global {error.name}=VALUE"

    def _about_path(self, error: BaseException) -> str:
        """Return what to do about a file that is not there, where the code names it from the current folder."""
        name = error.filename if isinstance(error, FileNotFoundError) else None
        if self._source is None or not isinstance(name, str) or Path(name).is_absolute():
            return ""
        folder = shlex.quote(str(self._source.path.parent))
        return (
            f": the code reads {name} from the current folder: cd {folder} first, or give --builder-global NAME=VALUE "
            "in place of the statement that reads it"
        )

    def _about_exit(self, error: BaseException) -> str:
        """Return what to do about code that ends the process, as argparse does on an unknown command line."""
        if self._source is None or not isinstance(error, SystemExit):
            return ""
        return (
            ": the code ends here, as argparse does on the command line of another program: give --builder-global "
            "NAME=VALUE in place of the statement, such as \"args={'units': 128}\""
        )

    def _about_package(self, error: BaseException) -> str:
        """Return what to do about a file of a package, which imports its neighbours by a dot."""
        if self._source is None or not isinstance(error, ImportError) or "relative import" not in str(error):
            return ""
        path, name = self._source.path.resolve(), split_spec(self.spec)[1]
        return (
            f": a file of a package is imported as a whole, with all that it trains and writes: cd "
            f"{shlex.quote(str(path.parent.parent))} first, and give --builder {path.parent.name}.{path.stem}:{name}"
        )

    def _require_no_arguments(self) -> None:
        if self.arguments:
            name = self.spec.rpartition(":")[2]
            raise CheckpointError(
                f"builder {self.spec}: {name} is a model that is made already, and takes no "
                f"{', '.join(self.arguments)}: leave --builder-arg out, name its class or the function that makes it, "
                "or change what it is made of by --builder-global NAME=VALUE"
            )


def builder_of(options: OpeningGroup, spec: str | None = None) -> Builder | None:
    """Return the builder that options name, or that `spec` names with the options' arguments; None without one.

    Raises:
        UsageError: options for a builder are given without one, or contradict one another.
    """
    spec = spec or options.builder
    if spec is None:
        alone = {"--builder-global": options.builder_globals, "--run-module": options.run_module}
        flags = [flag for flag, value in alone.items() if value]
        if flags:
            raise UsageError(f"{' and '.join(flags)} without a builder: give --builder FILE.py:NAME too")
        return None
    return Builder(
        spec=spec,
        arguments=parse_arguments(options.builder_arguments or ()),
        values=parse_arguments(options.builder_globals or (), "--builder-global", "vocab_size=66"),
        run_module=options.run_module,
    )


def reads_checkpoint(spec: str) -> bool:
    """Return whether a builder is a function that needs the argument `checkpoint`, and so reads the file itself.

    The file is read as source: nothing is run.
    """
    target, name = split_spec(spec)
    try:
        if is_file(spec):
            body = [unit.node for unit in read_source(Path(target)).units]
        else:
            found = importlib.util.find_spec(target)
            body = ast.parse(Path(found.origin).read_text("utf-8")).body if found and found.origin else []
    except (CheckpointError, ImportError, OSError, SyntaxError, ValueError):
        return False  # the message comes when the builder is run
    named = [node for node in body if isinstance(node, ast.FunctionDef) and node.name == name]
    return any("checkpoint" in _needed(node.args) for node in named[-1:])


def _needed(arguments: ast.arguments) -> list[str]:
    """Return the names of parameters without a default."""
    placed = [*arguments.posonlyargs, *arguments.args]
    plain = placed[: len(placed) - len(arguments.defaults)]
    named = [arg for arg, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if default is None]
    return [arg.arg for arg in (*plain, *named)]


def _needed_of(source: Source, name: str) -> list[str]:
    """Return what a function or the `__init__` of a class needs, as far as its source alone says it for certain."""
    bound = [unit.node for unit in source.units if name in unit.names.binds | unit.names.binds_later]
    node = bound[0] if len(bound) == 1 else None
    if isinstance(node, ast.FunctionDef) and not node.decorator_list:
        return _needed(node.args)
    if isinstance(node, ast.ClassDef) and not node.decorator_list and not node.keywords:
        made = [each for each in node.body if isinstance(each, ast.FunctionDef) and each.name in _MAKERS]
        if len(made) == 1 and made[0].name == "__init__" and not made[0].decorator_list:
            return _needed(made[0].args)[1:]
    return []


def _is_model(value: Any) -> bool:
    """Return whether a value is a layer of Keras or a module of TensorFlow; neither is imported to find out."""
    keras, tensorflow = sys.modules.get("keras"), sys.modules.get("tensorflow")
    return (keras is not None and isinstance(value, keras.layers.Layer)) or (
        tensorflow is not None and isinstance(value, tensorflow.Module)
    )


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
    _require_given(spec, missing)
    return arguments


def _require_given(spec: str, missing: Sequence[str]) -> None:
    if missing:
        raise CheckpointError(f"builder {spec} needs {', '.join(missing)}: {_how_to_give(missing)}")


def _how_to_give(missing: Sequence[str]) -> str:
    plain = [name for name in missing if name not in {"vocab_size", "vocabulary"}]
    ways = [f"give {' '.join(f'--builder-arg {name}=…' for name in plain)}"] if plain else []
    if len(plain) < len(missing):
        ways.append("give --vocab FILE or --vocab-from TEXT, from which it is known (or --builder-arg vocab_size=…)")
    return " and ".join(ways)


def _described(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
