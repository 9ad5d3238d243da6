#include "train/config/preflight.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <set>

#include "data/dataset_folder.h"
#include "store/peft_dir.h"

namespace umbel::train {
namespace {

// "" when the file can be read and holds something.
std::string file_trouble(const std::string& file) {
  std::error_code error;
  const auto status = std::filesystem::status(file, error);
  if (!std::filesystem::exists(status)) return "there is no file \"" + file + "\"";
  if (std::filesystem::is_directory(status)) return "\"" + file + "\" is a folder, not a file of rows";
  if (access(file.c_str(), R_OK) != 0) return "cannot read \"" + file + "\": " + std::strerror(errno);
  if (std::filesystem::is_regular_file(status) && std::filesystem::file_size(file, error) == 0) return "\"" + file + "\" is empty";
  return "";
}

// The same of a file of rows, or of a split of a folder.
std::string data_trouble(const std::string& name) {
  const auto split = data::folder_split(name);
  if (!split) return file_trouble(name);
  const auto files = data::split_files(*split);
  return files.ok() ? "" : files.status().message();
}

// "" when the folder can be written, or made inside one that can.
std::string folder_trouble(const Path& folder) {
  std::error_code error;
  Path there = std::filesystem::absolute(folder, error);
  while (!std::filesystem::exists(there, error) && there.has_relative_path()) there = there.parent_path();
  const std::string name = "the folder \"" + folder.string() + "\"";
  if (!std::filesystem::is_directory(there, error)) return "cannot make " + name + ": \"" + there.string() + "\" is a file";
  if (access(there.c_str(), W_OK | X_OK) != 0) return "cannot write " + name + ": \"" + there.string() + "\": " + std::strerror(errno);
  return "";
}

// "" when the folder holds an adapter.
std::string start_trouble(const JobPlan& plan) {
  if (plan.job.kind == TrainKind::kFull) return "a full job goes on from its base: give that folder as base";
  std::error_code error;
  if (!std::filesystem::is_directory(plan.start_from, error)) return "there is no folder \"" + plan.start_from + "\"";
  for (const char* name : {kAdapterConfigName, kAdapterTensorsName}) {
    const std::string trouble = file_trouble((Path(plan.start_from) / name).string());
    if (!trouble.empty()) return trouble;
  }
  return "";
}

std::string place_of(const JobPlan& plan) { return (plan.where.empty() ? "" : plan.where + ": ") + plan.job.name; }

}  // namespace

void check_files(const RunSpec& spec, Problems& problems) {
  std::set<std::string> seen;  // an arm's file is its sweep's
  const auto check = [&](const std::string& where, const std::string& what, const std::string& trouble) {
    if (!trouble.empty() && seen.insert(trouble).second) problems.add(where, what + ": " + trouble);
  };
  check("", "out", folder_trouble(spec.out));
  for (const JobPlan& plan : spec.jobs) {
    check(place_of(plan), "data", data_trouble(plan.data));
    if (!plan.eval_data.empty()) check(place_of(plan), "eval_data", data_trouble(plan.eval_data));
    if (!plan.start_from.empty()) check(place_of(plan), "start_from", start_trouble(plan));
    check(place_of(plan), "out", folder_trouble(plan.out));
  }
}

}  // namespace umbel::train
