"""BERT and RoBERTa from folders that the original libraries wrote, with what these compute from them."""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from kerasllm import models, tasks
from kerasllm.layers.composite import named
from kerasllm.weights import from_hugging_face, to_hugging_face
from kerasllm.weights.families.bert import bert_of, hugging_face_of, settings_of
from kerasllm.weights.sentence_folder import from_sentence_transformers
from kerasllm.weights.tensors import Tensor, read_tensors, write_tensors

DATA = Path(__file__).parent / "data"
TEXTS = ["a bad cab", "zebra", "quick brown foxes jump", "", "Hello, wörld 你好!"]
NAMES = ["bert", "roberta"]
every_model = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def loaded():
    return {name: (*from_hugging_face(DATA / name), dict(np.load(DATA / name / "reference.npz"))) for name in NAMES}


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


def test_a_folder_without_a_tokenizer_gives_a_model_alone_but_no_encoder(folder):
    (folder / "tokenizer.json").unlink()
    model, tokenizer = from_hugging_face(folder)
    assert isinstance(model, models.BERT)
    assert tokenizer is None
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.json does not exist"):
        from_sentence_transformers(folder)
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


# The way back -----------------------------------------------------------------------------------------------------


def tensors_in(folder):
    with read_tensors(folder / "model.safetensors") as (tensors, _):
        return {name: tensor.read() for name, tensor in tensors.items()}


@every_model
def test_what_is_written_is_what_the_original_library_wrote(name, loaded, tmp_path):
    """Names, shapes and numbers of the tensors, and the settings that decide what they mean."""
    model, tokenizer, _ = loaded[name]
    to_hugging_face(model, tmp_path, tokenizer)
    theirs, ours = tensors_in(DATA / name), tensors_in(tmp_path)
    assert ours.keys() == theirs.keys()
    unused = {"roberta.embeddings.position_embeddings.weight": 2, "cls.seq_relationship.": None}
    for tensor, numbers in theirs.items():
        first = next((rows for beginning, rows in unused.items() if tensor.startswith(beginning)), 0)
        assert ours[tensor].shape == numbers.shape
        if first is not None:
            np.testing.assert_array_equal(ours[tensor][first:], numbers[first:], err_msg=tensor)
    said = json.loads((tmp_path / "config.json").read_text())
    wanted = json.loads((DATA / name / "config.json").read_text())
    decides = {"architectures", "model_type", "pad_token_id", "max_position_embeddings", "type_vocab_size"}
    decides |= {"hidden_act", "layer_norm_eps", "vocab_size", "hidden_size", "intermediate_size"}
    decides |= {"num_hidden_layers", "num_attention_heads", "hidden_dropout_prob", "attention_probs_dropout_prob"}
    assert {key: said[key] for key in decides} == {key: wanted[key] for key in decides}
    again, its_tokenizer = from_hugging_face(tmp_path)
    assert again.settings == model.settings
    assert its_tokenizer.roles == tokenizer.roles
    assert its_tokenizer.encode("zebra") == tokenizer.encode("zebra")


SMALL = {"vocabulary_size": 11, "embedding_dim": 6, "num_layers": 1, "num_heads": 2, "context_length": 9}
KINDS = {
    "BertModel": {},
    "BertForMaskedLM": {"head": True, "activation": "relu"},
    "BertForPreTraining": {"head": True, "pooler": True, "pad_id": 1},
    "RobertaModel": {"pad_id": 1, "type_vocabulary_size": 1, "pooler": True},
    "RobertaForMaskedLM": {"pad_id": 1, "type_vocabulary_size": 1, "head": True},
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_model_comes_back(name, tmp_path):
    keras.utils.set_random_seed(0)
    model = models.BERT(models.BERTSettings(**SMALL | KINDS[name]))
    for weight in model.weights:
        weight.assign(weight + keras.random.normal(weight.shape, stddev=0.3))
    assert hugging_face_of(model)[0]["architectures"] == [name]
    to_hugging_face(model, tmp_path)
    again, _ = from_hugging_face(tmp_path)
    assert again.settings == model.settings
    ids = np.arange(2, 10)[None]
    np.testing.assert_array_equal(array(again(ids)), array(model(ids)))


def test_a_model_without_types_is_written_with_one_of_zeros(tmp_path):
    model = models.BERT(models.BERTSettings(**SMALL, type_vocabulary_size=0, dropout=0.2), dtype="bfloat16")
    to_hugging_face(model, tmp_path)
    again, _ = from_hugging_face(tmp_path, dtype="bfloat16")
    assert again.settings == model.settings.with_(type_vocabulary_size=1)
    assert {str(a.dtype) for a in tensors_in(tmp_path).values()} == {"bfloat16"}
    ids = np.arange(2, 10)[None]
    np.testing.assert_array_equal(array(again(ids)), array(model(ids)))


def test_what_no_file_can_say_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"activation = 'elu'; they have one of .*gelu"):
        to_hugging_face(models.BERT(models.BERTSettings(**SMALL, activation="elu")), tmp_path)
    changed = models.BERT(models.BERTSettings(**SMALL))
    changed.blocks[0].attention.query.enable_lora(2)
    with pytest.raises(ValueError, match=r"block_1/attention/query/lora_kernel_a: the model was changed"):
        to_hugging_face(changed, tmp_path)
    assert not list(tmp_path.iterdir())


