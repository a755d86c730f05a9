"""Default layers are plain Keras: a GPT trains under `keras.distribution` as it does on one device."""

import os
import subprocess
from pathlib import Path

import numpy as np
from nursery import ON_JAX, python

ROOT = Path(__file__).parents[2]

TRAIN = """
import jax
jax.config.update("jax_num_cpu_devices", 4)
import keras, numpy as np
from kerasllm import models, training
distribution, devices = keras.distribution, keras.distribution.list_devices()
assert len(devices) == 4
layout = distribution.LayoutMap(distribution.DeviceMesh((2, 2), ("batch", "model"), devices))
layout[".*(query|key|value|expand|gate)/kernel"] = (None, "model")
layout[".*(output|project)/kernel"] = ("model", None)
layout[".*embedding/embeddings"] = ("model", None)
kinds = [
    None,
    distribution.DataParallel(devices=devices),
    distribution.ModelParallel(layout_map=layout, batch_dim_name="batch"),
]
sizes = {"context_length": 8, "num_layers": 2, "num_heads": 4, "embedding_dim": 16, "num_kv_heads": 2}
modern = {"positions": "rotary", "norm": "rms_norm", "gated": True, "activation": "silu", "qk_norm": True}
ids = np.random.default_rng(0).integers(0, 32, (16, 9)).astype("int32")
for kind in kinds:
    distribution.set_distribution(kind)
    keras.utils.set_random_seed(1)
    model = models.GPT(models.gpt_settings(32, **sizes, **modern), name="gpt")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(training.classic(12, learning_rate=0.01), loss)
    losses = model.fit(ids[:, :-1], ids[:, 1:], batch_size=8, epochs=3, shuffle=False, verbose=0).history["loss"]
    kernel = model.blocks[0].attention.query.kernel.value
    print(*losses, "model" in str(getattr(kernel.sharding, "spec", "")), len(kernel.sharding.device_set))
"""


def test_data_and_model_parallel_training_has_the_losses_of_one_device():
    environment = os.environ | ON_JAX
    run = subprocess.run([*python(), "-c", TRAIN], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    found = [line.split() for line in run.stdout.splitlines()[-3:]]
    # Whether a kernel is cut, and on how many devices it is.
    assert [one[3:] for one in found] == [["False", "1"], ["False", "4"], ["True", "4"]]
    alone, *others = [[float(number) for number in one[:3]] for one in found]
    assert alone[-1] < alone[0]
    for losses in others:
        np.testing.assert_allclose(losses, alone, rtol=0, atol=1e-4)


MIRRORED = """
import contextlib
import keras, numpy as np, tensorflow as tf
from kerasllm import batches, models
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
texts = [np.random.default_rng(length).integers(1, 30, length).tolist() for length in (7, 3, 5, 9, 2, 6, 4, 8)]
feed = batches.prompted(texts[:4], texts[4:], batch_size=4, max_length=16, side="left", epochs=3)
feed = feed.map(lambda inputs, *rest: ({k: v for k, v in inputs.items() if k != "mask"}, *rest))
sizes = {"context_length": 16, "num_layers": 1, "num_heads": 2, "embedding_dim": 8}
for scope in (contextlib.nullcontext, tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope):
    with scope():
        keras.utils.set_random_seed(1)
        model = models.GPT(models.gpt_settings(30, positions="rotary", **sizes))
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    losses = model.fit(feed, epochs=3, steps_per_epoch=1, shuffle=False, verbose=0).history["loss"]
    print(*(f"{loss:.4f}" for loss in losses))
"""


def test_a_feed_without_its_mask_trains_under_mirrored_strategy_as_on_one_device():
    """Keras would take the mean of the mask over the devices; the segments say where padding is, too."""
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    command = [*python(), "-c", MIRRORED]
    run = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    alone, mirrored = run.stdout.splitlines()[-2:]
    assert alone == mirrored
    assert float(alone.split()[-1]) < float(alone.split()[0])
