"""``kerasllm answer``: the words of a passage that answer questions, by a saved `SpanFinder`."""

from __future__ import annotations

import math
from pathlib import Path

from kerasllm.cli.errors import UserError, told
from kerasllm.cli.lines import LINE, piped_lines
from kerasllm.cli.saved_tasks import asked_texts, load_task, print_json, print_line

NO_ANSWER = "(no answer)"


def answer_questions(options) -> None:
    """Print a line for each question."""
    if options.passage == "-" and not options.questions:
        raise UserError("--passage -: stdin holds the passage, so name the questions behind the model")
    passage = _passage(options.passage)
    model = load_task(options.model, "SpanFinder")
    for questions in asked_texts(options.questions):
        for question in questions:
            with told(ValueError, TypeError):
                found = model.answer(question, passage)
            if options.json:
                print_json(question=question, **_plain(found))
            else:
                print_line(found.text or NO_ANSWER)


def _plain(found) -> dict:
    """An `Answer` in values that JSON has: null where there is no answer, or no score."""
    there = found.start >= 0
    return {
        "answer": found.text if there else None,
        "start": found.start if there else None,
        "end": found.end if there else None,
        "score": found.score if math.isfinite(found.score) else None,
        "no_answer": found.no_answer,
    }


def _passage(given: str) -> str:
    """The text of a file, of stdin, or what was given itself."""
    if given == "-":
        passage = "\n".join(piped_lines())
    elif _is_file(given):
        from kerasllm import data

        passage = ""
        with told(data.DataError, about="--passage: "):
            for piece in data.text_pieces(given):
                passage += piece
                _check_length(passage)
    else:
        passage = given
    _check_length(passage)
    if not passage.strip():
        raise UserError("--passage: there is no text in it: name a file with one, or write it in quotation marks")
    return passage


def _is_file(given: str) -> bool:
    """Whether a file is named. One word that looks like a path, and leads to none, is a mistake and no text."""
    if not given.strip():  # the path of "" is the folder that we are in
        return False
    try:
        there = Path(given).is_file()
        if Path(given).is_dir():
            raise UserError(f"--passage: {given} is a folder: name a file in it")
    except (OSError, ValueError):  # a text, too long for a name or with a character that none has
        return False
    looks = len(given.split()) == 1 and (Path(given).suffix[1:].isalnum() or "/" in given or "\\" in given)
    if looks and not there:
        raise UserError(f"--passage: there is no file {given}: name one, or give a text of several words")
    return there


def _check_length(passage: str) -> None:
    if len(passage) > LINE:
        raise UserError(f"--passage: the passage has more than {LINE:,} characters: give the part that matters")
