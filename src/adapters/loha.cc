// LoHa, the low-rank Hadamard product (FedPara, Hyeon-Woo et al. 2022; PEFT 0.21 loha/layer.py).
//
//   dW = s (W1a W1b) o (W2a W2b), s = alpha / r;  hada_w1_a, hada_w2_a [out, r], hada_w1_b, hada_w2_b [r, in]
//
// Served as the one low-rank product of rank r * r that it is (khatri_rao.h): no kernel of its own, and a rank limit counts r * r.
#include "adapters/khatri_rao.h"
#include "adapters/kinds.h"

namespace umbel {
namespace {

Status add(Builder& builder, int32_t index, double alpha_plain) {
  const Target& target = builder.targets()[index];
  ASSIGN_OR_RETURN(const int64_t rank, builder.rank_at(target));
  ASSIGN_OR_RETURN(const double alpha, builder.spec().alpha_at(builder.own_path(target), alpha_plain));
  ASSIGN_OR_RETURN(const Tensor out_first, builder.take(target, kLohaTensors.first_out, rank));
  ASSIGN_OR_RETURN(const Tensor in_first, builder.take(target, kLohaTensors.first_in, rank));
  ASSIGN_OR_RETURN(const Tensor out_second, builder.take(target, kLohaTensors.second_out, rank));
  ASSIGN_OR_RETURN(const Tensor in_second, builder.take(target, kLohaTensors.second_in, rank));
  ASSIGN_OR_RETURN(LinearTerms* const terms, builder.add_linear(index));
  const Tensor a = khatri_rao(in_first, in_second);
  const Tensor b_t = khatri_rao(transposed(out_first), transposed(out_second));
  terms->low_rank.push_back(builder.low_rank_turned(a, b_t, lora_scale(alpha, rank, /*rslora=*/false)));
  return ok_status();
}

}  // namespace

Status build_loha(Builder& builder) {
  Fields& fields = builder.fields();
  ASSIGN_OR_RETURN(const double alpha, fields.number("alpha", kLohaAlphaDefault));
  // Of convolutions, of training, and of the start.
  fields.ignore({"use_effective_conv2d", "rank_dropout", "module_dropout", "init_weights"});
  ASSIGN_OR_RETURN(const std::vector<int32_t> selected, builder.select(/*embeddings_allowed=*/false));
  AdapterReport& report = builder.adapter().edit_report();
  report.targets_declared = static_cast<int32_t>(selected.size());
  for (const int32_t index : selected) {
    RETURN_IF_ERROR(add(builder, index, alpha));
    ++report.targets_applied;
  }
  return ok_status();
}

}  // namespace umbel
