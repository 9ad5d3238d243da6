// Full training: an adapter that replaces every module whole. The forward reads packed weights, gains, biases and a table of the job's
// own; masters are f32. Nothing of the base is computed with, so a full job trains beside adapters of the same base.
#include <algorithm>
#include <cmath>
#include <optional>

#include "io/safetensors.h"
#include "train/kinds/trainable_build.h"

namespace umbel::train {
namespace {

constexpr int64_t kTaskValues = 1 << 16;

// A linear layer's or head's weight in the base's packed form, made anew from its master.
class PackedWeight final : public Derived {
 public:
  PackedWeight(Master master, const kernels::FrozenMatrix& base) : master_(master), matrix_(base.clone()) {}
  const kernels::FrozenMatrix& matrix() const { return matrix_; }

  void materialize(ThreadPool* pool) override {
    matrix_.repack({DType::kF32, {matrix_.out(), matrix_.in()}, master_.value}, pool);
  }
  void zero_gradients() override {}
  void gather() override {}
  size_t bytes() const override { return matrix_.bytes(); }

 private:
  Master master_;
  kernels::FrozenMatrix matrix_;
};

// An embedding: its master as the 16-bit types hold it (a base in f32 reads the master itself). Tied to a head, it has a gradient apart
// from the head's, added at the end of a step: so the order of that sum does not depend on where passes end.
class Table final : public Derived {
 public:
  Table(Master master, const Shape& shape, DType stored, bool tied) : master_(master), count_(element_count(shape)), stored_(stored) {
    if (stored != DType::kF32) rounded_ = Tensor(DType::kF32, shape);
    if (tied) gradient_ = Tensor(DType::kF32, shape);
  }
  const float* rows() const { return rounded_.empty() ? master_.value : rounded_.f32(); }
  float* gradient() { return gradient_.empty() ? master_.gradient : gradient_.f32(); }

  void materialize(ThreadPool* pool) override {
    if (rounded_.empty()) return;
    const auto round = [&](int64_t task, int) {
      uint16_t narrow[1024];
      const int64_t end = std::min(count_, (task + 1) * kTaskValues);
      for (int64_t i = task * kTaskValues; i < end; i += 1024) {
        const auto count = static_cast<size_t>(std::min<int64_t>(1024, end - i));
        narrow_from_f32(master_.value + i, stored_, narrow, count);
        widen_to_f32(stored_, narrow, rounded_.f32() + i, count);
      }
    };
    const int64_t tasks = (count_ + kTaskValues - 1) / kTaskValues;
    if (pool != nullptr) {
      pool->parallel_for(tasks, round);
    } else {
      for (int64_t task = 0; task < tasks; ++task) round(task, 0);
    }
  }
  void zero_gradients() override {
    if (!gradient_.empty()) std::fill_n(gradient_.f32(), count_, 0.0f);
  }
  void gather() override {
    for (int64_t i = 0; !gradient_.empty() && i < count_; ++i) master_.gradient[i] += gradient_.f32()[i];
  }
  size_t bytes() const override { return rounded_.bytes() + gradient_.bytes(); }

 private:
  Master master_;
  int64_t count_;
  DType stored_;
  Tensor rounded_, gradient_;
};

// A norm's gain that the checkpoint holds less its offset.
class OffsetGain final : public Derived {
 public:
  OffsetGain(Master master, float* values, const Target& target) : master_(master), values_(values), count_(target.out), offset_(target.gain_offset) {}
  const float* values() const { return values_; }

  void materialize(ThreadPool*) override {
    for (int64_t i = 0; i < count_; ++i) values_[i] = master_.value[i] + offset_;
  }
  void zero_gradients() override {}
  void gather() override {}
  size_t bytes() const override { return 0; }

 private:
  Master master_;
  float* values_;
  int64_t count_;
  float offset_;
};

class FullBuild {
 public:
  explicit FullBuild(TrainableBuild& build) : build_(build) {}

