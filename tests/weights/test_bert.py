"""BERT and RoBERTa from folders that the original libraries wrote, with what these compute from them."""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from kerasllm import models, tasks
from kerasllm.weights import from_hugging_face
from kerasllm.weights.families.bert import bert_of, load_bert, settings_of
from kerasllm.layers.composite import named
from kerasllm.weights.sentence_folder import from_sentence_transformers
from kerasllm.weights.tensors import Tensor, read_tensors, write_tensors

DATA = Path(__file__).parent / "data"
TEXTS = ["a bad cab", "zebra", "quick brown foxes jump", "", "Hello, wörld 你好!"]
NAMES = ["bert", "roberta"]
every_model = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def loaded():
    return {name: (*load_bert(DATA / name), dict(np.load(DATA / name / "reference.npz"))) for name in NAMES}


def array(tensor):
    return keras.ops.convert_to_numpy(tensor)


@every_model
def test_features_and_logits_are_those_of_the_original_library(name, loaded):
    model, _, reference = loaded[name]
    mask = reference["mask"]
    inputs = {"ids": reference["ids"].astype("int32"), "mask": mask, "type_ids": reference["types"].astype("int32")}
    features = array(model(inputs, return_features=True))
    np.testing.assert_allclose(features[mask], reference["features"][mask], atol=1e-4, rtol=0)
    logits = array(model(inputs))[..., ::7]
    assert np.abs(logits[mask]).max() > 0.5
    np.testing.assert_allclose(logits[mask], reference["logits"][mask], atol=1e-4, rtol=0)


@every_model
def test_a_folder_is_read_by_the_door_of_all_families(name, loaded, folder):
    model, tokenizer, _ = loaded[name]
    again, its_tokenizer = from_hugging_face(DATA / name)
    assert isinstance(again, models.BERT)
    assert its_tokenizer.to_json() == tokenizer.to_json()
    for place, weight in named(model).items():
        np.testing.assert_array_equal(array(named(again)[place]), array(weight), err_msg=place)
    (folder / "tokenizer.json").unlink()
    assert from_hugging_face(folder)[1] is None
    (folder / "config.json").write_text(json.dumps({**CONFIG, "is_decoder": True}))
    with pytest.raises(ValueError, match="is_decoder"):
        from_hugging_face(folder)


@every_model
def test_a_text_alone_and_without_a_mask_gives_the_same(name, loaded):
    model, _, reference = loaded[name]
    ids, types = (reference[key].astype("int32") for key in ("ids", "types"))
    alone = array(model(ids[1:2, :7], type_ids=types[1:2, :7]))[..., ::7]
    np.testing.assert_allclose(alone, reference["logits_alone"], atol=1e-4, rtol=0)
    # Without a mask what is padding follows from the ids; and a text need not begin at the first column.
    shifted = np.roll(ids[1:2], 4, axis=1), np.roll(types[1:2], 4, axis=1)
    np.testing.assert_allclose(
        array(model(shifted[0], type_ids=shifted[1]))[:, 4:, ::7], reference["logits_alone"], atol=1e-4, rtol=0
    )


def test_the_pooler_gives_the_vector_of_the_original_library(loaded):
    model, _, reference = loaded["bert"]
    ids, types = (reference[key].astype("int32") for key in ("ids", "types"))
    pooled = array(model.pooled(model(ids, type_ids=types, return_features=True)))
    np.testing.assert_allclose(pooled, reference["pooled"], atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match="has no pooler"):
        loaded["roberta"][0].pooled(np.zeros((1, 2, 9), "float32"))


@every_model
def test_every_weight_matters_to_the_equality(name, loaded):
    model, _, reference = loaded[name]
    mask = reference["mask"]
    ids, types = (keras.Input((11,), dtype="int32") for _ in range(2))
    features = model(ids, type_ids=types, return_features=True)
    ends = [model.head(features), *([model.pooled(features)] if model.settings.pooler else [])]
    compiled = keras.Model([ids, types], ends)
    given = [reference["ids"].astype("int32"), reference["types"].astype("int32")]

    def outputs():
        found = compiled.predict_on_batch(given)
        logits, *pooled = found if isinstance(found, list) else [found]
        return [logits[mask], *pooled]

    before = outputs()
    for place, weight in named(model).items():
        if place.endswith("key/bias"):
            continue  # it adds the same to all scores of a query
        value = array(weight)
        weight.assign(value + np.random.default_rng(0).normal(size=value.shape))
        change = max(np.abs(a - b).max() for a, b in zip(outputs(), before, strict=True))
        assert change > 0.01, place
        weight.assign(value)


