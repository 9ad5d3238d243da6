// What the families' own readers of config.json share: extents within limits, the two spellings of the sizes, windows,
// activations, and the fields that must ask for nothing where they are not computed.
//
// Every function names the field that it refuses: kInvalidArgument for a missing or impossible value, kUnsupported for one that
// is not computed. Null counts as absent, except where it is said.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "base/status.h"
#include "io/json.h"
#include "models/config.h"

namespace umbel {

// Larger extents than any model has; they keep products of three of them inside int64.
inline constexpr int64_t kExtentMax = int64_t{1} << 20;
inline constexpr int64_t kVocabMax = int64_t{1} << 24;
inline constexpr int64_t kLayersMax = 1024;
inline constexpr int64_t kHeadDimMax = 1024;
inline constexpr int64_t kPositionsMax = int64_t{1} << 28;

bool field_present(const Json& json, const char* name);
Status impossible_field(const char* name, int64_t value, const std::string& why);
// 1 .. limit.
Result<int64_t> read_extent(const Json& json, const char* name, int64_t limit);
Result<int64_t> read_extent_or(const Json& json, const char* name, int64_t limit, int64_t fallback);
// A positive number; read_cap: 0 where absent.
Result<double> read_positive_or(const Json& json, const char* name, double fallback);
Result<double> read_cap(const Json& json, const char* name, double fallback);

// Fields known to change what some family computes are accepted only with the value that changes nothing, unless this family
// computes them.
Status check_inactive(const Json& json, std::initializer_list<std::string_view> computed);

// vocab_size, hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, num_key_value_heads (heads where absent),
// head_dim (hidden / heads where absent), max_position_embeddings; no window anywhere.
Status read_sizes(const Json& json, ModelConfig& config);
// vocab_size, n_embd, n_inner (4 n_embd where absent), n_layer, n_head, n_positions.
Status read_gpt_sizes(const Json& json, ModelConfig& config);
Status read_epsilon(const Json& json, const char* name, double fallback, ModelConfig& config);
Status read_tied(const Json& json, bool fallback, ModelConfig& config);
// One of the names of transformers' activations.
Status read_activation(const Json& json, const char* name, std::string_view fallback, ModelConfig& config);

// sliding_window: its length; absent gives the fallback, null 0 = none.
Result<int64_t> read_window_length(const Json& json, int64_t fallback);
// config.window from layer_types: "full_attention" or "sliding_attention", one per layer. window 0 = none is configured.
Status apply_layer_types(const Json& types, int64_t window, ModelConfig& config);

}  // namespace umbel
