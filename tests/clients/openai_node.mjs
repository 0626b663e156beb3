// Drives an OpenAI endpoint with the `openai` package of npm, the way an application would.
//
// BASE_URL, API_KEY_FILE, MODEL and QUESTIONS as in expectations.py. Prints one `ok - …` line per promise; the
// first broken one ends the script with `not ok - …` and exit code 1.

import { readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import OpenAI, { APIError, AuthenticationError, BadRequestError, NotFoundError } from "openai";
import { VERSION } from "openai/version";

const QUESTION = "What does remote attestation prove?";
const ASK = [{ role: "user", content: QUESTION }];

class Broken extends Error {}

function ok(what) {
  console.log(`ok - ${what}`);
}

function expect(condition, what, detail) {
  if (!condition) throw new Broken(detail === undefined ? what : `${what}: ${JSON.stringify(detail)}`);
}

function required(name) {
  expect(process.env[name], `the environment variable ${name} must be set`);
  return process.env[name];
}

function readAnswers() {
  const path = process.env.QUESTIONS ?? new URL("../../models/sample/questions.jsonl", import.meta.url);
  const lines = readFileSync(path, "utf8").trim().split("\n");
  return new Map(lines.map((line) => JSON.parse(line)).map(({ question, answer }) => [question, answer]));
}

function makeClient(apiKey) {
  // No retries: a status that the SDK would retry away is a failure here.
  return new OpenAI({ baseURL: required("BASE_URL"), apiKey, maxRetries: 0, timeout: 60_000 });
}

async function checkModels(client) {
  const listed = [];
  for await (const model of client.models.list()) listed.push(model.id);
  expect(listed.length > 0, "the list of models is not empty");
  const model = process.env.MODEL ?? listed[0];
  expect(listed.includes(model), "the model is listed", { model, listed });
  ok("models are listed");
  return model;
}

async function checkChat(client, model, written) {
  const answer = await client.chat.completions.create({ model, messages: ASK, temperature: 0 });
  const [choice] = answer.choices;
  expect(choice.message.content === written, "a chat gives the written answer", choice.message.content);
  expect(choice.finish_reason === "stop", "a whole answer ends with stop", choice.finish_reason);
  const { prompt_tokens, completion_tokens, total_tokens } = answer.usage;
  expect(prompt_tokens > 0 && completion_tokens > 0, "tokens are counted", answer.usage);
  expect(total_tokens === prompt_tokens + completion_tokens, "token counts add up", answer.usage);
  ok("chat answers as written");
  return answer.usage;
}

async function readStream(stream) {
  const read = { text: "", pieces: 0, reasons: [], usage: null };
  for await (const chunk of stream) {
    for (const choice of chunk.choices) {
      expect(read.reasons.length === 0, "nothing follows the finish reason");
      read.text += choice.delta.content ?? "";
      read.pieces += choice.delta.content ? 1 : 0;
      if (choice.finish_reason) read.reasons.push(choice.finish_reason);
    }
    if (chunk.usage) {
      expect(read.usage === null && chunk.choices.length === 0, "usage comes once, in a piece of its own");
      read.usage = chunk.usage;
    }
  }
  expect(isDeepStrictEqual(read.reasons, ["stop"]), "a stream has one finish reason, stop", read.reasons);
  return read;
}

async function checkStream(client, model, written, whole) {
  const request = { model, messages: ASK, temperature: 0, stream: true };
  const asked = await readStream(
    await client.chat.completions.create({ ...request, stream_options: { include_usage: true } }),
  );
  expect(asked.text === written, "a stream reassembles to the written answer", asked.text);
  expect(asked.pieces > 1, "a stream has several pieces", asked.pieces);
  expect(asked.usage, "usage is streamed when it is asked for");
  const same =
    asked.usage.prompt_tokens === whole.prompt_tokens && asked.usage.completion_tokens === whole.completion_tokens;
  expect(same, "stream and whole answer count the same tokens", [asked.usage, whole]);
  ok("stream reassembles to the same answer, with finish reason and usage");

  const unasked = await readStream(await client.chat.completions.create(request));
  expect(unasked.text === written && unasked.usage === null, "usage is not streamed unasked", unasked.usage);
  ok("stream has no usage unless it is asked for");
}

async function checkAbandonedStream(client, model, written) {
  const request = { model, messages: ASK, temperature: 0 };
  for await (const _ of await client.chat.completions.create({ ...request, stream: true })) break;
  const answer = await client.chat.completions.create(request);
  expect(answer.choices[0].message.content === written, "the next request is answered");
  ok("an abandoned stream leaves the endpoint serving");
}

async function checkCompletions(client, model, written) {
  const request = { model, prompt: QUESTION, temperature: 0, max_tokens: 100 };
  const said = (await client.completions.create(request)).choices[0].text;
  expect(said.trim() === written, "a completion gives the written answer", said);
  let streamed = "";
  for await (const piece of await client.completions.create({ ...request, stream: true })) {
    for (const choice of piece.choices) streamed += choice.text;
  }
  expect(streamed === said, "a streamed completion is the same", streamed);
  ok("completions answer, whole and streamed");
}

async function refused(kind, code, what, call) {
  try {
    await call();
  } catch (error) {
    if (error instanceof Broken) throw error;
    expect(error instanceof kind, `${what} throws ${kind.name}`, String(error));
    expect(error.code === code, `${what} has the code ${code}`, error.error);
    expect(error.type && error.message, `${what} has a type and a message`, error.error);
    return error;
  }
  throw new Broken(`${what} is refused`);
}

async function checkErrors(client, model, key) {
  const ask = (changes, by = client) => () =>
    by.chat.completions.create({ model, messages: ASK, temperature: 0, ...changes });

  const error = await refused(NotFoundError, "unknown-model", "an unknown model", ask({ model: "no-such-model" }));
  expect(error.status === 404 && error.param === "model", "an unknown model is a 404 on model", error.error);
  await refused(NotFoundError, "unknown-model", "an unknown model in a stream", ask({ model: "no-such-model", stream: true }));
  ok("unknown model throws NotFoundError");

  for (const change of [{ temperature: 9 }, { messages: [] }]) {
    const [parameter] = Object.keys(change);
    const error = await refused(BadRequestError, "invalid-parameter", JSON.stringify(change), ask(change));
    expect(error.param === parameter, `${parameter} is named`, error.error);
  }
  ok("bad parameters throw BadRequestError");

  const place = key.length - 8;
  const tampered = key.slice(0, place) + (key[place] === "A" ? "B" : "A") + key.slice(place + 1);
  for (const [name, wrong] of Object.entries({ tampered, foreign: "sk-not-a-token" })) {
    await refused(AuthenticationError, "unauthorized-token", `a ${name} token`, ask({}, makeClient(wrong)));
  }
  ok("wrong tokens throw AuthenticationError");
}

async function main() {
  const key = readFileSync(required("API_KEY_FILE"), "ascii").trim();
  const written = readAnswers().get(QUESTION);
  const client = makeClient(key);
  const model = await checkModels(client);
  const usage = await checkChat(client, model, written);
  await checkStream(client, model, written, usage);
  await checkAbandonedStream(client, model, written);
  await checkCompletions(client, model, written);
  await checkErrors(client, model, key);
  ok(`all of it, openai ${VERSION} for Node`);
}

try {
  await main();
} catch (error) {
  const known = error instanceof Broken || error instanceof APIError;
  console.error(`not ok - ${known ? error.message : error.stack}`);
  process.exit(1);
}
