#!/usr/bin/env python3
"""A long, mixed, hostile day in short: many clients ask the real program, adapters are replaced under it, clients leave in the
middle, attacks come between; every answer must have the bits of its first, and the process must not grow.

    tests/soak/soak.py build/release/umbel --minutes 30 --clients 32

Standard library only. Talks to a server of its own on loopback. Prints one JSON report; exit status 1 when something did not hold.
"""

import argparse
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ASSETS = os.path.join(HERE, "..", "..", "assets")
# What differs from one answer to the next by design: ids, clocks, timings.
MOVING = {"id", "created", "prompt_tokens_details", "total_time", "queue_time", "inference_time", "time_per_token", "validation_time", "system_fingerprint"}
SWAPPED = "swapped"  # the adapter that is replaced again and again: an answer may be of either version


def settled(value):
    if isinstance(value, dict):
        return {key: settled(item) for key, item in value.items() if key not in MOVING}
    return [settled(item) for item in value] if isinstance(value, list) else value


class Server:
    def __init__(self, program, adapters, extra):
        self.log = open(os.path.join(adapters, "..", "server.log"), "wb")
        self.process = subprocess.Popen([program, "serve", "seedling", "--adapters", adapters, "--port", "0", "--kv-bytes", "64MB",
                                         "--log-level", "warn", *extra], stdout=subprocess.PIPE, stderr=self.log)
        greeting = self.process.stdout.readline().decode()
        self.port = int(greeting.split("http://", 1)[1].split()[0].rsplit(":", 1)[1])

    def folder(self, name):
        return f"/proc/{self.process.pid}/{name}"

    def rss_kb(self):
        with open(self.folder("status"), encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

    def sample(self):
        return {"rss_mb": round(self.rss_kb() / 1024, 1), "fds": len(os.listdir(self.folder("fd"))), "threads": len(os.listdir(self.folder("task")))}

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def ask(port, path, body, timeout=120):
    """(status, what came) of a whole or streamed answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
    finally:
        connection.close()
    if "event-stream" not in (answer.getheader("content-type") or ""):
        return answer.status, settled(json.loads(text)) if text.strip() else None
    # How many tokens share an event is a matter of timing; what they say together is not.
    events = [json.loads(line[5:]) for line in text.splitlines() if line.startswith("data:") and line[5:].strip() != "[DONE]"]
    return answer.status, "".join(words_of(event) for event in events)


def words_of(event):
    if "choices" in event:
        return "".join(choice.get("text") or choice.get("delta", {}).get("content") or "" for choice in event["choices"])
    if "error" in event:
        return json.dumps(event)
    return event.get("token", {}).get("text", "") if "token" in event else ""


def questions(names):
    """[(name, path, body)]: every adapter by every route, greedy and seeded, whole and streamed."""
    asked = []
    for name in names:
        for prompt in ("Customer: I lost my card, what now?\nIntent:", "Once upon a time there was a"):
            complete = {"model": name, "prompt": prompt, "max_tokens": 12}
            asked.append((name, "/v1/completions", complete | {"temperature": 0, "logprobs": 3}))
            asked.append((name, "/v1/completions", complete | {"temperature": 0.9, "seed": 7, "n": 2}))
            asked.append((name, "/v1/completions", complete | {"temperature": 0, "stream": True}))
            lorax = {"max_new_tokens": 12, "details": True} | ({} if name == "seedling" else {"adapter_id": name})
            asked.append((name, "/generate", {"inputs": prompt, "parameters": lorax}))
            asked.append((name, "/generate_stream", {"inputs": prompt, "parameters": lorax | {"do_sample": True, "seed": 3}}))
        chat = {"model": name, "max_tokens": 10, "messages": [{"role": "user", "content": "Tell me of the sea."}]}
        asked.append((name, "/v1/chat/completions", chat | {"temperature": 0}))
        asked.append((name, "/v1/chat/completions", chat | {"seed": 5, "stream": True}))
        asked.append((name, "/v1/completions", {"model": name, "prompt": "The sea was " * 40, "max_tokens": 0, "echo": True, "logprobs": 1}))
    return asked


def raw(port, pieces, patience=5.0):
    """Sends what no client would; what comes back does not matter."""
    with socket.create_connection(("127.0.0.1", port), patience) as connection:
        connection.settimeout(patience)
        try:
            for piece in pieces:
                connection.sendall(piece)
            while connection.recv(65536):
                pass
        except OSError:
            pass


def post_bytes(path, body):
    return f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def attacks(port, dice):
    complete = '{"model":"seedling","max_tokens":1,"prompt":"a",'
    head = b"POST /v1/completions HTTP/1.1\r\nhost: 127.0.0.1\r\n"
    return dice.choice([
        lambda: raw(port, [head + b"transfer-encoding: chunked\r\n\r\n", b"1;" + b"x" * 500000 + b"\r\n"]),
        lambda: raw(port, [head + b"transfer-encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n" * 50000]),
        lambda: raw(port, [head, b"a: b\r\n" * 50000]),
        lambda: raw(port, [head + b"transfer-encoding: xchunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n"]),
        lambda: raw(port, [head + b"content-length: 100\r\n\r\n{"], 0.3),
        lambda: raw(port, [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20]),
        lambda: raw(port, [post_bytes("/v1/chat/completions", (complete + ",".join(f'"k{i}":{i}' for i in range(30000)) + "}").encode())]),
        lambda: raw(port, [post_bytes("/tokenize", json.dumps({"inputs": "\U0001F600" * 40000}, ensure_ascii=False).encode())]),
        lambda: raw(port, [post_bytes("/v1/completions", (complete + '"stop":[' + ",".join(f'"s{i}"' for i in range(60000)) + "]}").encode())]),
        lambda: raw(port, [post_bytes("/v1/completions", b'{"a":' * 100000)]),
        lambda: raw(port, [post_bytes("/v1/completions", b"\xff\xfe" * 1000)]),
        lambda: raw(port, [post_bytes("/v1/completions", b'{"model":"no-such-\\u001b[31m","prompt":"a"}')]),
        lambda: raw(port, [b"OPTIONS * HTTP/1.1\r\nhost: evil.example\r\norigin: http://evil.example\r\nconnection: close\r\n\r\n"]),
    ])


class Soak:
    def __init__(self, options, server, adapters):
        self.options, self.server, self.adapters = options, server, adapters
        self.end = time.monotonic() + 60 * options.minutes
        self.lock = threading.Lock()
        self.first, self.counts, self.faults, self.samples = {}, {"answers": 0, "busy": 0, "left": 0, "attacks": 0, "replaced": 0}, [], []

    def count(self, name):
        with self.lock:
            self.counts[name] += 1

    def fault(self, text):
        with self.lock:
            if len(self.faults) < 20:
                self.faults.append(text[:400])

    def hold_to_first(self, question, came):
        """True when this answer is one that the question may have."""
        key = json.dumps(question)
        with self.lock:
            known = self.first.setdefault(key, [])
            if came in known:
                return True
            if len(known) < (2 if question[0] == SWAPPED else 1):
                known.append(came)
                return True
            return False

    def client(self, number):
        dice = random.Random(number)
        asked = questions(self.options.names)
        while time.monotonic() < self.end:
            if dice.random() < 0.05:
                self.leave(dice.choice(asked))
                continue
            question = dice.choice(asked)
            try:
                status, came = ask(self.server.port, question[1], question[2])
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.fault(f"{question}: {type(error).__name__} {error}")
                continue
            if status in (429, 503):
                self.count("busy")
                time.sleep(0.1)
            elif status != 200:
                self.fault(f"{question}: {status} {came}")
            else:
                self.count("answers")
                if not self.hold_to_first(question, came):
                    self.fault(f"{question}: {came} is not its first answer")

    def leave(self, question):
        body = json.dumps(question[2] | ({"max_tokens": 200} if "max_tokens" in question[2] else {})).encode()
        try:
            with socket.create_connection(("127.0.0.1", self.server.port), 10) as connection:
                connection.sendall(post_bytes(question[1], body))
                connection.settimeout(0.2)
                connection.recv(64)
        except OSError:
            pass
        self.count("left")

    def attacker(self):
        dice = random.Random(99)
        while time.monotonic() < self.end:
            attacks(self.server.port, dice)()
            self.count("attacks")
            time.sleep(0.5)

    def replacer(self, versions):
        turn = 0
        while time.monotonic() < self.end:
            time.sleep(5)
            turn = 1 - turn
            place(versions[turn], self.adapters)
            self.count("replaced")

    def watch(self):
        begun = time.monotonic()
        while time.monotonic() < self.end:
            self.samples.append({"minute": round((time.monotonic() - begun) / 60, 2), **self.server.sample()})
            time.sleep(min(15, max(0.5, 60 * self.options.minutes / 40)))

    def run(self, versions):
        jobs = [threading.Thread(target=self.client, args=(number,)) for number in range(self.options.clients)]
        jobs += [threading.Thread(target=self.attacker), threading.Thread(target=self.replacer, args=(versions,)), threading.Thread(target=self.watch)]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join()
        time.sleep(3)  # the last connections close


def place(source, adapters):
    """As `cp -r` beside and a rename would do it: the folder is never half there for long."""
    beside = tempfile.mkdtemp(dir=os.path.dirname(adapters))
    fresh = os.path.join(beside, SWAPPED)
    shutil.copytree(source, fresh)
    there = os.path.join(adapters, SWAPPED)
    if os.path.exists(there):
        os.rename(there, os.path.join(beside, "old"))
    os.rename(fresh, there)
    shutil.rmtree(beside)


def judge(soak, last):
    """What did not hold, in words."""
    wrong = list(soak.faults)
    warm = [sample for sample in soak.samples if sample["minute"] >= min(5, soak.options.minutes / 2)]
    base = warm[0] if warm else last
    growth = last["rss_mb"] / base["rss_mb"] - 1
    if soak.options.minutes >= 10 and growth > 0.05:
        wrong.append(f"memory grew by {100 * growth:.1f} % after minute 5: {base['rss_mb']} -> {last['rss_mb']} MB")
    if last["fds"] > base["fds"]:
        wrong.append(f"open files: {base['fds']} at minute 5, {last['fds']} when all clients had left")
    if last["threads"] > base["threads"]:
        wrong.append(f"threads: {base['threads']} -> {last['threads']}")
    if soak.counts["answers"] == 0:
        wrong.append("no question was answered")
    return wrong, {"minute_5": base, "end": last, "growth_percent": round(100 * growth, 2)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("program")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--serve", default="", help="more flags for the server, in one word list")
    options = parser.parse_args()
    work = tempfile.mkdtemp(prefix="umbel-soak-")
    adapters = os.path.join(work, "adapters")
    shutil.copytree(os.path.join(ASSETS, "adapters"), adapters)
    names = sorted(name for name in os.listdir(adapters) if os.path.exists(os.path.join(adapters, name, "adapter_config.json")))
    versions = [os.path.join(ASSETS, "adapters", names[0]), os.path.join(ASSETS, "adapters", names[-1])]
    place(versions[0], adapters)
    options.names = ["seedling", *names, SWAPPED]
    server = Server(os.path.abspath(options.program), adapters, options.serve.split())
    soak = Soak(options, server, adapters)
    try:
        soak.run(versions)
        wrong, memory = judge(soak, server.sample())
        status = server.stop()
        if status != 0:
            wrong.append(f"the server ended with status {status}")
    finally:
        if server.process.poll() is None:
            server.process.kill()
    print(json.dumps({"minutes": options.minutes, "clients": options.clients, "questions": len(soak.first), **soak.counts,
                      **memory, "wrong": wrong}, indent=1))
    shutil.rmtree(work, ignore_errors=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
