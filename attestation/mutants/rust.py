"""Finds the body of a function in Rust source, where a brace may also stand in a comment, a string or a type."""

import re

RAW_STRING = re.compile(r'b?r(#*)"')
CHARACTER = re.compile(r"'(\\x[0-9a-fA-F]{2}|\\u\{[0-9a-fA-F]+\}|\\.|[^\\'])'")


def line_starts(text):
    """Where each line begins, to turn a line and a column into an offset."""
    return [0] + [place + 1 for place, c in enumerate(text) if c == "\n"]


def after_comment(text, place):
    if text.startswith("//", place):
        end = text.find("\n", place)
        return len(text) if end < 0 else end
    depth = 0  # block comments nest
    while place < len(text):
        if text.startswith("/*", place):
            depth, place = depth + 1, place + 2
        elif text.startswith("*/", place):
            depth, place = depth - 1, place + 2
            if depth == 0:
                return place
        else:
            place += 1
    return place


def after_token(text, place):
    """The end of the comment or literal that begins at `place`; `place` itself where none does."""
    if text.startswith(("//", "/*"), place):
        return after_comment(text, place)
    raw = RAW_STRING.match(text, place)
    if raw and not re.match(r"\w", text[place - 1]):
        return text.index('"' + raw.group(1), raw.end()) + 1 + len(raw.group(1))
    if text[place] == '"':
        place += 1
        while text[place] != '"':
            place += 2 if text[place] == "\\" else 1
        return place + 1
    if text[place] == "'":  # a character, or else a lifetime
        character = CHARACTER.match(text, place)
        return character.end() if character else place + 1
    return place


def body_start(text, start, end):
    """Where the brace stands that opens the body of the function in `start..end`."""
    place, depth = start, 0
    while place < end:
        after = after_token(text, place)
        if after != place:
            place = after
            continue
        if text[place] in "([":
            depth += 1
        elif text[place] in ")]":
            depth -= 1
        elif text[place] == "{" and depth == 0:
            return place
        place += 1
    raise ValueError(f"no body: {text[start:start + 80]}")
