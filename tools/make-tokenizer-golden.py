#!/usr/bin/env python3
"""Writes tests/data/tokenizer/NAME.json: small vocabularies, and the ids that outside tokenizers give for them.

    pip install tokenizers==0.23.3 sentencepiece==0.2.3
    tools/make-tokenizer-golden.py

Byte-level BPE is trained and run by Hugging Face tokenizers with each pre-tokeniser's published expression; "spm" by
sentencepiece. Every case has a text, its ids with special tokens parsed, and, where they differ, its ids as plain text.
"""
import io
import json
import pathlib
import random
import re

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers, trainers

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "tests/data/tokenizer"
CONTROL, USER_DEFINED, NORMAL, UNKNOWN, BYTE = 3, 4, 1, 2, 6
SPECIAL = {"<|im_start|>": CONTROL, "<|im_end|>": CONTROL, "<|im|>": CONTROL, "<tool>": USER_DEFINED, "  <tool>": USER_DEFINED}

SENTENCES = """The quick brown fox jumps over the lazy dog; it doesn't care, they're sure we'll see 1234567 of them in 2024.
I've said: "Don't!" and he'd answered: 'It's 3.14159, isn't it?' WE'LL SEE, THEY'RE HERE, I'M SURE.
Der schnelle braune Fuchs springt über den faulen Hund. Größe, Straße, Mädchen; 12.345,67 Euro.
Le cœur déçu mais l'âme plutôt naïve, Louÿs rêva de crapaüter en canoë au-delà des îles.
Съешь же ещё этих мягких французских булок, да выпей чаю. Нещо на Български 42.
敏捷的棕色狐狸跳过了懒狗。我想在apple工作1314151天～ 他说：“你好！”
いろはにほへと ちりぬるを。カタカナ、ひらがな、漢字。한국어 문장도 있습니다.
नमस्ते दुनिया, यह एक परीक्षण है। กาลครั้งหนึ่งนานมาแล้ว שלום עולם مرحبا بالعالم ٣٤٥
😀 🚀🚀 👨‍👩‍👧 ✅ 🦙 (emoji) ½ Ⅷ ² ①""".split("\n")

PIECES = [" ", " ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", "\u00a0", "\u3000", "\u2028", "'s", "'S", "'re", "'VE", "'ll", "'", "1",
          "23", "4567", "½", "٣", "a", "Hello", "foo_bar", " the", "DEF", "é", "e\u0301", "бу", "!", "(", "...", "->", "`", "$",
          "+=", "“", "。", "！", "±", "我想", "あい", "한국", "กำ", "नमस्", "😀", "👨\u200d👩", "\ufe0f", "\u200b", " return", "();\n", "    "]

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{number}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|"
          r"\s+(?!\S)|\s+")
EAST_ASIAN = "[一-龥ࠀ-一가-\ud7ff]+"


def isolated(expression):
    return pre_tokenizers.Split(Regex(expression), "isolated")


def byte_level(use_regex=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)


def deepseek_llm_letters():
    """The expression is long; the property test has it, from the model's tokenizer.json."""
    source = (ROOT / "src/tokenizer/pretokenize_test.cc").read_text()
    return re.search(r'R"\((\\s\?\[A-Za-zµ.*?)\)"', source).group(1)


def pre_tokenizer(name):
    digits = pre_tokenizers.Digits(individual_digits=True)
    stages = {
        "gpt-2": [byte_level(True)],
        "llama-bpe": [isolated(LLAMA3.format(number=r"\p{N}{1,3}")), byte_level()],
        "qwen2": [isolated(LLAMA3.format(number=r"\p{N}")), byte_level()],
        "smollm": [digits, byte_level(True)],
        "deepseek-llm": [isolated(r"[\r\n]"), isolated(deepseek_llm_letters()), isolated(r"\s?[!-/:-~！-／：-～‘-‟　-。]+"),
                         isolated(r"\s+$"), isolated(EAST_ASIAN), digits, byte_level()],
        "deepseek-coder": [isolated(r"[\r\n]"), isolated(r"\s?\p{L}+"), isolated(r"\s?\p{P}+"), isolated(EAST_ASIAN), digits,
                           byte_level()],
    }
    return pre_tokenizers.Sequence(stages[name])


