// Trainable tokens: PATH.token_adapter.trainable_tokens_delta [n, dim] holds whole rows that replace those of the
// embedding or head (PEFT 0.21, utils/other.py set_additional_trainable_modules; behaviour on tied bases recorded from
// it).
#include <algorithm>
#include <cstring>
#include <numeric>
#include <optional>

#include "adapters/tokens.h"

namespace umbel {
namespace {

struct TokenRows {
  std::vector<int32_t> tokens;  // ascending
  Tensor rows;                  // [tokens, dim]
};

using TokenLists = std::map<int32_t, std::vector<int64_t>>;  // target -> indices as in the file

Result<std::vector<int64_t>> as_tokens(const OrderedJson& value) {
  if (!value.is_array()) return field_error("trainable_token_indices", value, "a list of token ids");
  std::vector<int64_t> tokens;
  for (const OrderedJson& item : value) {
    const std::optional<int64_t> token = as_integer(item);
    if (!token) return field_error("trainable_token_indices", item, "a list of token ids");
    tokens.push_back(*token);
  }
  return tokens;
}

// A list speaks of the input embedding; an object has module names as keys.
Result<TokenLists> token_lists(const Builder& builder, const OrderedJson& value) {
  TokenLists lists;
  if (!value.is_object()) {
    ASSIGN_OR_RETURN(lists[builder.find_kind(TargetKind::kEmbedding)], as_tokens(value));
    return lists;
  }
  for (auto field = value.begin(); field != value.end(); ++field) {
    const std::string& name = field.key();
    ASSIGN_OR_RETURN(const std::vector<int64_t> tokens, as_tokens(*field));
    bool found = false;
    for (int32_t index = 0; index < builder.targets().size(); ++index) {
      const Target& target = builder.targets()[index];
      if (!target.path.ends_with(name)) continue;
      if (target.kind != TargetKind::kEmbedding && target.kind != TargetKind::kHead) {
        return unsupported("adapter_config.json: trainable_token_indices names " + name +
                           ", which is neither the embedding nor the head");
      }
      lists[index] = tokens;
      found = true;
    }
    if (!found) {
      return failed_precondition("adapter_config.json: trainable_token_indices names " + name +
                                 ", which the base model does not have");
    }
  }
  return lists;
}

Result<TokenRows> read_rows(Builder& builder, int32_t index, const std::vector<int64_t>& tokens) {
  const Target& target = builder.targets()[index];
  const int64_t vocab = target.kind == TargetKind::kHead ? target.out : target.in;
  const int64_t dim = target.kind == TargetKind::kHead ? target.in : target.out;
  const auto count = static_cast<int64_t>(tokens.size());
  ASSIGN_OR_RETURN(const Tensor rows, builder.take(target, "token_adapter.trainable_tokens_delta", {count, dim}));
  std::vector<int64_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int64_t left, int64_t right) { return tokens[left] < tokens[right]; });
  TokenRows sorted{{}, Tensor(DType::kF32, {count, dim})};
  for (int64_t i = 0; i < count; ++i) {
    const int64_t token = tokens[order[i]];
    if (token < 0 || token >= vocab) {
      return invalid_argument("adapter_config.json: trainable_token_indices has " + std::to_string(token) +
                              ", the vocabulary has " + std::to_string(vocab) +
                              " entries; of a model that was resized for added tokens, the adapter's file must hold the embedding and "
                              "the head (save_pretrained with save_embedding_layers=True)");
    }
    if (i > 0 && sorted.tokens.back() == token) {
      return invalid_argument("adapter_config.json: trainable_token_indices has " + std::to_string(token) + " twice");
    }
    sorted.tokens.push_back(static_cast<int32_t>(token));
    std::memcpy(sorted.rows.f32() + i * dim, rows.f32() + order[i] * dim, dim * sizeof(float));
  }
  return sorted;
}

