"""The tiny models of tests/data/architectures: one entry for each architecture or feature.

Sizes are as small as the feature allows, and multiples of 32 where quantised rows need it. Prompts have 36 tokens, so
windows of 16 and "original" contexts of 16 or 32 are exceeded.
"""

import dataclasses

import architecture_tokenizers as tok

LARGE_VOCAB, SMALL_VOCAB = 288, 272  # SentencePiece needs 256 byte tokens and some pieces, byte-level BPE only bytes


@dataclasses.dataclass
class Model:
    name: str
    auto: str  # config class and model class of transformers: "Llama" -> LlamaConfig, LlamaForCausalLM
    config: dict
    tokenizer: object  # function that gives (Tokenizer, config, ids)
    exercises: str  # for README.md
    matters: dict = dataclasses.field(default_factory=dict)  # label -> changed config; must change the logits
    stored: str = "bfloat16"
    gains: dict = dataclasses.field(default_factory=dict)  # part of a parameter's name -> factor on its random weights
    layout: str = "released"  # of config.json: "released" or "v5" (as transformers 5 writes it)
    encoder: bool = False
    shards: int = 1  # files that hold the weights
    short: int = 0  # length of a second, shorter prompt, or 0
    drop: tuple = ()  # keys that released config.json files lack


def sizes(hidden=32, layers=2, heads=4, kv=2, ffn=64, vocab=SMALL_VOCAB, head_dim=None, eps=1e-5, **more):
    config = {
        "vocab_size": vocab,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "intermediate_size": ffn,
        "max_position_embeddings": 512,
        "rms_norm_eps": eps,
    }
    return config | ({"head_dim": head_dim} if head_dim else {}) | more


def layer_norm_sizes(**more):
    config = sizes(**more)
    config["layer_norm_eps"] = config.pop("rms_norm_eps")
    return config


def rope(theta=10000.0, kind="default", **more):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": theta, **more}}


def yarn(factor, **more):
    return {"factor": factor, "original_max_position_embeddings": 16, **more}


TIED, UNTIED = {"tie_word_embeddings": True}, {"tie_word_embeddings": False}


def gpt2_bpe(vocab=SMALL_VOCAB, token="<|endoftext|>", **more):
    return lambda: tok.byte_bpe(vocab, "gpt2", token, token, **more)


def qwen_bpe(vocab=SMALL_VOCAB):
    chat = dict(more=("<|im_start|>", "<|im_end|>"), tokenizer_class="Qwen2Tokenizer", nfc=True)
    return lambda: tok.byte_bpe(vocab, "qwen2", None, "<|endoftext|>", **chat)


def bpe(kind, bos, eos, **more):
    return lambda: tok.byte_bpe(SMALL_VOCAB, kind, bos, eos, **more)


def llama_spm():
    return tok.sentence_piece(LARGE_VOCAB)


def gemma_spm():
    return tok.sentence_piece(LARGE_VOCAB, gemma=True)


LLAMA3_BPE = bpe("llama3", "<|begin_of_text|>", "<|end_of_text|>", more=("<|eot_id|>",), add_bos=True)
SMOL_BPE = bpe("digits", "<|endoftext|>", "<|im_end|>", more=("<|im_start|>",))
DEEPSEEK_BPE = bpe("deepseek3", "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", add_bos=True)


