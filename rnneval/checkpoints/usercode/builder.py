"""Builders: the user's own code, run only because the user named it.

`--builder FILE.py:NAME` and `FILE.ipynb:NAME` run the statements that NAME needs; `package.module:NAME` is imported.
The statements run as a module whose tracebacks and sources are those of the user's file. While they run, only what is
allowed runs of the user's own files that they import. Values of `--builder-arg` and `--builder-global` are read here.
"""

import ast
import hashlib
import importlib.util
import inspect
import linecache
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from rnneval.checkpoints.places import hash_of
from rnneval.checkpoints.usercode.neighbours import cached_file, imported_in_part, no_effects
from rnneval.checkpoints.usercode.plan import (
    CACHED,
    VALUES,
    Slice,
    allowed_part,
    is_file,
    no_such_name,
    plan,
    split_spec,
    whole,
)
from rnneval.checkpoints.usercode.source import read_source
from rnneval.errors import CheckpointError, RnnevalError, UsageError, type_and_message
from rnneval.lint.document import plain_lines
from rnneval.lint.facts import defaults_of, parameters_of
from rnneval.options import OpeningGroup
from rnneval.records.run import BuilderRecord
from rnneval.text import Vocabulary

T = TypeVar("T")

_TEXT = 1000  # characters of a string that may be a text; a shorter one may be a path
_CONSTANTS = {"true": "True", "false": "False", "none": "None"}  # as command lines and JSON write them
_OFFERED = {"vocab_size", "vocabulary"}  # arguments that a vocabulary gives
_FREE = inspect.Parameter.empty


