"""Small models: each as a step function over batches in NumPy, and as a loop in float64 over one row, token by token.

The two are written apart from each other: the step functions compute whole calls at once (chunks, cumulative sums), the
loops follow the recurrence as it is defined.
"""

from itertools import pairwise

import numpy as np

V = 11


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def nats_of(logits, targets):
    """−ln softmax of the targets, from float64 logits `(time, V)`, term by term."""
    return np.array([np.log(sum(np.exp(z - row[t]) for z in row)) for row, t in zip(logits, targets, strict=True)])


# GRU stack, reset after the product (cuDNN's variant, Keras' default)


def gru_weights(seed=0, units=(6, 5), embed=4):
    rng = np.random.default_rng(seed)
    sizes = [embed, *units]
    return {
        "embedding": rng.normal(size=(V, embed)),
        "layers": [
            (rng.normal(size=(i, 3 * u)), rng.normal(size=(u, 3 * u)) / np.sqrt(u), rng.normal(size=(2, 3 * u)) / 2)
            for i, u in pairwise(sizes)
        ],
        "out": (rng.normal(size=(units[-1], V)), rng.normal(size=V)),
    }


def gru_stack(weights, dtype=np.float32):
    """A GRU stack as a step function; its state is a tuple of `(batch, units)`."""
    cast = lambda a: np.asarray(a, dtype)  # noqa: E731
    layers = [tuple(map(cast, layer)) for layer in weights["layers"]]
    embedding, (w_out, b_out) = cast(weights["embedding"]), map(cast, weights["out"])

    def step(ids, state):
        x, after = embedding[ids], []
        for (kernel, recurrent, bias), begun in zip(layers, state, strict=True):
            h = begun
            u, into, seen = h.shape[1], x @ kernel + bias[0], []
            for t in range(ids.shape[1]):
                inner = h @ recurrent + bias[1]
                z = sigmoid(into[:, t, :u] + inner[:, :u])
                r = sigmoid(into[:, t, u : 2 * u] + inner[:, u : 2 * u])
                h = z * h + (1 - z) * np.tanh(into[:, t, 2 * u :] + r * inner[:, 2 * u :])
                seen.append(h)
            x = np.stack(seen, axis=1)
            after.append(h)
        return x @ w_out + b_out, tuple(after)

    def initial_state(batch):
        return tuple(np.zeros((batch, layer[1].shape[0]), dtype) for layer in layers)

    return step, initial_state


# Linear attention with decay, in chunks


class LinearAttention:
    """S ← λ S + kᵀ v, y = q S; read in chunks, as fast implementations do. `fault` plants one."""

    chunk, decay, width = 8, 0.9, 5

    def __init__(self, seed=1, fault="", dtype=np.float32):
        rng = np.random.default_rng(seed)
        draw = lambda *shape: rng.normal(size=shape) / np.sqrt(shape[0])  # noqa: E731
        self.e, self.o = rng.normal(size=(V, self.width)), draw(self.width, V) / 4
        self.q, self.k, self.v = (draw(self.width, self.width) for _ in range(3))
        self.fault, self.dtype = fault, dtype

    def initial_state(self, batch):
        return np.zeros((batch, self.width, self.width), self.dtype)

    def step(self, ids, state):
        x = self.e.astype(self.dtype)[ids]
        q, k, v = (x @ w.astype(self.dtype) for w in (self.q, self.k, self.v))
        if self.fault == "ignores h0" and ids.shape[1] > 1:
            state = np.zeros_like(state)
        out = []
        for start in range(0, ids.shape[1], self.chunk):
            part = slice(start, start + self.chunk)
            y, state = self._chunk(q[:, part], k[:, part], v[:, part], state, last=start + self.chunk >= ids.shape[1])
            out.append(y)
        return np.concatenate(out, axis=1) @ self.o.astype(self.dtype), state

    def _chunk(self, q, k, v, state, *, last):
        t = np.arange(q.shape[1])
        behind = t[:, None] - t
        mask = np.where(behind >= (-1 if self.fault == "leak" else 0), self.decay ** np.maximum(behind, 0), 0)
        inside = ((q @ k.transpose(0, 2, 1)) * mask.astype(self.dtype)) @ v
        before = (q * (self.decay ** (t + 1)).astype(self.dtype)[:, None]) @ state
        power = len(t) - 1 if self.fault == "off by one" and not last else len(t)
        left = (self.decay ** (len(t) - 1 - t)).astype(self.dtype)[:, None]
        return inside + before, self.dtype(self.decay**power) * state + (k * left).transpose(0, 2, 1) @ v

    def loop(self, ids):
        """Logits `(time, V)` of one row by the recurrence, in float64."""
        state, out = np.zeros((self.width, self.width)), []
        for token in ids:
            x = self.e[token]
            state = self.decay * state + np.outer(x @ self.k, x @ self.v)
            out.append((x @ self.q) @ state @ self.o)
        return np.array(out)


