"""Two tiny RWKV models of rwkv.cpp, as modules of PyTorch: logits against those of rwkv.cpp, losses against float64."""

import copy
import struct

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import rnneval  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.real_data]

TEXT = '"in the beginning, all of it was one word; and the word was read byte by byte.\n' * 4


def weights_of(path):
    """Read the tensors of a file of rwkv.cpp."""
    raw, at, found = path.read_bytes(), 24, {}
    while at < len(raw):
        dimensions, length, _ = struct.unpack_from("<3i", raw, at)
        shape = struct.unpack_from(f"<{dimensions}i", raw, at + 12)[::-1]
        at += 12 + 4 * dimensions
        name, at = raw[at : at + length].decode(), at + length
        size = int(np.prod(shape))
        found[name] = torch.tensor(np.frombuffer(raw, np.float32, size, at).reshape(shape).squeeze())
        at += 4 * size
    return found


class Rwkv(torch.nn.Module):
    """What both versions share: embedding, blocks of two parts with a state each, and the head."""

    def __init__(self, weights):
        super().__init__()
        self.names = {name: name.replace(".", "_") for name in weights}
        for name, weight in weights.items():
            self.register_parameter(self.names[name], torch.nn.Parameter(weight, requires_grad=False))
        self.layers = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blocks."))

    def __getitem__(self, name):
        return getattr(self, self.names[name])

    def norm(self, name, x):
        return torch.nn.functional.layer_norm(x, x.shape[-1:], self[f"{name}.weight"], self[f"{name}.bias"])

    def forward(self, ids, state=None):
        state = self.begin(len(ids)) if state is None else state
        outputs = []
        for embedded in self["emb.weight"][ids].unbind(1):
            x, state = self.read(self.norm("blocks.0.ln0", embedded), state)
            outputs.append(self.norm("ln_out", x) @ self["head.weight"].T)
        return torch.stack(outputs, 1), state

    def read(self, x, state):
        after, shared = [], {}
        for layer, (time, channel) in enumerate(state):
            name = f"blocks.{layer}"
            out, new = self.time_mix(f"{name}.att", self.norm(f"{name}.ln1", x), time, shared)
            inputs = self.norm(f"{name}.ln2", x := x + out)
            x += self.channel_mix(f"{name}.ffn", inputs, channel)
            after.append((new, inputs))
        return x, after


class Rwkv4(Rwkv):
    """Peng and others: RWKV: Reinventing RNNs for the Transformer Era, 2023, with the running maximum of its code."""

    def begin(self, rows):
        x = self["emb.weight"].new_zeros(rows, self["emb.weight"].shape[1])
        return [((x, x, x, x - 1e30), x) for _ in range(self.layers)]

    def mixed(self, name, which, x, last):
        share = self[f"{name}.time_mix_{which}"]
        return x * share + last * (1 - share)

    def time_mix(self, name, x, state, _):
        last, a, b, top = state
        k, v, r = (
            self.mixed(name, which, x, last) @ self[f"{name}.{long}.weight"].T
            for which, long in (("k", "key"), ("v", "value"), ("r", "receptance"))
        )
        first = self[f"{name}.time_first"] + k
        p = torch.maximum(top, first)
        wkv = ((top - p).exp() * a + (first - p).exp() * v) / ((top - p).exp() * b + (first - p).exp())
        decayed = top + self[f"{name}.time_decay"]
        p = torch.maximum(decayed, k)
        a = (decayed - p).exp() * a + (k - p).exp() * v
        b = (decayed - p).exp() * b + (k - p).exp()
        return (r.sigmoid() * wkv) @ self[f"{name}.output.weight"].T, (x, a, b, p)

    def channel_mix(self, name, x, last):
        k = self.mixed(name, "k", x, last) @ self[f"{name}.key.weight"].T
        r = self.mixed(name, "r", x, last) @ self[f"{name}.receptance.weight"].T
        return r.sigmoid() * (k.relu().square() @ self[f"{name}.value.weight"].T)


