"""Reads the written files and decodes greedily with numpy: a second implementation, apart from the training code."""

import json
import math
import sys

import numpy as np
from tokenizers import Tokenizer

from .text import SYSTEM_MESSAGES


def read_weights(path):
    """bf16 tensors of a safetensors file as f32 arrays."""
    data = path.read_bytes()
    header_bytes = int.from_bytes(data[:8], "little")
    weights = {}
    for name, entry in json.loads(data[8 : 8 + header_bytes]).items():
        if name == "__metadata__":
            continue
        if entry["dtype"] != "BF16":
            sys.exit(f"error: {name} is {entry['dtype']}, not BF16")
        begin, end = (8 + header_bytes + offset for offset in entry["data_offsets"])
        halves = np.frombuffer(data[begin:end], dtype="<u2").astype("<u4") << 16
        weights[name] = halves.view("<f4").reshape(entry["shape"])
    return weights


class Reader:
    """Greedy decoding with a key-value cache in f32, written apart from the training code."""

    def __init__(self, folder):
        self.config = json.loads((folder / "config.json").read_text())
        self.weights = read_weights(folder / "model.safetensors")
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def step(self, ids, past):
        """Logits after the last of `ids`; `past` holds keys and values per layer and grows."""
        c, w = self.config, self.weights
        head, group = c["head_dim"], c["num_attention_heads"] // c["num_key_value_heads"]
        start = past[0][0].shape[1] if past[0] else 0
        place = np.arange(start, start + len(ids), dtype=np.float32)[:, None]
        angle = place * (c["rope_theta"] ** (-np.arange(0, head, 2, dtype=np.float32) / head))
        cos, sin = np.cos(angle), np.sin(angle)

        def norm(x, name):
            return x / np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(c["rms_norm_eps"])) * w[name]

        def rotate(x):
            a, b = x[..., : head // 2], x[..., head // 2 :]
            return np.concatenate((a * cos - b * sin, b * cos + a * sin), axis=-1)

        x = w["model.embed_tokens.weight"][ids]
        for layer in range(c["num_hidden_layers"]):
            p = f"model.layers.{layer}."
            h = norm(x, p + "input_layernorm.weight")
            q, k, v = (
                (h @ w[f"{p}self_attn.{n}_proj.weight"].T).reshape(len(ids), -1, head).swapaxes(0, 1) for n in "qkv"
            )
            q, k = rotate(q), rotate(k)
            if past[layer]:
                k, v = (np.concatenate((old, new), axis=1) for old, new in zip(past[layer], (k, v)))
            past[layer] = (k, v)
            scores = q @ k.repeat(group, axis=0).swapaxes(1, 2) / np.sqrt(np.float32(head))
            seen = np.arange(k.shape[1]) <= place
            scores = np.where(seen, scores, np.float32(-1e30))
            scores = np.exp(scores - scores.max(-1, keepdims=True))
            h = (scores / scores.sum(-1, keepdims=True)) @ v.repeat(group, axis=0)
            x = x + h.swapaxes(0, 1).reshape(len(ids), -1) @ w[p + "self_attn.o_proj.weight"].T
            h = norm(x, p + "post_attention_layernorm.weight")
            gate = h @ w[p + "mlp.gate_proj.weight"].T
            h = gate / (1 + np.exp(-gate)) * (h @ w[p + "mlp.up_proj.weight"].T)
            x = x + h @ w[p + "mlp.down_proj.weight"].T
        return norm(x[-1], "model.norm.weight") @ w["model.embed_tokens.weight"].T

    def answer(self, prompt, tokens_max=128):
        """The greedy continuation and the smallest lead of a chosen token over the next one."""
        past = [None] * self.config["num_hidden_layers"]
        ids, said, least = self.tokenizer.encode(prompt, add_special_tokens=False).ids, [], math.inf
        while len(said) < tokens_max:
            logits = self.step(ids, past)
            best = int(logits.argmax())
            top = logits[best]
            logits[best] = -math.inf
            least = min(least, float(top - logits.max()))
            if best == self.config["eos_token_id"]:
                break
            said.append(best)
            ids = [best]
        return self.tokenizer.decode(said, skip_special_tokens=False), least


def check(entries, folder):
    reader = Reader(folder)
    forms = {
        "question": lambda e: f"<|user|>{e['question']}<|end|><|assistant|>",
        "with a system message": lambda e: (
            f"<|system|>{SYSTEM_MESSAGES[0]}<|end|><|user|>{e['question']}<|end|><|assistant|>"
        ),
        "as plain text": lambda e: e["question"],
    }
    wrong_questions = 0
    for form, prompt in forms.items():
        least, wrong = math.inf, []
        for entry in entries:
            said, lead = reader.answer(prompt(entry))
            least = min(least, lead)
            if said.strip() != entry["answer"]:
                wrong.append((entry["question"], said))
        print(f"check {form}: {len(entries) - len(wrong)}/{len(entries)} exact, smallest lead {least:.3f}", flush=True)
        for question, said in wrong[:5]:
            print(f"  wrong: {question} -> {said}")
        if form == "question":
            wrong_questions = len(wrong)
    total = sum(f.stat().st_size for f in folder.iterdir() if f.suffix in (".json", ".safetensors"))
    print(f"model files: {total / 2**20:.2f} MiB")
    return wrong_questions == 0 and total <= 8 * 2**20
