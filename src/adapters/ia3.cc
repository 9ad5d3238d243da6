// IA3 (Liu et al. 2022; PEFT 0.21 ia3/layer.py): one vector per module.
//
//   ia3_l [out, 1]: multiplies the output, bias included; in modules of feedforward_modules ia3_l [1, in]: the input
#include "adapters/kinds.h"

namespace umbel {
namespace {

// PEFT: a list matches plain endings (no dot needed), a string is a pattern for the whole path.
class FeedForward {
 public:
  static Result<FeedForward> read(Fields& fields) {
    FeedForward made;
    const OrderedJson* value = fields.take("feedforward_modules");
    if (value == nullptr) return made;
    made.known_ = true;
    if (value->is_string()) {
      ASSIGN_OR_RETURN(Pattern pattern, Pattern::compile(value->get_ref<const std::string&>()));
      made.pattern_.push_back(std::move(pattern));
      return made;
    }
    ASSIGN_OR_RETURN(made.endings_, fields.texts("feedforward_modules"));
    return made;
  }

  bool known() const { return known_; }

  Result<bool> matches(std::string_view path) const {
    if (!pattern_.empty()) return pattern_[0].full_match(path);
    for (const std::string& ending : endings_) {
      if (path.ends_with(ending)) return true;
    }
    return false;
  }

 private:
  bool known_ = false;
  std::vector<Pattern> pattern_;
  std::vector<std::string> endings_;
};

Status add(Builder& builder, int32_t index, bool input_side) {
  const Target& target = builder.targets()[index];
  ASSIGN_OR_RETURN(Tensor vector, builder.take(target, input_side ? kIa3Input : kIa3Output, 1));
  ASSIGN_OR_RETURN(LinearTerms* const terms, builder.add_linear(index));
  const float* l = builder.adapter().keep_f32(std::move(vector));
  terms->scale.push_back(input_side ? ScaleTerm{l, nullptr} : ScaleTerm{nullptr, l});
  const float* base = builder.bias_of(index);
  if (input_side || base == nullptr) return ok_status();
  Tensor bias(DType::kF32, {target.out});
  for (int64_t i = 0; i < target.out; ++i) bias.f32()[i] = l[i] * base[i];
  terms->bias = builder.adapter().keep_f32(std::move(bias));
  return ok_status();
}

}  // namespace

Status build_ia3(Builder& builder) {
  ASSIGN_OR_RETURN(const FeedForward feed_forward, FeedForward::read(builder.fields()));
  builder.fields().ignore({"fan_in_fan_out", "init_ia3_weights"});
  ASSIGN_OR_RETURN(const std::vector<int32_t> selected, builder.select(/*embeddings_allowed=*/false));
  AdapterReport& report = builder.adapter().edit_report();
  report.targets_declared = static_cast<int32_t>(selected.size());
  for (const int32_t index : selected) {
    const Target& target = builder.targets()[index];
    ASSIGN_OR_RETURN(bool input_side, feed_forward.matches(target.path));
    if (!feed_forward.known()) {  // PEFT fills the field from a table by model type; the file's shapes say the same
      const TensorView* view = builder.take_view(Builder::tensor_name(target, kIa3Input.suffix));
      input_side = view != nullptr && view->shape == file_shape(kIa3Input, target, 1);
    }
    RETURN_IF_ERROR(add(builder, index, input_side));
    ++report.targets_applied;
  }
  return ok_status();
}

}  // namespace umbel
