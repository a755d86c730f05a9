"""From a trained model to text: samplers, and a loop that is compiled once and writes many tokens in one call.

    from kerasllm.generation import Sampling, generate, stream

    generate(model, "In the beginning", 100, Sampling(temperature=0.8, top_p=0.95), seed=1, tokenizer=tokenizer)
    for piece in stream(model, "In the beginning", 100, tokenizer=tokenizer):
        print(piece, end="", flush=True)

| sampler                            | the next token is                                             |
|------------------------------------|---------------------------------------------------------------|
| `Greedy`                           | the most probable one                                         |
| `Sampling`                         | drawn: temperature, top-k, top-p, min-p, repetition penalty   |
| `Beam`                             | the one that begins the most probable text that was found     |

Texts in turns are a `Session`; a conversation with a model that was tuned for it, a `Chat`:

    chat = Chat(model, tokenizer, system="You are a pirate.")
    print(chat.say("Hi!").text)

A GPT keeps keys and values of the tokens so far; any other model with a ``step`` like that of
`kerasllm.models.LSTMLanguageModel` keeps its states.

A model that reads one text and writes another, such as a `kerasllm.models.Seq2Seq`, has a search of its own:

    ids, scores = beam_search(model, source_ids, source_mask, start_id, end_id, num_beams=4)

Contrastive search is not built again: KerasHub's sampler takes a GPT of ours, `ids` being the prompts with room behind
and `mask` True on the prompts, which are `length` tokens long:

    hidden = model(ids, return_features=True)
    _, cache = model(ids[:, : length - 1], cache=model.make_cache(rows, capacity))

    def next_token(prompt, cache, index):
        features, cache = model(prompt[:, index - 1 : index], cache=cache, return_features=True)
        return model.head(features)[:, 0], features[:, 0], cache

    sampler = keras_hub.samplers.ContrastiveSampler(k=4, alpha=0.6)
    sampler(next_token, ids, cache, length, mask, hidden_states=hidden, model=model)
"""

import kerasllm.common.backend  # noqa: F401  says what to install where Keras has no backend
from kerasllm.generation.chat import Chat
from kerasllm.generation.generating import generate, stream
from kerasllm.generation.samplers import Beam, Greedy, Sampling
from kerasllm.generation.sequence_to_sequence import Translations, beam_search
from kerasllm.generation.session import Reply, Session

__all__ = [
    "Beam",
    "Chat",
    "Greedy",
    "Reply",
    "Sampling",
    "Session",
    "Translations",
    "beam_search",
    "generate",
    "stream",
]
