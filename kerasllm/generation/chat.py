"""A conversation with a model: turns of text in and out, over one session."""

from collections.abc import Iterator

from kerasllm.common import whole_number
from kerasllm.generation.session import Reply, Session
from kerasllm.text import ChatTemplate, check_tokenizer, check_turns


class Chat:
    """A conversation with a model that was tuned for conversations.

        chat = Chat(model, tokenizer, system="You are a pirate.")
        print(chat.say("Hi!").text)
        for piece in chat.stream("Where is the treasure?"):
            print(piece, end="", flush=True)

    What the model reads is always what the chat template makes of `turns`. What of that it has read already is not
    read again: a turn costs its own tokens, unless the template writes an earlier reply otherwise than the model did
    (without the spaces around it, without its thoughts). Then it is read anew from there on.

    A model sees its last ``context_length`` tokens. When conversation and reply no longer fit, the oldest turns are
    dropped, a turn of the user always with the reply to it; what the system says stays.

    Args:
        model: see `Session`.
        tokenizer: its `kerasllm.text.Tokenizer`.
        system: what the system says first; where it is None, some templates say something themselves.
        template: a `kerasllm.text.ChatTemplate` of the tokenizer, for another form or a date.

    Attributes:
        turns: the conversation as the model still sees it: dictionaries with "role" and "content".
        dropped: how many turns were dropped.
        session: the `Session`.

    Raises:
        TypeError: if the model cannot generate, or `tokenizer` is none.
        ValueError: if the tokenizer has no chat template, or more tokens than the model.

    Example:
        >>> from kerasllm import models, text
        >>> tokenizer = text.train_characters(["user assistant Hi!\\n"], extra=["<|im_start|>", "<|im_end|>"])
        >>> settings = models.gpt_settings(tokenizer.vocabulary_size, num_layers=1, num_heads=2, embedding_dim=8)
        >>> chat = Chat(models.GPT(settings), tokenizer, template=text.ChatTemplate(tokenizer, "ChatML"))
        >>> reply = chat.say("Hi!", max_new_tokens=5)
        >>> [turn["role"] for turn in chat.turns]
        ['user', 'assistant']
    """

    def __init__(self, model, tokenizer, system=None, *, template=None):
        self.tokenizer = check_tokenizer(tokenizer)
        if template is not None and not isinstance(template, ChatTemplate):
            raise TypeError(f"template must be a kerasllm.text.ChatTemplate, not {template!r:.60}.")
        self.model, self.session = model, Session(model, tokenizer)
        self.template = ChatTemplate(tokenizer) if template is None else template
        self.system = system
        ends = [*tokenizer.stop_ids, self.template.end_id]
        self.stop_ids = list(dict.fromkeys(id for id in ends if id is not None))
        self.reset()

    def reset(self) -> None:
        """Begin a new conversation; what the system says stays."""
        self.turns = [] if self.system is None else [{"role": "system", "content": self.system}]
        self.dropped = 0
        if self.turns:
            check_turns(self.turns)

    def say(self, text, max_new_tokens=256, sampler=None, *, seed=None) -> Reply:
        """What the model replies to a turn of the user.

        Args:
            text: what the user says.
            max_new_tokens: the largest number of tokens of the reply; fewer where the context has no more room.
            sampler: `Greedy`, `Sampling` or `Beam`; greedy when None.
            seed: a whole number: the same seed gives the same reply to the same conversation.

        Returns:
            A `Reply`.

        Raises:
            TypeError: if `text` is none.
            ValueError: if the turn alone is too long for the model, or for a reason of `Session.write`.
        """
        turns, dropped, room = self._read(text, max_new_tokens)
        [reply] = self.session.write(room, sampler, stop_tokens=self.stop_ids, seed=seed)
        self._keep(turns, dropped, reply.text)
        return reply

    def stream(self, text, max_new_tokens=256, sampler=None, *, seed=None, every=8) -> Iterator[str]:
        """Give out each piece of the reply as soon as it is certain.

        Whoever stops in the middle, by ``close`` or Ctrl-C, keeps what was given out as the reply.

        Args:
            text, max_new_tokens, sampler, seed: see `say`; no beam search.
            every: how many tokens are written at a time; the first ones come after 1, 2, 4, ... tokens.

        Yields:
            Pieces of text, together the reply.
        """
        turns, dropped, room = self._read(text, max_new_tokens)
        wanted = {"stop_tokens": self.stop_ids, "seed": seed, "every": every}
        return self._said(turns, dropped, self.session.stream(room, sampler, **wanted))

    def _said(self, turns, dropped, pieces):
        said = ""
        try:
            for piece in pieces:
                said += piece
                yield piece
        except GeneratorExit:  # between two steps
            self._keep(turns, dropped, said)
            raise
        except BaseException as error:
            # In the middle of a step: the memory may be half changed, so the next turn reads all anew.
            self.session = Session(self.model, self.tokenizer)
            if isinstance(error, KeyboardInterrupt):
                self._keep(turns, dropped, said)
            raise
        self._keep(turns, dropped, said)

    def _keep(self, turns, dropped, said):
        self.turns = [*turns, {"role": "assistant", "content": said}]
        self.dropped += dropped

    def _read(self, text, max_new_tokens):
        """The turns with one more of the user, how many of the oldest were dropped, and the room for a reply."""
        whole_number("max_new_tokens", max_new_tokens, 0)
        if not isinstance(text, str):
            raise TypeError(f"What the user says is a text, not {text!r:.60} ({type(text).__name__}).")
        turns, dropped = [*self.turns, {"role": "user", "content": text}], 0
        context = getattr(self.model, "context_length", None)
        first = int(turns[0]["role"] == "system")
        while True:
            ids = self.template.encode(turns, open_reply=True)
            if context is None or len(ids) + min(max_new_tokens, context // 2) <= context:
                break
            if len(turns) == first + 1:  # nothing is left to drop: a shorter reply
                if len(ids) < context:
                    break
                raise ValueError(
                    f"The turn has {len(ids)} tokens, with what the template and the system say, and the model sees "
                    f"{context}. Say it in fewer words."
                )
            turns, dropped = turns[:first] + turns[first + 2 :], dropped + 2
        self.session.rewrite(ids)
        return turns, dropped, max_new_tokens if context is None else min(max_new_tokens, context - len(ids))
