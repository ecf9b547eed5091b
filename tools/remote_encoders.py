"""Encoders that transformers has no classes for, written from their papers as plainly as possible: what
make-architecture-golden.py holds metallic to.

Parameters have the names of the released checkpoints. All norms are layer norms and stand behind what they normalise.
"""

import torch
import transformers
from torch import nn
from torch.nn import functional
from transformers.modeling_outputs import BaseModelOutput


def alibi_slopes(heads):
    """The slopes of ALiBi (arXiv:2108.12409): 2^(-8 i / heads) for i = 1 .. heads if heads is a power of two; else those
    of the largest power of two below, then the 1st, 3rd, 5th ... of twice as many."""
    power = 2 ** (heads.bit_length() - 1)
    of = lambda n: [2.0 ** (-8.0 * i / n) for i in range(1, n + 1)]  # noqa: E731
    return torch.tensor((of(power) + of(2 * power)[::2])[:heads])


def split_heads(x, heads):
    """(rows, width) -> (heads, rows, width / heads)"""
    return x.unflatten(-1, (heads, -1)).transpose(0, 1)


def attend(query, key, value, bias=None):
    """softmax(q k / sqrt(d) + bias) v, every position seeing all; (heads, rows, d) each -> (rows, heads * d)"""
    scores = query @ key.transpose(1, 2) / query.shape[-1] ** 0.5
    weights = (scores if bias is None else scores + bias).softmax(-1)
    return (weights @ value).transpose(0, 1).flatten(1)


def rotate(x, theta):
    """Rotary positions (arXiv:2104.09864), element i with element i + d / 2; x (heads, rows, d)"""
    half = x.shape[-1] // 2
    frequency = theta ** (-torch.arange(half, dtype=x.dtype) / half)
    angle = torch.arange(x.shape[1], dtype=x.dtype)[:, None] * frequency
    first, second = x[..., :half], x[..., half:]
    return torch.cat(
        [first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()], -1
    )


def module(**children):
    result = nn.Module()
    for name, child in children.items():
        setattr(result, name, child)
    return result


class RemoteEncoder(transformers.PreTrainedModel):
    all_tied_weights_keys = {}

    def _init_weights(self, module):
        pass  # all are set from outside

    def forward(self, input_ids):
        assert input_ids.shape[0] == 1
        return BaseModelOutput(last_hidden_state=self.encode(input_ids[0])[None])


# --- Jina Embeddings 2 (arXiv:2310.19923) --------------------------------------------------------------------------


class JinaBertConfig(transformers.PretrainedConfig):
    model_type = "bert"
    for_code = False


class JinaCodeBertConfig(JinaBertConfig):
    for_code = True


class JinaBertModel(RemoteEncoder):
    """x = norm(word + type); in each layer
    a = norm(x + W_o attention(q, k, v) + b_o), scores biased by -slope * |i - j|,
    x = norm(a + W_down(gelu(W_gate a) * (W_up a)) + b_down)
    and for code: q and k are normalised as whole rows, and a becomes norm_1(x + a)."""

    config_class = JinaBertConfig

    def __init__(self, config):
        super().__init__(config)
        width, inner = config.hidden_size, config.intermediate_size
        norm = lambda: nn.LayerNorm(width, eps=config.layer_norm_eps)  # noqa: E731
        self.embeddings = module(
            word_embeddings=nn.Embedding(config.vocab_size, width),
            token_type_embeddings=nn.Embedding(config.type_vocab_size, width),
            LayerNorm=norm(),
        )
        layers = []
        for _ in range(config.num_hidden_layers):
            projections = {name: nn.Linear(width, width) for name in ("query", "key", "value")}
            output = module(dense=nn.Linear(width, width), LayerNorm=norm())
            up, down = nn.Linear(width, 2 * inner, bias=False), nn.Linear(inner, width)
            if config.for_code:
                own = module(**projections, layer_norm_q=norm(), layer_norm_k=norm())
                mlp = {"mlp": module(up_gated_layer=up, down_layer=down)}
                mlp |= {"layer_norm_1": norm(), "layer_norm_2": norm()}
            else:
                own = module(**projections)
                mlp = {"mlp": module(gated_layers=up, wo=down, layernorm=norm())}
            layers.append(module(attention=module(self=own, output=output), **mlp))
        self.encoder = module(layer=nn.ModuleList(layers))

    def encode(self, ids):
        e = self.embeddings
        x = e.LayerNorm(e.word_embeddings(ids) + e.token_type_embeddings.weight[0])
        position = torch.arange(len(ids))
        distance = (position[:, None] - position).abs()
        bias = (-alibi_slopes(self.config.num_attention_heads)[:, None, None] * distance).to(x.dtype)
        if self.config.position_embedding_type != "alibi":
            bias = None
        for layer in self.encoder.layer:
            own, output = getattr(layer.attention, "self"), layer.attention.output
            q, k, v = own.query(x), own.key(x), own.value(x)
            if self.config.for_code:
                q, k = own.layer_norm_q(q), own.layer_norm_k(k)
            a = attend(*(split_heads(y, self.config.num_attention_heads) for y in (q, k, v)), bias)
            a = output.LayerNorm(x + output.dense(a))
            if self.config.for_code:
                a = layer.layer_norm_1(x + a)
                up, gate = layer.mlp.up_gated_layer(a).chunk(2, -1)
                x = layer.layer_norm_2(a + layer.mlp.down_layer(functional.gelu(gate) * up))
            else:
                gate, up = layer.mlp.gated_layers(a).chunk(2, -1)
                x = layer.mlp.layernorm(a + layer.mlp.wo(functional.gelu(gate) * up))
        return x


