"""The official OpenAI client for Python, unchanged, against `umbel serve assets/seedling --adapters tests/goldens/peft_adapters`.

Usage: openai_client.py BASE_URL API_KEY"""

import concurrent.futures
import sys

import openai

import goldens
from checks import expect, raises

MESSAGES = [{"role": "user", "content": "What is my balance?"}]


def greedy_ids(client, model, prompt_ids, count, stream):
    """Token ids of a greedy answer."""
    ask = {"model": model, "prompt": prompt_ids, "max_tokens": count, "temperature": 0, "extra_body": {"return_token_ids": True}}
    if not stream:
        return client.completions.create(**ask).choices[0].token_ids
    ids = []
    for chunk in client.completions.create(**ask, stream=True):
        ids += getattr(chunk.choices[0], "token_ids", None) or []
    return ids


def check_models(client):
    names = sorted(model.id for model in client.models.list())
    expect(names == goldens.models(), f"models: {names}")
    expect(client.models.retrieve(goldens.BASE).id == goldens.BASE, "one model by name")


def check_goldens(client):
    """Each model by itself says what Hugging Face says; then 16 streaming clients over all of them say the same."""
    rows = goldens.rows()
    for model, prompt_ids, ids in rows:
        got = greedy_ids(client, model, prompt_ids, len(ids), stream=False)
        expect(got == ids, f"{model}: {got}, not {ids}")
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        crowd = rows * 2
        answers = pool.map(lambda row: greedy_ids(client, row[0], row[1], len(row[2]), stream=True), crowd)
        for (model, _, ids), got in zip(crowd, answers):
            expect(got == ids, f"{model} in the crowd: {got}, not {ids}")
    return len(rows) * 3


def check_completions(client):
    prompt = "Customer: I lost my card\nIntent:"
    whole = client.completions.create(model="banking77-lora-r8", prompt=prompt, max_tokens=12, temperature=0, logprobs=3, echo=True)
    expect(whole.choices[0].text.startswith(prompt), "echo")
    logprobs = whole.choices[0].logprobs
    expect(len(logprobs.tokens) == len(logprobs.token_logprobs) == len(logprobs.text_offset) == whole.usage.total_tokens, "logprobs of prompt and answer")
    expect(logprobs.token_logprobs[0] is None and logprobs.token_logprobs[1] < 0, "the first token has no logprob")
    scored = client.completions.create(model="banking77-lora-r8", prompt=prompt, max_tokens=0, logprobs=1, echo=True)
    count = scored.usage.prompt_tokens
    expect(scored.usage.completion_tokens == 0 and scored.choices[0].logprobs.token_logprobs == logprobs.token_logprobs[:count], "max_tokens 0 scores the prompt alike")
    two = client.completions.create(model=goldens.BASE, prompt=["one", "two"], n=2, max_tokens=4, temperature=1, seed=5)
    again = client.completions.create(model=goldens.BASE, prompt=["one", "two"], n=2, max_tokens=4, temperature=1, seed=5)
    expect([c.index for c in two.choices] == [0, 1, 2, 3], "indices")
    expect([c.text for c in two.choices] == [c.text for c in again.choices], "a seed repeats its answers")
    text = client.completions.create(model=goldens.BASE, prompt=prompt, max_tokens=24, temperature=0).choices[0].text
    stop = text[len(text) // 2:][:3]
    cut = client.completions.create(model=goldens.BASE, prompt=prompt, max_tokens=24, temperature=0, stop=stop)
    expect(cut.choices[0].text == text[:text.index(stop)] and cut.choices[0].finish_reason == "stop", f"stop {stop!r}: {cut.choices[0].text!r} of {text!r}")
    pieces = [chunk.choices[0].text for chunk in client.completions.create(model=goldens.BASE, prompt=prompt, max_tokens=24, temperature=0, stop=stop, stream=True)]
    expect("".join(pieces) == cut.choices[0].text, "a stop string in a stream")


def check_chat(client):
    ask = {"model": "banking77-lora-r8", "messages": MESSAGES, "max_completion_tokens": 16, "temperature": 0}
    whole = client.chat.completions.create(**ask, logprobs=True, top_logprobs=2)
    choice = whole.choices[0]
    expect(choice.message.role == "assistant" and choice.finish_reason in ("stop", "length"), "a chat answer")
    expect(len(choice.logprobs.content) == whole.usage.completion_tokens, "logprobs of each token")
    expect(len(choice.logprobs.content[0].top_logprobs) == 2, "top_logprobs")
    pieces, usage = [], None
    for chunk in client.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}):
        usage = chunk.usage or usage
        pieces += [choice.delta.content or "" for choice in chunk.choices]
    expect("".join(pieces) == choice.message.content, "the stream says the same")
    expect(usage.completion_tokens == whole.usage.completion_tokens, "usage in the stream")
    with client.chat.completions.stream(**ask) as stream:
        final = stream.get_final_completion()
    expect(final.choices[0].message.content == choice.message.content, "the client's own stream helper")
    parts = [{"role": "user", "content": [{"type": "text", "text": MESSAGES[0]["content"]}]}]
    expect(client.chat.completions.create(**{**ask, "messages": parts}).choices[0].message.content == choice.message.content, "content as parts")


def check_errors(client, base_url):
    ask = {"model": goldens.BASE, "messages": MESSAGES}
    missing = raises(openai.NotFoundError, lambda: client.chat.completions.create(**{**ask, "model": "clinc150-ia2"}))
    expect(missing.code == "model_not_found" and "clinc150-ia3" in missing.message and "banking77" not in missing.message, "404 names the near miss only")
    bad = raises(openai.BadRequestError, lambda: client.chat.completions.create(**ask, temperature="hot"))
    expect(bad.param == "temperature", "400 names the field")
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    expect(raises(openai.BadRequestError, lambda: client.chat.completions.create(**ask, tools=tools)).param == "tools", "tools are refused by name")
    long = raises(openai.BadRequestError, lambda: client.completions.create(model=goldens.BASE, prompt=[40] * 5000))
    expect(long.code == "context_length_exceeded" and "5000" in long.message, "too long")
    stranger = openai.OpenAI(base_url=base_url, api_key="wrong", max_retries=0)
    raises(openai.AuthenticationError, stranger.models.list)


def main():
    base_url, key = sys.argv[1] + "/v1", sys.argv[2]
    client = openai.OpenAI(base_url=base_url, api_key=key, timeout=120, max_retries=0)
    check_models(client)
    compared = check_goldens(client)
    check_completions(client)
    check_chat(client)
    check_errors(client, base_url)
    print(f"openai {openai.__version__} (Python): all checks passed; {compared} answers equal to Hugging Face's")


main()