// Few rows: a low-rank term whose A is (new row - base row) and whose B picks the logit. Many: a head of the adapter's
// own.
Status replace_head_rows(Builder& builder, int32_t index, const TokenRows& replaced) {
  const Target& target = builder.targets()[index];
  if (builder.is_saved(index)) {
    return unsupported("adapter_config.json: the head " + target.path +
                       " is saved whole and follows trainable_token_indices of the tied embedding at the same time");
  }
  const auto count = static_cast<int64_t>(replaced.tokens.size());
  LinearTerms& terms = builder.adapter().edit_linear(index);
  if (!terms.scale.empty()) {
    return unsupported("adapter_config.json: trainable tokens on the head " + target.path +
                       " together with use_dora are not computed here");
  }
  if (count * 8 > target.in) {
    Tensor weight(DType::kF32, {target.out, target.in});
    for (int64_t row = 0; row < target.out; ++row) read_weight_row(target, row, weight.f32() + row * target.in);
    for (int64_t i = 0; i < count; ++i) {
      std::memcpy(weight.f32() + replaced.tokens[i] * target.in, replaced.rows.f32() + i * target.in,
                  target.in * sizeof(float));
    }
    terms.own_weight = builder.own_weight(target, weight);
    return ok_status();
  }
  Tensor a(DType::kF32, {count, target.in});
  Tensor b_t(DType::kF32, {count, target.out});
  for (int64_t i = 0; i < count; ++i) {
    float* row = a.f32() + i * target.in;
    read_weight_row(target, replaced.tokens[i], row);
    for (int64_t j = 0; j < target.in; ++j) row[j] = replaced.rows.f32()[i * target.in + j] - row[j];
    b_t.f32()[i * target.out + replaced.tokens[i]] = 1.0f;
  }
  LowRankTerm term;
  term.rank = static_cast<int32_t>(count);
  term.a_stride = target.in;
  term.b_stride = target.out;
  term.a = builder.adapter().keep_f32(std::move(a));
  term.b_t = builder.adapter().keep_f32(std::move(b_t));
  terms.low_rank.push_back(term);
  return ok_status();
}

}  // namespace

Status build_trainable_tokens(Builder& builder, const OrderedJson& indices, bool ensure_weight_tying) {
  const int32_t embedding = builder.find_kind(TargetKind::kEmbedding);
  const int32_t head = builder.find_kind(TargetKind::kHead);
  ASSIGN_OR_RETURN(TokenLists lists, token_lists(builder, indices));
  const bool tied = head >= 0 && embedding >= 0 && builder.targets()[embedding].tied;
  const bool both = lists.contains(embedding) && lists.contains(head);
  const bool differ = both && lists[embedding] != lists[head];
  if (tied && differ && ensure_weight_tying) {
    return invalid_argument(
        "adapter_config.json: ensure_weight_tying is set, but trainable_token_indices differ between "
        "the embedding and the head");
  }
  const bool head_follows = tied && lists.contains(embedding) && !differ;
  if (head_follows) lists.erase(head);
  for (const auto& [index, tokens] : lists) {
    if (tokens.empty()) continue;
    if (builder.is_saved(index)) {
      return unsupported("adapter_config.json: " + builder.targets()[index].path +
                         " is in modules_to_save and in trainable_token_indices");
    }
    ASSIGN_OR_RETURN(TokenRows replaced, read_rows(builder, index, tokens));
    if (index == head) {
      RETURN_IF_ERROR(replace_head_rows(builder, head, replaced));
      continue;
    }
    if (head_follows) RETURN_IF_ERROR(replace_head_rows(builder, head, replaced));
    EmbeddingTerms& terms = builder.adapter().add_embedding();
    terms.replaced_tokens = std::move(replaced.tokens);
    terms.replaced_rows = builder.adapter().keep_f32(std::move(replaced.rows));
  }
  return ok_status();
}

}  // namespace umbel
