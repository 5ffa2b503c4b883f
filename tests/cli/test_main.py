"""Dispatch: help with examples, and every kind of ending as one line and an exit code."""

import os
import sys

import click
import pytest

from rnneval.cli import output
from rnneval.cli.main import Commands, run
from rnneval.errors import TextError


@pytest.fixture
def command_that(monkeypatch):
    """A command that ends in the way of a function."""

    def command_that(end):
        monkeypatch.setattr(Commands, "get_command", lambda *_: click.Command("made", callback=end))

    return command_that


def raising(error):
    def end():
        raise error

    return end


@pytest.mark.parametrize(("given", "code"), [(None, 0), (0, 0), (1, 1), (3, 3)])
def test_a_command_gives_its_exit_code(command_that, given, code):
    command_that(lambda: given)
    assert run(["made"]) == code


def test_an_error_for_a_person_is_one_line(command_that, refused):
    command_that(raising(TextError("a.txt: two\nlines \x1b[31mand\ttabs\x07")))
    assert refused("made") == r"a.txt: two lines \x1b[31mand tabs\x07"


def test_an_error_is_an_annotation_of_github(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    for form in (["--format", "github"], ["--format=github"]):
        assert run(["gate", "no.json", "--require", "valid==true", *form]) == 2
        out, err = capsys.readouterr()
        assert out.startswith("::error title=rnneval%3A error::no.json: cannot be read: ")
        assert err.startswith("rnneval: error: no.json: ")
    assert (tmp_path / "summary.md").read_text().count("\n\n❌ rnneval: error: no.json: cannot be read") == 1


def test_a_defect_is_one_line_with_a_hint(command_that, capsys, monkeypatch):
    monkeypatch.delenv("RNNEVAL_DEBUG", raising=False)
    command_that(raising(KeyError("x")))
    assert run(["made"]) == 2
    assert capsys.readouterr().err == (
        "rnneval: error: this is a defect of rnneval (KeyError: 'x'); RNNEVAL_DEBUG=1 shows where\n"
    )


def test_debug_shows_where(command_that, capsys, monkeypatch):
    monkeypatch.setenv("RNNEVAL_DEBUG", "1")
    command_that(raising(KeyError("x")))
    assert run(["made"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("Traceback")
    assert "in end" in shown
    assert shown.splitlines()[-1].startswith("rnneval: error: this is a defect of rnneval")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_an_interrupt_is_130(command_that, capsys, error):
    command_that(raising(error))
    assert run(["made"]) == 130
    assert capsys.readouterr().err.strip() == "rnneval: interrupted"


def fail_with(error, chatter):
    with output.chatter_held():
        os.write(2, chatter)
        raise error


class Test_what_is_written_to_descriptor_2:  # noqa: N801 - reads as a sentence
    def test_is_held_back(self, capfd):
        with output.chatter_held():
            os.write(2, b"oneDNN custom operations are on\n")
            sys.stderr.write("for the person\n")
        assert capfd.readouterr().err == "for the person\n"

    @pytest.mark.parametrize("error", [TextError("a"), click.UsageError("a"), KeyboardInterrupt()])
    def test_is_held_back_where_the_input_is_at_fault(self, capfd, error):
        with pytest.raises(type(error)):
            fail_with(error, b"oneDNN\n")
        assert capfd.readouterr().err == ""

    def test_is_shown_where_something_else_fails(self, capfd):
        with pytest.raises(RuntimeError):
            fail_with(RuntimeError(), b"cuDNN says why\n")
        assert capfd.readouterr().err == "cuDNN says why\n"


def test_progress_on_a_terminal_goes_to_standard_error(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with output.progress_bar("evaluating", quiet=False) as progress:
        progress(50, 200)
        progress(200, 200)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "evaluating" in captured.err
