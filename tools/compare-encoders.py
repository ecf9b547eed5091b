#!/usr/bin/env python3
"""Compare metallic's encoders with llama.cpp's on the same weights, format by format.

Usage: tools/compare-encoders.py METALLIC LIBRARY [--model FILE --tensors REGEX [--imatrix FILE]] [--rows N] [--formats A,B]

METALLIC is the command, LIBRARY llama.cpp's libggml-base.so (for equal bytes compiled without fused multiply-add, as its
own build does). Without --model: rows of 4096 normal, outlier and Laplace weights, with log-normal importance. With it:
the first N rows of each matrix whose name matches, decoded to float32, and the importance that --imatrix has of them.

Formats that round to nearest must have equal bytes. For the others the table gives the relative error
sqrt(sum w (x - y)^2 / sum w x^2) of metallic and of llama.cpp: without importance (w = 1; where llama.cpp wants
importance it gets ones), and with it (w = importance). Exit status 1 if a byte differs, or metallic's error is larger by
more than 0.05 %. Needs gguf and numpy.
"""

import argparse
import ctypes
import pathlib
import re
import subprocess
import sys
import tempfile

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

NEAREST = ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "TQ1_0", "TQ2_0", "MXFP4", "NVFP4", "Q1_0", "F16", "BF16"]
SEARCHED = ["Q6_K", "Q5_K", "Q4_K", "Q3_K", "Q2_K", "IQ4_NL", "IQ4_XS", "IQ3_S", "IQ3_XXS", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M",
            "IQ1_S"]  # fmt: skip
ONLY_WITH_IMPORTANCE = ["Q4_0", "Q4_1", "Q5_0", "Q5_1"]  # to nearest without
NEEDS_IMPORTANCE = ["IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S"]


def pointer(array):
    return None if array is None else array.ctypes.data_as(ctypes.c_void_p)


