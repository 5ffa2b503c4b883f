"""Configurations that ask for code, for files, or for memory."""

import copy
import json
from pathlib import Path
from typing import Any

import h5py

from tests.hostile import plain
from tests.hostile.canary import Canary
from tests.hostile.corpus import case
from tests.hostile.plain import bytecode, functional, keras_file, layer, with_layers


def calling(function: dict[str, Any], inputs: str, **arguments: Any) -> dict[str, Any]:
    """A Lambda that calls a named function with values out of the file while the graph is made."""
    made = layer("Lambda", name="calls", function=function, arguments=arguments)
    return {**made, "name": "calls", "inbound_nodes": [{"args": [], "kwargs": {"inputs": inputs}}]}


def named(module: str, name: str) -> dict[str, Any]:
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


@case("config-code", "keras, safe mode off", "CVE-2024-3660")
def lambda_in_keras(folder: Path, canary: Canary) -> Path:
    """A Lambda layer of marshalled bytecode in a `.keras` file."""
    return keras_file(folder / "m.keras", with_layers(layer("Lambda", function=bytecode(canary.code), arguments={})))


@case("config-code", "Lambda.from_config", "CVE-2026-12481")
def lambda_outside_of_safe_mode(folder: Path, canary: Canary) -> Path:
    """The same layer, made by `from_config` outside of any safe mode."""
    return lambda_in_keras(folder, canary)


def h5_file(path: Path, config: dict[str, Any], version: str) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"], file.attrs["backend"] = version, "tensorflow"
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [b"in", b"twice"]
        for name in ("in", "twice"):
            group.create_group(name).attrs["weight_names"] = []
        group["in"]["kept"] = [1.0]
    return path


@case("config-code", "keras", "CVE-2025-9905", "CVE-2024-3660")
def lambda_in_h5(folder: Path, canary: Canary) -> Path:
    """A Lambda layer in an `.h5` file of Keras 3, for which safe mode is ignored."""
    layers = [
        layer("InputLayer", batch_shape=[None, 1], dtype="float32", name="in"),
        layer("Lambda", function=bytecode(canary.code), arguments={}, name="twice"),
    ]
    layers = [{key: made[key] for key in ("class_name", "config")} for made in layers]  # the legacy form, as in .h5
    config = {"class_name": "Sequential", "config": {"name": "s", "layers": layers}}
    return h5_file(folder / "m.h5", config, "3.8.0")


@case("config-code", "tf_keras", "CVE-2024-3660")
def lambda_in_h5_of_keras_2(folder: Path, canary: Canary) -> Path:
    """A Lambda layer in an `.h5` file of Keras 2."""
    layers = [
        {"class_name": "InputLayer", "config": {"name": "in", "batch_input_shape": [None, 1], "dtype": "float32"}},
        {"class_name": "Lambda", "config": {"name": "twice", "function": bytecode(canary.code, keras2=True),
         "function_type": "lambda", "module": "m", "output_shape": None, "output_shape_type": "raw", "arguments": {}}},
    ]  # fmt: skip
    config = {"class_name": "Sequential", "config": {"name": "s", "layers": layers}}
    return h5_file(folder / "m.h5", config, "2.15.0")


@case("config-code", "keras, safe mode off", "CVE-2024-3660")
def lambda_inside_of_a_wrapper(folder: Path, canary: Canary) -> Path:
    """The Lambda layer is the layer of a TimeDistributed."""
    inner = layer("Lambda", function=bytecode(canary.code), arguments={})
    return keras_file(folder / "m.keras", with_layers(layer("TimeDistributed", layer=inner)))


@case(
    "config-code",
    "none: Keras 3 takes activations from its own list by name, and makes no function there",
    "CVE-2024-3660",
)
def bytecode_as_an_activation(folder: Path, canary: Canary) -> Path:
    """Marshalled bytecode where a Dense layer has its activation."""
    function = {"class_name": "__lambda__", "config": {"value": list(bytecode(canary.code)["config"].values())}}
    return keras_file(folder / "m.keras", with_layers(layer("Dense", units=1, activation=function)))


