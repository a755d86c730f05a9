"""What one model for many languages costs, and what it gives.

    python benchmarks/multilingual.py --out build/multilingual.csv

Three parts, each of which can be asked for alone:

- transfer: a head that learned opinions in one language and on one subject judges texts of another. English films,
  English goods and Chinese goods; vectors of multilingual E5, and of MiniLM, which was made for English.
- retrieval: a sentence finds its translation among others. The same verses in six languages, and everyday sentences in
  English and Chinese; against BM25 on words and on groups of three characters.
- writing: a small GPT that reads verses in six languages in turns, a language token in front of each, against GPTs of
  one language; and what it writes when the token asks for one language and the text begins in another.

Each number is a line of the file. What is there is skipped, so the script may be stopped and started. Vectors and the
bits of each verse are kept in a folder beside the file.
"""

import argparse
import math
import time

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from run_table import RunTable, ship
from scipy.stats import rankdata
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from kerasllm.batches.window import Windows
from kerasllm.data import load
from kerasllm.evaluation import log_probability, ranks
from kerasllm.generation import Sampling, generate
from kerasllm.models import GPT, gpt_settings
from kerasllm.tasks import BM25
from kerasllm.text import train_bpe
from kerasllm.training import warmup_linear
from kerasllm.weights import sentence_encoder

COLUMNS = ["part", "model", "source", "target", "seed", "measure", "value", "low", "high", "texts"]
LANGUAGES = ["english", "german", "french", "spanish", "russian", "chinese"]
PARTS = ("transfer", "retrieval", "writing")
DRAWS, DRAW, VALIDATION, TEST = (0, 1, 2), 400, 200, 600  # disjoint draws of training texts, and their sizes
LENGTH = 64  # tokens of a review that are read
SEARCHED, VERSES = 100, 300  # test verses that are searched, and that are written
VOCABULARY, LEARNED = 4_096, 2_000  # tokens, and verses of each language that they are learned from
READ = 9_000  # verses that a GPT reads, once
CONTEXT, BATCH = 128, 8
RATE_SEED = 100
FOREIGN = (0, 1, 2, 4, 8)  # tokens of another language behind the request


class Table(RunTable):
    """Rows on disk, and a folder for what is too large for a row."""

    def __init__(self, path):
        super().__init__(path, COLUMNS)
        self.folder = self.path.with_suffix("")
        self.folder.mkdir(parents=True, exist_ok=True)

    def value(self, **wanted):
        """The value of the first such row."""
        return float(self.find(**wanted)[0]["value"])

    def add(self, value, interval=("", ""), **row):
        if self.has(**row):
            return  # of a run that was stopped before its last number
        numbers = [round(float(one), 4) if one != "" else "" for one in (value, *interval)]
        super().add(row | dict(zip(("value", "low", "high"), numbers, strict=True)))

    def kept(self, name, make):
        """An array that is made once."""
        path = self.folder / f"{name}.npy"
        if not path.exists():
            started = time.process_time()
            np.save(path, make())
            print(f"{name}: {time.process_time() - started:.0f} s", flush=True)
        return np.load(path)


def interval(statistic, texts, resamples=300):
    """Where 95% of the values lie if the texts are drawn anew; `statistic` is a function of the places of texts."""
    rng = np.random.default_rng(0)
    return np.quantile([statistic(rng.integers(texts, size=texts)) for _ in range(resamples)], [0.025, 0.975])


class Encoders:
    """The two encoders, loaded when the first vector is not yet there."""

    def __init__(self, table, length=None):
        self.table, self.length, self.loaded = table, length, {}

    def vectors(self, model, name, texts, prefix=None):
        def make():
            if model not in self.loaded:
                self.loaded[model] = sentence_encoder(model)
            encoder = self.loaded[model]
            encoder.max_length = self.length or encoder.network.context_length
            return encoder.embed(list(texts), prefix)

        return self.table.kept(f"{model}-{name}", make)


# Opinions -------------------------------------------------------------------------------------------