class LlamaCpp:
    def __init__(self, path):
        self.library = ctypes.CDLL(path)
        self.library.ggml_quantize_chunk.restype = ctypes.c_size_t

    def encode(self, kind, weights, importance):
        if kind == Type.F16:
            return weights.astype(np.float16).view(np.uint8)
        if kind == Type.BF16:
            return gguf.quantize(weights, kind).view(np.uint8)
        elements, size = gguf.GGML_QUANT_SIZES[kind]
        rows, columns = weights.shape
        out = np.zeros((rows, columns // elements * size), np.uint8)
        self.library.ggml_quantize_chunk(
            ctypes.c_int(int(kind)), pointer(weights), pointer(out), ctypes.c_int64(0), ctypes.c_int64(rows),
            ctypes.c_int64(columns), pointer(importance)
        )  # fmt: skip
        return out


class Metallic:
    """Encodes all matrices at once: one file in, one file out."""

    def __init__(self, command, matrices, folder):
        self.command, self.folder = command, pathlib.Path(folder)
        writer = gguf.GGUFWriter(self.folder / "in.gguf", "llama")
        for name, (weights, _) in matrices.items():
            writer.add_tensor(name, weights)
        self.close(writer)
        for file, of in [("weighted", lambda x: x), ("ones", np.ones_like)]:
            writer = gguf.GGUFWriter(self.folder / file, "")
            writer.add_type("imatrix")
            for name, (_, importance) in matrices.items():
                writer.add_tensor(f"{name}.in_sum2", of(importance).reshape(1, -1))
                writer.add_tensor(f"{name}.counts", np.ones((1, 1), np.float32))
            self.close(writer)

    def close(self, writer):
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    def encode(self, name, importance):
        arguments = ["--keep", f"*={name}"] + (["--imatrix", str(self.folder / importance)] if importance else [])
        out = self.folder / "out.gguf"
        run = subprocess.run(
            [self.command, "quantize", self.folder / "in.gguf", out, "F16", *arguments], capture_output=True, text=True
        )
        if run.returncode != 0:
            raise SystemExit(run.stderr)
        tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(out).tensors}
        for tensor in tensors.values():
            if tensor.tensor_type != Type[name]:
                raise SystemExit(f"{tensor.name}: {tensor.tensor_type.name}, expected {name}: its rows are no whole blocks")
        return {key: np.array(tensor.data).view(np.uint8) for key, tensor in tensors.items()}


def error(kind, encoded, weights, w):
    decoded = gguf.dequantize(encoded.reshape(len(weights), -1), kind).reshape(weights.shape).astype(np.float64)
    return np.sqrt((w * (decoded - weights) ** 2).sum() / (w * weights.astype(np.float64) ** 2).sum())


def made_up(rows):
    random = np.random.default_rng(1)
    normal = (random.standard_normal((rows, 4096)) * 0.02).astype(np.float32)
    outliers = normal.copy()
    outliers[random.random(outliers.shape) < 0.01] *= 8
    laplace = (random.laplace(size=normal.shape) * 0.02).astype(np.float32)
    importance = np.exp(random.standard_normal(4096) * 1.5).astype(np.float32)
    names = ["normal.weight", "outliers.weight", "laplace.weight"]
    return {name: (weights, importance) for name, weights in zip(names, [normal, outliers, laplace])}


def from_model(options):
    sums = {}
    if options.imatrix:
        sums = {tensor.name: np.array(tensor.data, np.float32).reshape(-1) for tensor in gguf.GGUFReader(options.imatrix).tensors}
    matrices = {}
    for tensor in gguf.GGUFReader(options.model).tensors:
        if not re.search(options.tensors, tensor.name):
            continue
        weights = gguf.dequantize(tensor.data[: options.rows], tensor.tensor_type).astype(np.float32)
        importance = np.ones(weights.shape[1], np.float32)
        if sums:
            importance = sums[f"{tensor.name}.in_sum2"] / sums[f"{tensor.name}.counts"][0]
        matrices[tensor.name] = (np.ascontiguousarray(weights), importance)
    if not matrices:
        raise SystemExit(f"{options.model}: no tensor matches {options.tensors}")
    return matrices


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("metallic")
    parser.add_argument("library")
    parser.add_argument("--model")
    parser.add_argument("--tensors", default="ffn_down")
    parser.add_argument("--imatrix")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--formats")
    options = parser.parse_args()
    matrices = from_model(options) if options.model else made_up(options.rows)
    wanted = set(options.formats.split(",")) if options.formats else set(NEAREST + SEARCHED)
    llama = LlamaCpp(options.library)
    worse = 0
    with tempfile.TemporaryDirectory() as folder:
        metallic = Metallic(options.metallic, matrices, folder)
        for name in [each for each in NEAREST if each in wanted]:
            ours = metallic.encode(name, None)
            different = sum(
                int((ours[key].reshape(-1) != llama.encode(Type[name], weights, None).reshape(-1)).sum())
                for key, (weights, _) in matrices.items()
            )
            print(f"{name}: {'equal' if different == 0 else f'{different} bytes differ'}", flush=True)
            worse += different > 0
        print("| format | weights | plain: metallic | llama.cpp | with importance: metallic | llama.cpp |\n|" + " --- |" * 6)
        for name in [each for each in SEARCHED + ONLY_WITH_IMPORTANCE if each in wanted]:
            kind, needs = Type[name], name in NEEDS_IMPORTANCE
            plain, weighted = metallic.encode(name, "ones" if needs else None), metallic.encode(name, "weighted")
            for key, (weights, importance) in matrices.items():
                ones = np.ones_like(importance)
                theirs = llama.encode(kind, weights, ones if needs else None), llama.encode(kind, weights, importance)
                errors = [
                    error(kind, plain[key], weights, ones), error(kind, theirs[0], weights, ones),
                    error(kind, weighted[key], weights, importance), error(kind, theirs[1], weights, importance),
                ]  # fmt: skip
                worse += errors[0] > 1.0005 * errors[1] or errors[2] > 1.0005 * errors[3]
                print(f"| {name} | {key.removesuffix('.weight')} | " + " | ".join(f"{each:.5f}" for each in errors) + " |", flush=True)
    if worse > 0:
        print(f"{worse} lines are worse than llama.cpp's")
    return 1 if worse > 0 else 0


if __name__ == "__main__":
    sys.exit(main())