@case("config-code", "keras", "CVE-2025-1550")
def function_of_any_module(folder: Path, canary: Canary) -> Path:
    """A function of a module that the file names, called with a path out of the file."""
    return keras_file(folder / "m.keras", functional(calling(named("os", "makedirs"), str(canary.file))))


@case("config-class", "keras, in the folder", "CVE-2025-1550")
def module_beside_the_model(folder: Path, canary: Canary) -> Path:
    """A class of a module that lies beside the model, which is imported to look for it."""
    (folder / "innocent.py").write_text(canary.code)
    asked = {"module": "innocent", "class_name": "Layer", "config": {}, "registered_name": None}
    return keras_file(folder / "m.keras", with_layers(asked))


@case("config-class", "keras, in the folder")
def keras_hub_beside_the_model(folder: Path, canary: Canary) -> Path:
    """A class of keras_hub, which Keras 3.15 still imports from wherever it lies."""
    (folder / "keras_hub").mkdir()
    (folder / "keras_hub" / "__init__.py").write_text(canary.code)
    asked = {"module": "keras_hub.layers", "class_name": "Layer", "config": {}, "registered_name": None}
    return keras_file(folder / "m.keras", with_layers(asked))


@case("config-code", "keras", "CVE-2025-8747")
def get_file_by_name(folder: Path, canary: Canary) -> Path:
    """`keras.utils.get_file` by name: a download while the model is loaded, in safe mode."""
    address = f"http://127.0.0.1:{canary.listen()}/x"
    called = calling(named("keras.utils", "get_file"), "x.bin", origin=address, cache_dir=str(canary.folder))
    return keras_file(folder / "m.keras", functional(called))


@case("config-function", "none: Keras 3.8 looks up activations in its own list, and 3.15 does", "CVE-2025-8747")
def function_as_an_activation(folder: Path, canary: Canary) -> Path:
    """`keras.utils.get_file` as the activation of a Dense layer."""
    return keras_file(
        folder / "m.keras", with_layers(layer("Dense", units=1, activation=named("keras.utils", "get_file")))
    )


@case("config-code", "keras", "CVE-2025-9906")
def safe_mode_switched_off(folder: Path, canary: Canary) -> Path:
    """The file switches safe mode off by a function of Keras, and loads a second one, which has bytecode."""
    (folder / "second").mkdir()
    second = lambda_in_keras(folder / "second", canary)
    off = calling(
        named("keras.src.backend.common.global_state", "set_global_attribute"), "safe_mode_saving", value=False
    )
    load = calling(named("keras.models", "load_model"), str(second), safe_mode=False, compile=False)
    load["name"] = load["config"]["name"] = "loads"
    return keras_file(folder / "m.keras", functional(off, load))


@case("config-class", "none: it needs a program that has registered a class of its own, whose name the file knows")
def registered_name_of_another(folder: Path, canary: Canary) -> Path:
    """A Dense layer whose registered name is that of a class of yours, which Keras looks up first."""
    asked = {**layer("Dense", units=1), "registered_name": "yours>Secret"}
    return keras_file(folder / "m.keras", with_layers(asked))


def lookup(name: str, **config: Any) -> dict[str, Any]:
    return with_layers(layer(name, **config))


@case("config-path", "keras", "CVE-2025-12058")
def vocabulary_that_is_a_path(folder: Path, canary: Canary) -> Path:
    """A StringLookup whose vocabulary is a path: Keras reads that file into the model."""
    return keras_file(folder / "m.keras", lookup("StringLookup", vocabulary=str(canary.secret()), num_oov_indices=1))


@case("config-path", "keras, in the folder", "CVE-2025-12058")
def vocabulary_upwards(folder: Path, canary: Canary) -> Path:
    """The same through `..`, from where the model lies."""
    canary.secret()
    return keras_file(folder / "m.keras", lookup("IntegerLookup", vocabulary="../traps/secret.txt", num_oov_indices=1))


