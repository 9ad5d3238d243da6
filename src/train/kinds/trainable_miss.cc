// MiSS: one block of r rows a module, 0 at the start, that all shards of W's inputs share; the sums over the shards
// (adapters/miss_sums.h) are a frozen factor, one for all modules of a width.
#include "adapters/miss_sums.h"
#include "train/kinds/kind_training.h"

namespace umbel::train {

Json miss_fields(const JobSpec& spec) {
  return {{"peft_type", "MISS"}, {"r", spec.rank}, {"mini_r", 1}, {"miss_dropout", spec.dropout}, {"bias", "none"}, {"init_weights", true}};
}

Status train_miss(TrainableBuild& build, const Selected& selected) {
  const int64_t rank = build.spec().rank;
  std::map<int64_t, std::shared_ptr<const Tensor>> sums;  // by width
  for (const int32_t index : selected) {
    const Target& target = build.target(index);
    if (rank > target.in) {
      return invalid_argument(build.spec().name + ": rank " + std::to_string(rank) + " is more than the " + std::to_string(target.in) +
                              " inputs of " + target.path + ", which MiSS can't divide into so many");
    }
    std::shared_ptr<const Tensor>& a = sums[target.in];
    if (a == nullptr) {
      a = build.share(miss_sums(rank, target.in));
      build.keep(a);
    }
    const Master block = build.add_parameter(index, kMissBlock, rank);
    build.add_low_rank(index,
                       {.rank = static_cast<int32_t>(rank), .a = a->data(), .b_t = block.value, .a_stride = target.in, .b_stride = target.out},
                       {.b_t = block.gradient});
    build.terms(index).dropout = static_cast<float>(build.spec().dropout);
  }
  return ok_status();
}

}  // namespace umbel::train
