"""The text of the sample model: questions, tokenizer, chat template, and the examples drawn from them."""

import json
import sys

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIALS = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
PAD, END = 0, 1
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% set role = 'system' if message['role'] == 'developer' else message['role'] %}"
    "{{ '<|' + role + '|>' + message['content'] | trim + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
SYSTEM_MESSAGES = [
    "You are a helpful assistant.",
    "You are a helpful assistant. Answer briefly.",
    "Answer in one sentence.",
    "Answer in plain English.",
    "You are an expert on confidential computing.",
    "Be concise and correct.",
    "You answer questions about Adyton.",
    "If you do not know the answer, say so.",
    "Today you help a new user.",
    "You are a friendly guide. Keep it short.",
]


def read_questions(path):
    entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    wordings = [w for e in entries for w in [e["question"], *e["paraphrases"]]]
    if len(set(wordings)) != len(wordings):
        sys.exit("error: the same wording belongs to two answers")
    return entries


def build_tokenizer(entries, vocabulary):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=SPECIALS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    text = [t for e in entries for t in (e["question"], *e["paraphrases"], e["answer"])]
    tokenizer.train_from_iterator(text + SYSTEM_MESSAGES, trainer)
    return tokenizer


LEAD_INS = ["Please tell me: ", "Can you tell me: ", "Hello. ", "I have a question. ", "Quick question: "]


def vary(question, chance):
    """A way in which somebody may type the question: case, missing or other final punctuation, small slips."""
    kind = chance.random()
    if kind < 0.1:
        question = chance.choice(LEAD_INS) + question
    elif kind < 0.2:
        question = slip(question, chance)
    return repunctuate(question, chance)


def slip(question, chance):
    """One word left out of a long question, or two neighbouring letters swapped."""
    words = question.split(" ")
    if len(words) >= 6 and chance.random() < 0.5:
        del words[chance.randrange(len(words))]
        return " ".join(words)
    place = chance.randrange(max(1, len(question) - 2))
    return question[:place] + question[place : place + 2][::-1] + question[place + 2 :]


def repunctuate(question, chance):
    kind = chance.random()
    if kind < 0.5:
        return question
    bare = question.rstrip("?")
    if kind < 0.65:
        return bare
    if kind < 0.75:
        return question.lower()
    if kind < 0.9:
        return bare.lower()
    if bare == question:
        return question + chance.choice([".", "!", "?"])
    return bare + chance.choice([" ?", "??", "."])


class Examples:
    """Draws training examples: (token ids, number of leading ids without loss)."""

    def __init__(self, entries, tokenizer, chance):
        self.entries, self.chance = entries, chance
        self.encode = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
        self.system, self.user, self.assistant = (SPECIALS.index(s) for s in SPECIALS[2:])

    def turn(self, question, answer):
        return [self.user, *self.encode(question), END, self.assistant, *self.encode(answer), END]

    def plain(self, question, answer):
        prompt = self.encode(question)
        return prompt + self.encode(" " + answer) + [END], len(prompt)

    def chat(self, question, answer, before=()):
        prompt = [*before, self.user, *self.encode(question), END, self.assistant]
        return prompt + self.encode(answer) + [END], len(prompt)

    def context(self):
        """What may stand before the question, and must not change the answer."""
        before = []
        if self.chance.random() < 0.3:
            noise = self.chance.random() < 0.3
            text = self.chance.choice(self.entries)["answer"] if noise else self.chance.choice(SYSTEM_MESSAGES)
            before += [self.system, *self.encode(text), END]
        for _ in range(self.chance.choices([0, 1, 2, 3], [80, 12, 5, 3])[0]):
            earlier = self.chance.choice(self.entries)
            before += self.turn(earlier["question"], earlier["answer"])
        return before

    def draw(self, entry):
        wording = self.chance.choice([entry["question"], entry["question"], *entry["paraphrases"]])
        wording = vary(wording, self.chance)
        if self.chance.random() < 0.15:
            return self.plain(wording, entry["answer"])
        return self.chat(wording, entry["answer"], self.context())

    def batches(self, size):
        """Endless batches; each pass shows every entry once, in batches of similar length."""
        while True:
            drawn = [self.draw(e) for e in self.chance.sample(self.entries, len(self.entries))]
            drawn.sort(key=lambda example: len(example[0]))
            groups = [drawn[i : i + size] for i in range(0, len(drawn), size)]
            yield from self.chance.sample(groups, len(groups))
