"""What a checkpoint's name says: names as people and Keras write them, places read off by eye."""

import pytest

from rnneval.sweeps.table import natural, place_of, record_name


@pytest.mark.parametrize(
    ("name", "run", "epoch", "step"),
    [
        ("ckpt_7", "", 7, None),
        ("ckpt-7", "", 7, None),
        ("cp-0007.ckpt", "", 7, None),
        ("model.05-1.23.h5", "", 5, None),
        ("weights.12-0.98.hdf5", "", 12, None),
        ("weights-improvement-03-2.61.hdf5", "", 3, None),
        ("loss1.23.h5", "", None, None),
        ("val_loss-1.23-epoch-9.keras", "", 9, None),
        ("lr0.001/epoch_3/model.keras", "lr0.001", 3, None),
        ("lstm/global_step1200.keras", "lstm", None, 1200),
        ("iter-1200.h5", "", None, 1200),
        ("epoch2-step450.weights.h5", "", 2, 450),
        ("best.keras", "", None, None),
        ("gru256/model.keras", "gru256", None, None),
        ("9" * 30 + ".keras", "", None, None),
    ],
)
def test_places(name, run, epoch, step):
    place = place_of(name)
    assert (place.run, place.epoch, place.step) == (run, epoch, step)


def test_numbers_sort_by_value():
    names = ["b/ckpt_2", "a/ckpt_10", "a/ckpt_9", "a/ckpt_9b"]
    assert sorted(names, key=natural) == ["a/ckpt_9", "a/ckpt_9b", "a/ckpt_10", "b/ckpt_2"]


def test_records_have_names_of_their_own_that_any_disk_takes():
    first, second = record_name("a/b.keras", "1" * 64), record_name("a_b.keras", "2" * 64)
    assert (first, second) == ("a_b.keras-" + "1" * 16 + ".json", "a_b.keras-" + "2" * 16 + ".json")
    assert len(record_name("x" * 500, "1" * 64)) < 120
    assert record_name("../../ä\n", "1" * 64).startswith("checkpoint-")