def opinions():
    """For each subject a part -> its texts and its labels; three draws of training texts that share none."""
    goods = load("product-snippets")
    frames = {
        "english films": load("movie-snippets"),
        "english goods": goods[goods["rating"].abs() >= 0.5],  # many of the others hold no opinion
        "chinese goods": load("chinese-reviews"),
    }
    found = {}
    for name, frame in frames.items():
        parts = {part: some.sample(frac=1, random_state=0) for part, some in frame.groupby("split", observed=True)}
        chosen = {draw: parts["train"][draw * DRAW : (draw + 1) * DRAW] for draw in DRAWS}
        chosen |= {"validation": parts["validation"][:VALIDATION], "test": parts["test"][:TEST]}
        found[name] = {
            part: (some["text"].tolist(), (some["label"] == "positive").to_numpy(int)) for part, some in chosen.items()
        }
    return found


def ranking(truth, scores):
    """The area under the ROC curve: of all pairs of a good and a bad text, those in which the good one is above."""
    good, bad = truth.sum(), len(truth) - truth.sum()
    return (rankdata(scores)[truth > 0].sum() - good * (good + 1) / 2) / (good * bad)


class Head:
    """A logistic regression on vectors that are moved and scaled as those of the training texts."""

    def __init__(self, vectors, labels, check_vectors, check_labels):
        self.mean, self.scale = vectors.mean(axis=0), np.maximum(vectors.std(axis=0), 1e-6)  # MiniLM has a constant
        tried = [
            LogisticRegression(C=C, max_iter=2_000).fit(self.moved(vectors), labels) for C in (0.001, 0.01, 0.1, 1)
        ]
        self.line = max(tried, key=lambda one: one.score(self.moved(check_vectors), check_labels))

    def moved(self, vectors, mean=None):
        return (vectors - (self.mean if mean is None else mean)) / self.scale

    def scores(self, vectors, mean=None):
        return self.line.decision_function(self.moved(vectors, mean))


def transfer(table):
    texts, encoders = opinions(), Encoders(table, LENGTH)
    for subject, parts in texts.items():
        labels = parts["test"][1]
        key = {"part": "transfer", "model": "one answer for all", "source": "", "target": subject, "seed": 0}
        if not table.has(**key):
            constant = max(labels.mean(), 1 - labels.mean())
            table.add(constant, **key, measure="accuracy", texts=len(labels))
    for model in ("e5-small", "minilm"):
        vectors = {
            subject: {
                part: encoders.vectors(model, f"{subject.replace(' ', '-')}-{part}", some[0])
                for part, some in parts.items()
            }
            for subject, parts in texts.items()
        }
        for source in texts if model == "e5-small" else ("english films", "chinese goods"):
            for draw in DRAWS:
                _transferred(table, texts, vectors, model, source, draw)


def _transferred(table, texts, vectors, model, source, draw):
    """A head of one draw, and one whose labels were shuffled, on all subjects."""
    labels = texts[source][draw][1]
    shuffled = np.random.default_rng(draw).permutation(labels)
    for name, answers in ((source, labels), (f"{source}, shuffled labels", shuffled)):
        if answers is shuffled and source != "english films":
            continue
        if table.has(part="transfer", model=model, source=name, seed=draw, target=list(texts)[-1], measure="ranking"):
            continue
        check = vectors[source]["validation"], texts[source]["validation"][1]
        head = Head(vectors[source][draw], answers, *check)
        for target in texts:
            truth, found = texts[target]["test"][1], vectors[target]["test"]
            scores = head.scores(found)
            right = (scores > 0) == truth
            centred = (head.scores(found, vectors[target][draw].mean(axis=0)) > 0) == truth  # of texts without labels
            key = {"part": "transfer", "model": model, "source": name, "target": target, "seed": draw}
            for measure, statistic in (
                ("accuracy", lambda rows, right=right: right[rows].mean()),
                ("accuracy, centred", lambda rows, right=centred: right[rows].mean()),
                ("positive answers", lambda rows, scores=scores: (scores[rows] > 0).mean()),
                ("ranking", lambda rows, truth=truth, scores=scores: ranking(truth[rows], scores[rows])),
            ):
                value = statistic(np.arange(len(truth)))
                table.add(value, interval(statistic, len(truth)), **key, measure=measure, texts=len(truth))


# Translations ---------------------------------------------------------------------------------------


def verses():
    """The verses that stand in all six languages: a frame with a column for each, and the part of each row."""
    union = load("chinese-bible").rename(columns={"label": "book"}).assign(label="chinese")
    bibles = pd.concat([load("parallel-bible"), union])
    rows = bibles.pivot(index=["split", "book", "chapter", "verse"], columns="label", values="text")
    return rows[LANGUAGES].dropna()


