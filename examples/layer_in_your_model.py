"""A layer of kerasllm between layers of Keras: handwritten digits, saved as one file and loaded again.

pip install "kerasllm[data,tensorflow]"        # or jax, with KERAS_BACKEND=jax
python layer_in_your_model.py
"""

import keras

import kerasllm.layers
from kerasllm import data

# A picture is a row of 64 numbers from 0 to 16, its label the digit that somebody wrote.
frame = data.load("digits")
features = [name for name in frame.columns if name not in ("label", "split")]
pixels = {part: rows[features].to_numpy("float32") / 16 for part, rows in frame.groupby("split")}
digits = {part: rows["label"].cat.codes.to_numpy() for part, rows in frame.groupby("split")}

# The layer is a layer like any other: it stands in Sequential and functional models, and Keras saves it.
model = keras.Sequential(
    [
        keras.Input((len(features),)),
        keras.layers.Dense(32),
        kerasllm.layers.FeedForward(hidden_dim=128, activation="gelu", dropout=0.1),
        keras.layers.RMSNormalization(),
        keras.layers.Dense(10),
    ]
)
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
# The validation part decides how long to train; the test part is looked at once.
stop = keras.callbacks.EarlyStopping("val_accuracy", patience=5, restore_best_weights=True)
model.fit(
    pixels["train"],
    digits["train"],
    validation_data=(pixels["validation"], digits["validation"]),
    epochs=40,
    callbacks=[stop],
    verbose=0,
)
print(f"Right on {model.evaluate(pixels['test'], digits['test'], verbose=0)[1]:.1%} of pictures it has never seen.")

model.save("digits.keras")
again = keras.saving.load_model("digits.keras")  # `import kerasllm.layers` is what the file needs
same = abs(model.predict(pixels["test"], verbose=0) - again.predict(pixels["test"], verbose=0)).max() < 1e-5
print(f"Saved as digits.keras; loaded again it answers {'the same' if same else 'something else'}.")
