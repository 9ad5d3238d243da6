// LoRA, rsLoRA, LoRA+, QLoRA and DoRA: factors A and B at linear layers, at the head, and (not DoRA) at the embedding.
//
// Starts as PEFT starts them (adapters/kind_tensors.h): A is Kaiming-uniform with a = sqrt(5), which is U(-1, 1) / sqrt(in), B
// is 0; at the embedding A is 0 and B standard normal; DoRA's magnitude is the norm of W's rows, so every kind starts as the base.
#include "adapters/dora.h"
#include "train/kinds/kind_training.h"

namespace umbel::train {
namespace {

constexpr double kLoraPlusRatio = 16;  // Hayou et al. 2024

double output_rate(const JobSpec& spec) {
  if (spec.lora_plus_ratio > 0) return spec.lora_plus_ratio;
  return spec.kind == TrainKind::kLoraPlus ? kLoraPlusRatio : 1.0;
}

// y = m/n o (W x + s B A x) with n = || W + s B A || by rows, detached: made anew after every change of A and B, but no gradient
// goes through it (DoRA, section 4.3). The ratio stands in the scale term and in the low-rank term's u, each with a gradient.
class DoraRatio final : public Derived {
 public:
  DoraRatio(const Target& target, const LowRankTerm& term, Master magnitude, float* ratio, float* ratio_gradients)
      : target_(target), term_(term), magnitude_(magnitude), ratio_(ratio), gradients_(ratio_gradients), norms_(target.out) {}

  float* ratio() { return ratio_; }
  float* of_scale() { return gradients_; }
  float* of_low_rank() { return gradients_ + target_.out; }
  const std::vector<float>& norms() const { return norms_; }

  void materialize(ThreadPool* pool) override {
    dora_row_norms(target_, term_, norms_, pool);
    for (int64_t i = 0; i < target_.out; ++i) ratio_[i] = magnitude_.value[i] / norms_[i];
  }
  void zero_gradients() override { std::fill_n(gradients_, 2 * target_.out, 0.0f); }
  void gather() override {
    for (int64_t i = 0; i < target_.out; ++i) magnitude_.gradient[i] += (of_scale()[i] + of_low_rank()[i]) / norms_[i];
  }

 private:
  const Target& target_;
  LowRankTerm term_;
  Master magnitude_;
  float* ratio_;
  float* gradients_;
  std::vector<float> norms_;
};

class LoraBuild {
 public:
  explicit LoraBuild(TrainableBuild& build) : build_(build), spec_(build.spec()) {}

  Status add(int32_t index) {
    ASSIGN_OR_RETURN(rank_, build_.rank_at(index));
    ASSIGN_OR_RETURN(const double alpha, build_.alpha_at(index));
    scale_ = lora_scale(alpha, rank_, spec_.kind == TrainKind::kRsLora);
    if (build_.target(index).kind == TargetKind::kEmbedding) return add_embedding(index);
    return add_linear(index);
  }

 private:
  Status add_linear(int32_t index) {
    const Target& target = build_.target(index);
    if (spec_.kind == TrainKind::kQlora && target.weight->quantisation() == kernels::Quantisation::kNone) {
      return failed_precondition(target.path + ": kind qlora trains over a quantised base; load it with --dtype nf4, nf4-dq or int8, or use kind lora");
    }
    const Master a = build_.add_parameter(index, kLoraA, rank_);
    const Master b = build_.add_parameter(index, kLoraB, rank_, output_rate(spec_));
    LowRankTerm term{.rank = static_cast<int32_t>(rank_), .a = a.value, .b_t = b.value, .a_stride = target.in, .b_stride = target.out,
                     .scale = scale_};
    LowRankGrads grads{.a = a.gradient, .b_t = b.gradient};
    if (spec_.kind == TrainKind::kDora) RETURN_IF_ERROR(add_magnitude(index, term, grads));
    build_.add_low_rank(index, term, grads);
    build_.terms(index).dropout = static_cast<float>(spec_.dropout);
    return ok_status();
  }

  Status add_magnitude(int32_t index, LowRankTerm& term, LowRankGrads& grads) {
    const Target& target = build_.target(index);
    const Master m = build_.add_parameter(index, kLoraMagnitude, rank_, output_rate(spec_));
    auto ratio = std::make_unique<DoraRatio>(target, term, m, build_.add_buffer(target.out), build_.add_buffer(2 * target.out));
    ratio->materialize(nullptr);
    std::copy(ratio->norms().begin(), ratio->norms().end(), m.value);
    for (int64_t i = 0; i < target.out; ++i) {
      if (!(m.value[i] > 0.0f)) {
        return invalid_argument(spec_.name + ": the weight of " + target.path + " has a zero row (" + std::to_string(i) +
                                "), so DoRA's direction is not defined there; leave the module out");
      }
    }
    build_.add_scale(index, {.post = ratio->ratio()}, {.post = ratio->of_scale()});
    term.u = ratio->ratio();
    grads.u = ratio->of_low_rank();
    build_.add_derived(std::move(ratio));
    return ok_status();
  }

  Status add_embedding(int32_t index) {
    const Target& target = build_.target(index);
    if (spec_.kind == TrainKind::kDora) return unsupported(spec_.name + ": DoRA at the embedding " + target.path + " is not trained here");
    const Master a = build_.add_parameter(index, kLoraEmbeddingA, rank_);
    const Master b = build_.add_parameter(index, kLoraEmbeddingB, rank_);
    EmbeddingTerms terms;
    terms.rank = static_cast<int32_t>(rank_);
    terms.a_t = a.value;
    terms.b_t = b.value;
    terms.scale = scale_;
    build_.add_embedding(index, terms, {.a = a.gradient, .b_t = b.gradient});
    return ok_status();
  }

  TrainableBuild& build_;
  const JobSpec& spec_;
  int64_t rank_ = 0;
  float scale_ = 1.0f;
};

}  // namespace

Json lora_fields(const JobSpec& spec) {
  return {{"peft_type", "LORA"},
          {"r", spec.rank},
          {"lora_alpha", spec.alpha},
          {"lora_dropout", spec.dropout},
          {"bias", "none"},
          {"use_rslora", spec.kind == TrainKind::kRsLora},
          {"use_dora", spec.kind == TrainKind::kDora},
          {"fan_in_fan_out", false},
          {"init_lora_weights", true},
          {"rank_pattern", spec.rank_pattern},
          {"alpha_pattern", spec.alpha_pattern}};
}

Status train_lora(TrainableBuild& build, const Selected& selected) {
  LoraBuild lora(build);
  for (const int32_t index : selected) RETURN_IF_ERROR(lora.add(index));
  return ok_status();
}

}  // namespace umbel::train
