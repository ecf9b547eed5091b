#!/usr/bin/env python3
"""Makes the tiny models of tests/data/models and their golden results.

Every language model is built by Hugging Face transformers from a configuration, filled with seeded random weights, and
evaluated there in float32 on the CPU; that is the outside reference. The same weights go into a GGUF file laid out as
llama.cpp's converter lays them out. Weights stored in a lossy format are rounded first, so that both sides hold exactly
the same numbers. The feed-forward networks (architecture "mlp", docs/mlp.md) come from torch.nn in the same way.

    pip install torch transformers gguf numpy
    tools/make-tiny-models.py [--out tests/data/models] [--only NAME ...]
    tools/check-tiny-models.py        # evaluates the files again with numpy alone
"""

import argparse
import dataclasses
import pathlib
import sys
import zlib

import gguf
import numpy as np
import torch
import transformers
from gguf import GGMLQuantizationType as Format

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import tiny_vocab  # noqa: E402

SEED = 20
LONG_PROMPT, SHORT_PROMPT = 70, 5  # tokens; the long one exceeds every sliding window and "original" context here


@dataclasses.dataclass
class Model:
    name: str
    arch: str  # general.architecture
    config: dict  # for the configuration class of transformers
    vocab: tiny_vocab.TinyVocab
    formats: dict  # GGUF tensor name contains the key -> format; "" is the default; vectors are always F32
    keys: tuple = ()  # optional groups of GGUF keys to write: "head_dim", "swa_base"


CLASSES = {
    "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM, gguf.MODEL_ARCH.LLAMA),
    "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM, gguf.MODEL_ARCH.QWEN2),
    "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM, gguf.MODEL_ARCH.QWEN3),
    "gemma3": (transformers.Gemma3TextConfig, transformers.Gemma3ForCausalLM, gguf.MODEL_ARCH.GEMMA3),
}


def sizes(hidden, layers, heads, kv_heads, ffn, head_dim=None, eps=1e-6):
    """The configuration keys that all four architectures share."""
    config = {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": ffn,
        "max_position_embeddings": 512,
        "rms_norm_eps": eps,
    }
    return config | ({"head_dim": head_dim} if head_dim else {})


def rope(theta, kind="default", **more):
    return {"rope_type": kind, "rope_theta": theta, **more}


def gemma_attention(window, head_dim, global_rope):
    local_rope = rope(10000.0)
    return {
        "sliding_window": window,
        "query_pre_attn_scalar": head_dim,
        "rope_parameters": {"full_attention": global_rope, "sliding_attention": local_rope},
    }


def llama_models():
    tied, untied = {"tie_word_embeddings": True}, {"tie_word_embeddings": False}
    llama3 = rope(
        10000.0, "llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64
    )
    return [
        # The plain case: tied head, all F32, so nothing but the arithmetic can differ.
        Model(
            "llama-tied",
            "llama",
            sizes(64, 3, 4, 2, 88, eps=1e-5) | tied | {"rope_parameters": rope(10000.0)},
            tiny_vocab.byte_level(277, chat=True),
            {"": Format.F32},
        ),
        # Separate head, Llama 3's frequency factors as the tensor rope_freqs.weight, rows of 72 and 100.
        Model(
            "llama-rope3",
            "llama",
            sizes(72, 3, 3, 1, 100, eps=1e-5) | untied | {"rope_parameters": llama3},
            tiny_vocab.byte_level(283),
            {"": Format.F16},
            ("head_dim",),
        ),
        # Linear position scaling by a factor of 4; a SentencePiece vocabulary.
        Model(
            "llama-linear",
            "llama",
            sizes(64, 3, 8, 2, 96) | tied | {"rope_parameters": rope(10000.0, "linear", factor=4.0)},
            tiny_vocab.sentence_piece(290),
            {"": Format.BF16},
        ),
        # Biases on all seven projections of a block, one KV head for all queries.
        Model(
            "llama-bias",
            "llama",
            sizes(64, 4, 4, 1, 128, eps=1e-5)
            | tied
            | {"rope_parameters": rope(50000.0), "attention_bias": True, "mlp_bias": True},
            tiny_vocab.byte_level(270),
            {"": Format.Q8_0},
        ),
    ]


