#include "apps/sampling_flags.h"

#include "engine/sampling_defaults.h"

namespace umbel::apps {

void SamplingFlags::declare(CLI::App& verb) {
  verb.add_option("--max-tokens", max_tokens, "longest answer in tokens")->check(CLI::PositiveNumber)->capture_default_str();
  verb.add_option("--temperature", temperature, "0 = greedy")->check(CLI::Range(0.0, 100.0));
  verb.add_option("--top-k", top_k, "keep the k most likely tokens (0 = all)")->check(CLI::NonNegativeNumber);
  verb.add_option("--top-p", top_p, "keep the smallest set of tokens with this probability")->check(CLI::Range(0.0, 1.0));
  verb.add_option("--min-p", min_p, "drop tokens below this share of the best one")->check(CLI::Range(0.0, 1.0));
  verb.add_option("--typical-p", typical_p, "locally typical sampling")->check(CLI::Range(0.0, 1.0));
  verb.add_option("--repetition-penalty", repetition_penalty, "1 = off")->check(CLI::Range(0.01, 100.0));
  verb.add_option("--presence-penalty", presence_penalty, "0 = off")->check(CLI::Range(-2.0, 2.0));
  verb.add_option("--frequency-penalty", frequency_penalty, "0 = off")->check(CLI::Range(-2.0, 2.0));
  verb.add_option("--seed", seed, "the same seed gives the same answer, whatever else runs")->capture_default_str();
  verb.add_option("--stop", stop, "end before this text (may be repeated)");
  verb.add_flag("--ignore-eos", ignore_eos, "go on to --max-tokens");
  verb.add_option("--generation-config", generation_config, "auto: the checkpoint's sampling defaults apply; none: they don't")
      ->check(CLI::IsMember({"auto", "none"}))
      ->capture_default_str();
}

SamplingParams SamplingFlags::params(const GenerationConfig& defaults) const {
  const SamplingDefaults none;
  SamplingParams params = default_sampling(generation_config == "auto" ? defaults : none, Unsaid::kGreedy);
  params.temperature = temperature.value_or(params.temperature);
  params.top_k = top_k.value_or(params.top_k);
  params.top_p = top_p.value_or(params.top_p);
  params.min_p = min_p.value_or(params.min_p);
  params.typical_p = typical_p.value_or(params.typical_p);
  params.repetition_penalty = repetition_penalty.value_or(params.repetition_penalty);
  params.presence_penalty = presence_penalty.value_or(0.0f);
  params.frequency_penalty = frequency_penalty.value_or(0.0f);
  params.seed = seed;
  return params;
}

}  // namespace umbel::apps