def test_keras_hub_reads_what_we_write(tmp_path):
    keras_hub = pytest.importorskip("keras_hub", exc_type=ImportError)  # it stands behind the newest Keras
    keras.utils.set_random_seed(0)
    model = models.BERT(models.BERTSettings(**SMALL, activation="gelu_tanh", pooler=True))  # as KerasHub's are
    for weight in model.weights:
        weight.assign(weight + keras.random.normal(weight.shape, stddev=0.3))
    to_hugging_face(model, tmp_path)
    backbone = keras_hub.models.BertBackbone.from_preset(str(tmp_path))
    ids, mask, types = np.array([[3, 4, 5, 6], [7, 8, 0, 0]]), np.array([[1, 1, 1, 1], [1, 1, 0, 0]]), np.eye(2, 4, 1)
    theirs = backbone({"token_ids": ids, "segment_ids": types.astype("int32"), "padding_mask": mask})
    found = model(ids, type_ids=types.astype("int32"))
    pairs = [(theirs["sequence_output"], found), (theirs["pooled_output"][:, None], model.pooled(found)[:, None])]
    for one, other in pairs:
        real = mask[:, : other.shape[1]] > 0
        assert np.abs(array(one) - array(other))[real].max() < 1e-4 * np.abs(array(other)).max()


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
        from_hugging_face(folder)


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
        from_hugging_face(changed(folder, change))


def test_tied_copies_and_what_carries_no_weights_are_passed_over(folder):
    def change(tensors):
        tensors["lm_head.decoder.weight"] = tensors["roberta.embeddings.word_embeddings.weight"]
        tensors["roberta.embeddings.position_ids"] = np.arange(35)[None]

    assert from_hugging_face(changed(folder, change))[0].settings.head


def test_missing_and_broken_files_are_named(folder):
    (folder / "config.json").write_text('{"model_type": NaN}')
    with pytest.raises(ValueError, match=r"config\.json is no JSON file"):
        from_hugging_face(folder)
    (folder / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no config\.json"):
        from_hugging_face(folder)


def test_a_tokenizer_of_another_model_is_refused(folder):
    shutil.copy(DATA / "bert/config.json", folder)
    shutil.copy(DATA / "bert/model.safetensors", folder)
    with pytest.raises(ValueError, match="the tokenizer has ids up to 262, and the model 60 rows"):
        from_hugging_face(folder)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            "modules.json",
            [{"path": "", "type": "a.Transformer"}, {"path": "2", "type": "a.Dense"}],
            "Transformer, Dense",
        ),
        ("modules.json", {"a": 1}, r"holds a dict, not a list"),
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
    half, _ = from_hugging_face(DATA / "bert", dtype="mixed_bfloat16")
    ids, types = (reference[key].astype("int32") for key in ("ids", "types"))
    logits = array(keras.ops.cast(half(ids, type_ids=types), "float32"))[..., ::7]
    error = np.abs(logits - reference["logits"])[reference["mask"]]
    assert 1e-4 < error.max() < 0.1 * np.abs(reference["logits"]).max()
    assert isinstance(half, models.BERT)
    assert tasks.SentenceEncoder(half, from_hugging_face(DATA / "bert")[1]).embed(["ab"]).dtype == "float32"
