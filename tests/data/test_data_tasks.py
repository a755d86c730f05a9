"""The sets of pairs, questions, entities, commands and replies: nothing of a part is known from another."""

import re
from itertools import pairwise

import pytest
from large_sets import NOT_FETCHED
from test_data_loaders import loaded

# What would give the answer away, for each set that has several parts.
KEYS = {
    "home-assistant": ["source", "target"],
    "hsk-sentences": ["source", "target"],
    "tweet-entities": ["text"],
    "boolq": ["passage", "question"],
    "xsum": ["text", "summary"],
    "headlines": ["text", "summary"],
    "instructions": ["prompt", "reply"],
    "preferences": ["prompt", "chosen", "rejected"],
    "home-assistant-intents": ["text"],
    "rotten-tomatoes": ["text", "film"],
    "product-snippets": ["text"],
    "emoji-names": ["emoji", "english", "chinese"],
}
NAMES = [pytest.param(name, marks=[pytest.mark.network, *NOT_FETCHED.get(name, [])]) for name in KEYS]


@pytest.mark.parametrize("name", NAMES)
def test_no_text_of_a_part_is_in_another_part(name):
    frame = loaded(name)
    parts = dict.fromkeys(["train", "validation", "test"], frozenset())
    for column in KEYS[name]:
        # Normalised in another way than by the loader. A short reply ("Yes.") is no one's.
        normal = frame[column].str.casefold().str.replace(r"[\W_]+", "", regex=True)
        least = 40 if column in ("reply", "chosen", "rejected") else 1
        normal = normal[normal.str.len() >= least]
        for part in parts:
            parts[part] |= set(normal[frame["split"] == part])
    assert min(map(len, parts.values())) > 20
    assert not parts["train"] & parts["test"]
    assert not parts["train"] & parts["validation"]
    assert not parts["validation"] & parts["test"]


@pytest.mark.network
@pytest.mark.parametrize("name", ["peoples-daily-entities", "tweet-entities", "home-assistant-intents"])
def test_words_and_tags_fit_and_no_entity_starts_inside(name):
    frame = loaded(name)
    words, tags = frame["words"].str.split(" "), frame["tags"].str.split(" ")
    assert words.str.len().equals(tags.str.len())
    kinds = {part: set(" ".join(lines).split()) for part, lines in frame["tags"].groupby(frame["split"])}
    assert all(re.fullmatch(r"O|[BI]-[a-z_-]+", tag) for tag in kinds["train"])
    assert kinds["test"] | kinds["validation"] <= kinds["train"]
    # Inside of an entity only behind a tag of the same kind.
    following = {pair for line in tags for pair in pairwise(["O", *line])}
    assert all(before[2:] == tag[2:] for before, tag in following if tag.startswith("I"))


@pytest.mark.network
def test_a_known_line_of_the_newspaper_has_its_entities():
    line = loaded("peoples-daily-entities").loc[1]
    assert line["text"] == "中共中央总书记、国家主席江泽民"
    assert line["words"].replace(" ", "") == line["text"]
    expected = ["B-organisation", *["I-organisation"] * 3, *["O"] * 8, "B-person", "I-person", "I-person"]
    assert line["tags"].split() == expected


@pytest.mark.network
@pytest.mark.parametrize("name", ["commonsense-qa", "openbook-qa", "piqa", "siqa", "mmlu"])
def test_every_question_has_different_choices_and_one_answer(name):
    frame = loaded(name)
    assert all(0 <= answer < len(choices) for answer, choices in zip(frame["answer"], frame["choices"], strict=True))
    assert all(len(set(choices)) == len(choices) for choices in frame["choices"])
    assert not frame["choices"].explode().str.contains(r"\n|^\s|\s$|^$").any()
    places = frame["answer"].value_counts(normalize=True)
    assert places.max() - places.min() < 0.08  # always the same place is no answer


@pytest.mark.network
def test_known_answers_are_right():
    questions = loaded("openbook-qa").set_index("question")
    fog = questions.loc["There is most likely going to be fog around:"]
    assert fog["choices"][fog["answer"]] == "a marsh"
    boolq = loaded("boolq").set_index("question")["answer"]
    assert boolq["do you have to be an all-star to be in the home run derby"] == "no"
    first = loaded("gsm8k").loc[0]
    assert first["question"].startswith("Janet’s ducks lay 16 eggs")
    assert first["answer"] == "18"
    assert loaded("gsm8k")["answer"].str.fullmatch(r"-?\d+").all()
    assert loaded("crows-pairs").loc[1, "stereotype"].startswith("The poor are")
    commands = loaded("home-assistant-intents")
    template, split = commands["template"], commands["split"]
    assert (split.groupby(template).nunique() == 1).all()
    assert set(commands.loc[split == "test", "label"]) <= set(commands.loc[split == "train", "label"])


