"""`metallic dequantize` against the gguf package: a file with a random tensor of every format, compared bit by bit.

Needs numpy and gguf, and the path of the command in the environment variable METALLIC.
"""

import os
import pathlib
import subprocess
import tempfile
import unittest

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

# The package's size of Q8_1 is that of an older layout with two float32; since 2023 it has two float16.
gguf.GGML_QUANT_SIZES[Type.Q8_1] = (32, 2 + 2 + 32)

OWN_TYPE = {Type.F64: "<f8", Type.I8: "<i1", Type.I16: "<i2", Type.I32: "<i4", Type.I64: "<i8"}
ROWS, BLOCKS = 7, 3


def half(blocks):
    return np.ascontiguousarray(blocks[:, :2]).view("<f2").astype(np.float32)


# What the package does not decode, by definition; one row of the argument is one block.
DEFINITIONS = {
    Type.Q8_1: lambda b: half(b) * b[:, 4:].view(np.int8).astype(np.float32),
    Type.Q8_K: lambda b: np.ascontiguousarray(b[:, :4]).view("<f4") * b[:, 4:260].view(np.int8).astype(np.float32),
    Type.Q1_0: lambda b: half(b) * (2 * np.unpackbits(b[:, 2:], axis=1, bitorder="little").astype(np.float32) - 1),
}


def expected(kind, data):
    """The array that the command must write for the bytes `data`, (rows, bytes of a row)."""
    if kind in OWN_TYPE:
        return data.view(OWN_TYPE[kind])
    if kind in DEFINITIONS:
        blocks = data.reshape(-1, gguf.GGML_QUANT_SIZES[kind][1])
        return DEFINITIONS[kind](blocks).reshape(len(data), -1)
    with np.errstate(all="ignore"):
        return gguf.dequantize(data, kind).reshape(len(data), -1)


def bits(array):
    """Comparable bits: all NaN are one."""
    if array.dtype.kind != "f":
        return array
    array = np.ascontiguousarray(array)
    unsigned = array.view(f"<u{array.itemsize}")
    return np.where(np.isnan(array), unsigned.dtype.type(2 ** (8 * array.itemsize) - 1), unsigned)


class Dequantize(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.metallic = os.environ["METALLIC"]
        cls.folder = tempfile.TemporaryDirectory()
        cls.root = pathlib.Path(cls.folder.name)
        cls.path = cls.root / "every-format.gguf"
        random = np.random.default_rng()
        cls.data = {}
        writer = gguf.GGUFWriter(str(cls.path), "test")
        for kind in Type:
            data = random.integers(0, 256, (ROWS, BLOCKS * gguf.GGML_QUANT_SIZES[kind][1]), np.uint8)
            cls.data[kind] = data
            # The writer takes the types that NumPy has as arrays of that type, all others as bytes.
            own = OWN_TYPE.get(kind, {Type.F32: "<f4", Type.F16: "<f2"}.get(kind))
            if own:
                writer.add_tensor(kind.name, data.view(own))
            else:
                writer.add_tensor(kind.name, data, raw_dtype=kind)
        cube = random.standard_normal((2, 3, 5, 64)).astype(np.float32)
        cls.cube = gguf.quantize(cube, Type.Q8_0)
        writer.add_tensor("cube", cls.cube, raw_dtype=Type.Q8_0)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def run_metallic(self, *arguments):
        return subprocess.run([self.metallic, "dequantize", *map(str, arguments)], capture_output=True, text=True)

    def array(self, tensor):
        output = self.root / f"{tensor}.npy"
        result = self.run_metallic(self.path, tensor, "-o", output)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))
        return np.load(output)

    def test_every_format_is_bit_for_bit_what_the_package_gives(self):
        for kind in Type:
            with self.subTest(kind.name):
                want = expected(kind, self.data[kind])
                got = self.array(kind.name)
                self.assertEqual((got.dtype, got.shape), (want.dtype, want.shape))
                np.testing.assert_array_equal(bits(got), bits(want))

    def test_the_shape_is_in_the_order_of_numpy(self):
        want = gguf.dequantize(self.cube, Type.Q8_0)
        got = self.array("cube")
        self.assertEqual(got.shape, (2, 3, 5, 64))
        np.testing.assert_array_equal(bits(got), bits(want))

    def test_errors_say_what_and_where_and_leave_no_file(self):
        before = sorted(os.listdir(self.root))
        for tensor, output, words in [
            ("nothing", self.root / "a.npy", ["every-format.gguf", "'nothing'", "--tensors"]),
            ("Q4_0", self.root / "no" / "a.npy", ["no/a.npy"]),
            ("Q4_0", self.path, ["every-format.gguf", "would be lost"]),
        ]:
            result = self.run_metallic(self.path, tensor, "-o", output)
            self.assertEqual((result.returncode, result.stdout), (1, ""))
            self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
            for word in words:
                self.assertIn(word, result.stderr)
        self.assertEqual(self.run_metallic(self.path, "Q4_0").returncode, 2)
        self.assertEqual(sorted(os.listdir(self.root)), before)


if __name__ == "__main__":
    unittest.main()
