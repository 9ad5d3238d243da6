"""C++ source as tidy sees it: text without comments and strings, includes, functions. No compiler: braces and names."""

import bisect
import re
from dataclasses import dataclass, field

INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.M)
# Words before "(" that never name a function.
NOT_FUNCTIONS = {"if", "for", "while", "switch", "catch", "return", "sizeof", "alignof", "decltype", "defined", "new",
                 "delete", "throw", "assert", "static_assert", "noexcept", "requires", "alignas", "co_await", "co_return"}
TAIL = re.compile(r"^(\s|const|noexcept(\([^()]*\))?|override|final|&&?|mutable|volatile|try|requires\b.*"
                  r"|->\s*[\w:<>,*&\s\[\]()]+)*$", re.S)


@dataclass
class Function:
    name: str
    line: int        # where its header begins
    lines: int       # from there to the closing brace
    parameters: int


@dataclass
class Source:
    path: str        # relative to the root
    text: str
    code: str = ""   # comments and the insides of literals blanked; same length and lines
    includes: list = field(default_factory=list)
    functions: list = field(default_factory=list)
    types: list = field(default_factory=list)  # qualified names of the classes and enums that it defines for other files to see
    comment_lines: int = 0
    lines: int = 0


def blank(text):
    """Blanks comments, strings and character literals, keeping newlines; returns (code, lines that hold a comment)."""
    out = list(text)
    comment_lines = set()
    i, line, size = 0, 1, len(text)

    def wipe(begin, end, comment):
        nonlocal line
        for k in range(begin, min(end, size)):
            if text[k] == "\n":
                line += 1
            else:
                out[k] = " "
                if comment:
                    comment_lines.add(line)

    while i < size:
        if text.startswith("//", i):
            end = text.find("\n", i)
            end = size if end < 0 else end
            wipe(i, end, True)
        elif text.startswith("/*", i):
            end = text.find("*/", i + 2)
            end = size if end < 0 else end + 2
            wipe(i, end, True)
        elif text[i] == '"':
            raw = re.match(r'"([^()\\\s]{0,16})\(', text[i:]) if i and text[i - 1] == "R" else None
            if raw:
                end = text.find(")" + raw.group(1) + '"', i)
                end = size if end < 0 else end + len(raw.group(1)) + 2
            else:
                end = i + 1
                while end < size and text[end] not in '"\n':
                    end += 2 if text[end] == "\\" else 1
                end += 1
            wipe(i + 1, end - 1, False)
        elif text[i] == "'" and not (i and (text[i - 1].isalnum() or text[i - 1] == "_")):
            end = i + 1
            while end < size and text[end] not in "'\n":
                end += 2 if text[end] == "\\" else 1
            end += 1
            wipe(i + 1, end - 1, False)
        else:
            if text[i] == "\n":
                line += 1
            i += 1
            continue
        i = end
    return "".join(out), comment_lines


def matching_paren(text, close):
    """Index of the "(" that the ")" at close belongs to, or -1."""
    depth = 0
    for i in range(close, -1, -1):
        if text[i] == ")":
            depth += 1
        elif text[i] == "(":
            depth -= 1
            if depth == 0:
                return i
    return -1


def split_parameters(text):
    """The parameters of a list without its parentheses: top-level commas count, those in <>, (), [], {} do not."""
    depth, count, seen = 0, 0, False
    for i, c in enumerate(text):
        if c in "(<[{":
            depth += 1
        elif c in ")]}" or (c == ">" and text[i - 1] != "-"):
            depth -= 1
        elif c == "," and depth == 0:
            count += 1
        seen = seen or not c.isspace()
    return count + 1 if seen and text.strip() != "void" else 0


def parse_header(header):
    """(name, parameters, has an initialiser list) when the text before a "{" is a function's header, else None."""
    # A constructor's initialiser list: cut at the ":" behind the parameter list.
    depth = 0
    cut = len(header)
    for i, c in enumerate(header):
        if c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
        elif c == ":" and depth == 0 and header[i - 1:i] != ":" and header[i + 1:i + 2] != ":":
            if ")" in header[:i]:
                cut = i
                break
    listed = cut < len(header)
    header = header[:cut]
    close = header.rfind(")")
    while close >= 0:
        if not TAIL.match(header[close + 1:]):
            return None
        opening = matching_paren(header, close)
        if opening < 0:
            return None
        name = re.search(r"(operator\s*(\(\)|\[\]|[^\w\s(]+|\w+)|~?[A-Za-z_]\w*)\s*$", header[:opening])
        if name and name.group(1) not in NOT_FUNCTIONS:
            return name.group(1).replace(" ", ""), split_parameters(header[opening + 1:close]), listed
        close = header.rfind(")", 0, opening)  # noexcept(...), a trailing return type's parentheses
    return None


