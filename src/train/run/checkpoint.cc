#include "train/run/checkpoint.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <set>

#include "io/safetensors.h"

namespace umbel::train {
namespace {

constexpr const char* kStateName = "state.json";
constexpr const char* kRoundPrefix = "round-";
constexpr const char* kBestPrefix = "best-";
constexpr size_t kKept = 2;

Status failed(const std::string& what, const Path& path, const std::error_code& error) {
  const Code code = error == std::errc::permission_denied ? Code::kPermissionDenied : Code::kUnavailable;
  return {code, what + " " + path.string() + ": " + error.message()};
}

// Names and renames in a folder survive a power cut.
Status sync_folder(const Path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return failed("cannot open", folder, {errno, std::generic_category()});
  const int error = ::fsync(descriptor) == 0 || errno == EINVAL ? 0 : errno;
  ::close(descriptor);
  return error == 0 ? ok_status() : failed("cannot sync", folder, {error, std::generic_category()});
}

Status remove_tree(const Path& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  return error ? failed("cannot remove", path, error) : ok_status();
}

Status make_folder(const Path& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  return error ? failed("cannot make the folder", path, error) : ok_status();
}

std::map<std::string, TensorView> views_of(const std::map<std::string, Tensor*>& tensors) {
  std::map<std::string, TensorView> views;
  for (const auto& [name, tensor] : tensors) views[name] = tensor->view();
  return views;
}

// A state whose files are all there and whole.
Result<Json> read_whole(const Path& folder) {
  ASSIGN_OR_RETURN(Json state, read_json(folder / kStateName));
  if (!state.is_object() || !state.contains("files") || !state["files"].is_array() || !state.contains("best") || !state["best"].is_array()) {
    return data_loss((folder / kStateName).string() + ": not the state of a run");
  }
  for (const char* list : {"files", "best"}) {
    for (const Json& name : state[list]) {
      if (!name.is_string()) return data_loss((folder / kStateName).string() + ": not the state of a run");
      const Path file = (list == std::string("files") ? folder : folder.parent_path()) / name.get<std::string>();
      const auto opened = Safetensors::open(file);
      if (!opened.ok()) return opened.status();
    }
  }
  return state;
}

}  // namespace

std::map<std::string, Tensor*> checkpoint_tensors(std::vector<Parameter>& parameters) {
  std::map<std::string, Tensor*> tensors;
  for (Parameter& parameter : parameters) {
    tensors[parameter.tensor + "/value"] = &parameter.value;
    for (StateTensor& state : parameter.state) tensors[parameter.tensor + "/" + state.name] = &state.tensor;
  }
  return tensors;
}

std::map<std::string, Tensor*> value_tensors(std::vector<Parameter>& parameters) {
  std::map<std::string, Tensor*> tensors;
  for (Parameter& parameter : parameters) tensors[parameter.tensor + "/value"] = &parameter.value;
  return tensors;
}

Status load_tensors(const Path& path, const std::map<std::string, Tensor*>& tensors) {
  ASSIGN_OR_RETURN(const Safetensors file, Safetensors::open(path));
  const auto bad = [&](const std::string& name, const std::string& what) { return data_loss(path.string() + ": " + name + " " + what); };
  for (const auto& [name, view] : file.tensors()) {
    if (!tensors.contains(name)) return bad(name, "belongs to no parameter of the job");
  }
  for (const auto& [name, tensor] : tensors) {
    const TensorView* view = file.find(name);
    if (view == nullptr) return bad(name, "is missing");
    if (view->dtype != tensor->dtype() || view->shape != tensor->shape()) {
      return bad(name, "is " + shape_string(view->shape) + ", the job has " + shape_string(tensor->shape()));
    }
  }
  for (const auto& [name, tensor] : tensors) std::memcpy(tensor->data(), file.find(name)->data, tensor->bytes());
  return ok_status();
}

Path Checkpoints::job_file(const Path& round_folder, size_t index) {
  return round_folder / ("job-" + std::to_string(index) + ".safetensors");
}

Path Checkpoints::best_file(const Best& best) const {
  return folder_ / (kBestPrefix + std::to_string(best.index) + "-" + std::to_string(best.step) + ".safetensors");
}

Status Checkpoints::write_best(const Best& best, const std::map<std::string, Tensor*>& values) const {
  RETURN_IF_ERROR(make_folder(folder_));
  return write_safetensors(best_file(best), views_of(values));
}

Status Checkpoints::write(int64_t round, Json state, const std::vector<Job>& jobs, const std::vector<Best>& best) {
  char name[32];
  std::snprintf(name, sizeof name, "%s%09lld", kRoundPrefix, static_cast<long long>(round));
  const Path target = folder_ / name, writing = folder_ / ".writing";
  RETURN_IF_ERROR(remove_tree(writing));
  RETURN_IF_ERROR(make_folder(writing));
  state["files"] = Json::array();
  state["best"] = Json::array();
  for (const Best& one : best) state["best"].push_back(best_file(one).filename().string());
  const auto fill = [&]() -> Status {
    for (const Job& job : jobs) {
      const Path file = job_file(writing, job.index);
      RETURN_IF_ERROR(write_safetensors(file, views_of(job.tensors)));
      state["files"].push_back(file.filename().string());
    }
    return write_file_atomic(writing / kStateName, state.dump(1) + "\n");
  };
  const Status filled = fill();
  if (!filled.ok()) {
    (void)remove_tree(writing);  // what is full stays as empty as it was
    return filled;
  }
  RETURN_IF_ERROR(remove_tree(target));  // the same round again, after a resume or at the end
  std::error_code error;
  std::filesystem::rename(writing, target, error);
  if (error) return failed("cannot rename to", target, error);
  RETURN_IF_ERROR(sync_folder(folder_));
  return prune();
}

std::vector<std::pair<int64_t, Path>> Checkpoints::rounds() const {
  std::vector<std::pair<int64_t, Path>> all;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder_, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (!name.starts_with(kRoundPrefix)) continue;
    const char* digits = name.data() + std::strlen(kRoundPrefix);
    int64_t round = 0;
    const auto parsed = std::from_chars(digits, name.data() + name.size(), round);
    if (parsed.ec == std::errc() && parsed.ptr == name.data() + name.size()) all.emplace_back(round, entry->path());
  }
  std::sort(all.rbegin(), all.rend());
  return all;
}

