"""The configuration of a full model: measured, then parsed as JSON, then checked against the rules.

It may name the classes and functions of Keras that are listed below: they run no code, open no file, take no function.
The lists have names and modules that are allowed. A name that a later Keras brings is refused until it is added here.
"""

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rnneval.files.rules import require_allowed

_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]|[\]}]|,', re.DOTALL)
MAX_BYTES, MAX_DEPTH, MAX_VALUES = 1 << 24, 100, 1_000_000
"""The most that the rule config-size allows of the JSON text; counting ends above one of them."""
_SIZED = ("units", "filters")
_DTYPES = {
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64",
    "bfloat16", "string",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Measures:
    """Measures of a configuration before it is parsed."""

    size: int
    depth: int = 0
    values: int = 0
    """Counting stops when depth or values are too many."""
    problem: str = ""
    """The reason why it is not a JSON object; known once the measures are allowed."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Class or function that a configuration asks for."""

    module: str
    name: str
    registered: str
    is_function: bool = False


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that a configuration asks for."""

    classes: tuple[Asked, ...]
    words: tuple[tuple[str, str], ...]
    """Every text with its key, except the tokens of a vocabulary."""
    numbers: tuple[tuple[str, int], ...]
    """Every whole number with its key."""
    layers: tuple[tuple[str, int], ...]
    """The class of every model, also of models inside of others, and its number of layers."""
    sized_layers: int
    """Entries with units or filters, each of which has at least one weight."""
    custom: Collection[str] | None
    """Names of classes and functions that the user's own code brings; None if it is not imported yet."""
    keras2: bool
    shapes: Collection[tuple[int, ...]]
    """Of the stored weights."""


def measured(text: bytes) -> Measures:
    """Count what parsing would have to build, without building it.

    Example:
        >>> measured(b'{"a": [1, 2, {"b": "]]]"}]}').depth
        3
    """
    if len(text) > MAX_BYTES:
        return Measures(size=len(text))
    depth = deepest = values = 0
    for token in _TOKEN.finditer(text):
        first = text[token.start()]
        if first in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif first in b"]}":
            depth -= 1
        values += 1
        if values > MAX_VALUES or deepest > MAX_DEPTH:
            break
    return Measures(size=len(text), depth=deepest, values=values)


def checked_config(
    path: Path, text: bytes, *, version: str, shapes: Collection[tuple[int, ...]], custom: Collection[str] | None
) -> dict[str, Any]:
    """Parse the configuration of a full model and check it against the rules; `shapes` are those of the weights.

    A configuration of Keras 2 is returned as it is: each layer is rewritten before Keras makes anything of it.
    """
    measures = measured(text)
    require_allowed("config-text", measures, path)
    config, problem = _parsed(text)
    require_allowed("config-text", replace(measures, problem=problem), path)
    items = list(_items(config))
    entries = [item for _, item in items if isinstance(item, dict)]
    asked = Config(
        classes=tuple(found for entry in entries for found in _asked(entry)),
        words=tuple((key, item) for key, item in items if isinstance(item, str)),
        numbers=tuple((key, item) for key, item in items if isinstance(item, int) and not isinstance(item, bool)),
        layers=tuple(counted for entry in entries for counted in _layers(entry)),
        sized_layers=sum(any(key in entry for key in _SIZED) for entry in entries),
        custom=custom,
        keras2=is_keras2(version),
        shapes=shapes,
    )
    require_allowed("config", asked, path)
    return config


def is_keras2(version: str) -> bool:
    """Return whether a version is one of Keras 2 or 1; very old files have none."""
    return version.startswith(("0.", "1.", "2.")) or not version


def _parsed(text: bytes) -> tuple[dict[str, Any], str]:
    """Parse a configuration that is not too large; return the object, and what is wrong with it or "".

    Losses, metrics and optimizers are dropped: they have no part in evaluation, and may name classes of the author's
    own.
    """

    def read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            raise ValueError("a key comes twice")
        if "class_name" in made:
            made.pop("compile_config", None)
        return made

    try:
        found = json.loads(text, object_pairs_hook=read_object)
    except (ValueError, TypeError, RecursionError) as error:
        return {}, " ".join(str(error).split())[:200]
    return (found, "") if isinstance(found, dict) else ({}, f"it is a {type(found).__name__}")


def _items(config: Any) -> Iterator[tuple[str, Any]]:
    """Yield every value with its key, or that of the list around it, without recursion."""
    stack: list[tuple[str, Any]] = [("", config)]
    while stack:
        key, item = stack.pop()
        yield key, item
        if isinstance(item, dict):
            stack.extend(item.items())
        elif isinstance(item, list) and key in {"batch_shape", "batch_input_shape"} and item:
            stack.append(("batch size", item[0]))
            stack.extend((key, part) for part in item[1:])
        elif isinstance(item, list) and key != "vocabulary":
            stack.extend((key, part) for part in item)


def _asked(item: dict[str, Any]) -> Iterator[Asked]:
    name, inner = item.get("class_name"), item.get("config")
    if not isinstance(name, str):
        return
    module, registered = _word(item.get("module")), _word(item.get("registered_name"))
    if name == "function":
        yield Asked(module=module, name=str(inner)[:200], registered=registered, is_function=True)
        return
    if name in {"__numpy__", "__tensor__"} and isinstance(inner, dict) and str(inner.get("dtype")) not in _DTYPES:
        name = f"{name} of {str(inner.get('dtype'))[:40]}"  # a type with a length would be allocated
    yield Asked(module=module, name=name, registered=registered)


def _layers(item: dict[str, Any]) -> Iterator[tuple[str, int]]:
    inner = item.get("config")
    held = inner.get("layers") if isinstance(inner, dict) else inner
    if isinstance(held, list):
        yield _word(item.get("class_name")), len(held)


def _word(value: Any) -> str:
    """Return a name; for a value of another type, a name that no list has."""
    return "" if value is None else value if isinstance(value, str) else f"a {type(value).__name__}"


def _names(block: str) -> frozenset[str]:
    return frozenset(block.split())


_LAYERS = _names(
    """
    Activation ActivityRegularization AdaptiveAveragePooling1D AdaptiveMaxPooling1D Add AdditiveAttention
    AlphaDropout Attention Average AveragePooling1D AveragePooling2D AvgPool1D BatchNormalization Bidirectional
    CategoryEncoding Concatenate Conv1D Conv1DTranspose Conv2D Convolution1D Convolution2D ConvLSTM1D Cropping1D
    Dense DepthwiseConv1D Dot Dropout ELU EinsumDense Embedding Flatten GRU GRUCell GaussianDropout GaussianNoise
    GlobalAveragePooling1D GlobalAveragePooling2D GlobalAvgPool1D GlobalMaxPool1D GlobalMaxPooling1D
    GlobalMaxPooling2D GroupNormalization GroupQueryAttention Identity InputLayer IntegerLookup LSTM LSTMCell
    LayerNormalization LeakyReLU Masking MaxPool1D MaxPooling1D MaxPooling2D Maximum Minimum MultiHeadAttention
    Multiply Normalization PReLU Permute RMSNormalization RNN ReLU RepeatVector Rescaling Reshape
    ReversibleEmbedding SeparableConv1D SimpleRNN SimpleRNNCell Softmax SpatialDropout1D SpatialDropout2D
    SpectralNormalization StackedRNNCells StringLookup Subtract TextVectorization TimeDistributed UnitNormalization
    UpSampling1D ZeroPadding1D
    """
)
_GRAPHS = frozenset(("Functional", "Model", "Sequential"))
_OBJECTS = _names(
    """
    Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity IdentityInitializer LecunNormal LecunUniform
    Ones Orthogonal OrthogonalInitializer RandomNormal RandomUniform TruncatedNormal VarianceScaling Zeros L1 L1L2
    L2 OrthogonalRegularizer MaxNorm MinMaxNorm NonNeg UnitNorm DTypePolicy DTypePolicyMap FloatDTypePolicy
    SeedGenerator
    """
)
# Operations that Keras makes layers of where tensors are added, sliced and so on. Not here: operations whose result has
# a size from the configuration (Tile, Full, Arange …), except OneHot, whose size is compared with the weights; and
# operations that take a function (Map, Scan, WhileLoop …).
_OPERATIONS = _names(
    """
    Absolute Abs Add All Any Amax Amin Argmax Argmin Cast Ceil Clip Concatenate Cos Cosh Cumprod Cumsum Divide
    DivideNoNan Dot Einsum Equal Erf Exp ExpandDims Expm1 Flip Floor FloorDivide GetItem Greater GreaterEqual Less
    LessEqual Log Log10 Log1p Log2 Logaddexp LogicalAnd LogicalNot LogicalOr LogicalXor Logsumexp Matmul Max Maximum
    Mean Min Minimum Mod Moveaxis Multiply NanToNum Negative Norm Normalize NotEqual OneHot OnesLike Power Prod
    Ravel Reciprocal Reshape Round Rsqrt Sign Sin Sinh Split Sqrt Square Squeeze Stack Std StopGradient Subtract Sum
    Swapaxes Take TakeAlongAxis Tan Tanh Tensordot Transpose TrueDivide Unstack Var Where ZerosLike Relu Relu6
    Sigmoid Softplus Softsign Silu LogSigmoid LeakyRelu HardSigmoid HardSilu Elu Selu Gelu Celu Glu Softmax
    LogSoftmax RMSNorm LayerNorm
    """
)
_VALUES = _names(
    """
    __keras_tensor__ __numpy__ __tensor__ __bytes__ __slice__ __ellipsis__ __tuple__ TensorShape
    """
)
_PLACES = {
    "": _LAYERS | _GRAPHS | _OBJECTS | _VALUES,
    "builtins": _VALUES,
    "keras": _GRAPHS | {"DTypePolicy", "FloatDTypePolicy", "Initializer"} | _OBJECTS,
    "keras.layers": _LAYERS,
    "keras.models": _GRAPHS,
    "keras.initializers": _OBJECTS,
    "keras.regularizers": _OBJECTS,
    "keras.constraints": _OBJECTS,
    "keras.dtype_policies": _OBJECTS,
    "keras.random": frozenset(("SeedGenerator",)),
    "keras.src.layers": _LAYERS,
    "keras.src.models": _GRAPHS,
    "keras.src.ops": _OPERATIONS,
    "keras.ops": _OPERATIONS,
    "keras.src.initializers": _OBJECTS,
    "keras.src.dtype_policies": _OBJECTS,
    "keras.src.backend": frozenset(("KerasTensor",)),
}
_ACTIVATIONS = _names(
    """
    celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu linear
    log_sigmoid log_softmax mish relu relu6 selu sigmoid silu soft_shrink softmax softplus softsign sparse_plus
    sparse_sigmoid sparsemax squareplus swish tanh tanh_shrink threshold
    """
)
_FUNCTION_PLACES = ("", "builtins", "keras.activations", "keras.src.activations", "keras.ops", "keras.src.ops")


def is_allowed_class(module: str, name: str, registered: str) -> bool:
    """Return whether a configuration may ask for a class.

    A registered name is looked up before the class, among all that the process has ever registered: it must be the
    class's own.

    Example:
        >>> is_allowed_class("keras.layers", "GRU", ""), is_allowed_class("keras.layers", "Lambda", "")
        (True, False)
        >>> is_allowed_class("keras_hub.layers", "GRU", ""), is_allowed_class("keras.layers", "GRU", "mine>GRU")
        (False, False)
    """
    if registered not in {"", name} and not {registered, name} <= _GRAPHS:
        return False
    return any(name in names for place, names in _PLACES.items() if _is_in(module, place))


def _is_in(module: str, place: str) -> bool:
    """Return whether a module is this one or below it; only the private modules of Keras have others below them."""
    return module == place or (place.startswith("keras.src.") and module.startswith(f"{place}."))


def is_allowed_function(module: str, name: str, registered: str) -> bool:
    """Return whether a configuration may name a function.

    Example:
        >>> is_allowed_function("builtins", "tanh", "tanh"), is_allowed_function("keras.utils", "get_file", "get_file")
        (True, False)
    """
    placed = any(_is_in(module, place) for place in _FUNCTION_PLACES)
    return placed and name in _ACTIVATIONS and registered in {"", name}
