#include "io/stray.h"

#include <algorithm>
#include <system_error>
#include <vector>

namespace umbel {
namespace {

namespace fs = std::filesystem;

constexpr size_t kNamed = 3;

std::string lower(std::string_view text) {
  std::string made(text);
  for (char& c : made) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return made;
}

// Names in the folder that fit, sorted; of at most kStrayEntriesMax.
template <typename Fits>
std::vector<std::string> names_in(const Path& dir, const Fits& fits) {
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator entry(dir, error);
  for (int seen = 0; !error && entry != fs::directory_iterator() && seen < kStrayEntriesMax; ++seen) {
    std::string name = entry->path().filename().string();
    if (fits(name)) names.push_back(std::move(name));
    entry.increment(error);
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kNamed); ++i) text += (i > 0 ? ", " : "") + names[i];
  return names.size() > kNamed ? text + ", ..." : text;
}

bool is_folder(const Path& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

}  // namespace

std::string stray_content(std::string_view head) {
  if (head.empty()) return "an empty file: it was not written or downloaded to its end, get it again";
  if (head.starts_with("version https://git-lfs")) return "a Git LFS pointer, not the file itself: run git lfs pull in its folder";
  if (head.starts_with("GGUF")) return "a GGUF file; take the checkpoint that it was made from, in safetensors";
  if (head.starts_with("PK\x03\x04")) return "an archive (PyTorch's pickled format, or a zip); convert it to safetensors with save_pretrained";
  if (head.starts_with("\x80\x02") || head.starts_with("\x80\x04")) return "a pickle; convert it to safetensors with save_pretrained";
  if (head.starts_with("\x1f\x8b")) return "compressed by gzip; unpack it first";
  if (head.starts_with("\xef\xbb\xbf")) head.remove_prefix(3);
  const size_t begin = head.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return "";
  const std::string text = lower(head.substr(begin));
  for (const char* start : {"<!doctype", "<html", "<head", "<?xml", "<!--"}) {
    if (text.starts_with(start)) return "a web page, not the file itself: the download needs a login or another address";
  }
  for (const char* start : {"{\"error\"", "entry not found", "repository not found", "access to model", "access to this",
                            "invalid username", "invalid credentials", "unauthorized", "not found", "error"}) {
    if (text.starts_with(start)) return "an error message that a download left, not the file itself: get it again";
  }
  return "";
}

std::string stray_place(const Path& dir, const std::string& name) {
  std::error_code error;
  if (fs::is_symlink(dir / name, error) && !fs::exists(dir / name, error)) {
    return " (it is a link to a file that is not there: copy the folder with the files its links lead to)";
  }
  std::vector<std::string> found;
  for (const std::string& sub : names_in(dir, [&](const std::string& entry) { return is_folder(dir / entry); })) {
    if (fs::exists(dir / sub / name, error)) found.push_back(sub);
    if (found.size() > kNamed) break;
  }
  const Path snapshots = dir / "snapshots";  // of a hub's cache
  for (const std::string& sub : names_in(snapshots, [&](const std::string& entry) { return is_folder(snapshots / entry); })) {
    if (fs::exists(snapshots / sub / name, error)) found.push_back("snapshots/" + sub);
    if (found.size() > kNamed) break;
  }
  if (found.empty()) return "";
  return std::string(" (it is in the sub-folder") + (found.size() > 1 ? "s " : " ") + listed(found) + ")";
}

std::string stray_weights(const Path& dir) {
  const auto with = [&](auto fits) { return names_in(dir, fits); };
  const auto shards = with([](const std::string& name) { return name.starts_with("model-") && name.ends_with(".safetensors"); });
  if (!shards.empty()) {
    return listed(shards) + " are there, but not model.safetensors.index.json, which says what is in which: get it from the same revision";
  }
  const auto pickled = with([](const std::string& name) {
    return name.ends_with(".bin") || name.ends_with(".pt") || name.ends_with(".pth") || name.ends_with(".ckpt");
  });
  if (!pickled.empty()) {
    return listed(pickled) + " is a pickle, which can run code when it is read, so it is not read here; convert it once: "
           "AutoModelForCausalLM.from_pretrained(DIR).save_pretrained(DIR, safe_serialization=True)";
  }
  const auto gguf = with([](const std::string& name) { return lower(name).ends_with(".gguf"); });
  if (!gguf.empty()) return listed(gguf) + " is a GGUF file; take the checkpoint that it was made from, in safetensors";
  const auto other = with([](const std::string& name) {
    return name.ends_with(".h5") || name.ends_with(".msgpack") || name.ends_with(".onnx") || name.ends_with(".npz");
  });
  if (!other.empty()) return listed(other) + " is of another framework; take the model's safetensors";
  const auto safetensors = with([](const std::string& name) { return name.ends_with(".safetensors"); });
  if (!safetensors.empty()) return listed(safetensors) + " has another name; a checkpoint of one file is called model.safetensors";
  return "";
}

Result<Path> hub_snapshot(const Path& dir) {
  const Path snapshots = dir / "snapshots";
  std::error_code error;
  if (fs::exists(dir / "config.json", error) || !is_folder(snapshots)) return dir;
  if (const auto main = read_file(dir / "refs/main", kStrayHeadBytes); main.ok()) {
    const std::string revision = main->substr(0, main->find_first_of("\r\n "));
    const bool plain = !revision.empty() && revision.find('/') == std::string::npos && revision != "..";
    if (plain && is_folder(snapshots / revision)) return snapshots / revision;
  }
  const std::vector<std::string> all = names_in(snapshots, [&](const std::string& name) { return is_folder(snapshots / name); });
  if (all.size() == 1) return snapshots / all.front();
  return invalid_argument(dir.string() + " is a hub's cache folder" +
                          (all.empty() ? " without a snapshot; download the model again"
                                       : "; give one of its snapshots: snapshots/" + listed(all)));
}

}  // namespace umbel
