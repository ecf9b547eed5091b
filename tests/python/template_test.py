"""`metallic template` against jinja2, on the templates of many real models.

The templates are those in the folder that METALLIC_TEMPLATES names, or ../shared/templates beside the checkout; without
either only the ones of tests/data/templates are rendered, and a skip says so. Needs jinja2 and the environment variable
METALLIC: the path of the command.
"""

import concurrent.futures
import datetime
import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SOURCE_DIR = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE_DIR / "tools"))
import template_conversations  # noqa: E402
import template_reference  # noqa: E402

METALLIC = os.environ.get("METALLIC")
TEMPLATES = Path(os.environ.get("METALLIC_TEMPLATES", SOURCE_DIR.parent / "shared" / "templates"))
BOS, EOS = "<s>", "</s>"


class Files:
    """JSON values as files, each written once."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.paths = {}

    def path(self, value):
        text = json.dumps(value)
        if text not in self.paths:
            self.paths[text] = self.folder / f"{len(self.paths)}.json"
            self.paths[text].write_text(text, encoding="utf-8")
        return str(self.paths[text])


def command(files, template, messages, tools=None, add_generation_prompt=True, **variables):
    line = [METALLIC, "template", "--file", str(template), "--messages", files.path(messages)]
    if tools is not None:
        line += ["--tools", files.path(tools)]
    if not add_generation_prompt:
        line += ["--no-generation-prompt"]
    for name, value in {"bos_token": BOS, "eos_token": EOS, **variables}.items():
        line += ["--set", f"{name}={json.dumps(value)}"]
    return line


def run(line):
    return subprocess.run(line, capture_output=True, check=False, timeout=60)


class TemplateTest(unittest.TestCase):
    def setUp(self):
        self.assertTrue(METALLIC, "set METALLIC to the path of the metallic command")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.files = Files(folder.name)

    def jobs(self, template):
        """Each conversation with two of the variations, all of which have their turn."""
        variations = list(template_conversations.VARIATIONS.values())
        for i, messages in enumerate(template_conversations.CONVERSATIONS.values()):
            for j in {i % len(variations), (5 * i + len(template.name)) % len(variations)}:
                yield messages, variations[j]

    def check_template(self, template):
        source = template.read_bytes().decode("utf-8")
        jobs = list(self.jobs(template))
        lines = [command(self.files, template, messages, **options) for messages, options in jobs]
        day = datetime.date.today()
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            results = list(pool.map(run, lines))
        rendered = 0
        for (messages, options), line, result in zip(jobs, lines, results):
            variables = template_reference.chat_variables(messages, **{"bos_token": BOS, "eos_token": EOS, **options})
            expected = template_reference.render(source, variables)
            with self.subTest(template=template.name, command=" ".join(line[2:])):
                if expected is None:
                    self.assertEqual(result.returncode, 1, "jinja2 fails, metallic renders")
                    self.assertIn(b"line ", result.stderr)
                elif datetime.date.today() == day:  # some templates write the date
                    self.assertEqual(result.stdout.decode("utf-8"), expected, result.stderr)
                    rendered += 1
        return rendered

    def test_real_templates_render_as_jinja2_renders_them(self):
        templates = sorted(TEMPLATES.glob("*.jinja"))
        if not templates:
            self.skipTest(f"no templates in {TEMPLATES}: give a folder of them in METALLIC_TEMPLATES")
        rendered = {template.name: self.check_template(template) for template in templates}
        # A few need variables that no conversation here gives; then jinja2 fails, and so do we.
        often = [name for name, count in rendered.items() if count > 5]
        self.assertGreater(len(often), 0.9 * len(templates), rendered)

    def test_the_templates_of_the_golden_data_render_as_jinja2_renders_them(self):
        golden = json.loads((SOURCE_DIR / "tests/data/templates/models.json").read_text(encoding="utf-8"))
        for name, model in golden["models"].items():
            template = self.files.folder / f"{name}.jinja"
            template.write_text(model["template"], encoding="utf-8", newline="")
            self.assertGreater(self.check_template(template), 20)

    def test_the_model_gives_its_template_and_tokens(self):
        path = os.environ.get("METALLIC_MODEL")
        if not path:
            self.skipTest("METALLIC_MODEL names no model file")
        source = run([METALLIC, "template", "-m", path, "--show"]).stdout.decode("utf-8")
        messages = template_conversations.CONVERSATIONS["turns"]
        result = run([METALLIC, "template", "-m", path, "--messages", self.files.path(messages)])
        expected = template_reference.render(source, template_reference.chat_variables(messages))
        self.assertEqual(result.stdout.decode("utf-8"), expected, result.stderr)

    def test_bad_input_is_one_line_and_status_1(self):
        template = self.files.folder / "t.jinja"
        for source, messages, wanted in (
            ("{{ messages[0].x.y }}", [{"role": "user"}], b"line 1, column 17"),
            ("{% if %}", [], b"line 1, column 7"),
            ("{{ raise_exception('no') }}", [], b"no"),
            ("x", {"a": 1}, b"JSON array"),
        ):
            template.write_text(source, encoding="utf-8")
            result = run(command(self.files, template, messages))
            self.assertEqual((result.returncode, result.stdout), (1, b""))
            self.assertEqual(result.stderr.count(b"\n"), 1)
            self.assertIn(wanted, result.stderr)
        self.assertEqual(run([METALLIC, "template", "--file", str(template), "--messages", "-", "--set", "x"]).returncode, 1)
        self.assertEqual(run([METALLIC, "template", "--messages", "-"]).returncode, 2)


if __name__ == "__main__":
    unittest.main()
