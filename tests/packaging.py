"""Installs the built program into an empty folder and packs it as a .deb, and runs both outside the checkout: the base that comes along
answers, and its adapters are found.

    python3 tests/packaging.py build/release

Exit status 77 (skipped): no dpkg-shlibdeps here, after the installed program was tried.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

SKIPPED = 77
here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def run(arguments, **options):
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300, **options)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(arguments)}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def try_program(prefix, elsewhere):
    """Nothing of the checkout is named: neither by the folder that it runs in nor by its environment."""
    program = os.path.join(prefix, "bin/umbel")
    environment = {"PATH": "/usr/bin:/bin", "HOME": elsewhere}
    adapters = os.path.join(prefix, "share/umbel/adapters")
    answer = run([program, "generate", "seedling", "--prompt", "Customer: I lost my card\nIntent:", "--max-tokens", "4", "--threads", "1",
                  "--adapters", adapters, "--adapter", "banking77-lora-r8"], cwd=elsewhere, env=environment)
    assert answer.strip(), "the installed program answers nothing"
    for name in ("tasks", "seedling/tokenizer.json"):
        assert os.path.exists(os.path.join(prefix, "share/umbel", name)), f"{name} is not installed"
    for name in ("copyright", "README.md", "CHANGELOG.md"):
        assert os.path.exists(os.path.join(prefix, "share/doc/umbel", name)), f"{name} is not installed"


def check_versions(version):
    with open(os.path.join(here, "CHANGELOG.md"), encoding="utf-8") as file:
        first = re.search(r"^## ([0-9][0-9.]*)", file.read(), re.MULTILINE)
    assert first and first.group(1) == version, f"CHANGELOG.md's newest version is not {version}, the one of CMakeLists.txt"


def main(build):
    with tempfile.TemporaryDirectory() as folder:
        elsewhere = os.path.join(folder, "elsewhere")
        os.mkdir(elsewhere)
        run(["cmake", "--install", build, "--prefix", os.path.join(folder, "installed")])
        try_program(os.path.join(folder, "installed"), elsewhere)
        print("installed: answers")
        if shutil.which("dpkg-shlibdeps") is None:
            print("no dpkg-shlibdeps (Debian's dpkg-dev): the package was not made")
            return SKIPPED
        run(["cpack", "--config", os.path.join(build, "CPackConfig.cmake"), "-B", folder])
        package = next(os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".deb"))
        version, depends = (run(["dpkg-deb", "--field", package, field]).strip() for field in ("Version", "Depends"))
        check_versions(version)
        assert "libc6" in depends, depends
        run(["dpkg-deb", "--extract", package, os.path.join(folder, "unpacked")])
        try_program(os.path.join(folder, "unpacked/usr"), elsewhere)
        print(f"{os.path.basename(package)}: {os.path.getsize(package) >> 20} MiB, answers; depends on {depends}")
    return 0


if __name__ == "__main__":
    sys.exit(main(os.path.abspath(sys.argv[1])))
