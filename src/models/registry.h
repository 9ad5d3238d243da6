// The written list of model families (ARCHITECTURE.md, price list: a family is one file, one line here and one golden).
//
// A family is data: how its config.json is read, what its blocks are made of, how its modules are called. What computes and trains
// them is models/decoder.h.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "adapters/targets.h"
#include "base/status.h"
#include "io/json.h"
#include "models/config.h"
#include "models/decoder.h"
#include "models/weights.h"

namespace umbel {

// The last parts of the modules that a kind adapts when nothing is named, space by space: PEFT's table.
struct FamilyTargets {
  std::string_view lora;
  std::string_view vera;
  std::string_view ia3;
  std::string_view feedforward;  // IA3's, on the input side
  std::string_view all;          // every linear layer
};

struct Family {
  std::string_view model_type;    // config.json's
  std::string_view architecture;  // the one of config.json's "architectures" that is computed here
  std::string_view prefix;        // before all modules but the head; files of the base without its head leave it out
  std::string_view embedding;     // its path
  FamilyTargets targets;
  // Fills everything of the config that is not common (models/config.cc): sizes, norms, windows, RoPE.
  Status (*read_config)(const Json& json, ModelConfig& config);
  // Asks weights for every module, in the order of the network.
  DecoderParts (*make)(const ModelConfig& config, Weights& weights);
};

// One line each; the definitions stand in the families' own files.
extern const Family kLlama, kMistral, kQwen2, kQwen3;
extern const Family kGpt2, kGptBigCode;
extern const Family kGemma, kGemma2, kGemma3Text;
extern const Family kPhi, kPhi3;
extern const Family kStarCoder2, kGptNeoX;
extern const Family kGranite, kOlmo2, kSmolLm3;

std::span<const Family* const> families();
// Null when unknown.
const Family* find_family(std::string_view model_type);
DefaultTargets default_targets(const Family& family);
// "llama, mistral, qwen2, ...".
std::string known_model_types();
// kUnsupported naming the known ones and the nearest.
Status unknown_model_type(const std::string& model_type);

}  // namespace umbel
