#!/usr/bin/env python3
"""Writes tests/data/tokenizer/NAME.json: small vocabularies, and the ids that outside tokenizers give for them.

    pip install tokenizers==0.23.3 sentencepiece==0.2.3
    tools/make-tokenizer-golden.py [NAME...]

Byte-level BPE and WordPiece are trained and run by Hugging Face tokenizers, the first with each pre-tokeniser's published
expression; "spm" and "unigram" by sentencepiece. "rwkv" has no package: its few lines stand here. Every case has a text, its ids
with special tokens parsed, and, where they differ, its ids as plain text. bert-text.json has, for every 4,096 code points, a hash of what
BERT makes of each of them inside a word; pieces.json has how many bytes the pieces have that each published expression cuts.
"""
import base64
import io
import json
import pathlib
import random
import re
import sys
import tempfile

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

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


BERT_WORDS = ["Größe", "ÉTÉ", "naïve", "İstanbul", "ΑΣ", "Ａｂｃ", "한국어", "ガギグ", "東京", "x²", "a\u0301", "\u00ad", "\x00", "\x7f", "\u200b",
              "\ufeff", "\ufffd", "[unused1]", "##ing", "unknowable", "don't", "$5.00", "^_^", "～", "—", "\u2581", "\u1ec1", "a" * 99, "a" * 100,
              "a" * 101, "é" * 100, "é" * 101, "\U0001f600", "\ue000", "\u0378"]


def word_texts(seed, count):
    rng = random.Random(seed)
    cases = texts(seed)[:-4] + BERT_WORDS + ["", "  ", "[CLS] a [SEP]", "a[MASK]b", "[cls]", "#" * 10]
    for _ in range(count):
        parts = [rng.choice([rng.choice(BERT_WORDS), rng.choice(PIECES), rng.choice(SENTENCES)[:rng.randrange(1, 30)],
                             chr(rng.randrange(0x20, 0x3000))]) for _ in range(rng.randrange(1, 8))]
        cases.append(rng.choice(["", " "]).join(parts))
    return cases


def bert(lowercase, strip_accents):
    return normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=strip_accents, lowercase=lowercase)


