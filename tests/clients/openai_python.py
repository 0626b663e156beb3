#!/usr/bin/env python3
"""Drives an OpenAI endpoint with the `openai` package of PyPI, the way an application would.

See expectations.py for the environment. Prints one `ok - …` line per promise; the first broken one ends the
script with `not ok - …` and exit code 1.
"""

import asyncio
import json
import os

import openai
from expectations import QUESTION, answers, api_key, base_url, expect, fail, ok, tampered

os.environ["NO_PROXY"] = "*"  # the endpoint is on this machine, whatever the environment says

ANSWERS = answers()
ASK = [{"role": "user", "content": QUESTION}]


def make_client(key=None, kind=openai.OpenAI):
    # No retries: a status that the SDK would retry away is a failure here.
    return kind(base_url=base_url(), api_key=key or api_key(), max_retries=0, timeout=60.0)


def check_models(client):
    listed = [model.id for model in client.models.list()]
    expect(listed, "the list of models is not empty")
    model = os.environ.get("MODEL") or listed[0]
    expect(model in listed, "the model is listed", f"{model} not in {listed}")
    ok("models are listed")
    return model


def check_chat(client, model):
    answer = client.chat.completions.create(model=model, messages=ASK, temperature=0)
    choice = answer.choices[0]
    expect(answer.object == "chat.completion", "a chat answer is a chat.completion", answer.object)
    expect(choice.message.role == "assistant", "the assistant speaks", choice.message.role)
    expect(choice.message.content == ANSWERS[QUESTION], "a chat gives the written answer", choice.message.content)
    expect(choice.finish_reason == "stop", "a whole answer ends with stop", choice.finish_reason)
    usage = answer.usage
    expect(usage.prompt_tokens > 0 and usage.completion_tokens > 0, "tokens are counted", usage)
    expect(usage.total_tokens == usage.prompt_tokens + usage.completion_tokens, "token counts add up", usage)
    ok("chat answers as written")
    return usage


def check_system_message(client, model):
    messages = [{"role": "system", "content": "You are a helpful assistant."}, *ASK]
    answer = client.chat.completions.create(model=model, messages=messages, temperature=0)
    said = answer.choices[0].message.content
    expect(said == ANSWERS[QUESTION], "a system message is accepted", said)
    ok("chat accepts a system message")


def read_stream(stream):
    text, reasons, usage, pieces = [], [], None, 0
    for chunk in stream:
        expect(chunk.object == "chat.completion.chunk", "a piece is a chat.completion.chunk", chunk.object)
        for choice in chunk.choices:
            expect(not reasons, "nothing follows the finish reason")
            text.append(choice.delta.content or "")
            pieces += bool(choice.delta.content)
            if choice.finish_reason:
                reasons.append(choice.finish_reason)
        if chunk.usage:
            expect(usage is None, "usage comes once")
            expect(not chunk.choices, "usage comes in a piece of its own")
            usage = chunk.usage
    expect(reasons == ["stop"], "a stream has one finish reason, stop", reasons)
    return "".join(text), pieces, usage


def check_stream(client, model, whole):
    stream = client.chat.completions.create(
        model=model, messages=ASK, temperature=0, stream=True, stream_options={"include_usage": True}
    )
    text, pieces, usage = read_stream(stream)
    expect(text == ANSWERS[QUESTION], "a stream reassembles to the written answer", text)
    expect(pieces > 1, "a stream has several pieces", pieces)
    expect(usage is not None, "usage is streamed when it is asked for")
    same = (usage.prompt_tokens, usage.completion_tokens) == (whole.prompt_tokens, whole.completion_tokens)
    expect(same, "stream and whole answer count the same tokens", f"{usage} {whole}")
    ok("stream reassembles to the same answer, with finish reason and usage")

    stream = client.chat.completions.create(model=model, messages=ASK, temperature=0, stream=True)
    text, _, usage = read_stream(stream)
    expect(text == ANSWERS[QUESTION] and usage is None, "usage is not streamed unasked", usage)
    ok("stream has no usage unless it is asked for")


def check_abandoned_stream(client, model):
    stream = client.chat.completions.create(model=model, messages=ASK, temperature=0, stream=True)
    next(iter(stream))
    stream.close()
    answer = client.chat.completions.create(model=model, messages=ASK, temperature=0)
    expect(answer.choices[0].message.content == ANSWERS[QUESTION], "the next request is answered")
    ok("an abandoned stream leaves the endpoint serving")


def check_length(client, model):
    answer = client.chat.completions.create(model=model, messages=ASK, temperature=0, max_tokens=3)
    choice = answer.choices[0]
    expect(choice.finish_reason == "length", "a cut answer ends with length", choice.finish_reason)
    expect(answer.usage.completion_tokens == 3, "max_tokens is exact", answer.usage)
    expect(ANSWERS[QUESTION].startswith(choice.message.content), "a cut answer is a prefix", choice.message.content)
    ok("max_tokens ends an answer with length")


def check_completions(client, model):
    answer = client.completions.create(model=model, prompt=QUESTION, temperature=0, max_tokens=100)
    said = answer.choices[0].text
    expect(answer.object == "text_completion", "a completion is a text_completion", answer.object)
    expect(said.strip() == ANSWERS[QUESTION], "a completion gives the written answer", said)
    pieces = client.completions.create(model=model, prompt=QUESTION, temperature=0, max_tokens=100, stream=True)
    streamed = "".join(choice.text for piece in pieces for choice in piece.choices)
    expect(streamed == said, "a streamed completion is the same", streamed)
    ok("completions answer, whole and streamed")