def threes(text):
    """Groups of three characters, with the spaces."""
    text = f" {text.lower()} "
    return [text[i : i + 3] for i in range(len(text) - 2)]


def of_words(asked, searched, **words):
    index = BM25(searched, **words)
    places, found = index.search(asked, len(searched))
    scores = np.zeros((len(asked), len(searched)), "float32")
    np.put_along_axis(scores, places, found, axis=1)
    return scores


def retrieval(table):
    rows = verses().loc["test"].sample(SEARCHED, random_state=0)
    pairs = load("hsk-sentences").query("split == 'test'").drop_duplicates("source").drop_duplicates("target")
    collections = {
        "verses": {language: rows[language].tolist() for language in LANGUAGES},
        "sentences": {"english": pairs["source"].tolist(), "chinese": pairs["target"].tolist()},
    }
    encoders = Encoders(table)
    for name, texts in collections.items():
        for model, prefix in (("e5-small", None), ("minilm", None), ("e5-small", "")):
            if prefix is not None and name == "verses":
                continue  # what the prefix is worth is measured on the short sentences
            said = model if prefix is None else f"{model}, no prefix"
            vectors = {
                language: encoders.vectors(model, f"{name}-{language}{'' if prefix is None else '-bare'}", some, prefix)
                for language, some in texts.items()
            }
            moved = {language: one - one.mean(axis=0) for language, one in vectors.items()}
            moved = {language: one / np.linalg.norm(one, axis=1, keepdims=True) for language, one in moved.items()}
            for asked, searched in _ordered(texts):
                _found(table, name, said, asked, searched, vectors[asked] @ vectors[searched].T)
                if prefix is None:
                    _found(table, name, f"{said}, centred", asked, searched, moved[asked] @ moved[searched].T)
        for asked, searched in _ordered(texts):
            _found(table, name, "BM25, words", asked, searched, of_words(texts[asked], texts[searched]))
            found = of_words(texts[asked], texts[searched], words=threes)
            _found(table, name, "BM25, three characters", asked, searched, found)


def _ordered(texts):
    return [(asked, searched) for asked in texts for searched in texts if asked != searched]


def _found(table, name, model, asked, searched, scores):
    key = {"part": name, "model": model, "source": asked, "target": searched, "seed": 0}
    if table.has(**key):
        return
    place = ranks(scores, np.arange(len(scores)))
    for k in (1, 5):
        value = (place <= k).mean()
        error = interval(lambda rows, k=k: (place[rows] <= k).mean(), len(place))
        table.add(value, error, **key, measure=f"hit at {k}", texts=len(place))


# Writing --------------------------------------------------------------------------------------------


class Texts:
    """Verses as ids: a language token, the verse, the end."""

    def __init__(self):
        self.rows = verses()
        train = self.rows.loc["train"]
        some = train.sample(LEARNED, random_state=0)
        self.tokenizer = train_bpe(
            [verse for one in LANGUAGES for verse in some[one]],
            VOCABULARY,
            eos=True,
            extra=[f"<{one}>" for one in LANGUAGES],
        )
        self.asked = {one: self.tokenizer.id_of(f"<{one}>") for one in LANGUAGES}

    def ids(self, language, texts):
        return [[self.asked[language], *ids, self.tokenizer.eos_id] for ids in self.tokenizer.encode_batch(texts)]

    def stream(self, seed, language=None, sixth=False):
        """One row of ids: the verses of a seed in six languages by turns, all of them in one, or a sixth in one."""
        chosen = self.rows.loc["train"].sample(READ, random_state=seed)
        if language is None:
            ids = [None] * READ
            for turn, one in enumerate(LANGUAGES):
                ids[turn::6] = self.ids(one, chosen[one][turn::6])
        else:
            ids = self.ids(language, chosen[language][LANGUAGES.index(language) :: 6] if sixth else chosen[language])
        return np.concatenate(ids).astype("int32")

    def bits(self, model, part, language):
        """The bits of each verse, given its language token; (verses,)."""
        ids = self.ids(language, self.rows.loc[part].sample(VERSES, random_state=0)[language])
        found = log_probability(model, [one[:1] for one in ids], [one[1:] for one in ids])
        return -found.total / math.log(2)

    def characters(self, part, language):
        return self.rows.loc[part].sample(VERSES, random_state=0)[language].str.len().to_numpy() + 1  # and the end


