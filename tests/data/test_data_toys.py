"""Loaders on small made archives: what they keep, drop, split and refuse."""

import dataclasses
import io
import json
import zipfile

import pytest
from toy_index import archive_of, wheel

from kerasllm.data import ArchiveError
from kerasllm.data.archives import member_names
from kerasllm.data.catalogue import find
from kerasllm.data.loaders.commands import Grammar, parse
from kerasllm.data.loaders.registry import LOADERS
from kerasllm.data.loaders.tagged import _characters
from kerasllm.data.splits import linked, split_of


@pytest.fixture
def toy(cache):
    """Load a set of the catalogue from an archive with other members; the cache needs no index then."""

    def load(name, **contents):
        entry = find(name)
        members = contents.get("members") or dict(zip(entry.members, contents["texts"], strict=True))
        content = wheel({key: text if isinstance(text, bytes) else text.encode() for key, text in members.items()})
        archive = archive_of(content)
        cache.mkdir(exist_ok=True)
        (cache / archive.file).write_bytes(content)
        return LOADERS[name](dataclasses.replace(entry, archive=archive))

    return load


def lines(*rows):
    return "\n".join(map(json.dumps, rows)) + "\n"


# Parts of the loaders ----------------------------------------------------------------------------


def test_rows_that_share_a_key_directly_or_not_have_one_group():
    keys = [("a", "x"), ("b", "y"), ("c", "x"), ("c", "y"), ("d", "z")]
    assert linked(keys) == [b"a"] * 4 + [b"d"]
    turned = linked(keys[::-1])
    assert turned == linked(keys)[::-1]  # the order of the rows changes nothing
    assert linked([("one",)] * 3) == [b"one"] * 3
    with pytest.raises(ValueError, match="Row 1 has no key"):
        linked([("a",), ()])


def test_members_are_found_by_pattern(tmp_path):
    path = tmp_path / "a.whl"
    path.write_bytes(wheel({"b/translations/en.json": b"", "a/translations/en.json": b"", "a/en.json": b""}))
    assert member_names(path, "*/translations/*.json") == ["a/translations/en.json", "b/translations/en.json"]
    with pytest.raises(ArchiveError, match=r"holds no '\*.txt'"):
        member_names(path, "*.txt")
    path.write_bytes(b"no archive")
    with pytest.raises(ArchiveError, match="Delete it"):
        member_names(path, "*")


@pytest.mark.parametrize(
    ("words", "tags", "expected"),
    [
        ("江 泽民 说", "nr nr v", "B-person I-person I-person O"),
        ("克林顿 说", "nr v", "B-person I-person I-person O"),
        ("李 鹏 江 泽民", "nr nr nr nr", "B-person I-person B-person I-person I-person"),
        ("欧阳 修", "nr nr", "B-person I-person I-person"),
        ("陈 方 安生", "nr nr nr", "B-person I-person I-person I-person"),
        ("剑武 安 远远", "nr nr nr", "B-person I-person B-person I-person I-person"),
        ("江 主席", "nr n", "B-person O O"),
        ("中国 北京", "ns ns", "B-place I-place B-place I-place"),
        ("中共中央 在 沪", "nt p ns", "B-organisation I-organisation I-organisation I-organisation O B-place"),
    ],
)
def test_tags_of_words_become_entities_of_characters(words, tags, expected):
    assert " ".join(_characters(words.split(), tags.split())) == expected


# Templates ---------------------------------------------------------------------------------------


def test_a_template_gives_its_commands_and_no_others():
    grammar = Grammar({"light": "(lamp|light[s])"}, {"state": {"values": [{"in": "on", "out": 1}, "off"]}}, {})
    lights = {"lamp", "light", "lights"}
    found = {text for text, _, _ in grammar.commands("turn (<light>;{state:how})")}
    allowed = {f"turn {light} {state}" for light in lights for state in ("on", "off")}
    allowed |= {f"turn {state} {light}" for light in lights for state in ("on", "off")}
    assert found <= allowed
    assert 4 < len(found) <= 8  # at most 8 are made of one
    assert {text for text, _, _ in grammar.commands("turn <light>")} == {f"turn {light}" for light in lights}
    assert grammar.commands("turn <light>") == grammar.commands("turn <light>")


def test_slots_are_tagged_word_by_word():
    grammar = Grammar({}, {"n": {"range": {"from": 5, "to": 5}}}, {"area": ["living room"], "area-fan": ["客厅"]})
    assert grammar.commands("{n:minutes}-minute timer in the {area}") == [
        (
            "5-minute timer in the living room",
            "5 - minute timer in the living room",
            "B-minutes O O O O O B-area I-area",
        )
    ]
    assert grammar.commands("把{area}的灯打开", "fan")[0][1:] == ("把 客 厅 的 灯 打 开", "O B-area I-area O O O O")


