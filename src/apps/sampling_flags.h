// Sampling flags of generate and chat, on top of the checkpoint's own defaults (generation_config.json).
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "engine/request.h"
#include "models/generation_config.h"

namespace umbel::apps {

struct SamplingFlags {
  std::optional<float> temperature, top_p, min_p, typical_p, repetition_penalty, presence_penalty, frequency_penalty;
  std::optional<int> top_k;
  uint64_t seed = 0;
  int max_tokens = 256;
  std::vector<std::string> stop;
  bool ignore_eos = false;
  std::string generation_config = "auto";  // auto | none

  void declare(CLI::App& verb);
  // defaults: the checkpoint's; ignored with --generation-config none.
  SamplingParams params(const GenerationConfig& defaults) const;
};

}  // namespace umbel::apps
