"""A GPT-2 in plain PyTorch, as a peer: training under torch.compile in bfloat16, without Keras.

`accelerator.py` runs it in a process of its own. Dropout stands where GPT-2 has it, weights begin as section 2.3 says,
attention is PyTorch's own fused one, AdamW its fused one: what a PyTorch user would write today.

Reference: Radford et al. (2019), "Language Models are Unsupervised Multitask Learners", section 2.3.
"""

import math
import time

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    def __init__(self, dim, heads, dropout, depth, bias):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.attention_norm, self.feed_forward_norm = (nn.LayerNorm(dim, bias=bias) for _ in range(2))
        self.project_in, self.project_out = nn.Linear(dim, 3 * dim, bias=bias), nn.Linear(dim, dim, bias=bias)
        self.expand, self.project = nn.Linear(dim, 4 * dim, bias=bias), nn.Linear(4 * dim, dim, bias=bias)
        self.drop = nn.Dropout(dropout)
        for layer in (self.project_in, self.expand):
            nn.init.normal_(layer.weight, std=0.02)
        for layer in (self.project_out, self.project):  # the outputs of 2 * depth parts are added up
            nn.init.normal_(layer.weight, std=0.02 / math.sqrt(2 * depth))
        for layer in (self.project_in, self.project_out, self.expand, self.project):
            if bias:
                nn.init.zeros_(layer.bias)

    def forward(self, x):
        batch, time, dim = x.shape
        query, key, value = self.project_in(self.attention_norm(x)).split(dim, dim=2)
        query, key, value = (y.view(batch, time, self.heads, -1).transpose(1, 2) for y in (query, key, value))
        dropout = self.dropout if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)
        x = x + self.drop(self.project_out(mixed.transpose(1, 2).reshape(batch, time, dim)))
        return x + self.drop(self.project(functional.gelu(self.expand(self.feed_forward_norm(x)))))


class GPT(nn.Module):
    """Ids (batch, time) to logits (batch, time, vocabulary_size); the head's matrix is that of the embedding."""

    def __init__(
        self, vocabulary_size, context_length, num_layers, num_heads, embedding_dim, dropout=0.0, use_bias=True
    ):
        super().__init__()
        self.embed = nn.Embedding(vocabulary_size, embedding_dim)
        self.place = nn.Embedding(context_length, embedding_dim)
        self.drop = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            Block(embedding_dim, num_heads, dropout, num_layers, use_bias) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(embedding_dim, bias=use_bias)
        for table in (self.embed, self.place):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, ids):
        x = self.drop(self.embed(ids) + self.place.weight[: ids.shape[1]])
        for block in self.blocks:
            x = block(x)
        return functional.linear(self.norm(x), self.embed.weight)


def speed(sizes, batch_size, turns, steps, seed=0):
    """Tokens a second of training on random ids.

    Args:
        sizes: arguments of `GPT`.
        batch_size: rows of a batch.
        turns, steps: so many times so many steps are timed; the median turn counts.
        seed: of weights and ids.

    Returns:
        A dictionary of tokens a second, milliseconds a step, seconds of the first step, which compiles, and gigabytes.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(seed)
    torch.set_float32_matmul_precision("high")
    model = GPT(**sizes).to(device)
    matrices = [p for p in model.parameters() if p.dim() > 1]
    scales = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": scales, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99), eps=1e-8, fused=True)
    compiled = torch.compile(model)
    shape = (8, batch_size, sizes["context_length"] + 1)
    ids = torch.randint(sizes["vocabulary_size"], shape, device=device)

    def step(i):
        rows = ids[i % len(ids)]
        with torch.autocast(device, torch.bfloat16):
            logits = compiled(rows[:, :-1])
            loss = functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss

    start = time.perf_counter()
    first = float(step(0).detach())
    found = {"first_step_seconds": round(time.perf_counter() - start, 1), "parameters": count(model)}
    for i in range(3):
        step(i).item()
    seconds = []
    for _ in range(turns):
        start = time.perf_counter()
        for i in range(steps):
            loss = step(i)
        last = float(loss.detach())  # waits for the last step
        seconds.append((time.perf_counter() - start) / steps)
    if not last < first + 1:
        raise RuntimeError(f"The loss went from {first:.3f} to {last:.3f}: this step does not train.")
    middle = sorted(seconds)[len(seconds) // 2]
    found["step_ms"] = round(1000 * middle, 2)
    found["tokens_per_second"] = round(batch_size * sizes["context_length"] / middle)
    if device == "cuda":
        found["peak_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)
    found["versions"] = f"PyTorch {torch.__version__}"
    return found


def count(model):
    return sum(p.numel() for p in model.parameters())
