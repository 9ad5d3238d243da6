// LoRA, rsLoRA and DoRA: the tensors of PEFT's LORA type (kind_tensors.h; PEFT 0.21 lora/layer.py, lora/dora.py).
#include <algorithm>
#include <cmath>
#include <cstring>

#include "adapters/dora.h"
#include "adapters/kinds.h"
#include "adapters/lora_fields.h"
#include "adapters/tokens.h"

namespace umbel {
namespace {

// Some initialisations take the adapter's start out of the base's weights. Files converted on saving say `true` here.
Status check_init(Fields& fields) {
  const OrderedJson* init = fields.take("init_lora_weights");
  if (init == nullptr || init->is_boolean()) return ok_status();
  if (!init->is_string()) return field_error("init_lora_weights", *init, "true, false or a name");
  const std::string& name = init->get_ref<const std::string&>();
  if (name == "gaussian" || name == "orthogonal" || name == "eva") return ok_status();
  return unsupported("adapter_config.json: init_lora_weights is '" + name +
                     "', which trains against a changed base model; save the adapter again with "
                     "path_initial_model_for_weight_conversion, which makes it a plain LoRA");
}

class LoraBuild {
 public:
  LoraBuild(Builder& builder, const LoraFields& fields) : builder_(builder), fields_(fields) {}

  // With ensure_weight_tying on a tied base, PEFT treats both sides alike as soon as one of them is named.
  Status tie(std::vector<int32_t>& selected) {
    const int32_t embedding = builder_.find_kind(TargetKind::kEmbedding);
    const int32_t head = builder_.find_kind(TargetKind::kHead);
    if (!fields_.ensure_weight_tying) return ok_status();
    if (embedding < 0 || head < 0 || !builder_.targets()[embedding].tied) {
      builder_.warn("adapter_config.json: ensure_weight_tying has no effect, the base model's weights are not tied");
      return ok_status();
    }
    const auto selects = [&](int32_t index) {
      return std::find(selected.begin(), selected.end(), index) != selected.end();
    };
    if (builder_.is_saved(embedding) || builder_.is_saved(head)) {
      builder_.save_also(embedding);
      builder_.save_also(head);
      return check_equal(embedding, "weight", head, "weight", false);
    }
    if (!selects(embedding) && !selects(head)) return ok_status();
    if (fields_.dora) {
      return unsupported(
          "adapter_config.json: use_dora on a tied embedding with ensure_weight_tying is not computed here");
    }
    for (const int32_t index : {embedding, head}) {
      if (!selects(index)) selected.push_back(index);
    }
    std::sort(selected.begin(), selected.end());
    RETURN_IF_ERROR(check_equal(embedding, kLoraEmbeddingA.suffix, head, kLoraB.suffix, true));
    return check_equal(embedding, kLoraEmbeddingB.suffix, head, kLoraA.suffix, true);
  }

  Status add(int32_t index) {
    const Target& target = builder_.targets()[index];
    ASSIGN_OR_RETURN(rank_, builder_.rank_at(target));
    ASSIGN_OR_RETURN(const double alpha, builder_.spec().alpha_at(builder_.own_path(target), fields_.alpha));
    scale_ = lora_scale(alpha, rank_, fields_.rslora);
    return target.kind == TargetKind::kEmbedding ? add_embedding(index) : add_linear(index);
  }

 private:
  // Tensors that PEFT ties in memory are equal (or transposes) in the file.
  Status check_equal(int32_t left, std::string_view left_suffix, int32_t right, std::string_view right_suffix, bool transpose) {
    const std::string left_name = Builder::tensor_name(builder_.targets()[left], left_suffix);
    const std::string right_name = Builder::tensor_name(builder_.targets()[right], right_suffix);
    const TensorView* a = builder_.take_view(left_name);
    const TensorView* b = builder_.take_view(right_name);
    if (a == nullptr || b == nullptr) return ok_status();  // reported as missing where it is needed
    const Shape wanted = transpose && a->shape.size() == 2 ? Shape{a->shape[1], a->shape[0]} : a->shape;
    const Status differs = invalid_argument("adapter_model.safetensors: " + left_name + " and " + right_name +
                                            " must be equal, because ensure_weight_tying is set");
    if (b->shape != wanted || a->dtype != b->dtype) return differs;
    if (a->shape.size() != 2) return ok_status();
    const Tensor first = Tensor::widened(*a);
    const Tensor second = Tensor::widened(*b);
    const Tensor turned = transpose ? transposed(first) : Tensor::widened(*a);
    if (std::memcmp(turned.data(), second.data(), turned.bytes()) != 0) return differs;
    return ok_status();
  }

