#include "train/run_fields.h"

#include "io/sha256.h"

namespace umbel {
namespace {

constexpr size_t kFingerprintDigits = 16;  // of the 64 that SHA-256 has: these tell files apart, nobody forges them

Json optimisation_fields(const JobSpec& job) {
  return {{"optimizer", optimizer_name(job.optimizer)},
          {"momentum", job.momentum},
          {"learning_rate", job.learning_rate},
          {"schedule", schedule_name(job.schedule)},
          {"schedule_floor", job.schedule_floor},
          {"warmup_share", job.warmup_share},
          {"clip", job.clip},
          {"beta1", job.beta1},
          {"beta2", job.beta2},
          {"epsilon", job.epsilon},
          {"weight_decay", job.weight_decay},
          {"epochs", job.epochs},
          {"batch", job.batch},
          {"shuffle", job.shuffle},
          {"seed", job.seed}};
}

Json adapter_fields(const JobSpec& job) {
  return {{"name", job.name},
          {"kind", train_kind_name(job.kind)},
          {"rank", job.rank},
          {"alpha", job.alpha},
          {"targets", job.targets},
          {"target_regex", job.target_regex},
          {"all_linear", job.all_linear},
          {"exclude", job.exclude},
          {"layers", job.layers},
          {"feedforward", job.feedforward},
          {"rank_pattern", job.rank_pattern},
          {"alpha_pattern", job.alpha_pattern},
          {"dropout", job.dropout},
          {"lora_plus_ratio", job.lora_plus_ratio},
          {"flora_init", flora_init_name(job.flora_init)},
          {"flora_init_scale", job.flora_init_scale},
          {"vera_d_initial", job.vera_d_initial},
          {"vera_projection_key", job.vera_projection_key},
          {"init", full_init_name(job.full.init)},
          {"random_std", job.full.random_std},
          {"decay_vectors", job.full.decay_vectors},
          {"save_dtype", job.full.dtype}};
}

}  // namespace

Json job_fields(const JobPlan& plan) {
  Json fields = adapter_fields(plan.job);
  fields.update(optimisation_fields(plan.job));
  fields.update({{"eval_rows", plan.eval_rows},
                 {"eval_every", plan.life.eval_every},
                 {"patience", plan.life.patience},
                 {"keep_best", plan.life.keep_best},
                 {"spike", plan.life.spike},
                 {"worse_than_base_fails", plan.life.worse_than_base_fails},
                 {"length_max", plan.dataset.length_max},
                 {"format", row_format_name(plan.dataset.format)},
                 {"pack", plan.dataset.pack},
                 {"start_from", plan.start_from},
                 {"sweep", plan.sweep}});
  return fields;
}

std::string dataset_fingerprint(const Dataset& data) {
  Sha256 hash;
  for (const Example& example : data.examples) {
    hash.add_u64(example.tokens.size());
    hash.add(example.tokens.data(), example.tokens.size() * sizeof(TokenId));
    hash.add(example.trained.data(), example.trained.size());
  }
  return hash.hex().substr(0, kFingerprintDigits);
}

std::string weights_fingerprint(const Safetensors& weights) {
  constexpr size_t kSamples = 16, kSampleBytes = 4096;
  Sha256 hash;
  for (const auto& [name, tensor] : weights.tensors()) {
    hash.add_text(name);
    hash.add_text(dtype_name(tensor.dtype));
    hash.add_text(shape_string(tensor.shape));
    const auto* bytes = static_cast<const unsigned char*>(tensor.data);
    const size_t count = tensor.bytes();
    if (count <= kSamples * kSampleBytes) {
      hash.add(bytes, count);
      continue;
    }
    for (size_t i = 0; i < kSamples; ++i) hash.add(bytes + (count - kSampleBytes) * i / (kSamples - 1), kSampleBytes);
  }
  return hash.hex().substr(0, kFingerprintDigits);
}

Status same_fields(const std::string& what, const Json& recorded, const Json& now) {
  for (const auto& [name, value] : now.items()) {
    const Json before = recorded.is_object() && recorded.contains(name) ? recorded[name] : Json();
    // Through text: the recorded one came from a file, where 3.0 and 3 are alike.
    if (before == value || before.dump() == value.dump()) continue;
    return failed_precondition(what + ": " + name + " was " + before.dump() + " when the checkpoint was made and is " + value.dump() +
                               " now; put it back, or begin anew without --resume in another folder");
  }
  return ok_status();
}

}  // namespace umbel
