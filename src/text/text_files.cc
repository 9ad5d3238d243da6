#include "text/text_files.h"

#include <memory>
#include <system_error>
#include <utility>

namespace umbel {
namespace {

constexpr size_t kConfigBytesMax = size_t{16} << 20;
constexpr JsonLimits kConfigLimits = {.values_max = 2'000'000, .names_max = 1'000'000};

}  // namespace

TextFiles text_files_of(const Path& dir) {
  const auto read = [dir](const std::string& name, size_t limit_bytes) -> Result<std::optional<std::string>> {
    std::error_code ignored;
    if (!std::filesystem::exists(dir / name, ignored)) return std::optional<std::string>();
    ASSIGN_OR_RETURN(std::string text, read_file(dir / name, limit_bytes));
    return std::optional<std::string>(std::move(text));
  };
  return {.where = dir.string(), .read = read};
}

TextFiles text_files_of(FolderReader folder) {
  const auto shared = std::make_shared<const FolderReader>(std::move(folder));
  const auto read = [shared](const std::string& name, size_t limit_bytes) -> Result<std::optional<std::string>> {
    if (name.find('/') != std::string::npos) return std::optional<std::string>();
    Result<std::string> text = shared->read(name, limit_bytes);
    if (text.ok()) return std::optional<std::string>(*std::move(text));
    if (text.status().code() == Code::kNotFound) return std::optional<std::string>();
    return text.status();
  };
  return {.where = shared->path().string(), .read = read};
}

Result<Json> read_text_config(const TextFiles& files, const std::string& name) {
  ASSIGN_OR_RETURN(const std::optional<std::string> text, files.read(name, kConfigBytesMax));
  if (!text) return Json(Json::object());
  const std::string what = files.where + "/" + name;
  ASSIGN_OR_RETURN(Json config, parse_json(*text, what, JsonKeys::kLastCounts, kConfigLimits));
  if (!config.is_object()) return invalid_argument(what + " is not a JSON object");
  return config;
}

}  // namespace umbel