class Rwkv7(Rwkv):
    """Peng and others: RWKV-7 "Goose" with Expressive Dynamic State Evolution, 2025; one head."""

    def begin(self, rows):
        x = self["emb.weight"].new_zeros(rows, self["emb.weight"].shape[1])
        return [((x, x[:, :, None] * x[:, None]), x) for _ in range(self.layers)]

    def low_rank(self, name, which, x, between=lambda x: x):
        return between(x @ self[f"{name}.{which}1"].T) @ self[f"{name}.{which}2"].T

    def time_mix(self, name, x, state, shared):
        last, matrix = state
        r, w, k, v, a, g = (x + (last - x) * share for share in self[f"{name}.x_rwkvag"])
        w = torch.exp(-0.606531 * (self[f"{name}.w0"] + self.low_rank(name, "w", w, torch.tanh)).sigmoid())
        r, k = r @ self[f"{name}.receptance.weight"].T, k @ self[f"{name}.key.weight"].T
        mixed, v = v, v @ self[f"{name}.value.weight"].T
        if "first" in shared:
            v = v + (shared["first"] - v) * (self[f"{name}.v0"] + self.low_rank(name, "v", mixed)).sigmoid()
        shared.setdefault("first", v)
        a = (self[f"{name}.a0"] + self.low_rank(name, "a", a)).sigmoid()
        g = self.low_rank(name, "g", g, torch.sigmoid)
        removed = torch.nn.functional.normalize(k * self[f"{name}.k_k"], dim=-1)
        k = k * (1 + (a - 1) * self[f"{name}.k_a"])
        matrix = (
            matrix * w[:, None]
            + (matrix @ -removed[:, :, None]) @ (removed * a)[:, None]
            + v[:, :, None] @ k[:, None]
        )  # fmt: skip
        out = (matrix @ r[:, :, None])[..., 0]
        out = torch.nn.functional.group_norm(out, 1, self[f"{name}.ln_x.weight"], self[f"{name}.ln_x.bias"], 64e-5)
        out = out + (r * k * self[f"{name}.r_k"]).sum(-1, keepdim=True) * v
        return (out * g) @ self[f"{name}.output.weight"].T, (x, matrix)

    def channel_mix(self, name, x, last):
        k = (x + (last - x) * self[f"{name}.x_k"]) @ self[f"{name}.key.weight"].T
        return k.relu().square() @ self[f"{name}.value.weight"].T


@pytest.fixture(params=[(Rwkv4, "4v0-660K"), (Rwkv7, "7v0-834K")], ids=["RWKV-4", "RWKV-7"])
def rwkv(request, data_folder):
    kind, name = request.param
    folder = data_folder / "rwkv"
    expected = np.fromfile(folder / f"expected-logits-{name}.bin", np.float32)
    return kind(weights_of(folder / f"tiny-rwkv-{name}-FP32.bin")), expected


def test_logits_losses_and_wiring(rwkv):
    module, expected = rwkv
    lm = rnneval.from_torch(module, vocabulary=rnneval.Vocabulary.from_bytes())
    logits, _ = lm.step(np.array([[34, 105, 110]], np.int32), None)
    assert np.abs(logits[0, -1] - expected).sum() < 1e-3
    run = rnneval.evaluate(lm, string=TEXT, check=False)
    ids = torch.tensor([list(TEXT.encode())])
    exact, _ = module.double()(ids[:, :-1])
    loss = float(torch.nn.functional.cross_entropy(exact[0], ids[0, 1:]))
    assert run.scores["cross_entropy"].value == pytest.approx(loss, abs=1e-6)


def test_a_state_is_carried_right(rwkv):
    """Training has zeroed parts of the model of version 4, so that parts of its state have no effect."""
    module, _ = rwkv
    wiring = rnneval.check(rnneval.from_torch(module, vocabulary=rnneval.Vocabulary.from_bytes()))
    assert not [finding for finding in wiring.findings if finding.severity == "error"], wiring


def test_parity_tells_weights_in_half_precision_from_a_state_that_is_not_handed_on(rwkv, data_folder):
    module, _ = rwkv
    text = (data_folder / "tinyshakespeare.txt").read_text(encoding="utf-8")[-600:]
    options = {"vocabulary": rnneval.Vocabulary.from_bytes(), "ref_segment": 9, "check": False}
    half = rnneval.parity(module, copy.deepcopy(module).half().float(), string=text, **options)
    # All weights of version 7 are numbers of bfloat16, and float16 changes 944 small ones alone.
    expected = ("pass", None, None) if isinstance(module, Rwkv7) else ("inconclusive", None, 0)
    assert (half.verdict, half.fault, half.first_above) == expected
    lost = rnneval.parity(module, module, string=text, cand_state="reset", **options)
    assert (lost.verdict, lost.fault, lost.first_above) == ("fail", "state", 9)
    assert half.kl.mean < 1e-5 < lost.kl.mean
