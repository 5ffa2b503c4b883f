"""What grows in a hostile file is counted before it is read, and what does not belong there is refused."""

import struct
import time
import zipfile

import pytest

from rnneval.errors import CheckpointError
from tests.files.identified import identify
from tests.hostile.plain import keras_file, weights


def refused_in_time(path):
    begun = time.process_time()
    with pytest.raises(CheckpointError) as caught:
        identify(path, has_builder=False)
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
    assert identify(few, has_builder=False).format == "keras"


@pytest.mark.parametrize("count", [1, 200_000])
def test_the_directory_of_a_zip_is_limited_and_its_members_are_not(tmp_path, count):
    """200,000 names have a directory of 18 MB; one asset of 9 MB is read whole."""
    path = keras_file(tmp_path / "m.keras")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("assets/0", bytes(range(256)) * 36_000)
        directory = archive.start_dir
    if count == 1:
        assert identify(path, has_builder=False).format == "keras"
        return
    whole = path.read_bytes()
    end = whole[-22:]
    entry = whole[directory:-22][-(46 + len("assets/0")) :]
    size = len(entry) * count
    fields = (0xFFFF, 0xFFFF, size, directory)
    path.write_bytes(whole[:directory] + entry * count + struct.pack("<4s4H2LH", end[:4], 0, 0, *fields, 0))
    assert "its directory has" in str(refused_in_time(path))
