#!/usr/bin/env python3
"""Write src/quant/codebook_tables.h: the grids of the IQ formats, packed, from the gguf package (pip install gguf).

The grids are constants of the formats. An entry is stored as its index among the grid's few distinct values: 2 bits
(IQ1, IQ2) or 3 bits (IQ3), entry 0 in the lowest bits, one 16-bit word a row. Prints the CRC-32 of each unpacked grid
(int8, row by row), which src/quant/codebook_test.cc holds the table to.

    tools/make-codebooks.py > src/quant/codebook_tables.h
"""

import sys
import zlib

import gguf.quants as quants
import numpy as np

GRIDS = [
    ("kGridIQ2_XXS", quants.IQ2_XXS, 2, "rows of 8; 0, 1, 2 stand for 8, 25, 43"),
    ("kGridIQ2_XS", quants.IQ2_XS, 2, "rows of 8; 0, 1, 2 stand for 8, 25, 43"),
    ("kGridIQ2_S", quants.IQ2_S, 2, "rows of 8; 0, 1, 2 stand for 8, 25, 43"),
    ("kGridIQ3_XXS", quants.IQ3_XXS, 3, "rows of 4; 0 to 7 stand for 4, 12, 20, 28, 36, 44, 52, 62"),
    ("kGridIQ3_S", quants.IQ3_S, 3, "rows of 4; 0 to 7 stand for 1, 3, 5, 7, 9, 11, 13, 15"),
    ("kGridIQ1", quants.IQ1_S, 2, "rows of 8; 0, 1, 2 stand for -1, 0, 1"),
]

HEAD = """\
// The grids of the IQ formats: constants of these formats, packed by tools/make-codebooks.py. Do not edit.
#pragma once

#include "quant/block.h"

namespace metallic::quant {
inline namespace METALLIC_ISA {

// clang-format off
"""

TAIL = """\
// clang-format on

}  // namespace METALLIC_ISA
}  // namespace metallic::quant
"""


def main():
    out = [HEAD]
    for name, cls, bits, meaning in GRIDS:
        cls.init_grid()
        grid = cls.grid.reshape(cls.grid_shape).astype(np.int64)
        values = list(cls.grid_map)
        index = np.vectorize(values.index)(grid)
        words = (index << (bits * np.arange(grid.shape[1]))).sum(axis=1)
        out.append(f"// {meaning}\nMETALLIC_TABLE uint16_t {name}[{len(words)}] = {{\n")
        for i in range(0, len(words), 12):
            out.append("    " + " ".join(f"0x{w:04x}," for w in words[i : i + 12]) + "\n")
        out.append("};\n\n")
        print(f"{name}: {zlib.crc32(grid.astype(np.int8).tobytes()):#010x}", file=sys.stderr)
    out[-1] = "};\n"
    out.append(TAIL)
    sys.stdout.write("".join(out))


if __name__ == "__main__":
    main()
