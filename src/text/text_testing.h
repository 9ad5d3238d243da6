// What the text tests share: where the project, its goldens and the real inputs are.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <system_error>

#include "io/file.h"
#include "io/json.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace umbel::testing {

inline Path source_dir() {
  const char* dir = std::getenv("UMBEL_SOURCE_DIR");
  return dir != nullptr ? Path(dir) : Path(".");
}

// The folder of real inputs, or an empty path: tests that need it are skipped then.
inline Path data_dir() {
  const char* given = std::getenv("UMBEL_DATA");
  const Path dir = given != nullptr ? Path(given) : source_dir() / "../shared/data";
  std::error_code ignored;
  return std::filesystem::is_directory(dir, ignored) ? dir : Path();
}

inline constexpr const char* kNoData = "no real inputs: set UMBEL_DATA to their folder";

inline Path goldens_dir() { return source_dir() / "tests/goldens/text"; }

// A golden file with its keys in order. A missing or broken one is a failed CHECK: it belongs to the project.
inline OrderedJson golden(const char* name) {
  return parse_ordered_json(read_file(goldens_dir() / name).value(), name).value();
}

inline std::string text_of(const OrderedJson& json) { return json.get<std::string>(); }

// A folder of its own for one test.
class Folder {
 public:
  explicit Folder(const std::string& name) : path_(Path(::testing::TempDir()) / (name + std::to_string(::getpid()))) {
    std::filesystem::create_directories(path_);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  const Path& path() const { return path_; }
  void write(const char* name, const std::string& text) const { std::ofstream(path_ / name) << text; }

 private:
  Path path_;
};

// A tokenizer of tests/goldens/text/tokenizers with its configuration.
inline std::shared_ptr<const Tokenizer> tiny(const std::string& name) {
  const Path dir = goldens_dir() / "tokenizers";
  const Folder folder("tiny");
  folder.write("tokenizer.json", read_file(dir / (name + ".json")).value());
  folder.write("tokenizer_config.json", read_file(dir / (name + ".config.json")).value());
  return Tokenizer::load(folder.path()).value();
}

}  // namespace umbel::testing
