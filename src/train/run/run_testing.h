// For tests of runs: a trainer whose losses are scripted and whose parameters are a function of all that came before (so that
// anything that a resume forgets shows in the files), a folder with data, and an observer that remembers.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "io/test_folder.h"
#include "train/run/run.h"

namespace umbel::train {

struct Script {
  std::function<double(const std::string& job, int64_t step)> loss = [](const std::string&, int64_t step) { return 3.0 / (1.0 + 0.1 * static_cast<double>(step)); };
  std::function<double(const std::string& job, int64_t step)> norm = [](const std::string&, int64_t) { return 1.0; };
  std::function<EvalReport(const std::string& job, int64_t step)> eval = [](const std::string&, int64_t step) {
    return EvalReport{.loss = 2.5 / (1.0 + 0.05 * static_cast<double>(step)), .tokens = 10, .exact_rows = 0.5, .same_answer = 0.1, .same_reference = 0.1};
  };
};

class ScriptedTrainer final : public Trainer {
 public:
  ScriptedTrainer(std::shared_ptr<const Model> model, Script script) : model_(std::move(model)), script_(std::move(script)) {}

  Status add_job(const JobSpec& spec, const data::Dataset& data, const std::string& base_name) override {
    ASSIGN_OR_RETURN(auto adapter, TrainableAdapter::create(spec, model_->targets(), base_name));
    const int64_t rows = static_cast<int64_t>(data.examples.size());
    const int64_t epoch = rows / std::min(spec.batch, rows);
    Job& job = jobs_.emplace_back(Job{spec, std::move(adapter), JobState(), epoch});
    job.state.name = spec.name;
    job.state.steps = epoch * spec.epochs;
    return ok_status();
  }
  size_t jobs() const override { return jobs_.size(); }
  const JobState& state(size_t index) const override { return jobs_[index].state; }
  std::vector<StepReport> step() override {
    std::vector<StepReport> reports;
    for (size_t i = 0; i < jobs_.size(); ++i) {
      Job& job = jobs_[i];
      if (!job.state.running()) continue;
      const int64_t step = ++job.state.step;
      StepReport& report = reports.emplace_back();
      report.job = job.spec.name;
      report.index = i;
      report.step = step;
      report.steps = job.state.steps;
      report.epoch = static_cast<double>(step) / static_cast<double>(job.steps_per_epoch);
      report.loss = job.state.last_loss = script_.loss(job.spec.name, step);
      report.learning_rate = job.spec.learning_rate;
      report.gradient_norm = script_.norm(job.spec.name, step);
      report.tokens = 100;
      change(job, step);
      if (std::isfinite(report.loss)) continue;
      job.state.stopped = true;
      job.state.status = failed_precondition(job.spec.name + ": loss is not a number");
    }
    return reports;
  }
  void stop(size_t index, Status status) override {
    jobs_[index].state.stopped = true;
    jobs_[index].state.status = std::move(status);
  }
  EvalReport evaluate(size_t index, const data::Dataset&) override { return script_.eval(jobs_[index].spec.name, jobs_[index].state.step); }
  EvalReport evaluate_base(size_t index, const data::Dataset&) override { return script_.eval(jobs_[index].spec.name, 0); }
  void resume(size_t index, const JobState& state) override { jobs_[index].state = state; }
  TrainableAdapter& adapter(size_t index) override { return *jobs_[index].adapter; }
  MemoryPlan plan() const override { return {.activations = size_t{3} << 20}; }

 private:
  struct Job {
    JobSpec spec;
    std::unique_ptr<TrainableAdapter> adapter;
    JobState state;
    int64_t steps_per_epoch = 1;
  };
  // Value, m and v each feed on each other.
  static void change(Job& job, int64_t step) {
    for (Parameter& p : job.adapter->parameters()) {
      Random random(mix_key({job.spec.seed, static_cast<uint64_t>(step)}));
      for (int64_t i = 0; i < p.value.elements(); ++i) {
        const float drawn = static_cast<float>(random.next_double()) - 0.5f;
        float& m = p.state.at(0).tensor.f32()[i];
        float& v = p.state.at(1).tensor.f32()[i];
        m = 0.9f * m + drawn + 0.1f * p.value.f32()[i];
        v = 0.99f * v + drawn * drawn;
        p.value.f32()[i] -= 0.01f * m / (1.0f + v);
      }
    }
  }
  std::shared_ptr<const Model> model_;
  Script script_;
  std::vector<Job> jobs_;
};

// Remembers, and may act at every step.
class Witness final : public RunObserver {
 public:
  void on_step(const StepReport& report, const RunPace& pace) override {
    steps.push_back(report);
    last_pace = pace;
    if (at_step) at_step(report);
  }
  void on_eval(const EvalEvent& event) override { evals.push_back(event); }
  void on_end(const JobOutcome& outcome) override { ends.push_back(outcome); }
  void on_note(const std::string& note) override { notes.push_back(note); }
  bool stop_requested() override { return stop_after > 0 && static_cast<int64_t>(steps.size()) >= stop_after; }

  std::function<void(const StepReport&)> at_step;
  int64_t stop_after = 0;
  std::vector<StepReport> steps;
  std::vector<EvalEvent> evals;
  std::vector<JobOutcome> ends;
  std::vector<std::string> notes;
  RunPace last_pace;
};

inline Path test_source_dir() {
  const char* dir = std::getenv("UMBEL_SOURCE_DIR");
  return dir != nullptr ? Path(dir) : Path(".");
}

// rows short prompts and completions.
inline void write_rows(const Path& file, int rows) {
  std::ofstream out(file);
  for (int i = 0; i < rows; ++i) out << Json{{"prompt", "word " + std::to_string(i) + " ->"}, {"completion", " " + std::to_string(i * 7 % 10)}}.dump() << "\n";
}

// A job on folder/rows.jsonl whose adapter goes to folder/adapters/NAME: rank-1 LoRA on q_proj, batches of 4.
inline JobPlan small_job(const Path& folder, const std::string& name, int64_t epochs = 5) {
  JobPlan plan;
  plan.job.name = name;
  plan.job.rank = 1;
  plan.job.targets = {"q_proj"};
  plan.job.batch = 4;
  plan.job.epochs = epochs;
  plan.data = (folder / "rows.jsonl").string();
  plan.out = folder / "adapters" / name;
  return plan;
}

inline RunSpec small_run(const Path& folder, std::vector<JobPlan> jobs) {
  RunSpec spec;
  spec.base = "seedling";
  spec.out = folder / "run";
  spec.jobs = std::move(jobs);
  return spec;
}

// The lines of the log without what differs from run to run: times and notes.
inline std::vector<std::string> log_lines(const Path& run_folder) {
  std::ifstream in(run_folder / "train_log.jsonl");
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) {
    auto json = parse_json(line, "log");
    EXPECT_TRUE(json.ok()) << line;
    if (!json.ok() || (*json)["event"] == "note") continue;
    json->erase("seconds");
    lines.push_back(json->dump());
  }
  return lines;
}

// Every file of every adapter, by path.
inline std::map<std::string, std::string> adapter_bytes(const Path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder / "adapters")) {
    if (entry.is_regular_file()) files[std::filesystem::relative(entry.path(), folder).string()] = read_file(entry.path()).value();
  }
  return files;
}

}  // namespace umbel::train
