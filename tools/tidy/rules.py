"""The rules. Each yields Finding(rule, subject, value, message); what the value means is the rule's own."""

import re
from collections import namedtuple

Finding = namedtuple("Finding", "rule subject value message")

# ARCHITECTURE.md, "Floors": folder of src/ -> folders that it may include. None: everything.
FLOORS = {
    "base": "",
    "tensor": "base",
    "io": "base tensor",
    "text": "base io",
    "data": "base io text",
    "audio": "base tensor",
    "kernels": "base tensor",
    "adapters": "base io tensor kernels",
    "nn": "base tensor kernels adapters",
    "store": "base io tensor kernels adapters",
    "models": "base io tensor kernels adapters nn",
    "engine": "base tensor text kernels adapters nn models store",
    "train": "base io tensor text audio data kernels adapters nn models store",
    "eval": "base io tensor text audio data store engine",
    "serve": "base io tensor text audio data store engine",
    "load": "base io",
    "apps": None,
}

# Floors that are cut into rooms of their own: room -> rooms of the same floor that it may include. Nothing stands beside them.
ROOMS = {
    "train": {
        "optim": "",
        "job": "optim",
        "config": "job",
        "kinds": "job optim",
        "step": "job optim kinds",
        "report": "job step",
        "run": "optim job config kinds step report",
    },
    "eval": {
        "text": "",
        "statistics": "",
        "programs": "",
        "scorers": "text programs",
        "measure": "text scorers",
        "land": "text scorers",
        "tasks": "text scorers",
        "exam": "text scorers statistics tasks",
    },
}

FILE_LINES_MEDIAN, FILE_LINES_P90, FILE_LINES_MAX = 120, 400, 800
FUNCTION_LINES_P90, FUNCTION_LINES_MAX = 30, 70
PARAMETERS_P99, PARAMETERS_MAX = 5, 5
PARAMETERS_MAX_LEAF = 8  # kernels (habit 6: hot loops are free functions with plain arguments), tests and benchmarks
TESTS_TO_CODE_MIN = 0.5

LEFTOVERS = re.compile(r"\b(TODO|FIXME|XXX)\b")
# Written in pieces, so that this file does not contain what it forbids.
MACHINE_PATHS = re.compile("/(?:" + "|".join(["work", "root", r"home/\w+", r"Users/\w+"]) + r")(?:/|\b)")
# Package sources other than the public ones: an address in a URL by number, or a client told to go elsewhere.
REGISTRIES = re.compile(r"https?://(?!127\.|0\.0\.0\.0)\d+\.\d+\.\d+\.\d+|--(?:extra-)?index-url|--trusted-host|"
                        r"replace-with\s*=|npm_config_registry|GOPROXY=|\bsparse\+https?:|"
                        r'registry\+(?!https://github\.com/rust-lang/crates\.io-index)|"resolved":\s*"(?!https://registry\.npmjs\.org/)')


def is_test(path):
    name = path.rsplit("/", 1)[-1]
    return name.endswith("_test.cc") or "test" in name or "fake" in name or path.startswith(("tests/", "fuzz/"))


def room(path):
    parts = path.split("/")
    return parts[1] if parts[0] == "src" and len(parts) > 2 else None


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0


def check_floors(sources):
    for source in sources:
        here = room(source.path)
        if here is None:
            continue
        if here not in FLOORS:
            yield Finding("floors", source.path, 1, f"src/{here} is not a floor of ARCHITECTURE.md")
            continue
        for include in source.includes:
            there = include.split("/")[0] if "/" in include else here
            if there == here or FLOORS[here] is None or there in FLOORS[here].split():
                continue
            yield Finding("floors", f"{source.path}>{include}", 1, f"{here} may not include {there}")


def check_rooms(sources):
    for source in sources:
        rooms = ROOMS.get(room(source.path))
        if rooms is None:
            continue
        floor, *inner = source.path.split("/")[1:-1]
        here = inner[0] if inner else None
        if here not in rooms:
            yield Finding("rooms", source.path, 1, f"src/{floor} is cut into rooms: {' '.join(rooms)}")
            continue
        for include in source.includes:
            parts = include.split("/")
            if parts[0] != floor or len(parts) < 3 or parts[1] == here or parts[1] in rooms[here].split():
                continue
            yield Finding("rooms", f"{source.path}>{include}", 1, f"{floor}/{here} may not include {floor}/{parts[1]}")


def check_types(sources):
    """One name, one type: classes of one qualified name in two files are one to the linker, whatever stands in them."""
    places = {}
    for source in sources:
        if source.path.startswith("src/") and not is_test(source.path):
            for name in source.types:
                places.setdefault(name, set()).add(source.path)
    for name, paths in sorted(places.items()):
        if len(paths) > 1:
            yield Finding("types", name, len(paths), "defined in " + " and in ".join(sorted(paths)))