def qwen_and_gemma_models():
    mixed = {"": Format.Q8_0, "ffn_gate": Format.Q4_1, "ffn_up": Format.Q5_1, "ffn_down": Format.Q5_0}
    return [
        # Biases on Q, K and V; formats mixed as quantised files mix them.
        Model(
            "qwen2",
            "qwen2",
            sizes(96, 3, 6, 2, 128) | {"rope_parameters": rope(1000000.0), "tie_word_embeddings": False},
            tiny_vocab.byte_level(275, chat=True),
            mixed | {"token_embd": Format.Q4_0},
        ),
        # Norms on Q and K, heads wider than hidden / heads.
        Model(
            "qwen3",
            "qwen3",
            sizes(64, 3, 4, 2, 80, head_dim=32) | {"rope_parameters": rope(1000000.0), "tie_word_embeddings": True},
            tiny_vocab.byte_level(269),
            {"": Format.F16},
            ("head_dim",),
        ),
        # Seven layers: 0 to 4 and 6 see a window of 16 tokens, 5 sees all and scales its positions.
        Model(
            "gemma3",
            "gemma3",
            sizes(64, 7, 4, 2, 96, head_dim=24) | gemma_attention(16, 24, rope(1000000.0, "linear", factor=8.0)),
            tiny_vocab.gemma(286),
            {"": Format.Q8_0},
            ("head_dim", "swa_base"),
        ),
        # As converters wrote them before rope.freq_base_swa existed: the local base, 10000, is understood.
        Model(
            "gemma3-old",
            "gemma3",
            sizes(64, 6, 2, 1, 64, head_dim=16) | gemma_attention(24, 16, rope(1000000.0)),
            tiny_vocab.gemma(284),
            {"": Format.BF16, "ffn_": Format.Q4_0},
            ("head_dim",),
        ),
    ]


# --- weights -------------------------------------------------------------------------------------------------------


def random_weight(name, shape, rng):
    """Numbers that make every part matter: no projection is negligible, no norm or bias trivial."""
    if "norm" in name:
        centre = 1.4 if "q_norm" in name or "k_norm" in name else 1.0
        # In [0.5, 2] a - 1 + 1 == a in float32, which Gemma's (1 + w) norms need to hold the same number as the file.
        return np.clip(centre + 0.25 * rng.standard_normal(shape), 0.5, 1.95)
    if name.endswith("bias"):
        return 0.4 * rng.standard_normal(shape)
    if "embed_tokens" in name:
        return 0.3 * rng.standard_normal(shape)
    gain = 1.5 if "q_proj" in name or "k_proj" in name else 2.0 if "lm_head" in name else 1.0
    return gain / np.sqrt(shape[1]) * rng.standard_normal(shape)


def interleave(x, heads):
    """Row order of Q and K in a "llama" file: dimension i of a head's first half, then i of its second, and so on.
    There the rotation turns neighbouring pairs, where transformers turns pairs half a head apart."""
    return x.reshape(heads, 2, -1, *x.shape[1:]).swapaxes(1, 2).reshape(x.shape)


def deinterleave(x, heads):
    return x.reshape(heads, -1, 2, *x.shape[1:]).swapaxes(1, 2).reshape(x.shape)


def file_layout(model, name, x, inverse=False):
    """A parameter of transformers as the file holds it, or (inverse) the other way round."""
    if model.arch == "llama" and ("q_proj" in name or "k_proj" in name):
        heads = model.config["num_attention_heads" if "q_proj" in name else "num_key_value_heads"]
        return deinterleave(x, heads) if inverse else interleave(x, heads)
    if model.arch == "gemma3" and "norm" in name:  # transformers multiplies by 1 + w, the file holds the factor itself
        return x - np.float32(1) if inverse else x + np.float32(1)
    return x


def choose_format(formats, tensor_name, shape):
    if len(shape) == 1:
        return Format.F32
    return next((f for key, f in formats.items() if key and key in tensor_name), formats[""])


