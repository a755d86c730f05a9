"""Conversations with tools: in the form of OpenAI's chat API, and every call called again."""

import json
import re
from collections import Counter

import jsonschema
import pytest
from desk import WEEKDAYS, Desk

from kerasllm import data
from kerasllm.data.catalogue import find
from kerasllm.data.splits import fold

NAME = "tool-dialogues"
KINDS = {"calculator": "calculator", "convert_units": "units", "search_documents": "search"}  # others: calendar


@pytest.fixture(scope="module")
def frame():
    return data.load(NAME)


@pytest.fixture(scope="module")
def tools(frame):
    return {one["function"]["name"]: one["function"] for one in frame.attrs["tools"]}


def calls_of(message):
    return [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in message["tool_calls"]]


def steps_of(messages):
    """The runs of calls with their answers, each with what the assistant says behind them."""
    found = []
    for message in messages:
        if "tool_calls" in message:
            found += [(*call, None) for call in calls_of(message)]
        elif message["role"] == "tool":
            place = next(place for place, one in enumerate(found) if one[2] is None)
            found[place] = (*found[place][:2], json.loads(message["content"]))
        elif message["role"] == "assistant":
            yield found, message["content"]
            found = []


def numbers(text):
    """The numbers of a text; of a clock time, hours and minutes."""
    return [float(one.replace(",", "")) for one in re.findall(r"\d+(?:,\d{3})*(?:\.\d+)?", text)]


# The form ----------------------------------------------------------------------------------------


def test_messages_have_the_form_of_the_chat_api(frame):
    for messages in frame["messages"]:
        assert messages[0]["role"] == "system"
        assert messages[1]["role"] == "user"
        assert messages[-1]["role"] == "assistant"
        waiting = []
        for before, message in zip([None, *messages], messages, strict=False):
            assert set(message) <= {"role", "content", "tool_calls", "tool_call_id"}
            if message["role"] == "tool":
                assert message["tool_call_id"] == waiting.pop(0)
                assert isinstance(json.loads(message["content"]), dict)
                continue
            assert not waiting
            if message["role"] == "user":
                assert before["role"] in ("system", "assistant")
                assert "tool_calls" not in before
            if "tool_calls" in message:
                assert message["role"] == "assistant"
                assert message["content"] is None
                assert {call["type"] for call in message["tool_calls"]} == {"function"}
                waiting = [call["id"] for call in message["tool_calls"]]
            else:
                assert message["content"].strip() == message["content"] != ""
        ids = [call["id"] for message in messages for call in message.get("tool_calls", ())]
        assert ids == [f"call_{number}" for number in range(1, len(ids) + 1)]


def test_tools_are_described_by_schemas_and_arguments_keep_to_them(frame, tools):
    for tool in tools.values():
        jsonschema.Draft202012Validator.check_schema(tool["parameters"])
        assert tool["parameters"]["additionalProperties"] is False
        assert len(tool["description"]) > 10
    used = Counter()
    for messages in frame["messages"]:
        for message in messages:
            for name, arguments in calls_of(message) if "tool_calls" in message else ():
                jsonschema.validate(arguments, tools[name]["parameters"])
                used[name] += 1
    assert set(used) == set(tools)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"date": "4 March"}, tools["add_to_date"]["parameters"])


def test_documents_and_events_are_there_in_both_languages(frame):
    for language in ("english", "chinese"):
        documents, events = frame.attrs["documents"][language], frame.attrs["events"][language]
        for some in (documents, events):
            assert len({one["id"] for one in some}) == len(some) > 5
        assert events == sorted(events, key=lambda event: (event["date"], event["start"]))


# What tools and assistant say --------------------------------------------------------------------


def test_every_call_gives_what_the_dialogue_says(frame):
    for row in frame.itertuples():
        desk = Desk(frame.attrs["events"][row.language], frame.attrs["documents"][row.language])
        for steps, _ in steps_of(row.messages):
            for name, arguments, answer in steps:
                assert desk.call(name, arguments) == answer, (row.dialogue_id, name, arguments)


def test_the_assistant_says_what_the_last_tool_found(frame):
    for row in frame.itertuples():
        for steps, said in steps_of(row.messages):
            if not steps:
                continue
            name, _, answer = steps[-1]
            where = (row.dialogue_id, said)
            if "result" in answer:
                # As the tool gave it, or rounded.
                assert set(numbers(said)) & {round(answer["result"], digits) for digits in range(7)}, where
            elif "days" in answer:
                assert answer["days"] in numbers(said), where
            elif name in ("add_to_date", "move_event", "add_event") and "date" in answer:
                month, day = map(int, answer["date"].split("-")[1:])
                assert day in numbers(said) or re.search("today|tomorrow", said), where
                if row.language == "chinese":
                    assert month in numbers(said), where
            if "weekday" in answer:
                names = {
                    "english": answer["weekday"],
                    "chinese": "星期" + "一二三四五六日"[WEEKDAYS.index(answer["weekday"])],
                }
                assert names[row.language] in said, where
            if name == "add_event" and "start" in answer:
                assert answer["start"].lstrip("0") in said, where
                assert answer["end"].lstrip("0") in said, where
            # After an error or an empty search nobody claims to have done or found it.
            if "error" in answer or answer.get("results") == []:
                assert re.search(r"\b(no|not|cannot|nothing|clashes)\b|不|没有|冲突", said.casefold()), where