  Result<std::vector<float>> magnitude(const Target& target) {
    ASSIGN_OR_RETURN(const Tensor vector, builder_.take(target, kLoraMagnitude, rank_));
    return std::vector<float>(vector.f32(), vector.f32() + target.out);
  }

  Status add_linear(int32_t index) {
    const Target& target = builder_.targets()[index];
    ASSIGN_OR_RETURN(const Tensor a, builder_.take(target, kLoraA, rank_));
    ASSIGN_OR_RETURN(const Tensor b, builder_.take(target, kLoraB, rank_));
    LowRankTerm term = builder_.low_rank(a, b, scale_);
    ASSIGN_OR_RETURN(LinearTerms* const terms, builder_.add_linear(index));
    if (fields_.dora) {
      ASSIGN_OR_RETURN(const std::vector<float> m, magnitude(target));
      std::vector<float> norms(target.out);
      dora_row_norms(target, term, norms);
      ASSIGN_OR_RETURN(const float* const ratio, ratios(m, norms, target.path));
      term.u = ratio;
      terms->scale.push_back({nullptr, ratio});
    }
    terms->low_rank.push_back(term);
    return fields_.bias ? add_bias(index, *terms) : ok_status();
  }

  Status add_bias(int32_t index, LinearTerms& terms) {
    const Target& target = builder_.targets()[index];
    ASSIGN_OR_RETURN(Tensor bias, builder_.take(target, kLoraBias, rank_));
    const float* base = builder_.bias_of(index);
    for (int64_t i = 0; i < target.out; ++i)
      bias.f32()[i] = scale_ * bias.f32()[i] + (base == nullptr ? 0.0f : base[i]);
    terms.bias = builder_.adapter().keep_f32(std::move(bias));
    return ok_status();
  }

  // m / n, kept by the adapter.
  Result<const float*> ratios(const std::vector<float>& m, const std::vector<float>& n, const std::string& path) {
    Tensor ratio(DType::kF32, {static_cast<int64_t>(m.size())});
    for (size_t i = 0; i < m.size(); ++i) {
      if (!(n[i] > 0.0f)) {
        return invalid_argument("the weight of " + path + " with its adapter has a zero row (" + std::to_string(i) +
                                "), so DoRA's direction is not defined there");
      }
      ratio.f32()[i] = m[i] / n[i];
    }
    return static_cast<const float*>(builder_.adapter().keep_f32(std::move(ratio)));
  }

  Status add_embedding(int32_t index) {
    const Target& target = builder_.targets()[index];
    if (builder_.is_saved(index) || fields_.token_indices != nullptr) {
      return unsupported("adapter_config.json: the embedding " + target.path +
                         " is adapted and replaced (modules_to_save or trainable_token_indices) at the same time");
    }
    if (fields_.bias)
      return unsupported("adapter_config.json: lora_bias is not defined for the embedding " + target.path);
    ASSIGN_OR_RETURN(const Tensor a, builder_.take(target, kLoraEmbeddingA, rank_));
    ASSIGN_OR_RETURN(const Tensor b, builder_.take(target, kLoraEmbeddingB, rank_));
    Tensor a_t = transposed(a);
    Tensor b_t = transposed(b);
    if (fields_.dora) return add_dora_embedding(target, a_t, b_t);
    EmbeddingTerms& terms = builder_.adapter().add_embedding();
    terms.rank = static_cast<int32_t>(rank_);
    terms.a_t = builder_.adapter().keep_f32(std::move(a_t));
    terms.b_t = builder_.adapter().keep_f32(std::move(b_t));
    terms.scale = scale_;
    return ok_status();
  }

