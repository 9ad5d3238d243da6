// LoHa: dW = s (W1a W1b) o (W2a W2b), trained through the low-rank product of rank r * r that it is (adapters/khatri_rao.h): the product
// is made anew after every change of the factors, and its gradient comes back to theirs.
//
// Starts as PEFT starts it: W1a, W1b and W2a Kaiming-uniform with a = sqrt(5), W2b 0.
#include <algorithm>
#include <utility>

#include "adapters/khatri_rao.h"
#include "train/kinds/kind_training.h"

namespace umbel::train {
namespace {

// One side of the product: two masters [rank, width] and what the term reads, [rank * rank, width].
struct Side {
  Master first, second;
  int64_t rank, width;
  float* product;
  float* gradient;

  FactorPair pair() const { return {first.value, second.value, rank, width}; }
};

class LohaProduct final : public Derived {
 public:
  LohaProduct(const Side& in, const Side& out) : sides_{in, out} {}

  void materialize(ThreadPool*) override {
    for (const Side& side : sides_) khatri_rao(side.pair(), side.product);
  }
  void zero_gradients() override {
    for (const Side& side : sides_) std::fill_n(side.gradient, side.pair().product_size(), 0.0f);
  }
  void gather() override {
    for (const Side& side : sides_) khatri_rao_vjp(side.pair(), side.gradient, {side.first.gradient, side.second.gradient});
  }

 private:
  Side sides_[2];
};

Side make_side(TrainableBuild& build, const std::pair<Master, Master>& factors, int64_t rank, int64_t width) {
  return {.first = factors.first, .second = factors.second, .rank = rank, .width = width,
          .product = build.add_buffer(rank * rank * width), .gradient = build.add_buffer(rank * rank * width)};
}

Status add(TrainableBuild& build, int32_t index) {
  const Target& target = build.target(index);
  ASSIGN_OR_RETURN(const int64_t rank, build.rank_at(index));
  ASSIGN_OR_RETURN(const double alpha, build.alpha_at(index));
  const Master out_first = build.add_parameter(index, kLohaTensors.first_out, rank);
  const Master in_first = build.add_parameter(index, kLohaTensors.first_in, rank);
  const Master out_second = build.add_parameter(index, kLohaTensors.second_out, rank);
  const Master in_second = build.add_parameter(index, kLohaTensors.second_in, rank);
  const Side in = make_side(build, {in_first, in_second}, rank, target.in);
  const Side out = make_side(build, {out_first, out_second}, rank, target.out);
  build.add_low_rank(index,
                     {.rank = static_cast<int32_t>(rank * rank), .a = in.product, .b_t = out.product, .a_stride = target.in,
                      .b_stride = target.out, .scale = lora_scale(alpha, rank, /*rslora=*/false)},
                     {.a = in.gradient, .b_t = out.gradient});
  build.add_derived(std::make_unique<LohaProduct>(in, out));
  return ok_status();
}

}  // namespace

Json loha_fields(const JobSpec& spec) {
  return {{"peft_type", "LOHA"},       {"r", spec.rank},         {"alpha", spec.alpha},
          {"rank_dropout", 0.0},       {"module_dropout", 0.0},  {"use_effective_conv2d", false},
          {"init_weights", true},      {"rank_pattern", spec.rank_pattern}, {"alpha_pattern", spec.alpha_pattern}};
}

Status train_loha(TrainableBuild& build, const Selected& selected) {
  for (const int32_t index : selected) RETURN_IF_ERROR(add(build, index));
  return ok_status();
}

}  // namespace umbel::train
