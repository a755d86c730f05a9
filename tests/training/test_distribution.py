"""Default layers are plain Keras: a GPT trains under `keras.distribution` as it does on one device."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

TRAIN = """
import sys
import keras, numpy as np
from kerasllm import models, training
kind, devices = sys.argv[1], keras.distribution.list_devices()
assert len(devices) == 4
if kind == "data":
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
if kind == "model":
    mesh = keras.distribution.DeviceMesh((2, 2), ("batch", "model"), devices)
    layout = keras.distribution.LayoutMap(mesh)
    layout[".*(query|key|value|expand|gate)/kernel"] = (None, "model")
    layout[".*(output|project)/kernel"] = ("model", None)
    layout[".*embedding/embeddings"] = ("model", None)
    keras.distribution.set_distribution(keras.distribution.ModelParallel(layout_map=layout, batch_dim_name="batch"))
keras.utils.set_random_seed(1)
sizes = {"context_length": 8, "num_layers": 2, "num_heads": 4, "embedding_dim": 16, "num_kv_heads": 2}
modern = {"positions": "rotary", "norm": "rms_norm", "gated": True, "activation": "silu", "qk_norm": True}
model = models.GPT(models.gpt_settings(32, **sizes, **modern), name="gpt")
model.compile(training.classic(12, learning_rate=0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
ids = np.random.default_rng(0).integers(0, 32, (16, 9)).astype("int32")
losses = model.fit(ids[:, :-1], ids[:, 1:], batch_size=8, epochs=3, shuffle=False, verbose=0).history["loss"]
spec = model.blocks[0].attention.query.kernel.value.sharding.spec if kind == "model" else ""
print(*losses, "model" in str(spec))
"""


def losses(kind):
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "4"}
    command = [sys.executable, "-c", TRAIN, kind]
    run = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    *numbers, cut = run.stdout.split()[-4:]
    return [float(number) for number in numbers], cut == "True"


def test_data_and_model_parallel_training_has_the_losses_of_one_device():
    alone, _ = losses("alone")
    assert alone[-1] < alone[0]
    for kind in ("data", "model"):
        found, cut = losses(kind)
        assert cut == (kind == "model"), "the kernels were not cut"
        assert max(abs(a - b) for a, b in zip(found, alone, strict=True)) < 1e-4, kind


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
    command = [sys.executable, "-c", MIRRORED]
    run = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    alone, mirrored = run.stdout.splitlines()[-2:]
    assert alone == mirrored
    assert float(alone.split()[-1]) < float(alone.split()[0])