def make_word_piece(name, lowercase, strip_accents):
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = bert(lowercase, strip_accents), pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=900, special_tokens=special + ["[unused1]"], show_progress=False)
    tokenizer.train_from_iterator(corpus() + ["가각힣 ᄀ ᅡ ᆨ 한국어"] * 3, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    model["vocab"] |= {"▁": len(model["vocab"]), "##▁": len(model["vocab"]) + 1}
    tokenizer.model = models.WordPiece(model["vocab"], unk_token="[UNK]")
    tokenizer.add_special_tokens([AddedToken(text, normalized=False) for text in special])
    plain = Tokenizer(tokenizer.model)
    plain.normalizer, plain.pre_tokenizer = tokenizer.normalizer, tokenizer.pre_tokenizer

    def phantom(token):
        return token if token[0] == "[" and token[-1] == "]" else token[2:] if token.startswith("##") else "▁" + token

    tokens = sorted(model["vocab"], key=model["vocab"].get)
    cases = []
    for text in word_texts(11, 350):
        ids, plain_ids = tokenizer.encode(text).ids, plain.encode(text).ids
        cases.append({"text": text, "ids": ids} if ids == plain_ids else {"text": text, "ids": ids, "plain_ids": plain_ids})
    write(name, {"kind": "word_piece", "lowercase": lowercase, "strip_accents": strip_accents, "tokens": [phantom(t) for t in tokens],
                 "types": [CONTROL if t in special or t == "[unused1]" else NORMAL for t in tokens], "unknown": 1, "cases": cases})


def fnv(data, value=0xcbf29ce484222325):
    for byte in data:
        value = (value ^ byte) * 0x100000001b3 & (1 << 64) - 1
    return value


def make_bert_text():
    golden = []
    for lowercase, strip in ((True, True), (False, False), (True, False), (False, True)):
        normalizer, pre_tokenizer, hashes = bert(lowercase, strip), pre_tokenizers.BertPreTokenizer(), []
        for block in range(0, 0x110000, 4096):
            words = ""
            for c in range(block, block + 4096):
                if not 0xd800 <= c < 0xe000:
                    pieces = pre_tokenizer.pre_tokenize_str(normalizer.normalize_str("a" + chr(c) + "B"))
                    words += "".join(" " + piece for piece, _ in pieces)
            hashes.append(f"{fnv(words.encode()):x}")
        golden.append({"lowercase": lowercase, "strip_accents": strip, "hashes": hashes})
    write("bert-text", golden)


RULES = {"ﬁ": "fi", "①": "1", "Ａ": "A", "ａ": "a", "　": " ", "\u00a0": " ", "\t": " ", "\n": " ", "\r": " ", "\u200b": "", "\u00ad": "",
         "e\u0301": "é", "a\u0300": "à", "u\u0308\u0304": "ǖ", "u\u0308": "ü", "½": "1⁄2", "～": "~", "㌀": "アパート", "…": "...", "¨": " \u0308"}


def make_unigram(name, byte_fallback=False, extra_spaces=False, suffix=False):
    model = io.BytesIO()
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as rules:
        for source, target in RULES.items():
            rules.write("\t".join(" ".join(f"{ord(c):X}" for c in part) for part in (source, target)) + "\n")
        rules.flush()
        sentencepiece.SentencePieceTrainer.Train(
            sentence_iterator=iter([line for text in corpus() for line in text.split("\n") if line]), model_writer=model, vocab_size=700,
            model_type="unigram", byte_fallback=byte_fallback, character_coverage=0.98, normalization_rule_tsv=rules.name,
            remove_extra_whitespaces=not extra_spaces, treat_whitespace_as_suffix=suffix, minloglevel=2)
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    ids = range(processor.GetPieceSize())

    def kind(i):
        if processor.IsUnknown(i):
            return UNKNOWN
        return CONTROL if processor.IsControl(i) else BYTE if processor.IsByte(i) else NORMAL

    keys = "".join(RULES)
    rng = random.Random(5)
    cases = word_texts(13, 200) + ["".join(rng.choice(keys + " aeu\u0301\u0308\u0304") for _ in range(12)) for _ in range(150)]
    write(name, {"kind": "unigram", "tokens": [processor.IdToPiece(i) for i in ids], "types": [kind(i) for i in ids],
                 "scores": [processor.GetScore(i) for i in ids], "unknown": processor.unk_id(), "remove_extra_spaces": not extra_spaces,
                 "space_as_suffix": suffix, "character_map": base64.b64encode(character_map(model.getvalue())).decode(),
                 "cases": [{"text": text, "ids": processor.EncodeAsIds(text)} for text in cases if "\x00" not in text]})


def fields(message):
    """The fields of a protobuf message that have a length: number -> bytes."""
    found, at = {}, 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte, at = message[at], at + 1
            value, shift = value | (byte & 0x7f) << shift, shift + 7
            if byte < 0x80:
                return value

    while at < len(message):
        key = varint()
        if key & 7 == 2:
            size = varint()
            found[key >> 3] = message[at:at + size]
            at += size
        elif key & 7 == 0:
            varint()
        else:
            at += {1: 8, 5: 4}[key & 7]
    return found


def character_map(model):
    return fields(fields(model)[3])[2]  # ModelProto.normalizer_spec.precompiled_charsmap


def make_rwkv():
    words = {bytes([i]) for i in range(256)} | {w.encode() for text in SENTENCES for w in re.findall(r" ?\w+|[^\w]+", text)}
    words |= {text.encode()[i:i + n] for text in SENTENCES for i in range(0, 60, 7) for n in (2, 3, 5)}
    tokens = [b""] + sorted(words)
    id_of = {token: i for i, token in enumerate(tokens)}

    def encode(data):
        ids = []
        while data:
            longest = max(n for n in range(1, len(data) + 1) if data[:n] in id_of)
            ids.append(id_of[data[:longest]])
            data = data[longest:]
        return ids

    cases = [{"text": text, "ids": encode(text.encode())} for text in texts(17)]
    write("rwkv", {"kind": "longest_match", "tokens": ["<s>"] + [repr(token)[2:-1] for token in tokens[1:]],
                   "types": [CONTROL] + [NORMAL] * (len(tokens) - 1), "unknown": -1, "cases": cases})


GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
DEEPSEEK_V3 = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|"
               r"\s*[\r\n]+|\s+(?!\S)|\s+")
BLOOM = r" ?[^(\s|.,!?…。，、।۔،)]+"


