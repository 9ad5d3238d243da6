#include "train/step/trainer.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "base/random.h"
#include "train/optim/optimizer.h"
#include "train/step/lanes.h"
#include "train/step/pass_runner.h"

namespace umbel::train {
namespace {

// The order in which a job sees its rows: shuffled anew every epoch, an incomplete last batch dropped (unless the set is
// smaller than one batch). A pure function of (seed, epoch).
class RowOrder {
 public:
  RowOrder(size_t rows, int64_t batch, uint64_t seed, bool shuffled) : rows_(rows), batch_(std::min<size_t>(batch, rows)), seed_(seed), shuffled_(shuffled) {}
  int64_t steps_per_epoch() const { return static_cast<int64_t>(rows_ / batch_); }
  // Indices of step 0, 1, ...
  std::span<const size_t> batch(int64_t step) {
    const int64_t epoch = step / steps_per_epoch();
    if (epoch != epoch_) shuffle(epoch);
    return std::span<const size_t>(order_).subspan(static_cast<size_t>(step % steps_per_epoch()) * batch_, batch_);
  }

 private:
  void shuffle(int64_t epoch) {
    epoch_ = epoch;
    order_.resize(rows_);
    std::iota(order_.begin(), order_.end(), size_t{0});
    if (!shuffled_) return;
    Random random(mix_key({seed_, 0x65706f6368ull, static_cast<uint64_t>(epoch)}));
    for (size_t i = rows_; i > 1; --i) std::swap(order_[i - 1], order_[random.next_below(i)]);
  }
  size_t rows_, batch_;
  uint64_t seed_;
  bool shuffled_;
  int64_t epoch_ = -1;
  std::vector<size_t> order_;
};

struct Job {
  JobSpec spec;
  const data::Dataset* data = nullptr;
  std::unique_ptr<TrainableAdapter> adapter;
  RowOrder order;
  Schedule schedule;
  JobState state;
};

// A pure function of the job, its step and the place in it.
uint64_t dropout_key(const Job& job, uint64_t place) {
  if (job.spec.dropout == 0) return 0;
  return mix_key({job.spec.seed, 0x64726f70ull, static_cast<uint64_t>(job.state.step), place}) | 1;
}

// What a job does in a step.
struct JobStep {
  StepReport* report;
  std::vector<PassItem> items;
};
using Step = std::vector<JobStep>;

class SharedTrainer final : public Trainer {
 public:
  SharedTrainer(std::shared_ptr<const Model> model, const Training* training, const TrainOptions& options)
      : model_(std::move(model)), training_(training), options_(options), pool_(options.threads) {}

  Status add_job(const JobSpec& spec, const data::Dataset& data, const std::string& base_name) override;
  size_t jobs() const override { return jobs_.size(); }
  const JobState& state(size_t index) const override { return jobs_[index]->state; }
  std::vector<StepReport> step() override;
  void stop(size_t index, Status status) override;
  EvalReport evaluate(size_t index, const data::Dataset& data) override { return look(index, data, Looked::kAdapter); }
  EvalReport evaluate_base(size_t index, const data::Dataset& data) override { return look(index, data, Looked::kBase); }
  void resume(size_t index, const JobState& state) override;
  TrainableAdapter& adapter(size_t index) override { return *jobs_[index]->adapter; }
  MemoryPlan plan() const override;

 private:
  EvalReport look(size_t index, const data::Dataset& data, Looked looked);
  void widen(const data::Example& example);
  PassRunner::Setup setup() const { return {*model_, *training_, options_.choice, options_.keep}; }
  // As the jobs and data so far ask for.
  Lanes lanes() const;
  PassExtent extent(int64_t rows, int threads) const;
  PassExtent whole_extent(const Lanes& lanes) const;  // of passes that all threads share
  void reserve();
  void run_jobs(PassRunner& runner, const Step& step, std::span<const size_t> jobs, const PassSums& sums);
  void update(Job& job, double loss, ThreadPool& pool, StepReport& report);

