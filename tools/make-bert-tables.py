#!/usr/bin/env python3
"""Writes src/tokenizer/bert_tables.inc: what BERT's normaliser and pre-tokeniser do to every code point.

    pip install tokenizers==0.23.3
    tools/make-bert-tables.py > src/tokenizer/bert_tables.inc

The outside reference is asked about each code point by itself, because its tables are of several versions of Unicode, older
than those of src/tokenizer/unicode_ranges.inc, and models were trained with them. Bits: see src/tokenizer/bert_text.cc.
"""
import sys

from tokenizers import normalizers, pre_tokenizers

DROPPED, SPACE, PUNCTUATION, IDEOGRAPH, MARK, DECOMPOSES, HAS_LOWER = (1 << bit for bit in range(7))
HANGUL = range(0xAC00, 0xD7A4)  # decomposed by arithmetic


def normalizer(**options):
    off = {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False}
    return normalizers.BertNormalizer(**(off | options)).normalize_str


CLEAN, CHINESE, STRIP, LOWER = (
    normalizer(**{name: True}) for name in ("clean_text", "handle_chinese_chars", "strip_accents", "lowercase"))
PIECES = pre_tokenizers.BertPreTokenizer().pre_tokenize_str


def class_of(c):
    cleaned, stripped = CLEAN(c), STRIP(c)
    bits = DROPPED if cleaned == "" else SPACE if cleaned == " " else 0
    bits |= PUNCTUATION if len(PIECES("a" + c + "b")) == 3 else 0
    bits |= IDEOGRAPH if CHINESE(c) != c else 0
    bits |= MARK if stripped == "" else DECOMPOSES if stripped != c else 0
    return bits | (HAS_LOWER if LOWER(c) != c else 0)


def wrapped(entries):
    line = ""
    for entry in entries:
        if len(line) + len(entry) > 119:
            print(line.rstrip())
            line = ""
        line += entry + " "
    print(line.rstrip())


def mapping(name, code_points, function):
    """What one code point becomes: up to three, 21 bits each, the first lowest; the code point itself stands in front."""
    print(f"constexpr Mapping {name}[] = {{")
    entries = []
    for c in code_points:
        result = [ord(x) for x in function(chr(c))]
        assert 1 <= len(result) <= 3, (c, result)
        entries.append(f"{{0x{c:x}, 0x{sum(x << 21 * i for i, x in enumerate(result)):x}}},")
    wrapped(entries)
    print("};")


def main():
    classes = {c: class_of(chr(c)) for c in range(0x110000) if not 0xD800 <= c < 0xE000}
    print("// Made by tools/make-bert-tables.py.")
    print("constexpr uint32_t kBertClasses[] = {  // first code point << 8 | class bits")
    ranges, last = [], None
    for c in range(0x110000):
        bits = classes.get(c, 0)
        if bits != last:
            ranges.append(f"0x{c << 8 | bits:x},")
            last = bits
    wrapped(ranges)
    print("};")
    mapping("kDecomposed", [c for c, bits in classes.items() if bits & DECOMPOSES and c not in HANGUL], STRIP)
    mapping("kLower", [c for c, bits in classes.items() if bits & HAS_LOWER], LOWER)


if __name__ == "__main__":
    sys.exit(main())
