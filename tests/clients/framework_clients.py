"""LangChain, LiteLLM, LlamaIndex and lm-evaluation-harness, as published, against `umbel serve assets/seedling --adapters tests/goldens/peft_adapters`: each of
them says what the OpenAI client says. docs/clients.md shows the same lines. A package that is not installed is skipped.

Usage: framework_clients.py BASE_URL API_KEY"""

import importlib.util
import os
import sys
import tempfile

from checks import expect, raises

ADAPTER = "banking77-lora-r8"
PROMPT = "Customer: I lost my card\nIntent:"
CHAT = "What is my balance?"


def answers(client):
    """What the server says, by the plainest client: (completion, chat)."""
    text = client.completions.create(model=ADAPTER, prompt=PROMPT, max_tokens=12, temperature=0).choices[0].text
    messages = [{"role": "user", "content": CHAT}]
    chat = client.chat.completions.create(model=ADAPTER, messages=messages, max_tokens=12, temperature=0).choices[0].message.content
    return text, chat


def check_langchain(url, key, text, chat):
    import openai
    from langchain_openai import ChatOpenAI, OpenAI
    ask = {"base_url": url, "api_key": key, "model": ADAPTER, "temperature": 0, "max_tokens": 12, "max_retries": 0}
    model = OpenAI(**ask)
    expect(model.invoke(PROMPT) == text, "LangChain: a completion")
    expect("".join(model.stream(PROMPT)) == text, "LangChain: a streamed completion")
    expect(model.batch([PROMPT, PROMPT]) == [text, text], "LangChain: a batch")
    talk = ChatOpenAI(**ask)
    answer = talk.invoke(CHAT)
    expect(answer.content == chat and answer.usage_metadata["output_tokens"] > 0, "LangChain: a chat, with its usage")
    expect("".join(str(piece.content) for piece in talk.stream(CHAT)) == chat, "LangChain: a streamed chat")
    expect(talk.invoke([("developer", "Be brief."), ("human", CHAT)]).content is not None, "LangChain: a developer's message")
    error = raises(openai.NotFoundError, lambda: ChatOpenAI(**{**ask, "model": "nobody"}).invoke(CHAT))
    expect(error.code == "model_not_found", "LangChain: an unknown adapter")


def check_litellm(url, key, text, chat):
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks the network at import
    import litellm
    litellm.suppress_debug_info = True
    ask = {"api_base": url, "api_key": key, "temperature": 0, "max_tokens": 12, "num_retries": 0}
    whole = litellm.text_completion(model=f"text-completion-openai/{ADAPTER}", prompt=PROMPT, **ask)
    expect(whole.choices[0].text == text, "LiteLLM: a completion")
    for provider in ("openai", "hosted_vllm"):
        asked = {"model": f"{provider}/{ADAPTER}", "messages": [{"role": "user", "content": CHAT}], **ask}
        expect(litellm.completion(**asked).choices[0].message.content == chat, f"LiteLLM: a chat as {provider}")
        pieces = [chunk.choices[0].delta.content or "" for chunk in litellm.completion(**asked, stream=True)]
        expect("".join(pieces) == chat, f"LiteLLM: a streamed chat as {provider}")
    asked = {"model": f"openai/{ADAPTER}", "messages": [{"role": "user", "content": "word " * 5000}], **ask}
    raises(litellm.ContextWindowExceededError, lambda: litellm.completion(**asked))  # by "maximum context length" in the message


def check_llamaindex(url, key, text, chat):
    from llama_index.core.llms import ChatMessage
    from llama_index.llms.openai_like import OpenAILike
    ask = {"api_base": url, "api_key": key, "model": ADAPTER, "temperature": 0, "max_tokens": 12, "max_retries": 0, "context_window": 1024}
    model = OpenAILike(**ask, is_chat_model=False)
    expect(model.complete(PROMPT).text == text, "LlamaIndex: a completion")
    expect("".join(piece.delta or "" for piece in model.stream_complete(PROMPT)) == text, "LlamaIndex: a streamed completion")
    talk = OpenAILike(**ask, is_chat_model=True)
    message = ChatMessage(role="user", content=CHAT)
    expect(talk.chat([message]).message.content == chat, "LlamaIndex: a chat")
    expect("".join(piece.delta or "" for piece in talk.stream_chat([message])) == chat, "LlamaIndex: a streamed chat")


def check_lm_eval(url, key, text, chat):
    """The harness tokenizes by the server's own routes; its two choices are right, as they are by the server's log-probabilities."""
    os.environ.update(OPENAI_API_KEY=key, HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")
    import lm_eval
    from lm_eval.tasks import TaskManager
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lm_eval_task")
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(here, "intent.yaml"), encoding="utf-8") as file:
            task = file.read().replace("rows.jsonl", os.path.join(here, "rows.jsonl"))
        with open(os.path.join(folder, "intent.yaml"), "w", encoding="utf-8") as file:
            file.write(task)
        model = {"model": ADAPTER, "base_url": url + "/completions", "tokenizer_backend": "remote", "auth_token": key, "add_bos_token": True,
                 "num_concurrent": 2}
        results = lm_eval.simple_evaluate(model="local-completions", model_args=model, tasks=["umbel_intent"],
                                          task_manager=TaskManager(include_path=folder, include_defaults=False))
    expect(results["results"]["umbel_intent"]["acc,none"] == 1, "lm-evaluation-harness: both rows right")


CHECKS = {"langchain_openai": check_langchain, "litellm": check_litellm, "llama_index.llms.openai_like": check_llamaindex,
          "lm_eval": check_lm_eval}


def is_there(module):
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of a package above it
        return False


def main():
    import openai
    url, key = sys.argv[1] + "/v1", sys.argv[2]
    text, chat = answers(openai.OpenAI(base_url=url, api_key=key, timeout=120, max_retries=0))
    for module, check in CHECKS.items():
        if not is_there(module):
            print(f"SKIP {module}: not installed")
            continue
        check(url, key, text, chat)
        print(f"{module}: all checks passed")


main()