def classify(header):
    """What the "{" behind this text opens at namespace or class level: (kind, (name, parameters) or None)."""
    plain = re.sub(r"\btemplate\s*<[^{]*?>\s*(?=[\w:])", "", header)
    if re.search(r"\b(namespace|extern)\b", plain) and "(" not in plain:
        return "namespace", None
    if re.search(r"\b(class|struct|union|enum)\b", plain) and not re.search(r"\)\s*(const|noexcept|override)*\s*$", plain):
        return "type", None
    parsed = parse_header(header)
    if not parsed:
        return "block", None
    # "Foo() : a_{1}, b_(2) {": braces behind a member's name belong to the initialiser list, not to the body.
    return ("initialiser", None) if parsed[2] and header.rstrip()[-1] not in ")}" else ("function", parsed)


def find_functions(code):
    code = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda match: re.sub(r"[^\n]", " ", match.group()), code, flags=re.M)
    starts = [0] + [i + 1 for i, c in enumerate(code) if c == "\n"]
    functions, stack = [], []  # stack of (kind, function or None, depth outside)
    start = 0  # of the text that may be a header
    depth = 0  # of parentheses: braces inside them are initialisers or lambdas
    for i, c in enumerate(code):
        if c == "(":
            depth += 1
        elif c == ")":
            depth = max(0, depth - 1)
        elif c == "{":
            kind, function = "initialiser" if depth else "block", None
            if depth == 0 and (not stack or stack[-1][0] in ("namespace", "type")):
                header = re.sub(r"^(\s*(public|private|protected)\s*:)+", lambda m: " " * len(m.group()), code[start:i])
                kind, parsed = classify(header)
                if parsed:
                    at = start + len(header) - len(header.lstrip())
                    function = Function(parsed[0], bisect.bisect_right(starts, at), 0, parsed[1])
            stack.append((kind, function, depth))
            depth = 0
            if kind != "initialiser":
                start = i + 1
        elif c == "}" and stack:
            kind, function, depth = stack.pop()
            if function:
                function.lines = bisect.bisect_right(starts, i) - function.line + 1
                functions.append(function)
            if kind != "initialiser":
                start = i + 1
        elif c == ";" and depth == 0:
            start = i + 1
    return functions


def find_types(code):
    """Qualified names of classes, unions and enums defined at namespace level, those of anonymous namespaces left out."""
    names, scopes, start = [], [], 0  # a scope: a namespace's name, "" for an anonymous one, None for anything else
    for i, c in enumerate(code):
        if c == "{":
            header = re.sub(r"^[ \t]*#[^\n]*", "", code[start:i], flags=re.M).strip()
            space = re.fullmatch(r"(?:inline\s+)?namespace\s*([\w:]*)", header)
            kind = re.fullmatch(r"(?:template\s*<.*>\s*)?(?:class|struct|union|enum(?:\s+class|\s+struct)?)\s+(?:alignas\([^)]*\)\s*)?"
                                r"(\w+)\s*(?:final\s*)?(?::(?!:).*)?", header, re.S)
            if kind and all(scopes):
                names.append("::".join([*scopes, kind.group(1)]))
            scopes.append(space.group(1) if space else None)
            start = i + 1
        elif c == "}":
            scopes = scopes[:-1]
            start = i + 1
        elif c == ";":
            start = i + 1
    return names


def read_source(root, path):
    with open(f"{root}/{path}", encoding="utf-8", errors="replace") as file:
        text = file.read()
    source = Source(path, text)
    source.code, comments = blank(text)
    source.comment_lines = len(comments)
    source.lines = text.count("\n") + (0 if text.endswith("\n") or not text else 1)
    source.includes = INCLUDE.findall(text)
    source.functions = find_functions(source.code)
    source.types = find_types(source.code)
    return source