def cycles(graph):
    """Strongly connected components with more than one node, or a node that points at itself (Tarjan, iterative)."""
    index, low, on_stack, stack, found = {}, {}, set(), [], []
    for root in sorted(graph):
        if root in index:
            continue
        work = [(root, iter(sorted(graph[root])))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            node, successors = work[-1]
            for successor in successors:
                if successor not in graph:
                    continue
                if successor not in index:
                    index[successor] = low[successor] = len(index)
                    stack.append(successor)
                    on_stack.add(successor)
                    work.append((successor, iter(sorted(graph[successor]))))
                    break
                if successor in on_stack:
                    low[node] = min(low[node], index[successor])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    component = []
                    while True:
                        member = stack.pop()
                        on_stack.discard(member)
                        component.append(member)
                        if member == node:
                            break
                    if len(component) > 1 or node in graph[node]:
                        found.append(sorted(component))
    return found


def check_cycles(sources):
    folders, headers = {}, {}
    for source in sources:
        here = room(source.path)
        if here is None:
            continue
        targets = {include.split("/")[0] for include in source.includes if "/" in include} - {here}
        folders.setdefault(here, set()).update(targets)
        if source.path.endswith(".h"):
            headers[source.path] = {"src/" + include for include in source.includes}
    for component in cycles(folders):
        yield Finding("folder-circle", "+".join(component), 1, "these folders include one another")
    for component in cycles(headers):
        yield Finding("header-cycle", "+".join(component), 1, "these headers include one another")


def check_sizes(sources):
    ours = [source for source in sources if source.path.startswith("src/")]
    for source in sources:
        if source.lines > FILE_LINES_MAX:
            yield Finding("file-lines", source.path, source.lines, f"{source.lines} lines, at most {FILE_LINES_MAX}")
    lines = [source.lines for source in ours]
    for name, share, most in (("median", 0.5, FILE_LINES_MEDIAN), ("p90", 0.9, FILE_LINES_P90)):
        value = percentile(lines, share)
        if value > most:
            yield Finding("file-lines", name, value, f"the {name} of file lengths is {value}, at most {most}")


def check_functions(sources):
    lengths, counts = [], []
    for source in sources:
        leaf = source.path.startswith(("src/kernels/", "bench/")) or is_test(source.path)
        most = PARAMETERS_MAX_LEAF if leaf else PARAMETERS_MAX
        for function in source.functions:
            subject = f"{source.path}:{function.name}"
            if source.path.startswith("src/"):
                lengths.append(function.lines)
                counts.append(function.parameters)
            if function.lines > FUNCTION_LINES_MAX:
                yield Finding("function-lines", subject, function.lines,
                              f"line {function.line}: {function.lines} lines, at most {FUNCTION_LINES_MAX}")
            if function.parameters > most:
                yield Finding("parameters", subject, function.parameters,
                              f"line {function.line}: {function.parameters} parameters, at most {most}")
    value = percentile(counts, 0.99)
    if value > PARAMETERS_P99:
        yield Finding("parameters", "p99", value, f"the p99 of parameter counts is {value}, at most {PARAMETERS_P99}")
    value = percentile(lengths, 0.9)
    if value > FUNCTION_LINES_P90:
        yield Finding("function-lines", "p90", value, f"the p90 of function lengths is {value}, at most {FUNCTION_LINES_P90}")


def check_tests(sources):
    tests = sum(source.lines for source in sources if is_test(source.path))
    code = sum(source.lines for source in sources if not is_test(source.path))
    if code and tests < TESTS_TO_CODE_MIN * code:
        yield Finding("tests", "ratio", 1, f"{tests} lines of tests for {code} lines of code, at least 1 : 2")
    for source in sources:
        if re.search(r"\bTEST(_F|_P)?\(\s*\w+\s*,\s*DISABLED_|GTEST_SKIP\(\)\s*;", source.code):
            yield Finding("tests", source.path, 1, "a test is switched off, or skipped without a reason")


def check_dead(sources):
    users = {}
    for source in sources:
        for include in source.includes:
            users.setdefault("src/" + include if "/" in include else include, set()).add(source.path)
    for source in sources:
        if not source.path.endswith(".h") or not source.path.startswith("src/"):
            continue
        if not users.get(source.path, set()) - {source.path[:-2] + ".cc"}:
            yield Finding("dead", source.path, 1, "no other file includes this header, not even a test")


def check_code(sources):
    for source in sources:
        if not source.path.startswith("src/"):
            continue
        if source.path.endswith(".h"):
            if re.search(r"\busing\s+namespace\b", source.code):
                yield Finding("using-namespace", source.path, 1, "a header opens a namespace for everybody")
            if not re.search(r"^\s*#\s*pragma\s+once\b", source.text, re.M) and not source.path.endswith("-inl.h"):
                yield Finding("pragma-once", source.path, 1, "a header without #pragma once")
        if not is_test(source.path) and re.search(r"\bthrow\b", source.code):
            yield Finding("throw", source.path, 1, "failures travel as Status, not as exceptions")


def check_text(path, text):
    """One text file of any kind: what must not stand in a public repository."""
    for number, line in enumerate(text.split("\n"), 1):
        for rule, pattern in (("leftover", LEFTOVERS), ("machine-path", MACHINE_PATHS), ("registry", REGISTRIES)):
            match = pattern.search(line)
            if match:
                yield Finding(rule, path, 1, f'line {number}: "{match.group()}"')


SOURCE_RULES = (check_floors, check_rooms, check_types, check_cycles, check_sizes, check_functions, check_tests, check_dead, check_code)
