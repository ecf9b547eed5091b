"""The command from outside: what it prints where, its exit status, and how it takes what is wrong.

METALLIC is the binary, METALLIC_MODEL the default model where it could be had. The tiny models are tests/data/models.
"""

import json
import os
import pathlib
import pty
import re
import select
import signal
import subprocess
import tempfile
import time
import unittest

import numpy

METALLIC = os.environ["METALLIC"]
MODEL = os.environ.get("METALLIC_MODEL")
MODELS = pathlib.Path(__file__).resolve().parents[1] / "data" / "models"
CHAT_MODEL = MODELS / "llama-tied.gguf"  # has a ChatML template
PLAIN_MODEL = MODELS / "llama-bias.gguf"  # has none
COMMANDS = re.findall(r"^  (\w+) ", subprocess.run([METALLIC, "--help"], capture_output=True, text=True).stdout, re.MULTILINE)


def metallic(*arguments, stdin=b"", **options):
    options.setdefault("timeout", 120)
    options["input" if isinstance(stdin, bytes) else "stdin"] = stdin
    options.setdefault("stdout", subprocess.PIPE)
    return subprocess.run(
        [METALLIC, *(part if isinstance(part, bytes) else str(part) for part in arguments)], stderr=subprocess.PIPE, **options
    )


class CommandTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def file(self, name, content=b""):
        path = self.folder / name
        path.write_bytes(content)
        return path

    def good(self, *arguments, **options):
        result = metallic(*arguments, **options)
        self.assertEqual(result.returncode, 0, result.stderr.decode(errors="replace"))
        return result.stdout

    def bad(self, *arguments, status=1, says="", **options):
        """The command must fail with one line that says so, and print nothing else; the line."""
        result = metallic(*arguments, **options)
        stderr = result.stderr.decode(errors="replace")
        self.assertEqual(result.returncode, status, stderr)
        self.assertEqual(result.stdout or b"", b"")
        lines = stderr.splitlines()
        self.assertEqual(len(lines), 1, stderr)
        self.assertTrue(lines[-1].startswith("metallic: "), stderr)
        self.assertGreater(len(lines[-1]), len("metallic: ") + 10)
        self.assertIn(says, lines[-1])
        return lines[-1]


def opening_commands(path, output):
    """Every command that opens a model, on `path`."""
    return [
        ("run", "-m", path, "-p", "x"),
        ("logits", "-m", path, "--tokens", "1", "-o", output),
        ("perplexity", "-m", path, "-f", os.devnull),
        ("bench", "-m", path),
        ("tokenize", "-m", path, "x"),
        ("inspect", path),
        ("dequantize", path, "t", "-o", output),
        ("forward", "-m", path, "--values", "1"),
        ("verify", path),
    ]


