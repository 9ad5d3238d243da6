// What the tests of this room share: a small base made by hand, adapter files made by hand, and apply_linear on a fresh
// context. Included by *_test.cc only.
#pragma once

#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "adapters/apply.h"
#include "adapters/registry.h"
#include "adapters/tensor_names.h"
#include "adapters/test_config.h"
#include "base/random.h"

namespace umbel::testing {

inline Tensor random_tensor(Random& random, Shape shape, float spread = 0.5f, float center = 0.0f) {
  Tensor tensor(DType::kF32, std::move(shape));
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    tensor.f32()[i] = center + spread * static_cast<float>(random.next_normal());
  }
  return tensor;
}

struct BaseOptions {
  int64_t hidden = 24;
  int64_t kv = 12;
  int64_t ffn = 40;
  int64_t vocab = 30;
  int32_t layers = 2;
  bool bias = false;  // on q, k, v
  bool tied = false;
  DType stored = DType::kF32;
  kernels::Choice choice;
};

// A base of Llama's shape with random weights: q, k, v, o, gate, up, down, norms, embedding, head.
class SmallBase {
 public:
  explicit SmallBase(const BaseOptions& options = {}) : options_(options), random_(mix_key({17, 4})) {
    const std::string model = "model.";
    add_vocabulary();
    for (int32_t layer = 0; layer < options.layers; ++layer) {
      const std::string path = model + "layers." + std::to_string(layer) + ".";
      add_norm(path + "input_layernorm");
      add_linear(path + "self_attn.q_proj", options.hidden, options.hidden, options.bias);
      add_linear(path + "self_attn.k_proj", options.hidden, options.kv, options.bias);
      add_linear(path + "self_attn.v_proj", options.hidden, options.kv, options.bias);
      add_linear(path + "self_attn.o_proj", options.hidden, options.hidden, false);
      add_norm(path + "post_attention_layernorm");
      add_linear(path + "mlp.gate_proj", options.hidden, options.ffn, false);
      add_linear(path + "mlp.up_proj", options.hidden, options.ffn, false);
      add_linear(path + "mlp.down_proj", options.ffn, options.hidden, false);
    }
    add_norm("model.norm");
  }

  const TargetTable& targets() const { return targets_; }
  const Target& at(const std::string& path) const { return targets_[targets_.find(path)]; }
  const kernels::Choice& choice() const { return options_.choice; }
  // W as the base stores it, [rows, cols] of the file.
  Tensor weight(const Target& target) const {
    const bool embedding = target.kind == TargetKind::kEmbedding;
    const int64_t rows = embedding ? target.in : target.out, cols = embedding ? target.out : target.in;
    Tensor tensor(DType::kF32, {rows, cols});
    for (int64_t row = 0; row < rows; ++row) read_weight_row(target, row, tensor.f32() + row * cols);
    return tensor;
  }

 private:
  const float* keep(Tensor tensor) { return vectors_.emplace_back(std::move(tensor)).f32(); }
  const kernels::FrozenMatrix* pack(int64_t in, int64_t out) {
    const Tensor weight = random_tensor(random_, {out, in});
    return matrices_
        .emplace_back(std::make_unique<kernels::FrozenMatrix>(
            kernels::FrozenMatrix::pack(weight.view(), options_.stored, choice())))
        .get();
  }
  void add_linear(const std::string& path, int64_t in, int64_t out, bool bias) {
    Target target{.path = path, .kind = TargetKind::kLinear, .in = in, .out = out, .weight = pack(in, out)};
    if (bias) target.vector = keep(random_tensor(random_, {out}));
    targets_.add(std::move(target));
  }
  void add_norm(const std::string& path) {
    targets_.add({.path = path,
                  .kind = TargetKind::kNorm,
                  .out = options_.hidden,
                  .vector = keep(random_tensor(random_, {options_.hidden}, 0.1f, 1.0f))});
  }
  void add_vocabulary() {
    const auto* head = pack(options_.hidden, options_.vocab);
    Target embedding{.path = "model.embed_tokens",
                     .kind = TargetKind::kEmbedding,
                     .in = options_.vocab,
                     .out = options_.hidden,
                     .tied = options_.tied};
    if (options_.tied) {
      embedding.weight = head;
    } else {
      tables_.push_back(random_tensor(random_, {options_.vocab, options_.hidden}));
      embedding.table = tables_.back().view();
    }
    targets_.add(std::move(embedding));
    targets_.add({.path = "lm_head",
                  .kind = TargetKind::kHead,
                  .in = options_.hidden,
                  .out = options_.vocab,
                  .weight = head,
                  .tied = options_.tied});
  }