def llama_family():
    llama3 = rope(
        10000.0, "llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32
    )
    return [
        Model(
            "llama3",
            "Llama",
            sizes(layers=3, head_dim=16) | TIED | llama3,
            LLAMA3_BPE,
            "Llama 3.x frequency scaling, all three bands; tied head",
            {"scaling": rope()},
        ),
        Model(
            "llama-linear",
            "Llama",
            sizes(layers=2, head_dim=16, attention_bias=True, mlp_bias=True)
            | TIED
            | rope(10000.0, "linear", factor=4.0),
            LLAMA3_BPE,
            "linear position scaling; biases on all seven projections; F16",
            {"scaling": rope()},
            "float16",
        ),
        Model(
            "llama-ntk",
            "Llama",
            sizes(head_dim=16, vocab=LARGE_VOCAB)
            | TIED
            | rope(10000.0, "dynamic", factor=4.0)
            | {"max_position_embeddings": 16},
            llama_spm,
            "dynamic NTK: the base grows with the prompt, here 36 tokens where 16 are the model's; the short "
            "prompt has "
            "12 and no scaling; F32 weights; tokenizer.model beside tokenizer.json",
            {"scaling": rope()},
            "float32",
            short=12,
        ),
        Model(
            "yarn",
            "Qwen2",
            sizes(hidden=32, heads=2, kv=1, head_dim=16) | TIED | rope(10000.0, "yarn", **yarn(4.0)),
            qwen_bpe(),
            "YaRN with its default ramp and attention factor; rope_parameters as transformers 5 writes config.json",
            {
                "scaling": rope(),
                "original context": rope(10000.0, "yarn", **yarn(4.0) | {"original_max_position_embeddings": 256}),
            },
            layout="v5",
        ),
        Model(
            "mistral",
            "Mistral",
            sizes(head_dim=16, vocab=LARGE_VOCAB, sliding_window=16) | UNTIED | rope(),
            llama_spm,
            "window of 16 in every layer; head_dim given; SentencePiece vocabulary, tokenizer.model too",
            {"window": {"sliding_window": None}, "window of 17": {"sliding_window": 17}},
        ),
        Model(
            "mixtral",
            "Mixtral",
            sizes(ffn=32, vocab=LARGE_VOCAB, num_local_experts=4, num_experts_per_tok=2) | UNTIED | rope(1e6),
            llama_spm,
            "4 experts, 2 used, weights renormalised",
            {"experts used": {"num_experts_per_tok": 1}},
        ),
        Model(
            "smollm3",
            "SmolLM3",
            sizes(layers=4, ffn=48) | TIED | rope(50000.0) | {"no_rope_layers": [1, 1, 1, 0]},
            SMOL_BPE,
            "the fourth layer without rope",
            {"no-rope layer": {"no_rope_layers": [1, 1, 1, 1]}},
        ),
        Model(
            "smollm3-window",
            "SmolLM3",
            sizes(layers=4, ffn=48, use_sliding_window=True, sliding_window=16)
            | TIED
            | rope(50000.0)
            | {"no_rope_layers": [0, 1, 1, 0]},
            SMOL_BPE,
            "layers 0 and 3 without rope and with a window of 16",
            {"no-rope layer": {"no_rope_layers": [1, 1, 1, 0]}, "window": {"use_sliding_window": False}},
            drop=("layer_types",),
        ),
        Model(
            "granite",
            "Granite",
            sizes(embedding_multiplier=6.0, logits_scaling=1.5, residual_multiplier=0.4, attention_multiplier=0.2)
            | TIED
            | rope(),
            SMOL_BPE,
            "multipliers on embeddings, attention, residuals and logits",
            {
                m: {m: 1.0}
                for m in ("embedding_multiplier", "logits_scaling", "residual_multiplier", "attention_multiplier")
            },
        ),
        Model(
            "granitemoe",
            "GraniteMoe",
            sizes(ffn=32, num_local_experts=4, num_experts_per_tok=2)
            | dict(embedding_multiplier=6.0, logits_scaling=1.5, residual_multiplier=0.4, attention_multiplier=0.2)
            | TIED
            | rope(),
            SMOL_BPE,
            "experts in fused 3-D tensors (gate before up) and the same multipliers",
            {"experts used": {"num_experts_per_tok": 1}, "residual_multiplier": {"residual_multiplier": 1.0}},
        ),
        Model(
            "olmo2",
            "Olmo2",
            sizes(kv=4, heads=4) | UNTIED | rope(500000.0),
            bpe("llama3", None, "<|endoftext|>"),
            "norms after attention and feed-forward, none before; norms over the whole Q and K rows",
        ),
    ]


def qwen_family():
    experts = dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32)
    return [
        Model(
            "qwen2",
            "Qwen2",
            sizes(hidden=64, heads=4, kv=2, ffn=64, vocab=280) | TIED | rope(1e6),
            qwen_bpe(),
            "biases on Q, K, V; embeddings of 280 rows for a tokenizer of 272 tokens",
        ),
        Model(
            "qwen2moe",
            "Qwen2Moe",
            sizes(ffn=96, **experts, shared_expert_intermediate_size=64) | UNTIED | rope(1e6),
            qwen_bpe(),
            "shared expert with a sigmoid gate; expert weights not renormalised",
            {"norm_topk_prob": {"norm_topk_prob": True}},
        ),
        Model(
            "qwen3",
            "Qwen3",
            sizes(head_dim=16) | TIED | rope(1e6),
            qwen_bpe(),
            "norms on the heads of Q and K; heads of 16 where hidden / heads is 8; config.json as transformers 5 "
            "writes it",
            layout="v5",
        ),
        Model(
            "qwen3moe",
            "Qwen3Moe",
            sizes(head_dim=16, ffn=96, norm_topk_prob=True, **experts) | UNTIED | rope(1e6),
            qwen_bpe(),
            "experts with renormalised weights; three shards and model.safetensors.index.json",
            {"norm_topk_prob": {"norm_topk_prob": False}},
            shards=3,
        ),
    ]


