#include "models/llama.h"

#include <algorithm>

#include "nn/attention.h"
#include "nn/embedding.h"
#include "nn/head.h"
#include "nn/mlp.h"
#include "nn/norm.h"
#include "nn/rope.h"

namespace umbel {
namespace {

// Target indices and shapes of one layer.
struct Layer {
  int32_t input_norm = -1;
  Attention attention;
  int32_t post_norm = -1;
  Mlp mlp;
};

class Llama final : public Model {
 public:
  Llama(const ModelConfig& config, Weights& weights);

  size_t weight_bytes() const override { return storage_.bytes(); }
  void forward(kernels::Context& context, const Rows& rows, const KvCache& kv, MatrixF logits) const override;
  size_t scratch_bytes(int64_t rows, int64_t logit_rows, int64_t rank_max) const override;

 private:
  Layer make_layer(Weights& weights, int64_t index) const;
  // x += f(norm(x)), twice.
  void layer_forward(const Step& step, const Layer& layer, const kernels::KvLayer& cache, MatrixF x) const;

  float epsilon_;
  int32_t embedding_ = -1;
  Head head_;
  std::vector<Layer> layers_;
  Rope rope_;
  WeightStorage storage_;
};

// ---- construction -------------------------------------------------------------------------------------------------

Llama::Llama(const ModelConfig& config, Weights& weights)
    : epsilon_(static_cast<float>(config.rms_norm_eps)), rope_(config.rope, config.head_dim) {
  config_ = config;
  weight_dtype_ = weights.stored();
  const int64_t vocab = config.vocab_size;
  const int64_t hidden = config.hidden_size;
  if (config.tie_word_embeddings) {
    const Weights::Tied tied = weights.tied_embedding("model.embed_tokens", "lm_head", vocab, hidden);
    embedding_ = tied.embedding;
    head_.projection = tied.head;
  } else {
    embedding_ = weights.embedding("model.embed_tokens", vocab, hidden);
    head_.projection = weights.head("lm_head", vocab, hidden);
  }
  for (int64_t index = 0; index < config.layers; ++index) layers_.push_back(make_layer(weights, index));
  head_.norm = weights.norm("model.norm", hidden);
  head_.norm_epsilon = epsilon_;
  targets_ = weights.take_targets();
  storage_ = weights.take_storage();
  parameters_ = storage_.parameters;
}

Layer Llama::make_layer(Weights& weights, int64_t index) const {
  const ModelConfig& c = config_;
  const std::string path = "model.layers." + std::to_string(index);
  const int64_t width = c.heads * c.head_dim;
  const int64_t kv_width = c.kv_heads * c.head_dim;
  Layer layer;
  layer.input_norm = weights.norm(path + ".input_layernorm", c.hidden_size);
  Attention& a = layer.attention;
  a.q = weights.linear(path + ".self_attn.q_proj", width, c.hidden_size, c.attention_bias);
  a.k = weights.linear(path + ".self_attn.k_proj", kv_width, c.hidden_size, c.attention_bias);
  a.v = weights.linear(path + ".self_attn.v_proj", kv_width, c.hidden_size, c.attention_bias);
  a.o = weights.linear(path + ".self_attn.o_proj", c.hidden_size, width, c.attention_out_bias);
  if (c.qk_norm) {
    a.q_norm = weights.norm(path + ".self_attn.q_norm", c.head_dim);
    a.k_norm = weights.norm(path + ".self_attn.k_norm", c.head_dim);
  }
  a.heads = static_cast<int32_t>(c.heads);
  a.kv_heads = static_cast<int32_t>(c.kv_heads);
  a.head_dim = static_cast<int32_t>(c.head_dim);
  a.window = c.window[index];
  a.norm_epsilon = epsilon_;
  layer.post_norm = weights.norm(path + ".post_attention_layernorm", c.hidden_size);
  layer.mlp.gate = weights.linear(path + ".mlp.gate_proj", c.intermediate_size, c.hidden_size, c.mlp_bias);
  layer.mlp.up = weights.linear(path + ".mlp.up_proj", c.intermediate_size, c.hidden_size, c.mlp_bias);
  layer.mlp.down = weights.linear(path + ".mlp.down_proj", c.hidden_size, c.intermediate_size, c.mlp_bias);
  return layer;
}

// ---- forward ------------------------------------------------------------------------------------------------------

void Llama::forward(kernels::Context& context, const Rows& rows, const KvCache& kv, MatrixF logits) const {
  const Arena::Mark mark(context.scratch);
  const MatrixF angles = take_matrix(context, rows.count(), config_.head_dim);
  rope_.angles(context, rows.positions, rows.rope_lengths, angles);
  const Step step{context, targets_, rows, angles};

  const MatrixF x = take_matrix(context, rows.count(), config_.hidden_size);
  embedding_forward(step, embedding_, x);
  for (size_t i = 0; i < layers_.size(); ++i) layer_forward(step, layers_[i], kv.layer(static_cast<int32_t>(i)), x);
  head_forward(step, head_, x, logits);
}

void Llama::layer_forward(const Step& step, const Layer& layer, const kernels::KvLayer& cache, MatrixF x) const {
  const Arena::Mark mark(step.context.scratch);
  const MatrixF normed = take_matrix(step.context, x.rows, x.cols);
  const MatrixF change = take_matrix(step.context, x.rows, x.cols);

  norm(step, layer.input_norm, epsilon_, x, normed);
  attention_forward(step, layer.attention, cache, normed, change);
  kernels::add(step.context, change, x);

  norm(step, layer.post_norm, epsilon_, x, normed);
  mlp_forward(step, layer.mlp, normed, change);
  kernels::add(step.context, change, x);
}

size_t Llama::scratch_bytes(int64_t rows, int64_t logit_rows, int64_t rank_max) const {
  const int64_t hidden = config_.hidden_size;
  const size_t held = ScratchSum().add(rows * config_.head_dim).add(rows * hidden).bytes();
  size_t inner = norm_scratch_bytes(rows, 1);
  if (!layers_.empty()) {
    const Layer& layer = layers_.front();  // all layers have one shape
    inner = std::max({inner, attention_scratch_bytes(targets_, layer.attention, rows, rank_max),
                      mlp_scratch_bytes(targets_, layer.mlp, rows, rank_max)});
  }
  inner += ScratchSum().add(rows * hidden).add(rows * hidden).bytes();
  return held + std::max(inner, head_scratch_bytes(targets_, head_, logit_rows, rank_max));
}

}  // namespace

Result<std::shared_ptr<const Model>> build_llama(const ModelConfig& config, Weights& weights) {
  std::shared_ptr<const Model> model = std::make_shared<Llama>(config, weights);
  RETURN_IF_ERROR(weights.finish());
  return model;
}

}  // namespace umbel
