#include "train/trainer.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "base/random.h"
#include "train/batch_rows.h"
#include "train/loss.h"
#include "train/optimizer.h"

namespace umbel {
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
  const Dataset* data = nullptr;
  std::unique_ptr<TrainableAdapter> adapter;
  RowOrder order;
  Schedule schedule;
  JobState state;
};

// A pass's worth of work: example, and whose it is.
struct Item {
  const Example* example;
  int32_t job;
  uint64_t dropout_key = 0;  // of its place in the job's step; 0 = nothing is dropped
};

// A pure function of the job, its step and the place in it.
uint64_t dropout_key(const Job& job, uint64_t place) {
  if (job.spec.dropout == 0) return 0;
  return mix_key({job.spec.seed, 0x64726f70ull, static_cast<uint64_t>(job.state.step), place}) | 1;
}

// What the passes of one step or evaluation share.
struct Sums {
  std::span<const double> weights;        // by job: see LossCall
  std::span<double> losses;               // by job, +=
  std::vector<int32_t>* argmax = nullptr; // of every trained row, appended; null = not wanted
  bool backward = false;
};

class SharedTrainer final : public Trainer {
 public:
  SharedTrainer(std::shared_ptr<const Model> model, const Training* training, const TrainOptions& options)
      : model_(std::move(model)), training_(training), options_(options), pool_(options.threads) {}

  Status add_job(const JobSpec& spec, const Dataset& data, const std::string& base_name) override;
  size_t jobs() const override { return jobs_.size(); }
  const JobState& state(size_t index) const override { return jobs_[index]->state; }
  std::vector<StepReport> step() override;
  void stop(size_t index, Status status) override;
  EvalReport evaluate(size_t index, const Dataset& data) override;
  void resume(size_t index, const JobState& state) override;
  TrainableAdapter& adapter(size_t index) override { return *jobs_[index]->adapter; }
  MemoryPlan plan() const override;

 private:
  // The largest pass that any data seen so far can make.
  struct Extent {
    int64_t rows = 0;
    int64_t longest = 1;
    double blocks_per_row = 0;  // KV blocks of a pass, at most

    bool within(const Extent& other) const {
      return rows <= other.rows && longest <= other.longest && blocks_per_row <= other.blocks_per_row;
    }
  };
  void widen(Extent& extent, const Example& example) const;
  BackwardShape shape() const;
  void reserve();
  void run_items(std::span<const Item> items, const Sums& sums);
  void run_pass(const Sums& sums);
  void fill_gradients();
  void update(Job& job, double loss, StepReport& report);

  std::shared_ptr<const Model> model_;
  const Training* training_;
  TrainOptions options_;
  ThreadPool pool_;
  SharedTensors shared_;
  std::vector<std::unique_ptr<Job>> jobs_;
  BatchRows batch_;
  int64_t step_rows_ = 0;  // of all jobs' next batches together, at most
  Extent extent_, reserved_;
  std::unique_ptr<Arena> scratch_;
  std::unique_ptr<KvCache> kv_;
  Tensor saved_, x_, dx_;  // (activations; residual stream and its gradient)
  std::vector<std::vector<LinearGrads>> gradients_;            // [target][segment]
  std::vector<std::span<const LinearGrads>> gradient_spans_;
};

// Rows that a batch of this data has at most.
int64_t rows_of_step(const Dataset& data, int64_t batch) {
  std::vector<int64_t> lengths;
  for (const Example& example : data.examples) lengths.push_back(static_cast<int64_t>(example.tokens.size()) - 1);
  const size_t count = std::min(lengths.size(), static_cast<size_t>(batch));
  std::partial_sort(lengths.begin(), lengths.begin() + static_cast<std::ptrdiff_t>(count), lengths.end(), std::greater<>());
  return std::accumulate(lengths.begin(), lengths.begin() + static_cast<std::ptrdiff_t>(count), int64_t{0});
}

Status SharedTrainer::add_job(const JobSpec& spec, const Dataset& data, const std::string& base_name) {
  ASSIGN_OR_RETURN(auto adapter, TrainableAdapter::create(spec, model_->targets(), base_name, &shared_));
  if (data.examples.empty()) return invalid_argument(spec.name + ": the data set is empty");
  RowOrder order(data.units(), spec.batch, spec.seed, spec.shuffle);
  const int64_t steps = order.steps_per_epoch() * spec.epochs;
  Schedule schedule{.kind = spec.schedule, .steps = steps,
                    .warmup_steps = static_cast<int64_t>(std::ceil(spec.warmup_share * static_cast<double>(steps))),
                    .floor = spec.schedule_floor};
  step_rows_ += rows_of_step(data, spec.batch);
  for (const Example& example : data.examples) widen(extent_, example);
  jobs_.push_back(std::make_unique<Job>(Job{spec, &data, std::move(adapter), std::move(order), schedule, {.name = spec.name, .steps = steps}}));
  return ok_status();
}

