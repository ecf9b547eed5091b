#!/usr/bin/env python3
"""Makes tests/data/architectures: tiny Hugging Face model folders with golden results of transformers.

Each folder is what a released model has (config.json, model.safetensors, tokenizer files), filled with seeded random
weights. The golden results come from reading the folder back with transformers and evaluating it in float32 on the
CPU, so they are what the files mean, not what was meant to be written. Features named in architecture_models.py
(`matters`) are also switched off once, to show that the golden results would notice.

    pip install torch transformers gguf numpy
    tools/make-architecture-golden.py [--out tests/data/architectures] [--only NAME ...]
"""

import argparse
import json
import math
import pathlib
import re
import shutil
import sys
import tempfile
import zlib

import numpy as np
import safetensors.torch
import torch
import transformers

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import architecture_models  # noqa: E402
import architecture_tokenizers as tok  # noqa: E402
import remote_encoders  # noqa: E402
import tiny_vocab  # noqa: E402

SEED = 40
PROMPT = 36  # tokens
NOISE = re.compile(  # keys of every configuration of transformers that say nothing about the network
    r"^(_.*|chunk_size_.*|experts_implementation|id2label|is_encoder_decoder|label2id|output_.*|problem_type"
    r"|return_dict|transformers_version|summary_.*)$"
)
SMALLEST_MARGIN = 2e-3  # between the last expert chosen and the first not chosen, relative


# --- weights -------------------------------------------------------------------------------------------------------


def is_norm(name):
    return re.search(r"norm|ln_|LayerNorm|emb_ln", name) is not None


def random_weight(model, name, shape, rng):
    """Numbers that make every part matter: no projection is negligible, no norm or bias trivial."""
    normal = rng.standard_normal(shape)
    gain = math.prod(factor for part, factor in model.gains.items() if part in name and "bias" not in name)
    if name.endswith("e_score_correction_bias"):
        return 0.15 * normal
    if name.endswith("bias"):
        return (0.2 if is_norm(name) else 0.4) * normal
    if is_norm(name):
        centre = 1.4 if re.search(r"q_norm|k_norm|q_layernorm|k_layernorm", name) else 1.0
        scale = np.clip(centre + 0.25 * normal, 0.5, 1.95)
        return scale - 1 if model.auto.startswith("Gemma") else scale
    if name.endswith("sinks"):
        return 1.0 + normal
    if re.search(r"embed|wte|wpe", name):
        return gain * 0.3 * normal
    inputs_first = model.auto == "GPT2" or (model.auto == "GptOss" and "experts" in name)
    fan_in = shape[-2] if inputs_first else shape[-1]
    if re.search(r"router|gate\.weight$|shared_expert_gate", name):
        gain *= 2.0
    elif re.search(r"q_proj|k_proj|q_b_proj|c_attn|qkv|query|key", name):
        gain *= 1.5
    elif re.search(r"lm_head|embed_out", name):
        gain *= 1.5
    return gain / np.sqrt(fan_in) * normal


def parameters(network):
    yield from network.named_parameters()
    yield from ((n, b) for n, b in network.named_buffers() if n.endswith("e_score_correction_bias"))


def fill(model, network):
    """Sets every parameter of `network` to random numbers that the stored type holds exactly."""
    rng = np.random.default_rng([SEED, zlib.crc32(model.name.removesuffix("-mxfp4").encode())])
    for name, parameter in parameters(network):
        x = torch.from_numpy(random_weight(model, name, tuple(parameter.shape), rng)).float()
        if model.auto == "GptOss" and re.search(r"experts\.\w+_proj$", name):
            x = mxfp4_decode(*mxfp4_encode(x))  # both variants hold the same numbers
        parameter.data.copy_(x.to(getattr(torch, model.stored)).float())
    network.tie_weights()


# --- MXFP4 (OCP Microscaling Formats 1.0): 32 numbers of E2M1 with one power of two -----------------------------------

E2M1 = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])


