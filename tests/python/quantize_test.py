"""`metallic quantize` against the gguf package, and killed in the middle.

Needs the packages gguf and numpy, and the environment variable METALLIC: the path of the command.
"""

import os
import signal
import subprocess
import tempfile
import unittest
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter

METALLIC = os.environ.get("METALLIC")
NEAREST = ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "TQ1_0", "TQ2_0", "MXFP4"]


def write_model(path, tensors):
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(1)
    for name, weights in tensors.items():
        writer.add_tensor(name, weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@unittest.skipUnless(METALLIC, "the environment variable METALLIC does not name the command")
class Quantize(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.random = np.random.default_rng(7)

    def weights(self, rows, columns):
        return (self.random.standard_normal((rows, columns)) * 0.02).astype(np.float32)

    def test_types_that_round_to_nearest_are_the_bytes_of_the_gguf_package(self):
        weights = self.weights(24, 512)
        write_model(self.folder / "in.gguf", {"blk.0.ffn_up.weight": weights, "blk.0.ffn_norm.weight": weights[0]})
        for name in NEAREST:
            with self.subTest(name):
                subprocess.run([METALLIC, "quantize", "in.gguf", "out.gguf", name], cwd=self.folder, check=True, capture_output=True)
                tensors = {tensor.name: tensor for tensor in GGUFReader(self.folder / "out.gguf").tensors}
                expected = gguf.quantize(weights, GGMLQuantizationType[name])
                self.assertEqual(tensors["blk.0.ffn_up.weight"].data.tobytes(), expected.tobytes())
                self.assertEqual(tensors["blk.0.ffn_norm.weight"].data.tobytes(), weights[0].tobytes())

    def start_long_run(self):
        """A run that takes many seconds, of which the first tensor has begun."""
        write_model(self.folder / "in.gguf", {f"blk.{i}.ffn_up.weight": self.weights(2048, 2048) for i in range(4)})
        process = subprocess.Popen(
            [METALLIC, "quantize", "in.gguf", "out.gguf", "IQ3_S", "-t", "1"], cwd=self.folder, stderr=subprocess.PIPE, text=True
        )
        self.addCleanup(process.stderr.close)
        self.assertIn("blk.0.ffn_up.weight", process.stderr.readline())
        return process

    def test_an_interrupted_run_leaves_nothing(self):
        process = self.start_long_run()
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(timeout=60), 130)
        self.assertIn("interrupted", process.stderr.read())
        self.assertEqual([path.name for path in self.folder.iterdir()], ["in.gguf"])

    def test_a_killed_run_leaves_no_file_under_the_final_name(self):
        (self.folder / "out.gguf").write_bytes(b"from before")
        process = self.start_long_run()
        process.kill()
        process.wait(timeout=60)
        self.assertEqual((self.folder / "out.gguf").read_bytes(), b"from before")


if __name__ == "__main__":
    unittest.main()