def fill(model, network):
    """Sets every parameter of `network`; gives the file's tensors as (name, stored array, format)."""
    rng = np.random.default_rng([SEED, zlib.crc32(model.name.encode())])
    names = gguf.get_tensor_name_map(CLASSES[model.arch][2], model.config["num_hidden_layers"])
    tensors = []
    for name, parameter in network.named_parameters():
        tensor_name = names.get_name(name, (".weight", ".bias"))
        x = random_weight(name, tuple(parameter.shape), rng).astype(np.float32)
        if model.arch == "gemma3" and "norm" in name:
            x -= np.float32(1)
        stored_format = choose_format(model.formats, tensor_name, x.shape)
        stored = gguf.quants.quantize(file_layout(model, name, x), stored_format)
        exact = gguf.quants.dequantize(stored, stored_format).astype(np.float32)
        parameter.data = torch.from_numpy(file_layout(model, name, exact, inverse=True).copy())
        tensors.append((tensor_name, stored, stored_format))
    return tensors


def rope_factors(model):
    """What Llama 3's scaling divides each frequency by (formula of the Llama 3.1 reference code)."""
    p = model.config["rope_parameters"]
    head_dim = model.config["hidden_size"] // model.config["num_attention_heads"]
    wavelength = 2 * np.pi * p["rope_theta"] ** (np.arange(0, head_dim, 2) / head_dim)
    low, high = p["low_freq_factor"], p["high_freq_factor"]
    blend = np.clip((p["original_max_position_embeddings"] / wavelength - low) / (high - low), 0, 1)
    return (1 / ((1 - blend) / p["factor"] + blend)).astype(np.float32)


# --- the GGUF file -------------------------------------------------------------------------------------------------


