"""`metallic inspect` against the gguf package: files of every value type and tensor type show the same in both.

Needs the packages gguf and numpy, and the environment variable METALLIC: the path of the command.
"""

import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType, GGUFEndian, GGUFReader, GGUFValueType, GGUFWriter

METALLIC = os.environ.get("METALLIC")

SCALARS = {
    GGUFValueType.UINT8: [0, 255],
    GGUFValueType.INT8: [-128, 127],
    GGUFValueType.UINT16: [0, 65535],
    GGUFValueType.INT16: [-32768, 32767],
    GGUFValueType.UINT32: [0, 2**32 - 1],
    GGUFValueType.INT32: [-(2**31), 2**31 - 1],
    GGUFValueType.FLOAT32: [0.1, -0.0, 1e-45, 3.4028234663852886e38, float("inf")],
    GGUFValueType.BOOL: [True, False],
    GGUFValueType.STRING: ["", "plain", "caf\u00e9 \u6f22\u5b57 \U0001f600", 'quote " backslash \\ newline \n nul \0 esc \x1b'],
    GGUFValueType.UINT64: [0, 2**64 - 1],
    GGUFValueType.INT64: [-(2**63), 2**63 - 1],
    GGUFValueType.FLOAT64: [0.1, 5e-324, 1.7976931348623157e308, float("-inf")],
}


def as_json(value):
    """A value as `metallic inspect --json` writes it."""
    if isinstance(value, (list, tuple)):
        return [as_json(each) for each in value]
    if isinstance(value, float) and not np.isfinite(value):
        return "NaN" if np.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def flatten(value):
    return [leaf for each in value for leaf in flatten(each)] if isinstance(value, list) else [value]


