#!/usr/bin/env python3
"""Writes src/text/jinja/unicode_tables.inc: what Python's str knows of each code point, asked of Python itself.

Usage: tools/make-text-tables.py > src/text/jinja/unicode_tables.inc
"""
import sys
import unicodedata

SURROGATES = range(0xD800, 0xE000)
CODE_POINTS = [c for c in range(0x110000) if c not in SURROGATES]


def after_sigma(text):
    """The lower case of the sigma in A + sigma + text: which form tells how Python classes `text`."""
    return ("A\u03a3" + text).lower()[1]


def is_ignorable(c):
    return after_sigma(chr(c)) == "\u03c2" and after_sigma(chr(c) + "A") == "\u03c3"


PROPERTIES = {
    "Alpha": lambda c: chr(c).isalpha(),
    "Decimal": lambda c: chr(c).isdecimal(),
    "Digit": lambda c: chr(c).isdigit(),
    "Numeric": lambda c: chr(c).isnumeric(),
    "Lower": lambda c: chr(c).islower(),
    "Upper": lambda c: chr(c).isupper(),
    "Title": lambda c: unicodedata.category(chr(c)) == "Lt",
    "Printable": lambda c: chr(c).isprintable(),
    "IdentifierStart": lambda c: chr(c).isidentifier(),
    "IdentifierContinue": lambda c: ("a" + chr(c)).isidentifier(),
    "Cased": lambda c: (chr(c) + "a").title()[-1] == "a",
    "CaseIgnorable": is_ignorable,
}
MAPPINGS = {
    "Lower": lambda c: chr(c).lower(),
    "Upper": lambda c: chr(c).upper(),
    "Title": lambda c: chr(c).title(),
    "Fold": lambda c: chr(c).casefold(),
}


def rows(items, width):
    line = ""
    for item in items:
        if len(line) + len(item) > width:
            yield line.rstrip()
            line = ""
        line += item + " "
    if line:
        yield line.rstrip()


def emit(declaration, items):
    print(f"{declaration} = {{")
    for row in rows(items, 116):
        print("    " + row)
    print("};")


def property_ranges(test):
    ranges = []
    for c in CODE_POINTS:
        if not test(c):
            continue
        if ranges and ranges[-1][1] == c - 1:
            ranges[-1][1] = c
        else:
            ranges.append([c, c])
    return ranges


def case_ranges(mapping):
    """[first, last, stride, delta]: every stride-th code point from first to last moves by delta."""
    ranges, longer = [], []
    for c in CODE_POINTS:
        to = mapping(c)
        if to == chr(c):
            continue
        if len(to) > 1:
            longer.append((c, to))
            continue
        delta = ord(to) - c
        if ranges and ranges[-1][3] == delta:
            last = ranges[-1]
            gap = c - last[1]
            if gap in (1, 2) and (last[0] == last[1] or last[2] == gap):
                last[1], last[2] = c, gap
                continue
        ranges.append([c, c, 1, delta])
    return ranges, longer


print("// Made by tools/make-text-tables.py from Python " + sys.version.split()[0] + f" (Unicode {unicodedata.unidata_version}); do not edit.")
print("// clang-format off")
for name, test in PROPERTIES.items():
    emit(f"constexpr Range k{name}[]", [f"{{0x{a:x},0x{b:x}}}," for a, b in property_ranges(test)])
for name, mapping in MAPPINGS.items():
    ranges, longer = case_ranges(mapping)
    emit(f"constexpr CaseRange kTo{name}[]", [f"{{0x{a:x},0x{b:x},{s},{d}}}," for a, b, s, d in ranges])
    emit(f"constexpr LongCase kTo{name}Long[]",
         ["{0x%x,{%s}}," % (c, ",".join(f"0x{ord(x):x}" for x in to)) for c, to in longer])
