"""Names out of a record, in every output: no markup, no control character, no formula of matplotlib's, one line."""

import json
import xml.dom.minidom

import pytest

from rnneval.cli.main import run
from tests.hostile.cost import ROOT

RECORDS = ROOT / "docs" / "records"
NAMES = {
    "half a surrogate pair": "\udcff\ud800",
    "a formula": "$\\frac{$",
    "control characters": "\x00\x1b[2J\x9b",
    "markup": '"><script>alert(1)</script><img src=x onerror=a()>',
    "ids": 'url(#evil) id="x" href="#y" ]]></metadata><!--',
    "commands": "a\n::error::x\n##vso[x]",
    "direction": "\u202eabc\u2066\u2028",
    "long": "x" * 100_000,
}


def renamed(value, name):
    """The record with its layers, slots, paths and messages exchanged."""
    if isinstance(value, dict):
        return {
            key: name if isinstance(inner, str) and key in _NAMES else renamed(inner, name)
            for key, inner in value.items()
        }
    return [renamed(inner, name) for inner in value] if isinstance(value, list) else value


_NAMES = {
    "name", "path", "layer", "slot", "source_layer", "message", "help", "reason", "code", "source", "device", "created",
    "baseline", "candidate", "method", "variable", "detail", "claim", "kind", "file", "from", "about",
}  # fmt: skip


def is_harmless(text):
    return all(character.isprintable() or character == "\n" for character in text)


@pytest.mark.sampled(9)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("record", ["run", "wiring", "gate", "gradients"])
def test_figures_and_pages(tmp_path, monkeypatch, capsys, record, name):
    """Before: UnicodeEncodeError in page and SVG, SVG that is no XML."""
    monkeypatch.chdir(tmp_path)
    plain = renamed(json.loads((RECORDS / f"{record}.json").read_text(encoding="utf-8")), NAMES[name])
    (tmp_path / "r.json").write_text(json.dumps(plain))
    for arguments in (["plot", "r.json", "--out", "f.svg"], ["report", "r.json", "--out", "r.html"]):
        code, said = run(arguments), capsys.readouterr()
        assert code == 0, said
        assert is_harmless(said.out + said.err)
        text = (tmp_path / arguments[-1]).read_text(encoding="utf-8")
        assert is_harmless(text)
        assert "<script>alert" not in text
        assert "<img src=x" not in text
    picture = xml.dom.minidom.parse(str(tmp_path / "f.svg"))  # noqa: S318 - our own file
    assert not picture.getElementsByTagName("script")
    assert run(["plot", "r.json", "--out", "f.pdf", "-q"]) == 0