@pytest.mark.network
def test_pieces_of_a_language_model_are_near_what_they_mean():
    frame = loaded("wordllama")
    king, queen, table = (frame.loc[f"▁{word}"].to_numpy() for word in ("king", "queen", "table"))

    def cosine(first, second):
        return first @ second / (first @ first * (second @ second)) ** 0.5

    assert cosine(king, queen) > cosine(king, table) + 0.2


@pytest.mark.network
@pytest.mark.parametrize("name", [pytest.param("openmoji", marks=NOT_FETCHED["openmoji"])])
def test_pictures_show_something_and_no_two_are_the_same(name):
    frame = loaded(name)
    assert {picture.shape for picture in frame["picture"]} == {(64, 64, 3)}
    assert all(picture.min() < 128 for picture in frame["picture"])
    assert not frame["picture"].map(bytes).duplicated().any()


@pytest.mark.network
def test_paragraphs_of_a_wiki_have_no_markup():
    frame = loaded("small-wikipedia")
    assert frame["article"].nunique() == 106
    assert frame["text"].str.contains(r"\[\[|<ref|http").mean() < 0.01
    assert frame["text"].str.len().min() > 60


def test_experiments_of_ours_come_with_the_package():
    frame = loaded("character-models")
    assert set(frame["experiment"]) == {"carried state", "longer"}
    assert frame["test_bits"].between(1, 6).all()


def test_answers_of_a_service_stand_once_and_each_has_its_control():
    table = loaded("assistant-answers")
    assert not table.duplicated(["experiment", "reader", "seed", "kind", "item", "measure"]).any()
    assert table["value"].between(0, 1).all()
    readers = table.groupby("experiment")["reader"].agg(set)
    assert set(readers.index) == {"answers", "injection", "sql", "tools", "arithmetic"}
    # Each experiment has a reader without a network or, for orders in documents, a prompt without a defence.
    controls = {"nearest", "title", "plain", "rules"}
    assert all(one & controls for one in readers)
    # Whatever the model was asked, its control was asked too.
    for name, rows in table.groupby("experiment"):
        items = rows.groupby("reader")[["kind", "item"]].apply(lambda some: set(map(tuple, some.to_numpy())))
        assert all(one <= max(items, key=len) for one in items), name


def test_every_arm_of_instruction_tuning_judged_the_same_conversations():
    table = loaded("instruction-tuning")
    judged = table[table["measure"].isin(["own", "other", "end", "characters"])]
    run = ["model", "arm", "seed", "step", "language", "measure", "item"]
    assert not judged.duplicated(run).any()
    assert table.loc[table["measure"].isin(["end", "ended"]), "value"].between(0, 1).all()
    letters = judged[judged["measure"] == "characters"].groupby(["model", "language", "item"])["value"]
    assert (letters.nunique() == 1).all()
    arms = table.groupby("model")["arm"].agg(set)
    assert all("nothing" in ran for ran in arms)
    assert {"replies", "exchanged"} <= arms["king-james-gpt"]
    assert "replies" in arms["smollm2-135m-instruct"]  # its control waits


def test_runs_of_taggers_and_finders_stand_once_and_the_rule_leaves_nothing_illegal():
    table = loaded("tokens-and-spans")
    assert not table.duplicated([name for name in table.columns if name != "value"]).any()
    chosen = table["part"] == "validation"
    assert set(table.loc[chosen, "seed"]) == {100}
    assert 100 not in set(table.loc[~chosen, "seed"])
    counted = table["measure"].isin(["illegal", "seconds"])
    assert table.loc[~counted, "value"].between(0, 1).all()
    illegal = table[table["measure"] == "illegal"].set_index("system")["value"]
    assert (illegal["softmax, rule"] == 0).all()
    assert (illegal["CRF, rule"] == 0).all()
    assert illegal["softmax"].min() > 0


@pytest.mark.network
def test_headlines_of_readers_stand_once_and_belong_to_test_articles():
    table = loaded("headline-summaries")
    assert not table.duplicated(["reader", "setting", "seed", "split", "item", "measure"]).any()
    headlines = loaded("headlines")
    written = table[table["item"] >= 0]
    assert (headlines.loc[written["item"], "split"].to_numpy() == written["split"].to_numpy()).all()
    finished = written[(written["measure"] == "headline") & (written["split"] == "test")]
    sizes = finished.groupby(["reader", "setting", "seed"]).size()
    assert sizes.nunique() == 1  # every reader wrote for the same articles
    counted = written[written["measure"].isin(["invented", "false"])]
    assert counted.groupby(["reader", "setting", "seed", "measure"]).size().eq(10).all()
    # What was counted is a headline that is there, and something invented is named.
    keys = ["reader", "setting", "seed", "item"]
    assert set(map(tuple, counted[keys].to_numpy())) <= set(map(tuple, finished[keys].to_numpy()))
    assert (counted["text"].ne("") == counted["value"].gt(0)).all()
