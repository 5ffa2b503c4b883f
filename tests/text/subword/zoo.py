"""Tokenizers of every common make, trained on a few lines by their own libraries."""

import io
import json
from functools import cache

import sentencepiece
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

LINES = [
    "To be, or not to be: that is the question; whether 'tis nobler in the mind to suffer",
    "the slings and arrows of outrageous fortune 1234567 don't  we're I'll naïve café 日本語 😀 ",
    "\tor to take\n\n arms against a sea of troubles! (1601) ½ aaaaaaaa        bbbb\r\n",
] * 3
GPT4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
UNK, OTHER_UNK = "<unk>", "[UNK]"
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def trained(tokenizer, trainer):
    tokenizer.train_from_iterator(LINES, trainer)
    return tokenizer


def bpe(size=400, **more):
    return trainers.BpeTrainer(vocab_size=size, show_progress=False, **more)


def of_bytes(size=400):
    return bpe(size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<|endoftext|>"])


def gpt2(size=400, *, prefix=False):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    return trained(tokenizer, of_bytes(size))


def gpt4():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(GPT4), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return trained(tokenizer, of_bytes())


def llama():
    """No pre-tokenizer at all: merges could go over the whole text."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token=UNK, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")  # in training alone
    trained(tokenizer, bpe(500, special_tokens=["<unk>", "<s>", *BYTES]))
    plain = json.loads(tokenizer.to_str())
    plain["pre_tokenizer"] = None
    plain["added_tokens"] = plain["added_tokens"][:2]
    tokenizer = Tokenizer.from_str(json.dumps(plain))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


def metaspace():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    return trained(
        tokenizer, trainers.UnigramTrainer(vocab_size=90, show_progress=False, special_tokens=["<unk>"], unk_token=UNK)
    )


def nfkc():
    tokenizer = metaspace()
    tokenizer.normalizer = normalizers.NFKC()
    return tokenizer


def wordpiece():
    tokenizer = Tokenizer(models.WordPiece(unk_token=OTHER_UNK))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    special = ["[UNK]", "[CLS]", "[SEP]"]
    trained(tokenizer, trainers.WordPieceTrainer(vocab_size=200, show_progress=False, special_tokens=special))
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return tokenizer


def wordlevel():
    tokenizer = Tokenizer(models.WordLevel(unk_token=UNK))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return trained(tokenizer, trainers.WordLevelTrainer(show_progress=False, special_tokens=["<unk>"]))


def suffixed():
    tokenizer = Tokenizer(models.BPE(unk_token=UNK, end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return trained(tokenizer, bpe(150, end_of_word_suffix="</w>", special_tokens=["<unk>"]))


HUGGINGFACE = {
    "gpt2": gpt2,
    "gpt2_prefix": lambda: gpt2(prefix=True),
    "gpt4": gpt4,
    "llama": llama,
    "metaspace": metaspace,
    "nfkc": nfkc,
    "wordpiece": wordpiece,
    "wordlevel": wordlevel,
    "suffixed": suffixed,
}
PIECES = {
    "spm_bpe": {
        "model_type": "bpe",
        "vocab_size": 420,
        "byte_fallback": True,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
    },
    "spm_unigram": {"model_type": "unigram", "vocab_size": 90},
}
ALL = [*HUGGINGFACE, *PIECES]


@cache
def huggingface(name):
    return Tokenizer.from_str(HUGGINGFACE[name]().to_str())  # as saved: a score may lose its last digit on the way


@cache
def pieces(name):
    """Give the bytes of a SentencePiece model."""
    model = io.BytesIO()
    lines = [line for text in LINES for line in text.split("\n")]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, hard_vocab_limit=False, minloglevel=2, **PIECES[name]
    )
    return model.getvalue()


@cache
def processor(name):
    return sentencepiece.SentencePieceProcessor(model_proto=pieces(name))


def ids_of(name, text):
    """Encode a whole text by the library itself."""
    if name in PIECES:
        return processor(name).encode(text)
    return huggingface(name).encode(text, add_special_tokens=False).ids


def decoded(name, ids):
    if name in PIECES:
        return processor(name).decode(ids)
    return huggingface(name).decode(ids, skip_special_tokens=False)


def offsets_of(name, text):
    if name in PIECES:
        return processor(name).encode(text, return_type="offset_mapping")["offsets"]
    return huggingface(name).encode(text, add_special_tokens=False).offsets


def write(name, folder):
    path = folder / (f"{name}.model" if name in PIECES else f"{name}.json")
    path.write_bytes(pieces(name) if name in PIECES else huggingface(name).to_str().encode())
    return path
