"""The block of docs/inside.md: from a module to four figures."""

import re
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'rnneval[torch]'")

PAGE = Path(__file__).resolve().parents[3] / "docs" / "inside.md"
TOKENS = list("abcdefgh")


class Recurrent(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.embedding, self.lstm = torch.nn.Embedding(8, 8), torch.nn.LSTM(8, 8, batch_first=True)
        self.out = torch.nn.Linear(8, 8)

    def forward(self, ids, state=None):
        x, state = self.lstm(self.embedding(ids), state)
        return self.out(x), state


@pytest.mark.torch
def test_the_block_of_the_page_draws_four_figures(tmp_path, monkeypatch):
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    draws = torch.randint(8, (20_000,), generator=torch.Generator().manual_seed(0))
    Path("held_out.txt").write_text("".join(TOKENS[each] for each in draws), encoding="utf-8")
    names = {"module": Recurrent(), "tokens": TOKENS}
    exec(block, names)  # noqa: S102 - ours
    assert len(block.strip().splitlines()) <= 15
    assert [bool(axes.get_title(loc="left") or axes.lines) for axes in names["axes"].flat] == [True] * 4
    assert Path("inside.png").read_bytes().startswith(b"\x89PNG")
    assert {*names["run"].states} == {"lstm.h", "lstm.c"}
