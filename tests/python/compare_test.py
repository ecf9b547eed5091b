"""bench/compare and bench/llama-bench-peer, with stand-ins for the programs that they run."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

BENCH = pathlib.Path(__file__).resolve().parents[2] / "bench"

# Speaks the JSON of `metallic bench`: its figures are the first argument, a JSON object by test.
SPEAKER = """#!{python}
import json, sys
figures = json.loads(sys.argv[1] if sys.argv[1] != "bench" else sys.argv[2])
open({log!r}, "a").write(figures["name"] + "\\n")
if "--start" in sys.argv:
    print(json.dumps([{{"test": "start", "seconds": figures["seconds"], "peak_bytes": figures["bytes"]}}]))
else:
    print(json.dumps([{{"test": test, "median_tokens_per_second": rate, "share_of_limit": 0.5,
                       "read_limit_bytes_per_second": 4e10}} for test, rate in figures["rates"].items()]))
"""

LLAMA_BENCH = """#!{python}
import json, sys
arguments = sys.argv[1:]
value = lambda flag: int(arguments[arguments.index(flag) + 1])
if "--help" in arguments:
    print("-w, --warmup")
else:
    assert "-rtr" in arguments
    tests = [(value("-p"), 0), (0, value("-n"))]
    print(json.dumps([{{"n_prompt": p, "n_gen": n, "samples_ts": [10.0 + p, 12.0 + p]}} for p, n in tests if p or n]))
"""

BATCHED = """#!{python}
import sys
if "--help" in sys.argv:
    print("-fa, --flash-attn")
else:
    print("|    PP |     TG |    B |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |")
    print("|-------|--------|------|--------|----------|----------|----------|----------|")
    print("|     1 |      8 |    4 |     36 |    0.100 |    10.00 |    0.500 |    64.00 |")
"""


class BenchScripts(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.log = self.folder / "log"

    def script(self, name, text):
        path = self.folder / name
        path.write_text(text.format(python=sys.executable, log=str(self.log)))
        path.chmod(0o755)
        return path

    def run_script(self, name, *arguments):
        return subprocess.run([sys.executable, BENCH / name, *map(str, arguments)], capture_output=True, text=True)

    def speaker(self, name, rates, seconds=1.0, peak=1000):
        figures = json.dumps({"name": name, "rates": rates, "seconds": seconds, "bytes": peak})
        return f"{self.script('speaker', SPEAKER)} '{figures}'"


class Compare(BenchScripts):
    def compare(self, *arguments):
        ours = self.speaker("metallic", {"pp512": 300.0, "tg48x4": 80.0}, seconds=0.5, peak=500)
        slow = self.speaker("slow", {"pp512": 100.0, "tg48x4": 40.0}, seconds=2.0, peak=2000)
        fast = self.speaker("fast", {"pp512": 150.0}, seconds=1.0, peak=4000)
        program, figures = ours.split(" ", 1)
        return self.run_script(
            "compare", "-m", "x.gguf", "--metallic", f"{program} bench {figures}", "--peer", f"a={slow}", "--peer", f"a={fast}", *arguments
        )

    def test_the_ratio_is_to_the_best_variant_and_above_one_is_better(self):
        result = self.compare("-o", "json", "--rounds", "2")
        self.assertEqual(result.returncode, 0, result.stderr)
        lines = {line["test"]: line for line in json.loads(result.stdout)["results"][0]["lines"]}
        self.assertEqual({test: line["ratio"] for test, line in lines.items()}, {"pp512": 2, "tg48x4": 2, "start": 2, "peak memory": 4})
        self.assertEqual(lines["pp512"]["peers"], {"a": 150})
        self.assertEqual(lines["pp512"]["share_of_limit"], 0.5)
        self.assertEqual(json.loads(result.stdout)["results"][0]["limits"]["read_limit_bytes_per_second"], [4e10] * 3)

    def test_the_programs_run_in_turn(self):
        self.compare("--rounds", "2", "--no-start")
        self.assertEqual(self.log.read_text().split(), ["metallic", "slow", "fast"] * 2)

    def test_the_table_has_a_row_for_each_test(self):
        result = self.compare("--rounds", "1")
        self.assertEqual(result.returncode, 0, result.stderr)
        rows = [line for line in result.stdout.splitlines() if line.startswith("| ")]
        self.assertEqual([row.split("|")[1].strip() for row in rows], ["test", "---", "pp512", "tg48x4", "start", "peak memory"])
        self.assertIn("read bandwidth: 40.0 GB/s", result.stdout)

    def test_what_is_wrong_ends_it_with_one_message(self):
        for arguments, says in (
            (("--peer", "nameless"), "NAME=COMMAND"),
            (("--peer", "b=/no/such/program"), "/no/such/program"),
            (("--peer", "b=false"), "exit status 1"),
            (("--peer", "b=echo hello"), "no JSON"),
            (("--peer", "metallic=true"), "metallic"),
            (("--rounds", "0"), "at least 1"),
        ):
            with self.subTest(arguments=arguments):
                result = self.compare(*arguments)
                self.assertNotEqual(result.returncode, 0)
                self.assertEqual(result.stdout, "")
                self.assertIn(says, result.stderr.splitlines()[-1])


class LlamaBenchPeer(BenchScripts):
    def peer(self, *arguments):
        program, batched = self.script("llama-bench", LLAMA_BENCH), self.script("llama-batched-bench", BATCHED)
        options = ("--program", program, "--batched", batched, "--extra=-rtr 1", "-m", "x.gguf", "-t", "1", "-r", "2")
        result = self.run_script("llama-bench-peer", *options, *arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def test_its_tests_have_the_names_and_figures_of_metallic_bench(self):
        figures = {entry["test"]: entry for entry in self.peer("-p", "16", "-n", "8", "-b", "1,4", "-o", "json")}
        rates = {test: entry["median_tokens_per_second"] for test, entry in figures.items()}
        self.assertEqual(rates, {"pp16": 27, "tg8": 11, "tg8x4": 64})
        self.assertEqual(figures["tg8x4"]["tokens_per_second"], [64, 64])

    def test_one_kind_alone(self):
        self.assertEqual([entry["test"] for entry in self.peer("-p", "0", "-n", "8", "-b", "4")], ["tg8x4"])
        self.assertEqual([entry["test"] for entry in self.peer("-p", "16", "-n", "0")], ["pp16"])

    def test_the_start_is_a_process(self):
        (entry,) = self.peer("--start")
        self.assertEqual(entry["test"], "start")
        self.assertGreater(entry["seconds"], 0)
        self.assertGreater(entry["peak_bytes"], 1 << 20)


if __name__ == "__main__":
    unittest.main()
