"""LoRAX's own Python client, unchanged, against `umbel serve assets/seedling --adapters tests/goldens/peft_adapters`.

Usage: lorax_client.py BASE_URL API_KEY"""

import asyncio
import importlib.metadata
import sys

import lorax
from lorax.errors import NotFoundError, ValidationError

import goldens
from checks import expect, raises

PROMPT = "Customer: I lost my card\nIntent:"


def check_generate(client):
    whole = client.generate(PROMPT, adapter_id="banking77-lora-r8", max_new_tokens=12, details=True, decoder_input_details=True)
    details = whole.details
    expect(details.finish_reason in ("eos_token", "length"), "a finish reason")
    expect(details.generated_tokens == len(details.tokens), "one entry a token")
    expect(len(details.prefill) == details.prompt_tokens and details.prefill[0].logprob is None, "prefill")
    expect("".join(token.text for token in details.tokens if not token.special) == whole.generated_text, "tokens join to the text")
    text, last = "", None
    for event in client.generate_stream(PROMPT, adapter_id="banking77-lora-r8", max_new_tokens=12):
        if not event.token.special:
            text += event.token.text
        last = event
    expect(text == whole.generated_text == last.generated_text, "the stream says the same")
    expect(client.generate(PROMPT, max_new_tokens=12).generated_text != whole.generated_text, "the base says something else")
    sampled = {"do_sample": True, "temperature": 0.8, "max_new_tokens": 8, "seed": 11}
    expect(client.generate(PROMPT, **sampled).generated_text == client.generate(PROMPT, **sampled).generated_text, "a seed repeats its answer")
    best = client.generate(PROMPT, do_sample=True, best_of=2, max_new_tokens=6)
    expect(len(best.details.best_of_sequences) == 1, "best_of shows the other")
    base = client.generate(PROMPT, max_new_tokens=24).generated_text
    stop = base[len(base) // 2:][:3]
    cut = client.generate(PROMPT, max_new_tokens=24, stop_sequences=[stop])
    expect(cut.generated_text == base[:base.index(stop) + len(stop)] and cut.details.finish_reason == "stop_sequence", "the stop string stays")
    alternatives = client.generate(PROMPT, max_new_tokens=2, return_k_alternatives=3).details.tokens[0].alternative_tokens
    expect(len(alternatives) == 3, "alternatives")


def check_errors(client):
    missing = raises(NotFoundError, lambda: client.generate(PROMPT, adapter_id="clinc150-ia2"))
    expect("clinc150-ia3" in str(missing) and "banking77" not in str(missing), "404 names the near miss only")
    raises(ValidationError, lambda: client.generate(PROMPT, max_new_tokens=100000))
    raises(ValidationError, lambda: client.generate(PROMPT, adapter_id="some/repo", adapter_source="hub"))
    raises(NotFoundError, lambda: list(client.generate_stream(PROMPT, adapter_id="nobody")))


async def check_crowd(client, expected):
    """All models at once, streamed by the asynchronous client: the same texts as one by one."""
    async def answer(model):
        text = ""
        adapter = None if model == goldens.BASE else model
        async for event in client.generate_stream(PROMPT, adapter_id=adapter, max_new_tokens=16):
            if not event.token.special:
                text += event.token.text
        return text

    texts = await asyncio.gather(*(answer(model) for model in expected for _ in range(2)))
    for model, pair in zip(expected, zip(texts[::2], texts[1::2])):
        expect(pair == (expected[model], expected[model]), f"{model} in the crowd: {pair}, not {expected[model]!r}")


def main():
    url, headers = sys.argv[1], {"Authorization": f"Bearer {sys.argv[2]}"}
    client = lorax.Client(url, headers=headers, timeout=120)
    check_generate(client)
    check_errors(client)
    alone = {model: client.generate(PROMPT, adapter_id=None if model == goldens.BASE else model, max_new_tokens=16).generated_text for model in goldens.models()}
    asyncio.run(check_crowd(lorax.AsyncClient(url, headers=headers, timeout=120), alone))
    print(f"lorax-client {importlib.metadata.version('lorax-client')} (Python): all checks passed, {len(alone)} models alone and together")


main()