SETTINGS = gpt_settings(
    VOCABULARY,
    CONTEXT,
    num_layers=4,
    num_heads=4,
    embedding_dim=64,
    positions="rotary",
    norm="rms_norm",
    qk_norm=True,
    gated=True,
    activation="silu",
    hidden_dim=168,
    use_bias=False,
)


class Trainer:
    """A GPT that is compiled once and trained several times from the start: `modern` of kerasllm.training, by hand."""

    def __init__(self):
        self.model = GPT(SETTINGS)
        self.optimizer = keras.optimizers.Muon(
            0.01, weight_decay=0.1, adam_weight_decay=0.0, adam_beta_1=0.9, adam_beta_2=0.95, epsilon=1e-8
        )
        self.optimizer.build(self.model.trainable_variables)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

        @tf.function(jit_compile=True)
        def step(inputs, targets, rate):
            self.optimizer.learning_rate.assign(rate)
            with tf.GradientTape() as tape:
                value = loss(targets, self.model(inputs, training=True))
            weights = self.model.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(value, weights), weights, strict=True))
            return value

        self.step = step

    def run(self, tokens, seed, rate):
        """The GPT after one pass over the tokens, and how many steps that were."""
        keras.utils.set_random_seed(seed)
        self.model.set_weights(GPT(SETTINGS).get_weights())
        for one in self.optimizer.variables:
            one.assign(np.zeros(one.shape, one.dtype))
        batches = Windows(tokens, CONTEXT, BATCH, seed=seed)
        steps, started = batches.steps_per_epoch, time.process_time()
        schedule = warmup_linear(rate, steps, max(1, steps // 20))
        for number in range(steps):
            value = self.step(*batches.batch(number), tf.constant(float(schedule(number))))
        print(f"{steps} steps, loss {float(value):.3f}, {time.process_time() - started:.0f} s", flush=True)
        return self.model, steps


def designs(alone):
    """name -> the language that is read, and whether it is a sixth."""
    found = {"six languages": (None, False)}
    found |= {f"{one}, its sixth": (one, True) for one in LANGUAGES}
    return found | {f"{one}, all verses": (one, False) for one in alone}


def best_rate(table, texts, trainer, name, first):
    """The best rate of a design on validation verses: doubled or halved until both neighbours are worse."""
    language, sixth = designs(())[name]
    tried = {}
    while True:
        best = min(tried, key=tried.get, default=first)
        ahead = [rate for rate in (best, best * 2, best / 2) if rate not in tried]
        if not ahead:
            return best
        some = LANGUAGES if language is None else [language]
        key = {"part": "rates", "model": name, "source": ahead[0], "target": language or "six"}
        key |= {"seed": RATE_SEED, "measure": "bits a character"}
        if not table.has(**key):
            model, _ = trainer.run(texts.stream(RATE_SEED, language, sixth), RATE_SEED, ahead[0])
            bits = sum(texts.bits(model, "validation", one).sum() for one in some)
            letters = sum(texts.characters("validation", one).sum() for one in some)
            table.add(bits / letters, **key, texts=VERSES * len(some))
        tried[ahead[0]] = table.value(**key)


def writing(table, seeds, alone):
    texts, trainer = Texts(), Trainer()
    rate_of_sixth = best_rate(table, texts, trainer, "english, its sixth", 0.02)
    rate_of_all = best_rate(table, texts, trainer, "six languages", 0.01)
    for seed in seeds:
        for name, (language, sixth) in designs(alone).items():
            if table.has(part="writing", model=name, seed=seed, measure="steps"):
                continue
            rate = rate_of_sixth if sixth else rate_of_all
            model, steps = trainer.run(texts.stream(seed, language, sixth), seed, rate)
            for one in LANGUAGES if language is None else [language]:
                bits, letters = texts.bits(model, "test", one), texts.characters("test", one)
                np.save(table.folder / f"bits-{name.replace(' ', '-')}-{one}-{seed}.npy", bits)
                key = {"part": "writing", "model": name, "source": language or "six", "target": one, "seed": seed}
                each = interval(lambda rows, bits=bits, n=letters: bits[rows].sum() / n[rows].sum(), VERSES)
                table.add(bits.sum() / letters.sum(), each, **key, measure="bits a character", texts=VERSES)
                each = interval(lambda rows, bits=bits: bits[rows].mean(), VERSES)
                table.add(bits.mean(), each, **key, measure="bits a verse", texts=VERSES)
            if language is None:
                switching(table, texts, model, seed)
            key = {"part": "writing", "model": name, "source": language or "six", "target": "", "seed": seed}
            table.add(steps, **key, measure="steps")
        differences(table, texts, seed, alone)


def differences(table, texts, seed, alone):
    """What sharing costs and gives, verse by verse: bits a character of the shared model minus those of another."""
    for name, (language, _) in designs(alone).items():
        key = {"part": "writing", "model": name, "source": "six", "target": language, "seed": seed}
        key["measure"] = "difference"
        if language is None or table.has(**key):
            continue
        shared = np.load(table.folder / f"bits-six-languages-{language}-{seed}.npy")
        other = np.load(table.folder / f"bits-{name.replace(' ', '-')}-{language}-{seed}.npy")
        letters = texts.characters("test", language)

        def saved(rows, shared=shared, other=other, letters=letters):
            return (shared - other)[rows].sum() / letters[rows].sum()

        table.add(saved(np.arange(VERSES)), interval(saved, VERSES), **key, texts=VERSES)


def judge(rows):
    """A classifier that says in which of the six languages some twenty characters are."""
    some = rows.loc["train"].sample(1_000, random_state=1)
    pieces = [(text[start : start + 20], one) for one in LANGUAGES for text in some[one] for start in (0, 20, 40)]
    said, languages = zip(*((text, one) for text, one in pieces if len(text) > 5), strict=True)
    return make_pipeline(TfidfVectorizer(analyzer="char", ngram_range=(1, 3)), LogisticRegression(C=10)).fit(
        said, languages
    )


def switching(table, texts, model, seed, each=10, new=16):
    """In which language the model goes on if the token asks for one and the text begins in another."""
    classify, test = judge(texts.rows), texts.rows.loc["test"]
    check = test.sample(200, random_state=2)
    right = [classify.predict([text[-20:] for text in check[one]]) == one for one in LANGUAGES]
    table.add(
        np.mean(right), part="switching", model="judge", source="", target="", seed=seed, measure="right", texts=1_200
    )
    begun = {one: texts.tokenizer.encode_batch(test.sample(each, random_state=3)[one]) for one in LANGUAGES}
    cases = [
        (foreign, asked, given, [texts.asked[asked], *ids[:foreign]])
        for foreign in FOREIGN
        for asked in LANGUAGES
        for given in LANGUAGES
        for ids in begun[given]
    ]
    prompts = [prompt for *_, prompt in cases]  # all at once, for each length of a prompt would be compiled alone
    stop = [texts.tokenizer.eos_id, *texts.asked.values()]
    written = generate(model, prompts, new, Sampling(1.0), seed=seed, stop_tokens=stop)
    written = [texts.tokenizer.decode(ids[len(before) :]) for ids, before in zip(written, prompts, strict=True)]
    frame = pd.DataFrame(cases, columns=["foreign", "asked", "given", "prompt"]).assign(said=classify.predict(written))
    for (foreign, same), some in frame.groupby(["foreign", frame["asked"] == frame["given"]]):
        for measure, wanted in (("as asked", "asked"), ("as begun", "given")):
            held = (some["said"] == some[wanted]).to_numpy()
            ends = interval(lambda rows, held=held: held[rows].mean(), len(held))
            key = {"part": "switching", "model": "same" if same else "other", "source": foreign, "seed": seed}
            table.add(held.mean(), ends, **key, target="", measure=measure, texts=len(held))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=f"of {', '.join(PARTS)}; all when left out")
    parser.add_argument("--out", default="build/multilingual.csv")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of the GPTs")
    parser.add_argument("--alone", nargs="*", default=LANGUAGES, choices=LANGUAGES, help="GPTs that read all verses")
    parser.add_argument("--ship", action="store_true", help="compute nothing, copy the table into datasets/")
    given = parser.parse_args()
    if given.ship:
        ship(given.out, "multilingual", "numbers")
    else:
        table = Table(given.out)
        for part in given.parts:
            if part == "writing":
                writing(table, given.seeds, given.alone)
            else:
                {"transfer": transfer, "retrieval": retrieval}[part](table)