def gemma_family():
    local, full = rope(10000.0)["rope_parameters"], rope(1e6, "linear", factor=8.0)["rope_parameters"]
    gemma3 = {"sliding_attention": local, "full_attention": full}
    soft_caps = {"attn_logit_softcapping": 3.0, "final_logit_softcapping": 2.5}
    common = dict(head_dim=16, vocab=LARGE_VOCAB, eps=1e-6, pad_token_id=0)
    return [
        Model(
            "gemma",
            "Gemma",
            sizes(kv=1, **common) | TIED | rope(),
            gemma_spm,
            "embeddings times sqrt(hidden); norms stored as w of 1 + w; gelu (tanh); one KV head; tokenizer.model",
        ),
        Model(
            "gemma2",
            "Gemma2",
            sizes(layers=3, query_pre_attn_scalar=16, sliding_window=16, **common, **soft_caps) | TIED | rope(),
            gemma_spm,
            "soft caps of 3 on attention and 2.5 on logits; layers 0 and 2 with a window of 16; four norms a layer",
            {"window": {"sliding_window": 512}} | {k: {k: None} for k in soft_caps},
            drop=("layer_types", "use_bidirectional_attention"),
        ),
        Model(
            "gemma3",
            "Gemma3Text",
            sizes(layers=7, ffn=32, query_pre_attn_scalar=16, sliding_window=16, **common)
            | TIED
            | {"rope_parameters": gemma3},
            gemma_spm,
            "layer 5 sees all and scales its positions (theta 1e6, linear 8), the others a window of 16 with "
            "theta 10000; "
            "norms on Q and K",
            {
                "window": {"sliding_window": 512},
                "linear scaling": {"rope_parameters": gemma3 | {"full_attention": rope(1e6)["rope_parameters"]}},
            },
            drop=("layer_types", "use_bidirectional_attention"),
        ),
    ]


def phi_family():
    long_rope = dict(
        factor=4.0,
        original_max_position_embeddings=16,
        short_factor=[1.0, 1.05, 1.1, 1.2, 1.4, 1.6],
        long_factor=[1.0, 1.3, 1.9, 2.7, 3.6, 5.2],
        partial_rotary_factor=0.75,
    )
    short_only = long_rope | {"long_factor": long_rope["short_factor"]}
    return [
        Model(
            "phi3",
            "Phi3",
            sizes(heads=2, kv=2, vocab=LARGE_VOCAB, sliding_window=16) | UNTIED | rope(),
            llama_spm,
            "fused qkv_proj and gate_up_proj; window of 16 (Phi-3-mini-4k)",
            {"window": {"sliding_window": None}},
        ),
        Model(
            "phi3-longrope",
            "Phi3",
            sizes(heads=2, kv=1)
            | TIED
            | rope(10000.0, "longrope", **long_rope)
            | {"original_max_position_embeddings": 16, "max_position_embeddings": 64},
            bpe("gpt4o", "<|endoftext|>", "<|end|>"),
            "long rope: long factors for the prompt of 36 tokens, short ones for that of 12, attention factor "
            "for both; 12 "
            "of 16 dimensions rotate (Phi-4-mini)",
            {
                "long factors": rope(10000.0, "longrope", **short_only),
                "attention factor": rope(10000.0, "longrope", **long_rope, attention_factor=1.0),
            },
            short=12,
        ),
    ]


