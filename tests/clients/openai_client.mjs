// The official OpenAI client for Node, unchanged, against `umbel serve assets/seedling --adapters tests/goldens/peft_adapters`.
// Usage: node openai_client.mjs BASE_URL API_KEY ROWS.json   (rows: [[model, prompt_ids, greedy_ids], ...] as goldens.py has them)
import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';
import {createRequire} from 'node:module';
import {pathToFileURL} from 'node:url';

// The package lies where run.sh installed it, not beside this file.
const require = createRequire(pathToFileURL(process.cwd() + '/'));
const {default: OpenAI} = await import(pathToFileURL(require.resolve('openai')));

const [url, apiKey, rowsFile] = process.argv.slice(2);
const client = new OpenAI({baseURL: url + '/v1', apiKey, maxRetries: 0, timeout: 120_000});
const rows = JSON.parse(readFileSync(rowsFile, 'utf8'));
const messages = [{role: 'user', content: 'What is my balance?'}];

async function greedyIds([model, prompt, ids], stream) {
  const ask = {model, prompt, max_tokens: ids.length, temperature: 0, return_token_ids: true, stream};
  const answer = await client.completions.create(ask);
  if (!stream) return answer.choices[0].token_ids;
  const got = [];
  for await (const chunk of answer) got.push(...(chunk.choices[0].token_ids ?? []));
  return got;
}

async function rejects(kind, call) {
  let caught = null;
  await assert.rejects(call, (error) => (caught = error) instanceof kind);
  return caught;
}

const names = [];
for await (const model of client.models.list()) names.push(model.id);
assert.deepEqual(names.sort(), [...new Set(rows.map((row) => row[0]))].sort());

for (const row of rows) assert.deepEqual(await greedyIds(row, false), row[2], row[0]);
const together = await Promise.all(rows.map((row) => greedyIds(row, true)));
rows.forEach((row, i) => assert.deepEqual(together[i], row[2], row[0] + ' in the crowd'));

const ask = {model: 'banking77-lora-r8', messages, max_completion_tokens: 16, temperature: 0};
const whole = await client.chat.completions.create(ask);
let text = '', usage = null;
for await (const chunk of await client.chat.completions.create({...ask, stream: true, stream_options: {include_usage: true}})) {
  text += chunk.choices[0]?.delta?.content ?? '';
  usage = chunk.usage ?? usage;
}
assert.equal(text, whole.choices[0].message.content);
assert.equal(usage.completion_tokens, whole.usage.completion_tokens);
const helped = await client.chat.completions.stream(ask).finalChatCompletion();
assert.equal(helped.choices[0].message.content, text);

const several = await client.completions.create({model: 'seedling', prompt: ['one', 'two'], n: 2, max_tokens: 3, seed: 5, logprobs: 2});
assert.deepEqual(several.choices.map((choice) => choice.index), [0, 1, 2, 3]);
assert.equal(several.choices[0].logprobs.token_logprobs.length, 3);

const missing = await rejects(OpenAI.NotFoundError, () => client.chat.completions.create({...ask, model: 'clinc150-ia2'}));
assert.match(missing.message, /clinc150-ia3/);
const bad = await rejects(OpenAI.BadRequestError, () => client.chat.completions.create({...ask, top_p: 7}));
assert.equal(bad.param, 'top_p');
const stranger = new OpenAI({baseURL: url + '/v1', apiKey: 'wrong', maxRetries: 0});
await rejects(OpenAI.AuthenticationError, () => stranger.models.list());

// A client that hangs up in the middle of a stream does no harm.
const hanging = await client.completions.create({model: 'seedling', prompt: 'x', max_tokens: 400, ignore_eos: true, stream: true});
for await (const chunk of hanging) {
  if (chunk) break;
}
assert.equal((await client.chat.completions.create(ask)).choices[0].message.content, text);
const {version} = JSON.parse(readFileSync('node_modules/openai/package.json', 'utf8'));
console.log(`openai ${version} (Node): all checks passed; ${rows.length * 2} answers equal to Hugging Face's`);
