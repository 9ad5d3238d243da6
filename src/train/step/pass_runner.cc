#include "train/step/pass_runner.h"

#include <algorithm>
#include <cmath>

#include "train/step/loss.h"

namespace umbel::train {
namespace {

KvShape one_layer(const Model& model) {
  KvShape shape = model.kv_shape();
  shape.layers = 1;
  return shape;
}

int32_t kv_blocks(const PassExtent& extent) {
  return static_cast<int32_t>(std::ceil(extent.blocks_per_row * static_cast<double>(extent.rows)));
}

}  // namespace

PassBytes PassRunner::bytes(const Setup& setup, const PassExtent& extent) {
  const BackwardShape shape{.rows = extent.rows, .span_rows_max = extent.longest, .rank_max = extent.rank_max,
                            .terms_max = extent.terms_max, .threads = extent.threads};
  const auto stream = static_cast<size_t>(extent.rows * setup.model.config().hidden_size);
  return {.activations = sizeof(float) * (setup.training.saved_floats(extent.rows, setup.keep) + 2 * stream),
          .scratch = std::max(setup.training.scratch_bytes(shape), loss_scratch_bytes(setup.model, setup.training.head(), shape, extent.head_terms)),
          .kv = static_cast<size_t>(kv_blocks(extent)) * one_layer(setup.model).block_bytes()};
}

PassRunner::PassRunner(const Setup& setup, ThreadPool& pool, const PassExtent& extent, std::span<std::byte> memory)
    : setup_(setup),
      pool_(pool),
      rows_max_(extent.rows),
      memory_(memory),
      saved_(memory_.take<float>(setup.training.saved_floats(extent.rows, setup.keep))),
      x_(memory_.take<float>(static_cast<size_t>(extent.rows * setup.model.config().hidden_size))),
      dx_(memory_.take<float>(static_cast<size_t>(extent.rows * setup.model.config().hidden_size))),
      scratch_(memory_.take<std::byte>(bytes(setup, extent).scratch)),
      kv_(one_layer(setup.model), kv_blocks(extent)) {}

void PassRunner::fill_gradients(const PassSums& sums) {
  const int32_t targets = setup_.model.targets().size();
  gradients_.resize(targets);
  gradient_spans_.assign(targets, {});
  if (sums.looked == Looked::kBase) return;
  for (int32_t target = 0; target < targets; ++target) {
    gradients_[target].clear();
    bool any = false;
    for (const int32_t job : batch_.segment_jobs()) {
      gradients_[target].push_back(sums.adapters[job]->gradients(target));
      any |= gradients_[target].back().any();
    }
    if (any) gradient_spans_[target] = gradients_[target];
  }
}

void PassRunner::run_pass(const PassSums& sums) {
  batch_.finish();
  scratch_.reset();
  kernels::Context context{kernels::table_for(setup_.choice.isa), setup_.choice, pool_, scratch_};
  fill_gradients(sums);
  const Rows rows = batch_.rows();
  const int64_t count = batch_.count(), hidden = setup_.model.config().hidden_size;
  const MatrixF x(x_.data(), count, hidden);
  const MatrixF dx(sums.backward ? dx_.data() : nullptr, count, hidden);
  const TrainPass pass{.rows = rows, .kv = kv_, .saved = saved_.first(setup_.training.saved_floats(count, setup_.keep)),
                       .gradients = gradient_spans_, .keep = setup_.keep};
  setup_.training.forward_saving(context, pass, x);
  std::vector<int32_t> argmax(sums.argmax != nullptr ? batch_.loss_rows().size() : 0);
  const LossCall call{.model = setup_.model, .head = setup_.training.head(), .batch = batch_, .weight_of_job = sums.weights,
                      .gradients = gradient_spans_, .argmax = argmax};
  cross_entropy_loss(context, call, x, dx, sums.losses);
  if (sums.argmax != nullptr) sums.argmax->insert(sums.argmax->end(), argmax.begin(), argmax.end());
  if (sums.backward) setup_.training.backward(context, pass, dx);
}

void PassRunner::run(std::span<const PassItem> items, const PassSums& sums) {
  batch_.clear();
  for (const PassItem& item : items) {
    if (batch_.count() > 0 && batch_.count() + item.rows() > rows_max_) {
      run_pass(sums);
      batch_.clear();
    }
    const Adapter* adapter = sums.looked == Looked::kBase ? nullptr : &sums.adapters[item.job]->adapter();
    batch_.append(*item.example, item.job, adapter, item.dropout_key);
  }
  if (batch_.count() > 0) run_pass(sums);
}

}  // namespace umbel::train
