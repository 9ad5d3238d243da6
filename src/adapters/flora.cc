// FLoRA (Wen and Chaudhuri, ICLR 2024): W o (s B A), and its residual form W o (1 + s B A), which PEFT knows as HiRA.
// No official file format exists; the tensors follow PEFT's orientation:
//
//   flora_A [r, in], flora_B [out, r] (a missing one means ones); embedding: flora_embedding_A [r, vocab],
//   flora_embedding_B [dim, r]. HIRA: hira_A, hira_B, hira_embedding_A, hira_embedding_B, s = 1, residual.
//
// A module of rank r becomes r scale terms: pre_k = A_k, post_k = s B^T_k; the residual form adds the term (1, 1).
#include <algorithm>

#include "adapters/flora_fields.h"
#include "adapters/kinds.h"

namespace umbel {
namespace {

class HadamardBuild {
 public:
  HadamardBuild(Builder& builder, const HadamardFields& fields) : builder_(builder), fields_(fields) {}

  Status add(int32_t index) {
    const Target& target = builder_.targets()[index];
    ASSIGN_OR_RETURN(rank_, builder_.rank_at(target));
    if (fields_.rank_of_file) follow_file_rank(target);
    ASSIGN_OR_RETURN(scale_, hadamard_scale(builder_.spec(), fields_, builder_.own_path(target), rank_));
    return target.kind == TargetKind::kEmbedding ? add_embedding(target) : add_linear(index);
  }

 private:
  // PEFT 0.21 reads HiRA's rank_pattern and then makes every module with rank r. The result does not depend on which of
  // the two is meant (s = 1), so r is accepted where the file has it.
  void follow_file_rank(const Target& target) {
    const bool embedding = target.kind == TargetKind::kEmbedding;
    const KindTensor& factor = embedding ? fields_.tensors->embedding_a : fields_.tensors->a;
    const TensorView* a = builder_.take_view(Builder::tensor_name(target, factor.suffix));
    const int64_t plain = builder_.rank_plain();
    if (a == nullptr || a->shape.empty() || a->shape[0] != plain || rank_ == plain || plain < 1) return;
    builder_.warn("adapter_config.json: rank_pattern gives " + target.path + " the rank " + std::to_string(rank_) +
                  ", the file has r = " + std::to_string(plain) + ", as PEFT saves it; the file counts");
    rank_ = plain;
  }

  // A factor in f32, with the offset added; ones where the format lets it be left out.
  Result<Tensor> factor(const Target& target, const KindTensor& declared) {
    const std::string name = Builder::tensor_name(target, declared.suffix);
    const Shape shape = file_shape(declared, target, rank_);
    if (fields_.missing_is_ones && !builder_.has(name)) {
      Tensor ones(DType::kF32, shape);
      std::fill_n(ones.f32(), ones.elements(), 1.0f);
      return ones;
    }
    ASSIGN_OR_RETURN(Tensor tensor, builder_.take(name, shape));
    if (fields_.store_offset) {
      for (int64_t i = 0; i < tensor.elements(); ++i) tensor.f32()[i] += 1.0f;
    }
    return tensor;
  }

  // A file without either factor of a selected module is incomplete, not an identity.
  Status check_present(const Target& target, const KindTensor& a, const KindTensor& b) {
    const std::string name = Builder::tensor_name(target, a.suffix);
    if (builder_.has(name) || builder_.has(Builder::tensor_name(target, b.suffix))) return ok_status();
    return invalid_argument("adapter_model.safetensors: " + name + " and its partner " + std::string(b.suffix) +
                            " are both missing; one of them may be left out (ones), not both");
  }

  Status add_linear(int32_t index) {
    const Target& target = builder_.targets()[index];
    RETURN_IF_ERROR(check_present(target, fields_.tensors->a, fields_.tensors->b));
    ASSIGN_OR_RETURN(Tensor a, factor(target, fields_.tensors->a));
    ASSIGN_OR_RETURN(const Tensor b, factor(target, fields_.tensors->b));
    Tensor b_t = transposed(b);
    for (int64_t i = 0; i < b_t.elements(); ++i) b_t.f32()[i] *= scale_;
    ASSIGN_OR_RETURN(LinearTerms* const terms, builder_.add_linear(index));
    const float* pre = builder_.adapter().keep_f32(std::move(a));
    const float* post = builder_.adapter().keep_f32(std::move(b_t));
    if (fields_.residual) terms->scale.push_back({nullptr, nullptr});
    for (int64_t k = 0; k < rank_; ++k) terms->scale.push_back({pre + k * target.in, post + k * target.out});
    const float* base = builder_.bias_of(index);
    if (fields_.scale_bias && base != nullptr) terms->bias = scaled_bias(target, *terms, base);
    return ok_status();
  }

