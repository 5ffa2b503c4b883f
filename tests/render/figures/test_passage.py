"""A passage coloured by surprise: which characters, which colours, where it begins."""

import numpy as np
import pytest

from rnneval.errors import UsageError
from rnneval.render import figures
from rnneval.render.figures import passage
from tests.render.figures import made


def shown(source):
    data = passage.data_of(source)
    return data, ["".join(cell.text for cell in line) for line in data.lines]


def test_every_character_has_its_own_surprise():
    data, lines = shown(made.losses("ab cd", [1.0, 2.0, 3.0, 4.0]))
    assert lines == ["ab cd"]
    bits = [cell.bits for cell in data.lines[0]]
    assert np.isnan(bits[0])
    assert bits[1:] == pytest.approx([1, 2, 3, 4])
    assert (data.mean, data.whole) == (pytest.approx(2.5), True)
    assert data.peak == ("d", pytest.approx(4.0))
    assert passage.title_of(data) == "The text cost 2.50 bits a token"


def test_a_token_of_several_characters_gives_all_of_them_its_surprise():
    source = made.losses("aé", [0.0], first=1)
    frame = source.frame.assign(byte_start=0, byte_end=3, nats=np.log(2) * 6)
    data = passage.data_of(figures.Table(schema=source.schema, frame=frame, text="aé"))
    assert [cell.bits for cell in data.lines[0]] == pytest.approx([6, 6])


def test_the_most_surprising_stretch_is_chosen():
    text = "calm words here " * 400
    bits = np.full(len(text) - 1, 1.0)
    bits[3200:3400] = 9.0
    data, lines = shown(made.losses(text, bits))
    assert data.start <= 3201
    assert data.stop >= 3400
    assert text[data.start - 1] == " "  # at the beginning of a word
    assert lines[0].split()[0] in ("calm", "words", "here")
    assert passage.title_of(data).startswith("The most surprising passage cost ")


def test_the_place_that_is_asked_for_is_inside():
    text = "one two three four " * 300
    for at in (0, 1234, len(text) - 1):
        data, _ = shown(made.losses(text, np.ones(len(text) - 1), at=at))
        assert data.start <= at < data.stop
    assert passage.title_of(data).startswith("This passage cost ")
    with pytest.raises(UsageError, match=r"--at 99999: the text has 5,700 bytes"):
        shown(made.losses(text, np.ones(len(text) - 1), at=99_999))


def test_lines_wrap_at_words_and_never_beyond_the_width():
    text = "word " * 100 + "x" * 300
    _, lines = shown(made.losses(text, np.ones(len(text) - 1)))
    assert all(len(line.rstrip()) <= passage.COLUMNS for line in lines)
    assert all(line.startswith("word") for line in lines[:6])
    assert "".join(lines).startswith("word " * 100)


def test_wide_characters_take_two_columns():
    text = "日本語" * 40
    data, lines = shown(made.losses(text, np.ones(len(text) - 1)))
    assert max(sum(cell.width for cell in line) for line in data.lines) <= passage.COLUMNS
    assert "".join(lines) == text
    assert {len(line) for line in lines[:-1]} == {35}  # words of 35 characters: 70 columns


def test_line_ends_tabs_and_control_characters_are_shown_as_marks():
    _, lines = shown(made.losses("a\tb\x1b\nc", np.ones(5)))
    assert lines == ["a→b·↵", "c"]


def test_what_is_drawn(ax):
    figure = figures.figure_of(made.losses("abcd", [0.0, 6.0, 12.0]))
    figure.draw(ax=ax)
    letters = [text.get_text() for text in ax.texts]
    assert letters[0] == "abcd"
    marked = [line.get_xdata() for line in ax.lines if line.get_gid() == "marked"]
    assert [list(x) for x in marked] == [[3.1, 3.9]]
    grounds = {patch.get_x(): patch.get_facecolor() for patch in ax.patches if patch.get_y() == 0.06}
    assert sorted(grounds) == [0, 2, 3]  # the unscored one's rim, 6 bits, 12 bits; 0 bits have no ground
    assert sum(grounds[3][:3]) < sum(grounds[2][:3])  # on white, darker is more
    assert {"surprise in bits:", "0", "4", "8", "12 or more", "8 bits or more"} <= set(letters)
    assert "The text: abcd" in figure.alt


def test_losses_of_a_longer_text_are_refused():
    source = made.losses("abcdef", np.ones(5))
    with pytest.raises(UsageError, match="the losses reach to byte 6, the text has 3"):
        passage.data_of(figures.Table(schema=source.schema, frame=source.frame, text="abc"))


def test_without_the_text_there_is_no_passage():
    source = made.losses("abc", np.ones(2))
    assert figures.figures_of(figures.Table(schema=source.schema, frame=source.frame)) == []
