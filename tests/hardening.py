"""Reads an ELF program (64 bits, little-endian) and says which of its defences are missing; exit status 1 then.

    python3 tests/hardening.py build/release/umbel
"""
import struct
import sys

PT_LOAD, PT_DYNAMIC, PT_GNU_STACK, PT_GNU_RELRO, PT_NOTE = 1, 2, 0x6474E551, 0x6474E552, 4
NT_GNU_PROPERTY_TYPE_0, X86_FEATURE_1_AND, SHSTK = 5, 0xC0000002, 2
PF_X, PF_W = 1, 2
DT_FLAGS, DT_FLAGS_1, DT_STRTAB, DT_TEXTREL = 30, 0x6FFFFFFB, 5, 22
DF_BIND_NOW, DF_1_NOW, DF_1_PIE = 8, 1, 0x08000000
SHT_SYMTAB, SHT_DYNSYM = 2, 11
ET_DYN = 3
ENDBR64 = b"\xf3\x0f\x1e\xfa"


class Program:
    def __init__(self, path):
        with open(path, "rb") as file:
            self.bytes = file.read()
        if self.bytes[:6] != b"\x7fELF\x02\x01":
            raise SystemExit(f"{path}: not a little-endian ELF file of 64 bits")
        (self.type, _, _, self.entry, phoff, shoff, _, _, phsize, phnum, shsize, shnum, _) = struct.unpack_from(
            "<HHIQQQIHHHHHH", self.bytes, 16)
        self.segments = [struct.unpack_from("<IIQQQQQQ", self.bytes, phoff + i * phsize) for i in range(phnum)]
        self.sections = [struct.unpack_from("<IIQQQQIIQQ", self.bytes, shoff + i * shsize) for i in range(shnum)]

    def dynamic(self):
        entries = {}
        for kind, _, offset, _, _, size, _, _ in self.segments:
            if kind == PT_DYNAMIC:
                entries.update(struct.iter_unpack("<qQ", self.bytes[offset:offset + size]))
        return entries

    def symbols(self, wanted):
        """name -> address, of the sections of that type."""
        found = {}
        for section in self.sections:
            kind, offset, size, link, entry_size = section[1], section[4], section[5], section[6], section[9]
            if kind != wanted:
                continue
            names = self.sections[link][4]
            for at in range(offset, offset + size, entry_size):
                name, _, _, _, value, _ = struct.unpack_from("<IBBHQQ", self.bytes, at)
                end = self.bytes.index(b"\0", names + name)
                found[self.bytes[names + name:end].decode("utf-8", "replace").split("@")[0]] = value
        return found

    def features(self):
        """The bits of x86 features that every part of the program is said to have."""
        for kind, _, begin, _, _, size, _, _ in self.segments:
            at = begin
            while kind == PT_NOTE and at + 12 <= begin + size:
                names, length, note = struct.unpack_from("<III", self.bytes, at)
                data = at + 12 + (names + 3) // 4 * 4
                at = data + (length + 3) // 4 * 4
                while note == NT_GNU_PROPERTY_TYPE_0 and data + 12 <= at:
                    which, bytes_of, value = struct.unpack_from("<III", self.bytes, data)
                    if which == X86_FEATURE_1_AND:
                        return value
                    data += 8 + (bytes_of + 7) // 8 * 8
        return 0

    def at(self, address, size):
        for kind, _, offset, start, _, in_file, _, _ in self.segments:
            if kind == PT_LOAD and start <= address < start + in_file:
                return self.bytes[offset + address - start:offset + address - start + size]
        return b""


def missing(path):
    program = Program(path)
    flags = {kind: flags for kind, flags, *_ in program.segments}
    dynamic = program.dynamic()
    imports = program.symbols(SHT_DYNSYM)
    main = program.symbols(SHT_SYMTAB).get("main", 0)
    checks = {
        "position independent (PIE)": program.type == ET_DYN and dynamic.get(DT_FLAGS_1, 0) & DF_1_PIE,
        "all symbols bound at start (-z now)": dynamic.get(DT_FLAGS, 0) & DF_BIND_NOW or dynamic.get(DT_FLAGS_1, 0) & DF_1_NOW,
        "read-only relocations (-z relro)": PT_GNU_RELRO in flags,
        "no executable stack": PT_GNU_STACK in flags and not flags[PT_GNU_STACK] & PF_X,
        "no memory both writable and executable": not any(
            kind == PT_LOAD and bits & PF_W and bits & PF_X for kind, bits, *_ in program.segments),
        "no relocations in code": DT_TEXTREL not in dynamic,
        "stack protector": "__stack_chk_fail" in imports,
        "checked library calls (_FORTIFY_SOURCE)": any(
            name.startswith("__") and name.endswith("_chk") for name in imports),
        "shadow stack (-z shstk)": program.features() & SHSTK,
        "marked targets of indirect branches (-fcf-protection)": program.at(main, 4) == ENDBR64,
    }
    return [name for name, held in checks.items() if not held]


if __name__ == "__main__":
    lacks = missing(sys.argv[1])
    for name in lacks:
        print(f"{sys.argv[1]} lacks: {name}")
    sys.exit(1 if lacks else 0)