def corpus():
    sources = sorted((ROOT / "src/base").glob("*.cc")) + sorted((ROOT / "src/base").glob("*.h"))
    return SENTENCES * 4 + [path.read_text() for path in sources]


def texts(seed):
    rng = random.Random(seed)
    cases = ["", " ", "\n", "a", *SENTENCES]
    for _ in range(50):
        text = ""
        for _ in range(rng.randrange(1, 24)):
            code_point = rng.choice([rng.randrange(1, 0x80), rng.randrange(0xa0, 0x500), rng.randrange(0x900, 0xd700)])
            text += chr(code_point) if rng.random() < 0.1 else rng.choice(PIECES)
        cases.append(text)
    cases += ["<|im_start|>user\nHi<|im_end|>", "a<tool>b  <tool>   <tool>", "<|im<|im|>|im_end|>", "<|im_end|><|im_end|> "]
    return cases


def write(name, golden):
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / f"{name}.json").write_text(json.dumps(golden, ensure_ascii=False, separators=(",", ":")) + "\n")


def make_bpe(name, seed):
    tokenizer = Tokenizer(models.BPE(ignore_merges=name == "llama-bpe"))
    tokenizer.pre_tokenizer = pre_tokenizer(name)
    trainer = trainers.BpeTrainer(vocab_size=700, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    types = [NORMAL] * len(tokens) + list(SPECIAL.values())
    tokens += SPECIAL
    plain = Tokenizer.from_str(tokenizer.to_str())
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in SPECIAL])
    # The same ids: plain knows no control tokens, so that its user-defined ones are counted from an earlier id.
    defined = [text for text, kind in SPECIAL.items() if kind == USER_DEFINED]
    plain.add_tokens([AddedToken(text, normalized=False) for text in defined])
    renumber = {plain.token_to_id(text): tokenizer.token_to_id(text) for text in defined}
    cases = []
    for text in texts(seed):
        ids = tokenizer.encode(text).ids
        plain_ids = [renumber.get(i, i) for i in plain.encode(text).ids]
        cases.append({"text": text, "ids": ids} if ids == plain_ids else {"text": text, "ids": ids, "plain_ids": plain_ids})
    write(name, {"kind": "bpe", "pre_tokenizer": name, "ignore_merges": name == "llama-bpe", "tokens": tokens, "types": types,
                 "merges": [" ".join(merge) for merge in model["merges"]], "cases": cases})


def make_spm():
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter([line for text in corpus() for line in text.split("\n") if line]), model_writer=model, vocab_size=900,
        model_type="bpe", byte_fallback=True, character_coverage=0.98, normalization_rule_name="identity",
        remove_extra_whitespaces=False, split_digits=True, allow_whitespace_only_pieces=True, minloglevel=2)
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    ids = range(processor.GetPieceSize())

    def kind(i):
        if processor.IsUnknown(i):
            return UNKNOWN
        return CONTROL if processor.IsControl(i) else BYTE if processor.IsByte(i) else NORMAL

    cases = [{"text": text, "ids": processor.EncodeAsIds(text)} for text in texts(7)]
    write("spm", {"kind": "spm", "tokens": [processor.IdToPiece(i) for i in ids], "types": [kind(i) for i in ids],
                  "scores": [processor.GetScore(i) for i in ids], "cases": cases})


if __name__ == "__main__":
    for index, pre in enumerate(["gpt-2", "llama-bpe", "qwen2", "smollm", "deepseek-llm", "deepseek-coder"]):
        make_bpe(pre, index)
    make_spm()