@dataclass(frozen=True, kw_only=True)
class Builder:
    """The user's own code that makes the model, its arguments, and how it is run."""

    spec: str  # `FILE.py:NAME`, `FILE.ipynb:NAME` or `package.module:NAME`, split at the last colon; or names `target`
    target: Callable[..., Any] | None = None  # the class, function or model itself, where it was given in Python
    arguments: Mapping[str, Any] = field(default_factory=dict)  # the arguments of `--builder-arg`
    values: Mapping[str, Any] = field(default_factory=dict)  # the values of `--builder-global`
    run_module: bool = False  # whether a file is imported as a whole: by default only what NAME needs is run
    everything: bool = False
    """Whether all classes and functions of the file are run that may be: a full model asks for them by their names."""

    def __post_init__(self) -> None:
        in_file = self.target is None and is_file(self.spec)
        if (self.run_module and self.target is not None) or (self.values and (self.run_module or not in_file)):
            raise UsageError(
                f"builder {self.spec}: --builder-global and --run-module are for FILE.py:NAME or FILE.ipynb:NAME, and "
                "one of them: --run-module runs all statements"
            )
        if self.target is None:
            split_spec(self.spec)

    def build(
        self,
        vocabulary: Vocabulary | None,
        *,
        checkpoint: str | None = None,
        around: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> Any:
        """Run the code and return the model: what the named callable returns, or the named object if it is a model.

        The callable gets those of `vocabulary`, `vocab_size` and `checkpoint` that its signature takes, and is called
        in the context `around`.
        """
        with self._running() as module:
            named = self._named(module)
            if _is_model(named):
                if self.arguments:
                    raise CheckpointError(
                        f"builder {self.spec}: a model that is made takes no {', '.join(self.arguments)}: leave "
                        "--builder-arg out, name its class or the function that makes it, or change what it is made of "
                        "by --builder-global NAME=VALUE"
                    )
                if self._slice is not None:
                    sys.modules.pop(module.__name__, None)  # another opening gets a model of its own
                return named
            with around():
                offered = {} if checkpoint is None else {"checkpoint": checkpoint}
                arguments = _arguments(named, self.spec, {**offered, **self.arguments}, vocabulary)
                model = self._ran(lambda: named(**arguments), f"builder {self.spec} raised")
        if checkpoint is None and not (hasattr(model, "scorer") or (callable(model) and not isinstance(model, type))):
            seen = "None" if model is None else f"a {type(model).__name__}"
            raise CheckpointError(f"builder {self.spec} returned {seen}: a model is needed")
        return model

    def run(self) -> ModuleType:
        """Run the file or module and return it; nothing is called."""
        with self._running() as module:
            return module

    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """Return the parameters of the named callable; a model has none."""
        named = self._named(self.run())
        return {} if _is_model(named) else _parameters(named)

    def preflight(self) -> None:
        """Refuse code that may not run, before anything is run."""
        self.notes()

    def takes_vocabulary(self) -> bool:
        """Return whether the builder has a parameter `vocab_size` or `vocabulary` without a default."""
        return any(each.default is _FREE for name, each in self.parameters().items() if name in _OFFERED)

    def numbers(self) -> dict[str, int]:
        """Return the whole numbers that the file binds at its top level, by name; none of a module."""
        if self._slice is None:
            return {}
        bound = {name for unit in self._slice.units for name in unit.binds} | set(self.values)
        made = vars(self.run())
        return {name: value for name, value in made.items() if name in bound and type(value) is int}

    def text_read(self, values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
        """Return path and hash of the longest file that the code reads, as in `text = open("train.txt").read()`."""
        words = [value for value in values.values() if isinstance(value, str | Path)]
        texts = {text.replace("\r\n", "\n") for text in words if isinstance(text, str) and len(text) >= _TEXT}
        if not texts or self._slice is None:
            return ()
        longest = max(map(len, texts)) * 4  # in bytes: no character takes more than four in UTF-8
        found = []
        for path in {Path(each) for each in (*words, *self._slice.source.literals) if 0 < len(str(each)) < _TEXT}:
            with suppress(OSError, ValueError):
                if path.is_file() and path.stat().st_size <= longest:
                    raw = path.read_bytes()
                    if raw.decode().replace("\r\n", "\n") in texts:
                        found.append((len(raw), str(path), hashlib.sha256(raw).hexdigest()))
        return tuple((path, sha256) for _, path, sha256 in sorted(found)[-1:])

    def notes(self) -> tuple[str, ...]:
        """Return the assumptions: which lines were run, and what was left out; none for a module."""
        if self._slice is None:
            return ()
        source, needed = self._slice.source, "all were run"
        count = sum(len(cell.lines) for cell in source.document.cells)
        if not self.run_module:
            why = "which the model may ask for" if self.everything else f"which {split_spec(self.spec)[1]} needs"
            needed = f"{len(self._slice.lines()):,} were run, {why}: {self._slice.shown_lines()}"
        return (f"of the {count:,} lines of {source.label}, {needed}", *self._slice.notes, *source.notes)

    def _named(self, module: ModuleType) -> Any:
        """Return what the builder's name stands for: a callable or a model."""
        if self.target is not None:
            return self.target
        named: Any = module
        name = split_spec(self.spec)[1]
        for part in name.split("."):
            if not hasattr(named, part):
                raise no_such_name(self.spec, name, [key for key, value in vars(module).items() if callable(value)])
            named = getattr(named, part)
        if not callable(named) and not _is_model(named):
            kind = type(named).__name__
            raise CheckpointError(f"builder {self.spec}: {name} is a {kind}: a function, a class or a model is needed")
        return named

    @cached_property
    def _slice(self) -> Slice | None:
        """The statements to be run; None for a module, which is imported."""
        if self.target is not None or not is_file(self.spec):
            return None
        return whole(self.spec) if self.run_module else plan(self.spec, self.values, everything=self.everything)

    @contextmanager
    def _running(self) -> Iterator[ModuleType]:
        """Run the code, which may import its neighbours as a script could, and yield its module."""
        if self.target is not None:
            yield sys.modules.get(self.target.__module__) or ModuleType(self.spec)
            return
        (target, name), sliced = split_spec(self.spec), self._slice
        with _importing_from(Path.cwd() if sliced is None else Path(target).resolve().parent):
            if sliced is None or self.run_module:
                run = partial(importlib.import_module, target) if sliced is None else partial(run_slice, sliced)
                yield self._ran(run, f"importing {target} (which runs it) failed:")
                return
            with imported_in_part(run_in_part):
                with no_effects():
                    what = f"running what {name} needs of {target} ({sliced.shown_lines()}) failed:"
                    module = self._ran(partial(run_slice, sliced), what)
                yield module

    def _ran(self, run: Callable[[], T], what: str) -> T:
        """Run code of the user's, and turn what it raises into one line, with the last line of the user's own file."""
        try:
            return run()
        except RnnevalError:
            raise
        except (Exception, SystemExit) as error:
            where, line = "", None
            if self._slice is not None:
                own = str(self._slice.source.path.absolute())
                for frame, number in traceback.walk_tb(error.__traceback__):
                    line = number if frame.f_code.co_filename == own else line
                where = f" ({self._slice.source.place(line)}){self._advice(error)}" if line else ""
            raise CheckpointError(f"{what} {type_and_message(error)}{where}") from error

    def _advice(self, error: BaseException) -> str:
        if isinstance(error, NameError) and not self.run_module:
            return f": give --builder-global {error.name}=VALUE"
        place = "--builder-global NAME=VALUE in place of the statement"
        if isinstance(error, FileNotFoundError):
            return f": the code reads a file of the current folder: cd to the folder of the code first, or give {place}"
        if isinstance(error, SystemExit):
            example = "\"args={'units': 128}\""
            return f": the code ends here, as argparse does without its command line: give {place}, such as {example}"
        return ""


def builder_of(options: OpeningGroup, spec: str | None = None) -> Builder | None:
    """Return the builder that options name, or that `spec` names with the options' arguments; None without one."""
    given = options.builder if spec is None else spec
    if given is None:
        alone = {"--builder-global": options.builder_globals, "--run-module": options.run_module}
        if flags := [flag for flag, value in alone.items() if value]:
            raise UsageError(f"{' and '.join(flags)} without a builder: give --builder FILE.py:NAME too")
        return None
    return Builder(
        spec=given if isinstance(given, str) else name_of(given),
        target=None if isinstance(given, str) else given,
        arguments=parse_arguments(options.builder_arguments or ()),
        values=parse_arguments(options.builder_globals or (), "--builder-global", "vocab_size=66"),
        run_module=options.run_module,
    )


def name_of(builder: Any) -> str:
    """Return a name for a class, a function or a model that was given as a builder."""
    return str(getattr(builder, "__qualname__", type(builder).__name__))


def record_of(builder: str | Callable[..., Any]) -> BuilderRecord:
    """Return what records say of a builder; nothing is run, but for the package of a module."""
    file = _file_of(builder)
    name = builder if isinstance(builder, str) else name_of(builder)
    return BuilderRecord(name=name, sha256=hash_of(file) if file is not None and file.is_file() else None)


def _file_of(builder: str | Callable[..., Any]) -> Path | None:
    """Return the file of a builder, or of the module or Python object that it is; None where there is none."""
    file: str | None = None
    with suppress(TypeError, OSError, ImportError, ValueError):
        if not isinstance(builder, str):
            known = inspect.isroutine(builder) or isinstance(builder, type)
            file = inspect.getsourcefile(builder if known else type(builder))
        elif is_file(builder):
            file = split_spec(builder)[0]
        else:
            with _importing_from(Path.cwd()):
                spec = importlib.util.find_spec(split_spec(builder)[0])
                file = None if spec is None else spec.origin
    return None if file is None else Path(file)


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    """Let modules of a folder be imported before all others."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        with suppress(ValueError):  # the user's code may have changed the list
            sys.path.remove(str(folder))


def reads_checkpoint(spec: str | Callable[..., Any]) -> bool:
    """Return whether a builder is a function that needs the argument `checkpoint`, by its source: nothing is run."""
    if not isinstance(spec, str):
        wanted = _parameters(spec).get("checkpoint") if inspect.isroutine(spec) else None
        return wanted is not None and wanted.default is _FREE
    try:
        source = read_source(_file_of(spec) or Path())
    except CheckpointError:
        return False  # the message comes when the builder is run
    made = [unit.node for unit in source.definitions.get(split_spec(spec)[1], ())][-1:]
    return any(
        "checkpoint" in parameters_of(node, is_method=False)[1] and "checkpoint" not in dict(defaults_of(node))
        for node in made
        if isinstance(node, ast.FunctionDef)
    )


class GivenSettings(dict[str, Any]):
    """A dict whose values can be read as attributes too, as code reads the settings of argparse or a dataclass."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            known = ", ".join(map(str, self))
            raise AttributeError(f"the settings given have no {name!r}; they have {known}") from None


def parse_arguments(
    pairs: Sequence[str] | Mapping[str, Any], flag: str = "--builder-arg", example: str = "rnn_units=1024"
) -> Mapping[str, Any]:
    """Read `name=value` pairs whose values are Python literals; what is no literal is text. A map stays as it is.

    A value that is a dict becomes `GivenSettings`.
    """
    if isinstance(pairs, Mapping):
        return pairs
    arguments: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(f"{flag} {pair!r}: give name=value, such as {example}")
        try:
            literal = ast.literal_eval(_CONSTANTS.get(value.lower(), value))
            arguments[name] = GivenSettings(literal) if isinstance(literal, dict) else literal
        except (ValueError, SyntaxError):
            arguments[name] = value
    return arguments


def run_slice(sliced: Slice) -> ModuleType:
    """Run a slice that `plan` allowed, as a module of its own; the same slice of an unchanged file is run once."""
    source, path = sliced.source, sliced.source.path.resolve()
    seen = path.stat()  # a file that was edited since is another module: in a notebook the second try must see it
    parts = (str(path), seen.st_mtime_ns, seen.st_size, sliced.lines(), sorted(map(repr, sliced.values.items())))
    name = f"rnneval_builder_{path.stem}_{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    file = str(source.path.absolute())
    if file.endswith(".ipynb"):  # a notebook's file holds JSON: let tracebacks and inspect read its cells
        cells = ("\n".join(cell.lines) for cell in source.document.cells)
        text = [f"{line}\n" for cell in cells for line in plain_lines(cell)]
        linecache.cache[file] = (sum(map(len, text)), None, text, file)
    else:
        linecache.checkcache(file)
    code = compile(sliced.tree(), file, "exec", source.flags, dont_inherit=True)
    module = ModuleType(name)
    module.__file__, module.__package__ = file, ""
    module.__dict__.update({**sliced.values, VALUES: dict(sliced.values), CACHED: cached_file})
    sys.modules[name] = module  # before it runs: dataclasses and Keras look their module up
    before, sys.argv = sys.argv, [file]  # the code's own argparse, if any, then takes its defaults
    try:
        exec(code, module.__dict__)  # noqa: S102 - the user's own code, which was named to be run
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        sys.argv = before
    return module


def run_in_part(path: Path, package: str, module: ModuleType) -> None:
    """Run what is allowed of a neighbouring file in its module; a name that is left out raises when it is used."""
    source = read_source(path, path.name, package)
    part, left_out = allowed_part(source)

    def missing(name: str) -> Any:
        if name not in left_out:
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
        raise CheckpointError(
            f"builder: it imports {name} of {module.__name__}: {left_out[name]}: it was not run: move that under "
            'if __name__ == "__main__" or into a function, or give --run-module to import everything as it is'
        )

    module.__dict__.update({CACHED: cached_file, "__getattr__": missing})
    code = compile(part.tree(), str(path), "exec", source.flags, dont_inherit=True)
    exec(code, module.__dict__)  # noqa: S102 - the user's own code, of which this may run


def _is_model(value: Any) -> bool:
    """Return whether a value is a model of rnneval, Keras, TensorFlow or PyTorch; none is imported to find out."""
    kinds = (("keras.layers", "Layer"), ("tensorflow", "Module"), ("torch.nn", "Module"))
    known = [getattr(sys.modules[module], kind) for module, kind in kinds if module in sys.modules]
    return isinstance(value, tuple(known)) or (hasattr(value, "scorer") and not isinstance(value, type))


def _parameters(named: Any) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(named).parameters
    except (TypeError, ValueError):
        return {}


def _arguments(named: Any, spec: str, arguments: Mapping[str, Any], vocabulary: Vocabulary | None) -> dict[str, Any]:
    parameters = _parameters(named)
    free = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    if unknown := [name for name in arguments if name not in parameters and not free]:
        takes = ", ".join(parameters) or "nothing"
        raise CheckpointError(f"builder {spec} takes no {', '.join(unknown)}; it takes {takes}")
    offered = {} if vocabulary is None else {"vocab_size": vocabulary.size, "vocabulary": list(vocabulary.tokens)}
    complete = {**{name: value for name, value in offered.items() if name in parameters}, **arguments}
    by_name = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
    needed = [name for name, each in parameters.items() if each.default is _FREE and each.kind in by_name]
    missing = [name for name in needed if name not in complete]
    if "checkpoint" in missing:
        raise CheckpointError(f"builder {spec} reads a file itself: give that file, with --builder {spec}")
    if missing[:2] == ["ids", "state"]:
        raise CheckpointError(
            f"builder {spec} is a step: name a function that returns rnneval.from_step(step, initial_state, …)"
        )
    if missing:
        plain = [name for name in missing if name not in _OFFERED]
        ways = [f"give {' '.join(f'--builder-arg {name}=…' for name in plain)}"] if plain else []
        if len(plain) < len(missing):
            from_text = "give --vocab FILE or --vocab-from TEXT, from which it is known"
            ways.append(f"{from_text} (or --builder-arg vocab_size=…)")
        raise CheckpointError(f"builder {spec} needs {', '.join(missing)}: {' and '.join(ways)}")
    return complete