@every_model
def test_documents_in_one_row_do_not_see_each_other(name, loaded):
    model, _, reference = loaded[name]
    ids = reference["ids"].astype("int32")
    texts = [ids[0, :5], ids[1, :4], ids[2, :2]]
    row = np.concatenate(texts)[None]
    segments = np.repeat([3, 1, 2], [5, 4, 2])[None]
    packed = array(model({"ids": row, "segment_ids": segments}))[0]
    alone = np.concatenate([array(model(text[None]))[0] for text in texts])
    np.testing.assert_allclose(packed, alone, atol=1e-5, rtol=0)


@every_model
def test_the_tokenizer_gives_the_ids_of_the_original_library(name, loaded):
    _, tokenizer, reference = loaded[name]
    expected = [[id for id in row if id >= 0] for row in reference["token_ids"].tolist()]
    found = [[tokenizer.bos_id, *ids, tokenizer.eos_id] for ids in tokenizer.encode_batch(TEXTS)]
    assert found == expected
    assert tokenizer.pad_id == (0 if name == "bert" else 1)


@every_model
def test_vectors_of_texts_are_those_of_sentence_transformers(name, loaded):
    encoder = from_sentence_transformers(DATA / name)
    assert (encoder.pooling, encoder.normalize, encoder.max_length) == (
        "first" if name == "bert" else "mean",
        False,
        10,
    )
    reference = loaded[name][2]
    np.testing.assert_allclose(encoder.embed(TEXTS), reference["vectors"], atol=1e-4, rtol=0)
    np.testing.assert_allclose(encoder.embed(TEXTS, "ab: "), reference["query_vectors"], atol=1e-4, rtol=0)
    query = from_sentence_transformers(DATA / name, prompt="query")
    np.testing.assert_allclose(query.embed(TEXTS), reference["query_vectors"], atol=1e-4, rtol=0)


def test_a_model_is_made_without_a_head_where_the_file_has_none():
    """A base model: other names in front, no head. And a file of the first years, with gamma and beta."""
    config = json.loads((DATA / "bert/config.json").read_text())
    with read_tensors(DATA / "bert/model.safetensors") as (tensors, _):
        base = {name.removeprefix("bert."): tensor for name, tensor in tensors.items() if name.startswith("bert.")}
        base |= {"embeddings.position_ids": Tensor("int64", (1, 33), lambda: np.arange(33)[None])}
        old = {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
            for name, tensor in base.items()
        }
        ids = np.arange(6, 12)[None]
        expected = array(bert_of(config, tensors, "whole")(ids, return_features=True))
        for one in (base, old):
            model = bert_of(config | {"architectures": ["BertModel"]}, one, "base")
            assert not model.settings.head
            assert model.settings.pooler
            np.testing.assert_allclose(array(model(ids)), expected, atol=1e-6)
            with pytest.raises(ValueError, match="has no head"):
                model.head(expected)


# Damaged, or of another kind --------------------------------------------------------------------------------------


CONFIG = json.loads((DATA / "roberta/config.json").read_text())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "gpt2"}, "model_type 'gpt2'; those that are read are bert, roberta"),
        ({"hidden_act": "softplus"}, "hidden_act = 'softplus'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type = 'relative_key'"),
        ({"is_decoder": True}, "is_decoder = True"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings = False"),
        ({"vocab_size": None}, "lacks the key vocab_size"),
        ({"hidden_size": "9"}, "hidden_size must be a whole number"),
        ({"hidden_size": 10}, "num_heads=3"),
        ({"layer_norm_eps": "x"}, "epsilon"),
        ({"pad_token_id": -1}, "pad_id"),
        ({"embedding_size": 128}, r"the key 'embedding_size', which is not known.*ignore=\['embedding_size'\]"),
    ],
)
def test_a_config_that_cannot_be_had_is_refused_with_its_key(changes, message):
    with pytest.raises(ValueError, match=message):
        settings_of(CONFIG | changes)


def test_a_head_of_roberta_that_ignores_its_own_config_is_refused(folder):
    (folder / "config.json").write_text(json.dumps(CONFIG | {"hidden_act": "relu"}))
    with pytest.raises(ValueError, match="hidden_act = 'relu', and the head of a RoBERTa has gelu"):
        load_bert(folder)


def test_a_key_that_is_not_known_may_be_passed_over():
    assert settings_of(CONFIG | {"my_note": 1}, ignore=["my_note"]) == settings_of(CONFIG)


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(DATA / "roberta", tmp_path / "model")
    return tmp_path / "model"


def changed(folder, change):
    """The folder with other tensors."""
    with read_tensors(folder / "model.safetensors") as (tensors, metadata):
        arrays = {name: tensor.read() for name, tensor in tensors.items()}
    change(arrays)
    tensors = {name: Tensor(str(a.dtype), a.shape, lambda a=a: a) for name, a in arrays.items()}
    write_tensors(folder / "model.safetensors", tensors, metadata)
    return folder


