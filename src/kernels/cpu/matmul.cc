// Policy of the frozen matmul: which tiles, in which order, on which threads. The arithmetic is in matmul-inl.h.
#include <algorithm>

#include "kernels/api.h"
#include "kernels/table.h"

namespace umbel::kernels {
namespace {

// Rows of one pass: bounds the scratch for packed x.
constexpr int64_t kRowsPerPass = 512;
// k of one visit to a panel when several row tiles share it: the panel's part stays in the first-level cache.
constexpr int64_t kDepth = 256;
// Gradient: rows whose dy stays in the second-level cache, and panels per chunk of the sum.
constexpr int64_t kVjpRows = 64;
constexpr int64_t kVjpPanels = 64;

using Tile = void (*)(const MatmulTile&);
using VjpTile = void (*)(const MatmulVjpTile&);

bool rounds_x(const FrozenMatrix& weight) { return weight.arithmetic() != Arithmetic::kF32Fma; }

Tile tile_of(const MatmulTable& table, const FrozenMatrix& weight) {
  Tile tile = nullptr;
  switch (weight.dtype()) {
    case DType::kF32: tile = table.tile_f32; break;
    case DType::kF16: tile = table.tile_f16; break;
    case DType::kBF16: tile = rounds_x(weight) ? table.tile_bf16_dot : table.tile_bf16; break;
    default: break;
  }
  CHECK(tile != nullptr, "this ISA cannot compute with a weight packed for another one");
  return tile;
}

VjpTile vjp_tile_of(const MatmulTable& table, const FrozenMatrix& weight) {
  switch (weight.dtype()) {
    case DType::kF32: return table.vjp_f32;
    case DType::kF16: return table.vjp_f16;
    case DType::kBF16: return table.vjp_bf16;
    default: break;
  }
  CHECK(false, "a frozen matrix of an unknown type");
}

// M rows cut into tiles of nearly equal height, none above rows_max.
struct RowTiles {
  int64_t rows;
  int64_t count;

