"""Vocabularies beside a checkpoint: no link out of the folder is followed."""

import json

import pytest

from rnneval.errors import VocabularyError
from rnneval.text.vocabulary import find_vocabulary, siblings


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "yours").mkdir()
    (tmp_path / "yours" / "secret").write_text(json.dumps(list("abc")))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "m.keras").touch()
    return tmp_path / "model"


def test_a_link_within_the_folder_is_followed(folder):
    (folder / "tokens").write_text(json.dumps(list("abc")))
    (folder / "vocab.json").symlink_to("tokens")
    assert find_vocabulary(folder / "m.keras", 3).tokens == ("a", "b", "c")


@pytest.mark.parametrize("name", ["vocab.json", "vocab.txt", "vocab.pkl"])
@pytest.mark.parametrize("target", ["absolute", "relative", "over a folder"])
def test_a_link_out_of_the_folder_is_said_and_not_read(folder, name, target):
    secret = folder.parent / "yours" / "secret"
    if target == "over a folder":
        (folder / "in").symlink_to(folder.parent / "yours")
    place = {"absolute": secret, "relative": "../yours/secret", "over a folder": "in/secret"}[target]
    (folder / name).symlink_to(place)
    secret.chmod(0)
    with pytest.raises(
        VocabularyError, match=f"{name} is a link out of its folder and is not followed: give it by vocabulary"
    ):
        find_vocabulary(folder / "m.keras", 3)
    assert siblings(folder / "m.keras") == []