def test_every_number_of_the_assistant_stood_somewhere_before(frame):
    # Said by the user, in a document or in the answer of a tool, maybe rounded; five are everybody's knowledge.
    free = {("en-05", 13), ("en-14", 28), ("en-29", 190), ("en-39", 24), ("en-44", 90)}
    for row in frame.itertuples():
        known = set()
        for message in row.messages:
            text = message["content"] or ""
            if message["role"] == "assistant":
                for number in numbers(text):
                    assert number in known or (row.dialogue_id, number) in free, (row.dialogue_id, number, text)
                known |= set(numbers(json.dumps(message.get("tool_calls", []))))
            known |= {round(number, digits) for number in numbers(text) for digits in range(7)}


def test_names_of_weekdays_are_those_of_their_dates(frame):
    months = "January February March April May June July August September October November December".split()
    pattern = rf"({'|'.join(WEEKDAYS)}), (\d+) ({'|'.join(months)})|(\d+)月(\d+)日，?星期([一二三四五六日])"
    found = 0
    for messages in frame["messages"]:
        for message in messages:
            for one in re.finditer(pattern, message["content"] or ""):
                day, month = (one[2], months.index(one[3]) + 1) if one[1] else (one[5], one[4])
                weekday = one[1] or WEEKDAYS["一二三四五六日".index(one[6])]
                answer = Desk([], []).add_to_date(f"2025-{int(month):02}-{int(day):02}")
                assert answer["weekday"] == weekday, message
                found += 1
            today = re.search(r"Today is (\w+), (\S+)\.", message["content"] or "")
            if today:
                assert Desk([], []).add_to_date(today[2])["weekday"] == today[1]
    assert found > 30


def test_an_event_is_known_before_it_is_moved_or_deleted(frame):
    for messages in frame["messages"]:
        seen = ""
        for message in messages:
            for _, arguments in calls_of(message) if "tool_calls" in message else ():
                assert arguments.get("id", "") in seen
            seen += message["content"] or ""


# The whole ---------------------------------------------------------------------------------------


def test_kinds_are_what_the_dialogue_shows(frame):
    for row in frame.itertuples():
        steps = [step for steps, _ in steps_of(row.messages) for step in steps]
        used = {KINDS.get(name, "calendar") for name, *_ in steps} or {"no tool"}
        used |= {"error"} if any("error" in answer for *_, answer in steps) else set()
        used |= {"nothing found"} if any(answer.get("results") == [] for *_, answer in steps) else set()
        assert used == set(row.kinds) - {"change of mind"}, row.dialogue_id
        assert sum(message["role"] == "user" for message in row.messages) >= 2


def test_there_are_enough_of_each_kind_in_each_part(frame):
    assert len(frame) >= 70
    assert (frame["language"] == "chinese").sum() >= 20
    kinds = frame.explode("kinds")
    totals = kinds["kinds"].value_counts()
    assert totals[["no tool", "error", "change of mind"]].min() >= 10
    for _, some in kinds.groupby("split"):
        assert set(some["kinds"]) == set(totals.index)
    assert (frame.groupby("split")["language"].nunique() == 2).all()


def test_no_question_stands_twice(frame):
    said = [
        fold(message["content"]) for messages in frame["messages"] for message in messages if message["role"] == "user"
    ]
    assert len(set(said)) == len(said)


def test_the_card_counts_what_there_is(frame):
    assert find(NAME).splits == frame["split"].value_counts().to_dict()
    card = data.card(NAME)
    for kind, rows in frame.explode("kinds").groupby("kinds"):
        counts = " | ".join(str(int((rows["split"] == part).sum())) for part in ("train", "validation", "test"))
        assert f"| {kind} | {counts} |" in card, (kind, counts)


# The desk itself ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "answer"),
    [
        ("calculator", {"expression": "2 + 3 * 4"}, {"result": 14}),
        ("calculator", {"expression": "-(2 ** 3) / 5"}, {"result": -1.6}),
        ("calculator", {"expression": "__import__('os')"}, {"error": "cannot read \"__import__('os')\""}),
        ("convert_units", {"value": 100, "source": "C", "target": "F"}, {"result": 212, "unit": "F"}),
        ("convert_units", {"value": 1, "source": "C", "target": "km"}, {"error": "cannot convert C to km"}),
        ("convert_units", {"value": 36, "source": "km/h", "target": "m/s"}, {"result": 10, "unit": "m/s"}),
        ("add_to_date", {"date": "2024-01-31", "months": 1}, {"date": "2024-02-29", "weekday": "Thursday"}),
        ("add_to_date", {"date": "2024-12-31", "months": -13}, {"date": "2023-11-30", "weekday": "Thursday"}),
        ("days_between", {"start": "2024-02-01", "end": "2024-03-01"}, {"days": 29}),
        ("delete_event", {"id": "e1"}, {"error": "there is no event 'e1'"}),
        ("search_documents", {"query": "anything"}, {"results": []}),
    ],
)
def test_the_desk_answers_as_one_would_on_paper(name, arguments, answer):
    assert Desk([], []).call(name, arguments) == answer


def test_the_desk_keeps_its_calendar():
    desk = Desk([], [])
    assert desk.add_event("Tea", "2025-03-04", "10:00", 60)["id"] == "e1"
    assert (
        "overlaps with e1"
        in desk.call("add_event", dict(title="x", date="2025-03-04", start="10:59", minutes=5))["error"]
    )
    assert desk.move_event("e1", "2025-03-04", "10:30")["end"] == "11:30"  # may overlap with where it was
    assert desk.delete_event("e1") == {"deleted": "e1"}
    assert desk.add_event("Tea", "2025-03-04", "10:00", 60)["id"] == "e2"
    assert [event["id"] for event in desk.list_events("2025-03-01", "2025-03-31")["events"]] == ["e2"]
