"""Trains a decoder on examples: loss on the answers only, the last part on weights rounded to bf16."""

import math
import time

import torch
from torch.nn import functional as F

from .text import PAD


def pad_batch(batch):
    """Ids padded on the right, the positions that predict an answer token, and those tokens."""
    length = max(len(ids) for ids, _ in batch)
    ids = torch.full((len(batch), length), PAD)
    keep = torch.zeros((len(batch), length), dtype=torch.bool)
    for row, (tokens, silent) in enumerate(batch):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        keep[row, silent - 1 : len(tokens) - 1] = True
    return ids, keep, ids.roll(-1, dims=1)[keep]


def recall(model, examples):
    """How many wordings give their answer, and the smallest lead of the right token."""
    asked = [(w, e["answer"]) for e in examples.entries for w in [e["question"], *e["paraphrases"]]]
    exact, least = 0, math.inf
    with torch.no_grad():
        for i in range(0, len(asked), 64):
            batch = [examples.chat(*pair) for pair in asked[i : i + 64]]
            ids, keep, target = pad_batch(batch)
            logits = model(ids, keep)
            right = logits.gather(1, target[:, None])
            lead = (right - logits.scatter(1, target[:, None], -math.inf).max(1, keepdim=True).values)[:, 0]
            parts = lead.split([len(t) - s for t, s in batch])
            exact += sum(int(part.min() > 0) for part in parts)
            least = min(least, lead.min().item())
    return exact, len(asked), least


def train(model, examples, arguments):
    steps, warm = arguments.steps, 100
    matrices = [w for w in model.weights if w.dim() == 2]
    vectors = [w for w in model.weights if w.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.02}, {"params": vectors, "weight_decay": 0.0}],
        lr=arguments.rate,
        betas=(0.9, 0.98),
    )
    began, mean = time.monotonic(), None
    for step, batch in zip(range(1, steps + 1), examples.batches(arguments.batch)):
        model.rounded = step > steps * 0.7
        fraction = min(step / warm, 0.5 * (1 + math.cos(math.pi * step / steps)) + 0.01)
        for group in optimizer.param_groups:
            group["lr"] = arguments.rate * fraction
        ids, keep, target = pad_batch(batch)
        loss = F.cross_entropy(model(ids, keep), target)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        mean = loss.item() if mean is None else 0.95 * mean + 0.05 * loss.item()
        if step % 50 == 0:
            print(f"step {step}/{steps}  loss {mean:.4f}  {time.monotonic() - began:.0f} s", flush=True)
        if step % 400 == 0 or step == steps:
            exact, asked, least = recall(model, examples)
            print(f"step {step}/{steps}  wordings answered {exact}/{asked}  smallest lead {least:.2f}", flush=True)
    return time.monotonic() - began
