#include "models/decoder.h"

#include <algorithm>
#include <cmath>

#include "models/registry.h"
#include "nn/embedding.h"

namespace umbel {
namespace {

class Decoder final : public Model, public Training {
 public:
  Decoder(const Family& family, const ModelConfig& config, Weights& weights) : parts_(family.make(config, weights)) {
    config_ = config;
    weight_dtype_ = weights.form().dtype;
    quantisation_ = weights.form().linear;
    weights.targets().set_family(std::string(family.prefix), default_targets(family));
    targets_ = weights.take_targets();
    storage_ = weights.take_storage();
    parameters_ = storage_.parameters;
    for (const Block& block : parts_.blocks) {
      SavedCut count(nullptr, 0);
      block_saved(targets_, block, count);
      saved_cols_ = std::max(saved_cols_, count.cols());
    }
  }

  size_t weight_bytes() const override { return storage_.bytes(); }
  void forward(kernels::Context& context, const Rows& rows, const KvCache& kv, MatrixF logits) const override;
  size_t scratch_bytes(int64_t rows, int64_t logit_rows, int64_t rank_max) const override;

  Result<const Training*> training() const override;
  size_t saved_floats(int64_t rows, Keep keep) const override;
  void forward_saving(kernels::Context& context, const TrainPass& pass, MatrixF x) const override;
  void backward(kernels::Context& context, const TrainPass& pass, MatrixF dx) const override;
  size_t scratch_bytes(const BackwardShape& shape) const override;
  const Head& head() const override { return parts_.head; }

 private:
  // The angles of all RoPEs, in the arena.
  std::array<ConstMatrixF, kRopesMax> take_angles(kernels::Context& context, const Rows& rows) const;
  size_t angles_bytes(int64_t rows) const;
  void embed(const Step& step, MatrixF x) const;
  BlockSaved saved_of(const TrainPass& pass, size_t layer, int64_t rows) const;
  // The lowest block that the mirror has to reach: below it nothing is trained. blocks.size() = none at all.
  size_t lowest_trained(TargetGradients gradients) const;