class BadModels(CommandTest):
    def test_what_is_no_readable_gguf_is_named_by_every_command(self):
        good = CHAT_MODEL.read_bytes()
        os.mkfifo(self.folder / "fifo")
        cases = {
            "missing.gguf": self.folder / "missing.gguf",
            "a directory": self.folder,
            "a FIFO": self.folder / "fifo",
            "a device": pathlib.Path("/dev/zero"),
            "is empty": self.file("empty.gguf"),
            "no GGUF": self.file("text.gguf", b"Once upon a time there was a file of another kind.\n" * 3),
            "byte": self.file("cut.gguf", good[: len(good) // 2]),
            "version 4": self.file("future.gguf", good[:4] + b"\x04" + good[5:]),
        }
        for says, path in cases.items():
            for command in opening_commands(path, self.folder / "out.npy"):
                if command[0] not in COMMANDS or command[0] == "verify":  # it reports on stdout: verify_test.py
                    continue
                with self.subTest(says=says, command=command[0]):
                    self.bad(*command, says=path.name)
                    self.assertFalse((self.folder / "out.npy").exists())
        for says, path in cases.items():
            with self.subTest(says=says):
                self.assertIn(says.lower().replace("no gguf", "gguf"), metallic("inspect", path).stderr.decode().lower())

    def test_a_file_cut_anywhere_is_refused(self):
        good = (MODELS / "mlp-relu.gguf").read_bytes()
        for size in range(1, len(good) - 32, 37):  # the padding after the last tensor may be missing
            with self.subTest(size=size):
                self.bad("inspect", self.file("cut.gguf", good[:size]))

    def test_an_unknown_format_is_refused(self):
        content = bytearray((MODELS / "mlp-relu.gguf").read_bytes())
        at = re.search(rb"[\w.]+\.weight", bytes(content)).end()
        rank = int.from_bytes(content[at : at + 4], "little")
        at += 4 + 8 * rank
        content[at : at + 4] = (250).to_bytes(4, "little")
        self.bad("inspect", self.file("format.gguf", content), says="250")

    def test_an_unknown_architecture_is_refused_with_the_known_ones(self):
        content = CHAT_MODEL.read_bytes().replace(b"llama", b"lllll")
        self.bad("run", "-m", self.file("arch.gguf", content), "-p", "x", says="qwen2")


class BadInput(CommandTest):
    def test_empty_prompts(self):
        for arguments in (("-p", ""), ("--prompt", ""), ("-f", self.file("empty.txt"))):
            with self.subTest(arguments=arguments):
                self.bad("run", "-m", CHAT_MODEL, *arguments, says="empty")
        self.bad("run", "-m", CHAT_MODEL, "-f", "-", says="empty", stdin=b"")

    def test_text_that_is_not_utf8(self):
        broken = b"fine \xff\xfe"
        path = self.file("broken.txt", broken)
        for command in (
            ("run", "-m", CHAT_MODEL, "-p", broken),
            ("run", "-m", CHAT_MODEL, "-p", "x", "-sys", broken),
            ("run", "-m", CHAT_MODEL, "-f", path),
            ("tokenize", "-m", CHAT_MODEL, broken),
            ("tokenize", "-m", CHAT_MODEL, "-f", path),
            ("perplexity", "-m", CHAT_MODEL, "-f", path),
        ):
            with self.subTest(command=command):
                self.bad(*command, says="5")
        self.bad("tokenize", "-m", CHAT_MODEL, stdin=broken, says="standard input: byte 5")

    def test_a_prompt_that_does_not_fit_the_context(self):
        self.bad("run", "-m", CHAT_MODEL, "-p", "word " * 50, "-c", "32", says="(-c)")

    def test_contexts_beyond_any_memory(self):
        self.bad("run", "-m", CHAT_MODEL, "-p", "x", "-c", "2147483647", says="2147483647")

    def test_token_ids_that_are_none(self):
        for ids in ("277", "1,2,99999999", "-1", "-2147483648"):
            with self.subTest(ids=ids):
                self.bad("logits", "-m", CHAT_MODEL, f"--tokens={ids}", "-o", self.folder / "x.npy", says="vocabulary")
        for ids in ("1,x", "99999999999999999999", "1.5", " "):
            with self.subTest(ids=ids):
                self.bad("logits", "-m", CHAT_MODEL, "--tokens", ids, "-o", self.folder / "x.npy", says="token id")
        self.assertEqual(list(self.folder.iterdir()), [])
        self.bad("tokenize", "-m", CHAT_MODEL, "--decode", "99999999", says="99999999")
        self.bad("run", "-m", CHAT_MODEL, "-p", "x", "-l", "99999999+1", says="99999999")

    def test_sampling_options_out_of_range(self):
        for name, value in (("temp", "nan"), ("temp", "-1"), ("top-p", "2"), ("top-k", "-5"), ("min-p", "inf"), ("repeat-penalty", "0")):
            with self.subTest(name=name, value=value):
                self.bad("run", "-m", CHAT_MODEL, "-p", "x", f"--{name}={value}", says=value)

    def test_names_that_do_not_exist(self):
        self.bad("run", "-m", CHAT_MODEL, "-p", "x", "--backend", "abacus", says="cpu")
        self.bad("dequantize", CHAT_MODEL, "no.such.tensor", "-o", self.folder / "x.npy", says="no.such.tensor")
        self.bad("run", "-m", CHAT_MODEL, "-f", self.folder / "missing.txt", says="missing.txt")

    def test_a_line_feed_in_a_path_leaves_one_line(self):
        self.bad("inspect", self.folder / "two\nlines\x1b[31m", says="two")


class BadCommandLines(CommandTest):
    def test_usage_errors_have_status_2(self):
        run = ("run", "-m", CHAT_MODEL, "-p", "x")
        for arguments in (
            (),
            ("--no-such-flag",),
            ("dance",),
            ("run",),
            ("run", "-m"),
            (*run, "--no-such-flag"),
            (*run, "extra"),
            (*run, "-n", "many"),
            (*run, "-n", "99999999999999999999"),
            (*run, "-n", "-2"),
            (*run, "-c", "-1"),
            (*run, "-t", "1.5"),
            (*run, "-b", "0"),
            (*run, "--top-k", "1e99"),
            (*run, "--seed", "lucky"),
            (*run, "-f", "also-a-file"),
            ("bench", "-m", CHAT_MODEL, "-o", "xml"),
            ("bench",),
            ("bench", "-m", CHAT_MODEL, "--shape", "llama3.2-1b:q4_0"),
            ("bench", "-m", CHAT_MODEL, "-b", "0"),
            ("bench", "-m", CHAT_MODEL, "-b", "1,many"),
            ("bench", "-m", CHAT_MODEL, "-b", "1,,4"),
            ("bench", "-m", CHAT_MODEL, "-b", "1,"),
            ("bench", "-m", CHAT_MODEL, "-b", ""),
            ("bench", "-m", CHAT_MODEL, "-b", "-4"),
            ("bench", "-m", CHAT_MODEL, "-b", "4097"),
            ("bench", "-m", CHAT_MODEL, "-ub", "0"),
            ("bench", "-m", CHAT_MODEL, "-d", "-1"),
            ("bench", "-m", CHAT_MODEL, "-d", "deep"),
            ("bench", "-m", CHAT_MODEL, "-r", "0"),
            ("bench", "-m", CHAT_MODEL, "-ctk", "q9_9"),
            ("bench", "-m", CHAT_MODEL, "-ctv"),
            ("logits", "-m", CHAT_MODEL),
            ("tokenize", "-m", CHAT_MODEL, "--ids", "--pieces", "x"),
        ):
            with self.subTest(arguments=arguments):
                self.assertLess(len(self.bad(*arguments, status=2, says="--help")), 200)


class Output(CommandTest):
    def test_files_that_cannot_be_written(self):
        for path in (self.folder / "no" / "folder.npy", self.folder, "/dev/full"):
            with self.subTest(path=path):
                self.bad("logits", "-m", CHAT_MODEL, "--tokens", "1,2", "-o", path, says=str(path))
                self.bad("dequantize", CHAT_MODEL, "token_embd.weight", "-o", path, says=str(path))

    def test_what_is_read_is_never_written_over(self):
        model, text = self.file("m.gguf", CHAT_MODEL.read_bytes()), self.file("text.txt", b"some words to score " * 40)
        link, hard = self.folder / "link", self.folder / "hard"
        link.symlink_to(model)
        os.link(model, hard)
        matrix = self.folder / "matrix.gguf"
        imatrix = ("imatrix", "-m", model, "-f", text, "-c", "32", "--chunks", "1", "-o")
        self.assertEqual(metallic(*imatrix, matrix).returncode, 0)
        kept = {path: path.read_bytes() for path in (model, text, matrix)}
        for output in (model, link, hard):
            for command in (
                ("quantize", model, output, "Q8_0"),
                ("logits", "-m", model, "--tokens", "1,2", "-o", output),
                ("dequantize", model, "token_embd.weight", "-o", output),
                (*imatrix, output),
            ):
                with self.subTest(command=command[0], output=output.name):
                    result = metallic(*command)
                    self.assertEqual(result.returncode, 1, result.stderr)
                    self.assertIn(b"would be lost", result.stderr.splitlines()[-1])
        self.assertIn(b"would be lost", metallic(*imatrix, text).stderr)
        self.assertIn(b"would be lost", metallic("quantize", "--imatrix", matrix, model, matrix, "Q4_0").stderr)
        self.assertEqual(metallic("split", model, self.folder / "part", "--max-tensors", "10").returncode, 0)
        parts = sorted(self.folder.glob("part-*"))
        kept |= {path: path.read_bytes() for path in parts}
        for part in parts:
            self.assertIn(b"would be lost", metallic("merge", parts[0], part).stderr)
        for path, content in kept.items():
            self.assertEqual(path.read_bytes(), content, path)

    def test_lost_output_is_an_error(self):
        text = self.file("text.txt", b"some words to score " * 20)
        for command in (
            ("run", "-q", "-m", CHAT_MODEL, "-p", "x", "-n", "4"),
            ("bench", "-m", CHAT_MODEL, "-p", "4", "-n", "4", "-r", "1"),
            ("bench", "-m", CHAT_MODEL, "-p", "4", "-n", "4", "-r", "1", "-o", "json"),
            ("perplexity", "-m", CHAT_MODEL, "-f", text, "-c", "32", "--chunks", "1"),
            ("inspect", CHAT_MODEL),
            ("inspect", CHAT_MODEL, "--json"),
            ("tokenize", "-m", CHAT_MODEL, "x"),
            ("forward", "-m", MODELS / "mlp-relu.gguf", "--values", "1,2,3,4"),
            ("--help",),
        ):
            with self.subTest(command=command[0], to="a full device"), open("/dev/full", "wb") as full:
                result = metallic(*command, stdout=full)
                self.assertEqual(result.returncode, 1)
                self.assertRegex(result.stderr.decode().splitlines()[-1], "^metallic: .*output")
            with self.subTest(command=command[0], to="nothing"):
                result = metallic(*command, stdout=None, preexec_fn=lambda: os.close(1))
                self.assertEqual(result.returncode, 1)
                self.assertRegex(result.stderr.decode().splitlines()[-1], "^metallic: .*output")

    def test_a_reader_that_goes_away_ends_the_answer(self):
        read, write = os.pipe()
        os.close(read)
        result = metallic("run", "-q", "-m", CHAT_MODEL, "-p", "x", "-n", "50", stdout=write)
        os.close(write)
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"metallic: ", result.stderr)

    def test_every_command_explains_itself_with_an_example(self):
        self.assertGreater(len(COMMANDS), 7)
        for command in ([], *([name] for name in COMMANDS)):
            with self.subTest(command=command):
                self.assertIn(b"Example", self.good(*command, "--help"))


class Run(CommandTest):
    def answer(self, *arguments, **options):
        return self.good("run", "-m", CHAT_MODEL, *arguments, **options)

    def test_greedy_answers_are_the_same_each_time_and_alone_on_stdout(self):
        first = metallic("run", "-m", CHAT_MODEL, "-p", "hello", "--temp", "0", "-n", "12")
        second = metallic("run", "-m", CHAT_MODEL, "-p", "hello", "--temp", "0", "-n", "12", "-t", "1", "-q")
        self.assertEqual(first.returncode, 0)
        self.assertEqual(first.stdout, second.stdout)
        self.assertIn(b"tokens/s", first.stderr)
        self.assertNotIn(b"tokens/s", first.stdout)
        self.assertEqual(second.stderr, b"")

    def test_the_seed_decides(self):
        sample = ["-p", "hello", "--temp", "5", "--top-k", "0", "--top-p", "1", "--min-p", "0", "-n", "12", "--ignore-eos"]
        first = self.answer(*sample, "--seed", "7")
        self.assertEqual(first, self.answer(*sample, "--seed", "7"))
        self.assertNotEqual(first, self.answer(*sample, "--seed", "8"))

    def test_the_length_is_limited(self):
        result = metallic("run", "-m", CHAT_MODEL, "-p", "x", "-n", "5", "--ignore-eos")
        self.assertIn(b"answer 5 tokens", result.stderr)
        self.assertIn(b"answer 0 tokens", metallic("run", "-m", CHAT_MODEL, "-p", "x", "-n", "0").stderr)

    def test_a_stop_text_ends_the_answer_before_it(self):
        options = ["-p", "hello", "--temp", "0", "-n", "12", "--ignore-eos"]
        whole = self.answer(*options).decode(errors="replace").rstrip("\n")
        stop = next((c for c in whole[1:] if c.isascii() and c.isprintable()), None)
        self.assertIsNotNone(stop, whole)
        self.assertEqual(self.answer(*options, "--stop", stop).decode(errors="replace").rstrip("\n"), whole[: whole.index(stop)].rstrip("\n"))

    def test_raw_and_system_prompts_change_the_prompt(self):
        def prompt_tokens(*arguments):
            result = metallic("run", "-m", CHAT_MODEL, "-n", "1", *arguments)
            self.assertEqual(result.returncode, 0, result.stderr)
            return int(re.search(rb"prompt (\d+) tokens", result.stderr)[1])

        raw, chat = prompt_tokens("-p", "hello", "--raw"), prompt_tokens("-p", "hello")
        self.assertLess(raw, chat)
        self.assertLess(chat, prompt_tokens("-p", "hello", "-sys", "be brief"))

    def test_any_text_is_a_prompt(self):
        for prompt in ("-n", "--help", "-", "--prompt=x", "-sys", "a\nb\n", "it's \"quoted\" $HOME `x`", "née 東京 🙂", "<|im_end|>"):
            with self.subTest(prompt=prompt):
                expected = self.answer("-f", self.file("prompt.txt", prompt.encode()), "--temp", "0", "-n", "8")
                self.assertEqual(self.answer("-p", prompt, "--temp", "0", "-n", "8"), expected)
                self.assertEqual(self.answer("-f", "-", "--temp", "0", "-n", "8", stdin=prompt.encode()), expected)

    def test_an_empty_stop_text_takes_no_other_option_with_it(self):
        result = metallic("run", "-m", CHAT_MODEL, "-p", "x", "--stop", "", "-n", "2", "--ignore-eos")
        self.assertIn(b"answer 2 tokens", result.stderr)

    def test_without_a_template_the_prompt_is_used_as_it_is(self):
        result = metallic("run", "-q", "-m", PLAIN_MODEL, "-p", "hello", "-n", "3")
        self.assertEqual(result.returncode, 0)
        self.assertIn(b"no chat template", result.stderr)

    @unittest.skipUnless(MODEL, "METALLIC_MODEL is not set: no model to ask")
    def test_the_default_model_knows_the_capital_of_france(self):
        answer = self.good("run", "-m", MODEL, "-p", "What is the capital of France?", "--temp", "0", "-n", "24")
        self.assertEqual(answer, b"The capital of France is Paris.\n")


class PipedChat(CommandTest):
    def chat(self, *lines, arguments=()):
        text = b"".join(line if isinstance(line, bytes) else line.encode() + b"\n" for line in lines)
        result = metallic("run", "-m", CHAT_MODEL, "-n", "4", "--temp", "0", *arguments, stdin=text)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout, result.stderr.decode(errors="replace")

    def test_commands_answer_on_stderr(self):
        stdout, stderr = self.chat("/?", "/show", "/set temp 1.5", "/set n 2", "/show", "/set nothing 1", "/set n x", "/dance", "/clear", "/bye")
        self.assertEqual(stdout, b"")
        for text in ("/clear", "temp 0 ", "temp 1.5", "n 2", "'nothing' is no setting", "'x' is no value", "/dance is no command", "forgotten"):
            self.assertIn(text, stderr)

    def test_each_line_is_answered_and_the_end_of_input_leaves(self):
        _, stderr = self.chat("hello", "again")
        self.assertEqual(stderr.count("tokens/s | answer"), 2)

    def test_nothing_after_bye_is_answered(self):
        stdout, stderr = self.chat("/bye", "hello")
        self.assertEqual((stdout, stderr.count("| answer")), (b"", 0))

    def test_messages_of_several_lines(self):
        one = self.chat("a\\", "b")[1]
        block = self.chat('"""a', 'b"""')[1]
        for stderr in (one, block):
            self.assertEqual(stderr.count("| answer"), 1)
        self.assertEqual(re.search(r"prompt \d+", one)[0], re.search(r"prompt \d+", block)[0])

    def test_a_bad_message_does_not_end_the_chat(self):
        _, stderr = self.chat(b"\xff\xfe\n", "word " * 600, "fine")
        self.assertIn("not UTF-8", stderr)
        self.assertIn("/clear starts a new conversation", stderr)
        self.assertEqual(stderr.count("| answer"), 1)

    def test_a_conversation_is_remembered_until_it_is_cleared(self):
        _, stderr = self.chat("hello " * 20, "again", "/clear", "hello " * 20)  # the cache keeps whole pages
        sizes = [(int(tokens), int(cached)) for tokens, cached in re.findall(r"prompt (\d+) tokens \((\d+) cached", stderr)]
        self.assertEqual(len(sizes), 3)
        self.assertGreater(sizes[1][0], sizes[0][0])
        self.assertGreater(sizes[1][1], 0)
        self.assertEqual(sizes[2][0], sizes[0][0])

    def test_set_system_begins_a_new_conversation(self):
        _, stderr = self.chat("/set system be brief", "/show")
        self.assertIn("system: be brief", stderr)


class Terminal:
    """The command on a pseudo-terminal."""

    def __init__(self, test, *arguments, home):
        self.output = b""
        environment = {**os.environ, "HOME": str(home), "TERM": "xterm", "LC_ALL": "C.UTF-8"}
        environment.pop("XDG_STATE_HOME", None)
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execve(METALLIC, [METALLIC, *map(str, arguments)], environment)
        test.addCleanup(self.close)
        self.test = test

    def close(self):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.terminal)

    def type(self, text):
        time.sleep(0.3)  # libedit shows its prompt a moment before it takes the terminal over, and control keys could get lost
        os.write(self.terminal, text)

    def wait_for(self, pattern, seconds=60):
        """Reads until `pattern` appears; gives what came and takes it away."""
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.output, re.DOTALL)):
            ready, _, _ = select.select([self.terminal], [], [], max(0, deadline - time.monotonic()))
            self.test.assertTrue(ready, f"no {pattern} in {self.output}")
            try:
                self.output += os.read(self.terminal, 65536)
            except OSError:
                self.test.fail(f"the process ended; no {pattern} in {self.output}")
        text, self.output = self.output[: found.end()], self.output[found.end() :]
        return text

    def end_of_input(self, prompt):
        """Control-D at the prompt."""
        self.wait_for(prompt)
        self.type(b"\x04")

    def exit_status(self, seconds=30):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            ready, _, _ = select.select([self.terminal], [], [], 0.05)
            if ready:
                try:
                    self.output += os.read(self.terminal, 65536)
                except OSError:
                    pass
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
        self.test.fail("the process does not end")