# Selective state space (Mamba's recurrence) with its short convolution


class SelectiveSSM:
    """h ← exp(Δ A) h + Δ B x, y = C h + D x behind a causal convolution of 4 tokens. `fault` plants one.

    Its state is a dict: `conv`, the last three inputs, and `ssm`, h.
    """

    width, inner, taps = 4, 3, 4

    def __init__(self, seed=2, fault="", dtype=np.float32):
        rng = np.random.default_rng(seed)
        self.e, self.o = rng.normal(size=(V, self.width)), rng.normal(size=(self.width, V)) / 4
        self.conv = rng.normal(size=(self.taps, self.width)) / 2
        self.a = -np.exp(rng.normal(size=(self.width, self.inner)) / 2)
        self.delta, self.skip = rng.normal(size=(self.width, self.width)) / 2, rng.normal(size=self.width)
        self.b, self.c = (rng.normal(size=(self.width, self.inner)) for _ in range(2))
        self.fault, self.dtype = fault, dtype

    def initial_state(self, batch):
        conv = np.zeros((batch, self.taps - 1, self.width), self.dtype)
        return {"conv": conv, "ssm": np.zeros((batch, self.width, self.inner), self.dtype)}

    def step(self, ids, state):
        f = self.dtype
        x = self.e.astype(f)[ids]
        before = np.zeros_like(state["conv"]) if self.fault == "unused leaf" else state["conv"]
        padded = np.concatenate([before, x], axis=1)
        time = ids.shape[1]
        mixed = sum(padded[:, k : k + time] * self.conv[k].astype(f) for k in range(self.taps))
        u = mixed * sigmoid(mixed)
        delta = np.log1p(np.exp(u @ self.delta.astype(f)))
        keep = np.exp(delta[..., None] * self.a.astype(f))  # (batch, time, width, inner)
        add = (delta * u)[..., None] * (u @ self.b.astype(f))[:, :, None, :]
        states = self._scan(keep, add, state["ssm"])
        y = (states * (u @ self.c.astype(f))[:, :, None, :]).sum(axis=-1) + u * self.skip.astype(f)
        conv = padded[:, time:]
        if self.fault == "dropped beyond one token" and time > 1:
            conv = np.zeros_like(conv)
        return y @ self.o.astype(f), {"conv": conv, "ssm": states[:, -1]}

    def _scan(self, keep, add, h):
        """Scan by doubling: pairs (keep, add) are composed over spans of 1, 2, 4, … tokens."""
        keep, add = keep.copy(), add.copy()
        add[:, 0] += keep[:, 0] * h
        span = 1
        while span < keep.shape[1]:
            add[:, span:] = add[:, span:] + keep[:, span:] * add[:, :-span]
            keep[:, span:] = keep[:, span:] * keep[:, :-span]
            span *= 2
        return add

    def loop(self, ids):
        """Logits `(time, V)` of one row by the recurrence, in float64."""
        h, past, out = np.zeros((self.width, self.inner)), [np.zeros(self.width)] * (self.taps - 1), []
        for token in ids:
            past = [*past, self.e[token]][-self.taps :]
            mixed = sum(w * x for w, x in zip(self.conv, past, strict=True))
            u = mixed * sigmoid(mixed)
            delta = np.log(1 + np.exp(u @ self.delta))
            h = np.exp(delta[:, None] * self.a) * h + np.outer(delta * u, u @ self.b)
            out.append((h @ (u @ self.c) + u * self.skip) @ self.o)
            past = past[-(self.taps - 1) :]
        return np.array(out)
