// Any text as the YAML of a training run, with and without changes by flags: a RunSpec that keeps its promises, or a refusal with
// a reason. The same bytes are also tried as the value of a flag and as the text of --set.
#include <set>

#include "fuzz.h"
#include "train/config/config.h"

namespace {

using namespace umbel;

void check_spec(const train::RunSpec& spec) {
  CHECK(!spec.jobs.empty() && !spec.out.empty(), "a run has jobs and a folder");
  std::set<std::string> names;
  std::set<Path> folders;
  for (const train::JobPlan& plan : spec.jobs) {
    CHECK(names.insert(plan.job.name).second, "names are distinct");
    CHECK(folders.insert(plan.out.lexically_normal()).second, "folders are distinct");
    CHECK(plan.job.name.find('/') == std::string::npos && plan.job.name != "..", "a name is one folder");
    CHECK(check_job(plan.job).ok() && !plan.data.empty(), "a job is checked and has data");
  }
  for (const train::SweepSpec& sweep : spec.sweeps) {
    double last = 0;
    for (const double share : sweep.halve_at) {
      CHECK(share > last && share < 1, "rising shares");
      last = share;
    }
  }
}

void try_config(YamlPtr root, std::vector<train::ConfigOverride> overrides) {
  const auto spec = train::read_run_spec({.root = std::move(root), .folder = "/conf", .overrides = std::move(overrides)});
  if (!spec.ok()) return fuzz::check_refusal(spec.status());
  check_spec(*spec);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(fuzz::text_of(data, size));
  const auto root = parse_yaml(text, "run.yaml");
  if (root.ok()) {
    try_config(*root, {});
    try_config(*root, {*train::parse_override("jobs.0.rank=[4, 8]"), *train::parse_override("defaults.sweep.random=3"), *train::parse_override("lr=1e-3"),
                       *train::parse_override("out=elsewhere")});
  } else {
    fuzz::check_refusal(root.status());
  }
  const auto change = train::parse_override(text);
  if (change.ok()) {
    const auto base = parse_yaml("{out: o, defaults: {data: d}, jobs: [{name: a}, {name: b, seed: [1, 2]}]}", "run.yaml");
    try_config(*base, {*change});
  } else {
    fuzz::check_refusal(change.status());
  }
  return 0;
}