def cased(contraction, number, behind="[\r\n/]", without=""):
    lead, follow = (rf"[{case}\p{{Lm}}\p{{Lo}}\p{{M}}{without}]" for case in (r"\p{Lu}\p{Lt}", r"\p{Ll}"))
    before = r"[^\r\n\p{L}\p{N}]?"
    return (rf"{before}{lead}*{follow}+{contraction}|{before}{lead}+{follow}*{contraction}|{number}| ?[^\s\p{{L}}\p{{N}}]+{behind}*|"
            r"\s*[\r\n]+|\s+(?!\S)|\s+")


PUBLISHED = {
    "llama-bpe": [LLAMA3.format(number=r"\p{N}{1,3}")],
    "qwen2": [LLAMA3.format(number=r"\p{N}")],
    "qwen35": [CONTRACTION + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"],
    "gpt-2": [GPT2],
    "starcoder": [r"\p{N}", GPT2],
    "deepseek-llm": [r"[\r\n]", deepseek_llm_letters(), r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", EAST_ASIAN, r"\p{N}+"],
    "deepseek-coder": [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", EAST_ASIAN, r"\p{N}"],
    "deepseek-v3": [r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+", DEEPSEEK_V3],
    "gpt-4o": [cased(CONTRACTION + "?", r"\p{N}{1,3}")],
    "tekken": [cased("", r"\p{N}")],
    "kimi-k2": [r"[\p{Han}]+|" + cased(CONTRACTION + "?", r"\p{N}{1,3}", "[\r\n]", r"&&[^\p{Han}]")],
    "youtu": ["[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥\u3040-ゟ゠-ヿ]+", cased(CONTRACTION + "?", r"\p{N}")],
    "bailingmoe": [r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"],
    "seed-coder": [CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"],
    "ufakzeka": [r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"],
    "laguna": [r"[^\n]+|[\n]+", LLAMA3.format(number=r"\p{N}")],
    "minicpm5": [r"\p{N}{1,3}", LLAMA3.format(number=r"\p{N}+")],
    "falcon": [r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"],
    "superbpe": [r"\p{N}+", r"(?=(\d{3})+(?!\d))"],
    "afmoe": [r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))", "[一-鿿㐀-䶿\uf900-\ufaff\u3040-ゟ゠-ヿ･-ﾟ\u2f00-\u2fdfเ-\u0e7f\u0e80-\u0effក-\u17ffက-႟ꩠ-ꩿ"
              "ꧠ-\ua9ff가-\ud7afᄀ-ᇿ]+", DEEPSEEK_V3],
    "bloom": [BLOOM],
    "viking": [BLOOM, r"\p{N}"],
}


def make_pieces():
    cased_words = ["iPhone's", "ABCdef", "camelCaseHTTPServer", "12345678", "1234567½12", "中文ABCd", "ǅaǅ", "a\u0301B\u0301c", " /path//to\r\n/", "don'T", "ʰAb", "a  12",
                   "日本語テキスト", "１２３４", "x.y,z!", "\n\n  a"]
    cases = texts(23)[:-4] + cased_words + [a + b for a in cased_words for b in (" ", "'ll", "日", "9")]
    pieces = {}
    for name, expressions in PUBLISHED.items():
        split = pre_tokenizers.Sequence([isolated(expression) for expression in expressions])
        pieces[name] = [[len(text[b:e].encode()) for _, (b, e) in split.pre_tokenize_str(text)] for text in cases]
    write("pieces", {"texts": cases, "pieces": pieces})


MAKERS = {name: lambda name=name, seed=seed: make_bpe(name, seed)
          for seed, name in enumerate(["gpt-2", "llama-bpe", "qwen2", "smollm", "deepseek-llm", "deepseek-coder"])} | {
    "spm": make_spm,
    "bert-uncased": lambda: make_word_piece("bert-uncased", True, True),
    "bert-cased": lambda: make_word_piece("bert-cased", False, False),
    "bert-text": make_bert_text,
    "unigram": lambda: make_unigram("unigram"),
    "unigram-bytes": lambda: make_unigram("unigram-bytes", byte_fallback=True, extra_spaces=True),
    "unigram-suffix": lambda: make_unigram("unigram-suffix", suffix=True),
    "rwkv": make_rwkv,
    "pieces": make_pieces,
}

if __name__ == "__main__":
    for wanted in sys.argv[1:] or MAKERS:
        MAKERS[wanted]()
