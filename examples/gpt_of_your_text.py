"""A GPT of your own text: trained on nine tenths of it, measured on the last tenth, then it writes.

pip install "kerasllm[tensorflow]"             # or jax, with KERAS_BACKEND=jax
python gpt_of_your_text.py mine.txt --steps 1000 --prompt "Once"
"""

import argparse
import math
from collections import Counter

import keras

from kerasllm import batches, data, evaluation, generation, models, text, training, weights

options = argparse.ArgumentParser(description="Train a GPT on a text file (UTF-8).")
options.add_argument("file")
options.add_argument("--steps", type=int, default=1000)
options.add_argument("--context", type=int, default=64, help="how many tokens it sees")
options.add_argument("--prompt", default="The ")
options = options.parse_args()

# Reading says what is wrong with a file that is no UTF-8 text, before anything is trained.
data.check_text_file(options.file)
corpus = "".join(data.text_pieces(options.file))
cut = int(len(corpus) * 0.9)
train, held_out = corpus[:cut], corpus[cut:]

# Characters suit a short text; for one of many megabytes take text.train_bpe([train], 8_000).
tokenizer = text.train_characters([train])
settings = models.preset("nano-modern", vocabulary_size=tokenizer.vocabulary_size, context_length=options.context)
model = models.GPT(settings)
model.compile(training.modern(steps=options.steps), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
feed = batches.windows(tokenizer.encode(train), context=options.context, batch_size=12, steps=options.steps, seed=1)
model.fit(feed, steps_per_epoch=options.steps, shuffle=False, verbose=2)

# Bits for each character that it has never seen; beside it what the frequencies of the characters alone would need.
bits = evaluation.bits_per_character(model, tokenizer, held_out)
known, total = Counter(train), len(train) + 256
alone = -sum(math.log2((known[one] + 1) / total) for one in held_out) / len(held_out)
print(f"Held-out text: {bits:.2f} bits per character; the frequencies of the characters alone need {alone:.2f}.")
print(generation.generate(model, options.prompt, 200, generation.Sampling(0.8), seed=1, tokenizer=tokenizer))

weights.save_safetensors(model, "gpt.safetensors")  # numbers and settings, no code
tokenizer.save("tokenizer.json")
again, same = weights.load_safetensors("gpt.safetensors"), text.Tokenizer.load("tokenizer.json")
print(generation.generate(again, options.prompt, 20, tokenizer=same))