@pytest.mark.parametrize("template", ["turn (on", "turn on)", "[the light", "(on]", "a]b"])
def test_a_template_with_a_wrong_bracket_is_refused(template):
    with pytest.raises(ArchiveError, match="bracket"):
        parse(template)


def test_a_list_that_nobody_knows_is_refused_by_name():
    with pytest.raises(ArchiveError, match=r"\{moon\}.*home-assistant-slots"):
        Grammar({}, {}, {}).commands("go to {moon}")


def test_commands_are_split_by_template(toy):
    def table(*sentences):
        data = [{"sentences": list(sentences), "requires_context": {"domain": ["light", "fan"]}}]
        return json.dumps({"expansion_rules": {}, "lists": {}, "intents": {"HassTurnOn": {"data": data}}})

    frame = toy("home-assistant-intents", texts=[table("[please] turn on {name}", "please turn on {name}"), table()])
    assert set(frame["label"]) == {"TurnOn"}
    assert (frame["split"] == frame["template"].map(lambda one: split_of(one.encode()))).all()
    assert not frame["text"].duplicated().any()  # the second template gives what the first one gives
    assert frame.attrs["dropped_duplicates"] > 0


# Sets --------------------------------------------------------------------------------------------


def test_translations_are_paired_by_key_and_split_by_text(toy):
    place = "homeassistant/components/{}/translations/{}.json"
    members = {
        place.format("a", "en"): json.dumps({"title": "Host", "step": {"user": "Enter the host", "usb": "USB"}}),
        place.format("a", "zh-Hans"): json.dumps({"title": "主机", "step": {"user": "输入主机", "usb": "USB"}}),
        place.format("a", "de"): json.dumps({"title": "Host", "step": {"user": "Host eingeben"}, "old": "Alt"}),
        place.format("b", "en"): json.dumps({"title": "host", "name": "Server", "empty": ""}),
        place.format("b", "zh-Hans"): json.dumps({"title": "主机", "name": "主机", "empty": "空"}),
        place.format("b", "ja"): json.dumps({"title": "ホスト"}),
    }
    frame = toy("home-assistant", members=members)
    assert frame[["source", "target", "label"]].to_numpy().tolist() == [
        ["Enter the host", "输入主机", "chinese"],
        ["Host", "主机", "chinese"],
        ["Server", "主机", "chinese"],
        ["Enter the host", "Host eingeben", "german"],
    ]
    assert frame["split"][1] == frame["split"][2]  # the same translation
    assert frame["split"][0] == frame["split"][3]  # the same English
    assert frame.attrs["rows_read"] == 8
    assert frame.attrs["dropped_duplicates"] == 1
    assert frame.attrs["dropped_untranslated"] == 3


def test_passages_and_questions_stay_together_and_rows_without_answer_go(toy):
    def row(passage, question, **label):
        return {"passage": passage, "question": question, "idx": 0, **label}

    rows = [row(f"Passage {n}", f"question {n}?", label=n % 2 == 0) for n in range(30)]
    rows += [row(f"Other {n}", f"Question {n}", label=True) for n in range(10, 30)]
    rows += [row("passage 7", "is it new", label=True)]
    rows += [row("Passage 3", "Question 3", label=False), row("Passage 4", "question 4", label=False), row("x", "y")]
    frame = toy("boolq", texts=[lines(*rows)])
    assert list(frame.columns) == ["passage", "question", "answer", "split"]
    assert frame["answer"].cat.categories.tolist() == ["no", "yes"]
    parts = frame.set_index("question")["split"]
    assert parts["question 7?"] == parts["is it new"]
    assert all(parts[f"question {n}?"] == parts[f"Question {n}"] for n in range(10, 30))
    assert (frame.attrs["dropped_unlabelled"], frame.attrs["dropped_conflicts"]) == (1, 2)
    assert frame.attrs["dropped_duplicates"] == 1
    assert frame.attrs["rows_read"] == 54 == len(frame) + 4


def test_choices_are_taken_apart_and_broken_ones_dropped(toy):
    rows = [
        {"question": "1 + 1 ", "options": "\nA. two \nB. three", "answer": "A. two "},
        {"question": "1 - 1", "options": "A. two\nB. zero", "answer": "B. zero"},
        {"question": "Which?", "options": "A. same\nB. Same", "answer": "A. same"},
        {"question": "Lost\nA. a", "options": "C. c\nD. d", "answer": "D. d"},
        {"question": "Which?", "options": "A. one", "answer": "A. one"},
        {"question": "1 + 1", "options": "A. two\nB. three", "answer": "A. two"},
        {"question": "Absent", "options": "A. one\nB. two", "answer": "C. three"},
    ]
    frame = toy("openbook-qa", texts=[lines(*rows)])
    assert frame.to_numpy().tolist() == [
        ["1 + 1", ("two", "three"), 0, "test"],
        ["1 - 1", ("two", "zero"), 1, "test"],
    ]
    assert (frame.attrs["dropped_broken"], frame.attrs["dropped_duplicates"]) == (4, 1)
    with_passage = toy("siqa", texts=[lines({**rows[0], "passage": "Tom adds."})])
    assert list(with_passage.columns) == ["passage", "question", "choices", "answer", "split"]


