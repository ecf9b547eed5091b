"""metallic verify from outside: its verdict, exit status and JSON."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

METALLIC = os.environ["METALLIC"]
MODELS = pathlib.Path(__file__).resolve().parents[1] / "data" / "models"


def verify(path, *options):
    return subprocess.run([METALLIC, "verify", str(path), *options], capture_output=True, text=True, timeout=120)


class Verify(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def damaged(self, name, change):
        content = bytearray((MODELS / name).read_bytes())
        path = self.folder / name
        path.write_bytes(change(content) or content)
        return path

    def test_a_sound_file(self):
        result = verify(MODELS / "qwen2.gguf", "--deep")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn("qwen2.gguf: sound", result.stdout)
        report = json.loads(verify(MODELS / "qwen2.gguf", "--json").stdout)
        self.assertTrue(report["sound"])
        names = [check["name"] for check in report["checks"]]
        self.assertEqual(names, ["structure", "layout", "metadata", "values", "architecture", "tokenizer", "chat template", "canary"])
        self.assertEqual({check["result"] for check in report["checks"]}, {"passed"})

    def test_an_encoder_whose_tokenizer_changes_text_is_sound(self):
        path = self.folder / "bert.gguf"
        subprocess.run([METALLIC, "convert", str(MODELS.parent / "architectures" / "bert"), str(path)], check=True, capture_output=True)
        result = verify(path, "--deep")
        self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_an_unsound_file_has_a_report_and_one_line_on_stderr(self):
        def cut(content):
            return content[: len(content) // 2]

        path = self.damaged("mlp-relu.gguf", cut)
        for options in ((), ("--json",)):
            result = verify(path, *options)
            self.assertEqual(result.returncode, 1)
            self.assertEqual(len(result.stderr.splitlines()), 1)
            self.assertTrue(result.stderr.startswith(f"metallic: {path}: not sound; structure: "), result.stderr)
        report = json.loads(result.stdout)
        self.assertEqual((report["sound"], report["checks"][0]["result"]), (False, "failed"))

    def test_a_nan_in_the_data_is_found(self):
        def set_last_number(content):
            content[-len(content) % 32 - 40 : -len(content) % 32 - 36] = b"\x00\x00\xc0\x7f"

        result = verify(self.damaged("llama-tied.gguf", set_last_number))
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, r"values: tensor \S+ \(F32\): element \d+ of \d+, at byte \d+: the number is NaN")

    def test_what_is_no_model_is_not_sound(self):
        for path in ("/dev/zero", self.folder, self.folder / "missing.gguf"):
            result = verify(path)
            self.assertEqual(result.returncode, 1)
            self.assertIn("structure     failed", result.stdout)
            self.assertEqual(len(result.stderr.splitlines()), 1)


if __name__ == "__main__":
    unittest.main()