  std::shared_ptr<const Model> model_;
  const Training* training_;
  TrainOptions options_;
  ThreadPool pool_;
  SharedTensors shared_;
  std::vector<std::unique_ptr<Job>> jobs_;
  std::vector<TrainableAdapter*> adapters_;  // of jobs_
  std::vector<int64_t> step_rows_;           // of jobs_: of one step, at most
  int64_t longest_ = 1;                      // rows of any example seen so far
  double blocks_per_row_ = 0;
  // The memory of all passes: lent to whole_ or to the lanes' runners, which take turns.
  std::unique_ptr<Arena> memory_;
  PassExtent reserved_;
  Lanes reserved_lanes_;
  std::unique_ptr<PassRunner> whole_;
  std::vector<std::unique_ptr<ThreadPool>> lane_pools_;  // of one thread each
  std::vector<std::unique_ptr<PassRunner>> lane_runners_;
};

// Rows that a batch of this data has at most.
int64_t rows_of_step(const data::Dataset& data, int64_t batch) {
  std::vector<int64_t> lengths;
  for (const data::Example& example : data.examples) lengths.push_back(static_cast<int64_t>(example.tokens.size()) - 1);
  const size_t count = std::min(lengths.size(), static_cast<size_t>(batch));
  std::partial_sort(lengths.begin(), lengths.begin() + static_cast<std::ptrdiff_t>(count), lengths.end(), std::greater<>());
  return std::accumulate(lengths.begin(), lengths.begin() + static_cast<std::ptrdiff_t>(count), int64_t{0});
}

Status SharedTrainer::add_job(const JobSpec& spec, const data::Dataset& data, const std::string& base_name) {
  ASSIGN_OR_RETURN(auto adapter, TrainableAdapter::create(spec, model_->targets(), base_name, &shared_));
  if (data.examples.empty()) return invalid_argument(spec.name + ": the data set is empty");
  RowOrder order(data.units(), spec.batch, spec.seed, spec.shuffle);
  const int64_t steps = order.steps_per_epoch() * spec.epochs;
  Schedule schedule{.kind = spec.schedule, .steps = steps,
                    .warmup_steps = static_cast<int64_t>(std::ceil(spec.warmup_share * static_cast<double>(steps))),
                    .floor = spec.schedule_floor};
  step_rows_.push_back(rows_of_step(data, spec.batch));
  for (const data::Example& example : data.examples) widen(example);
  adapters_.push_back(adapter.get());
  jobs_.push_back(std::make_unique<Job>(Job{spec, &data, std::move(adapter), std::move(order), schedule, {.name = spec.name, .steps = steps}}));
  return ok_status();
}

void SharedTrainer::widen(const data::Example& example) {
  const auto rows = static_cast<int64_t>(example.tokens.size()) - 1;
  longest_ = std::max(longest_, rows);
  blocks_per_row_ = std::max(blocks_per_row_, static_cast<double>(BatchRows::blocks_of(rows)) / static_cast<double>(rows));
}

Lanes SharedTrainer::lanes() const { return plan_lanes(step_rows_, longest_, options_.pass_rows_max, pool_.threads()); }

PassExtent SharedTrainer::extent(int64_t rows, int threads) const {
  PassExtent extent{.rows = rows, .longest = longest_, .blocks_per_row = blocks_per_row_, .threads = threads};
  for (const TrainableAdapter* each : adapters_) {
    extent.rank_max = std::max<int64_t>(extent.rank_max, each->adapter().rank_max());
    extent.terms_max = std::max<int64_t>(extent.terms_max, each->adapter().cost());
    extent.head_terms |= each->adapter().linear(training_->head().projection) != nullptr;
  }
  return extent;
}

// With lanes, no more rows than all of them together have: so the memory is the same.
PassExtent SharedTrainer::whole_extent(const Lanes& lanes) const {
  const int64_t all = std::accumulate(step_rows_.begin(), step_rows_.end(), int64_t{0});
  const int64_t rows = lanes.count > 0 ? lanes.count * lanes.rows : std::min(options_.pass_rows_max, all);
  return extent(std::max(longest_, rows), pool_.threads());
}

MemoryPlan SharedTrainer::plan() const {
  const Lanes lanes = this->lanes();
  const PassBytes whole = PassRunner::bytes(setup(), whole_extent(lanes));
  MemoryPlan plan{.weights = model_->weight_bytes(), .activations = whole.activations, .scratch = whole.scratch, .kv = whole.kv};
  for (const TrainableAdapter* each : adapters_) plan.adapters += each->bytes();
  if (lanes.count == 0) return plan;
  const PassBytes one = PassRunner::bytes(setup(), extent(lanes.rows, 1));
  const auto count = static_cast<size_t>(lanes.count);
  plan.activations = std::max(plan.activations, count * one.activations);
  plan.scratch = std::max(plan.scratch, count * one.scratch);
  plan.kv += count * one.kv;
  return plan;
}

// Rebuilds the buffers when more rows, a longer row or a larger rank than ever before come along.
void SharedTrainer::reserve() {
  const Lanes lanes = this->lanes();
  const PassExtent whole = whole_extent(lanes);
  if (memory_ && whole == reserved_ && lanes == reserved_lanes_) return;
  reserved_ = whole;
  reserved_lanes_ = lanes;
  whole_.reset();
  lane_runners_.clear();
  memory_.reset();
  const size_t whole_bytes = PassRunner::bytes(setup(), whole).lent();
  const PassExtent one = extent(lanes.rows, 1);
  const size_t lane_bytes = lanes.count == 0 ? 0 : PassRunner::bytes(setup(), one).lent();
  memory_ = std::make_unique<Arena>(std::max(whole_bytes, static_cast<size_t>(lanes.count) * lane_bytes));
  whole_ = std::make_unique<PassRunner>(setup(), pool_, whole, memory_->take<std::byte>(whole_bytes));
  memory_->reset();
  for (int lane = 0; lane < lanes.count; ++lane) {
    if (lane_pools_.size() <= static_cast<size_t>(lane)) lane_pools_.push_back(std::make_unique<ThreadPool>(1));
    lane_runners_.push_back(std::make_unique<PassRunner>(setup(), *lane_pools_[lane], one, memory_->take<std::byte>(lane_bytes)));
  }
}

void SharedTrainer::update(Job& job, double loss, ThreadPool& pool, StepReport& report) {
  job.adapter->gather();
  double squares = 0;
  for (Parameter& p : job.adapter->parameters()) {
    squares += sum_of_squares(pool, {p.gradient.f32(), static_cast<size_t>(p.gradient.elements())});
  }
  const double norm = std::sqrt(squares);
  report.loss = job.state.last_loss = loss;
  report.gradient_norm = norm;
  if (!std::isfinite(loss) || !std::isfinite(norm)) {
    job.state.stopped = true;
    job.state.status = failed_precondition(job.spec.name + ": loss or gradient is not a number at step " +
                                           std::to_string(job.state.step + 1) + "; try a smaller learning rate");
    return;
  }
  OptimizerStep step{.kind = job.spec.optimizer,
                     .learning_rate = job.spec.learning_rate * schedule_factor(job.schedule, job.state.step),
                     .beta1 = job.spec.beta1, .beta2 = job.spec.beta2, .epsilon = job.spec.epsilon, .momentum = job.spec.momentum,
                     .step = job.state.step + 1,
                     .gradient_scale = job.spec.clip > 0 && norm > job.spec.clip ? job.spec.clip / (norm + 1e-6) : 1.0};
  report.learning_rate = step.learning_rate;
  for (Parameter& p : job.adapter->parameters()) {
    const auto count = static_cast<size_t>(p.value.elements());
    step.learning_rate = report.learning_rate * p.rate;
    step.weight_decay = p.decays ? job.spec.weight_decay : 0;
    optimizer_update(pool, step, {p.value.f32(), count}, {p.gradient.f32(), count}, p.state);
  }
  job.adapter->materialize(&pool);
}

// The passes of some jobs of a step, and their updates.
void SharedTrainer::run_jobs(PassRunner& runner, const Step& step, std::span<const size_t> jobs, const PassSums& sums) {
  std::vector<PassItem> items;
  for (const size_t j : jobs) items.insert(items.end(), step[j].items.begin(), step[j].items.end());
  runner.run(items, sums);
  for (const size_t j : jobs) {
    StepReport& report = *step[j].report;
    Job& job = *jobs_[report.index];
    update(job, sums.losses[report.index] * sums.weights[report.index], runner.pool(), report);
    ++job.state.step;
  }
}

std::vector<StepReport> SharedTrainer::step() {
  std::vector<double> weights(jobs_.size()), losses(jobs_.size());
  std::vector<StepReport> reports;
  reports.reserve(jobs_.size());
  Step step;
  for (size_t j = 0; j < jobs_.size(); ++j) {
    Job& job = *jobs_[j];
    if (!job.state.running()) continue;
    StepReport& report = reports.emplace_back(StepReport{.job = job.spec.name, .index = j, .step = job.state.step + 1, .steps = job.state.steps});
    JobStep& mine = step.emplace_back(JobStep{.report = &report});
    report.epoch = static_cast<double>(report.step) / static_cast<double>(job.order.steps_per_epoch());
    job.adapter->zero_gradients();
    int64_t trained = 0;
    uint64_t place = 0;
    for (const size_t index : job.order.batch(job.state.step)) {
      for (const data::Example& example : job.data->unit(index)) {
        trained += std::count(example.trained.begin() + 1, example.trained.end(), 1);
        mine.items.push_back({&example, static_cast<int32_t>(j), dropout_key(job, place++)});
        report.tokens += mine.items.back().rows();
      }
    }
    weights[j] = 1.0 / static_cast<double>(trained);
  }
  if (reports.empty()) return reports;
  reserve();
  const PassSums sums{.adapters = adapters_, .weights = weights, .losses = losses, .backward = true};
  std::vector<int64_t> rows;
  for (const StepReport& report : reports) rows.push_back(report.tokens);
  const std::vector<JobGroup> groups = deal_jobs(rows, reserved_lanes_);
  if (groups.empty()) {
    std::vector<size_t> all(step.size());
    std::iota(all.begin(), all.end(), size_t{0});
    run_jobs(*whole_, step, all, sums);
    return reports;
  }
  pool_.parallel_for(static_cast<int64_t>(groups.size()),
                     [&](int64_t task, int worker) { run_jobs(*lane_runners_[worker], step, groups[task].jobs, sums); });
  return reports;
}

void SharedTrainer::stop(size_t index, Status status) {
  jobs_[index]->state.stopped = true;
  jobs_[index]->state.status = std::move(status);
}

void SharedTrainer::resume(size_t index, const JobState& state) {
  Job& job = *jobs_[index];
  CHECK(state.steps == job.state.steps, "resumed with the same data and JobSpec");
  job.state = state;
  job.adapter->materialize();
}

// Rows whose answer (the trained tokens as predicted, or as they should be) is the most frequent one.
int64_t most_frequent(const std::map<std::vector<int32_t>, int64_t>& counts) {
  int64_t most = 0;
  for (const auto& [answer, count] : counts) most = std::max(most, count);
  return most;
}

EvalReport SharedTrainer::look(size_t index, const data::Dataset& data, Looked looked) {
  std::vector<PassItem> items;
  for (const data::Example& example : data.examples) {
    widen(example);
    items.push_back({&example, static_cast<int32_t>(index)});
  }
  reserve();
  std::vector<double> weights(jobs_.size(), 1.0), losses(jobs_.size(), 0.0);
  std::vector<int32_t> argmax;
  whole_->run(items, {.adapters = adapters_, .weights = weights, .losses = losses, .argmax = &argmax, .looked = looked});
  std::map<std::vector<int32_t>, int64_t> answers, references;
  int64_t exact = 0, hits = 0;
  auto next = argmax.begin();
  for (const data::Example& example : data.examples) {
    std::vector<int32_t> answer, reference;
    for (size_t i = 1; i < example.tokens.size(); ++i) {
      if (!example.trained[i]) continue;
      answer.push_back(*next++);
      reference.push_back(example.tokens[i]);
      hits += answer.back() == reference.back() ? 1 : 0;
    }
    exact += answer == reference;
    ++answers[std::move(answer)];
    ++references[std::move(reference)];
  }
  const auto rows = static_cast<double>(std::max<size_t>(1, data.examples.size()));
  const auto tokens = static_cast<int64_t>(argmax.size());
  return {.loss = losses[index] / static_cast<double>(std::max<int64_t>(1, tokens)), .tokens = tokens,
          .token_accuracy = static_cast<double>(hits) / static_cast<double>(std::max<int64_t>(1, tokens)),
          .exact_rows = static_cast<double>(exact) / rows, .same_answer = static_cast<double>(most_frequent(answers)) / rows,
          .same_reference = static_cast<double>(most_frequent(references)) / rows, .rows = static_cast<int64_t>(data.examples.size())};
}

}  // namespace

void run_all(Trainer& trainer, const std::function<void(const StepReport&)>& progress) {
  for (auto reports = trainer.step(); !reports.empty(); reports = trainer.step()) {
    for (const StepReport& report : reports) {
      if (progress) progress(report);
    }
  }
}

Result<std::unique_ptr<Trainer>> Trainer::create(std::shared_ptr<const Model> model, const TrainOptions& options) {
  ASSIGN_OR_RETURN(const Training* training, model->training());
  return std::unique_ptr<Trainer>(std::make_unique<SharedTrainer>(std::move(model), training, options));
}

}  // namespace umbel::train
