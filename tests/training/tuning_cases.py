"""What the tests of tuning share: a small GPT, pairs and prompts of ids, and the formulas in NumPy."""

import keras
import numpy as np

from kerasllm.models import GPT, gpt_settings

SIZE, CONTEXT = 12, 24
# Where a test takes many steps: compiled, with XLA only where there is nothing else, for it takes longest.
COMPILED = {"jit_compile": keras.backend.backend() == "jax"}


def small_gpt(seed=0, **changes):
    """Weights of about 1, so that the probabilities of tokens differ."""
    keras.utils.set_random_seed(seed)
    sizes = {"vocabulary_size": SIZE, "num_layers": 1, "num_heads": 2, "embedding_dim": 8, "context_length": CONTEXT}
    model = GPT(gpt_settings(**{**sizes, **changes}))
    for weight in model.trainable_weights:
        weight.assign(weight + 0.3 * keras.random.normal(weight.shape))
    return model


def values(model):
    """Copies of the trainable weights."""
    return [np.array(keras.ops.convert_to_numpy(weight)) for weight in model.trainable_weights]


def set_values(model, start):
    for weight, value in zip(model.trainable_weights, start, strict=True):
        weight.assign(value)


def log_softmax(logits):
    logits = np.asarray(logits, "float64")
    logits = logits - logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def reply_log_probabilities(model, prompts, replies):
    """For each reply the log-probabilities of its ids, float64, from the logits of the model."""
    texts = [[*prompt, *reply] for prompt, reply in zip(prompts, replies, strict=True)]
    ids = np.zeros((len(texts), CONTEXT), "int32")
    for row, text in zip(ids, texts, strict=True):
        row[: len(text)] = text
    logs = log_softmax(keras.ops.convert_to_numpy(model(ids)))
    return [
        np.array([logs[row, place - 1, text[place]] for place in range(len(prompt), len(text))])
        for row, (text, prompt) in enumerate(zip(texts, prompts, strict=True))
    ]


def check_gradients(function, model, gradients, step=2e-3):
    """Each weight is moved along a direction of its own: the function must change as the gradient says."""
    random, found, wanted = np.random.default_rng(0), [], []
    for weight, gradient in zip(model.trainable_weights, gradients, strict=True):
        start = keras.ops.convert_to_numpy(weight).copy()
        direction = random.choice([-1.0, 1.0], start.shape)
        ends = []
        for sign in (1, -1):
            weight.assign(start + sign * step * direction)
            ends.append(function())
        weight.assign(start)
        wanted.append((ends[0] - ends[1]) / (2 * step))
        found.append((gradient * direction).sum())
    assert np.abs(wanted).max() > 0.02, "there is nothing to compare"
    np.testing.assert_allclose(found, wanted, rtol=0.02, atol=0.01 * np.abs(wanted).max())


def step_gradients(tuner, batch):
    """The gradients that a step of SGD with the rate 1 used, for each trainable weight; the weights are put back."""
    before = values(tuner.model)
    tuner.compile(keras.optimizers.SGD(1.0), run_eagerly=True)
    inputs, targets, weights = batch
    tuner.train_on_batch(inputs, targets, sample_weight=weights)
    after = values(tuner.model)
    set_values(tuner.model, before)
    return [old - new for old, new in zip(before, after, strict=True)]
