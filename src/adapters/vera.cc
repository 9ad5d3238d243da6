// VeRA (Kopiczko et al. 2023; PEFT 0.21 vera/layer.py): two shared, frozen projections and two vectors per module.
//
//   base_model.vera_A [r, in_max], base_model.vera_B [out_max, r]; vera_lambda_d [r], vera_lambda_b [out]
//   y += lambda_b o B[:out] (lambda_d o (A[:, :in] x))
#include "adapters/kinds.h"

namespace umbel {
namespace {

struct Projection {
  std::shared_ptr<const Tensor> a;    // [r, in_max]
  std::shared_ptr<const Tensor> b_t;  // [r, out_max]
};

std::shared_ptr<const Tensor> share(Builder& builder, const Tensor& tensor) {
  Tensor stored = Tensor::converted(tensor.view(), builder.options().factor_dtype);
  SharedTensors* pool = builder.options().shared;
  auto shared = pool != nullptr ? pool->intern(std::move(stored)) : std::make_shared<const Tensor>(std::move(stored));
  builder.adapter().keep_shared(shared, shared->bytes());
  return shared;
}

// The projections may be wider than any selected module: they are sliced.
Result<Projection> read_projection(Builder& builder, int64_t rank, int64_t in_least, int64_t out_least) {
  const std::string a_name(kVeraProjectionA), b_name(kVeraProjectionB);
  const TensorView* a = builder.take_view(a_name);
  const TensorView* b = builder.take_view(b_name);
  if (a == nullptr || b == nullptr) {
    return invalid_argument("adapter_model.safetensors: the tensor " + (a == nullptr ? a_name : b_name) +
                            " is missing; save the adapter with save_projection=true");
  }
  const int64_t in_max = a->shape.size() == 2 ? a->shape[1] : 0;
  const int64_t out_max = b->shape.size() == 2 ? b->shape[0] : 0;
  ASSIGN_OR_RETURN(const Tensor a_f32, builder.take(a_name, {rank, std::max(in_max, in_least)}));
  ASSIGN_OR_RETURN(const Tensor b_f32, builder.take(b_name, {std::max(out_max, out_least), rank}));
  return Projection{share(builder, a_f32), share(builder, transposed(b_f32))};
}

Status add(Builder& builder, int32_t index, const Projection& projection) {
  const Target& target = builder.targets()[index];
  const int64_t rank = projection.a->shape()[0];
  ASSIGN_OR_RETURN(Tensor d, builder.take(target, kVeraD, rank));
  ASSIGN_OR_RETURN(Tensor b, builder.take(target, kVeraB, rank));
  ASSIGN_OR_RETURN(LinearTerms* const terms, builder.add_linear(index));
  LowRankTerm term;
  term.rank = static_cast<int32_t>(rank);
  term.dtype = projection.a->dtype();
  term.a = projection.a->data();
  term.b_t = projection.b_t->data();
  term.a_stride = projection.a->shape()[1];
  term.b_stride = projection.b_t->shape()[1];
  term.u = builder.adapter().keep_f32(std::move(b));
  term.v = builder.adapter().keep_f32(std::move(d));
  terms->low_rank.push_back(term);
  return ok_status();
}

}  // namespace

Status build_vera(Builder& builder) {
  Fields& fields = builder.fields();
  ASSIGN_OR_RETURN(const bool save_projection, fields.boolean("save_projection", true));
  if (!save_projection) {
    return unsupported(
        "adapter_config.json: save_projection is false, so the projections would have to be drawn again "
        "with PyTorch's own generator; save the adapter with save_projection=true");
  }
  fields.ignore({"d_initial", "fan_in_fan_out", "init_weights", "projection_prng_key", "vera_dropout"});
  ASSIGN_OR_RETURN(const std::vector<int32_t> selected, builder.select(/*embeddings_allowed=*/false));
  AdapterReport& report = builder.adapter().edit_report();
  report.targets_declared = static_cast<int32_t>(selected.size());
  int64_t in_least = 1, out_least = 1, rank = builder.rank_plain();
  for (const int32_t index : selected) {
    const Target& target = builder.targets()[index];
    ASSIGN_OR_RETURN(rank, builder.rank_at(target));
    if (rank != builder.rank_plain()) return unsupported("adapter_config.json: rank_pattern is not defined for VeRA");
    in_least = std::max(in_least, target.in);
    out_least = std::max(out_least, target.out);
  }
  ASSIGN_OR_RETURN(const Projection projection, read_projection(builder, rank, in_least, out_least));
  for (const int32_t index : selected) {
    RETURN_IF_ERROR(add(builder, index, projection));
    ++report.targets_applied;
  }
  return ok_status();
}

}  // namespace umbel
