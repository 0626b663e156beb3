"""The sample model in PyTorch: a Llama decoder whose weights can be rounded to bf16 on the way forward."""

import torch
from torch import nn
from torch.nn import functional as F

# Head size 32; each of the two key-value heads serves three query heads.
GEOMETRY = {
    "hidden_size": 192,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "max_position_embeddings": 1024,
}
WIDE, INNER, LAYERS = GEOMETRY["hidden_size"], GEOMETRY["intermediate_size"], GEOMETRY["num_hidden_layers"]
HEAD, HEADS, SHARED = GEOMETRY["head_dim"], GEOMETRY["num_attention_heads"], GEOMETRY["num_key_value_heads"]


def shapes(vocabulary):
    """Every tensor of the checkpoint by the name it has there; norms have one dimension."""
    yield "model.embed_tokens.weight", (vocabulary, WIDE)
    for layer in range(LAYERS):
        p = f"model.layers.{layer}."
        yield p + "input_layernorm.weight", (WIDE,)
        yield p + "self_attn.q_proj.weight", (HEADS * HEAD, WIDE)
        yield p + "self_attn.k_proj.weight", (SHARED * HEAD, WIDE)
        yield p + "self_attn.v_proj.weight", (SHARED * HEAD, WIDE)
        yield p + "self_attn.o_proj.weight", (WIDE, HEADS * HEAD)
        yield p + "post_attention_layernorm.weight", (WIDE,)
        yield p + "mlp.gate_proj.weight", (INNER, WIDE)
        yield p + "mlp.up_proj.weight", (INNER, WIDE)
        yield p + "mlp.down_proj.weight", (WIDE, INNER)
    yield "model.norm.weight", (WIDE,)


def initial(name, shape):
    if len(shape) == 1:
        return torch.ones(shape)
    return torch.randn(shape) * (0.02 if "embed" in name else shape[1] ** -0.5)


def rotate(x, cos, sin):
    """RoPE with the two halves of a head as pairs, as Llama checkpoints store it."""
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-b, a), dim=-1) * sin


class Decoder(nn.Module):
    """Llama decoder with tied embeddings over a flat list of weights."""

    def __init__(self, vocabulary):
        super().__init__()
        self.rounded = False
        self.names = [name for name, _ in shapes(vocabulary)]
        self.weights = nn.ParameterList(initial(name, shape) for name, shape in shapes(vocabulary))

    def current(self):
        """The weights by name; if `rounded`, as bf16 will store them, while gradients pass straight through."""
        if not self.rounded:
            return dict(zip(self.names, self.weights))
        return {n: w + (w.bfloat16().float() - w).detach() for n, w in zip(self.names, self.weights)}

    def forward(self, ids, keep):
        """Logits at the positions where `keep` is true."""
        w = self.current()
        batch, length = ids.shape
        frequency = GEOMETRY["rope_theta"] ** (-torch.arange(0, HEAD, 2) / HEAD)
        angles = torch.arange(length)[:, None] * torch.cat((frequency, frequency))
        cos, sin = angles.cos(), angles.sin()

        def norm(x, name):
            return F.rms_norm(x, (WIDE,), w[name], GEOMETRY["rms_norm_eps"])

        x = F.embedding(ids, w["model.embed_tokens.weight"])
        for layer in range(LAYERS):
            p = f"model.layers.{layer}."
            h = norm(x, p + "input_layernorm.weight")
            q, k, v = (
                F.linear(h, w[f"{p}self_attn.{n}_proj.weight"]).view(batch, length, -1, HEAD).transpose(1, 2)
                for n in "qkv"
            )
            k, v = (t.repeat_interleave(HEADS // SHARED, dim=1) for t in (rotate(k, cos, sin), v))
            h = F.scaled_dot_product_attention(rotate(q, cos, sin), k, v, is_causal=True)
            h = h.transpose(1, 2).reshape(batch, length, -1)
            x = x + F.linear(h, w[p + "self_attn.o_proj.weight"])
            h = norm(x, p + "post_attention_layernorm.weight")
            h = F.silu(F.linear(h, w[p + "mlp.gate_proj.weight"])) * F.linear(h, w[p + "mlp.up_proj.weight"])
            x = x + F.linear(h, w[p + "mlp.down_proj.weight"])
        return F.linear(norm(x[keep], "model.norm.weight"), w["model.embed_tokens.weight"])