@case("config-code", "keras, called", "CVE-2026-1462", needs_tensorflow=True)
def saved_model_as_a_layer(folder: Path, canary: Canary) -> Path:
    """A TFSMLayer that names a SavedModel with a file-writing operation."""
    from tests.hostile.cases.folders import writing_saved_model

    writing_saved_model(canary.folder / "graph", canary)
    made = layer("TFSMLayer", filepath=str(canary.folder / "graph"), call_endpoint="serve", call_training_endpoint=None)
    called = {**made, "name": "tfsmlayer", "inbound_nodes": [{"args": [plain.tensor("in")], "kwargs": {}}]}

    def edit(file: h5py.File) -> None:
        for name, values in (("0", [[1.0]]), ("1", [0.0])):
            del file[f"layers/dense/vars/{name}"]
            file[f"layers/dense/vars/{name}"] = values

    return keras_file(folder / "m.keras", functional(called, through="tfsmlayer"), plain.weights(edit))


@case("config-code", "pickle of the member", "CVE-2024-3660")
def pickled_torch_module(folder: Path, canary: Canary) -> Path:
    """A TorchModuleWrapper, which holds a pickle."""
    held = plain.pickled(canary.code).hex()
    return keras_file(folder / "m.keras", with_layers(layer("TorchModuleWrapper", module=held)))


@case("config-json", "keras, safe mode off")
def key_that_comes_twice(folder: Path, canary: Canary) -> Path:
    """The key `config` twice: a harmless one first, then one with bytecode, which JSON keeps."""
    bad = with_layers(layer("Lambda", function=bytecode(canary.code), arguments={}))
    text = json.dumps(plain.plain_config())[:-1] + ', "config": ' + json.dumps(bad["config"]) + "}"
    return keras_file(folder / "m.keras", text.encode())


@case("config-size", "json.loads")
def nested_a_hundred_thousand_times(folder: Path, canary: Canary) -> Path:
    """A configuration nested 100,000 deep."""
    return keras_file(folder / "m.keras", b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


@case("config-size", "json.loads")
def millions_of_values(folder: Path, canary: Canary) -> Path:
    """Over four million objects in 16 MB."""
    return keras_file(folder / "m.keras", b'{"a":[' + b'{"":{}},' * 2_070_000 + b"{}]}")


@case("config-allocation", "keras")
def a_billion_units(folder: Path, canary: Canary) -> Path:
    """`Dense(1_000_000_000)`, which Keras allocates before it looks at the weights."""
    return keras_file(folder / "m.keras", with_layers(layer("Dense", units=1_000_000_000, name="huge")))


@case("config-allocation", "keras")
def two_hundred_wide_layers(folder: Path, canary: Canary) -> Path:
    """Two hundred layers of 4,096 units, each harmless, without weights for them."""
    wide = [layer("Dense", units=4096, name=f"d{k}") for k in range(200)]
    return keras_file(folder / "m.keras", with_layers(*wide))


@case("config-allocation", "keras", after_tensorflow=True)
def wide_layers_with_tiny_weights(folder: Path, canary: Canary) -> Path:
    """Sixty layers of 4,096 units, and as many weights, of one number each."""
    wide = [layer("Dense", units=4096, name=f"d{k}") for k in range(60)]

    def edit(file: h5py.File) -> None:
        for k in range(60):
            file[f"layers/dense_{k + 1}/vars/0"] = [0.0]

    return keras_file(folder / "m.keras", with_layers(*wide), plain.weights(edit))


@case("config-class", "keras")
def type_with_a_length(folder: Path, canary: Canary) -> Path:
    """An array in the configuration whose type is a text of 250 million letters."""
    value = {"class_name": "__numpy__", "config": {"value": ["a"], "dtype": "<U250000000"}}
    config = copy.deepcopy(plain.plain_config())
    config["config"]["extra"] = value
    return keras_file(folder / "m.keras", functional(called_with(value)))


def called_with(value: dict[str, Any]) -> dict[str, Any]:
    made = layer("Dropout", rate=0.5, name="d")
    return {**made, "name": "d", "inbound_nodes": [{"args": [value], "kwargs": {}}]}
