// Configuration of a training run: YAML, or flags, or both, as a RunSpec. Nothing is opened but the file itself.
//
//   base: seedling                 # keys of the run
//   out: runs/first
//   defaults: {epochs: 3}          # keys of a job, for all jobs
//   jobs:
//     - {name: a, data: a.jsonl, rank: 8}
//     - {name: b, data: b.jsonl, kind: flora, learning_rate: [1e-2, 3e-2]}   # a sweep of two arms
//
// Without "jobs" the keys of the one job stand at the top level. config_key.h has the keys. Keys that begin with "x-" at the
// top level are free for anchors.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "io/yaml.h"
#include "train/job/run_spec.h"

namespace umbel::train {

// A key set from outside the file, over what the file says. path: "[jobs.N.|jobs.NAME.|defaults.][sweep.]KEY"; a key of a job
// alone counts for every job. value->where names the flag.
struct ConfigOverride {
  std::string path;
  YamlPtr value;
};

struct ConfigInput {
  YamlPtr root;  // a map, or kNull: no file
  Path folder;   // where relative paths of the file start
  std::vector<ConfigOverride> overrides;
};

// "jobs.0.rank=4" of a flag --set. kInvalidArgument without "=" or without a key.
Result<ConfigOverride> parse_override(const std::string& text);

// All problems at once (problems.h), each with file, line and key: unknown keys with the nearest known one, wrong types, values
// out of range, jobs without data, doubled names and folders, sweeps with too many arms.
Result<RunSpec> read_run_spec(const ConfigInput& input);
Result<RunSpec> read_run_spec(const Path& file, std::vector<ConfigOverride> overrides);

}  // namespace umbel::train