  RowTiles(int64_t rows_in, int64_t rows_max) : rows(rows_in), count((rows_in + rows_max - 1) / rows_max) {}
  int64_t begin(int64_t tile) const { return rows * tile / count; }
};

// One pass: x packed in scratch, tile after tile, each tile [k][rows].
struct Pass {
  const FrozenMatrix& weight;
  const MatmulTable& table;
  RowTiles tiles;
  char* packed_x;
  int64_t x_bytes_per_k;  // of one row: 4 for f32, 2 for pairs of bf16
  MatrixF y;
};

void pack_tile(const Pass& pass, ConstMatrixF x, int64_t tile) {
  const int64_t begin = pass.tiles.begin(tile);
  const int64_t rows = pass.tiles.begin(tile + 1) - begin;
  char* target = pass.packed_x + begin * pass.weight.in_padded() * pass.x_bytes_per_k;
  const auto pack = pass.x_bytes_per_k == 4 ? pass.table.pack_x_f32 : pass.table.pack_x_bf16;
  pack(x.row(begin), x.stride, rows, x.cols, pass.weight.in_padded(), target);
}

// All rows of the pass times panels [begin, end).
void compute_panels(const Pass& pass, int64_t panel_begin, int64_t panel_end) {
  const FrozenMatrix& weight = pass.weight;
  const Tile tile_function = tile_of(pass.table, weight);
  const int64_t k_total = weight.in_padded();
  const int64_t depth = pass.tiles.count == 1 ? k_total : kDepth;
  const int64_t weight_bytes_per_k = weight.panel_bytes() / k_total;
  for (int64_t k = 0; k < k_total; k += depth) {
    for (int64_t panel = panel_begin; panel < panel_end; ++panel) {
      const char* w = static_cast<const char*>(weight.packed()) + panel * weight.panel_bytes() + k * weight_bytes_per_k;
      for (int64_t tile = 0; tile < pass.tiles.count; ++tile) {
        const int64_t begin = pass.tiles.begin(tile);
        const int64_t rows = pass.tiles.begin(tile + 1) - begin;
        tile_function({.x = pass.packed_x + (begin * k_total + k * rows) * pass.x_bytes_per_k,
                       .rows = rows,
                       .w = w,
                       .k = std::min(depth, k_total - k),
                       .y = pass.y.row(begin) + panel * kPanel,
                       .y_stride = pass.y.stride,
                       .cols = std::min(kPanel, weight.out() - panel * kPanel),
                       .first = k == 0});
      }
    }
  }
}

void matmul_pass(Context& context, const FrozenMatrix& weight, ConstMatrixF x, MatrixF y) {
  const Arena::Mark mark(context.scratch);
  Pass pass{.weight = weight,
            .table = context.table.matmul,
            .tiles = RowTiles(x.rows, context.table.matmul.rows_max),
            .packed_x = nullptr,
            .x_bytes_per_k = rounds_x(weight) ? 2 : 4,
            .y = y};
  pass.packed_x = static_cast<char*>(context.scratch.take_bytes(x.rows * weight.in_padded() * pass.x_bytes_per_k));
  if (x.rows * x.cols < 32768) {
    for (int64_t tile = 0; tile < pass.tiles.count; ++tile) pack_tile(pass, x, tile);
  } else {
    context.pool.parallel_for(pass.tiles.count, [&](int64_t tile, int) { pack_tile(pass, x, tile); });
  }
  // Several tasks per thread, so that a busy core costs its share only; each a contiguous run of panels.
  const int64_t panels = weight.panels();
  const int64_t group = std::clamp<int64_t>(panels / (context.pool.threads() * 4), 1, 8);
  context.pool.parallel_for((panels + group - 1) / group, [&](int64_t task, int) {
    compute_panels(pass, task * group, std::min(panels, (task + 1) * group));
  });
}

// dx rows [row_begin, +rows) and columns [k_begin, +k), all panels in fixed chunks.
struct VjpBlock {
  const FrozenMatrix& weight;
  ConstMatrixF dy;  // columns padded to whole panels
  MatrixF dx;
};

void vjp_block(const VjpBlock& block, VjpTile tile, int64_t k_begin, int64_t k_end) {
  const FrozenMatrix& weight = block.weight;
  const int64_t weight_bytes_per_k = weight.panel_bytes() / weight.in_padded();
  for (int64_t row = 0; row < block.dy.rows; row += kVjpRows) {
    for (int64_t panel = 0; panel < weight.panels(); panel += kVjpPanels) {
      tile({.dy = block.dy.row(row) + panel * kPanel,
            .dy_stride = block.dy.stride,
            .rows = std::min(kVjpRows, block.dy.rows - row),
            .w = static_cast<const char*>(weight.packed()) + panel * weight.panel_bytes() + k_begin * weight_bytes_per_k,
            .panel_bytes = weight.panel_bytes(),
            .panels = std::min(kVjpPanels, weight.panels() - panel),
            .k = k_end - k_begin,
            .dx = block.dx.row(row) + k_begin,
            .dx_stride = block.dx.stride,
            .first = panel == 0});
    }
  }
}

}  // namespace

size_t matmul_forward_scratch_bytes(int64_t rows, int64_t in) {
  return static_cast<size_t>(std::min(rows, kRowsPerPass) * (in + 1) * 4 + 128);
}

size_t matmul_scratch_bytes(int64_t rows, int64_t out, int64_t in) {
  const int64_t backward = rows * (out + kPanel) * 4;
  return std::max(matmul_forward_scratch_bytes(rows, in), static_cast<size_t>(backward + 128));
}

void matmul(Context& context, const FrozenMatrix& weight, ConstMatrixF x, MatrixF y) {
  CHECK(x.cols == weight.in() && y.cols == weight.out() && x.rows == y.rows, "matmul: shapes do not fit");
  for (int64_t row = 0; row < x.rows; row += kRowsPerPass) {
    const int64_t rows = std::min(kRowsPerPass, x.rows - row);
    matmul_pass(context, weight, x.middle_rows(row, rows), y.middle_rows(row, rows));
  }
}

void matmul_vjp_x(Context& context, const FrozenMatrix& weight, ConstMatrixF dy, MatrixF dx) {
  CHECK(dy.cols == weight.out() && dx.cols == weight.in() && dx.rows == dy.rows, "matmul_vjp_x: shapes do not fit");
  if (dy.rows == 0) return;
  const Arena::Mark mark(context.scratch);
  ConstMatrixF padded = dy;
  if (weight.out() % kPanel != 0) {  // the last panel's missing outputs get zero gradients
    const int64_t cols = weight.panels() * kPanel;
    MatrixF copy(context.scratch.take<float>(dy.rows * cols).data(), dy.rows, cols);
    for (int64_t row = 0; row < dy.rows; ++row) {
      std::copy_n(dy.row(row), dy.cols, copy.row(row));
      std::fill(copy.row(row) + dy.cols, copy.row(row) + cols, 0.0f);
    }
    padded = copy;
  }
  const VjpTile tile = vjp_tile_of(context.table.matmul, weight);
  const VjpBlock block{.weight = weight, .dy = padded, .dx = dx};
  constexpr int64_t kColumns = 48;  // a multiple of every register tile's width
  context.pool.parallel_for((weight.in() + kColumns - 1) / kColumns, [&](int64_t task, int) {
    vjp_block(block, tile, task * kColumns, std::min(weight.in(), (task + 1) * kColumns));
  });
}

}  // namespace umbel::kernels
