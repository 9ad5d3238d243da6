// MiSS, matrix shard sharing (Kang and Yin 2024; PEFT 0.21 miss/layer.py): one block of rows, shared by all shards of W's inputs.
//
//   miss_block [r, out]: y[o] += sum_i miss_block[i mod r, o] x[i]
//   init_weights "mini": miss_block [r, mini_r], repeated along the outputs
//   init_weights "bat": a change that depends on W nonlinearly, which is no sum of terms: refused
//
// Served as the low-rank product of rank r whose A (miss_sums.h) is no parameter; modules of one width share it.
#include <map>

#include "adapters/kinds.h"
#include "adapters/miss_sums.h"

namespace umbel {
namespace {

struct MissFields {
  bool mini = false;
  int64_t mini_r = 1;
};

Result<MissFields> read_fields(Fields& fields) {
  MissFields miss;
  ASSIGN_OR_RETURN(miss.mini_r, fields.integer("mini_r", 1));
  fields.ignore({"miss_dropout"});
  const OrderedJson* init = fields.take("init_weights");
  if (init == nullptr || init->is_boolean()) return miss;
  if (!init->is_string()) return field_error("init_weights", *init, "true, false, \"mini\" or \"bat\"");
  const std::string& name = init->get_ref<const std::string&>();
  if (name == "bat") {
    return unsupported("adapter_config.json: init_weights is 'bat', a change of the weights that depends on them and is not computed here; "
                       "merge the adapter into its base with PEFT");
  }
  if (name != "mini") return field_error("init_weights", *init, "true, false, \"mini\" or \"bat\"");
  miss.mini = true;
  return miss;
}

class MissBuild {
 public:
  MissBuild(Builder& builder, const MissFields& fields) : builder_(builder), fields_(fields) {}

  Status add(int32_t index) {
    const Target& target = builder_.targets()[index];
    ASSIGN_OR_RETURN(const int64_t rank, builder_.rank_at(target));
    if (rank != builder_.rank_plain()) return unsupported("adapter_config.json: rank_pattern is not defined for MiSS");
    if (rank > target.in) {
      return invalid_argument("adapter_config.json: r is " + std::to_string(rank) + ", more than the " + std::to_string(target.in) +
                              " inputs of " + target.path + ", which MiSS can't divide into so many");
    }
    ASSIGN_OR_RETURN(Tensor block, read_block(target, rank));
    ASSIGN_OR_RETURN(LinearTerms* const terms, builder_.add_linear(index));
    const Tensor& a = sums(rank, target.in);
    LowRankTerm term;
    term.rank = static_cast<int32_t>(rank);
    term.dtype = a.dtype();
    term.a = a.data();
    term.b_t = builder_.adapter().keep(Tensor::converted(block.view(), term.dtype));
    term.a_stride = target.in;
    term.b_stride = target.out;
    terms->low_rank.push_back(term);
    return ok_status();
  }

 private:
  // [r, out].
  Result<Tensor> read_block(const Target& target, int64_t rank) {
    if (!fields_.mini) return builder_.take(target, kMissBlock, rank);
    if (fields_.mini_r < 1 || target.out % fields_.mini_r != 0) {
      return invalid_argument("adapter_config.json: mini_r is " + std::to_string(fields_.mini_r) + ", which does not divide the " +
                              std::to_string(target.out) + " outputs of " + target.path);
    }
    ASSIGN_OR_RETURN(const Tensor mini, builder_.take(target, kMissBlock.suffix, {rank, fields_.mini_r}));
    Tensor block(DType::kF32, {rank, target.out});
    for (int64_t i = 0; i < block.elements(); ++i) {
      block.f32()[i] = mini.f32()[i / target.out * fields_.mini_r + i % target.out % fields_.mini_r];
    }
    return block;
  }

  // One for all modules of a width, and for all adapters where they meet.
  const Tensor& sums(int64_t rank, int64_t in) {
    std::shared_ptr<const Tensor>& made = sums_[in];
    if (made == nullptr) {
      Tensor stored = Tensor::converted(miss_sums(rank, in).view(), builder_.options().factor_dtype);
      SharedTensors* pool = builder_.options().shared;
      made = pool != nullptr ? pool->intern(std::move(stored)) : std::make_shared<const Tensor>(std::move(stored));
      builder_.adapter().keep_shared(made, made->bytes());
    }
    return *made;
  }

  Builder& builder_;
  const MissFields& fields_;
  std::map<int64_t, std::shared_ptr<const Tensor>> sums_;
};

}  // namespace

Status build_miss(Builder& builder) {
  ASSIGN_OR_RETURN(const MissFields fields, read_fields(builder.fields()));
  ASSIGN_OR_RETURN(const std::vector<int32_t> selected, builder.select(/*embeddings_allowed=*/false));
  AdapterReport& report = builder.adapter().edit_report();
  report.targets_declared = static_cast<int32_t>(selected.size());
  MissBuild build(builder, fields);
  for (const int32_t index : selected) {
    RETURN_IF_ERROR(build.add(index));
    ++report.targets_applied;
  }
  return ok_status();
}

}  // namespace umbel
