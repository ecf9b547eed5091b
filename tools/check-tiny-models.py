#!/usr/bin/env python3
"""Evaluates the models of tests/data/models from their GGUF files alone and compares with the golden results.

Plain numpy in float64, by the conventions of the file format, with no part of transformers or torch: so a wrong row
order, name or key in tools/make-tiny-models.py shows here. Then every feature is left out in turn: the result must move
(or the golden file would not notice an engine that lacks it).

    pip install gguf numpy
    tools/check-tiny-models.py [DIRECTORY]
"""

import argparse
import math
import pathlib
import sys

import gguf
import numpy as np

LIMIT = 2e-5  # relative L2 at each position: float32 rounding of the reference
NOTICEABLE = 1e-2  # the least that leaving out a feature must change the whole result by

# What an engine may get wrong, and where that matters.
OMISSIONS = {
    "pairs": "rotates the other pairs of dimensions",
    "biases": "ignores biases",
    "qk_norm": "ignores the norms of Q and K",
    "factors": "ignores rope_freqs.weight",
    "linear": "ignores rope.scaling",
    "linear_local": "scales positions in local layers too",
    "window": "ignores the sliding window",
    "window_off_by_one": "makes the window one token wider",
    "local_base": "uses rope.freq_base in local layers",
    "pattern": "lets every layer be local",
    "embedding_scale": "does not scale embeddings",
    "post_norm": "ignores the norms after attention and FFN",
    "gelu": "uses SiLU for GELU",
    "exact_gelu": "uses the erf form of GELU for the tanh form",
    "kv_heads": "shares KV heads in the wrong order",
}


class File:
    def __init__(self, path):
        reader = gguf.GGUFReader(path)
        self.values = {k: f.contents() for k, f in reader.fields.items() if not k.startswith("GGUF.")}
        self.arch = self.values["general.architecture"]
        self.tensors = {
            t.name: gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float64).reshape(t.shape[::-1])
            for t in reader.tensors
        }

    def get(self, key, default=None):
        return self.values.get(f"{self.arch}.{key}", default)

    def has(self, name):
        return name in self.tensors


# --- activations ---------------------------------------------------------------------------------------------------

erf = np.vectorize(math.erf, otypes=[float])


def silu(x):
    return x / (1 + np.exp(-x))


def gelu(x):
    return 0.5 * x * (1 + erf(x / math.sqrt(2)))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "silu": silu,
    "gelu": gelu,
    "tanh": np.tanh,
    "softmax": softmax,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "identity": lambda x: x,
}


# --- the decoder ---------------------------------------------------------------------------------------------------