def check_choices(client, model):
    request = {"model": model, "messages": ASK, "temperature": 1.5, "seed": 7, "max_tokens": 8, "n": 3}
    answer = client.chat.completions.create(**request)
    expect([choice.index for choice in answer.choices] == [0, 1, 2], "three choices have their indices", answer.choices)
    expect(answer.system_fingerprint, "an answer has a fingerprint")
    texts = ["", "", ""]
    for chunk in client.chat.completions.create(**request, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    expect(texts == [choice.message.content for choice in answer.choices], "streamed choices are the same", texts)
    ok("several choices come whole and streamed, the same under a seed")


def check_logprobs(client, model):
    request = {"model": model, "messages": ASK, "temperature": 0, "max_tokens": 5}
    answer = client.chat.completions.create(**request, logprobs=True, top_logprobs=2)
    content = answer.choices[0].logprobs.content
    said = b"".join(bytes(token.bytes) for token in content).decode()
    expect(said == answer.choices[0].message.content, "tokens with log probabilities are the answer", said)
    for token in content:
        expect(token.logprob <= 0 and len(token.top_logprobs) == 2, "log probabilities have alternatives", token)
        expect(token.top_logprobs[0].token == token.token, "greedy takes the most probable", token)
    ok("log probabilities come with their alternatives")


def check_structured(client, model):
    schema = {
        "type": "object", "additionalProperties": False, "required": ["proved", "count"],
        "properties": {"proved": {"type": "boolean"}, "count": {"type": "integer", "minimum": 0, "maximum": 99}},
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "proof", "strict": True, "schema": schema}}
    answer = client.chat.completions.create(model=model, messages=ASK, temperature=0, response_format=wanted)
    said = json.loads(answer.choices[0].message.content)
    expect(answer.choices[0].finish_reason == "stop", "an answer in a form ends with stop", answer.choices[0])
    expect(isinstance(said["proved"], bool) and 0 <= said["count"] <= 99, "an answer fits its schema", said)
    choice = client.chat.completions.create(
        model=model, messages=ASK, extra_body={"structured_outputs": {"choice": ["hardware", "nothing"]}}
    )
    said = choice.choices[0].message.content
    expect(said in ["hardware", "nothing"], "an answer is one of the choices", said)
    ok("answers fit the schema and the choice that were asked for")


def check_errors(client, model):
    def refused(kind, code, what, call):
        try:
            call()
        except kind as error:
            expect(error.code == code, f"{what} has the code {code}", error.body)
            expect(error.type and error.message, f"{what} has a type and a message", error.body)
            return error
        except openai.APIError as error:
            fail(f"{what} raises {kind.__name__}", repr(error))
        fail(f"{what} is refused")

    def ask(**changes):
        request = {"model": model, "messages": ASK, "temperature": 0, **changes}
        return lambda: client.chat.completions.create(**request)

    error = refused(openai.NotFoundError, "unknown-model", "an unknown model", ask(model="no-such-model"))
    expect(error.status_code == 404 and error.param == "model", "an unknown model is a 404 on model", error.body)
    refused(openai.NotFoundError, "unknown-model", "an unknown model in a stream", ask(model="no-such-model", stream=True))
    ok("unknown model raises NotFoundError")

    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
    for parameter, value in {"temperature": 9, "messages": [], "top_logprobs": 3, "tools": tools, "store": True}.items():
        what = f"{parameter} = {value}"
        error = refused(openai.BadRequestError, "invalid-parameter", what, ask(**{parameter: value}))
        expect(error.param == parameter, f"{what} is named", error.body)
    misspelt = ask(extra_body={"temprature": 1})
    refused(openai.BadRequestError, "unknown-parameter", "a misspelt parameter", misspelt)
    broken = ask(response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "nothing"}}})
    error = refused(openai.BadRequestError, "invalid-constraint", "a broken schema", broken)
    expect(error.param == "response_format", "a broken schema is named", error.body)
    ok("bad parameters raise BadRequestError")

    for name, key in {"tampered": tampered(api_key()), "foreign": "sk-not-a-token"}.items():
        stranger = make_client(key)
        call = lambda: stranger.chat.completions.create(model=model, messages=ASK)
        error = refused(openai.AuthenticationError, "unauthorized-token", f"a {name} token", call)
        expect(error.status_code == 401, f"a {name} token is a 401", error.status_code)
    ok("wrong tokens raise AuthenticationError")


async def check_together(model):
    client = make_client(kind=openai.AsyncOpenAI)
    questions = list(ANSWERS)[:: max(1, len(ANSWERS) // 6)][:6]

    async def ask(question):
        messages = [{"role": "user", "content": question}]
        answer = await client.chat.completions.create(model=model, messages=messages, temperature=0)
        return answer.choices[0].message.content

    said = await asyncio.gather(*map(ask, questions))
    await client.close()
    for question, text in zip(questions, said):
        expect(text == ANSWERS[question], f"asked at once, {question!r} gives its answer", text)
    ok("requests at the same time each get their own answer")


def main():
    client = make_client()
    model = check_models(client)
    usage = check_chat(client, model)
    check_system_message(client, model)
    check_stream(client, model, usage)
    check_abandoned_stream(client, model)
    check_length(client, model)
    check_completions(client, model)
    check_choices(client, model)
    check_logprobs(client, model)
    check_structured(client, model)
    check_errors(client, model)
    asyncio.run(check_together(model))
    ok(f"all of it, openai {openai.__version__} for Python")


if __name__ == "__main__":
    try:
        main()
    except openai.APIError as error:
        fail("an unexpected error", repr(error))