  // The bias passes through every term as the product does: sum_k post_k o bias.
  const float* scaled_bias(const Target& target, const LinearTerms& terms, const float* base) {
    Tensor bias(DType::kF32, {target.out});
    for (const ScaleTerm& term : terms.scale) {
      for (int64_t i = 0; i < target.out; ++i) bias.f32()[i] += (term.post == nullptr ? 1.0f : term.post[i]) * base[i];
    }
    return builder_.adapter().keep_f32(std::move(bias));
  }

  // W' = W o (s B A)^T, as a table of the adapter's own: a look-up is a copy then.
  Status add_embedding(const Target& target) {
    RETURN_IF_ERROR(check_present(target, fields_.tensors->embedding_a, fields_.tensors->embedding_b));
    if (builder_.is_saved(builder_.find_kind(TargetKind::kEmbedding))) {
      return unsupported("adapter_config.json: the embedding " + target.path + " is adapted and in modules_to_save");
    }
    ASSIGN_OR_RETURN(const Tensor a, factor(target, fields_.tensors->embedding_a));
    ASSIGN_OR_RETURN(const Tensor b, factor(target, fields_.tensors->embedding_b));
    Tensor table(DType::kF32, {target.in, target.out});
    for (int64_t token = 0; token < target.in; ++token) {
      float* row = table.f32() + token * target.out;
      read_weight_row(target, token, row);
      for (int64_t i = 0; i < target.out; ++i) {
        float sum = 0.0f;
        for (int64_t k = 0; k < rank_; ++k) sum += b.f32()[i * rank_ + k] * a.f32()[k * target.in + token];
        row[i] *= scale_ * sum + (fields_.residual ? 1.0f : 0.0f);
      }
    }
    EmbeddingTerms& terms = builder_.adapter().add_embedding();
    terms.own_table = builder_.adapter().keep_f32(std::move(table));
    terms.table_rows = target.in;
    return ok_status();
  }

  Builder& builder_;
  const HadamardFields& fields_;
  int64_t rank_ = 0;
  float scale_ = 1.0f;
};

Status build(Builder& builder, const HadamardFields& fields) {
  ASSIGN_OR_RETURN(const std::vector<int32_t> selected, builder.select(/*embeddings_allowed=*/true));
  AdapterReport& report = builder.adapter().edit_report();
  report.targets_declared = static_cast<int32_t>(selected.size());
  HadamardBuild work(builder, fields);
  for (const int32_t index : selected) {
    RETURN_IF_ERROR(work.add(index));
    ++report.targets_applied;
  }
  return ok_status();
}

}  // namespace

Result<HadamardFields> read_flora_fields(Fields& fields) {
  HadamardFields flora{.missing_is_ones = true};
  ASSIGN_OR_RETURN(const int64_t format, fields.integer("flora_format", 1));
  if (format != 1)
    return unsupported("adapter_config.json: flora_format is " + std::to_string(format) + ", expected 1");
  ASSIGN_OR_RETURN(const std::string form, fields.text("form", "multiplicative"));
  if (form != "multiplicative" && form != "residual") {
    return unsupported("adapter_config.json: form is '" + form + "', expected multiplicative or residual");
  }
  flora.residual = form == "residual";
  ASSIGN_OR_RETURN(const std::string reduction, fields.text("reduction", "mean"));
  if (reduction != "mean" && reduction != "sum") {
    return unsupported("adapter_config.json: reduction is '" + reduction + "', expected mean or sum");
  }
  flora.mean = reduction == "mean";
  const OrderedJson* alpha = fields.take("flora_alpha");
  flora.has_alpha = alpha != nullptr;
  ASSIGN_OR_RETURN(flora.alpha, fields.number("flora_alpha", 0));
  ASSIGN_OR_RETURN(flora.scale_bias, fields.boolean("scale_bias", false));
  ASSIGN_OR_RETURN(flora.store_offset, fields.boolean("store_offset", false));
  fields.ignore({"flora_dropout", "init_flora_weights", "init_scale", "fan_in_fan_out"});
  return flora;
}

HadamardFields read_hira_fields(Fields& fields) {
  fields.ignore({"hira_dropout", "init_weights", "fan_in_fan_out"});
  return {.tensors = &kHiraTensors, .residual = true, .rank_of_file = true};
}

Result<float> hadamard_scale(const AdapterSpec& spec, const HadamardFields& fields, std::string_view path, int64_t rank) {
  const float plain = fields.mean ? 1.0f / static_cast<float>(rank) : 1.0f;
  if (!fields.has_alpha && spec.alpha_pattern.empty()) return plain;
  constexpr double kNone = -1.0;
  ASSIGN_OR_RETURN(const double alpha, spec.alpha_at(path, fields.has_alpha ? fields.alpha : kNone));
  return alpha == kNone ? plain : lora_scale(alpha, rank, /*rslora=*/false);
}

Status build_flora(Builder& builder) {
  ASSIGN_OR_RETURN(const HadamardFields fields, read_flora_fields(builder.fields()));
  return build(builder, fields);
}

Status build_hira(Builder& builder) { return build(builder, read_hira_fields(builder.fields())); }

}  // namespace umbel