def layer_norm_family():
    gptneox = dict(rotary=rope(10000.0, partial_rotary_factor=0.25)["rope_parameters"])["rotary"]
    neox = layer_norm_sizes(heads=2, ffn=64) | UNTIED | {"rope_parameters": gptneox}
    neox.pop("num_key_value_heads")
    parallel_neox = neox | {"use_parallel_residual": True}
    starcoder = sizes(hidden_act="gelu_pytorch_tanh", use_bias=True, norm_epsilon=1e-5) | TIED | rope(100000.0)
    starcoder.pop("rms_norm_eps")
    partial = rope(10000.0, partial_rotary_factor=0.25)
    stablelm = layer_norm_sizes(heads=2, kv=1, ffn=64) | UNTIED
    gpt2 = dict(vocab_size=SMALL_VOCAB, n_embd=32, n_layer=2, n_head=4, n_positions=48) | TIED
    return [
        Model(
            "gpt2",
            "GPT2",
            gpt2 | {"model_class": "GPT2LMHeadModel"},
            gpt2_bpe(tokenizer_class="GPT2Tokenizer"),
            "learnt positions; weights stored (in, out); fused c_attn; F32; names without `transformer.` and "
            "with the mask "
            "buffers `h.N.attn.bias`, as released",
            {"activation": {"activation_function": "relu"}},
            "float32",
        ),
        Model(
            "gptneox",
            "GPTNeoX",
            parallel_neox,
            gpt2_bpe(nfc=True, tokenizer_class="GPTNeoXTokenizer"),
            "parallel residual; 4 of 16 dimensions rotate; Q, K, V interleaved by head in query_key_value; F16; "
            "old rotary "
            "buffers in the file",
            {"parallel residual": {"use_parallel_residual": False}},
            "float16",
        ),
        Model(
            "gptneox-sequential",
            "GPTNeoX",
            neox | {"use_parallel_residual": False, "num_attention_heads": 4},
            gpt2_bpe(nfc=True, tokenizer_class="GPTNeoXTokenizer"),
            "the same without the parallel residual; 2 of 8 dimensions rotate",
            {"parallel residual": {"use_parallel_residual": True}},
            "float16",
        ),
        Model(
            "starcoder2",
            "Starcoder2",
            starcoder | {"head_dim": None, "sliding_window": 16},
            bpe("digits", "<|endoftext|>", "<|endoftext|>", tokenizer_class="GPT2Tokenizer"),
            "layer norms, biases everywhere, feed-forward of two matrices; window of 16",
            {"window": {"sliding_window": None}},
        ),
        Model(
            "stablelm",
            "StableLm",
            stablelm | partial | {"use_qkv_bias": True, "qk_layernorm": False, "use_parallel_residual": False},
            gpt2_bpe(),
            "4 of 16 dimensions rotate; layer norms with bias; biases on Q, K, V",
            {"partial rotary": rope(10000.0, partial_rotary_factor=0.5)},
        ),
        Model(
            "stablelm-parallel",
            "StableLm",
            stablelm
            | partial
            | {"num_key_value_heads": 2, "use_qkv_bias": False, "qk_layernorm": True, "use_parallel_residual": True},
            gpt2_bpe(),
            "a layer norm for each head of Q and K; parallel residual with one norm",
            {},
        ),
        Model(
            "command-r",
            "Cohere",
            layer_norm_sizes(logit_scale=0.4) | TIED | rope(),
            bpe("digits", "<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>", add_bos=True, tokenizer_class="CohereTokenizer"),
            "parallel block with one layer norm without bias; neighbouring dimensions rotate; logit_scale",
            {"logit_scale": {"logit_scale": 1.0}},
            gains={"embed_tokens": 2.5},
        ),
        Model(
            "command-r-qk-norm",
            "Cohere",
            layer_norm_sizes(logit_scale=0.4, use_qk_norm=True) | TIED | rope(),
            bpe("digits", "<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>", add_bos=True, tokenizer_class="CohereTokenizer"),
            "the same with a layer norm for each head of Q and K (Command R+)",
            {},
            gains={"embed_tokens": 2.5},
        ),
        Model(
            "cohere2",
            "Cohere2",
            layer_norm_sizes(layers=4, logit_scale=0.4, sliding_window=16) | TIED | rope(),
            bpe("digits", "<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>", add_bos=True, tokenizer_class="CohereTokenizer"),
            "the parallel block; window of 16 and rope in three of four layers, the fourth global and without rope",
            {"window": {"sliding_window": 512}},
            gains={"embed_tokens": 2.5},
        ),
        Model(
            "cohere2-layers",
            "Cohere2",
            layer_norm_sizes(layers=3, logit_scale=0.4, sliding_window=16)
            | TIED
            | rope()
            | {"layer_types": ["full_attention", "sliding_attention", "full_attention"]},
            bpe("digits", "<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>", add_bos=True, tokenizer_class="CohereTokenizer"),
            "the same with layers 0 and 2 global and without rope, as layer_types says",
            {"window": {"sliding_window": 512}},
            gains={"embed_tokens": 2.5},
        ),
        Model(
            "glm4",
            "Glm4",
            sizes(head_dim=16, attention_bias=True) | UNTIED | rope(10000.0, partial_rotary_factor=0.5),
            bpe("llama3", None, "<|endoftext|>", more=("[gMASK]", "<sop>")),
            "norms before and after attention and feed-forward; fused gate_up_proj; 8 of 16 dimensions rotate, by "
            "neighbours; biases on Q, K, V",
            {"partial rotary": rope(10000.0, partial_rotary_factor=1.0)},
        ),
    ]


