#!/usr/bin/env python3
"""Write tests/data/quantize/ with llama.cpp's own encoders: what the formats look like, and how far off they are.

Usage: tools/make-quantize-golden.py LIBRARY, the shared library of ggml's encoders (libggml-base.so of a llama.cpp build),
compiled with -ffp-contract=off: with fused multiply-add, ties round differently from one processor to the next.
Needs gguf and numpy.

weights.npy      float32 (4, 4, 1024): normal, normal with 1 % outliers, Laplace, and edge cases (only for the bytes)
importance.npy   float32 (1024): log-normal
FORMAT.npy       int8: the weights in a format that rounds to nearest, without importance
errors.txt       for each format that is searched, and each of the first three kinds of weights: the relative error
                 sqrt(sum w (x - y)^2 / sum w x^2) of llama.cpp's encoder, without importance (w = 1) and with (w = importance).
                 Where llama.cpp wants importance it gets ones for the former.
"""

import ctypes
import pathlib
import sys

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "quantize"
NEAREST = ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "TQ1_0", "TQ2_0", "MXFP4", "NVFP4", "Q1_0"]
SEARCHED = ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "IQ3_S", "IQ3_XXS", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M",
            "IQ1_S"]  # fmt: skip
WITH_IMPORTANCE = ["Q4_0", "Q4_1", "Q5_0", "Q5_1"]
NEEDS_IMPORTANCE = ["IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S"]
KINDS = ["normal", "outliers", "laplace"]


def pointer(array):
    return None if array is None else array.ctypes.data_as(ctypes.c_void_p)


def encode(library, kind, weights, importance):
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    out = np.zeros(weights.size // elements * size, np.uint8)
    rows, columns = weights.shape
    library.ggml_quantize_chunk(
        ctypes.c_int(int(kind)), pointer(weights), pointer(out), ctypes.c_int64(0), ctypes.c_int64(rows),
        ctypes.c_int64(columns), pointer(importance)
    )  # fmt: skip
    return out


def error(kind, encoded, weights, w):
    decoded = gguf.dequantize(encoded.reshape(len(weights), -1), kind).reshape(weights.shape).astype(np.float64)
    return np.sqrt((w * (decoded - weights) ** 2).sum() / (w * weights.astype(np.float64) ** 2).sum())


def make_weights(random):
    weights = (random.standard_normal((4, 4, 1024)) * 0.02).astype(np.float32)
    weights[1][random.random((4, 1024)) < 0.01] *= 8
    weights[2] = random.laplace(size=(4, 1024)) * 0.02
    edge = weights[3]
    edge *= (10.0 ** random.integers(-6, 4, (4, 32))).repeat(32, 1).astype(np.float32)
    edge[0, :256] = 0
    edge[0, 256:512] = -0.75  # all alike
    edge[1, :256] = np.arange(-128, 128) / 64  # ties
    edge[1, 256:512] = np.abs(edge[1, 256:512])
    edge[2, :256] = 1e-9 * np.arange(256)
    return weights


def main():
    library = ctypes.CDLL(sys.argv[1])
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    OUT.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(20260801)
    weights = make_weights(random)
    importance = np.exp(random.standard_normal(1024) * 1.5).astype(np.float32)
    np.save(OUT / "weights.npy", weights)
    np.save(OUT / "importance.npy", importance)
    for name in NEAREST:
        np.save(OUT / f"{name}.npy", encode(library, Type[name], weights.reshape(16, 1024), None).view(np.int8))
    ones = np.ones(1024, np.float32)
    lines = []
    for name in SEARCHED + WITH_IMPORTANCE:
        for kind, x in zip(KINDS, weights):
            plain = encode(library, Type[name], x, ones if name in NEEDS_IMPORTANCE else None)
            weighted = encode(library, Type[name], x, importance)
            lines.append(f"{name} {kind} {error(Type[name], plain, x, ones):.6f} {error(Type[name], weighted, x, importance):.6f}\n")
    (OUT / "errors.txt").write_text("".join(lines))
    print(f"{sum(f.stat().st_size for f in OUT.glob('*'))} bytes in {OUT}")


if __name__ == "__main__":
    main()