class Decoder:
    def __init__(self, file, omit=""):
        self.f, self.omit = file, omit
        self.gemma = file.arch == "gemma3"
        self.heads, self.kv_heads = file.get("attention.head_count"), file.get("attention.head_count_kv")
        self.hidden, self.layers = file.get("embedding_length"), file.get("block_count")
        self.head_dim = file.get("attention.key_length", self.hidden // self.heads)

    def norm(self, x, name):
        return (
            x
            / np.sqrt((x * x).mean(-1, keepdims=True) + self.f.get("attention.layer_norm_rms_epsilon"))
            * self.f.tensors[name]
        )

    def linear(self, x, name):
        y = x @ self.f.tensors[name + ".weight"].T
        if self.f.has(name + ".bias") and self.omit != "biases":
            y = y + self.f.tensors[name + ".bias"]
        return y

    def is_local(self, layer):
        return self.gemma and (self.omit == "pattern" or (layer + 1) % 6 != 0)

    def angles(self, positions, local):
        """(T, head_dim / 2): how far each pair of dimensions turns."""
        f = self.f
        base = f.get("rope.freq_base")
        if local and self.omit != "local_base":
            base = f.get("rope.freq_base_swa", 10000.0)
        frequency = base ** (-np.arange(0, self.head_dim, 2) / self.head_dim)
        if f.has("rope_freqs.weight") and self.omit != "factors":
            frequency = frequency / f.tensors["rope_freqs.weight"]
        scaled = not local or self.omit == "linear_local"
        if f.get("rope.scaling.type") == "linear" and scaled and self.omit != "linear":
            frequency = frequency / f.get("rope.scaling.factor")
        return positions[:, None] * frequency

    def rotate(self, x, angles):
        """x: (T, heads, head_dim). llama turns the pairs (2i, 2i + 1), the others (i, i + head_dim / 2)."""
        y, half = np.empty_like(x), self.head_dim // 2
        neighbours = (self.f.arch == "llama") != (self.omit == "pairs")
        a, b = (slice(0, None, 2), slice(1, None, 2)) if neighbours else (slice(0, half), slice(half, None))
        cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
        y[..., a] = x[..., a] * cos - x[..., b] * sin
        y[..., b] = x[..., a] * sin + x[..., b] * cos
        return y

    def mask(self, count, local):
        distance = np.arange(count)[:, None] - np.arange(count)[None]
        seen = distance >= 0
        if local and self.omit != "window":
            seen &= distance < self.f.get("attention.sliding_window") + (self.omit == "window_off_by_one")
        return seen

    def attention(self, x, layer):
        p, count, local = f"blk.{layer}.", len(x), self.is_local(layer)
        q = self.linear(x, p + "attn_q").reshape(count, self.heads, -1)
        k = self.linear(x, p + "attn_k").reshape(count, self.kv_heads, -1)
        v = self.linear(x, p + "attn_v").reshape(count, self.kv_heads, -1)
        if self.f.has(p + "attn_q_norm.weight") and self.omit != "qk_norm":
            q, k = self.norm(q, p + "attn_q_norm.weight"), self.norm(k, p + "attn_k_norm.weight")
        angles = self.angles(np.arange(count), local)
        q, k = self.rotate(q, angles), self.rotate(k, angles)
        group = self.heads // self.kv_heads
        share = [(h % self.kv_heads if self.omit == "kv_heads" else h // group) for h in range(self.heads)]
        scores = np.einsum("qhd,khd->hqk", q, k[:, share]) / math.sqrt(self.head_dim)
        weights = softmax(np.where(self.mask(count, local), scores, -np.inf))
        return self.linear(np.einsum("hqk,khd->qhd", weights, v[:, share]).reshape(count, -1), p + "attn_output")

    def feed_forward(self, x, layer):
        p = f"blk.{layer}.ffn_"
        activation = silu if not self.gemma or self.omit == "gelu" else gelu if self.omit == "exact_gelu" else gelu_tanh
        return self.linear(activation(self.linear(x, p + "gate")) * self.linear(x, p + "up"), p + "down")

    def post_norm(self, x, name):
        return self.norm(x, name) if self.f.has(name) and self.omit != "post_norm" else x

    def logits(self, tokens):
        t = self.f.tensors
        x = t["token_embd.weight"][tokens]
        if self.gemma and self.omit != "embedding_scale":
            x = x * math.sqrt(self.hidden)
        for i in range(self.layers):
            p = f"blk.{i}."
            x = x + self.post_norm(
                self.attention(self.norm(x, p + "attn_norm.weight"), i), p + "post_attention_norm.weight"
            )
            x = x + self.post_norm(
                self.feed_forward(self.norm(x, p + "ffn_norm.weight"), i), p + "post_ffw_norm.weight"
            )
        return self.norm(x, "output_norm.weight") @ t.get("output.weight", t["token_embd.weight"]).T


def network_output(f, x):
    count = f.get("block_count")
    assert x.shape[1] == f.get("input_length"), "input_length does not fit the golden input"
    for i in range(count):
        x = x @ f.tensors[f"blk.{i}.weight"].T + f.tensors.get(f"blk.{i}.bias", 0)
        x = ACTIVATIONS[f.get("activation") if i < count - 1 else f.get("output_activation", "identity")](x)
    assert x.shape[1] == f.get("output_length"), "output_length does not fit the result"
    return x


# --- comparison ----------------------------------------------------------------------------------------------------


def relative_l2(ours, golden, axis=None):
    return np.linalg.norm(ours - golden, axis=axis) / np.linalg.norm(golden, axis=axis)


def applicable(f):
    """The omissions that this file is there to notice."""
    names = ["pairs", "kv_heads"]
    names += ["biases"] if any(n.endswith(".bias") for n in f.tensors) else []
    names += ["qk_norm"] if f.has("blk.0.attn_q_norm.weight") else []
    names += ["factors"] if f.has("rope_freqs.weight") else []
    names += ["linear"] if f.get("rope.scaling.type") == "linear" else []
    if f.arch == "gemma3":
        names += [
            "window",
            "window_off_by_one",
            "local_base",
            "pattern",
            "embedding_scale",
            "post_norm",
            "gelu",
            "exact_gelu",
        ]
        names += ["linear_local"] if "linear" in names else []
    if f.get("attention.head_count_kv") == 1:
        names.remove("kv_heads")
    return names


def check_decoder(directory, name, f):
    ok = True
    for suffix in ("", ".short"):
        tokens, golden = (np.load(directory / f"{name}{suffix}.{kind}.npy") for kind in ("tokens", "logits"))
        error = relative_l2(Decoder(f).logits(tokens), golden, axis=1).max()
        ok &= error <= LIMIT
        print(f"{name + suffix:18} largest relative L2 of a position {error:.1e}{'' if error <= LIMIT else '  WRONG'}")
        if suffix:
            continue
        for omission in applicable(f):
            moved = relative_l2(Decoder(f, omission).logits(tokens), golden)
            small = moved < NOTICEABLE and omission != "exact_gelu"  # the two forms of GELU differ by 5e-4 at the most
            small |= moved < 10 * LIMIT
            ok &= not small
            print(f"    {moved:8.1e} if one {OMISSIONS[omission]}{'  TOO LITTLE' if small else ''}")
    return ok


def check_network(directory, name, f):
    x, golden = (np.load(directory / f"{name}.{kind}.npy") for kind in ("input", "output"))
    ours = network_output(f, x.astype(np.float64))
    error = relative_l2(ours, golden, axis=1).max()
    exact = np.array_equal(ours, golden)
    remark = ", exact" if exact else "" if error <= LIMIT else "  WRONG"
    print(f"{name:18} largest relative L2 of a row {error:.1e}{remark}")
    return error <= LIMIT


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = pathlib.Path(__file__).resolve().parent.parent
    parser.add_argument("directory", type=pathlib.Path, nargs="?", default=root / "tests/data/models")
    directory = parser.parse_args().directory
    files = sorted(directory.glob("*.gguf"))
    if not files:
        sys.exit(f"{directory}: no .gguf file; run tools/make-tiny-models.py first")
    results = []
    for path in files:
        f = File(path)
        check = check_network if f.arch == "mlp" else check_decoder
        results.append(check(directory, path.stem, f))
    print(f"{sum(results)} of {len(results)} files agree with their golden results")
    sys.exit(not all(results))


if __name__ == "__main__":
    main()
