"""tidy: the house rules that a machine can check. Usage: python3 tools/tidy [ROOT] [--numbers] [--list]

Prints one line a finding and exits 1 when there is one that tools/tidy_exceptions.txt does not allow. That list may only
shrink: an entry that is no longer needed, or allows more than is needed, is a finding too, and the list's first line says
how many entries it has, so that an addition is never made in passing. --list prints the entries that the present tree needs."""

import argparse
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import rules  # noqa: E402
import source  # noqa: E402

EXCEPTIONS = "tools/tidy_exceptions.txt"
CODE = (".cc", ".h", ".cu", ".cuh")
CODE_FOLDERS = ("src/", "tests/", "bench/", "fuzz/")
# Not written by us, or data.
UNREAD = ("assets/", "tests/goldens/", "fuzz/corpus/", "LICENSE")
TEXT_BYTES_MAX = 4 << 20


def list_files(root):
    try:
        # Tracked, and new ones that are not ignored.
        listed = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True,
                                check=True).stdout.split("\n")
        files = [path for path in listed if path and os.path.isfile(os.path.join(root, path))]
    except (OSError, subprocess.CalledProcessError):
        files = []
        for folder, folders, names in os.walk(root):
            folders[:] = [name for name in folders if name not in ("build", "target", ".git")]
            files += [os.path.relpath(os.path.join(folder, name), root) for name in names]
    return sorted(path for path in set(files) if not path.startswith(UNREAD))


def read_text(root, path):
    """The file's text, or None for what is not text."""
    full = os.path.join(root, path)
    if os.path.getsize(full) > TEXT_BYTES_MAX:
        return None
    with open(full, "rb") as file:
        data = file.read()
    return None if b"\0" in data else data.decode("utf-8", "replace")


def find_all(root):
    files = list_files(root)
    sources = [source.read_source(root, path) for path in files if path.startswith(CODE_FOLDERS) and path.endswith(CODE)]
    findings = [finding for rule in rules.SOURCE_RULES for finding in rule(sources)]
    for path in files:
        text = read_text(root, path)
        if text is not None and not path.startswith("tools/tidy/") and path != EXCEPTIONS:
            findings += rules.check_text(path, text)
    return sources, findings


def read_exceptions(root):
    """{(rule, subject): allowed value} and the findings about the list itself."""
    path = os.path.join(root, EXCEPTIONS)
    if not os.path.exists(path):
        return {}, []
    allowed, stated, findings = {}, 0, []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            words = line.split("#")[0].split()
            if not words:
                continue
            if words[0] == "entries":
                stated = int(words[1])
                continue
            if len(words) != 3:
                findings.append(rules.Finding("exceptions", EXCEPTIONS, 1, f"line {number}: RULE SUBJECT VALUE is expected"))
                continue
            allowed[(words[0], words[1])] = int(words[2])
    if len(allowed) != stated:
        findings.append(rules.Finding("exceptions", EXCEPTIONS, 1,
                                      f'the first line says "entries {stated}", the list has {len(allowed)}'))
    return allowed, findings


def apply_exceptions(findings, allowed):
    """What remains, with complaints about entries that could shrink. Of equal subjects the largest value counts."""
    worst = {}
    for finding in findings:
        key = (finding.rule, finding.subject)
        worst[key] = max(worst.get(key, 0), finding.value)
    remaining = [finding for finding in findings if finding.value > allowed.get((finding.rule, finding.subject), 0)]
    for (rule, subject), value in sorted(allowed.items()):
        needed = worst.get((rule, subject), 0)
        if needed < value:
            advice = f"lower it to {needed}" if needed else "remove it"
            remaining.append(rules.Finding("exceptions", EXCEPTIONS, 1, f"{rule} {subject} {value} is more than needed: {advice}"))
    return remaining


def print_numbers(sources):
    ours = [item for item in sources if item.path.startswith("src/")]
    lines = [item.lines for item in ours]
    lengths = [function.lines for item in ours for function in item.functions]
    tests = sum(item.lines for item in sources if rules.is_test(item.path))
    code = sum(item.lines for item in sources if not rules.is_test(item.path))
    comments = sum(item.comment_lines for item in ours)
    print(f"files {len(lines)}, lines median {rules.percentile(lines, 0.5)} p90 {rules.percentile(lines, 0.9)} "
          f"largest {max(lines, default=0)}")
    print(f"functions {len(lengths)}, lines p90 {rules.percentile(lengths, 0.9)} largest {max(lengths, default=0)}")
    print(f"tests {tests} : code {code} lines = {tests / max(code, 1):.2f}; comment lines {100 * comments / max(sum(lines), 1):.0f} %")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", nargs="?", default=".")
    parser.add_argument("--numbers", action="store_true", help="print sizes and ratios")
    parser.add_argument("--list", action="store_true", help="print the exceptions that this tree needs")
    arguments = parser.parse_args()
    sources, findings = find_all(arguments.root)
    if not sources:
        print(f"tidy: no source below {arguments.root}", file=sys.stderr)
        return 2
    if arguments.numbers:
        print_numbers(sources)
    if arguments.list:
        needed = {(finding.rule, finding.subject): finding.value for finding in sorted(findings, key=lambda item: item.value)}
        print(f"entries {len(needed)}")
        for (rule, subject), value in sorted(needed.items()):
            print(rule, subject, value)
        return 0
    allowed, complaints = read_exceptions(arguments.root)
    remaining = complaints + apply_exceptions(findings, allowed)
    for finding in remaining:
        print(f"{finding.rule}: {finding.subject}: {finding.message}")
    print(f"tidy: {len(sources)} source files, {len(remaining)} findings, {len(allowed)} exceptions")
    return 1 if remaining else 0


if __name__ == "__main__":
    sys.exit(main())