class TerminalChat(CommandTest):
    PROMPT = rb">>> "

    def start(self, *arguments, model=CHAT_MODEL):
        terminal = Terminal(self, "run", "-m", model, "--temp", "0", *arguments, home=self.folder)
        terminal.wait_for(self.PROMPT)
        return terminal

    def test_the_arrow_up_brings_the_last_line_back_also_from_an_earlier_chat(self):
        chat = self.start("-n", "2")
        chat.type(b"/dance\r")
        chat.wait_for(rb"/dance is no command")
        chat.wait_for(self.PROMPT)
        chat.type(b"\x1b[A\r")
        chat.wait_for(rb"/dance is no command")
        chat.type(b"/bye\r")
        self.assertEqual(chat.exit_status(), 0)
        again = self.start("-n", "2")
        again.type(b"\x1b[A\r")
        again.wait_for(rb"/dance is no command|/bye")

    def test_several_lines_are_one_message(self):
        chat = self.start("-n", "2")
        chat.type(b'"""first\r')
        chat.wait_for(rb"\.\.\. ")
        chat.type(b'second"""\r')
        chat.wait_for(rb"\| answer \d+ tokens")
        chat.wait_for(self.PROMPT)

    def test_control_c_stops_an_answer_and_the_chat_goes_on(self):
        model, length = (MODEL, "4000") if MODEL else (CHAT_MODEL, "480")
        chat = self.start("-n", length, "--ignore-eos", "-t", "1", model=model)
        chat.type(b"Tell a very long story.\r")
        chat.wait_for(rb"story\.\r?\n.*?\w")
        time.sleep(0.3 if MODEL else 0)
        chat.type(b"\x03")
        text = chat.wait_for(self.PROMPT)
        if MODEL:
            self.assertIn(b"cancelled", text)
        chat.type(b"/show\r")
        chat.wait_for(rb"messages so far")
        chat.end_of_input(self.PROMPT)
        self.assertEqual(chat.exit_status(), 0)

    def test_control_c_at_the_prompt_says_how_to_leave(self):
        chat = self.start()
        chat.type(b"half a mess\x03")
        chat.wait_for(rb"Ctrl-D or /bye leaves the chat")
        chat.end_of_input(self.PROMPT)
        self.assertEqual(chat.exit_status(), 0)


