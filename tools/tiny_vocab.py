"""Small valid vocabularies for test models: byte-level BPE, and SentencePiece as Llama 2 and Gemma have it.

Each has exactly as many tokens as asked for: single bytes and a few merges, the rest unused tokens.
"""

import dataclasses

from gguf import GGUFWriter, TokenType

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\\n' }}"
    "{{ message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)
WORDS = ["th", "the", "in", "an", "and", "on", "er"]  # built letter by letter, in this order


@dataclasses.dataclass
class TinyVocab:
    model: str  # tokenizer.ggml.model
    tokens: list
    types: list
    pre: str | None = None
    merges: list | None = None
    scores: list | None = None
    special: dict = dataclasses.field(default_factory=dict)  # "bos", "eos", "unk", "pad", "eot" -> id
    add_bos: bool = False
    add_space_prefix: bool | None = None
    chat_template: str | None = None

    def write(self, w: GGUFWriter):
        w.add_tokenizer_model(self.model)
        if self.pre:
            w.add_tokenizer_pre(self.pre)
        w.add_token_list(self.tokens)
        if self.scores:
            w.add_token_scores(self.scores)
        w.add_token_types(self.types)
        if self.merges:
            w.add_token_merges(self.merges)
        for name, token in self.special.items():
            getattr(w, f"add_{name}_token_id")(token)
        w.add_add_bos_token(self.add_bos)
        w.add_add_eos_token(False)
        if self.add_space_prefix is not None:
            w.add_add_space_prefix(self.add_space_prefix)
        if self.chat_template:
            w.add_chat_template(self.chat_template)


def byte_alphabet():
    """GPT-2's printable character for each byte: the byte itself where Latin-1 prints it, else the next from U+0100."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(0x100, 0x200))
    return [chr(b if b in printable else next(others)) for b in range(256)]


def pad_tokens(tokens, types, size):
    assert len(tokens) <= size, f"{len(tokens)} tokens do not fit in a vocabulary of {size}"
    while len(tokens) < size:
        tokens.append(f"<unused{len(tokens)}>")
        types.append(TokenType.UNUSED)


def byte_level(size, chat=False):
    tokens, merges = byte_alphabet(), []
    space = tokens[ord(" ")]
    for word in WORDS:
        merges.append(f"{word[:-1]} {word[-1]}")
        tokens.append(word)
    merges.append(f"{space} the")
    tokens.append(space + "the")
    types = [TokenType.NORMAL] * len(tokens)
    special = {"bos": len(tokens), "eos": len(tokens) + (2 if chat else 0)}
    control = ["<|endoftext|>"] + (["<|im_start|>", "<|im_end|>"] if chat else [])
    tokens += control
    types += [TokenType.CONTROL] * len(control)
    pad_tokens(tokens, types, size)
    return TinyVocab(
        "gpt2", tokens, types, pre="gpt-2", merges=merges, special=special, chat_template=CHATML if chat else None
    )


def pieces():
    """Letters, then words, as SentencePiece scores them: the earlier, the better."""
    found = ["\u2581", *"taheinodrs", *WORDS, "\u2581t", "\u2581the", "\u2581a"]
    return found, [-float(i) for i in range(len(found))], [TokenType.NORMAL] * len(found)


def byte_tokens():
    return [f"<0x{b:02X}>" for b in range(256)], [0.0] * 256, [TokenType.BYTE] * 256


def assemble(head, head_types, size):
    tokens, scores, types = list(head), [0.0] * len(head), list(head_types)
    for more in (byte_tokens(), pieces()):
        tokens, scores, types = tokens + more[0], scores + more[1], types + more[2]
    pad_tokens(tokens, types, size)
    return tokens, scores + [-1000.0] * (size - len(scores)), types


def sentence_piece(size):
    head = ["<unk>", "<s>", "</s>"]
    tokens, scores, types = assemble(head, [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL], size)
    return TinyVocab(
        "llama",
        tokens,
        types,
        pre="default",
        scores=scores,
        special={"bos": 1, "eos": 2, "unk": 0},
        add_bos=True,
        add_space_prefix=True,
    )


def gemma(size):
    head = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
    control = TokenType.CONTROL
    tokens, scores, types = assemble(head, [control, control, control, TokenType.UNKNOWN, control, control], size)
    return TinyVocab(
        "llama",
        tokens,
        types,
        pre="default",
        scores=scores,
        special={"bos": 2, "eos": 1, "unk": 3, "pad": 0, "eot": 5},
        add_bos=True,
        add_space_prefix=False,
        chat_template=GEMMA,
    )
