"""Tiny tokenizers as Hugging Face folders hold them: byte-level BPE with the pre-tokenizers of released models,
SentencePiece as Llama 2 and Gemma have it (tokenizer.json and tokenizer.model), and BERT's WordPiece.

Each `make` function returns (tokenizers.Tokenizer, dict for tokenizer_config.json, named special ids).
"""

import collections
import io
import re
import struct
import tempfile

import tiny_vocab
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SENTENCES = [
    "The cat sat on the mat and the dog sat on the cat.",
    "In the beginning there was nothing, and then there was the sound of rain on the roof.",
    "She said that the other one is better than the first; he didn't answer.",
    "Numbers: 1, 22, 333, 4444 and 1999. Another line\nand another\n\nend.",
    "int main() { return 0; }  // nothing is done here",
]
TEXTS = [  # encoded by `tokenizers` as the golden of the tokenizer itself
    "The cat sat on the mat.",
    " in the end, there was   nothing\n\n  there 12345 67",
    "naïve café — 東京 🙂 don't we'll IT'S",
    "int main() {\n\treturn 0;\n}",
]

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
GPT4O = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DEEPSEEK3_WORD = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def llama3_like(number):
    return (
        CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|" + number + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )


def split(pattern):
    return pre_tokenizers.Split(Regex(pattern), behavior="isolated", invert=False)


def byte_level(regex=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=regex)


def pre_tokenizer(kind):
    digits = pre_tokenizers.Digits(individual_digits=True)
    stages = {
        "gpt2": [byte_level(True)],
        "llama3": [split(llama3_like(r"\p{N}{1,3}")), byte_level()],
        "qwen2": [split(llama3_like(r"\p{N}")), byte_level()],
        "digits": [digits, byte_level(True)],  # SmolLM, StarCoder, Granite, Command-R
        "gpt4o": [split(GPT4O), byte_level()],
        "deepseek3": [split(r"\p{N}{1,3}"), split("[一-龥\u3040-ゟ゠-ヿ]+"), split(DEEPSEEK3_WORD), byte_level()],
    }[kind]
    return stages[0] if len(stages) == 1 else pre_tokenizers.Sequence(stages)


def special_tokens(tokens):
    return [AddedToken(t, special=True, normalized=False) for t in tokens]


def added_tokens(tokenizer):
    entry = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    return {str(i): {"content": t.content} | entry for i, t in tokenizer.get_added_tokens_decoder().items()}


def byte_bpe(size, kind, bos, eos, more=(), add_bos=False, tokenizer_class="PreTrainedTokenizerFast", nfc=False):
    """`size` tokens: 256 bytes, merges learnt from SENTENCES, and last the special tokens, as in released models."""
    special = list(dict.fromkeys([t for t in (bos, eos, *more) if t]))
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer(kind)
    tokenizer.decoder = decoders.ByteLevel()
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size - len(special), initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.add_special_tokens(special_tokens(special))
    ids = {"bos": tokenizer.token_to_id(bos) if bos else None, "eos": tokenizer.token_to_id(eos)}
    if add_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, ids["bos"])]
        )
    config = {
        "added_tokens_decoder": added_tokens(tokenizer),
        "bos_token": bos,
        "eos_token": eos,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 512,
        "tokenizer_class": tokenizer_class,
    }
    if "<|im_start|>" in special:
        config["chat_template"] = tiny_vocab.CHATML
    return tokenizer, config, ids


def bpe_of_pieces(vocab):
    """Merges that build each piece from two others, the better scores first: what converting SentencePiece gives."""
    ranks = {t: i for i, t in enumerate(vocab.tokens)}
    merges = []
    for piece in (t for t, kind in zip(vocab.tokens, vocab.types) if kind == 1 and len(t) > 1):
        cuts = [(piece[:i], piece[i:]) for i in range(1, len(piece)) if piece[:i] in ranks and piece[i:] in ranks]
        merges += sorted(cuts, key=lambda c: (ranks[c[0]], ranks[c[1]]))
    return models.BPE(vocab=ranks, merges=merges, fuse_unk=True, byte_fallback=True, unk_token="<unk>")


def sentence_piece(size, gemma=False):
    vocab = tiny_vocab.gemma(size) if gemma else tiny_vocab.sentence_piece(size)
    tokenizer = Tokenizer(bpe_of_pieces(vocab))
    replace = normalizers.Replace(" ", "\u2581")
    bos, eos = ("<bos>", "<eos>") if gemma else ("<s>", "</s>")
    # Both forms that released Llama 2 and Gemma folders have.
    if gemma:
        tokenizer.normalizer = replace
        tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", behavior="merged_with_previous", invert=False)
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
        )
    else:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), replace])
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        )
    control = [t for t, kind in zip(vocab.tokens, vocab.types) if kind in (2, 3)]
    tokenizer.add_special_tokens(special_tokens(control))
    ids = {"bos": vocab.special["bos"], "eos": vocab.special["eos"]}
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, ids["bos"])]
    )
    config = {
        "add_bos_token": True,
        "add_eos_token": False,
        "added_tokens_decoder": added_tokens(tokenizer),
        "bos_token": bos,
        "eos_token": eos,
        "unk_token": "<unk>",
        "clean_up_tokenization_spaces": False,
        "model_max_length": 512,
        "tokenizer_class": "GemmaTokenizer" if gemma else "LlamaTokenizer",
    }
    config |= {"pad_token": "<pad>", "chat_template": vocab.chat_template} if gemma else {"legacy": True}
    return tokenizer, config, ids