class JinaCodeBertModel(JinaBertModel):
    config_class = JinaCodeBertConfig


# --- Nomic Embed 2 (arXiv:2502.07972) ------------------------------------------------------------------------------


class NomicMoeConfig(transformers.PretrainedConfig):
    model_type = "nomic_bert"


class NomicMoeModel(RemoteEncoder):
    """x = norm(word + type); in each layer
    a = norm1(x + attention of rotated q and k), x = norm2(a + ffn(a)),
    ffn(a) = W_2 gelu(W_1 a) or, in layers i with i % every == 1, b + the sum over the best experts e by p = softmax(R a)
    of p_e W_2e gelu(W_1e a)."""

    config_class = NomicMoeConfig

    def __init__(self, config):
        super().__init__(config)
        width, inner, experts = config.n_embd, config.n_inner, config.num_experts
        norm = lambda: nn.LayerNorm(width, eps=config.layer_norm_epsilon)  # noqa: E731
        self.embeddings = module(
            word_embeddings=nn.Embedding(config.vocab_size, width),
            token_type_embeddings=nn.Embedding(config.type_vocab_size, width),
        )
        self.emb_ln = norm()
        layers = []
        for i in range(config.n_layer):
            if i % config.moe_every_n_layers == 1:
                matrices = {name: nn.Parameter(torch.zeros(experts * inner, width)) for name in ("w1", "w2")}
                bias = nn.Parameter(torch.zeros(width))
                router = module(layer=nn.Linear(width, experts, bias=False))
                mlp = module(router=router, experts=module(mlp=module(**matrices), bias=bias))
            else:
                mlp = module(fc1=nn.Linear(width, inner), fc2=nn.Linear(inner, width))
            attention = module(Wqkv=nn.Linear(width, 3 * width), out_proj=nn.Linear(width, width))
            layers.append(module(attn=attention, mlp=mlp, norm1=norm(), norm2=norm()))
        self.encoder = module(layers=nn.ModuleList(layers))

    def mixture(self, mlp, a):
        probability = mlp.router.layer(a).softmax(-1)
        chosen = probability.topk(self.config.moe_top_k, -1)
        w1, w2 = (getattr(mlp.experts.mlp, w).unflatten(0, (self.config.num_experts, -1)) for w in ("w1", "w2"))
        out = mlp.experts.bias.expand_as(a)
        for k in range(self.config.moe_top_k):
            expert = chosen.indices[:, k]
            inner = functional.gelu(torch.einsum("rw,rfw->rf", a, w1[expert]))
            out = out + chosen.values[:, k, None] * torch.einsum("rf,rfw->rw", inner, w2[expert])
        return out

    def encode(self, ids):
        x = self.embeddings.word_embeddings(ids) + self.embeddings.token_type_embeddings.weight[0]
        x = self.emb_ln(x)
        for layer in self.encoder.layers:
            q, k, v = (split_heads(y, self.config.n_head) for y in layer.attn.Wqkv(x).chunk(3, -1))
            theta = self.config.rotary_emb_base
            a = layer.norm1(x + layer.attn.out_proj(attend(rotate(q, theta), rotate(k, theta), v)))
            mlp = layer.mlp
            ffn = self.mixture(mlp, a) if hasattr(mlp, "experts") else mlp.fc2(functional.gelu(mlp.fc1(a)))
            x = layer.norm2(a + ffn)
        return x