class GgufTest(unittest.TestCase):
    def setUp(self):
        self.assertTrue(METALLIC, "set METALLIC to the path of the metallic command")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def inspect(self, path, *options):
        done = subprocess.run([METALLIC, "inspect", str(path), *options], capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr, b"")
        return done.stdout.decode("utf-8")

    def inspect_json(self, path):
        return json.loads(self.inspect(path, "--json", "--tensors"))

    def write(self, fill, name="model.gguf", **options):
        path = self.folder / name
        writer = GGUFWriter(path, "test", **options)
        fill(writer)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    def assert_same(self, path):
        """Every key and tensor that the package's reader finds, in its order, and nothing else."""
        shown, reader = self.inspect_json(path), GGUFReader(path)
        fields = {key: field for key, field in reader.fields.items() if not key.startswith("GGUF.")}
        self.assertEqual(list(shown["metadata"]), list(fields))
        for key, field in fields.items():
            entry = shown["metadata"][key]
            self.assertEqual(entry["type"], field.types[0].name.lower(), key)
            value = entry["value"]
            if entry["type"] == "array":
                if field.data:
                    self.assertEqual(entry["element_type"], field.types[1].name.lower(), key)
                value = flatten(value)  # as the package does with arrays of arrays
            self.assertEqual(value, as_json(field.contents()), key)
        tensors = [(t.name, t.tensor_type.name, t.shape.tolist(), t.data_offset, t.n_bytes) for t in reader.tensors]
        ours = [(t["name"], t["format"], t["shape"], t["offset"], t["bytes"]) for t in shown["tensors"]]
        self.assertEqual(ours, tensors)
        self.assertEqual(shown["alignment"], reader.alignment)
        self.assertEqual(shown["bytes"], path.stat().st_size)
        self.assertEqual(shown["parameters"], sum(t.n_elements for t in reader.tensors))
        return shown

    def test_every_scalar_type_is_shown_as_the_package_reads_it(self):
        def fill(writer):
            for kind, values in SCALARS.items():
                for i, value in enumerate(values):
                    writer.add_key_value(f"{kind.name}.{i}", value, kind)

        self.assertEqual(len(self.assert_same(self.write(fill))["metadata"]), 1 + sum(map(len, SCALARS.values())))

    def test_not_a_number_is_shown_as_such(self):
        path = self.write(lambda w: w.add_key_value("nan", float("nan"), GGUFValueType.FLOAT64))
        self.assertEqual(self.inspect_json(path)["metadata"]["nan"], {"type": "float64", "value": "NaN"})

    def test_arrays_of_every_type_and_arrays_of_arrays(self):
        def fill(writer):
            for kind, values in SCALARS.items():
                writer.add_key_value(kind.name, values, GGUFValueType.ARRAY, sub_type=kind)
            writer.add_key_value("bytes", b"\x00\x7f\xff", GGUFValueType.ARRAY)
            writer.add_key_value("nested", [[1, 2], [3]], GGUFValueType.ARRAY)
            writer.add_key_value("deeper", [[["a"], ["b", ""]], [["c"]]], GGUFValueType.ARRAY)

        shown = self.assert_same(self.write(fill))
        self.assertEqual(shown["metadata"]["nested"]["value"], [[1, 2], [3]])
        self.assertEqual(shown["metadata"]["deeper"]["value"], [[["a"], ["b", ""]], [["c"]]])

    def test_every_tensor_type(self):
        # Q8_1 never occurs in files; the package's table gives its block 40 bytes, ggml's struct has 36.
        kinds = [kind for kind in GGMLQuantizationType if kind != GGMLQuantizationType.Q8_1]

        def fill(writer):
            random = np.random.default_rng(1)
            for kind in kinds:
                block, size = gguf.GGML_QUANT_SIZES[kind]
                data = random.integers(0, 256, (3, 2, 2 * size), dtype=np.uint8)
                writer.add_tensor(f"tensor.{kind.name}", data, raw_dtype=kind)

        shown = self.assert_same(self.write(fill))
        self.assertEqual(len(shown["tensors"]), len(kinds))
        self.assertEqual({each["format"] for each in shown["formats"]}, {kind.name for kind in kinds})

    def test_ranks_and_alignments(self):
        for alignment in (8, 32, 64, 4096):
            def fill(writer):
                writer.add_custom_alignment(alignment)
                for rank in range(1, 5):
                    shape = tuple(range(3, 3 + rank))
                    writer.add_tensor(f"rank.{rank}", np.ones(shape, dtype=np.float32))

            shown = self.assert_same(self.write(fill))
            self.assertEqual(shown["alignment"], alignment)
            self.assertEqual(shown["tensors"][3]["shape"], [6, 5, 4, 3], "the fastest dimension comes first")

    def test_a_file_without_tensors(self):
        self.assertEqual(self.assert_same(self.write(lambda writer: None))["tensors"], [])

    def test_a_split_model_is_shown_whole_from_any_part(self):
        def fill(writer):
            for i in range(5):
                writer.add_tensor(f"t{i}", np.full((4, i + 1), i, dtype=np.float16))

        self.write(fill, split_max_tensors=2)
        parts = sorted(self.folder.glob("*.gguf"))
        self.assertEqual([p.name for p in parts], [f"model-0000{i}-of-00003.gguf" for i in (1, 2, 3)])
        expected = [(t.name, i, t.data_offset) for i, part in enumerate(parts) for t in GGUFReader(part).tensors]
        for part in parts:
            shown = self.inspect_json(part)
            self.assertEqual([(t["name"], t["file"], t["offset"]) for t in shown["tensors"]], expected)
            self.assertEqual(shown["files"], 3)
            self.assertEqual(shown["architecture"], "test")
        parts[1].unlink()
        self.assert_error(parts[0], f"{parts[1]}: part 2 of 3 is missing")

    def test_text_that_is_no_utf8_still_gives_valid_json(self):
        path = self.write(lambda writer: writer.add_string("raw", b"a\xff\xc3b"))
        self.assertEqual(self.inspect_json(path)["metadata"]["raw"]["value"], "a\ufffd\ufffdb")

    def test_the_text_report_holds_no_control_characters_of_the_file(self):
        def fill(writer):
            writer.add_name("\x1b[31mred\nline")
            writer.add_tensor("t\x1b]0;x\x07", np.ones(4, dtype=np.float32))

        text = self.inspect(self.write(fill), "--tensors")
        self.assertIn("name            \\x1b[31mred\\nline\n", text)
        self.assertIn("t\\x1b]0;x\\x07", text)
        self.assertTrue(all(c == "\n" or c.isprintable() for c in text))

    def assert_error(self, path, expected):
        done = subprocess.run([METALLIC, "inspect", str(path)], capture_output=True, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stdout, b"")
        message = done.stderr.decode("utf-8")
        self.assertTrue(message.startswith(f"metallic: {expected}"), message)
        self.assertEqual(message.count("\n"), 1)

    def test_what_cannot_be_read_is_one_line_and_status_1(self):
        path = self.write(lambda w: w.add_uint32("k", 1), name="big.gguf", endianess=GGUFEndian.BIG)
        self.assert_error(path, f"{path}: at byte 4: the file is big-endian")
        good = self.write(lambda w: w.add_tensor("w", np.ones(64, dtype=np.float32))).read_bytes()
        cut = self.folder / "cut.gguf"
        cut.write_bytes(good[:-200])
        self.assert_error(cut, f"{cut}: at byte ")
        self.assert_error(self.folder / "absent.gguf", f"{self.folder / 'absent.gguf'}: cannot open: No such file")


if __name__ == "__main__":
    unittest.main()