class Numbers(CommandTest):
    def logits(self, name, suffix, *arguments):
        tokens = numpy.load(MODELS / f"{name}.{suffix}tokens.npy")
        output = self.folder / "logits.npy"
        self.good("logits", "-m", MODELS / f"{name}.gguf", "--tokens", ",".join(map(str, tokens)), "-o", output, *arguments)
        return numpy.load(output), numpy.load(MODELS / f"{name}.{suffix}logits.npy")

    def test_reference_logits_are_those_of_transformers(self):
        names = sorted(path.name.split(".")[0] for path in MODELS.glob("*.short.logits.npy"))
        self.assertGreater(len(names), 7)
        for name in names:
            with self.subTest(name=name):
                ours, golden = self.logits(name, "short.", "--backend", "reference")
                self.assertEqual((ours.dtype, ours.shape), (numpy.float32, golden.shape))
                error = numpy.linalg.norm(ours - golden, axis=1) / numpy.linalg.norm(golden, axis=1)
                self.assertLess(error.max(), 1e-4)

    def test_cpu_logits_are_close_and_the_same_for_any_number_of_threads(self):
        one, golden = self.logits("llama-tied", "", "-t", "1")
        two, _ = self.logits("llama-tied", "", "-t", "2")
        self.assertTrue(numpy.array_equal(one, two))
        self.assertLess(numpy.abs(one - golden).max(), 0.05 * numpy.abs(golden).max())

    def test_logits_with_a_cache_in_fp8_are_near(self):
        half, golden = self.logits("qwen2", "", "--backend", "cpu-f32")
        byte, _ = self.logits("qwen2", "", "--backend", "cpu-f32", "-ctk", "fp8", "-ctv", "f8_e4m3")
        other, _ = self.logits("qwen2", "", "--backend", "reference", "-ctk", "F8_E4M3", "-ctv", "FP8")
        exact, _ = self.logits("qwen2", "", "--backend", "reference")
        size = numpy.linalg.norm(golden)
        self.assertLess(numpy.linalg.norm(half - golden) / size, 5e-3)
        self.assertGreater(numpy.linalg.norm(byte - half) / size, 1e-4)
        self.assertLess(numpy.linalg.norm(byte - golden) / size, 0.1)
        self.assertLess(numpy.linalg.norm(exact - golden) / size, 1e-4)
        self.assertLess(numpy.linalg.norm(byte - other), 0.2 * numpy.linalg.norm(byte - golden))

    def test_perplexity_is_that_of_the_logits(self):
        text = self.file("text.txt", b"The quick brown fox jumps over the lazy dog. " * 6)
        arguments = ("-m", CHAT_MODEL, "-f", text, "-c", "32", "--backend", "reference", "--chunks", "2")
        found = re.fullmatch(rb"perplexity ([\d.]+) \+/- ([\d.]+) \((\d+) tokens scored, 2 windows of 32\)\n", self.good("perplexity", *arguments))
        self.assertIsNotNone(found)
        ids = [int(i) for i in self.good("tokenize", "-m", CHAT_MODEL, "-f", text, "--ids").split()]
        add_bos = json.loads(self.good("inspect", CHAT_MODEL, "--json"))["metadata"].get("tokenizer.ggml.add_bos_token", {}).get("value", False)
        self.assertFalse(add_bos)
        losses = []
        for chunk in range(2):
            window = ids[32 * chunk : 32 * chunk + 32]
            output = self.folder / "window.npy"
            self.good("logits", "-m", CHAT_MODEL, "--backend", "reference", "--tokens", ",".join(map(str, window)), "-o", output)
            logits = numpy.load(output).astype(numpy.float64)
            for position in range(16, 31):
                row = logits[position]
                losses.append(numpy.log(numpy.exp(row - row.max()).sum()) + row.max() - row[window[position + 1]])
        self.assertEqual(int(found[3]), len(losses))
        self.assertAlmostEqual(float(found[1]) / float(numpy.exp(numpy.mean(losses))), 1, places=2)

    def test_bench_prints_a_table_or_json(self):
        options = ("-m", CHAT_MODEL, "-p", "16", "-n", "8", "-r", "2", "-t", "1")
        rows = self.good("bench", *options).decode().splitlines()
        self.assertEqual(len(rows), 4)
        self.assertEqual([row.split("|")[5].strip() for row in rows[2:]], ["pp16", "tg8"])
        figures = json.loads(self.good("bench", *options, "-o", "json"))
        self.assertEqual([entry["test"] for entry in figures], ["pp16", "tg8"])
        for entry in figures:
            self.assertEqual(len(entry["tokens_per_second"]), 2)
            self.assertGreater(min(entry["tokens_per_second"]), 0)
            self.assertGreater(entry["share_of_limit"], 0)

    def test_bench_decodes_several_sequences_at_depth(self):
        options = ("-m", CHAT_MODEL, "-p", "8", "-n", "4", "-r", "1", "-b", "1,3", "-d", "40", "-ub", "7", "-ctk", "fp8", "-ctv", "BF16")
        figures = json.loads(self.good("bench", *options, "--no-repack", "-o", "json"))
        self.assertEqual([entry["test"] for entry in figures], ["pp8@d40", "tg4@d40", "tg4x3@d40"])
        self.assertEqual([entry["sequences"] for entry in figures], [1, 1, 3])
        self.assertGreater(figures[1]["weight_bytes_per_second"], 0)
        self.assertEqual(figures[1]["weight_bytes_per_step"], figures[2]["weight_bytes_per_step"])
        self.assertGreater(figures[1]["read_limit_bytes_per_second"], 0)
        self.assertGreater(figures[0]["operations_per_second"], 0)
        self.assertGreater(figures[0]["dot_limit_operations_per_second"], 0)

    def test_bench_measures_a_shape_without_a_file(self):
        options = ("-p", "2", "-n", "1", "-r", "1", "-o", "json")
        figures = json.loads(self.good("bench", "--shape", "SmolLM2-135M:Q4_K_M", *options))
        self.assertEqual([entry["model"] for entry in figures], ["smollm2-135m:q4_k_m"] * 2)
        self.assertEqual([entry["test"] for entry in figures], ["pp2", "tg1"])
        self.bad("bench", "--shape", "smollm2-135m", says="SHAPE:TYPE")
        self.bad("bench", "--shape", "llama9-1b:q4_0", says="llama3.1-8b")
        self.bad("bench", "--shape", "llama3.1-8b:q4_9", says="Q4_K_M")
        self.bad("bench", "--shape", "qwen2.5-72b:f32", says="GB of memory are free")

    def test_bench_measures_the_start(self):
        (figure,) = json.loads(self.good("bench", "-m", CHAT_MODEL, "--start", "-o", "json"))
        self.assertEqual(figure["test"], "start")
        self.assertGreater(figure["seconds"], 0)
        self.assertGreater(figure["peak_bytes"], 1 << 20)
        self.assertEqual(len(self.good("bench", "-m", CHAT_MODEL, "--start").decode().splitlines()), 3)

    def test_bench_refuses_what_it_cannot_measure(self):
        self.bad("bench", "-m", CHAT_MODEL, "-p", "0", "-n", "0", says="-p and -n")
        self.bad("bench", "-m", CHAT_MODEL, "-ctk", "q4_k", says="Q8_0")
        self.bad("bench", "-m", CHAT_MODEL, "-p", "0", "-n", "1048576", "-b", "4096", says="4294967296 tokens")
        self.bad("bench", "--shape", "smollm2-135m:q4_0", "--start", says="-m")


