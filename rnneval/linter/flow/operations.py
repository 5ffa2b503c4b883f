"""What well-known functions and methods do to states and sequences, told by their last name."""

SAME_STATE = frozenset(
    [
        "detach",
        "clone",
        "read_value",
        "value",
        "contiguous",
        "to",
        "cuda",
        "cpu",
        "type",
        "float",
        "half",
        "double",
        "identity",
        "stop_gradient",
        "cast",
        "convert_to_tensor",
        "dropout",
        "Dropout",
        "requires_grad_",
        "data",
        "type_as",
        "ensure_shape",
        "view",
        "reshape",
        "transpose",
        "permute",
        "squeeze",
        "unsqueeze",
        "expand_dims",
        "Variable",
        "LayerNorm",
        "LayerNormalization",
        "GaussianNoise",
        "reshape_as",
        "flatten",
        "swapaxes",
        "numpy",
        "SpatialDropout1D",
        "AlphaDropout",
        "t",
        "where",
        "masked_fill",
        "masked_fill_",
        "nan_to_num",
        "clip_by_value",
        "clamp",
    ]
)
"""A state that went through is still that layer's state."""

SAME_SEQUENCE = frozenset(
    [
        "contiguous",
        "to",
        "cuda",
        "cpu",
        "float",
        "half",
        "double",
        "identity",
        "cast",
        "convert_to_tensor",
        "dropout",
        "Dropout",
        "LayerNorm",
        "LayerNormalization",
        "BatchNormalization",
        "BatchNorm1d",
        "SpatialDropout1D",
        "relu",
        "ReLU",
        "tanh",
        "Activation",
        "ensure_shape",
        "Masking",
        "GaussianNoise",
        "GaussianDropout",
        "AlphaDropout",
        "pack_padded_sequence",
        "pad_packed_sequence",
        "LeakyReLU",
        "Tanh",
        "clone",
    ]
)
"""A sequence that went through is still one layer's outputs."""

CUTS = frozenset(
    [
        "RepeatVector",
        "repeat",
        "tile",
        "expand",
        "repeat_interleave",
        "broadcast_to",
        "repeat_elements",
        "argmax",
        "multinomial",
        "categorical",
        "topk",
        "top_k",
        "sample",
        "choice",
        "mean",
        "max",
        "reduce_mean",
        "reduce_max",
        "sum",
        "reduce_sum",
        "unsqueeze",
        "expand_dims",
        "GlobalMaxPooling1D",
        "GlobalAveragePooling1D",
        "Flatten",
        "flatten",
        "adaptive_max_pool1d",
        "max_pool1d",
        "flip",
        "reverse",
        "new_zeros",
    ]
)
"""What comes out is no longer the sequence that went in: one step, one step repeated, a choice, a summary."""

JOINS = frozenset(["concat", "concatenate", "cat", "Concatenate", "hstack", "append", "stack", "vstack"])
"""Pieces put together."""

FRESH = frozenset(
    [
        "zeros",
        "zeros_like",
        "ones",
        "ones_like",
        "randn",
        "rand",
        "full",
        "empty",
        "new_zeros",
        "new_ones",
        "new_full",
        "eye",
        "normal",
        "uniform",
        "random_normal",
        "random_uniform",
        "get_initial_state",
        "zero_state",
        "init_hidden",
        "init_state",
    ]
)
"""Made anew, from nothing that a layer gave."""

SWITCHES = frozenset(
    ["training", "mask", "name", "dtype", "axis", "dim", "return_state", "return_states", "deterministic", "lengths"]
)
"""Keywords that say how, not what."""

KEEPS_CONTAINER = frozenset(("list", "tuple", "ModuleList", "ModuleDict"))

TELLS_NOTHING = frozenset(("print", "len", "isinstance", "range", "type", "hasattr", "super"))

CHANGES = frozenset(["append", "extend", "insert"])