  Status run() {
    const FullSpec& full = build_.spec().full;
    if (!full.base_dir.empty() && full.init == FullInit::kBase) {
      ASSIGN_OR_RETURN(files_, Safetensors::open_model(full.base_dir));
    }
    const auto& targets = build_.targets().targets();
    for (int32_t index = 0; index < build_.targets().size(); ++index) {
      const Target& target = targets[index];
      if (target.weight != nullptr && target.weight->quantisation() != kernels::Quantisation::kNone) {
        return failed_precondition(build_.spec().name + ": full training needs a base that is not quantised; load it as f32 or bf16");
      }
      if (target.kind == TargetKind::kEmbedding) RETURN_IF_ERROR(add_embedding(index));
      if (target.kind == TargetKind::kLinear || (target.kind == TargetKind::kHead && !target.tied)) RETURN_IF_ERROR(add_linear(index));
      if (target.kind == TargetKind::kNorm) RETURN_IF_ERROR(add_norm(index));
      if (target.kind == TargetKind::kPosition) RETURN_IF_ERROR(add_positions(index));
    }
    return ok_status();
  }

 private:
  Status add_embedding(int32_t index) {
    const Target& target = build_.target(index);
    const Master master = build_.add_parameter(index, ".weight", {.rows = target.in, .cols = target.out, .plain_name = true});
    RETURN_IF_ERROR(start(index, ".weight", target.in, target.out, master.value));
    const DType stored = target.weight != nullptr ? target.weight->dtype() : target.table.dtype;
    auto table = std::make_unique<Table>(master, Shape{target.in, target.out}, stored, target.tied);
    build_.add_whole_table(index, table->rows(), table->gradient());
    build_.add_derived(std::move(table));
    if (!target.tied) return ok_status();
    const int32_t head = tied_head();
    add_packed(head, master, *target.weight);
    if (build_.target(head).vector == nullptr) return ok_status();
    ASSIGN_OR_RETURN(const Master bias, add_vector(head, ".bias", build_.target(head).vector, 0.0f));
    build_.add_bias(head, bias.value, bias.gradient);
    return ok_status();
  }

  Status add_positions(int32_t index) {
    const Target& target = build_.target(index);
    const Master master = build_.add_parameter(index, ".weight", {.rows = target.in, .cols = target.out, .plain_name = true});
    RETURN_IF_ERROR(start(index, ".weight", target.in, target.out, master.value));
    auto table = std::make_unique<Table>(master, Shape{target.in, target.out}, target.table.dtype, false);
    build_.add_whole_positions(index, table->rows(), table->gradient());
    build_.add_derived(std::move(table));
    return ok_status();
  }

  Status add_linear(int32_t index) {
    const Target& target = build_.target(index);
    const Master master =
        build_.add_parameter(index, ".weight", {.rows = target.out, .cols = target.in, .transposed = target.turned, .plain_name = true});
    RETURN_IF_ERROR(start(index, ".weight", target.out, target.in, master.value));
    add_packed(index, master, *target.weight);
    if (target.vector == nullptr) return ok_status();
    ASSIGN_OR_RETURN(const Master bias, add_vector(index, ".bias", target.vector, 0.0f));
    build_.add_bias(index, bias.value, bias.gradient);
    return ok_status();
  }

  // The master of a gain is what the checkpoint holds: gain - offset.
  Status add_norm(int32_t index) {
    const Target& target = build_.target(index);
    ASSIGN_OR_RETURN(const Master gain, add_vector(index, ".weight", target.vector, 1.0f - target.gain_offset));
    if (target.gain_offset == 0) {
      build_.add_whole_gain(index, gain.value, gain.gradient);
    } else {
      auto offset = std::make_unique<OffsetGain>(gain, build_.add_buffer(target.out), target);
      build_.add_whole_gain(index, offset->values(), gain.gradient);
      build_.add_derived(std::move(offset));
    }
    if (target.norm_bias == nullptr) return ok_status();
    ASSIGN_OR_RETURN(const Master bias, add_vector(index, ".bias", target.norm_bias, 0.0f));
    build_.add_whole_norm_bias(index, bias.value, bias.gradient);
    return ok_status();
  }