  BaseOptions options_;
  Random random_;
  TargetTable targets_;
  std::vector<std::unique_ptr<kernels::FrozenMatrix>> matrices_;
  std::vector<Tensor> vectors_;
  std::vector<Tensor> tables_;
};

// One adapter folder in memory; tensors are filled with random numbers on demand.
class SmallFile {
 public:
  explicit SmallFile(ConfigObject config, uint64_t seed = 1) : config_(std::move(config)), random_(mix_key({seed})) {}

  void set(const std::string& name, OrderedJson value) {
    for (ConfigField& field : config_) {
      if (field.name == name) {
        field.value = std::move(value);
        return;
      }
    }
    config_.push_back({name, std::move(value)});
  }
  // base_model.model. + name.
  void add(const std::string& name, Shape shape, float spread = 0.5f, float center = 0.0f) {
    add_raw("base_model.model." + name, random_tensor(random_, std::move(shape), spread, center));
  }
  void add_raw(const std::string& name, Tensor tensor) { tensors_[name] = std::move(tensor); }
  void remove(const std::string& name) { tensors_.erase("base_model.model." + name); }
  Tensor& tensor(const std::string& name) { return tensors_.at("base_model.model." + name); }
  float at(const std::string& name, int64_t index) { return tensor(name).f32()[index]; }

  Result<AdapterSource> source() const {
    ASSIGN_OR_RETURN(AdapterSpec spec, parse_spec(object(config_)));
    std::map<std::string, TensorView> file;
    for (const auto& [name, tensor] : tensors_) file[name] = tensor.view();
    ASSIGN_OR_RETURN(NamedTensors named, canonical_tensors(file));
    return AdapterSource{std::move(spec), std::move(named.tensors), std::move(named.spelled)};
  }
  Result<std::shared_ptr<const Adapter>> build(const SmallBase& base, const BuildOptions& options = {}) const {
    ASSIGN_OR_RETURN(const AdapterSource made, source());
    return build_adapter(made, base.targets(), options);
  }

 private:
  ConfigObject config_;
  Random random_;
  std::map<std::string, Tensor> tensors_;
};

// A context of its own with scratch memory of exactly `scratch_bytes`.
struct TestContext {
  explicit TestContext(size_t scratch_bytes = size_t{16} << 20, int threads = 1, const kernels::Choice& choice_in = {})
      : choice(choice_in),
        pool(threads),
        scratch(scratch_bytes),
        context{kernels::table_for(choice.isa), choice, pool, scratch} {}
  kernels::Choice choice;
  ThreadPool pool;
  Arena scratch;
  kernels::Context context;
};

// apply_linear for one adapter over all rows of x.
inline Tensor apply_one(const SmallBase& base, const std::string& path, const Adapter* adapter, const Tensor& x) {
  const int32_t index = base.targets().find(path);
  const Target& target = base.targets()[index];
  const int64_t rows = x.shape()[0];
  TestContext test(size_t{16} << 20, 1, base.choice());
  Tensor y(DType::kF32, {rows, target.out});
  const Segment segment{0, static_cast<int32_t>(rows), adapter};
  apply_linear(test.context, base.targets(), index, {&segment, 1}, ConstMatrixF(x.f32(), rows, target.in),
               MatrixF(y.f32(), rows, target.out));
  return y;
}

// x W^T + c in double, for dense W [out, in] in double.
inline std::vector<double> dense(const std::vector<double>& w, const float* c, const Tensor& x, int64_t out) {
  const int64_t rows = x.shape()[0], in = x.shape()[1];
  std::vector<double> y(rows * out);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t o = 0; o < out; ++o) {
      double sum = c == nullptr ? 0.0 : c[o];
      for (int64_t i = 0; i < in; ++i) sum += w[o * in + i] * x.f32()[row * in + i];
      y[row * out + o] = sum;
    }
  }
  return y;
}

// max |difference| over max |reference|.
inline double relative_difference(const Tensor& y, const std::vector<double>& reference) {
  double difference = 0.0, largest = 1e-30;
  for (size_t i = 0; i < reference.size(); ++i) {
    difference = std::max(difference, std::fabs(y.f32()[i] - reference[i]));
    largest = std::max(largest, std::fabs(reference[i]));
  }
  return difference / largest;
}

}  // namespace umbel::testing
