#include "train/step/loss.h"

#include <algorithm>

#include "kernels/api_vjp.h"
#include "nn/head.h"
#include "nn/linear.h"

namespace umbel::train {
namespace {

constexpr int64_t kChunkFloats = int64_t{1} << 22;  // of logits held at once: fewer rows, and reading the head would be most of the work
constexpr int64_t kChunkRowsMax = 256;

int64_t chunk_rows(const Model& model) { return std::clamp<int64_t>(kChunkFloats / model.config().vocab_size, 16, kChunkRowsMax); }

// The chunk's rows as a step of their own: same adapters, counted in chunk rows.
struct Chunk {
  std::span<const LossRow> rows;
  std::span<Segment> segments;
  std::span<LinearGrads> head_grads, norm_grads;
};

Chunk make_chunk(kernels::Context& context, const LossCall& call, std::span<const LossRow> rows) {
  const auto& segments = call.batch.segments();
  const auto& jobs = call.batch.segment_jobs();
  Chunk chunk{.rows = rows,
              .segments = context.scratch.take<Segment>(segments.size()),
              .head_grads = context.scratch.take<LinearGrads>(segments.size()),
              .norm_grads = context.scratch.take<LinearGrads>(segments.size())};
  const auto grads_of = [&](int32_t target, size_t segment) {
    const auto grads = call.gradients.empty() ? std::span<const LinearGrads>() : call.gradients[target];
    return grads.empty() ? LinearGrads{} : grads[segment];
  };
  const bool dropped = std::any_of(segments.begin(), segments.end(), [](const Segment& s) { return s.dropout_keys != nullptr; });
  const auto keys = context.scratch.take<uint64_t>(dropped ? rows.size() : 0);
  size_t count = 0, next = 0;
  for (size_t s = 0; s < segments.size(); ++s) {
    const size_t begin = next;
    while (next < rows.size() && rows[next].job == jobs[s] && rows[next].row < segments[s].row_begin + segments[s].row_count) ++next;
    if (next == begin) continue;
    Segment& segment = chunk.segments[count];
    segment = {static_cast<int32_t>(begin), static_cast<int32_t>(next - begin), segments[s].adapter};
    if (segments[s].dropout_keys != nullptr) {
      for (size_t i = begin; i < next; ++i) keys[i] = segments[s].dropout_keys[rows[i].row - segments[s].row_begin];
      segment.dropout_keys = keys.data() + begin;
    }
    chunk.norm_grads[count] = grads_of(call.head.norm.target, s);
    chunk.head_grads[count++] = grads_of(call.head.projection, s);
  }
  CHECK(next == rows.size(), "every loss row lies in a segment");
  chunk.segments = chunk.segments.first(count);
  chunk.head_grads = chunk.head_grads.first(count);
  chunk.norm_grads = chunk.norm_grads.first(count);
  return chunk;
}

struct ChunkNumbers {
  std::span<int32_t> labels;
  std::span<float> losses, weights;
};

ChunkNumbers take_numbers(kernels::Context& context, const LossCall& call, std::span<const LossRow> rows) {
  ChunkNumbers numbers{context.scratch.take<int32_t>(rows.size()), context.scratch.take<float>(rows.size()),
                       context.scratch.take<float>(rows.size())};
  for (size_t i = 0; i < rows.size(); ++i) {
    numbers.labels[i] = rows[i].label;
    numbers.weights[i] = static_cast<float>(call.weight_of_job[rows[i].job]);
  }
  return numbers;
}

void find_argmax(kernels::Context& context, ConstMatrixF logits, std::span<int32_t> argmax) {
  context.pool.parallel_for(logits.rows, [&](int64_t row, int) {
    const float* values = logits.row(row);
    argmax[row] = static_cast<int32_t>(std::max_element(values, values + logits.cols) - values);
  });
}

// flow.y: the gradient of flow.x; data null = evaluation only.
void one_chunk(kernels::Context& context, const LossCall& call, std::span<const LossRow> rows, const Flow& flow,
               std::span<double> loss_of_job) {
  const auto& [x, dx] = flow;
  const Arena::Mark mark(context.scratch);
  const Chunk chunk = make_chunk(context, call, rows);
  const ChunkNumbers numbers = take_numbers(context, call, rows);
  const auto count = static_cast<int64_t>(rows.size());
  const MatrixF picked = take_matrix(context, count, x.cols);
  const MatrixF normed = take_matrix(context, count, x.cols);
  const MatrixF logits = take_matrix(context, count, call.model.config().vocab_size);
  for (int64_t i = 0; i < count; ++i) std::copy_n(x.row(rows[i].row), x.cols, picked.row(i));
  const Rows chunk_rows{.segments = chunk.segments};
  const Step step{.context = context, .targets = call.model.targets(), .rows = chunk_rows};
  const HeadSaved saved{picked, normed, logits};
  head_forward_saving(step, call.head, saved);
  if (!call.argmax.empty()) find_argmax(context, logits, call.argmax.subspan(rows.data() - call.batch.loss_rows().data(), rows.size()));
  kernels::cross_entropy(context, logits, numbers.labels, numbers.losses);
  for (int64_t i = 0; i < count; ++i) loss_of_job[rows[i].job] += numbers.losses[i];
  if (dx.data == nullptr) return;

  // Capped logits are needed once more.
  const MatrixF dlogits = call.head.cap != 0 ? take_matrix(context, count, logits.cols) : logits;
  kernels::cross_entropy_vjp(context, logits, numbers.labels, numbers.weights, dlogits);
  const MatrixF dpicked = take_matrix(context, count, x.cols);
  const auto by_target = context.scratch.take<std::span<const LinearGrads>>(call.model.targets().size());
  std::fill(by_target.begin(), by_target.end(), std::span<const LinearGrads>());
  by_target[call.head.projection] = chunk.head_grads;
  by_target[call.head.norm.target] = chunk.norm_grads;
  head_backward({step, by_target}, call.head, saved, dlogits, dpicked);
  for (int64_t i = 0; i < count; ++i) std::copy_n(dpicked.row(i), x.cols, dx.row(rows[i].row));
}

}  // namespace

void cross_entropy_loss(kernels::Context& context, const LossCall& call, ConstMatrixF x, MatrixF dx, std::span<double> loss_of_job) {
  if (dx.data != nullptr) std::fill_n(dx.data, dx.rows * dx.cols, 0.0f);
  const std::span<const LossRow> rows = call.batch.loss_rows();
  const auto size = static_cast<size_t>(chunk_rows(call.model));
  for (size_t begin = 0; begin < rows.size(); begin += size) {
    one_chunk(context, call, rows.subspan(begin, std::min(size, rows.size() - begin)), {x, dx}, loss_of_job);
  }
}

size_t loss_scratch_bytes(const Model& model, const Head& head, const BackwardShape& shape, bool head_terms) {
  const int64_t rows = chunk_rows(model);
  const Target& projection = model.targets()[head.projection];
  BackwardShape chunk = shape;
  chunk.rows = rows;
  // Without terms there are two products and lists of one entry per segment.
  const size_t plain = kernels::matmul_scratch_bytes(rows, projection.out, projection.in, shape.threads) +
                       static_cast<size_t>(rows) * (sizeof(LinearGrads) + sizeof(float*)) + 4 * 64;
  const size_t product = head_terms ? std::max(linear_scratch_bytes(projection, rows, shape.rank_max, shape.threads),
                                               linear_backward_scratch_bytes(projection, chunk))
                                    : plain;
  const int64_t logits = (head.cap != 0 ? 2 : 1) * rows * projection.out;
  return ScratchSum().add(rows * projection.in, 3 * sizeof(float)).add(logits).add(rows * 3).add(rows, sizeof(uint64_t))
             .add(shape.rows, sizeof(Segment) + 2 * sizeof(LinearGrads)).add(model.targets().size(), sizeof(std::span<const LinearGrads>))
             .bytes() + 16 * 64 +
         head_backward_scratch_bytes(model.targets(), head, rows) + product;
}

}  // namespace umbel::train
