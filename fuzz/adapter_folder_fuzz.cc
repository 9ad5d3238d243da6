// Any bytes as the files of an adapter's folder: facts, an adapter, a tokenizer, a template and end tokens, or refusals with
// reasons. An input is a list of files: a byte that names one, two bytes of length (little-endian), its bytes.
#include <unistd.h>

#include <fstream>
#include <memory>

#include "adapters/registry.h"
#include "adapters/test_support.h"
#include "base/printable.h"
#include "fuzz.h"
#include "store/adapter_files.h"
#include "store/inspection.h"
#include "store/peft_dir.h"
#include "text/adapter_tokenizer.h"
#include "text/end_tokens.h"
#include "text/template_sources.h"

namespace {

using namespace umbel;

constexpr const char* kTokenizer = R"({"version":"1.0","added_tokens":[],"model":{"type":"BPE","vocab":{"a":0,"b":1},"merges":[]}})";

// A folder of its own, in memory where the system has such a place; emptied for every input.
class Folder {
 public:
  Folder() {
    std::error_code error;
    const Path base = std::filesystem::is_directory("/dev/shm", error) ? "/dev/shm" : std::filesystem::temp_directory_path();
    std::string pattern = (base / "umbel_fuzz_XXXXXX").string();
    CHECK(::mkdtemp(pattern.data()) != nullptr, "a folder for the files");
    root_ = pattern;
  }
  ~Folder() { std::filesystem::remove_all(root_); }

  FolderPlace fill(std::string_view input) const {
    std::filesystem::remove_all(root_ / "x");
    std::filesystem::create_directory(root_ / "x");
    const auto& names = adapter_file_names();
    while (input.size() >= 3) {
      const auto byte = [&](size_t at) { return static_cast<size_t>(static_cast<unsigned char>(input[at])); };
      const std::string& name = names[byte(0) % names.size()];
      const size_t length = std::min(input.size() - 3, byte(1) + 256 * byte(2));
      std::ofstream(root_ / "x" / name, std::ios::binary) << input.substr(3, length);
      input.remove_prefix(3 + length);
    }
    return {.folder = root_ / "x", .root = root_};
  }

 private:
  Path root_;
};

void check(const Status& status) {
  if (!status.ok()) fuzz::check_refusal(status);
}

void check_adapter(const AdapterFiles& files, const TargetTable& targets) {
  const Result<PeftDir> folder = PeftDir::read(files);
  check(folder.status());
  if (!folder.ok()) return;
  const auto adapter = build_adapter(folder->source(), targets, {.rank_max = 64});
  check(adapter.status());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Folder folder;
  static const testing::SmallBase base{{.hidden = 8, .kv = 4, .ffn = 12, .vocab = 10}};
  static const auto tokenizer = Tokenizer::from_json(kTokenizer).value();
  const FolderPlace place = folder.fill(fuzz::text_of(data, size));
  const FoundFolder found{.place = place, .stamp = stamp_folder(FolderReader::open(place).value())};
  const EntryFacts facts = inspect_folder("x", found, {.budget_bytes = size_t{1} << 20});
  check(facts.broken);
  CHECK(printable(facts.broken.message()) == facts.broken.message(), "a reason is fit for a terminal");
  const Result<AdapterFiles> files = AdapterFiles::open(place);
  check(files.status());
  if (files.ok()) check_adapter(*files, base.targets());
  check(adapter_tokenizer(text_files_of(FolderReader::open(place).value()), tokenizer, 16).status());
  check(read_end_tokens(FolderReader::open(place).value(), *tokenizer).status());
  const auto sources = read_template_sources(text_files_of(FolderReader::open(place).value()));
  check(sources.status());
  return 0;
}
