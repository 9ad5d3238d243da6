#!/usr/bin/env python3
"""What a hostile client, neighbour or adapter folder must not do to the program itself: one test a kind.

    tests/hostile/hostile.py build/release/umbel [CASE...]

Standard library only. Servers of its own on loopback ports that the system gives; everything it starts ends with it.
"""

import http.client
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ASSETS = os.path.join(HERE, "..", "..", "assets")
PROGRAM = ""
MIB = 1 << 20


class Server:
    def __init__(self, adapters, extra=(), log=subprocess.DEVNULL):
        self.process = subprocess.Popen([PROGRAM, "serve", "seedling", "--adapters", adapters, "--port", "0", "--kv-bytes", "64MB",
                                         *(() if "--log-level" in extra else ("--log-level", "warn")), *extra], stdout=subprocess.PIPE, stderr=log)
        greeting = self.process.stdout.readline().decode()
        self.port = int(greeting.split("http://")[1].split()[0].rsplit(":", 1)[1])

    def ask(self, method, path, body=None, headers=None, timeout=60):
        """(status, JSON or text); 0 where the connection was closed without an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            text = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, path, text, {"content-type": "application/json", **(headers or {})})
            answer = connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, TimeoutError):
                raise
            return 0, ""
        finally:
            connection.close()
        try:
            return answer.status, json.loads(data)
        except ValueError:
            return answer.status, data.decode("utf-8", "replace")

    def complete(self, model="seedling", **more):
        return self.ask("POST", "/v1/completions", {"model": model, **{"prompt": "Once", "max_tokens": 4, "temperature": 0, **more}})

    def mapped_bytes(self):
        with open(f"/proc/{self.process.pid}/statm") as file:
            return int(file.read().split()[0]) * resource.getpagesize()

    def limit_addresses(self, more_bytes):
        limit = self.mapped_bytes() + more_bytes if more_bytes is not None else resource.RLIM_INFINITY
        resource.prlimit(self.process.pid, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def alive(self):
        return self.process.poll() is None

    def stop(self):
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        finally:
            self.process.kill()
            self.process.stdout.close()


class Hostile(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="umbel-hostile-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def add_adapter(self, name, source="clinc150-ia3"):
        target = os.path.join(self.folder, name)
        shutil.copytree(os.path.join(ASSETS, "adapters", source), target, copy_function=shutil.copyfile)
        return target

    def serve(self, *extra):
        server = Server(self.folder, extra)
        self.addCleanup(server.stop)
        return server

    def eventually(self, holds, seconds=20):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if holds():
                return True
            time.sleep(0.05)
        return False


def together(jobs):
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class OutOfMemory(Hostile):
    """Being out of memory ends a request, not the process (R16)."""

    def bodies(self):
        values = b'{"prompt":[' + b"{}," * 300_000 + b"{}]}"
        deep = b'{"model":"seedling","messages":[' + b'{"role":"user","content":[{"type":"text","text":"x"}]},' * 30_000 + b'{}]}'
        text = json.dumps({"model": "one", "prompt": "\U0001f600\u00e9 " * 60_000}).encode()
        return [("/v1/completions", values), ("/generate", values), ("/v1/chat/completions", deep), ("/tokenize", text),
                ("/tokenize", deep), ("/v1/load_lora_adapter", values), ("/v1/completions", text),
                ("/v1/completions", b'{"prompt":"' + b"x" * (12 * MIB) + b'"}')]

    def test_big_bodies_with_little_memory(self):
        self.add_adapter("one")
        server = self.serve("--adapter-bytes", "64MB")
        right = server.complete()[1]["choices"][0]["text"]
        self.assertEqual(server.complete("one")[0], 200)
        for more in (8 * MIB, 32 * MIB, 96 * MIB):
            server.limit_addresses(more)
            seen = []
            for _ in range(2):
                together([lambda path=path, body=body: seen.append(server.ask("POST", path, body)) for path, body in self.bodies()])
                self.assertTrue(server.alive(), f"{more >> 20} MiB: the process ended with {server.process.poll()}: {seen}")
            for status, answer in seen:
                self.assertIn(status, (0, 400, 413, 422, 503), answer)
            self.assertTrue(self.eventually(lambda: server.ask("GET", "/health")[0] == 200))
            server.limit_addresses(None)
            self.assertTrue(self.eventually(lambda: server.complete()[0] == 200))
            self.assertEqual(server.complete()[1]["choices"][0]["text"], right)
        self.assertEqual(server.stop(), 0)

    def test_streams_with_little_memory_do_not_end_the_process(self):
        server = self.serve()
        server.limit_addresses(24 * MIB)
        seen = []

        def stream():
            seen.append(server.complete(max_tokens=200, ignore_eos=True, logprobs=5))

        streams = [stream for _ in range(8)]
        together(streams + [lambda: server.ask("POST", "/v1/completions", self.bodies()[0][1]) for _ in range(4)])
        self.assertTrue(server.alive())
        self.assertEqual(len(seen), 8)
        for status, answer in seen:
            self.assertIn(status, (0, 200, 503), answer)
        server.limit_addresses(None)
        self.assertTrue(self.eventually(lambda: server.complete()[0] == 200))
        self.assertEqual(server.stop(), 0)

    def test_the_plan_says_so_at_start(self):
        command = f'ulimit -v 600000; exec "{PROGRAM}" serve seedling --adapters "{self.folder}" --port 0 --kv-bytes 4GB'
        done = subprocess.run(["bash", "-c", command], capture_output=True, timeout=60)
        self.assertNotIn(done.returncode, (0, -signal.SIGABRT), done.stderr)
        self.assertIn(b"the memory plan does not fit", done.stderr)


class Neighbours(Hostile):
    """One client's or author's excess is nobody else's (R5, R6, R11b)."""

    def test_health_answers_beside_anybodys_megabytes(self):
        self.add_adapter("one")
        server = self.serve()
        ends = time.monotonic() + 4
        heavy = [("/tokenize", json.dumps({"prompt": "\U0001f600" * 60_000}).encode()),
                 ("/v1/chat/completions", b'{"messages":[' + b'{"role":"user","content":"' + b"x" * 200 + b'"},' * 10_000 + b"{}]}"),
                 ("/v1/completions", b'{"prompt":[' + b'"a b c",' * 100_000 + b'"x"]}'),
                 ("/generate", json.dumps({"inputs": "word " * 3_000_000}).encode())]
        waits = []

        def attack(path, body):
            while time.monotonic() < ends:
                server.ask("POST", path, body)

        def look():
            while time.monotonic() < ends:
                begin = time.monotonic()
                self.assertEqual(server.ask("GET", "/health")[0], 200)
                waits.append(time.monotonic() - begin)
                time.sleep(0.01)

        together([lambda path=path, body=body: attack(path, body) for path, body in heavy * 2] + [look])
        waits.sort()
        self.assertGreater(len(waits), 10)
        self.assertLess(waits[len(waits) * 9 // 10], 1.0, "on a busy machine; alone it is milliseconds")
        self.assertEqual(server.stop(), 0)

    def test_stop_texts_are_few_and_short(self):
        server = self.serve()
        for stop in (["s" * 230_000 + str(i) for i in range(64)], [str(i) for i in range(100_000)]):
            status, answer = server.complete(stop=stop, n=16, max_tokens=500, ignore_eos=True)
            self.assertEqual(status, 400)
            self.assertEqual(answer["error"]["param"], "stop")
            self.assertLess(len(json.dumps(answer)), 2000)
        self.assertEqual(server.stop(), 0)

    def test_known_folders_cost_little(self):
        first = self.add_adapter("f0")
        for i in range(1, 1000):
            folder = os.path.join(self.folder, f"f{i}")
            os.mkdir(folder)
            for name in os.listdir(first):
                os.link(os.path.join(first, name), os.path.join(folder, name))
        server = self.serve()
        self.assertTrue(self.eventually(lambda: server.ask("GET", "/info")[1].get("adapters") == 1000, 60))
        time.sleep(2)  # the last of the names come to rest
        before = server.cpu_seconds()
        time.sleep(4)
        self.assertLess(server.cpu_seconds() - before, 0.15)
        shutil.rmtree(os.path.join(self.folder, "f7"))
        self.assertTrue(self.eventually(lambda: server.ask("GET", "/info")[1].get("adapters") == 999))
        self.assertEqual(server.stop(), 0)


class Secrets(Hostile):
    """The log holds neither keys nor prompts, whatever its level (R20)."""

    def test_a_trace_log_tells_nothing(self):
        log = os.path.join(self.folder, "log")
        with open(log, "wb") as file:
            server = Server(self.folder, ("--log-level", "trace", "--api-key", "sekret-9"), file)
        self.addCleanup(server.stop)
        key = {"authorization": "Bearer sekret-9"}
        self.assertEqual(server.ask("POST", "/v1/completions", {"prompt": "my private words", "max_tokens": 2}, key)[0], 200)
        for body, header in (({"inputs": "private two", "parameters": {"api_token": "hf_SECRET"}}, key), ({"inputs": 5, "api_token": "hf_SECRET2"}, key),
                             ({"inputs": "private three"}, {"authorization": "Bearer wrongkey77"})):
            server.ask("POST", "/generate", body, header)
        self.assertEqual(server.stop(), 0)
        with open(log, encoding="utf-8", errors="replace") as file:
            text = file.read()
        self.assertIn("/generate", text)
        for secret in ("sekret-9", "private", "hf_SECRET", "wrongkey77"):
            self.assertNotIn(secret, text)


class Tokenizers(Hostile):
    """A stranger's tokenizer adds words or is refused by name, within bounded time and memory (R5)."""

    def test_hostile_tokenizers_are_their_adapters_only(self):
        texts = {"deep": "[" * 3_000_000, "deeper": '{"model":{"vocab":' + "[" * 3_000_000, "long": '{"x":"' + "x" * (30 * MIB) + '"}',
                 "swapped": '{"added_tokens":[{"id":4095,"content":"<CALL>"}]}', "cut": '{"model":{"vocab":{"a"',
                 "many": '{"model":{"vocab":{' + ",".join(f'"t{i}":{i}' for i in range(200_000)) + "}}}"}
        for name, text in texts.items():
            with open(os.path.join(self.add_adapter(name), "tokenizer.json"), "w") as file:
                file.write(text)
        with open(os.path.join(self.add_adapter("good"), "added_tokens.json"), "w") as file:
            file.write('{"<CALL>": 4096}')
        server = self.serve()
        self.assertTrue(self.eventually(lambda: server.complete("good")[0] == 200))
        for name in texts:
            status, answer = server.complete(name)
            self.assertEqual(status, 422, answer)
            self.assertIn(name, answer["error"]["message"])
            self.assertEqual(server.ask("POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": name})[0], 422)
        tokens = server.ask("POST", "/tokenize", {"model": "good", "prompt": "<CALL>", "add_special_tokens": False})[1]["tokens"]
        self.assertEqual(tokens, [4096])
        # A row that the adapter has no embedding for is refused by its number.
        status, answer = server.complete("good", prompt="<CALL>")
        self.assertIn(status, (400, 422), answer)
        self.assertIn("4096", answer["error"]["message"])
        self.assertEqual(server.complete()[0], 200)
        self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    os.environ.setdefault("UMBEL_ASSETS", os.path.abspath(ASSETS))
    unittest.main(verbosity=2)
