"""What reads one text and writes another, in NumPy: text by text, head by head, token by token, without a mask."""

import numpy as np

from kerasllm.layers.composite import named


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class Weights(dict):
    """The weights of a model by their places in it."""

    def __init__(self, model):
        super().__init__({name: np.array(weight, "float64") for name, weight in named(model).items()})

    def dense(self, x, place):
        return x @ self[f"{place}/kernel"] + self.get(f"{place}/bias", 0)

    def norm(self, x, place):
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * self[f"{place}/gamma"] + self[f"{place}/beta"]


def attention(w, place, heads, x, context, causal=False):
    """Equation 1 and section 3.2.2 of Vaswani et al. (2017)."""
    query, key, value = (
        np.split(w.dense(of, f"{place}/{name}"), heads, axis=-1)
        for of, name in ((x, "query"), (context, "key"), (context, "value"))
    )
    mixed = []
    for q, k, v in zip(query, key, value, strict=True):
        scores = q @ k.T / np.sqrt(q.shape[-1])
        if causal:
            scores[np.triu_indices(len(x), 1)] = -np.inf
        mixed.append(softmax(scores) @ v)
    return w.dense(np.concatenate(mixed, axis=-1), f"{place}/output")


def transformer_block(w, settings, place, x, context=None):
    """Figure 1 of Vaswani et al. (2017), with the normalisation before or after each part."""

    def feed_forward(x):
        return w.dense(np.maximum(w.dense(x, f"{place}/feed_forward/expand"), 0), f"{place}/feed_forward/project")

    heads, writes = settings.num_heads, context is not None
    parts = {"attention": lambda x: attention(w, f"{place}/attention", heads, x, x, writes)}
    if writes:
        parts["context"] = lambda x: attention(w, f"{place}/context_attention", heads, x, context)
    for name, part in {**parts, "feed_forward": feed_forward}.items():
        if settings.placement == "before":
            x = x + part(w.norm(x, f"{place}/{name}_norm"))
        else:
            x = w.norm(x + part(x), f"{place}/{name}_norm")
    return x


def transformer(model, inputs, source_ids):
    """The logits of a Seq2Seq with sinusoidal or learned positions and ReLU."""
    w, settings = Weights(model), model.settings
    dim, target_table = settings.embedding_dim, w["embedding/embeddings"]
    source_table = target_table if settings.shared else w["source_embedding/embeddings"]

    def entered(table, ids, name):
        if settings.positions == "learned":
            return table[ids] * np.sqrt(dim) + w[f"{name}/embeddings"][: len(ids)]
        angles = np.arange(len(ids))[:, None] / 10000 ** (np.arange(0, dim, 2) / dim)
        return table[ids] * np.sqrt(dim) + np.concatenate([np.sin(angles), np.cos(angles)], axis=-1)

    def logits(source, target):
        x = entered(source_table, source, "source_positions")
        for i in range(settings.num_layers):
            x = transformer_block(w, settings, f"encoder_{i + 1}", x)
        context = w.norm(x, "encoder_norm") if settings.placement == "before" else x
        x = entered(target_table, target, "positions")
        for i in range(settings.decoder_layers):
            x = transformer_block(w, settings, f"decoder_{i + 1}", x, context)
        x = w.norm(x, "decoder_norm") if settings.placement == "before" else x
        return x @ target_table.T

    return np.stack([logits(source, target) for source, target in zip(source_ids, inputs, strict=True)])


def lstm(w, place, x, state):
    """Equations 4 to 9 of Graves (2013), without peepholes: the outputs, and the last state."""
    (h, c), outputs = state, []
    for one in x:
        z = one @ w[f"{place}/kernel"] + h @ w[f"{place}/recurrent_kernel"] + w[f"{place}/bias"]
        i, f, g, o = np.split(z, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs), (h, c)


def recurrent(model, inputs, source_ids):
    """The logits of an LSTMSeq2Seq."""
    w, zeros = Weights(model), (np.zeros(model.units // 2),) * 2
    target_table = w["embedding/embeddings"]
    source_table = target_table if model.shared else w["source_embedding/embeddings"]

    def logits(source, target):
        read, written = source_table[source], target_table[target]
        for i in range(model.depth):
            place = f"encoder_{i + 1}"
            forward, (fh, fc) = lstm(w, f"{place}/forward_lstm/lstm_cell", read, zeros)
            backward, (bh, bc) = lstm(w, f"{place}/backward_lstm/lstm_cell", read[::-1], zeros)
            read = np.concatenate([forward, backward[::-1]], axis=-1)
            state = (np.concatenate([fh, bh]), np.concatenate([fc, bc]))
            written, _ = lstm(w, f"decoder_{i + 1}/lstm_cell", written, state)
        seen = softmax(written @ w["query/kernel"] @ read.T) @ read
        return np.tanh(np.concatenate([seen, written], axis=-1) @ w["combine/kernel"]) @ target_table.T

    return np.stack([logits(source, target) for source, target in zip(source_ids, inputs, strict=True)])
