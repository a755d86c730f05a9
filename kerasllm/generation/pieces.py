"""From ids that come bit by bit to text that comes bit by bit."""

from kerasllm.text.characters import BYTE_TOKENS


class TextPieces:
    """The text of ids that come bit by bit; the bytes of an unfinished character wait.

    Args:
        tokenizer: the `kerasllm.text.Tokenizer` of the ids.
        before: the ids in front of them: a tokenizer of words puts a space between two words.
    """

    def __init__(self, tokenizer, before):
        self.tokenizer = tokenizer
        self.special = {tokenizer.id_of(token) for token in tokenizer.special_tokens}
        self.before = [id for id in before if id not in self.special and not self._byte(id)][-1:]
        self.waiting = []

    def _byte(self, id):
        return self.tokenizer.token_of(id) in BYTE_TOKENS

    def add(self, ids, last=False):
        """The text that is now certain; with `last` all of it."""
        self.waiting += [id for id in ids if id not in self.special]
        text = self.tokenizer.decode(self.before + self.waiting)[len(self.tokenizer.decode(self.before)) :]
        if not self.waiting or (not last and (text.endswith("\ufffd") or self._byte(self.waiting[-1]))):
            return ""
        self.before, self.waiting = self.waiting[-1:], []
        return text
