import builtins
import importlib
import json

import pytest

from rnneval.errors import TextError, UsageError, VocabularyError
from rnneval.text import Vocabulary, encode, find_vocabulary
from tests.text.subword import zoo


def plain_gpt2():
    return json.loads(zoo.huggingface("gpt2").to_str())


def saved(tmp_path, plain, name="tokenizer.json"):
    path = tmp_path / name
    path.write_text(plain if isinstance(plain, str) else json.dumps(plain))
    return path


def test_its_hash_is_that_of_what_decides_over_ids(tmp_path):
    plain = plain_gpt2()
    first = Vocabulary.from_file(saved(tmp_path, plain)).sha256
    other = {**plain, "truncation": None, "post_processor": None}
    assert Vocabulary.from_file(saved(tmp_path, json.dumps(other, indent=4))).sha256 == first
    plain["model"]["merges"] = plain["model"]["merges"][:-1]
    assert Vocabulary.from_file(saved(tmp_path, plain)).sha256 != first


def changed(**parts):
    """Give a change of the tokenizer's parts by dotted name."""

    def change(plain):
        for name, value in parts.items():
            whole, *rest = name.split("__")
            target = plain
            for key in [whole, *rest][:-1]:
                target = target[key]
            target[[whole, *rest][-1]] = value
        return plain

    return change


def words(**vocab):
    return {"type": "WordLevel", "vocab": vocab, "unk_token": "a"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed(model={}), "without a vocabulary"),
        (changed(model={"type": "Unheard", "vocab": {"a": 0}}), "cannot load it"),
        (changed(model__merges=[["zz", "yy"]]), "Token `zz` out of vocabulary"),
        (changed(model__vocab={"a": -1}), "cannot load it"),
        # A panic of Rust, which is no Exception.
        (
            changed(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
            "Cannot parse precompiled_charsmap",
        ),
        (
            changed(model={"type": "WordLevel", "vocab": {"a": 5, "b": 6}, "unk_token": "a"}, added_tokens=[]),
            "ids begin at 5",
        ),
        (changed(model=words(a=0, b=0)), "given to two tokens"),
        (changed(added_tokens=5), "without a vocabulary"),
    ],
)
def test_hostile_tokenizers_are_one_line(tmp_path, change, message, capfd):
    with pytest.raises(VocabularyError, match=message) as refusal:
        Vocabulary.from_file(saved(tmp_path, change(plain_gpt2())))
    assert "\n" not in str(refusal.value)
    assert str(tmp_path) in str(refusal.value)


def test_a_tokenizer_that_would_leave_out_characters_is_refused(tmp_path):
    from tokenizers import Tokenizer, models

    bare = Tokenizer(models.BPE(vocab={"t": 0, "o": 1, " ": 2, "to": 3}, merges=[("t", "o")]))
    found = Vocabulary.from_file(saved(tmp_path, bare.to_str()))
    (tmp_path / "known.txt").write_text("to to ot")
    with encode(tmp_path / "known.txt", found) as encoded:
        assert encoded.ids(0, encoded.tokens).tolist() == [3, 2, 3, 2, 1, 0]
    (tmp_path / "text.txt").write_text("to tok ot")
    with pytest.raises(TextError, match=r"has no piece for 'k' \(U\+006B\) and no unknown token"):
        encode(tmp_path / "text.txt", found)


@pytest.mark.parametrize(("module", "name"), [("tokenizers", "gpt2"), ("sentencepiece", "spm_bpe")])
def test_without_the_library_one_line_names_the_extra(tmp_path, monkeypatch, module, name):
    path = zoo.write(name, tmp_path)
    imported = importlib.import_module

    def refusing(wanted, *rest):
        if wanted == module:
            raise ImportError(wanted)
        return imported(wanted, *rest)

    monkeypatch.setattr(importlib, "import_module", refusing)
    with pytest.raises(UsageError, match=f"needs the package {module}: pip install 'rnneval\\[subword\\]'") as refusal:
        Vocabulary.from_file(path)
    assert "\n" not in str(refusal.value)


def test_beside_a_checkpoint_the_tokenizer_is_found_and_its_own_list_is_part_of_it(tmp_path):
    checkpoint = tmp_path / "model.keras"
    checkpoint.touch()
    path = zoo.write("gpt2", tmp_path).rename(tmp_path / "tokenizer.json")
    ids = zoo.huggingface("gpt2").get_vocab()
    (tmp_path / "vocab.json").write_text(json.dumps(ids))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 512}))
    found = find_vocabulary(checkpoint, len(ids))
    assert (found.kind, found.source) == ("subword", str(path))
    backwards = {token: len(ids) - 1 - id_ for token, id_ in ids.items()}
    (tmp_path / "char2idx.json").write_text(json.dumps(backwards))
    with pytest.raises(VocabularyError, match="two vocabularies beside it fit"):
        find_vocabulary(checkpoint, len(ids))


def test_no_file_is_opened_by_a_library(tmp_path, monkeypatch):
    """What the libraries get is bytes that were looked at: neither opens a path or an address of its own."""
    import socket

    def refuse(*_, **__):
        raise AssertionError("a connection")

    paths = [zoo.write("gpt2", tmp_path), zoo.write("spm_bpe", tmp_path)]
    monkeypatch.setattr(socket.socket, "connect", refuse)
    opened = []
    real = builtins.open
    monkeypatch.setattr(builtins, "open", lambda *given, **named: opened.append(given[0]) or real(*given, **named))
    for path in paths:
        Vocabulary.from_file(path)
    assert opened == []