def write_hyperparameters(w, model):
    c, arch = model.config, model.arch
    head_dim = c.get("head_dim", c["hidden_size"] // c["num_attention_heads"])
    w.add_block_count(c["num_hidden_layers"])
    w.add_context_length(c["max_position_embeddings"])
    w.add_embedding_length(c["hidden_size"])
    w.add_feed_forward_length(c["intermediate_size"])
    w.add_head_count(c["num_attention_heads"])
    w.add_head_count_kv(c["num_key_value_heads"])
    w.add_layer_norm_rms_eps(c["rms_norm_eps"])
    if "head_dim" in model.keys:
        w.add_key_length(head_dim)
        w.add_value_length(head_dim)
    if arch == "llama":
        w.add_vocab_size(len(model.vocab.tokens))
        w.add_rope_dimension_count(head_dim)
    p = c["rope_parameters"]
    global_rope = p.get("full_attention", p)
    w.add_rope_freq_base(global_rope["rope_theta"])
    if "swa_base" in model.keys:
        w.add_rope_freq_base_swa(p["sliding_attention"]["rope_theta"])
    if global_rope["rope_type"] == "linear":
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(global_rope["factor"])
    if "sliding_window" in c:
        w.add_sliding_window(c["sliding_window"])


def file_type(default):
    return getattr(gguf.LlamaFileType, "ALL_F32" if default == Format.F32 else "MOSTLY_" + default.name)


def open_writer(path, arch, name, default_format):
    w = gguf.GGUFWriter(path, arch)
    w.add_type("model")
    w.add_name(name)
    w.add_file_type(file_type(default_format))
    w.add_quantization_version(gguf.GGML_QUANT_VERSION)
    return w


def close_writer(w, tensors):
    for name, stored, stored_format in tensors:
        w.add_tensor(name, np.ascontiguousarray(stored), raw_dtype=stored_format)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def write_model(path, model, tensors):
    w = open_writer(path, model.arch, f"metallic test model {model.name}", model.formats[""])
    write_hyperparameters(w, model)
    model.vocab.write(w)
    if model.arch == "llama" and model.config["rope_parameters"]["rope_type"] == "llama3":
        tensors = [("rope_freqs.weight", rope_factors(model), Format.F32), *tensors]
    close_writer(w, tensors)


# --- golden results ------------------------------------------------------------------------------------------------


def build(model):
    config_class, network_class, _ = CLASSES[model.arch]
    config = config_class(
        vocab_size=len(model.vocab.tokens),
        attn_implementation="eager",
        pad_token_id=None,
        bos_token_id=None,
        eos_token_id=None,
        **model.config,
    )
    return network_class(config).float().eval()


def make_model(model, out):
    network = build(model)
    tensors = fill(model, network)
    network.tie_weights()
    write_model(out / f"{model.name}.gguf", model, tensors)
    rng = np.random.default_rng([SEED, 1, zlib.crc32(model.name.encode())])
    for suffix, length in (("", LONG_PROMPT), (".short", SHORT_PROMPT)):
        tokens = rng.integers(0, len(model.vocab.tokens), length).astype(np.int32)
        ids = torch.from_numpy(tokens.astype(np.int64))[None]
        with torch.no_grad():
            logits = network(ids, use_cache=False).logits[0].numpy()
        np.save(out / f"{model.name}{suffix}.tokens.npy", tokens)
        np.save(out / f"{model.name}{suffix}.logits.npy", logits)
        print(
            f"{model.name + suffix:18} {length:3} tokens x {logits.shape[1]}: standard deviation {logits.std():.2f}, "
            f"{len(set(logits.argmax(1)))} different top tokens"
        )


def make_mlp(out, name, layers, activations, output_activation, stored_format, inputs, weights=None):
    """`layers`: sizes from input to output. `weights`: list of (weight, bias); random when not given."""
    rng = np.random.default_rng([SEED, 2, zlib.crc32(name.encode())])
    modules, tensors = [], []
    for i, (n_in, n_out) in enumerate(zip(layers, layers[1:])):
        weight, bias = (
            weights[i]
            if weights
            else (rng.standard_normal((n_out, n_in)) * 1.5 / np.sqrt(n_in), rng.standard_normal(n_out) * 0.5)
        )
        stored = gguf.quants.quantize(np.asarray(weight, np.float32), stored_format)
        linear = torch.nn.Linear(n_in, n_out)
        linear.weight.data = torch.from_numpy(gguf.quants.dequantize(stored, stored_format).astype(np.float32))
        linear.bias.data = torch.from_numpy(np.asarray(bias, np.float32))
        tensors += [(f"blk.{i}.weight", stored, stored_format), (f"blk.{i}.bias", linear.bias.data.numpy(), Format.F32)]
        last = i == len(layers) - 2
        modules += [linear] + ([] if last else [activations[1]()])
    if output_activation:
        modules.append(output_activation[1]())
    w = open_writer(out / f"{name}.gguf", "mlp", f"metallic test model {name}", stored_format)
    w.add_uint32("mlp.block_count", len(layers) - 1)
    w.add_uint32("mlp.input_length", layers[0])
    w.add_uint32("mlp.output_length", layers[-1])
    w.add_string("mlp.activation", activations[0])
    if output_activation:
        w.add_string("mlp.output_activation", output_activation[0])
    close_writer(w, tensors)
    x = np.asarray(inputs if inputs is not None else rng.standard_normal((9, layers[0])), np.float32)
    with torch.no_grad():
        y = torch.nn.Sequential(*modules)(torch.from_numpy(x)).numpy()
    np.save(out / f"{name}.input.npy", x)
    np.save(out / f"{name}.output.npy", y)
    print(f"{name:18} {layers}: outputs {y.shape}, standard deviation {y.std():.3f}")


def make_mlps(out, wanted):
    rng = np.random.default_rng([SEED, 3])
    # Multiples of 1/4: every product and sum is exact, whatever the order, so the output must match bit for bit.
    quarters = lambda *shape: rng.integers(-8, 9, shape) / 4  # noqa: E731
    exact = [(quarters(8, 4), quarters(8)), (quarters(3, 8), quarters(3))]
    silu = torch.nn.SiLU
    cases = [
        ("mlp-relu", [4, 8, 3], ("relu", torch.nn.ReLU), None, Format.F32, quarters(6, 4), exact),
        ("mlp-gelu", [16, 33, 7, 5], ("gelu", torch.nn.GELU), None, Format.F16, None, None),
        (
            "mlp-softmax",
            [32, 64, 10],
            ("silu", silu),
            ("softmax", lambda: torch.nn.Softmax(dim=-1)),
            Format.Q8_0,
            None,
            None,
        ),
    ]
    for case in cases:
        if not wanted or case[0] in wanted:
            make_mlp(out, *case)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = pathlib.Path(__file__).resolve().parent.parent
    parser.add_argument("--out", type=pathlib.Path, default=root / "tests/data/models")
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="make these models only")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for model in llama_models() + qwen_and_gemma_models():
        if not args.only or model.name in args.only:
            make_model(model, args.out)
    make_mlps(args.out, args.only)


if __name__ == "__main__":
    main()