Result<std::optional<Checkpoints::Found>> Checkpoints::latest() const {
  std::optional<Found> found;
  std::vector<std::string> damaged;
  for (const auto& [round, folder] : rounds()) {
    auto state = read_whole(folder);
    if (state.ok()) return std::optional<Found>(Found{round, folder, std::move(*state), damaged});
    damaged.push_back(state.status().message());
  }
  if (!damaged.empty()) return data_loss("no checkpoint in " + folder_.string() + " can be read: " + damaged.front());
  return found;
}

Status Checkpoints::prune() const {
  const auto all = rounds();
  std::set<std::string> needed;
  for (size_t i = 0; i < all.size(); ++i) {
    if (i >= kKept) {
      RETURN_IF_ERROR(remove_tree(all[i].second));
      continue;
    }
    const auto state = read_json(all[i].second / kStateName);
    if (!state.ok() || !state->contains("best")) return ok_status();  // unreadable: better to keep too much
    for (const Json& name : (*state)["best"]) needed.insert(name.is_string() ? name.get<std::string>() : "");
  }
  std::error_code error;
  std::vector<Path> unneeded;
  for (std::filesystem::directory_iterator entry(folder_, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.starts_with(kBestPrefix) && !needed.contains(name)) unneeded.push_back(entry->path());
  }
  for (const Path& file : unneeded) RETURN_IF_ERROR(remove_tree(file));
  return ok_status();
}

Status Checkpoints::remove_after(int64_t round) const {
  for (const auto& [later, folder] : rounds()) {
    if (later > round) RETURN_IF_ERROR(remove_tree(folder));
  }
  return ok_status();
}

Status Checkpoints::remove_before(int64_t round) const {
  for (const auto& [earlier, folder] : rounds()) {
    if (earlier < round) RETURN_IF_ERROR(remove_tree(folder));
  }
  return prune();
}

Status Checkpoints::remove_all() const { return remove_tree(folder_); }

}  // namespace umbel::train