def test_answers_of_sums_are_numbers(toy):
    row = {"question": "How many?", "answer": "A day has <<24*60=1440>>1440 minutes.\n#### 1,440"}
    frame = toy("gsm8k", texts=[lines(row)])
    assert frame.loc[0].tolist() == ["How many?", "1440", "A day has <<24*60=1440>>1440 minutes.", "test"]


def test_tweets_that_were_sent_on_stay_with_the_first(toy):
    tweets = [[("New", "O"), ("York", "B-geo-loc"), (f"http://t.co/{n}", "O"), ("&lt;", "O")] for n in range(12)]
    tweets.append([("RT", "O"), ("@me", "O"), ("new", "O"), ("york", "B-geo-loc")])
    text = "\n\t\n".join("\n".join("\t".join(pair) for pair in tweet) for tweet in tweets) + "\n\t\n"
    frame = toy("tweet-entities", texts=[text])
    assert len(frame) == 13
    assert frame["split"].nunique() == 1
    assert frame.loc[0].tolist()[:1] + frame.loc[0].tolist()[2:] == [
        "New York http://t.co/0 <",
        "New York http://t.co/0 <",
        "O B-geo-loc O O",
    ]


def test_instructions_and_preferences_are_split_by_what_is_asked(toy):
    english = [{"instruction": "Say it again.", "input": f"Text {n}", "output": "Yes."} for n in range(12)]
    english.append(english[0] | {"output": "No."})
    chinese = [{"instruction": "你好", "input": "", "output": "你好！"}]
    frame = toy("instructions", texts=[json.dumps(english), json.dumps(chinese)])
    assert frame["prompt"].tolist() == [*(f"Say it again.\n\nText {n}" for n in range(12)), "你好"]
    assert frame.loc[frame["label"] == "english", "split"].nunique() == 1
    assert frame["label"].tolist() == ["english"] * 12 + ["chinese"]
    assert frame.attrs["dropped_duplicates"] == 1

    def talk(*said):
        turns = [{"from": who, "value": text} for who, text in said]
        return {"conversations": turns, "chosen": {"value": " Good "}, "rejected": {"value": "Bad"}}

    talks = [talk(("system", "Be kind."), ("human", "Hi"), ("gpt", "Hello"), ("human", f"More {n}")) for n in range(9)]
    frame = toy("preferences", texts=[json.dumps(talks), json.dumps([talk(("human", "你好"))])])
    assert frame["split"][:9].nunique() == 1
    assert frame.loc[9, ["prompt", "chosen", "rejected", "label"]].tolist() == ["你好", "Good", "Bad", "chinese"]
    assert [turn["role"] for turn in frame["turns"][0]] == ["system", "user", "assistant", "user"]


def test_headlines_come_out_of_an_archive_in_an_archive(toy):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as inner:
        rows = "article_id,title,text\n1,Quotable,One says A.\n2,Quotable,One says B.\n3,,No title\n4,Copy,one says a\n"
        inner.writestr("NewsArticles.csv", rows)
    frame = toy("headlines", texts=[buffer.getvalue()])
    assert frame["text"].tolist() == ["One says A.", "One says B."]
    assert frame["split"].nunique() == 1
    assert (frame.attrs["dropped_empty"], frame.attrs["dropped_duplicates"]) == (1, 1)


def test_an_emoji_and_its_variants_are_in_one_part(toy):
    names = {"👋": "waving_hand", "👋🏽": "waving_hand_medium_skin_tone", "👩‍🚒": "woman_firefighter"}
    names |= {"🧑🏿‍🚒": "firefighter_dark_skin_tone", "🏃‍♂️‍➡️": "man_running_facing_right", "🏃": "person_running"}
    table = {emoji: {"en": f":{name}:", "status": 2} for emoji, name in names.items()} | {"☺": {"en": "x", "status": 4}}
    chinese = {emoji: f":名字{place}:" for place, emoji in enumerate(table)}
    frame = toy("emoji-names", texts=[json.dumps(table), json.dumps(chinese)])
    assert frame["english"].tolist() == [name.replace("_", " ") for name in names.values()]
    for first in (0, 2, 4):
        assert frame["split"][first] == frame["split"][first + 1]
