"""Patterns of known tokenizers are run; patterns that backtrack are refused before they are."""

import contextlib
import json
import random
import time

import pytest
from tokenizers import Regex, pre_tokenizers

from rnneval.errors import VocabularyError
from rnneval.text import Vocabulary
from rnneval.text.subword import OddPatternError, ways
from tests.text.subword import zoo

# As published, each in its tokenizer.json or in tiktoken.
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CL100K = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]"
    r"|\s+(?!\S)|\s"
)
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
KNOWN = {
    "GPT-2": GPT2,
    "Llama 3": zoo.GPT4,
    "cl100k_base": CL100K,
    "o200k_base": O200K,
    "Tekken": O200K.replace("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "").replace("{1,3}", ""),
    "Qwen 2": zoo.GPT4.replace("{1,3}", ""),
    "CLIP": r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    "CLIP, blanks": r"\s+",
    "SentencePiece, blanks": r" {2,}",
    "Bloom": r" ?[^(\s|[.,!?…。，、।۔،])]+",
    "Falcon": r"[0-9][0-9][0-9]",
    "DeepSeek, blanks": r"\s+$",
    "DeepSeek, Chinese": r"[一-龥ࠀ-一가-퟿]+",
    "DeepSeek V3": r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "Galactica": r"[\(\)\[\]\{\}]|([!\"\#\$%\&'\*\+,\-\./:;<=>\?\\\^_`\|\~])\1*",
    "words": r"\w+|[^\w\s]+",
}
BACKTRACKS = [
    r"(a+)+$", r"(a|a)*$", r"(\w+\s?)+$", r"(\w+\w*)+$", r"[^q]*[^q]*$", r"[^q]*$", r".*\d",
    r"a++b", r"(?>a+)b", r"a+?b",
    r"(?=.*)a", r"(?!a+)b", r"(?:a+b)?", r"(a+){2,}", r"(a+){2}", r"(a*)*\b", r"x(?:\s+(?!\S))", r"\s+(?!\S)x",
    "a{2,}b", "a{2,}{3}",
]  # fmt: skip
MANY_WAYS = [
    "a?" * 30 + "b",
    "(?:a?a?a?a?){4}b",
    "a{1,99}a{1,99}b",
    "a{9999999}",
    "(?:(?:ab|c){1,9}){1,9}x",
    "(a|a){20}b",
]
UNKNOWN = [
    r"\k<a>", r"\g<0>", r"(?<n>a)", r"[]a]+b", r"[^]a]", r"(?x) a # b", "(?#a)b", "[a", "(a", "a)", "*a", "(?~a)", "\\",
    "a\\",
    "(?i",
    r"(?m:.)+x", "(" * 30 + ")" * 30, r"\Ka", r"\R", "a" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_patterns_of_known_tokenizers_are_run(name):
    assert 1 <= ways(KNOWN[name]) < 50
    pre_tokenizers.Split(Regex(KNOWN[name]), "isolated")  # the library knows it, too


@pytest.mark.parametrize("pattern", BACKTRACKS)
def test_patterns_that_read_again_are_refused(pattern):
    with pytest.raises(OddPatternError, match="can fail after a part that repeats without bound"):
        ways(pattern)


@pytest.mark.parametrize("pattern", MANY_WAYS)
def test_patterns_of_many_ways_are_refused(pattern):
    with pytest.raises(OddPatternError, match="in more than 256 ways"):
        ways(pattern)


@pytest.mark.parametrize("pattern", UNKNOWN)
def test_what_no_known_tokenizer_writes_is_refused(pattern):
    with pytest.raises(OddPatternError, match=r"construct|bracket|set|levels|characters"):
        ways(pattern)


def test_the_check_is_linear():
    """At its best: a machine with other work is slow at times."""
    seconds = []
    for _ in range(3):
        begun = time.process_time()
        for pattern in ("(a|" * 1300, "[" * 4000, "a?" * 2000, "a{256}" * 600, "(?:" * 1300, "|" * 4000, "\\" * 4000):
            with contextlib.suppress(OddPatternError):
                ways(pattern)
        seconds.append(time.process_time() - begun)
    assert min(seconds) < 0.5


def seconds(split, text):
    begun = time.thread_time()
    split.pre_tokenize_str(text)
    return time.thread_time() - begun


def test_whatever_is_accepted_takes_linear_time():
    """Drawn patterns: those that are accepted are timed on texts that make others backtrack."""
    rng = random.Random(0)  # noqa: S311
    pieces = [
        "a",
        "b",
        "[ab]",
        "[^q]",
        r"\w",
        ".",
        "a+",
        "a*",
        "[^q]*",
        r"\w+",
        "a?",
        "(",
        ")",
        "(?:",
        "|",
        "$",
        "{2,3}",
        "*",
        "+",
    ]
    text, accepted = "ab" * 1500 + "q!", 0
    for _ in range(4000):
        pattern = "".join(rng.choices(pieces, k=rng.randint(2, 7)))
        try:
            ways(pattern)
            split = pre_tokenizers.Split(Regex(pattern), "isolated")
        except Exception:  # noqa: S112 - ours, or the library's for a pattern that is none
            continue
        accepted += 1
        # A garbage collection of a long test run takes seconds; it does not happen three times in a row.
        assert any(seconds(split, text) < 0.1 for _ in range(3)), pattern
    assert accepted > 300


def whole(**parts):
    plain = {
        "version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": None, "post_processor": None,
        "decoder": None, "model": {"type": "WordLevel", "vocab": {"a": 0, "b": 1}, "unk_token": "a"},
    }  # fmt: skip
    return json.dumps({**plain, **parts})


def split(pattern):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


@pytest.mark.parametrize(
    "parts",
    [
        {"pre_tokenizer": split("[^q]*[^q]*$")},
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [split("a"), split("(a+)+$")]}},
        {"normalizer": {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": "b"}},
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [split("a?a?a?a?a?a?a?b")] * 3}},
    ],
)
def test_a_tokenizer_with_such_a_pattern_is_refused_in_one_line(tmp_path, capfd, parts):
    (tmp_path / "tokenizer.json").write_text(whole(**parts))
    with pytest.raises(VocabularyError, match=r"the pattern '.*' is not run: it|its patterns can") as caught:
        Vocabulary.from_file(tmp_path / "tokenizer.json")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""  # the library prints a trace where its own limit ends a match


def test_patterns_of_known_tokenizers_are_read_from_a_file(tmp_path):
    for name, pattern in KNOWN.items():
        (tmp_path / "tokenizer.json").write_text(whole(pre_tokenizer=split(pattern)))
        assert Vocabulary.from_file(tmp_path / "tokenizer.json").size == 2, name


def test_the_longest_run_of_blanks_that_a_window_has_takes_part_of_a_second():
    """The known patterns that read again do so within blanks and words."""
    for pattern in (GPT2, zoo.GPT4, CL100K, r"\s+$"):
        begun = time.process_time()
        pre_tokenizers.Split(Regex(pattern), "isolated").pre_tokenize_str(" " * 8192 + "x")
        assert time.process_time() - begun < 2
