#!/usr/bin/env python3
"""Records what transformers' apply_chat_template makes of chat templates, for src/text/chat_template_test.cc.

usage: tools/record_template_goldens.py TEMPLATE_DIR OUT_DIR

TEMPLATE_DIR holds *.jinja of many model families. Those texts are not ours, so of each output only its length, a 64-bit
FNV-1a hash and its first bytes are kept (OUT_DIR/chat_families.json). The templates in OUT_DIR/templates are ours;
their outputs are kept whole, with the spans of {% generation %} blocks (OUT_DIR/chat_own.json).
The conversations are written to OUT_DIR/chat_cases.json.

Needs: transformers, tokenizers. The clock that templates see is fixed to NOW, in UTC.
"""
import datetime
import json
import os
import pathlib
import sys
import time

os.environ["TZ"] = "UTC"
time.tzset()

import jinja2
import tokenizers
import transformers
from transformers.utils import chat_template_utils

NOW = 1721995200  # 2024-07-26 12:00:00 UTC, a Friday
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
HEAD_BYTES = 64

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather in a city: \"now\" & <here>, even in Zürich.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "The city's name"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
                "days": {"type": "integer", "minimum": 1, "maximum": 1.5e16},
            },
            "required": ["city"],
        },
    },
}
NOTHING = {
    "type": "function",
    "function": {"name": "nothing", "description": "", "parameters": {"type": "object", "properties": {}}},
}
NESTED = {
    "type": "function",
    "function": {
        "name": "book",
        "description": "Books a table.\nTwo lines.",
        "parameters": {
            "type": "object",
            "properties": {
                "guests": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
                "when": {"type": ["string", "null"], "nullable": True},
                "ratio": {"type": "number", "default": 0.5},
                "either": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
            },
            "required": ["guests", "when"],
            "additionalProperties": False,
        },
    },
}


def turn(role, content, **more):
    return {"role": role, "content": content, **more}


def call(name, arguments, call_id="call00001"):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def cases():
    system = turn("system", "You are terse. Don't use <b> or & \"quotes\".")
    user = turn("user", "Hello, what's 2 + 2?")
    user2 = turn("user", "  And in Zürich, 東京 🌍?\n")
    answer = turn("assistant", "It is 4.\n\nReally.")
    thought = turn("assistant", "The answer is 4.", reasoning_content="Two and two\nmake four.")
    inline_thought = turn("assistant", "<think>\nTwo and two.\n</think>\n\nIt is 4.")
    parts = turn("user", [{"type": "text", "text": "First part."}, {"type": "text", "text": "Second part."}])
    asked = turn("assistant", "", tool_calls=[call("get_weather", {"city": "Zürich", "days": 2, "deep": {"a": [1, 2.0, True, None]}})])
    asked_null = turn("assistant", None, tool_calls=[call("get_weather", {"city": "Bern"})])
    asked_text = turn("assistant", "Let me see.", tool_calls=[call("get_weather", "{\"city\": \"Bern\"}")])
    asked_two = turn("assistant", "", tool_calls=[call("get_weather", {"city": "Bern"}, "aaaaaaaaa"),
                                                  call("nothing", {}, "bbbbbbbbb")])
    told = turn("tool", "{\"temp\": 21.5, \"sky\": \"clear\"}", tool_call_id="call00001", name="get_weather")
    told_a = turn("tool", "warm", tool_call_id="aaaaaaaaa", name="get_weather")
    told_b = turn("tool", "done", tool_call_id="bbbbbbbbb", name="nothing")
    tools = [WEATHER, NOTHING, NESTED]
    documents = [{"title": "Rivers", "text": "The Rhine is long."}, {"title": "Hills", "text": "The Eiger is high."}]
    rows = []

    def add(name, messages, tools=None, documents=None, gen=True, **extra):
        rows.append({"name": name, "messages": messages, "tools": tools, "documents": documents,
                     "add_generation_prompt": gen, "extra": extra})

    add("user", [user])
    add("user_no_prompt", [user], gen=False)
    add("system_user", [system, user])
    add("system_user_no_prompt", [system, user], gen=False)
    add("three_turns", [user, answer, user2])
    add("system_three_turns", [system, user, answer, user2])
    add("ends_in_assistant", [system, user, answer], gen=False)
    add("ends_in_assistant_prompt", [user, answer], gen=True)
    add("two_users", [user, user2])
    add("assistant_first", [answer, user])
    add("system_only", [system])
    add("system_late", [user, answer, system, user2])
    add("strange_role", [turn("narrator", "Once upon a time."), user])
    add("developer", [turn("developer", "Be kind."), user])
    add("empty_content", [user, turn("assistant", ""), turn("user", "")])
    add("parts", [system, parts])
    add("reasoning", [user, thought, user2])
    add("reasoning_last", [user, thought], gen=False)
    add("inline_thought", [user, inline_thought, user2])
    add("thinking_off", [system, user], enable_thinking=False)
    add("thinking_on", [system, user, thought, user2], enable_thinking=True, thinking=True)
    add("effort", [user], reasoning_effort="high", model_identity="You are Umbel.")
    add("tools", [user], tools=tools)
    add("tools_no_prompt", [user], tools=tools, gen=False)
    add("system_tools", [system, user], tools=tools)
    add("tools_empty", [system, user], tools=[])
    add("tool_round", [system, user, asked, told], tools=tools)
    add("tool_round_answered", [user, asked, told, answer, user2], tools=tools)
    add("tool_round_no_tools", [user, asked, told])
    add("tool_null_content", [user, asked_null, told], tools=tools)
    add("tool_string_arguments", [user, asked_text, told], tools=tools)
    add("tool_two_calls", [system, user, asked_two, told_a, told_b], tools=tools)
    add("tool_two_rounds", [user, asked, told, asked_null, told, answer, user], tools=tools, gen=False)
    add("tool_call_last", [user, asked], tools=tools, gen=False)
    add("tool_thought", [user, {**asked, "reasoning_content": "I need the weather."}, told], tools=tools)
    add("documents", [system, user], documents=documents)
    return rows