def mxfp4_encode(x):
    """(E, in, out) of transformers -> blocks (E, out, in / 32, 16) and scales (E, out, in / 32) as released."""
    rows = x.transpose(1, 2).reshape(x.shape[0], x.shape[2], -1, 32)
    exponent = torch.floor(torch.log2(rows.abs().amax(-1))) - 2
    scaled = rows / torch.exp2(exponent)[..., None]
    code = (scaled.abs()[..., None] - E2M1).abs().argmin(-1) + 8 * (scaled < 0)
    blocks = (code[..., 0::2] | code[..., 1::2] << 4).to(torch.uint8)
    return blocks, (exponent + 127).to(torch.uint8)


def mxfp4_decode(blocks, scales):
    code = torch.stack([blocks & 15, blocks >> 4], -1).flatten(-2).long()
    numbers = E2M1[code & 7] * (1 - 2 * (code >> 3)) * torch.exp2(scales.float() - 127)[..., None]
    return numbers.flatten(-2).transpose(1, 2).contiguous()


def with_mxfp4_experts(tensors):
    out = {}
    for name, x in tensors.items():
        if re.search(r"experts\.\w+_proj$", name):
            out[name + "_blocks"], out[name + "_scales"] = mxfp4_encode(x.float())
        else:
            out[name] = x
    return out


# --- the folder ----------------------------------------------------------------------------------------------------


def released_rope(model, config):
    """rope_parameters of transformers 5 -> the keys that config.json files had before it."""
    p = config.pop("rope_parameters", None)
    if p is None:
        return
    p = {k: dict(v) for k, v in p.items()} if "full_attention" in p else dict(p)
    if model.auto == "Gemma3Text":
        full = p["full_attention"]
        config["rope_theta"], config["rope_local_base_freq"] = (
            full.pop("rope_theta"),
            p["sliding_attention"]["rope_theta"],
        )
        config["rope_scaling"], config["sliding_window_pattern"] = full, 6
    elif model.auto == "ModernBert":
        config["global_rope_theta"] = p["full_attention"]["rope_theta"]
        config["local_rope_theta"] = p["sliding_attention"]["rope_theta"]
        config["global_attn_every_n_layers"] = 3
    elif model.auto == "GPTNeoX":
        config["rotary_emb_base"], config["rotary_pct"] = p["rope_theta"], p["partial_rotary_factor"]
    else:
        config["rope_theta"] = p.pop("rope_theta")
        if p.get("partial_rotary_factor", 1.0) != 1.0:
            config["partial_rotary_factor"] = p["partial_rotary_factor"]
        p.pop("partial_rotary_factor", None)
        kind = p.pop("rope_type")
        if kind == "longrope":
            p = {k: p[k] for k in ("short_factor", "long_factor")}
        key = "rope_type" if kind == "llama3" or model.auto == "GptOss" else "type"
        config["rope_scaling"] = None if kind == "default" else {key: kind, **p}


def nomic_config(config):
    """The keys of nomic-embed-text-v1.5, which came before transformers knew the architecture."""
    fixed = {
        "activation_function": "swiglu",
        "attn_pdrop": 0.0,
        "causal": False,
        "mlp_fc1_bias": False,
        "mlp_fc2_bias": False,
        "model_type": "nomic_bert",
        "parallel_block": False,
        "prenorm": False,
        "qkv_proj_bias": False,
        "rotary_emb_fraction": 1.0,
        "rotary_emb_interleaved": False,
        "rotary_emb_scale_base": None,
        "rotary_scaling_factor": None,
        "scale_attn_weights": True,
        "tie_word_embeddings": True,
        "use_rms_norm": False,
    }
    renamed = {
        "n_embd": "hidden_size",
        "n_head": "num_attention_heads",
        "n_inner": "intermediate_size",
        "n_layer": "num_hidden_layers",
        "n_positions": "max_position_embeddings",
        "layer_norm_epsilon": "layer_norm_eps",
        "rotary_emb_base": "rope_theta",
    }
    same = ("type_vocab_size", "vocab_size", "pad_token_id", "torch_dtype")
    return fixed | {new: config[old] for new, old in renamed.items()} | {key: config[key] for key in same}


