#!/usr/bin/env python3
"""Writes src/tokenizer/unicode_ranges.inc: the class of every code point that the pre-tokenisers ask about.

    pip install unicodedata2==16.0.0
    tools/make-unicode-tables.py > src/tokenizer/unicode_ranges.inc

Unicode 16.0 is what Hugging Face tokenizers' regular expressions (Oniguruma) know. Bits: see src/tokenizer/unicode.h.
"""
import sys

import unicodedata2

LETTER, NUMBER, MARK, PUNCTUATION, SYMBOL, SPACE, UPPER, LOWER = (1 << bit for bit in range(8))
MAJOR = {"L": LETTER, "N": NUMBER, "M": MARK, "P": PUNCTUATION, "S": SYMBOL}
# The property White_Space; stable since Unicode 6.3.
WHITE_SPACE = {*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000}


def class_of(code_point):
    category = unicodedata2.category(chr(code_point))
    bits = MAJOR.get(category[0], 0)
    if category in ("Lu", "Lt"):
        bits |= UPPER
    if category == "Ll":
        bits |= LOWER
    return bits | (SPACE if code_point in WHITE_SPACE else 0)


def main():
    ranges, last = [], None
    for code_point in range(0x110000):
        bits = class_of(code_point)
        if bits != last:
            ranges.append(f"0x{code_point << 8 | bits:x},")
            last = bits
    print(f"// Unicode {unicodedata2.unidata_version}, made by tools/make-unicode-tables.py: (first code point << 8 | class bits) of each range.")
    line = ""
    for entry in ranges:
        if len(line) + len(entry) > 119:
            print(line.rstrip())
            line = ""
        line += entry + " "
    print(line.rstrip())


if __name__ == "__main__":
    sys.exit(main())
