// Gradients of the scale terms of matmul_modulated. With G = dy^T x of one example and P = W o G (both [out, in]):
//   dpre_t  = P^T post_t      dpost_t = P pre_t
// G and P are made for one panel of outputs at a time, so no whole matrix ever exists. Small products go through the low-rank
// leaves. Tasks are (a few examples) x (a few panels), cut by the shape alone.
#include <algorithm>

#include "kernels/api_vjp.h"
#include "kernels/cpu/panels.h"
#include "kernels/cpu/split.h"
#include "kernels/table.h"

namespace umbel::kernels {
namespace {

constexpr int64_t kExamplesPerWave = 16;  // whose sums are kept at a time
constexpr int64_t kExamplesPerTask = 4;   // that share the reading of a panel
constexpr int64_t kPanelsPerTask = 4;     // or more, so that there are at most kChunksMax tasks for the same examples
constexpr int64_t kChunksMax = 8;

struct Sizes {
  int64_t in, out, terms;
  int64_t chunk_panels, chunks;

  Sizes(int64_t out_in, int64_t in_in, int64_t terms_in) : in(in_in), out(out_in), terms(terms_in) {
    const int64_t panels = ceil_div(out, kPanel);
    chunk_panels = std::max(kPanelsPerTask, ceil_div(panels, kChunksMax));
    chunks = ceil_div(panels, chunk_panels);
  }
  int64_t pre_sums() const { return chunks * terms * in; }  // of one example, [chunk][term][in]
  int64_t post_sums() const { return out * terms; }         // likewise, [out][term]
  // Of one worker: a panel's weights [32][in], the product [32][in], dy turned [32][rows].
  int64_t workspace(int64_t rows) const { return kPanel * (2 * in + rows); }
};

// One call.
struct Call {
  const Table& table;
  const FrozenMatrix& weight;
  const ModulatedRows& rows;
  Sizes sizes;
  const float* pre;   // the terms' vectors side by side: [term][in]
  const float* post;  // [term][out]
  float* pre_sums;    // of a wave's examples, one behind the other
  float* post_sums;
};

// The terms' vectors as matrices, ones where a term has none.
void spread(std::span<const ScaleTerm> terms, const Sizes& sizes, float* pre, float* post) {
  for (size_t t = 0; t < terms.size(); ++t) {
    float* pre_row = pre + static_cast<int64_t>(t) * sizes.in;
    float* post_row = post + static_cast<int64_t>(t) * sizes.out;
    std::fill_n(pre_row, sizes.in, 1.0f);
    std::fill_n(post_row, sizes.out, 1.0f);
    if (terms[t].pre != nullptr) std::copy_n(terms[t].pre, sizes.in, pre_row);
    if (terms[t].post != nullptr) std::copy_n(terms[t].post, sizes.out, post_row);
  }
}

// W's rows of one panel: target[32][in].
void read_rows(const Call& call, int64_t panel, float* target) {
  const int64_t in = call.sizes.in;
  for (int64_t begin = 0; begin < in; begin += kPanel) {
    float square[kPanel * kPanel];
    turn_square(call.table.matmul, call.weight, panel, begin, square, square);
    const int64_t count = std::min(kPanel, in - begin);
    for (int64_t o = 0; o < kPanel; ++o) std::copy_n(square + o * kPanel, count, target + o * in + begin);
  }
}

// One example's share of one panel. pre_sum: [term][in] of the panel's chunk, +=; post_sum: [out][term], its rows =.
void add_panel(const Call& call, int64_t example, int64_t panel, float* workspace, float* pre_sum, float* post_sum) {
  const int64_t in = call.sizes.in, out = call.sizes.out, terms = call.sizes.terms;
  const int64_t begin = call.rows.examples[example];
  const int64_t rows = call.rows.examples[example + 1] - begin;
  const int64_t outputs = std::min(kPanel, out - panel * kPanel);
  const float* weights = workspace;
  float* product = workspace + kPanel * in;
  float* dy_t = product + kPanel * in;
  call.table.vjp.transpose({call.rows.dy.row(begin) + panel * kPanel, call.rows.dy.stride, rows, outputs}, dy_t, rows);
  std::fill_n(product, outputs * in, 0.0f);
  call.table.expand_f32({.h = dy_t, .h_stride = rows, .rows = outputs, .rank = rows, .b = call.rows.x.row(begin),
                         .b_stride = call.rows.x.stride, .cols = in, .u = nullptr, .scale = 1.0f, .y = product, .y_stride = in,
                         .chain = true});
  call.table.scale(product, weights, product, outputs * in);
  call.table.expand_f32({.h = call.post + panel * kPanel, .h_stride = out, .rows = terms, .rank = outputs, .b = product,
                         .b_stride = in, .cols = in, .u = nullptr, .scale = 1.0f, .y = pre_sum, .y_stride = in, .chain = true});
  call.table.shrink_f32({.x = product, .x_stride = in, .rows = outputs, .in = in, .a = call.pre, .a_stride = in, .rank = terms,
                         .v = nullptr, .h = post_sum + panel * kPanel * terms, .h_stride = terms});
}

// Examples [first, first + count) of the wave that begins at example `wave`, in the panels of one chunk.
void run_task(const Call& call, int64_t wave, int64_t first, int64_t count, int64_t chunk, float* workspace) {
  const Sizes& sizes = call.sizes;
  const auto pre_sum = [&](int64_t e) { return call.pre_sums + e * sizes.pre_sums() + chunk * sizes.terms * sizes.in; };
  for (int64_t e = first; e < first + count; ++e) std::fill_n(pre_sum(e), sizes.terms * sizes.in, 0.0f);
  const int64_t end = std::min((chunk + 1) * sizes.chunk_panels, call.weight.panels());
  for (int64_t panel = chunk * sizes.chunk_panels; panel < end; ++panel) {
    read_rows(call, panel, workspace);
    for (int64_t e = first; e < first + count; ++e) {
      add_panel(call, wave + e, panel, workspace, pre_sum(e), call.post_sums + e * sizes.post_sums());
    }
  }
}

// The sums of a wave's examples, one example after the other.
void add_sums(Context& context, const Call& call, int64_t examples, std::span<const ScaledRowGradient> gradients) {
  const Sizes& sizes = call.sizes;
  for_cols(context, sizes.in, [&](int64_t col, int64_t count) {
    for (int64_t e = 0; e < examples; ++e) {
      for (int64_t t = 0; t < sizes.terms; ++t) {
        if (gradients[t].pre == nullptr) continue;
        for (int64_t chunk = 0; chunk < sizes.chunks; ++chunk) {
          const float* sum = call.pre_sums + e * sizes.pre_sums() + (chunk * sizes.terms + t) * sizes.in;
          context.table.scale_add(sum + col, nullptr, gradients[t].pre + col, count);
        }
      }
    }
  });
  for_cols(context, sizes.out, [&](int64_t col, int64_t count) {
    for (int64_t e = 0; e < examples; ++e) {
      const float* sums = call.post_sums + e * sizes.post_sums();
      for (int64_t t = 0; t < sizes.terms; ++t) {
        float* gradient = gradients[t].post;
        for (int64_t o = col; o < col + count && gradient != nullptr; ++o) gradient[o] += sums[o * sizes.terms + t];
      }
    }
  });
}

}  // namespace

void matmul_modulated_vjp_terms(Context& context, const FrozenMatrix& weight, std::span<const ScaleTerm> terms,
                                std::span<const ScaledRowGradient> gradients, const ModulatedRows& rows) {
  CHECK(rows.x.cols == weight.in() && rows.dy.cols == weight.out() && rows.x.rows == rows.dy.rows && gradients.size() == terms.size(),
        "matmul_modulated_vjp_terms: shapes do not fit");
  const Arena::Mark mark(context.scratch);
  const Sizes sizes(weight.out(), weight.in(), static_cast<int64_t>(terms.size()));
  const auto examples = static_cast<int64_t>(rows.examples.size()) - 1;
  int64_t longest = 0;
  for (int64_t e = 0; e < examples; ++e) longest = std::max<int64_t>(longest, rows.examples[e + 1] - rows.examples[e]);
  float* pre = context.scratch.take<float>(sizes.terms * sizes.in).data();
  float* post = context.scratch.take<float>(sizes.terms * sizes.out).data();
  spread(terms, sizes, pre, post);
  const int64_t wave_max = std::min(kExamplesPerWave, examples);
  float* workspaces = context.scratch.take<float>(sizes.workspace(longest) * context.pool.threads()).data();
  const Call call{.table = context.table, .weight = weight, .rows = rows, .sizes = sizes, .pre = pre, .post = post,
                  .pre_sums = context.scratch.take<float>(wave_max * sizes.pre_sums()).data(),
                  .post_sums = context.scratch.take<float>(wave_max * sizes.post_sums()).data()};
  for (int64_t wave = 0; wave < examples; wave += kExamplesPerWave) {
    const int64_t count = std::min(kExamplesPerWave, examples - wave);
    context.pool.parallel_for(ceil_div(count, kExamplesPerTask) * sizes.chunks, [&](int64_t task, int worker) {
      const int64_t first = task / sizes.chunks * kExamplesPerTask;
      run_task(call, wave, first, std::min(kExamplesPerTask, count - first), task % sizes.chunks,
               workspaces + worker * sizes.workspace(longest));
    });
    add_sums(context, call, count, gradients);
  }
}

size_t matmul_modulated_vjp_terms_scratch_bytes(int64_t rows, int64_t out, int64_t in, int64_t terms, int threads) {
  const Sizes sizes(out, in, terms);
  const int64_t wave = std::min(kExamplesPerWave, rows);
  const int64_t floats = terms * (in + out) + sizes.workspace(rows) * threads + wave * (sizes.pre_sums() + sizes.post_sums());
  return static_cast<size_t>(floats) * sizeof(float) + 5 * 64;
}

}  // namespace umbel::kernels