  // Gains and biases start at `fresh` where nothing is given.
  Result<Master> add_vector(int32_t index, const char* suffix, const float* base, float fresh) {
    const Target& target = build_.target(index);
    const Master master = build_.add_parameter(
        index, suffix, {.cols = target.out, .flat = true, .decays = build_.spec().full.decay_vectors, .plain_name = true});
    if (build_.spec().full.init == FullInit::kRandom) {
      std::fill_n(master.value, target.out, fresh);
      return master;
    }
    const float offset = base == target.vector ? target.gain_offset : 0.0f;
    for (int64_t i = 0; i < target.out; ++i) master.value[i] = base[i] - offset;
    RETURN_IF_ERROR(read(target.path + suffix, target.out, master.value));
    return master;
  }

  void add_packed(int32_t index, Master master, const kernels::FrozenMatrix& base) {
    auto packed = std::make_unique<PackedWeight>(master, base);
    build_.add_whole_weight(index, &packed->matrix(), master.gradient);
    build_.add_derived(std::move(packed));
  }

  int32_t tied_head() const {
    const auto& targets = build_.targets().targets();
    const auto found = std::find_if(targets.begin(), targets.end(), [](const Target& t) { return t.kind == TargetKind::kHead && t.tied; });
    CHECK(found != targets.end(), "a tied embedding has a head");
    return static_cast<int32_t>(found - targets.begin());
  }

  // A matrix's first values: drawn, or the checkpoint's own (which may be finer than what the base holds), or the base's.
  Status start(int32_t index, const char* suffix, int64_t rows, int64_t cols, float* values) {
    const FullSpec& full = build_.spec().full;
    if (full.init == FullInit::kRandom) {
      Random random = build_.random(index);
      for (int64_t i = 0; i < rows * cols; ++i) values[i] = static_cast<float>(full.random_std * random.next_normal());
      return ok_status();
    }
    const Target& target = build_.target(index);
    if (files_ && target.turned) {
      std::vector<float> stored(static_cast<size_t>(rows * cols));
      RETURN_IF_ERROR(read(target.path + suffix, rows * cols, stored.data()));
      for (int64_t i = 0; i < rows * cols; ++i) values[i] = stored[(i % cols) * rows + i / cols];
      return ok_status();
    }
    if (files_) return read(target.path + suffix, rows * cols, values);
    for (int64_t row = 0; row < rows; ++row) read_weight_row(target, row, values + row * cols);
    return ok_status();
  }

  // The base's files may lack its own prefix, and call the head by its older name.
  const TensorView* stored(const std::string& name) const {
    const std::string& prefix = build_.targets().prefix();
    const TensorView* view = files_->find(name);
    if (view == nullptr && !prefix.empty() && name.starts_with(prefix)) view = files_->find(name.substr(prefix.size()));
    if (view == nullptr && name.starts_with("lm_head.")) view = files_->find("embed_out." + name.substr(8));
    return view;
  }

  Status read(const std::string& name, int64_t count, float* values) const {
    if (!files_) return ok_status();
    const TensorView* view = stored(name);
    if (view == nullptr || view->elements() != count) {
      return failed_precondition(build_.spec().name + ": " + name + " of the base's folder is not the one that was loaded; has it changed?");
    }
    widen_to_f32(view->dtype, view->data, values, static_cast<size_t>(count));
    return ok_status();
  }

  TrainableBuild& build_;
  std::optional<Safetensors> files_;
};

}  // namespace

Status train_full(TrainableBuild& build) { return FullBuild(build).run(); }

}  // namespace umbel::train