  // PEFT takes norms over the vocabulary here, one for each dimension; the result is a table of the adapter's own.
  Status add_dora_embedding(const Target& target, const Tensor& a_t, const Tensor& b_t) {
    ASSIGN_OR_RETURN(const std::vector<float> m, magnitude(target));
    Tensor table(DType::kF32, {target.in, target.out});
    std::vector<double> squares(target.out, 0.0);
    for (int64_t token = 0; token < target.in; ++token) {
      float* row = table.f32() + token * target.out;
      read_weight_row(target, token, row);
      for (int64_t j = 0; j < rank_; ++j) {
        const float factor = scale_ * a_t.f32()[token * rank_ + j];
        const float* b_row = b_t.f32() + j * target.out;
        for (int64_t i = 0; i < target.out; ++i) row[i] += factor * b_row[i];
      }
      for (int64_t i = 0; i < target.out; ++i) squares[i] += static_cast<double>(row[i]) * row[i];
    }
    std::vector<float> n(target.out);
    for (int64_t i = 0; i < target.out; ++i) n[i] = static_cast<float>(std::sqrt(squares[i]));
    ASSIGN_OR_RETURN(const float* const ratio, ratios(m, n, target.path));
    for (int64_t token = 0; token < target.in; ++token) {
      for (int64_t i = 0; i < target.out; ++i) table.f32()[token * target.out + i] *= ratio[i];
    }
    EmbeddingTerms& terms = builder_.adapter().add_embedding();
    terms.own_table = builder_.adapter().keep_f32(std::move(table));
    terms.table_rows = target.in;
    return ok_status();
  }

  Builder& builder_;
  const LoraFields& fields_;
  int64_t rank_ = 0;
  float scale_ = 1.0f;
};

}  // namespace

Result<LoraFields> read_lora_fields(Fields& fields) {
  LoraFields lora;
  ASSIGN_OR_RETURN(lora.alpha, fields.number("lora_alpha", kLoraAlphaDefault));
  ASSIGN_OR_RETURN(lora.rslora, fields.boolean("use_rslora", false));
  ASSIGN_OR_RETURN(lora.dora, fields.boolean("use_dora", false));
  ASSIGN_OR_RETURN(lora.bias, fields.boolean("lora_bias", false));
  ASSIGN_OR_RETURN(lora.ensure_weight_tying, fields.boolean("ensure_weight_tying", false));
  lora.token_indices = fields.take("trainable_token_indices");
  if (lora.dora && lora.bias)
    return unsupported("adapter_config.json: lora_bias together with use_dora is not defined");
  RETURN_IF_ERROR(check_init(fields));
  // Training only, or (fan_in_fan_out) about how another framework stores the base.
  fields.ignore({"lora_dropout", "fan_in_fan_out", "megatron_core", "qalora_group_size", "eva_config"});
  fields.expect_inactive({"loftq_config", "corda_config", "lora_ga_config", "megatron_config", "layer_replication",
                          "alora_invocation_tokens", "use_qalora", "use_bdlora", "arrow_config", "kasa_config",
                          "monteclora_config", "velora_config", "target_parameters"});
  return lora;
}

Status build_lora(Builder& builder) {
  ASSIGN_OR_RETURN(const LoraFields fields, read_lora_fields(builder.fields()));
  ASSIGN_OR_RETURN(std::vector<int32_t> selected, builder.select(/*embeddings_allowed=*/true));
  LoraBuild build(builder, fields);
  RETURN_IF_ERROR(build.tie(selected));
  AdapterReport& report = builder.adapter().edit_report();
  report.targets_declared = static_cast<int32_t>(selected.size());
  for (const int32_t index : selected) {
    RETURN_IF_ERROR(build.add(index));
    ++report.targets_applied;
  }
  if (fields.token_indices == nullptr) return ok_status();
  return build_trainable_tokens(builder, *fields.token_indices, fields.ensure_weight_tying);
}

}  // namespace umbel