class FixedClock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.fromtimestamp(NOW, tz)


def fnv1a(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def make_tokenizer():
    model = tokenizers.models.WordLevel({"<unk>": 0, "<s>": 1, "</s>": 2, "<pad>": 3}, unk_token="<unk>")
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizers.Tokenizer(model), **SPECIAL)


def render(tokenizer, source, row):
    """{'text': ...} or {'error': ...}; the words of an error only where the template chose them."""
    row = json.loads(json.dumps(row))
    try:
        text = tokenizer.apply_chat_template(
            row["messages"], tools=row["tools"], documents=row["documents"], chat_template=source,
            add_generation_prompt=row["add_generation_prompt"], tokenize=False, **row["extra"])
        return {"text": text}
    except jinja2.exceptions.TemplateError as error:
        own = type(error) is jinja2.exceptions.TemplateError
        return {"error": str(error) if own else "", "kind": type(error).__name__}
    except Exception as error:  # whatever Python raised inside the template
        return {"error": "", "kind": type(error).__name__}


def generation_spans(source, row):
    """Byte ranges in the rendered text, from transformers' own tracker (which counts characters)."""
    compiled = chat_template_utils._compile_jinja_template(source)
    text, spans = chat_template_utils._render_with_assistant_indices(
        compiled, row["messages"], row["tools"], row["documents"], row["add_generation_prompt"], **SPECIAL,
        **row["extra"])
    return [[len(text[:begin].encode()), len(text[:end].encode())] for begin, end in spans]


def record_own(tokenizer, rows, out):
    own = {}
    for path in sorted((out / "templates").glob("*.jinja")):
        source = path.read_text(encoding="utf-8", newline="") if sys.version_info >= (3, 13) else path.read_bytes().decode()
        own[path.name] = {}
        for row in rows:
            result = render(tokenizer, source, row)
            if "text" in result and "endgeneration" in source:
                result["generation"] = generation_spans(source, row)
            own[path.name][row["name"]] = result
    return own


def record_families(tokenizer, rows, directory):
    families = {}
    for path in sorted(pathlib.Path(directory).glob("*.jinja")):
        source = path.read_bytes().decode()
        results = {}
        for row in rows:
            result = render(tokenizer, source, row)
            if "text" in result:
                data = result["text"].encode()
                head = data[:HEAD_BYTES].decode(errors="ignore")
                results[row["name"]] = [len(data), fnv1a(data), head]
            else:
                results[row["name"]] = result["error"] or result["kind"]
        families[path.name] = {"source_fnv1a": fnv1a(path.read_bytes()), "results": results}
    return families


def dump(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")


def main():
    directory, out = sys.argv[1], pathlib.Path(sys.argv[2])
    chat_template_utils.datetime = FixedClock
    tokenizer = make_tokenizer()
    rows = cases()
    head = {"now": NOW, "special_tokens": SPECIAL, "transformers": transformers.__version__,
            "jinja2": jinja2.__version__}
    dump(out / "chat_cases.json", {**head, "cases": rows})
    dump(out / "chat_own.json", {**head, "templates": record_own(tokenizer, rows, out)})
    dump(out / "chat_families.json", {**head, "templates": record_families(tokenizer, rows, directory)})


if __name__ == "__main__":
    main()
