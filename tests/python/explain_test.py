"""metallic explain and the budgets of memory, from outside."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

METALLIC = os.environ["METALLIC"]
ROOT = pathlib.Path(__file__).resolve().parents[2]
TINY = ROOT / "tests" / "data" / "models" / "llama-tied.gguf"
MACHINES = sorted((ROOT / "docs" / "machines").glob("*.json"))
PC = ROOT / "docs" / "machines" / "pc-24gb.json"


def metallic(*arguments, **options):
    environment = dict(os.environ, **options.pop("environment", {}))
    return subprocess.run(
        [METALLIC, *map(str, arguments)], capture_output=True, text=True, timeout=120, env=environment, **options
    )


class ExplainTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def plan(self, *arguments, **options):
        result = metallic("explain", "--json", *arguments, **options)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def bad(self, *arguments, status, says):
        result = metallic(*arguments)
        self.assertEqual(result.returncode, status, result.stderr)
        self.assertEqual(result.stdout, "")
        self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
        self.assertIn(says, result.stderr)

    def test_a_model_that_is_no_file_is_planned_for_every_described_machine(self):
        self.assertGreaterEqual(len(MACHINES), 4)
        for machine in MACHINES:
            for shape in ("llama3.1-70b:q4_k_m", "llama3.1-405b:q4_k_m", "mixtral-8x7b:q4_k_m", "deepseek-v3:q4_k_m"):
                with self.subTest(machine=machine.name, shape=shape):
                    plan = self.plan("--shape", shape, "--machine", machine)
                    for tier in ("gpu", "ram"):
                        self.assertLessEqual(plan[tier]["total"], plan[tier]["budget"])
                    self.assertGreater(plan["decode_tokens_per_second"], 0)
                    self.assertGreater(plan["first_token_seconds"], 0)
                    self.assertAlmostEqual(
                        sum(run["bytes"] for run in plan["blocks"]) / plan["weight_bytes"], 1, places=6
                    )

    def test_budgets_hold_and_more_of_one_is_no_slower(self):
        before = 0
        for gpu in ("1G", "4G", "8G", "16G", "22G"):
            plan = self.plan("--shape", "llama3.1-70b:q4_k_m", "--machine", PC, "--gpu-memory", gpu, "--ram", "40G")
            self.assertLessEqual(plan["gpu"]["total"], int(gpu[:-1]) << 30)
            self.assertLessEqual(plan["ram"]["total"], 40 << 30)
            self.assertGreaterEqual(plan["decode_tokens_per_second"], before * 0.999)
            before = plan["decode_tokens_per_second"]

    def test_the_table_says_where_why_how_fast_and_what_would_help(self):
        text = metallic("explain", "--shape", "llama3.1-70b:q4_k_m", "--machine", PC).stdout
        for part in ("attention", "feed-forward", "head", "GPU", "tokens/s", "first token", "limited by", "helps", "more GPU"):
            self.assertIn(part, text)

    def test_a_token_of_a_mixture_is_made_of_what_is_said(self):
        plan = self.plan("--shape", "mixtral-8x7b:q4_k_m", "--machine", PC, "-c", "4096")
        decode = plan["decode"]
        self.assertEqual(decode["link_seconds"], 0)  # one token's experts are the processor's
        self.assertEqual(decode["disk_seconds"], 0)
        for part in ("cpu_seconds", "gpu_seconds", "handover_seconds"):
            self.assertGreater(decode[part], 0, part)
        parts = sum(decode[part + "_seconds"] for part in ("cpu", "gpu", "handover", "fixed"))
        self.assertAlmostEqual(decode["seconds"], parts, places=9)
        text = metallic("explain", "--shape", "mixtral-8x7b:q4_k_m", "--machine", PC, "-c", "4096").stdout
        self.assertIn(", hand-overs ", text)
        self.assertNotIn("hand-overs", metallic("explain", "--shape", "llama3.1-8b:q4_k_m", "--machine", PC).stdout)

    def test_layers_and_the_cache_go_where_they_were_asked_to_go(self):
        plan = self.plan("--shape", "llama3.1-8b:q4_k_m", "--machine", PC, "-ngl", "10", "--kv-offload", "off")
        on_gpu = [run for run in plan["blocks"] if run["gpu_share"] == 1]
        layers = {layer for run in on_gpu for first, last in run["layers"] for layer in range(first, last + 1)}
        self.assertEqual(len(layers), 10)
        self.assertEqual({run["kind"] for run in on_gpu}, {"attention", "feed-forward"})
        spread = sorted(layers)  # of 32, so that others are copied while they compute
        self.assertLessEqual(max(b - a for a, b in zip(spread, spread[1:])), 5)
        self.assertEqual(plan["kv_layers_on_gpu"], 0)

    def test_measurements_are_kept(self):
        environment = {"XDG_CACHE_HOME": str(self.folder)}
        self.plan("-m", TINY, environment=environment)
        kept = json.loads((self.folder / "metallic" / "machine.json").read_text())
        self.assertTrue(any(name.endswith(" read") for name in kept), kept)
        unmeasured = self.plan("-m", TINY, "--no-measure", environment={"XDG_CACHE_HOME": str(self.folder / "other")})
        self.assertGreater(unmeasured["decode_tokens_per_second"], 0)
        self.assertFalse((self.folder / "other").exists())
        (self.folder / "metallic" / "machine.json").write_text("[not what it was")
        self.plan("-m", TINY, "--no-measure", environment=environment)

    def test_a_run_within_a_budget_answers_as_without(self):
        arguments = ("run", "-m", TINY, "--raw", "-p", "a", "-n", "4", "--temp", "0", "--device", "cpu", "-c", "64")
        free = metallic(*arguments)
        tight = metallic(*arguments, "--ram", "70M")
        self.assertEqual(free.returncode, 0, free.stderr)
        self.assertEqual(tight.returncode, 0, tight.stderr)
        self.assertEqual(free.stdout, tight.stdout)
        self.assertIn("in RAM", free.stderr)
        self.assertIn("the plan:", metallic(*arguments, "--verbose").stderr)

    def test_what_cannot_be_is_said_with_numbers(self):
        self.bad("run", "-m", TINY, "-p", "a", "--ram", "10M", "--device", "cpu", status=1, says="GB")
        self.bad("explain", "-m", TINY, "-ngl", "3", "--device", "cpu", status=1, says="-ngl")
        self.bad("explain", "--shape", "llama3.1-8b:q8_0", "--machine", PC, "-ngl", "40", "--gpu-memory", "3G", status=1,
                 says="layers on the GPU")  # fmt: skip
        for size in ("4X", "-1G", "0", "G", "", "1e400", "nan"):
            self.bad("explain", "-m", TINY, f"--ram={size}", status=2, says="--ram")
        self.bad("explain", "-m", TINY, "-ngl", "many", status=2, says="layers")
        self.bad("explain", "-m", TINY, "--kv-offload", "maybe", status=2, says="--kv-offload")
        self.bad("explain", "--shape", "llama9:q4_0", status=1, says="known")
        self.bad("explain", status=2, says="--shape")
        self.bad("explain", "-m", TINY, "--machine", self.folder / "none.json", status=1, says="none.json")
        (self.folder / "bad.json").write_text('{"ram_gb": 8, "disks": 3}')
        self.bad("explain", "-m", TINY, "--machine", self.folder / "bad.json", status=1, says="disks")


if __name__ == "__main__":
    unittest.main()