def write_config(model, network, folder):
    config = network.config.to_dict()
    config = {key: value for key, value in config.items() if not NOISE.match(key) and key not in model.drop}
    config["architectures"] = model.config.get("architectures", [type(network).__name__])
    if model.layout == "released":
        config["torch_dtype"] = model.stored
        config.pop("dtype", None)
        released_rope(model, config)
        if model.auto == "DeepseekV3":
            config["num_nextn_predict_layers"] = 0
            config |= {"scoring_func": "sigmoid", "topk_method": "noaux_tc", "moe_layer_freq": 1}
        elif model.auto == "DeepseekV2":
            config |= {"scoring_func": "softmax", "moe_layer_freq": 1}
        elif model.auto == "NomicBert":
            config = nomic_config(config) | {"architectures": ["NomicBertModel"]}
    else:
        config["dtype"], config["transformers_version"] = model.stored, transformers.__version__
    if model.name.endswith("mxfp4"):
        kept = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]
        config["quantization_config"] = {"quant_method": "mxfp4", "modules_to_not_convert": kept}
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def released_tensors(model, network, tensors):
    """Names and buffers that released checkpoints have and save_pretrained does not write."""
    if model.auto == "GPT2":
        n = network.config.n_positions
        mask = torch.tril(torch.ones(n, n)).view(1, 1, n, n)
        tensors = {name.removeprefix("transformer."): x for name, x in tensors.items()}
        tensors |= {f"h.{i}.attn.bias": mask.clone() for i in range(network.config.n_layer)}
    if model.auto == "GPTNeoX":
        for i in range(network.config.num_hidden_layers):
            tensors[f"gpt_neox.layers.{i}.attention.masked_bias"] = torch.tensor(-1e9)
            tensors[f"gpt_neox.layers.{i}.attention.rotary_emb.inv_freq"] = network.gpt_neox.rotary_emb.inv_freq.clone()
    return with_mxfp4_experts(tensors) if model.name.endswith("mxfp4") else tensors