QUERY = "roberta.encoder.layer.1.attention.self.query.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(QUERY), f"lacks the tensor {QUERY}, which a BERT of this config.json has"),
        (lambda t: t.pop("lm_head.bias"), "lacks the tensor lm_head.bias"),
        (
            lambda t: t.update({QUERY: t[QUERY][:, :-1]}),
            r"query.weight of the shape \(9, 8\); by config.json .*\(9, 9\)",
        ),
        (lambda t: t.update({QUERY: t[QUERY].astype("int8")}), "query.weight in int8"),
        (lambda t: t.update({"classifier.weight": t[QUERY]}), r"classifier.weight \(9, 9\), for which a BERT has no"),
        (lambda t: t.update({"lm_head.decoder.weight": np.zeros((263, 9), "float32")}), "differs from roberta.embed"),
    ],
)
def test_tensors_that_do_not_fit_are_named(folder, change, message):
    with pytest.raises(ValueError, match=message):
        load_bert(changed(folder, change))


def test_tied_copies_and_what_carries_no_weights_are_passed_over(folder):
    def change(tensors):
        tensors["lm_head.decoder.weight"] = tensors["roberta.embeddings.word_embeddings.weight"]
        tensors["roberta.embeddings.position_ids"] = np.arange(35)[None]

    assert load_bert(changed(folder, change))[0].settings.head


def test_missing_and_broken_files_are_named(folder):
    (folder / "config.json").write_text('{"model_type": NaN}')
    with pytest.raises(ValueError, match=r"config\.json is no JSON file"):
        load_bert(folder)
    (folder / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"config\.json does not exist"):
        load_bert(folder)


def test_a_tokenizer_of_another_model_is_refused(folder):
    shutil.copy(DATA / "bert/config.json", folder)
    shutil.copy(DATA / "bert/model.safetensors", folder)
    with pytest.raises(ValueError, match="tokenizer of 263 tokens and a model with embeddings of 60"):
        load_bert(folder)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            "modules.json",
            [{"path": "", "type": "a.Transformer"}, {"path": "2", "type": "a.Dense"}],
            "Transformer, Dense",
        ),
        ("modules.json", {"a": 1}, "holds a dict, not a list"),
        ("modules.json", [{"path": "", "type": "a.Transformer"}, {"path": "../x", "type": "a.Pooling"}], "leads out"),
        (
            "modules.json",
            [{"path": "0", "type": "a.Transformer"}, {"path": "1", "type": "a.Pooling"}],
            "the folder '0'",
        ),
        ("1_Pooling/config.json", {"pooling_mode": "lasttoken"}, r"pools by \['lasttoken'\]"),
        ("1_Pooling/config.json", {"pooling_mode": ["cls", "mean"]}, "pools by"),
        ("1_Pooling/config.json", {"pooling_mode": "mean", "include_prompt": False}, "include_prompt"),
        ("sentence_bert_config.json", {"max_seq_length": "256"}, "max_seq_length = '256'"),
        ("config_sentence_transformers.json", {"default_prompt_name": "x"}, "no prompt 'x'; it has none"),
    ],
)
def test_a_folder_of_sentence_transformers_that_is_not_known_is_refused(folder, file, content, message):
    (folder / file).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        from_sentence_transformers(folder)


def test_older_files_have_a_flag_for_each_way_of_pooling(folder):
    flags = {"pooling_mode_cls_token": False, "pooling_mode_max_tokens": True, "pooling_mode_mean_tokens": False}
    (folder / "1_Pooling/config.json").write_text(json.dumps({"word_embedding_dimension": 9, **flags}))
    (folder / "sentence_bert_config.json").unlink()
    encoder = from_sentence_transformers(folder)
    assert (encoder.pooling, encoder.max_length) == ("max", 33)  # tokenizer_config.json has 10 ** 30


def test_half_precision_stays_close(loaded):
    reference = loaded["bert"][2]
    half, _ = load_bert(DATA / "bert", dtype="mixed_bfloat16")
    ids, types = (reference[key].astype("int32") for key in ("ids", "types"))
    logits = array(keras.ops.cast(half(ids, type_ids=types), "float32"))[..., ::7]
    error = np.abs(logits - reference["logits"])[reference["mask"]]
    assert 1e-4 < error.max() < 0.1 * np.abs(reference["logits"]).max()
    assert isinstance(half, models.BERT)
    assert tasks.SentenceEncoder(half, load_bert(DATA / "bert")[1]).embed(["ab"]).dtype == "float32"
