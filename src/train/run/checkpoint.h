// Checkpoints of a run: folders that appear whole or not at all, the last two kept.
//
//   FOLDER/round-000000120/state.json        where everything stands (train/run_state.h)
//   FOLDER/round-000000120/job-3.safetensors the tensors of job 3: "PARAMETER/value" and the optimizer's "/m", "/v", ...
//   FOLDER/best-3-100.safetensors            the values of job 3 at its best evaluation, step 100
// A round folder is filled as FOLDER/.writing, every file synced, and renamed. A best file is in place before any state that
// names it, and stays as long as one of the kept states does.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "io/json.h"
#include "tensor/tensor.h"
#include "train/kinds/trainable.h"

namespace umbel::train {

// What a checkpoint keeps of a parameter, by name: its value and the state of its optimizer (never the gradient). A new kind of
// optimizer state is one more line here.
std::map<std::string, Tensor*> checkpoint_tensors(std::vector<Parameter>& parameters);
// The values only.
std::map<std::string, Tensor*> value_tensors(std::vector<Parameter>& parameters);

// Fills the tensors from a file that holds exactly these names, types and shapes; kDataLoss names what differs.
Status load_tensors(const Path& file, const std::map<std::string, Tensor*>& tensors);

// One thread.
class Checkpoints {
 public:
  explicit Checkpoints(Path folder) : folder_(std::move(folder)) {}

  struct Job {
    size_t index = 0;
    std::map<std::string, Tensor*> tensors;
  };
  struct Best {
    size_t index = 0;
    int64_t step = 0;
  };
  // Writes state (an object; "files" and "best" are added) and the jobs' tensors, then removes what the last two checkpoints
  // don't need. A failure leaves the earlier checkpoints as they are.
  Status write(int64_t round, Json state, const std::vector<Job>& jobs, const std::vector<Best>& best);

  struct Found {
    int64_t round = 0;
    Path folder;
    Json state;
    std::vector<std::string> damaged;  // later checkpoints that can't be read, and why
  };
  // The last one that is whole; nothing when there is none. A folder that holds only damaged ones is kDataLoss.
  Result<std::optional<Found>> latest() const;
  static Path job_file(const Path& round_folder, size_t index);

  Status write_best(const Best& best, const std::map<std::string, Tensor*>& values) const;
  Path best_file(const Best& best) const;

  // Removes checkpoints after round (damaged ones, before a resumed run comes there again).
  Status remove_after(int64_t round) const;
  Status remove_before(int64_t round) const;
  Status remove_all() const;

 private:
  std::vector<std::pair<int64_t, Path>> rounds() const;  // latest first
  Status prune() const;
  Path folder_;
};

}  // namespace umbel::train