def write_weights(model, network, folder):
    """save_pretrained splits and names the tensors as released models do; the stored type is ours."""
    with tempfile.TemporaryDirectory() as scratch:
        network.save_pretrained(scratch)
        tensors = safetensors.torch.load_file(pathlib.Path(scratch) / "model.safetensors")
    stored = getattr(torch, model.stored)
    keep = lambda name: name.endswith("e_score_correction_bias")  # noqa: E731
    tensors = {name: x if keep(name) else x.to(stored) for name, x in sorted(tensors.items())}
    tensors = {name: x.contiguous() for name, x in released_tensors(model, network, tensors).items()}
    if model.shards == 1:
        safetensors.torch.save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names, parts = list(tensors), model.shards
    index = {"metadata": {"total_size": sum(x.nbytes for x in tensors.values())}, "weight_map": {}}
    for i in range(parts):
        part = names[len(names) * i // parts : len(names) * (i + 1) // parts]
        file = f"model-{i + 1:05}-of-{parts:05}.safetensors"
        safetensors.torch.save_file({n: tensors[n] for n in part}, folder / file, metadata={"format": "pt"})
        index["weight_map"] |= {n: file for n in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")


def write_tokenizer(model, tokenizer, config, folder):
    tokenizer.save(str(folder / "tokenizer.json"))
    if model.layout == "v5" and "chat_template" in config:
        (folder / "chat_template.jinja").write_text(config.pop("chat_template"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    )
    encodings = [json.dumps({"text": t, "ids": tokenizer.encode(t).ids}, ensure_ascii=False) for t in tok.TEXTS]
    (folder / "encodings.json").write_text("[\n" + ",\n".join(encodings) + "\n]\n")
    if config["tokenizer_class"] in ("LlamaTokenizer", "GemmaTokenizer"):
        make = tiny_vocab.gemma if config["tokenizer_class"] == "GemmaTokenizer" else tiny_vocab.sentence_piece
        (folder / "tokenizer.model").write_bytes(tok.sentence_piece_model(make(tokenizer.get_vocab_size())))


# --- evaluation ----------------------------------------------------------------------------------------------------


class SmallestMargin:
    """While open, notes how close any choice of experts by topk was to going the other way."""

    def __enter__(self):
        self.value, self.saved = math.inf, (torch.topk, torch.Tensor.topk)
        torch.topk = lambda *a, **k: self.look(self.saved[0], *a, **k)
        torch.Tensor.topk = lambda *a, **k: self.look(self.saved[1], *a, **k)
        return self

    def __exit__(self, *_):
        torch.topk, torch.Tensor.topk = self.saved

    def look(self, topk, x, k=None, *args, **kwargs):
        if k < x.shape[-1]:
            best = x.sort(-1, descending=True).values
            margin = (best[..., k - 1] - best[..., k]) / best[..., k - 1].abs()
            self.value = min(self.value, margin.min().item())
        return topk(x, k, *args, **kwargs)


def classes(model):
    name = {"Gemma3Text": "Gemma3"}.get(model.auto, model.auto)
    network = model.config.get("model_class") or name + ("Model" if model.encoder else "ForCausalLM")
    source = transformers if hasattr(transformers, network) else remote_encoders
    return getattr(source, model.auto + "Config"), getattr(source, network)


def make_config(model, ids, changes=()):
    values = {k: v for k, v in {**model.config, **dict(changes)}.items() if k != "model_class"}
    values = {k: v for k, v in values.items() if not (k == "head_dim" and v is None)}
    special = {"bos_token_id": ids.get("bos"), "eos_token_id": ids.get("eos"), "pad_token_id": None}
    special = {k: v for k, v in special.items() if k not in values}
    if model.encoder:
        special = {} if "pad_token_id" in values else {"pad_token_id": 0}
    return classes(model)[0](**json.loads(json.dumps(values)), **special)


def options():
    return {"attn_implementation": "eager", "experts_implementation": "eager"}


def build(model, config):
    config._attn_implementation, config._experts_implementation = "eager", "eager"
    return classes(model)[1](config).float().eval()


def read_back(model, folder, config):
    """The folder as transformers understands it; only what it cannot read itself is helped along."""
    kwargs = {"dtype": torch.float32, **options()}
    if model.auto == "NomicBert":
        kwargs["config"] = config  # transformers wants its own key names
    if model.name.endswith("mxfp4"):
        kwargs["quantization_config"] = transformers.Mxfp4Config(dequantize=True)
    network, info = classes(model)[1].from_pretrained(folder, output_loading_info=True, **kwargs)
    missing = [k for k in info["missing_keys"] if "lm_head" not in k]
    assert not missing and not info["mismatched_keys"], (model.name, info)
    return network.float().eval()


def evaluate(model, network, tokens):
    ids = torch.from_numpy(tokens.astype(np.int64))[None]
    with torch.no_grad():
        if not model.encoder:
            return {"logits": network(ids, use_cache=False).logits[0].float().numpy()}
        result = network(ids)
        hidden = result.last_hidden_state[0].numpy()
        out = {"hidden": hidden, "mean": hidden.mean(0), "cls": hidden[0].copy()}
        pooler = getattr(result, "pooler_output", None)
        return out | ({} if pooler is None else {"pooler": pooler[0].numpy()})


def choose_tokens(model, network, ids, size, length):
    """Random tokens; for experts, the first such prompt on which no choice is a near tie."""
    for attempt in range(100):
        rng = np.random.default_rng([SEED, 1, length, attempt, zlib.crc32(model.name.removesuffix("-mxfp4").encode())])
        tokens = rng.integers(5 if model.encoder else 0, size, length).astype(np.int32)
        if model.encoder:
            tokens[0], tokens[-1] = ids["cls"], ids["sep"]
        with SmallestMargin() as margin:
            evaluate(model, network, tokens)
        if margin.value > SMALLEST_MARGIN:
            return tokens, margin.value
    raise SystemExit(f"{model.name}: every prompt has a near tie between experts")


def distance(a, b):
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def check_features(model, network, ids, tokens, golden):
    """Same weights, one thing of the configuration changed: the results must move."""
    report, state = [], network.state_dict()
    for label, changes in model.matters.items():
        other = build(model, make_config(model, ids, changes))
        other.load_state_dict(state)
        other.tie_weights()
        moved = distance(next(iter(evaluate(model, other, tokens).values())), golden)
        assert moved > 1e-2, f"{model.name}: without {label} the results move by {moved:.1e} only"
        report.append(f"{label} {moved:.2f}")
    return report


def make_model(model, out):
    folder = out / model.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tokenizer, tokenizer_config, ids = model.tokenizer()
    assert tokenizer.get_vocab_size() <= model.config["vocab_size"], (model.name, tokenizer.get_vocab_size())
    config = make_config(model, ids)
    network = build(model, config)
    fill(model, network)
    write_weights(model, network, folder)
    write_config(model, network, folder)
    write_tokenizer(model, tokenizer, tokenizer_config, folder)
    again = read_back(model, folder, config)
    size = tokenizer.get_vocab_size()
    tokens, margin = choose_tokens(model, again, ids, size, PROMPT)
    prompts = {"": tokens}
    if model.short:
        prompts["short."] = choose_tokens(model, again, ids, size, model.short)[0]
    for prefix, prompt in prompts.items():
        results = evaluate(model, again, prompt)
        np.save(folder / f"{prefix}tokens.npy", prompt)
        for name, value in results.items():
            np.save(folder / f"{prefix}{name}.npy", value)
            assert np.array_equal(value, evaluate(model, network, prompt)[name]), f"{model.name}: read back differently"
    if model.encoder:  # of the texts of encodings.json
        encodings = [np.array(tokenizer.encode(text).ids, np.int32) for text in tok.TEXTS]
        np.save(folder / "embeddings.npy", np.stack([evaluate(model, again, ids)["mean"] for ids in encodings]))
    golden = next(iter(evaluate(model, again, tokens).values()))
    report = check_features(model, network, ids, tokens, golden)
    exact = next(iter(evaluate_double(model, network, tokens).values()))
    total = sum(f.stat().st_size for f in folder.iterdir()) / 1024
    deviation = golden.std()
    assert model.encoder or 0.5 <= deviation <= 3, f"{model.name}: logits have standard deviation {deviation:.2f}"
    print(
        f"{model.name:20} {total:5.0f} KB, deviation {deviation:.2f}, {len(set(golden.argmax(-1).tolist()))} tops, "
        f"float64 differs by {distance(golden, exact):.1e}"
        + (f", margin {margin:.1e}" if margin < math.inf else "")
        + (f"; matters: {', '.join(report)}" if report else "")
    )


def evaluate_double(model, network, tokens):
    network = network.double()
    result = evaluate(model, network, tokens)
    network.float()
    return result


# --- tensors.md ----------------------------------------------------------------------------------------------------

TYPES = {torch.bfloat16: "BF16", torch.float16: "F16", torch.float32: "F32", torch.uint8: "U8"}


def table(folder, exercises):
    """Names and shapes with layer and expert numbers folded into ranges, and config.json on a few lines."""
    rows = {}
    for file in sorted(folder.glob("*.safetensors")):
        for name, x in safetensors.torch.load_file(file).items():
            numbers = re.findall(r"\.(\d+)\.", name)
            key = (re.sub(r"\.\d+(?=\.)", ".*", name), tuple(x.shape), TYPES[x.dtype])
            rows.setdefault(key, []).append(tuple(map(int, numbers)))
    lines = [f"## {folder.name}", exercises, "", "| tensor | shape | type | * |", "| --- | --- | --- | --- |"]
    for (name, shape, kind), numbers in sorted(rows.items()):
        ranges = ["-".join(str(f(column)) for f in (min, max)) for column in zip(*numbers)]
        lines.append(f"| `{name}` | {' x '.join(map(str, shape)) or 'scalar'} | {kind} | {', '.join(ranges)} |")
    config = json.loads((folder / "config.json").read_text())
    noise = re.compile(r"drop|initializer|use_cache")
    entries = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in config.items() if not noise.search(k)]
    return "\n".join(lines) + "\n\n```\n" + ", ".join(entries) + "\n```\n"


def write_tables(models, out):
    head = "# Tensors and configuration of each folder\n"
    head += (
        "Made by `tools/make-architecture-golden.py`; the last column is what `*` stands for: layers, then experts.\n"
    )
    parts = [table(out / m.name, m.exercises) for m in models if (out / m.name).is_dir()]
    (out / "tensors.md").write_text("\n".join([head, *parts]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = pathlib.Path(__file__).resolve().parent.parent
    parser.add_argument("--out", type=pathlib.Path, default=root / "tests/data/architectures")
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="make these models only")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    models = architecture_models.all_models()
    for model in models:
        if not args.only or model.name in args.only:
            make_model(model, args.out)
    write_tables(models, args.out)


if __name__ == "__main__":
    main()
