// TrainableBuild: what the kinds build a TrainableAdapter with. Private to train/.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "adapters/kind_tensors.h"
#include "base/random.h"
#include "train/kinds/trainable.h"

namespace umbel::train {

// A parameter to be made, in the kernels' layout.
struct ParameterShape {
  int64_t rows = 1;
  int64_t cols = 1;
  bool transposed = false;  // the file has [cols, rows]
  bool flat = false;        // the file has [cols]; rows = 1
  double rate = 1.0;
  bool decays = true;
  bool plain_name = false;  // without PEFT's "base_model.model."
};

// Where a parameter's numbers are; they stay there.
struct Master {
  float* value;
  float* gradient;
};

class TrainableBuild {
 public:
  TrainableBuild(TrainableAdapter& made, const JobSpec& spec, const TargetTable& targets, const AdapterSpec& selection,
                 SharedTensors* shared = nullptr)
      : made_(made), spec_(spec), targets_(targets), selection_(selection), shared_(shared) {}

  const JobSpec& spec() const { return spec_; }
  // The tensor; one for all jobs that have an equal one, where jobs meet.
  std::shared_ptr<const Tensor> share(Tensor tensor);
  const TargetTable& targets() const { return targets_; }
  const Target& target(int32_t index) const { return targets_[index]; }
  // r and alpha at this module, patterns applied as PEFT applies them.
  Result<int64_t> rank_at(int32_t index) const { return selection_.rank_at(targets_[index].path, spec_.rank); }
  Result<double> alpha_at(int32_t index) const { return selection_.alpha_at(targets_[index].path, spec_.alpha); }
  // The stream of a module's initial values: a function of the job's seed and the module.
  Random random(int32_t index) const { return Random(mix_key({spec_.seed, static_cast<uint64_t>(index)})); }

  // A kind's own tensor at this module, as its declaration says: shape, layout, initial values (zero where the kind computes
  // them; what is drawn differs from tensor to tensor). rate: times the job's learning rate.
  Master add_parameter(int32_t index, const KindTensor& tensor, int64_t rank, double rate = 1.0);
  // A module's own tensor, path + suffix; zero.
  Master add_parameter(int32_t index, const std::string& suffix, const ParameterShape& shape);
  // count floats, zero, that live as long as the adapter.
  float* add_buffer(int64_t count);
  void add_derived(std::unique_ptr<Derived> derived) { made_.derived_.push_back(std::move(derived)); }
  // Not trained, and in the file.
  void add_frozen(const std::string& tensor, std::shared_ptr<const Tensor> value, bool transposed);
  // Not trained, and not in the file either (MiSS's sums).
  void keep(std::shared_ptr<const Tensor> value) { made_.kept_.push_back(std::move(value)); }

  Adapter& adapter() { return *made_.adapter_; }
  LinearTerms& terms(int32_t index) { return made_.adapter_->edit_linear(index); }
  // A term and where its gradients go; the order of the two lists is the same.
  void add_scale(int32_t index, const ScaleTerm& term, const ScaleGrads& grads);
  void add_low_rank(int32_t index, const LowRankTerm& term, const LowRankGrads& grads);
  void add_bias(int32_t index, const float* bias, float* gradient);
  // Modules saved whole: a weight (the linear terms' own_weight), a norm's gain, the embedding's table.
  void add_whole_weight(int32_t index, const kernels::FrozenMatrix* weight, float* gradient);
  void add_whole_gain(int32_t index, const float* gain, float* gradient);
  void add_whole_norm_bias(int32_t index, const float* bias, float* gradient);
  void add_whole_table(int32_t index, const float* table, float* gradient);
  void add_whole_positions(int32_t index, const float* table, float* gradient);
  // The embedding's term, in place of linear ones.
  void add_embedding(int32_t index, const EmbeddingTerms& terms, const LowRankGrads& grads);

 private:
  struct FanIn {
    int64_t in, rank;
  };
  void start(int32_t index, Start how, const FanIn& fan_in, std::span<float> values);

  TrainableAdapter& made_;
  const JobSpec& spec_;
  const TargetTable& targets_;
  const AdapterSpec& selection_;
  SharedTensors* shared_;
  std::map<int32_t, uint64_t> draws_;  // tensors of a module whose initial values were drawn
};

Status train_full(TrainableBuild& build);  // every module

// U(-bound, bound).
void fill_uniform(Random& random, double bound, std::span<float> values);

// adapter_config.json of the job. Names are as given, or the kind's usual ones.
Json make_adapter_config(const JobSpec& spec, const std::string& base_name);
}  // namespace umbel::train
