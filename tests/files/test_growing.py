"""What grows in a hostile file is counted before it is read, and what does not belong there is refused."""

import json
import struct
import time
import zipfile

import h5py
import numpy as np
import pytest

import rnneval
from rnneval.checkpoints import identify
from rnneval.errors import CheckpointError, UsageError
from tests.hostile.plain import functional, keras_file, layer, plain_config, tensor, weights, with_layers


def refused_in_time(path):
    begun = time.process_time()
    with pytest.raises(CheckpointError) as caught:
        identify(path, custom=())
    assert time.process_time() - begun < 5
    assert "\n" not in str(caught.value)
    return caught.value


def with_attributes(count, where="layers"):
    def edit(file):
        for number in range(count):
            file[where].attrs[str(number)] = 0.5

    return edit


@pytest.mark.parametrize("where", ["/", "layers", "layers/dense/vars/0"])
def test_attributes_of_one_object_are_counted(tmp_path, where):
    path = keras_file(tmp_path / "m.keras", stored=weights(with_attributes(257, where)))
    error = refused_in_time(path)
    assert error.rule == "hdf5-attribute"
    assert "has 257 attributes; up to 256 are read" in str(error)
    few = keras_file(tmp_path / "few.keras", stored=weights(with_attributes(256, where)))
    assert identify(few, custom=()).format == "keras"


def dropouts(count):
    return [layer("Dropout", rate=0.1, name=f"d{number}") for number in range(count)]


def test_the_layers_of_a_sequential_model_are_counted(tmp_path):
    """The plain model has four."""
    error = refused_in_time(keras_file(tmp_path / "m.keras", config=with_layers(*dropouts(117))))
    assert error.rule == "config-allocation"
    assert "a Sequential model of 121 layers; up to 120 are built" in str(error)
    assert identify(keras_file(tmp_path / "few.keras", config=with_layers(*dropouts(116))), custom=())


def test_the_layers_of_a_functional_model_are_counted(tmp_path):
    """It has two of its own."""

    def chain(count):
        made = []
        for number, held in enumerate(dropouts(count)):
            before = tensor(f"d{number - 1}" if number else "in")
            made.append({**held, "name": f"d{number}", "inbound_nodes": [{"args": [before], "kwargs": {}}]})
        return functional(*made, through=f"d{count - 1}")

    error = refused_in_time(keras_file(tmp_path / "m.keras", config=chain(349)))
    assert (error.rule, "it has 351 layers; up to 350 are built" in str(error)) == ("config-allocation", True)
    assert identify(keras_file(tmp_path / "few.keras", config=chain(348)), custom=()).format == "keras"


def test_a_residual_model_of_hundreds_of_layers_opens(tmp_path):
    begin, *layers, dense = plain_config()["config"]["layers"]
    made, before = [], "in"

    def append(held, *inputs):
        name = held["config"]["name"]
        into = [tensor(name) for name in inputs]
        made.append(
            {**held, "name": name, "inbound_nodes": [{"args": into if len(into) < 2 else [into], "kwargs": {}}]}
        )
        return name

    for held in layers:
        before = append(held, before)
    for number in range(173):
        within = append(layer("Dropout", rate=0.1, name=f"drop{number}"), before)
        before = append(layer("Average", name=f"average{number}"), within, before)
    config = functional(*made, through=before)
    config["config"]["layers"][0]["config"]["batch_shape"] = begin["config"]["batch_shape"]
    config["config"]["layers"][-1]["config"]["units"] = dense["config"]["units"]
    assert len(config["config"]["layers"]) == 350
    (tmp_path / "vocab.json").write_text(json.dumps(list("abcdefg")))
    begun = time.process_time()
    lm = rnneval.open(keras_file(tmp_path / "m.keras", config=config), vocabulary=tmp_path / "vocab.json")
    assert lm.width == 7
    assert time.process_time() - begun < 15


@pytest.mark.parametrize("count", [1, 200_000])
def test_the_directory_of_a_zip_is_limited_and_its_members_are_not(tmp_path, count):
    """200,000 names have a directory of 18 MB; one asset of 9 MB is read whole."""
    path = keras_file(tmp_path / "m.keras")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("assets/0", bytes(range(256)) * 36_000)
        directory = archive.start_dir
    if count == 1:
        assert identify(path, custom=()).format == "keras"
        return
    whole = path.read_bytes()
    end = whole[-22:]
    entry = whole[directory:-22][-(46 + len("assets/0")) :]
    size = len(entry) * count
    fields = (0xFFFF, 0xFFFF, size, directory)
    path.write_bytes(whole[:directory] + entry * count + struct.pack("<4s4H2LH", end[:4], 0, 0, *fields, 0))
    assert "its directory has" in str(refused_in_time(path))


@pytest.mark.parametrize(
    "kind", [np.dtype(bool), h5py.enum_dtype({"a": 0, "b": 1}, basetype="i4")], ids=["boolean", "enumeration"]
)
def test_weights_are_no_booleans_and_no_enumerations(tmp_path, kind):
    def edit(file):
        del file["layers/dense/vars/1"]
        file["layers/dense/vars"].create_dataset("1", data=np.ones(7, "i1").astype(kind), dtype=kind)

    assert refused_in_time(keras_file(tmp_path / "m.keras", stored=weights(edit))).rule == "hdf5-type"


def test_a_weight_map_is_a_regular_file_of_some_size(shelf, tmp_path):
    deep = tmp_path / "deep.json"
    deep.write_text("[" * 100_000)
    for given, said in (("/dev/zero", "cannot be read: it is a device"), (deep, "cannot be read")):
        with pytest.raises(UsageError, match=f"--weight-map {given}: {said}"):
            rnneval.open(
                shelf / "my.weights.h5", builder=f"{shelf / 'model.py'}:MyModel", vocabulary=shelf / "vocab.json",
                weight_map=given,
            )  # fmt: skip