class Files(CommandTest):
    def test_fp8_is_a_type_of_caches_and_of_no_file(self):
        self.good("run", "-m", CHAT_MODEL, "-p", "Hi", "-n", "4", "-ctk", "fp8", "-ctv", "fp8")
        self.bad("run", "-m", CHAT_MODEL, "-p", "Hi", "-ctk", "f8_e5m2", status=2, says="F8_E4M3")
        output = self.folder / "out.gguf"
        for name in ("f8_e4m3", "fp8"):
            with self.subTest(name=name):
                self.bad("quantize", CHAT_MODEL, output, name, says=name)
                self.bad("quantize", CHAT_MODEL, output, "Q8_0", "--keep", f"output.weight={name}", says="PATTERN=FORMAT")
                self.bad("convert", MODELS.parent / "architectures" / "bert", output, "--type", name, says="q8_0")
                self.assertFalse(output.exists())

    def test_embed_gives_the_embeddings_of_transformers_for_texts(self):
        for name in ("bert", "nomic-bert", "nomic-bert-moe", "jina-bert", "jina-bert-code", "modernbert"):
            folder, model = MODELS.parent / "architectures" / name, self.folder / f"{name}.gguf"
            self.good("convert", folder, model)
            for one, golden in zip(json.loads((folder / "encodings.json").read_text()), numpy.load(folder / "embeddings.npy")):
                options = ["--device", "cpu-f32", "--pooling", "mean"]
                printed = numpy.array(self.good("embed", "-m", model, *options, "-p", one["text"]).split(), float)
                self.assertLessEqual(numpy.linalg.norm(printed - golden), 1e-4 * numpy.linalg.norm(golden), one["text"])

    def test_inspect_lists_the_architectures_of_the_documentation(self):
        table = self.good("inspect", "--architectures").decode()
        self.assertIn("| llama |", table)
        self.assertIn("\n" + table + "\n", (MODELS.parents[2] / "docs" / "architectures.md").read_text())

    def test_inspect_shows_metadata_and_tensors(self):
        self.assertIn(b"architecture    llama", self.good("inspect", CHAT_MODEL))
        self.assertIn(b"token_embd.weight", self.good("inspect", CHAT_MODEL, "--tensors"))
        report = json.loads(self.good("inspect", CHAT_MODEL, "--json"))
        self.assertEqual(report["metadata"]["general.architecture"]["value"], "llama")

    def test_tokens_and_text_are_inverse(self):
        for model in (CHAT_MODEL, MODELS / "llama-linear.gguf"):
            for text in ("Hello, world", "née 東京 🙂\n\ttabs", "-n", ""):
                with self.subTest(model=model.name, text=text):
                    ids = self.good("tokenize", "-m", model, "--ids", "--no-bos", stdin=text.encode())
                    self.assertRegex(ids, rb"^[0-9 ]*\n$")
                    self.assertEqual(self.good("tokenize", "-m", model, "--decode", stdin=ids), text.encode())

    def test_text_is_limited(self):
        with open("/dev/zero", "rb") as zeros:
            self.bad("tokenize", "-m", CHAT_MODEL, stdin=zeros, says="standard input: is longer")

    def test_dequantize_gives_the_shape_in_numpys_order(self):
        output = self.folder / "t.npy"
        self.good("dequantize", MODELS / "mlp-relu.gguf", self.first_matrix(), "-o", output)
        array = numpy.load(output)
        self.assertEqual((array.dtype, array.shape), (numpy.float32, (8, 4)))
        self.assertTrue(numpy.array_equal(array * 4, numpy.round(array * 4)))

    def first_matrix(self):
        report = json.loads(self.good("inspect", MODELS / "mlp-relu.gguf", "--json"))
        return next(tensor["name"] for tensor in report["tensors"] if tensor["name"].endswith("weight"))

    def test_forward_gives_the_outputs_of_torch(self):
        output = self.folder / "out.npy"
        self.good("forward", "-m", MODELS / "mlp-relu.gguf", "--input", MODELS / "mlp-relu.input.npy", "-o", output)
        self.assertTrue(numpy.array_equal(numpy.load(output), numpy.load(MODELS / "mlp-relu.output.npy")))


if __name__ == "__main__":
    unittest.main()
