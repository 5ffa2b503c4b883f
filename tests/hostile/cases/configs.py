"""Configurations that ask for code, for files, or for memory."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py

from tests.hostile import plain
from tests.hostile.canary import Canary
from tests.hostile.corpus import Case
from tests.hostile.plain import bytecode, functional, keras_file, layer, with_layers


def runs(canary: Canary) -> dict[str, Any]:
    """A Lambda layer of marshalled bytecode."""
    return layer("Lambda", function=bytecode(canary.code), arguments={})


def calling(function: dict[str, Any], inputs: str, **arguments: Any) -> dict[str, Any]:
    """A Lambda that calls a named function with values out of the file while the graph is made."""
    made = layer("Lambda", name="calls", function=function, arguments=arguments)
    return {**made, "name": "calls", "inbound_nodes": [{"args": [], "kwargs": {"inputs": inputs}}]}


def named(module: str, name: str) -> dict[str, Any]:
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def asking(module: str) -> dict[str, Any]:
    return with_layers({"module": module, "class_name": "Layer", "config": {}, "registered_name": None})


def downloading(canary: Canary) -> dict[str, Any]:
    address = f"http://127.0.0.1:{canary.listen()}/x"
    called = calling(named("keras.utils", "get_file"), "x.bin", origin=address, cache_dir=str(canary.folder))
    return functional(called)


def twice(canary: Canary) -> bytes:
    """The key `config` twice: a harmless one first, then one with bytecode, which JSON keeps."""
    bad = with_layers(runs(canary))
    return (json.dumps(plain.plain_config())[:-1] + ', "config": ' + json.dumps(bad["config"]) + "}").encode()


def text_of_250_million_letters(canary: Canary) -> dict[str, Any]:
    value = {"class_name": "__numpy__", "config": {"value": ["a"], "dtype": "<U250000000"}}
    made = layer("Dropout", rate=0.5, name="d")
    return functional({**made, "name": "d", "inbound_nodes": [{"args": [value], "kwargs": {}}]})


CONFIGS: dict[str, tuple[str, Callable[[Canary], Any]]] = {
    "lambda_in_keras": ("config-code", lambda canary: with_layers(runs(canary))),
    "lambda_outside_of_safe_mode": ("config-code", lambda canary: with_layers(runs(canary))),
    "function_of_any_module": (
        "config-code", lambda canary: functional(calling(named("os", "makedirs"), str(canary.file)))
    ),
    "get_file_by_name": ("config-code", downloading),
    "function_as_an_activation": (
        "config-function", lambda _: with_layers(layer("Dense", units=1, activation=named("keras.utils", "get_file")))
    ),
    "registered_name_of_another": (
        "config-class", lambda _: with_layers({**layer("Dense", units=1), "registered_name": "yours>Secret"})
    ),
    "vocabulary_that_is_a_path": (
        "config-path",
        lambda canary: with_layers(layer("StringLookup", vocabulary=str(canary.secret()), num_oov_indices=1)),
    ),
    "key_that_comes_twice": ("config-json", twice),
    "nested_a_hundred_thousand_times": (
        "config-size", lambda _: b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    ),
    "millions_of_values": ("config-size", lambda _: b'{"a":[' + b'{"":{}},' * 2_070_000 + b"{}]}"),
    "a_billion_units": ("config-allocation", lambda _: with_layers(layer("Dense", units=1_000_000_000, name="huge"))),
    "two_hundred_wide_layers": (
        "config-allocation", lambda _: with_layers(*(layer("Dense", units=4096, name=f"d{k}") for k in range(200)))
    ),
    "type_with_a_length": ("config-class", text_of_250_million_letters),
}  # fmt: skip
for _name, (_rule, _config) in CONFIGS.items():
    _build = lambda folder, canary, config=_config: keras_file(folder / "m.keras", config(canary))  # noqa: E731
    Case(_name, _rule, _build, late=_name == "two_hundred_wide_layers")


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


def lambda_in_h5(folder: Path, canary: Canary) -> Path:
    layers = [
        layer("InputLayer", batch_shape=[None, 1], dtype="float32", name="in"),
        layer("Lambda", function=bytecode(canary.code), arguments={}, name="twice"),
    ]
    layers = [{key: made[key] for key in ("class_name", "config")} for made in layers]  # the legacy form, as in .h5
    config = {"class_name": "Sequential", "config": {"name": "s", "layers": layers}}
    return h5_file(folder / "m.h5", config, "3.8.0")


def keras_hub_beside_the_model(folder: Path, canary: Canary) -> Path:
    (folder / "keras_hub").mkdir()
    (folder / "keras_hub" / "__init__.py").write_text(canary.code)
    return keras_file(folder / "m.keras", asking("keras_hub.layers"))


def safe_mode_switched_off(folder: Path, canary: Canary) -> Path:
    """The file switches safe mode off by a function of Keras, and loads a second one, which has bytecode."""
    (folder / "second").mkdir()
    second = keras_file(folder / "second" / "m.keras", with_layers(runs(canary)))
    off = calling(
        named("keras.src.backend.common.global_state", "set_global_attribute"), "safe_mode_saving", value=False
    )
    load = calling(named("keras.models", "load_model"), str(second), safe_mode=False, compile=False)
    load["name"] = load["config"]["name"] = "loads"
    return keras_file(folder / "m.keras", functional(off, load))


Case("lambda_in_h5", "config-code", lambda_in_h5)
Case("keras_hub_beside_the_model", "config-class", keras_hub_beside_the_model)
Case("safe_mode_switched_off", "config-code", safe_mode_switched_off)
