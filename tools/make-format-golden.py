#!/usr/bin/env python3
"""Write tests/data/formats/*.bin with the gguf package (pip install gguf): what every format decodes to.

FORMAT.bin: uint32 blocks, uint32 full, the blocks, uint32 crc[blocks], float32 weights[full][block elements]; all
little-endian. crc[i] is the CRC-32 of the float32 weights of block i with every NaN replaced by 0x7fc00000. The first
`full` blocks have their weights in the file too. The blocks are random bytes; their float16 scales go through zeros,
subnormals, the largest numbers, infinities and NaN. Formats that the package cannot decode (plain integers, F64, Q8_1,
Q8_K, Q1_0) come from their definition, below.

encode_FORMAT.bin: uint32 weights, float32 weights[], the blocks that the package encodes them to.
"""

import pathlib
import struct
import zlib

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "formats"
BLOCKS, FULL = 40, 3
PLAIN_BLOCKS = 256

# Bytes of a block where a float16 scale or minimum lies.
HALVES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q8_1": [0, 2], "Q2_K": [80, 82],
    "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "TQ1_0": [52], "TQ2_0": [64], "IQ2_XXS": [0],
    "IQ2_XS": [0], "IQ2_S": [0], "IQ3_XXS": [0], "IQ3_S": [0], "IQ1_S": [0], "IQ4_NL": [0], "IQ4_XS": [0], "Q1_0": [0],
}  # fmt: skip
EXTREMES = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0x3C00, 0x7C00, 0xFC00, 0x7E00]
PLAIN = {"F64": "<f8", "I8": "<i1", "I16": "<i2", "I32": "<i4", "I64": "<i8"}


def block_bytes(name):
    # The package's size of Q8_1 is that of an older layout, with two float32; files have two float16.
    return 36 if name == "Q8_1" else gguf.GGML_QUANT_SIZES[Type[name]][1]


def put_half(block, at, bits):
    block[at : at + 2] = [bits & 0xFF, bits >> 8]


def put_iq1_m_scale(block, bits):  # one nibble of it on top of each of four words
    for i in range(4):
        at = 48 + 2 * i + 1
        block[at] = (block[at] & 0x0F) | ((bits >> (4 * i)) & 15) << 4


def make_blocks(name, random):
    count = PLAIN_BLOCKS if gguf.GGML_QUANT_SIZES[Type[name]][0] == 1 else BLOCKS
    blocks = random.integers(0, 256, (count, block_bytes(name)), np.uint8)
    if name in PLAIN or name in ("F32", "F16", "BF16"):
        if name == "F64":  # what float32 can hold, and some beyond it
            values = random.standard_normal(count) * 10.0 ** random.integers(-50, 40, count)
            values[:4] = [0.0, -0.0, np.inf, -np.inf]
            blocks = values.astype("<f8").view(np.uint8).reshape(count, 8)
        return blocks
    for i, block in enumerate(blocks):
        for k, at in enumerate(HALVES.get(name, [])):
            moderate = int(random.integers(0x1C00, 0x4000)) | int(random.integers(0, 2)) << 15
            extreme = EXTREMES[(i - FULL + 5 * k) % len(EXTREMES)]
            put_half(block, at, extreme if FULL <= i < FULL + 2 * len(EXTREMES) else moderate)
        if name == "IQ1_M":
            put_iq1_m_scale(block, EXTREMES[(i - FULL) % len(EXTREMES)] if i >= FULL else 0x2E66)
        if name == "Q8_K":
            put_half(block, 0, 0)
            put_half(block, 2, [0x3C00, 0xBF81, 0x0000, 0x8000, 0x0001, 0x7F00, 0x7F80][i % 7])
        if name == "MXFP4":
            block[0] = [120, 127, 130, 0, 1, 2, 3, 254, 255, 128][i % 10]
    if name == "NVFP4":
        blocks[FULL : FULL + 32, :4] = np.arange(128).reshape(32, 4)
        blocks[FULL + 32, :4] = [0x80, 0xFF, 0xC3, 0x7F]
    blocks[-2], blocks[-1] = 0, 255
    return blocks


def half(blocks, at=0):
    return np.ascontiguousarray(blocks[:, at : at + 2]).view("<f2").astype(np.float32)


def by_definition(name, blocks):
    if name in PLAIN:
        return blocks.view(PLAIN[name]).astype(np.float32)
    if name == "Q8_1":  # float16 scale, float16 sum, 32 int8
        return half(blocks) * blocks[:, 4:].view(np.int8).astype(np.float32)
    if name == "Q8_K":  # float32 scale, 256 int8, 16 int16 sums
        codes = blocks[:, 4:260].view(np.int8).astype(np.float32)
        return np.ascontiguousarray(blocks[:, :4]).view("<f4") * codes
    if name == "Q1_0":  # float16 scale, 128 bits: 1 is +scale, 0 is -scale
        bits = np.unpackbits(blocks[:, 2:], axis=1, bitorder="little").astype(np.float32)
        return half(blocks) * (2 * bits - 1)
    return None


def decode(name, blocks):
    weights = by_definition(name, blocks)
    if weights is None:
        weights = gguf.dequantize(blocks, Type[name]).reshape(len(blocks), -1)
    assert weights.dtype == np.float32
    return weights


def canonical(weights):
    bits = np.ascontiguousarray(weights).view(np.uint32)
    return np.where(np.isnan(weights), np.uint32(0x7FC00000), bits).astype("<u4")


def write_decode(name, random):
    blocks = make_blocks(name, random)
    weights = decode(name, blocks)
    crcs = [zlib.crc32(row.tobytes()) for row in canonical(weights)]
    full = len(blocks) if weights.shape[1] == 1 else FULL
    head = struct.pack("<II", len(blocks), full)
    parts = [blocks.tobytes(), np.array(crcs, "<u4").tobytes(), np.ascontiguousarray(weights[:full]).tobytes()]
    (OUT / f"{name}.bin").write_bytes(head + b"".join(parts))


def write_encode(name, random):
    magnitudes = 10.0 ** random.integers(-9, 5, 32).repeat(32)
    weights = (random.standard_normal(1024) * magnitudes).astype("<f4")
    weights[:32] = 0
    weights[32:64] = -1.5
    if name != "Q8_0":
        weights[64:72] = [np.inf, -np.inf, 65519.9, 65520.0, 5.97e-8, 2.98e-8, 1e-45, -0.0]
    with np.errstate(over="ignore"):
        blocks = gguf.quantize(weights, Type[name])
    (OUT / f"encode_{name}.bin").write_bytes(struct.pack("<I", len(weights)) + weights.tobytes() + blocks.tobytes())


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(20240607)
    with np.errstate(all="ignore"):
        for kind in Type:
            write_decode(kind.name, random)
        for name in ("F16", "BF16", "Q8_0"):
            write_encode(name, random)
    print(f"{sum(f.stat().st_size for f in OUT.glob('*.bin'))} bytes in {OUT}")


if __name__ == "__main__":
    main()
