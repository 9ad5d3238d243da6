"""tidy's own test: every rule must catch a violation that is put into a clean tree, and must be silent without it."""

import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import rules  # noqa: E402
import source  # noqa: E402

CLEAN = {
    "src/base/a.h": "#pragma once\nint add(int a, int b);\n",
    "src/base/a.cc": '#include "base/a.h"\nint add(int a, int b) {\n  return a + b;\n}\n',
    "src/base/a_test.cc": '#include "base/a.h"\n' + "// a test\n" * 12,
    "src/tensor/b.cc": '#include "base/a.h"\nint twice(int a) { return add(a, a); }\n',
    "README.md": "A small tree.\n",
}


def run(tree):
    with tempfile.TemporaryDirectory() as root:
        for path, text in tree.items():
            os.makedirs(os.path.dirname(os.path.join(root, path)) or root, exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                file.write(text)
        done = subprocess.run([sys.executable, HERE, root], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout


class Canary(unittest.TestCase):
    def caught(self, rule, extra, text=""):
        status, output = run({**CLEAN, **extra})
        self.assertEqual(status, 1, output)
        lines = [line for line in output.splitlines() if line.startswith(rule + ": ")]
        self.assertTrue(lines, f"{rule} is not in:\n{output}")
        self.assertTrue(any(text in line for line in lines), output)

    def test_a_clean_tree_passes(self):
        status, output = run(CLEAN)
        self.assertEqual(status, 0, output)

    def test_arrows_go_down(self):
        self.caught("floors", {"src/base/c.cc": '#include "tensor/b.h"\n', "src/tensor/b.h": "#pragma once\n"}, "base may not include tensor")
        self.caught("floors", {"src/serve/c.cc": '#include "models/m.h"\n'}, "serve may not include models")
        self.caught("floors", {"src/attic/c.cc": "int x;\n"}, "not a floor")

    def test_rooms_of_a_floor(self):
        self.caught("rooms", {"src/train/job/c.cc": '#include "train/run/run.h"\n'}, "train/job may not include train/run")
        self.caught("rooms", {"src/train/c.cc": "int x;\n"}, "is cut into rooms")

    def test_one_name_one_type(self):
        plan = "namespace umbel {\nstruct Plan {\n  int a;\n};\n}\n"
        self.caught("types", {"src/base/p.cc": plan, "src/tensor/p.cc": plan}, "src/base/p.cc and in src/tensor/p.cc")
        own = plan.replace("umbel {", "umbel::tensor {")
        hidden = plan.replace("umbel {", "umbel {\nnamespace {").replace("};\n}", "};\n}\n}")
        status, output = run({**CLEAN, "src/base/p.cc": plan, "src/tensor/p.cc": own, "src/tensor/q.cc": hidden})
        self.assertEqual(status, 0, output)

    def test_circles(self):
        self.caught("folder-circle", {"src/base/c.cc": '#include "tensor/b.h"\n', "src/tensor/b.h": "#pragma once\n"}, "base+tensor")
        self.caught("header-cycle", {"src/base/c.h": '#pragma once\n#include "base/d.h"\n',
                                     "src/base/d.h": '#pragma once\n#include "base/c.h"\n'}, "base/c.h")

    def test_sizes(self):
        self.caught("file-lines", {"src/base/long_test.cc": "int x;\n" * 801}, "801 lines")
        self.caught("file-lines", {f"src/base/long{i}_test.cc": "int x;\n" * 130 for i in range(9)}, "median")
        body = "".join(f"  x += {i};\n" for i in range(70))
        self.caught("function-lines", {"src/base/f_test.cc": "int f(int x) {\n" + body + "  return x;\n}\n"}, "line 1: 73 lines")
        six = "int f(int a, int b, int c, int d, int e,\n      std::map<int, int> g) {}\n"
        nine = six.replace("int a", "int x, int y, int z, int a")
        self.caught("parameters", {"src/base/f.cc": six}, "6 parameters")
        self.caught("parameters", {"src/base/f_test.cc": nine}, "9 parameters")
        self.caught("parameters", {"src/kernels/f.cc": nine}, "9 parameters")

    def test_tests_to_code(self):
        self.caught("tests", {"src/base/much.cc": "int x;\n" * 60}, "at least 1 : 2")
        self.caught("tests", {"src/base/off_test.cc": "TEST(Base, DISABLED_Adds) {}\n"}, "switched off")

    def test_dead_headers(self):
        self.caught("dead", {"src/base/lonely.h": "#pragma once\n", "src/base/lonely.cc": '#include "base/lonely.h"\n'})

    def test_code_rules(self):
        self.caught("throw", {"src/base/t.cc": "void f() { throw 1; }\n"})
        self.caught("using-namespace", {"src/base/a.h": CLEAN["src/base/a.h"] + "using namespace std;\n"})
        self.caught("pragma-once", {"src/base/a.h": "int add(int a, int b);\n"})

    def test_texts(self):
        self.caught("leftover", {"docs/x.md": "TO" + "DO: write this\n"})
        self.caught("machine-path", {"docs/x.md": "see /ro" + "ot/notes\n"})
        self.caught("machine-path", {"scripts/x": "cd /ho" + "me/me/umbel\n"})
        self.caught("registry", {"scripts/x": "pip install --index" + "-url http://example.test\n"})
        self.caught("registry", {"scripts/x": "curl http://10" + ".0.0.7:8080/simple\n"})

    def test_words_in_comments_and_strings_are_no_code(self):
        status, output = run({**CLEAN, "src/base/c.cc": '// throw { { {\nconst char* k = "throw } ) {";\nint f() { return \'{\'; }\n'})
        self.assertEqual(status, 0, output)


class Exceptions(unittest.TestCase):
    THROWS = {**CLEAN, "src/base/t.cc": "void f() { throw 1; }\n"}

    def outcome(self, text, tree):
        return run({**tree, "tools/tidy_exceptions.txt": text})

    def test_an_entry_allows_what_it_names(self):
        status, output = self.outcome("entries 1\nthrow src/base/t.cc 1  # why\n", self.THROWS)
        self.assertEqual(status, 0, output)

    def test_the_list_may_only_shrink(self):
        status, output = self.outcome("entries 1\nthrow src/base/t.cc 1\n", CLEAN)
        self.assertEqual(status, 1, output)
        self.assertIn("remove it", output)
        status, output = self.outcome("entries 1\nthrow src/base/t.cc 2\n", self.THROWS)
        self.assertIn("lower it to 1", output)
        status, output = self.outcome("entries 2\nthrow src/base/t.cc 1\n", self.THROWS)
        self.assertEqual(status, 1, output)
        self.assertIn('says "entries 2"', output)


class Functions(unittest.TestCase):
    def names(self, text):
        return [(f.name, f.lines, f.parameters) for f in source.find_functions(source.blank(text)[0])]

    def test_headers_of_all_shapes(self):
        self.assertEqual(self.names("int f() {\n}\n"), [("f", 2, 0)])
        self.assertEqual(self.names("template <typename T, int N>\nvoid A::g(T (&x)[N], B<int, int> y) const noexcept {\n}"), [("g", 3, 2)])
        self.assertEqual(self.names("A::A(int a) : a_{a}, b_(f(a)), c_{} {\n}\nA::~A() {}"), [("A", 2, 1), ("~A", 1, 0)])
        self.assertEqual(self.names("class A {\n public:\n  int f(int x) const { return x; }\n private:\n  int y_ = 0;\n};"), [("f", 1, 1)])
        self.assertEqual(self.names("auto f(int x) -> std::vector<int> {\n  auto g = [&](int a, int b) { return a; };\n}"), [("f", 3, 1)])
        self.assertEqual(self.names("bool operator==(const A& a, const A& b) {}"), [("operator==", 1, 2)])
        self.assertEqual(self.names("operator bool() const { return true; }"), [("operatorbool", 1, 0)])
        self.assertEqual(self.names("namespace a::b {\nint x[] = {1, 2};\nstruct S { int a; };\nvoid f(int a = g({1, 2}), int b = 2) {}\n}"), [("f", 1, 2)])
        self.assertEqual(self.names("TEST(A, B) {\n  if (x) { y(); }\n}"), [("TEST", 3, 2)])
        self.assertEqual(self.names("#define M(x) do { f(x); } \\\n  while (0)\nvoid g() {}"), [("g", 1, 0)])

    def test_circles_are_found(self):
        self.assertEqual(rules.cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}), [["a", "b", "c"]])
        self.assertEqual(rules.cycles({"a": {"b"}, "b": set()}), [])


if __name__ == "__main__":
    unittest.main()