void SharedTrainer::widen(Extent& extent, const Example& example) const {
  const auto rows = static_cast<int64_t>(example.tokens.size()) - 1;
  extent.longest = std::max(extent.longest, rows);
  extent.rows = std::max(extent.longest, std::min(options_.pass_rows_max, step_rows_));
  extent.blocks_per_row = std::max(extent.blocks_per_row, static_cast<double>(BatchRows::blocks_of(rows)) / static_cast<double>(rows));
}

BackwardShape SharedTrainer::shape() const {
  BackwardShape shape{.rows = extent_.rows, .span_rows_max = extent_.longest, .threads = pool_.threads()};
  for (const auto& job : jobs_) {
    shape.rank_max = std::max<int64_t>(shape.rank_max, job->adapter->adapter().rank_max());
    shape.terms_max = std::max<int64_t>(shape.terms_max, job->adapter->adapter().cost());
  }
  return shape;
}

MemoryPlan SharedTrainer::plan() const {
  const BackwardShape shape = this->shape();
  KvShape kv = model_->kv_shape();
  kv.layers = 1;
  MemoryPlan plan{.weights = model_->weight_bytes()};
  for (const auto& job : jobs_) plan.adapters += job->adapter->bytes();
  plan.activations = sizeof(float) * (training_->saved_floats(shape.rows, options_.keep) + 2 * static_cast<size_t>(shape.rows * model_->config().hidden_size));
  const bool head_terms = std::any_of(jobs_.begin(), jobs_.end(), [&](const auto& job) {
    return job->adapter->adapter().linear(training_->head().projection) != nullptr;
  });
  plan.scratch = std::max(training_->scratch_bytes(shape), loss_scratch_bytes(*model_, training_->head(), shape, head_terms));
  plan.kv = static_cast<size_t>(std::ceil(extent_.blocks_per_row * static_cast<double>(shape.rows))) * kv.block_bytes();
  return plan;
}

// Rebuilds the buffers when more rows, a longer row or a larger rank than ever before come along.
void SharedTrainer::reserve() {
  if (scratch_ && extent_.within(reserved_)) return;
  reserved_ = extent_;
  const MemoryPlan plan = this->plan();
  KvShape kv = model_->kv_shape();
  kv.layers = 1;
  scratch_.reset();
  kv_.reset();
  for (Tensor* tensor : {&saved_, &x_, &dx_}) *tensor = Tensor();
  scratch_ = std::make_unique<Arena>(plan.scratch);
  kv_ = std::make_unique<KvCache>(kv, static_cast<int32_t>(plan.kv / kv.block_bytes()));
  saved_ = Tensor(DType::kF32, {static_cast<int64_t>(training_->saved_floats(extent_.rows, options_.keep))});
  x_ = Tensor(DType::kF32, {extent_.rows, model_->config().hidden_size});
  dx_ = Tensor(DType::kF32, {extent_.rows, model_->config().hidden_size});
}

void SharedTrainer::fill_gradients() {
  const int32_t targets = model_->targets().size();
  gradients_.resize(targets);
  gradient_spans_.assign(targets, {});
  const auto& segment_jobs = batch_.segment_jobs();
  for (int32_t target = 0; target < targets; ++target) {
    gradients_[target].clear();
    bool any = false;
    for (const int32_t job : segment_jobs) {
      gradients_[target].push_back(jobs_[job]->adapter->gradients(target));
      any |= gradients_[target].back().any();
    }
    if (any) gradient_spans_[target] = gradients_[target];
  }
}

void SharedTrainer::run_pass(const Sums& sums) {
  batch_.finish();
  scratch_->reset();
  kernels::Context context{kernels::table_for(options_.choice.isa), options_.choice, pool_, *scratch_};
  fill_gradients();
  const Rows rows = batch_.rows();
  const int64_t count = batch_.count(), hidden = model_->config().hidden_size;
  const MatrixF x(x_.f32(), count, hidden);
  const MatrixF dx(sums.backward ? dx_.f32() : nullptr, count, hidden);
  const TrainPass pass{.rows = rows, .kv = *kv_, .saved = {saved_.f32(), training_->saved_floats(count, options_.keep)},
                       .gradients = gradient_spans_, .keep = options_.keep};
  training_->forward_saving(context, pass, x);
  std::vector<int32_t> argmax(sums.argmax != nullptr ? batch_.loss_rows().size() : 0);
  const LossCall call{.model = *model_, .head = training_->head(), .batch = batch_, .weight_of_job = sums.weights,
                      .gradients = gradient_spans_, .argmax = argmax};
  cross_entropy_loss(context, call, x, dx, sums.losses);
  if (sums.argmax != nullptr) sums.argmax->insert(sums.argmax->end(), argmax.begin(), argmax.end());
  if (sums.backward) training_->backward(context, pass, dx);
}

