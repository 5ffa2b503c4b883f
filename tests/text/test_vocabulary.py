import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnneval.errors import VocabularyError
from rnneval.text import TextOptions, Vocabulary, find_vocabulary

CHARS = ["\n", " ", "a", "b"]


@given(st.lists(st.text(min_size=1), min_size=1, unique=True), st.sampled_from([0, 1]))
def test_all_forms_are_one_vocabulary(tokens, first):
    char2idx = {token: id_ for id_, token in enumerate(tokens, start=first)}
    idx2char = {id_: token for token, id_ in char2idx.items()}
    for form in (char2idx, dict(reversed(char2idx.items())), idx2char):
        vocabulary = Vocabulary.from_tokens(form)
        assert vocabulary.tokens == tuple(tokens)
        assert dict(vocabulary.ids) == char2idx
        assert (vocabulary.first_id, vocabulary.size) == (first, len(tokens))
    assert Vocabulary.from_tokens(tokens).sha256 == vocabulary.sha256


@pytest.mark.parametrize(
    ("tokens", "kind"),
    [
        (CHARS, "char"),
        (["", "[UNK]", "<pad>", *CHARS], "char"),
        (["[UNK]"], "word"),
        (["a", "the"], "word"),
        (list(range(256)), "byte"),
    ],
)
def test_kinds(tokens, kind):
    assert Vocabulary.from_tokens(tokens).kind == kind


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (["a", "b", "a"], r"\(given\): the token 'a' has the ids 0 and 2: tokens and ids must be one-to-one"),
        ({"a": 1, "b": 1}, "id 1 is given to two tokens"),
        ({1: "a", 2: "a"}, "the token 'a' has the ids 1 and 2"),
        ({"a": 0, "b": 2}, "id 1 is missing, of 2 ids up to 2: ids must run from 0 or 1 without a gap"),
        ({"a": 2, "b": 3}, "ids begin at 2"),
        ({"a": 0, "b": "x"}, "maps 'b' to 'x'"),
        ({"a": True}, "maps 'a' to True"),
        ([], "is empty"),
        ("abc", "is of type str: give a list of tokens"),
        (["a", 5], "has the token 5 of type int: tokens are strings"),
        ([300, 5], "has the token 300"),
    ],
)
def test_what_is_not_one_to_one(tokens, message):
    with pytest.raises(VocabularyError, match=message):
        Vocabulary.from_tokens(tokens)


def test_fit():
    given_list = Vocabulary.from_tokens(CHARS)
    assert given_list.fit(4) is given_list
    moved = given_list.fit(5)
    assert (moved.first_id, moved.ids["\n"]) == (1, 1)
    assert "ids from 1, as the model has one output more: id 0 is taken for [UNK] or padding" in moved.source
    assert moved.fit(5) is moved
    from_one = Vocabulary.from_tokens(dict(zip(CHARS, range(1, 5), strict=True)))
    assert from_one.fit(5) is from_one


@given(text=st.text("ab\r\n É\u3000", min_size=1))
def test_from_text_is_the_tutorials(write, text):
    paths = write([text, "x"])
    assert list(Vocabulary.from_text(paths).tokens) == sorted(set(text + "x"))
    assert Vocabulary.from_text(paths, TextOptions(normalize="lower")).tokens == tuple(sorted(set(text.lower() + "x")))
    assert Vocabulary.from_text(paths, TextOptions(tokens="word")).tokens == tuple(sorted(set((text + "x").split())))
    as_bytes = Vocabulary.from_text(paths, TextOptions(tokens="byte"))
    assert as_bytes.tokens == tuple(map(chr, sorted(set((text + "x").encode()))))
    assert Vocabulary.from_text(paths, TextOptions(part="-1:")).tokens == ("x",)
    assert Vocabulary.from_text(paths).source == f"the text {paths[0]} and 1 more"


KERAS = {"class_name": "Tokenizer", "config": {"char_level": True, "word_index": json.dumps({"a": 1, "b": 2})}}


@pytest.mark.parametrize(
    ("name", "content", "tokens", "first_id"),
    [
        ("v.json", json.dumps(CHARS), CHARS, 0),
        ("v.json", json.dumps({"a": 1, "b": 2}), ["a", "b"], 1),
        ("v.json", json.dumps({"0": "\n", "1": "b"}), ["\n", "b"], 0),
        ("v.json", json.dumps({"0": 1, "1": 0}), ["1", "0"], 0),
        ("v.json", json.dumps(KERAS), ["a", "b"], 1),
        ("v.json", json.dumps(json.dumps(KERAS)), ["a", "b"], 1),
        ("v.txt", "\n".join(CHARS), CHARS, 0),
        ("v.txt", "\\n\n \na\nb\n", CHARS, 0),
        ("v.txt", "\ufeffto\r\nbe\r\n", ["to", "be"], 0),
        ("v.txt", "[UNK]\n\\n\na\n", ["[UNK]", "\n", "a"], 0),
        ("v.txt", "the\n\\n\na\n", ["the", "\\n", "a"], 0),
        ("v", json.dumps(CHARS), CHARS, 0),
    ],
)
def test_files(tmp_path, name, content, tokens, first_id):
    path = tmp_path / name
    path.write_bytes(content.encode())
    vocabulary = Vocabulary.from_file(path)
    assert (list(vocabulary.tokens), vocabulary.first_id, vocabulary.source) == (tokens, first_id, str(path))


def test_a_pickle_is_not_opened(tmp_path):
    (tmp_path / "char2idx.pkl").write_bytes(pickle.dumps({"a": 0, "b": 1}))
    np.save(tmp_path / "idx2char.npy", np.array(["a", "b"], dtype=object))
    for name in ("char2idx.pkl", "idx2char.npy"):
        with pytest.raises(VocabularyError, match=r"refused by rule pickle.*runs code when opened: .*json\.dump"):
            Vocabulary.from_file(tmp_path / name)


def test_find_the_one_that_fits(tmp_path):
    checkpoint = tmp_path / "model.h5"
    with pytest.raises(
        VocabularyError, match=r"model.h5: no vocabulary for its 4 outputs beside it \(tried: no file .*vocabulary=FILE"
    ):
        find_vocabulary(checkpoint, 4)
    (tmp_path / "word_index.json").write_text("[1, 2")
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    (tmp_path / "old_vocab.pkl").write_bytes(pickle.dumps(CHARS))
    with pytest.raises(VocabularyError, match=r"tried: .*vocab.txt.*too small.*_index.json: not whole.*is a pickle"):
        find_vocabulary(checkpoint, 4)
    (tmp_path / "char2idx.json").write_text(json.dumps({token: id_ for id_, token in enumerate(CHARS)}))
    np.save(tmp_path / "idx2char.npy", np.array(CHARS))
    assert find_vocabulary(checkpoint, 4).source == str(tmp_path / "char2idx.json")
    (tmp_path / "vocab.json").write_text(json.dumps(CHARS[::-1]))
    with pytest.raises(
        VocabularyError, match=r"two .* fit 4 outputs and differ: .*char2idx.json and .*vocab.json: say"
    ):
        find_vocabulary(checkpoint, 4)