def deepseek_and_gpt_oss():
    mla = dict(kv_lora_rank=32, qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=16, first_k_dense_replace=1)
    mla |= dict(moe_intermediate_size=32)
    base = sizes(kv=4, ffn=64, eps=1e-6)
    lite = dict(
        n_routed_experts=4, num_experts_per_tok=2, n_shared_experts=2, q_lora_rank=None, topk_method="greedy", n_group=1
    )
    lite |= dict(norm_topk_prob=False, routed_scaling_factor=1.0, topk_group=1)
    v3 = dict(n_routed_experts=8, num_experts_per_tok=3, n_shared_experts=1, q_lora_rank=32, n_group=4, topk_group=2)
    v3 |= dict(norm_topk_prob=True, routed_scaling_factor=2.5, num_mtp_layers=0)
    lite_yarn = rope(10000.0, "yarn", **yarn(8.0, beta_fast=32.0, beta_slow=1.0, mscale=0.707, mscale_all_dim=0.707))
    v3_yarn = rope(10000.0, "yarn", **yarn(8.0, beta_fast=32.0, beta_slow=1.0, mscale=1.0, mscale_all_dim=1.0))
    oss = sizes(ffn=64, head_dim=16, num_local_experts=4, num_experts_per_tok=2, sliding_window=16, attention_bias=True)
    oss |= UNTIED | rope(150000.0, "yarn", **yarn(8.0, beta_fast=32.0, beta_slow=1.0, truncate=False))
    oss_matters = {
        "window": {"sliding_window": 512},
        "scaling": rope(150000.0),
        "clamp": {"swiglu_limit": 100.0},
        "experts used": {"num_experts_per_tok": 1},
    }
    harmony = bpe("gpt4o", "<|startoftext|>", "<|return|>", more=("<|endoftext|>",))
    return [
        Model(
            "deepseek2-lite",
            "DeepseekV2",
            base | lite | mla | UNTIED | lite_yarn,
            DEEPSEEK_BPE,
            "MLA without q_lora; first layer dense; 2 of 4 experts by softmax, 2 shared experts; YaRN with mscale",
            {"scaling": rope(), "mscale": rope(10000.0, "yarn", **yarn(8.0, mscale=0.0, mscale_all_dim=0.0))},
            drop=("head_dim", "mlp_bias"),
        ),
        Model(
            "deepseek3",
            "DeepseekV3",
            base | v3 | mla | UNTIED | v3_yarn,
            DEEPSEEK_BPE,
            "MLA with q_lora; sigmoid scores, e_score_correction_bias (F32), 2 of 4 groups, 3 of 8 experts, "
            "renormalised "
            "and times 2.5; one shared expert; YaRN with mscale",
            {
                "groups": {"topk_group": 4},
                "norm_topk_prob": {"norm_topk_prob": False},
                "routed_scaling_factor": {"routed_scaling_factor": 1.0},
                "scaling": rope(),
            },
            drop=("head_dim", "num_mtp_layers", "qk_head_dim", "rope_interleave"),
        ),
        Model(
            "gpt-oss",
            "GptOss",
            oss,
            harmony,
            "sinks; window of 16 in even layers; YaRN without truncation; experts with biases, gate and up "
            "interleaved, clamp "
            "at 7; BF16 experts (in, out)",
            oss_matters,
            gains={"gate_up_proj": 4.0, "down_proj": 0.5},
            drop=("swiglu_alpha",),
        ),
        Model(
            "gpt-oss-mxfp4",
            "GptOss",
            oss,
            harmony,
            "the same with experts as `*_blocks` and `*_scales` (MXFP4), as released",
            oss_matters,
            gains={"gate_up_proj": 4.0, "down_proj": 0.5},
            drop=("swiglu_alpha",),
        ),
    ]


