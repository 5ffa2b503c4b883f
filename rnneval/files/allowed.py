"""Classes and functions of Keras that a configuration may name: they run no code, open no file, take no function.

The lists have names and modules that are allowed. A name that a later Keras brings is refused until it is added here.
"""


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
    return any(name in names for place, names in _PLACES.items() if module == place or _below(module, place))


def _below(module: str, place: str) -> bool:
    """Return whether a module is below a private one of Keras; public modules have nothing below them."""
    return place.startswith("keras.src.") and module.startswith(f"{place}.")


def is_allowed_function(module: str, name: str, registered: str) -> bool:
    """Return whether a configuration may name a function.

    Example:
        >>> is_allowed_function("builtins", "tanh", "tanh"), is_allowed_function("keras.utils", "get_file", "get_file")
        (True, False)
    """
    placed = any(module == place or _below(module, place) for place in _FUNCTION_PLACES)
    return placed and name in _ACTIVATIONS and registered in {"", name}