void SharedTrainer::run_items(std::span<const Item> items, const Sums& sums) {
  for (const Item& item : items) widen(extent_, *item.example);
  reserve();
  batch_.clear();
  for (const Item& item : items) {
    const auto rows = static_cast<int64_t>(item.example->tokens.size()) - 1;
    if (batch_.count() > 0 && batch_.count() + rows > reserved_.rows) {
      run_pass(sums);
      batch_.clear();
    }
    batch_.append(*item.example, item.job, &jobs_[item.job]->adapter->adapter(), item.dropout_key);
  }
  if (batch_.count() > 0) run_pass(sums);
}

void SharedTrainer::update(Job& job, double loss, StepReport& report) {
  job.adapter->gather();
  double squares = 0;
  for (Parameter& p : job.adapter->parameters()) {
    squares += sum_of_squares(pool_, {p.gradient.f32(), static_cast<size_t>(p.gradient.elements())});
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
    optimizer_update(pool_, step, {p.value.f32(), count}, {p.gradient.f32(), count}, p.state);
  }
  job.adapter->materialize(&pool_);
}

std::vector<StepReport> SharedTrainer::step() {
  std::vector<Item> items;
  std::vector<double> weights(jobs_.size()), losses(jobs_.size());
  std::vector<StepReport> reports;
  for (size_t j = 0; j < jobs_.size(); ++j) {
    Job& job = *jobs_[j];
    if (!job.state.running()) continue;
    StepReport& report = reports.emplace_back(StepReport{.job = job.spec.name, .index = j, .step = job.state.step + 1, .steps = job.state.steps});
    report.epoch = static_cast<double>(report.step) / static_cast<double>(job.order.steps_per_epoch());
    job.adapter->zero_gradients();
    int64_t trained = 0;
    uint64_t place = 0;
    for (const size_t index : job.order.batch(job.state.step)) {
      for (const Example& example : job.data->unit(index)) {
        trained += std::count(example.trained.begin() + 1, example.trained.end(), 1);
        report.tokens += static_cast<int64_t>(example.tokens.size()) - 1;
        items.push_back({&example, static_cast<int32_t>(j), dropout_key(job, place++)});
      }
    }
    weights[j] = 1.0 / static_cast<double>(trained);
  }
  run_items(items, {.weights = weights, .losses = losses, .backward = true});
  for (StepReport& report : reports) {
    Job& job = *jobs_[report.index];
    update(job, losses[report.index] * weights[report.index], report);
    ++job.state.step;
  }
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

EvalReport SharedTrainer::evaluate(size_t index, const Dataset& data) {
  std::vector<Item> items;
  for (const Example& example : data.examples) items.push_back({&example, static_cast<int32_t>(index)});
  std::vector<double> weights(jobs_.size(), 1.0), losses(jobs_.size(), 0.0);
  std::vector<int32_t> argmax;
  run_items(items, {.weights = weights, .losses = losses, .argmax = &argmax});
  std::map<std::vector<int32_t>, int64_t> answers, references;
  int64_t exact = 0;
  auto next = argmax.begin();
  for (const Example& example : data.examples) {
    std::vector<int32_t> answer, reference;
    for (size_t i = 1; i < example.tokens.size(); ++i) {
      if (!example.trained[i]) continue;
      answer.push_back(*next++);
      reference.push_back(example.tokens[i]);
    }
    exact += answer == reference;
    ++answers[std::move(answer)];
    ++references[std::move(reference)];
  }
  const auto rows = static_cast<double>(std::max<size_t>(1, data.examples.size()));
  const auto tokens = static_cast<int64_t>(argmax.size());
  return {.loss = losses[index] / static_cast<double>(std::max<int64_t>(1, tokens)), .tokens = tokens,
          .exact_rows = static_cast<double>(exact) / rows, .same_answer = static_cast<double>(most_frequent(answers)) / rows,
          .same_reference = static_cast<double>(most_frequent(references)) / rows};
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

}  // namespace umbel