  DecoderParts parts_;
  WeightStorage storage_;
  int64_t saved_cols_ = 0;  // floats that a block keeps of a row
};

std::array<ConstMatrixF, kRopesMax> Decoder::take_angles(kernels::Context& context, const Rows& rows) const {
  std::array<ConstMatrixF, kRopesMax> angles;
  for (size_t i = 0; i < parts_.ropes.size(); ++i) {
    const MatrixF taken = take_matrix(context, rows.count(), parts_.ropes[i].dims());
    parts_.ropes[i].angles(context, rows.positions, rows.rope_lengths, taken);
    angles[i] = taken;
  }
  return angles;
}

size_t Decoder::angles_bytes(int64_t rows) const {
  ScratchSum sum;
  for (const Rope& rope : parts_.ropes) sum.add(rows * rope.dims());
  return sum.bytes();
}

void Decoder::embed(const Step& step, MatrixF x) const {
  embedding_forward(step, parts_.embedding, x);
  if (parts_.embedding_scale != 1) kernels::multiply(step.context, parts_.embedding_scale, x);
  if (parts_.positions >= 0) positions_forward(step, parts_.positions, x);
}

// ---- serving --------------------------------------------------------------------------------------------------------

void Decoder::forward(kernels::Context& context, const Rows& rows, const KvCache& kv, MatrixF logits) const {
  const Arena::Mark mark(context.scratch);
  const Step step{context, targets_, rows, take_angles(context, rows)};
  const MatrixF x = take_matrix(context, rows.count(), config_.hidden_size);
  embed(step, x);
  for (size_t i = 0; i < parts_.blocks.size(); ++i) block_forward(step, parts_.blocks[i], kv.layer(static_cast<int32_t>(i)), nullptr, x);
  head_forward(step, parts_.head, x, logits);
}

size_t Decoder::scratch_bytes(int64_t rows, int64_t logit_rows, int64_t rank_max) const {
  size_t inner = std::max(norm_scratch_bytes(rows, 1), head_scratch_bytes(targets_, parts_.head, logit_rows, rank_max));
  if (parts_.positions >= 0) inner = std::max(inner, positions_scratch_bytes(targets_, parts_.positions, rows));
  for (const Block& block : parts_.blocks) inner = std::max(inner, block_scratch_bytes(targets_, block, rows, rank_max));
  return angles_bytes(rows) + ScratchSum().add(rows * config_.hidden_size).bytes() + inner;
}

// ---- training: forward that keeps, and under it its mirror ------------------------------------------------------------

Result<const Training*> Decoder::training() const {
  if (config_.rope.type == RopeType::kDynamic) return unsupported("training with dynamic RoPE scaling is not built yet");
  return static_cast<const Training*>(this);
}

size_t Decoder::saved_floats(int64_t rows, Keep keep) const {
  const auto all = static_cast<size_t>(rows * saved_cols_);
  if (keep == Keep::kAll) return all * parts_.blocks.size();
  return static_cast<size_t>(rows * config_.hidden_size) * parts_.blocks.size() + all;
}

// With Keep::kLayerInputs: the inputs of all blocks, then what the block at hand needs besides.
BlockSaved Decoder::saved_of(const TrainPass& pass, size_t layer, int64_t rows) const {
  const bool inputs_only = pass.keep == Keep::kLayerInputs;
  const auto input_floats = static_cast<size_t>(rows * config_.hidden_size);
  SavedCut cut(pass.saved.data() + (inputs_only ? input_floats * parts_.blocks.size() : static_cast<size_t>(rows * saved_cols_) * layer), rows);
  BlockSaved saved = block_saved(targets_, parts_.blocks[layer], cut);
  if (inputs_only) saved.input = MatrixF(pass.saved.data() + input_floats * layer, rows, config_.hidden_size);
  return saved;
}

void Decoder::forward_saving(kernels::Context& context, const TrainPass& pass, MatrixF x) const {
  const Arena::Mark mark(context.scratch);
  const Step step{context, targets_, pass.rows, take_angles(context, pass.rows), pass.trace};
  embed(step, x);
  for (size_t i = 0; i < parts_.blocks.size(); ++i) {
    const BlockSaved saved = saved_of(pass, i, x.rows);
    block_forward(step, parts_.blocks[i], pass.kv.layer(0), &saved, x);
  }
}

void Decoder::backward(kernels::Context& context, const TrainPass& pass, MatrixF dx) const {
  const Arena::Mark mark(context.scratch);
  const Step step{context, targets_, pass.rows, take_angles(context, pass.rows), pass.trace};
  const Backward backward{step, pass.gradients};
  const bool embedding_trained = !pass.gradients[parts_.embedding].empty();
  const bool positions_trained = parts_.positions >= 0 && !pass.gradients[parts_.positions].empty();
  const size_t lowest = lowest_trained(pass.gradients);
  for (size_t i = parts_.blocks.size(); i-- > lowest;) {
    const Block& block = parts_.blocks[i];
    const BlockSaved saved = saved_of(pass, i, dx.rows);
    if (pass.keep == Keep::kLayerInputs) {
      const Arena::Mark inner(context.scratch);
      const MatrixF x = take_matrix(context, dx.rows, dx.cols);
      std::copy_n(saved.input.data, x.rows * x.cols, x.data);
      block_forward(step, block, pass.kv.layer(0), &saved, x);
    }
    const bool input_wanted = i > lowest || embedding_trained || positions_trained || is_input_norm_trained(block, pass.gradients);
    block_backward(backward, block, saved, {dx, input_wanted});
  }
  if (!embedding_trained && !positions_trained) return;
  if (parts_.positions >= 0) positions_backward(backward, parts_.positions, dx);
  if (!embedding_trained) return;
  if (parts_.embedding_scale != 1) kernels::multiply(context, parts_.embedding_scale, dx);
  embedding_backward(backward, parts_.embedding, dx);
}

size_t Decoder::lowest_trained(TargetGradients gradients) const {
  if (!gradients[parts_.embedding].empty() || (parts_.positions >= 0 && !gradients[parts_.positions].empty())) return 0;
  const auto trained = [&](const Block& block) { return is_trained(block, gradients); };
  return static_cast<size_t>(std::find_if(parts_.blocks.begin(), parts_.blocks.end(), trained) - parts_.blocks.begin());
}

size_t Decoder::scratch_bytes(const BackwardShape& shape) const {
  size_t inner = norm_backward_scratch_bytes(shape.rows, 1);
  if (parts_.positions >= 0) inner = std::max(inner, positions_scratch_bytes(targets_, parts_.positions, shape.rows));
  for (const Block& block : parts_.blocks) {
    inner = std::max({inner, block_scratch_bytes(targets_, block, shape.rows, shape.rank_max, shape.threads),
                      block_backward_scratch_bytes(targets_, block, shape)});
  }
  return angles_bytes(shape.rows) + ScratchSum().add(shape.rows * config_.hidden_size).bytes() + inner;
}

}  // namespace

void make_vocabulary(const ModelConfig& config, const VocabularyNames& names, Weights& weights, DecoderParts& parts) {
  const std::string embedding(names.embedding), head(names.head);
  if (config.tie_word_embeddings) {
    const Weights::Tied tied = weights.tied_embedding(embedding, head, config.vocab_size, config.hidden_size);
    parts.embedding = tied.embedding;
    parts.head.projection = tied.head;
  } else {
    parts.embedding = weights.embedding(embedding, config.vocab_size, config.hidden_size);
    parts.head.projection = weights.head(head, config.vocab_size, config.hidden_size);
  }
  parts.embedding_scale = static_cast<float>(config.embedding_scale);
  parts.head.scale = static_cast<float>(config.logit_scale);
  parts.head.cap = static_cast<float>(config.logit_cap);
}

void make_ropes(const ModelConfig& config, DecoderParts& parts) {
  const int64_t dims = config.rotary_dim > 0 ? config.rotary_dim : config.head_dim;
  parts.ropes.emplace_back(config.rope, dims);
  if (config.local_rope) parts.ropes.emplace_back(*config.local_rope, dims);
}

Attention make_attention(const ModelConfig& config, int64_t layer) {
  Attention a;
  a.heads = static_cast<int32_t>(config.heads);
  a.kv_heads = static_cast<int32_t>(config.kv_heads);
  a.head_dim = static_cast<int32_t>(config.head_dim);
  a.window = config.window[layer];
  a.rope = config.local_rope && a.window > 0 ? 1 : 0;
  if (config.learned_positions || std::binary_search(config.unturned_layers.begin(), config.unturned_layers.end(), layer)) a.rope = -1;
  double scale = config.attention_scale > 0 ? config.attention_scale : 1.0 / std::sqrt(static_cast<double>(config.head_dim));
  if (config.scale_by_layer) scale /= static_cast<double>(layer + 1);
  a.scale = static_cast<float>(scale);
  a.cap = static_cast<float>(config.attention_cap);
  return a;
}

Result<std::shared_ptr<const Model>> build_decoder(const Family& family, const ModelConfig& config, Weights& weights) {
  std::shared_ptr<const Model> model = std::make_shared<Decoder>(family, config, weights);
  RETURN_IF_ERROR(weights.finish());
  return model;
}

}  // namespace umbel
