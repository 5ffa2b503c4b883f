"""The whole contract once more, in plain loops over whole strings: what the streaming code must agree with."""

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction

EOS = "<eos>"


def lf(text):
    out = []
    for i, character in enumerate(text):
        if character == "\r":
            out.append("\n")
        elif not (character == "\n" and i and text[i - 1] == "\r"):
            out.append(character)
    return "".join(out)


def rewrite(text, options):
    if options.newlines == "lf":
        text = lf(text)
    if options.normalize == "lower":
        text = text.lower()
    if options.normalize == "nfc":
        text = unicodedata.normalize("NFC", text)
    return text


def cut(texts, spec):
    """Slice the joined texts by Python's own slice; give what is left of each."""
    if spec is None:
        return texts
    total = sum(map(len, texts))
    bounds = [None if not bound else _bound(bound, total) for bound in spec.split(":")]
    wanted = set(range(total)[slice(*bounds)])
    out, place = [], 0
    for text in texts:
        out.append("".join(character for i, character in enumerate(text, place) if i in wanted))
        place += len(text)
    return out


def _bound(bound, total):
    return Fraction(bound[:-1]) * total // 100 if bound.endswith("%") else int(bound)


def documents(texts, options):
    """Give the final text as a list of documents, none empty."""
    texts = cut(texts, options.part)
    if options.documents == "file":
        return [rewrite(text, options) for text in texts if rewrite(text, options)]
    whole = rewrite("".join(texts), options)
    if options.documents == "one":
        return [whole] if whole else []
    return at_blank_lines(whole)


def at_blank_lines(text):
    found, current, after_blank, any_text = [], "", False, False
    for line in text.split("\n"):
        blank = not line.strip()
        if not blank and after_blank and any_text:
            found.append(current)
            current = ""
        any_text = any_text or not blank
        after_blank = blank
        current += line + "\n"
    current = current[:-1]
    return [document for document in [*found, current] if document]


@dataclass
class Token:
    id: int
    document: int
    start: int
    end: int
    unknown: int = 0


def split(document, kind, with_eos):
    """Give (token, end in units) of a document."""
    if kind == "char":
        return [(character, i + 1) for i, character in enumerate(document)]
    if kind == "byte":
        return [(chr(byte), i + 1) for i, byte in enumerate(document.encode())]
    words, current = [], ""
    for i, character in enumerate(document + " "):
        if not character.isspace():
            current += character
            continue
        if current:
            words.append((current, i))
        current = ""
        if character == "\n" and with_eos:
            words.append((EOS, i + 1))
    return words


def tokens(texts, ids, kind, unknown):
    """Give the tokens of a list of documents, spans in units (bytes for kind byte, else characters) of them all."""
    found, place, pending = [], 0, 0
    for number, document in enumerate(texts):
        length = len(document.encode()) if kind == "byte" else len(document)
        mine = []
        for token, end in split(document, kind, EOS in ids):
            absent = token not in ids
            if absent and unknown == "skip":
                pending += 1
                continue
            previous = mine or found
            start = previous[-1].end if previous else 0
            id_ = ids[unknown] if absent else ids[token]
            mine.append(Token(id_, number, start, place + end, pending + absent))
            pending = 0
        if mine:
            mine[-1].end = place + length
            mine[-1].unknown += pending
            pending = 0
        found += mine
        place += length
    if found:
        found[-1].end = place
        found[-1].unknown += pending
    return found


def first_character(document, token, end, kind):
    """Give which character of the document the token that ends at a unit begins with."""
    if kind == "byte":
        return len(document.encode()[: end - 1].decode(errors="ignore"))
    return end - len(token)


@dataclass
class Facts:
    """One entry a unit."""

    characters: list
    bytes: list
    words: list
    newlines: list
    visible: list


def facts(texts, kind):
    f = Facts([], [], [], [], [])
    for document in texts:
        before = " "
        for character in document:
            width = len(character.encode())
            begins = int(before.isspace() and not character.isspace())
            more = width - 1 if kind == "byte" else 0
            f.characters += [1] + [0] * more
            f.bytes += [1] * width if kind == "byte" else [width]
            f.words += [begins] + [0] * more
            f.newlines += [int(character == "\n")] + [0] * more
            f.visible += [not character.isspace()] * (1 + more)
            before = character
    return f


def runs(visible):
    """Count maximal runs of True."""
    return sum(now and not before for before, now in zip([False, *visible], visible, strict=False))


def lossless(texts, ids, kind, unknown):
    known = all(token in ids for text in texts for token, _ in split(text, kind, EOS in ids))
    if kind != "word" or not known:
        return known
    if EOS in ids and any(EOS in text.split() for text in texts):
        return False
    words = [[token for token, _ in split(text, kind, EOS in ids)] for text in texts]
    plain = "".join(map(plain_text, words)) == "".join(texts)
    return plain or "".join(" " + word for document in words for word in document).replace(EOS, "\n") == "".join(texts)


def plain_text(words):
    return re.sub(f" ?{EOS} ?", "\n", " ".join(words))


def block_ends(texts, smallest=256, most=4096):
    """Give (end, document) of every block, from the whole text."""
    data = "".join(texts).encode()
    size = smallest
    while len(data) > most * size:
        size *= 2
    starts, spaces, place = [], [], 0
    for character in "".join(texts):
        starts.append(place)
        if character.isspace():
            spaces.append(place)
        place += len(character.encode())
    starts.append(place)
    ends = set()
    for target in range(size, len(data), size):
        near = [space for space in spaces if target <= space <= target + size // 2]
        ends.add(near[0] if near else min(start for start in starts if start >= target))
    stops, place = [], 0
    for text in texts:
        place += len(text.encode())
        stops.append(place)
    ends |= set(stops)
    return [(end, sum(stop < end for stop in stops)) for end in sorted(ends)]