def word_piece(size):
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = re.findall(r"\w+|[^\w\s]", " ".join(SENTENCES).lower())
    letters = sorted(set("".join(words)))
    counted = collections.Counter(w for w in words if len(w) > 2)
    common = [w for w, _ in counted.most_common(20)] + ["##ing", "##er", "##ed", "##th"]
    tokens = special + letters + ["##" + c for c in letters if c.isalnum()] + common
    tokens = (tokens + [f"[unused{i}]" for i in range(size)])[:size]
    vocab = {t: i for i, t in enumerate(tokens)}
    assert len(vocab) == size
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(special_tokens(special))
    ids = {"cls": 2, "sep": 3}
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    config = {
        "added_tokens_decoder": added_tokens(tokenizer),
        "clean_up_tokenization_spaces": True,
        "do_lower_case": True,
        "mask_token": "[MASK]",
        "model_max_length": 64,
        "strip_accents": None,
        "tokenize_chinese_chars": True,
        "tokenizer_class": "BertTokenizer",
    }
    return tokenizer, config | names, ids


# Characters and what XLM-RoBERTa's normaliser makes of them, and more.
RULES = {"\t": " ", "\n": " ", "\u3000": " ", "ﬁ": "fi", "Ａ": "A", "½": "1⁄2", "e\u0301": "é", "…": "...", "\u200b": ""}


def unigram_pieces(size):
    """Pieces, scores and the precompiled character map of a sentencepiece model trained on SENTENCES."""
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2

    model = io.BytesIO()
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as rules:
        for source, target in RULES.items():
            rules.write("\t".join(" ".join(f"{ord(c):X}" for c in part) for part in (source, target)) + "\n")
        rules.flush()
        sentencepiece.SentencePieceTrainer.Train(
            sentence_iterator=iter([line for text in SENTENCES for line in text.split("\n") if line]),
            model_writer=model,
            model_type="unigram",
            vocab_size=size,
            hard_vocab_limit=False,
            normalization_rule_tsv=rules.name,
            minloglevel=2,
        )
    proto = sentencepiece_model_pb2.ModelProto.FromString(model.getvalue())
    return [(p.piece, p.score) for p in proto.pieces if p.type == 1], proto.normalizer_spec.precompiled_charsmap


def unigram(size):
    """As XLM-RoBERTa: four special tokens in front, <mask> behind, pieces between."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces, character_map = unigram_pieces(size - 5)
    vocab = [(t, 0.0) for t in special] + pieces
    vocab += [(f"<unused{i}>", -99.0) for i in range(size - len(vocab) - 1)] + [("<mask>", 0.0)]
    assert len(vocab) == size
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=3))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Precompiled(character_map), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer.add_special_tokens(special_tokens([*special, "<mask>"]))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    names = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>"}
    names |= {"pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}
    config = {
        "added_tokens_decoder": added_tokens(tokenizer),
        "clean_up_tokenization_spaces": True,
        "model_max_length": 128,
        "tokenizer_class": "XLMRobertaTokenizer",
    }
    return tokenizer, config | names, {"cls": 0, "sep": 2}


# --- tokenizer.model: sentencepiece's ModelProto, written with protobuf's wire format ---------------------------------


def varint(n):
    out = b""
    while n > 0x7F:
        out, n = out + bytes([n & 0x7F | 0x80]), n >> 7
    return out + bytes([n])


def number(field, n):
    return varint(field << 3) + varint(n)


def message(field, payload):
    return varint(field << 3 | 2) + varint(len(payload)) + payload


def sentence_piece_model(vocab):
    """sentencepiece_model.proto: 1 = pieces {1 piece, 2 score, 3 type}, 2 = trainer, 3 = normalizer."""
    out = b""
    for token, score, kind in zip(vocab.tokens, vocab.scores, vocab.types):
        piece = message(1, token.encode()) + varint(2 << 3 | 5) + struct.pack("<f", score)
        out += message(1, piece + (number(3, int(kind)) if kind != 1 else b""))
    # 3 model_type = 2 (BPE), 4 vocab_size, 35 byte_fallback; 40 to 43 ids and 45 to 48 pieces of unk, bos, eos, pad
    ids = vocab.special
    trainer = number(3, 2) + number(4, len(vocab.tokens)) + number(35, 1)
    for i, name in enumerate(("unk", "bos", "eos", "pad")):
        if name in ids:
            trainer += number(40 + i, ids[name]) + message(45 + i, vocab.tokens[ids[name]].encode())
    # 1 name, 3 add_dummy_prefix, 4 remove_extra_whitespaces, 5 escape_whitespaces
    dummy_prefix = 0 if vocab.add_space_prefix is False else 1
    normalizer = message(1, b"identity") + number(3, dummy_prefix) + number(4, 0) + number(5, 1)
    return out + message(2, trainer) + message(3, normalizer)
