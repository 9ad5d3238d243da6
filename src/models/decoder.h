// Decoder: a language model as a list of blocks between an embedding and a head, walked down to serve and up to train. The one
// model class; families make the list (models/registry.h).
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "models/block.h"
#include "models/config.h"
#include "models/model.h"
#include "models/weights.h"
#include "nn/head.h"
#include "nn/rope.h"

namespace umbel {

struct Family;  // models/registry.h

struct DecoderParts {
  int32_t embedding = -1;
  int32_t positions = -1;     // a table of learned positions
  float embedding_scale = 1;  // of the token's row, before its position's
  std::vector<Rope> ropes;    // that Attention::rope counts; at most kRopesMax
  std::vector<Block> blocks;  // all keep equally many numbers
  Head head;
};

// The parts that most families share: the embedding at `path` and the head, tied or not; RoPE as config says; a block's attention
// without its projections.
struct VocabularyNames {
  std::string_view embedding = "model.embed_tokens";
  std::string_view head = "lm_head";
};
void make_vocabulary(const ModelConfig& config, const VocabularyNames& names, Weights& weights, DecoderParts& parts);
void make_ropes(const ModelConfig& config, DecoderParts& parts);
Attention make_attention(const ModelConfig& config, int64_t layer);

// Takes every tensor that the family needs; weights.finish() names what is missing or left over.
Result<std::shared_ptr<const Model>> build_decoder(const Family& family, const ModelConfig& config, Weights& weights);

}  // namespace umbel
