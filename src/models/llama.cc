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

// What one layer keeps for its mirror; views into the pass's memory.
struct LayerSaved {
  MatrixF input;   // [M, hidden] residual stream before the layer
  MatrixF middle;  // [M, hidden] after attention
  AttentionSaved attention;
  MlpSaved mlp;
};

class Llama final : public Model, public Training {
 public:
  Llama(const ModelConfig& config, Weights& weights);

  size_t weight_bytes() const override { return storage_.bytes(); }
  void forward(kernels::Context& context, const Rows& rows, const KvCache& kv, MatrixF logits) const override;
  size_t scratch_bytes(int64_t rows, int64_t logit_rows, int64_t rank_max) const override;

  Result<const Training*> training() const override;
  size_t saved_floats(int64_t rows, Keep keep) const override;
  void forward_saving(kernels::Context& context, const TrainPass& pass, MatrixF x) const override;
  void backward(kernels::Context& context, const TrainPass& pass, MatrixF dx) const override;
  size_t scratch_bytes(const BackwardShape& shape) const override;
  const Head& head() const override { return head_; }

 private:
  Layer make_layer(Weights& weights, int64_t index) const;
  // x += f(norm(x)), twice.
  void layer_forward(const Step& step, const Layer& layer, const kernels::KvLayer& cache, MatrixF x) const;
  // The same, keeping what layer_backward needs, and its mirror.
  void layer_forward_saving(const Step& step, const Layer& layer, const kernels::KvLayer& cache, const LayerSaved& saved,
                            MatrixF x) const;
  // The lowest layer that the mirror has to reach: below it nothing is trained. layers_.size() = none at all.
  size_t lowest_trained(TargetGradients gradients) const;
  // From the gradient of the layer's output, in dx, to that of its input; that one only where it is wanted.
  void layer_backward(const Backward& backward, const Layer& layer, const LayerSaved& saved, MatrixF dx, bool input_wanted) const;
  LayerSaved saved_of(const TrainPass& pass, size_t layer, int64_t rows) const;
  int64_t saved_floats_per_row() const;

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
  weight_dtype_ = weights.form().dtype;
  quantisation_ = weights.form().linear;
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

// ---- training: forward that keeps, and under it its mirror ----------------------------------------------------------

Result<const Training*> Llama::training() const {
  if (config_.rope.type == RopeType::kDynamic) return unsupported("training with dynamic RoPE scaling is not built yet");
  return static_cast<const Training*>(this);
}

int64_t Llama::saved_floats_per_row() const {
  const ModelConfig& c = config_;
  const int64_t raw = c.qk_norm ? c.heads * c.head_dim + c.kv_heads * c.head_dim : 0;
  return 2 * c.hidden_size + 2 * c.heads * c.head_dim + 2 * c.kv_heads * c.head_dim + raw + 2 * c.intermediate_size;
}

size_t Llama::saved_floats(int64_t rows, Keep keep) const {
  const auto all = static_cast<size_t>(rows * saved_floats_per_row());
  if (keep == Keep::kAll) return all * layers_.size();
  return static_cast<size_t>(rows * config_.hidden_size) * layers_.size() + all;
}

// With Keep::kLayerInputs: the inputs of all layers, then what the layer at hand needs besides.
LayerSaved Llama::saved_of(const TrainPass& pass, size_t layer, int64_t rows) const {
  const bool inputs_only = pass.keep == Keep::kLayerInputs;
  const auto input_floats = static_cast<size_t>(rows * config_.hidden_size);
  float* at = pass.saved.data() + (inputs_only ? input_floats * layers_.size() : static_cast<size_t>(rows * saved_floats_per_row()) * layer);
  const auto next = [&](int64_t cols) {
    const MatrixF matrix(at, rows, cols);
    at += rows * cols;
    return matrix;
  };
  const int64_t width = config_.heads * config_.head_dim;
  const int64_t kv_width = config_.kv_heads * config_.head_dim;
  LayerSaved s;
  s.input = next(config_.hidden_size);
  if (inputs_only) s.input = MatrixF(pass.saved.data() + input_floats * layer, rows, config_.hidden_size);
  s.middle = next(config_.hidden_size);
  s.attention = {.q = next(width), .k = next(kv_width), .v = next(kv_width), .mixed = next(width)};
  if (config_.qk_norm) {
    s.attention.q_raw = next(width);
    s.attention.k_raw = next(kv_width);
  }
  s.mlp = {.gate = next(config_.intermediate_size), .up = next(config_.intermediate_size)};
  return s;
}

void Llama::forward_saving(kernels::Context& context, const TrainPass& pass, MatrixF x) const {
  const Arena::Mark mark(context.scratch);
  const MatrixF angles = take_matrix(context, x.rows, config_.head_dim);
  rope_.angles(context, pass.rows.positions, pass.rows.rope_lengths, angles);
  const Step step{context, targets_, pass.rows, angles, pass.trace};
  embedding_forward(step, embedding_, x);
  for (size_t i = 0; i < layers_.size(); ++i) {
    layer_forward_saving(step, layers_[i], pass.kv.layer(0), saved_of(pass, i, x.rows), x);
  }
}

void Llama::layer_forward_saving(const Step& step, const Layer& layer, const kernels::KvLayer& cache,
                                 const LayerSaved& saved, MatrixF x) const {
  const Arena::Mark mark(step.context.scratch);
  const MatrixF normed = take_matrix(step.context, x.rows, x.cols);
  const MatrixF change = take_matrix(step.context, x.rows, x.cols);

  std::copy_n(x.data, x.rows * x.cols, saved.input.data);
  norm(step, layer.input_norm, epsilon_, x, normed);
  attention_forward_saving(step, layer.attention, cache, saved.attention, {normed, change});
  kernels::add(step.context, change, x);

  std::copy_n(x.data, x.rows * x.cols, saved.middle.data);
  norm(step, layer.post_norm, epsilon_, x, normed);
  mlp_forward_saving(step, layer.mlp, normed, saved.mlp, change);
  kernels::add(step.context, change, x);
}

void Llama::backward(kernels::Context& context, const TrainPass& pass, MatrixF dx) const {
  const Arena::Mark mark(context.scratch);
  const MatrixF angles = take_matrix(context, dx.rows, config_.head_dim);
  rope_.angles(context, pass.rows.positions, pass.rows.rope_lengths, angles);
  const Step step{context, targets_, pass.rows, angles, pass.trace};
  const Backward backward{step, pass.gradients};
  const bool embedding_trained = !pass.gradients[embedding_].empty();
  const size_t lowest = lowest_trained(pass.gradients);
  for (size_t i = layers_.size(); i-- > lowest;) {
    const LayerSaved saved = saved_of(pass, i, dx.rows);
    if (pass.keep == Keep::kLayerInputs) {
      const Arena::Mark inner(context.scratch);
      const MatrixF x = take_matrix(context, dx.rows, dx.cols);
      std::copy_n(saved.input.data, x.rows * x.cols, x.data);
      layer_forward_saving(step, layers_[i], pass.kv.layer(0), saved, x);
    }
    const bool input_wanted = i > lowest || embedding_trained || !pass.gradients[layers_[i].input_norm].empty();
    layer_backward(backward, layers_[i], saved, dx, input_wanted);
  }
  if (embedding_trained) embedding_backward(backward, embedding_, dx);
}

size_t Llama::lowest_trained(TargetGradients gradients) const {
  if (!gradients[embedding_].empty()) return 0;
  const auto trained = [&](const Layer& layer) {
    const Attention& a = layer.attention;
    const Mlp& m = layer.mlp;
    const auto wanted = [&](int32_t target) { return target >= 0 && !gradients[target].empty(); };
    const int32_t targets[] = {layer.input_norm, a.q, a.k, a.v, a.o, a.q_norm, a.k_norm, layer.post_norm, m.gate, m.up, m.down};
    return std::any_of(std::begin(targets), std::end(targets), wanted);
  };
  return static_cast<size_t>(std::find_if(layers_.begin(), layers_.end(), trained) - layers_.begin());
}

void Llama::layer_backward(const Backward& backward, const Layer& layer, const LayerSaved& saved, MatrixF dx, bool input_wanted) const {
  const Step& step = backward.step;
  const Arena::Mark mark(step.context.scratch);
  const MatrixF normed = take_matrix(step.context, dx.rows, dx.cols);
  const MatrixF dnormed = take_matrix(step.context, dx.rows, dx.cols);

  norm(step, layer.post_norm, epsilon_, saved.middle, normed);
  mlp_backward(backward, layer.mlp, normed, saved.mlp, {dx, dnormed});
  norm_backward(backward, layer.post_norm, epsilon_, saved.middle, {dnormed, dx});

  norm(step, layer.input_norm, epsilon_, saved.input, normed);
  attention_backward(backward, layer.attention, normed, saved.attention, {dx, input_wanted ? dnormed : MatrixF(nullptr, 0, 0)});
  if (input_wanted) norm_backward(backward, layer.input_norm, epsilon_, saved.input, {dnormed, dx});
}

size_t Llama::scratch_bytes(const BackwardShape& shape) const {
  const int64_t hidden = config_.hidden_size;
  const int64_t rows = shape.rows;
  size_t inner = norm_backward_scratch_bytes(rows, 1);
  if (!layers_.empty()) {
    const Layer& layer = layers_.front();
    inner = std::max({inner, attention_scratch_bytes(targets_, layer.attention, rows, shape.rank_max, shape.threads),
                      mlp_scratch_bytes(targets_, layer.mlp, rows, shape.rank_max, shape.threads),
                      attention_backward_scratch_bytes(targets_, layer.attention, shape),
                      mlp_backward_scratch_bytes(targets_, layer.mlp, shape)});
  }
  return ScratchSum().add(rows * config_.head_dim).add(rows * hidden).add(rows * hidden).add(rows * hidden).bytes() + inner;
}

}  // namespace

Result<std::shared_ptr<const Model>> build_llama(const ModelConfig& config, Weights& weights) {
  std::shared_ptr<const Model> model = std::make_shared<Llama>(config, weights);
  RETURN_IF_ERROR(weights.finish());
  return model;
}

}  // namespace umbel
