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
