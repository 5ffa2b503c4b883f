import hashlib
import os

import pytest

from rnneval.errors import TextError, UsageError
from rnneval.text import TextOptions, final_text


def test_byte_order_marks_are_dropped_in_each_file(write):
    raw = [b"\xef\xbb\xbfa", b"b\xef\xbb\xbf", b"\xef\xbb\xbfc"]
    read = final_text(write(raw), TextOptions(documents="file"))
    assert read.documents == ["a", "b\ufeff", "c"]
    assert [file.sha256 for file in read.files] == [hashlib.sha256(one).hexdigest() for one in raw]
    assert [code for code, _ in read.warnings] == ["bom", "bom"]
    assert "0.txt: a byte-order mark was dropped" in read.warnings[0][1]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"abc\xe9def", r"not UTF-8: byte 0xE9 at offset 3 \(invalid continuation byte\).*iconv"),
        (b"a" * 1_000_000 + b"\xc3(", r"byte 0xC3 at offset 1,000,000"),
        (b"\xff\xfea\x00", r"is UTF-16: convert it with iconv -f UTF-16 -t UTF-8; a UTF-8 text is needed"),
        (b"version https://git-lfs.github.com/spec/v1\noid", r"is a Git LFS pointer, .*git lfs pull"),
        (b"\x1f\x8b\x08", r"compressed by gzip"),
        (b"PK\x03\x04", r"a zip archive .*give the checkpoint first"),
        (b"\x89HDF\r\n\x1a\n", r"an HDF5 file"),
    ],
)
def test_what_is_not_text(write, raw, message):
    with pytest.raises(TextError, match=rf"0\.txt: .*{message}"):
        final_text(write([raw]))


def test_what_cannot_be_opened(tmp_path):
    with pytest.raises(TextError, match=r"none\.txt: no such file: give the path of a UTF-8 text"):
        final_text(tmp_path / "none.txt")
    with pytest.raises(TextError, match=r"is a folder, a text file is needed: name its files, such as .*\*\.txt"):
        final_text(str(tmp_path))
    null = "embedded null byte|stat: embedded null character in path"  # until Python 3.12, and from 3.13 on
    with pytest.raises(TextError, match=f"cannot be read: ({null})"):
        final_text("a\0b")
    with pytest.raises(UsageError, match="no text was given: name at least one UTF-8 file"):
        final_text([])
    locked = tmp_path / "locked.txt"
    locked.write_text("a")
    locked.chmod(0)
    if not os.access(locked, os.R_OK):  # not so for the superuser
        with pytest.raises(TextError, match="cannot be read: Permission denied"):
            final_text(locked)


@pytest.mark.parametrize(("part", "text"), [(None, "abc"), ("-2:", "bc")])
def test_a_pipe_is_read_once(part, text):
    reader, writer = os.pipe()
    os.write(writer, b"abc")
    os.close(writer)
    assert final_text(f"/dev/fd/{reader}", TextOptions(part=part)).documents == [text]
    os.close(reader)