def encoders():
    words = lambda: tok.word_piece(128)  # noqa: E731
    base = dict(vocab_size=128, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64)
    base |= dict(max_position_embeddings=64)
    jina = dict(layer_norm_eps=1e-12, type_vocab_size=2, position_embedding_type="alibi", feed_forward_type="geglu")
    jina |= dict(hidden_act="gelu", max_position_embeddings=8192)
    modern = base | dict(num_hidden_layers=4, norm_eps=1e-5, local_attention=16, pad_token_id=0, bos_token_id=None)
    modern |= dict(eos_token_id=None, cls_token_id=2, sep_token_id=3)
    modern_rope = {k: rope(t)["rope_parameters"] for k, t in (("full_attention", 160000.0), ("sliding_attention", 1e4))}
    same_theta = {k: rope()["rope_parameters"] for k in modern_rope}
    return [
        Model(
            "bert",
            "Bert",
            base | {"layer_norm_eps": 1e-12},
            words,
            "attention both ways, learnt positions and token types, norms after; erf gelu; WordPiece",
            {"activation": {"hidden_act": "relu"}},
            encoder=True,
        ),
        Model(
            "xlm-roberta",
            "XLMRoberta",
            base
            | dict(vocab_size=160, type_vocab_size=1, layer_norm_eps=1e-5, max_position_embeddings=130)
            | dict(pad_token_id=1, bos_token_id=0, eos_token_id=2),
            lambda: tok.unigram(160),
            "positions that begin behind the padding token's; unigram vocabulary with a character map",
            {"activation": {"hidden_act": "relu"}},
            encoder=True,
        ),
        Model(
            "nomic-bert",
            "NomicBert",
            base | {"layer_norm_eps": 1e-12} | rope(1000.0),
            words,
            "rope, SwiGLU (fc11 up, fc12 gate), fused Wqkv; config.json with the GPT-2-like keys of the released "
            "models",
            {"theta": rope(10000.0)},
            encoder=True,
        ),
        Model(
            "nomic-bert-moe",
            "NomicMoe",
            dict(vocab_size=160, n_embd=32, n_layer=4, n_head=4, n_inner=64, n_positions=2048, type_vocab_size=1)
            | dict(layer_norm_epsilon=1e-5, rotary_emb_base=1000.0, pad_token_id=1, bos_token_id=0, eos_token_id=2)
            | dict(moe_every_n_layers=2, num_experts=4, moe_top_k=2, num_shared_experts=0, activation_function="gelu")
            | dict(moe_normalize_expert_weights=False, expert_choice_router=False, max_trained_positions=2048)
            | dict(prenorm=False, rotary_emb_fraction=1.0, rotary_emb_interleaved=False, architectures=["NomicBertModel"]),
            lambda: tok.unigram(160),
            "layers 1 and 3 with 4 experts without gates, 2 used, weights not renormalised, one bias for all; erf gelu, "
            "biases; evaluated by tools/remote_encoders.py",
            {"experts used": {"moe_top_k": 1}, "theta": {"rotary_emb_base": 10000.0}},
            encoder=True,
        ),
        Model(
            "jina-bert",
            "JinaBert",
            base | jina,
            words,
            "ALiBi both ways, slopes of 4 heads; erf GeGLU with the gate first (jina-embeddings-v2-base-en); evaluated by "
            "tools/remote_encoders.py",
            {"ALiBi": {"position_embedding_type": "none"}},
            encoder=True,
        ),
        Model(
            "jina-bert-code",
            "JinaCodeBert",
            base | jina | dict(hidden_size=48, num_attention_heads=6, architectures=["JinaBertModel"]),
            words,
            "slopes of 6 heads; layer norms of whole Q and K rows; a second norm after attention; the gate last "
            "(jina-embeddings-v2-base-code); evaluated by tools/remote_encoders.py",
            {"ALiBi": {"position_embedding_type": "none"}},
            encoder=True,
        ),
        Model(
            "modernbert",
            "ModernBert",
            modern | {"rope_parameters": modern_rope},
            words,
            "layers 0 and 3 see all (theta 160000), 1 and 2 eight tokens each way (theta 10000); fused Wqkv and "
            "Wi; erf GeGLU; "
            "no norm before the first attention",
            {"window": {"local_attention": 128}, "local theta": {"rope_parameters": same_theta}},
            encoder=True,
            drop=("layer_types",),
        ),
    ]


def all_models():
    return (
        llama_family()
        + qwen_family()
        + gemma_family()
        + phi_family()
        + layer_norm_family()
        + deepseek_and_gpt_oss()
        + encoders()
    )
