// Policy of the frozen matmul: which tiles, in which order, on which threads. The arithmetic is in matmul-inl.h.
//
// Both directions are one loop. A task owns a group of panels; block of rows after block of rows it walks ranges of k
// ("depths") and visits each panel with all row tiles of the block. So a panel's part stays in the first-level cache for
// a visit, x's part and the sums so far stay in the second-level cache for a depth, and memory is read ahead meanwhile.
#include <algorithm>

#include "kernels/api.h"
#include "kernels/cpu/panels.h"
#include "kernels/table.h"

namespace umbel::kernels {
namespace {

constexpr int64_t kRowsPerPass = 512;     // bounds the scratch for packed x
constexpr int64_t kRowsPerBlock = 140;    // ten tiles of the widest ISA
constexpr int64_t kRowsPerBlockTransposed = 256;  // more rows share the making of a square
constexpr int64_t kPanelsPerTask = 8;     // bounds the sums of a task
constexpr int64_t kDepthBytes = 32768;    // of a panel's part in one visit
constexpr int64_t kStreamAheadBytes = 8192;  // one tile only: how far ahead of its own stream a panel is fetched
constexpr int64_t kNf4StreamMax = kDepthBytes / 2;  // k whose absmax take no more than kDepthBytes
constexpr int64_t kStreamAlone = 262144;  // bytes of weights that one thread streams before another one has woken up
constexpr int64_t kStrideOfFewSets = 2048;  // bytes: rows so far apart, or a multiple, share too few sets of the first-level cache
constexpr int64_t kPackInline = 32768;    // numbers of x below which waking a thread costs more than packing

using Tile = void (*)(const MatmulTile&);

// What a pass multiplies with, seen as panels of 32 columns of y over k: the packed weight itself, or squares made from it for
// each visit: widened from a quantised form (that has no arithmetic of its own here), transposed for the gradient, multiplied by scale terms, or all of it. Squares are f32,
// but those that are transposed only, of a weight of 16-bit arithmetic: they stay in pairs of bf16.
// (Widening 16-bit weights so for many rows was slower than in the tiles: the squares take twice the first-level cache.)
struct Operand {
  const FrozenMatrix& weight;
  bool transposed;
  std::span<const ScaleTerm> terms;
  bool few_rows = false;  // nf4: so few that weights are widened in registers, to the same bits

  int64_t k() const { return transposed ? weight.panels() * kPanel : weight.in_padded(); }
  int64_t columns() const { return transposed ? weight.in() : weight.out(); }
  int64_t panels() const { return (columns() + kPanel - 1) / kPanel; }
  // k of one step of the tile, and the bytes that a tile reads per step.
  int64_t step() const {
    if (in_int8()) return kInt8Cell;
    return in_pairs() || (!in_squares() && weight.dtype() == DType::kBF16) ? 2 : 1;
  }
  int64_t step_bytes() const { return in_squares() ? kPanel * 4 : weight.bytes_per_k() * step(); }
  Arithmetic arithmetic() const { return in_squares() && !in_pairs() ? Arithmetic::kF32Fma : weight.arithmetic(); }
  bool quantised() const { return weight.quantisation() != Quantisation::kNone; }
  bool in_int8() const { return weight.arithmetic() == Arithmetic::kInt8Dot && !transposed && terms.empty(); }
  bool in_nf4() const { return few_rows && is_nf4(weight.quantisation()) && !transposed && terms.empty(); }
  bool in_squares() const { return transposed || (quantised() && !in_int8() && !in_nf4()) || !terms.empty(); }
  bool in_pairs() const { return transposed && terms.empty() && !quantised() && weight.arithmetic() != Arithmetic::kF32Fma; }
  // Where the rows from `begin` on stand in packed x, whose tiles follow one another, and k of a tile of so many rows there.
  int64_t packed_offset(int64_t begin, int64_t rows, int64_t at_k) const {
    if (in_int8()) return (begin * ((k() + kInt8Group - 1) / kInt8Group) + at_k / kInt8Group * rows) * kInt8GroupWords * 4;
    return (begin * k() + at_k * rows) * (arithmetic() == Arithmetic::kF32Fma ? 4 : 2);
  }
  // What stands in front of a panel: int8: what its sums are multiplied by; nf4: its absmax.
  const float* scales(int64_t panel) const {
    return reinterpret_cast<const float*>(static_cast<const char*>(weight.packed()) + panel * weight.panel_bytes());
  }
};

Tile tile_of(const MatmulTable& table, const Operand& operand) {
  Tile tile = nullptr;
  switch (operand.in_squares() ? DType::kF32 : operand.weight.dtype()) {
    case DType::kF32: tile = table.tile_f32; break;
    case DType::kF16: tile = table.tile_f16; break;
    case DType::kBF16: tile = table.tile_bf16; break;
    default: break;
  }
  if (operand.arithmetic() == Arithmetic::kBf16Dot) tile = table.tile_bf16_dot;
  if (operand.arithmetic() == Arithmetic::kAmxBf16) tile = table.tile_bf16_amx;
  if (operand.in_int8()) tile = table.tile_int8_dot;
  if (operand.in_nf4()) tile = table.tile_nf4;
  CHECK(tile != nullptr, "this ISA cannot compute with a weight packed for another one");
  return tile;
}

int64_t rows_max_of(const MatmulTable& table, const Operand& operand) {
  return operand.arithmetic() == Arithmetic::kAmxBf16 ? table.amx_rows_max : table.rows_max;
}

// M rows cut into tiles of nearly equal height, none above rows_max; tiles into blocks likewise.
struct RowTiles {
  int64_t rows;
  int64_t count;
  int64_t blocks;

  RowTiles(int64_t rows_in, int64_t rows_per_tile, int64_t rows_per_block)
      : rows(rows_in),
        count((rows_in + rows_per_tile - 1) / rows_per_tile),
        blocks(std::max<int64_t>(1, (rows_in + rows_per_block - 1) / rows_per_block)) {}
  int64_t begin(int64_t tile) const { return rows * tile / count; }
  int64_t block_begin(int64_t block) const { return count * block / blocks; }
};

// One pass of at most kRowsPerPass rows.
struct Pass {
  Operand operand;
  const MatmulTable& table;
  Tile tile;
  RowTiles tiles;
  int64_t x_stride = 0;  // not 0: x is read as it is
  const char* x = nullptr;  // of the first row; packed: tile after tile, each [k][rows] (AMX: [k/32][rows][32]; int8: groups)
  MatrixF y;
  int64_t panels_per_task;
  int64_t depth;          // k per visit
  float* sums;            // per worker: [panels_per_task][rows of a block][32]
  float* squares;         // per worker, where tiles read squares: [depth][32], or [depth / 2][32] pairs of bf16; nf4: absmax [k/64][32]
  int64_t sums_floats;    // of one worker
  int64_t squares_floats;
};

// True when tiles may read x as it is: f32, without zeros behind a row's end, and of rows that do not fight over the sets of the
// cache. One tile alone is packed: that is little, and all panels read it.
bool reads_rows(const Operand& operand, const RowTiles& tiles, ConstMatrixF x) {
  const bool f32 = operand.arithmetic() == Arithmetic::kF32Fma && (operand.in_squares() || operand.weight.dtype() == DType::kF32);
  return f32 && tiles.count > 1 && x.cols == operand.k() && x.stride * static_cast<int64_t>(sizeof(float)) % kStrideOfFewSets != 0;
}

void pack_tile(const Pass& pass, ConstMatrixF x, int64_t tile, char* packed) {
  const int64_t begin = pass.tiles.begin(tile);
  const int64_t rows = pass.tiles.begin(tile + 1) - begin;
  char* target = packed + pass.operand.packed_offset(begin, rows, 0);
  auto pack = pass.table.pack_x_f32;
  if (pass.operand.arithmetic() == Arithmetic::kBf16Dot) pack = pass.table.pack_x_bf16;
  if (pass.operand.arithmetic() == Arithmetic::kAmxBf16) pack = pass.table.pack_x_amx;
  if (pass.operand.in_int8()) pack = pass.table.pack_x_int8;
  pack(x.row(begin), x.stride, rows, x.cols, pass.operand.k(), target);
}

void pack_rows(Context& context, const Pass& pass, ConstMatrixF x, char* packed) {
  if (x.rows * x.cols < kPackInline) {
    for (int64_t tile = 0; tile < pass.tiles.count; ++tile) pack_tile(pass, x, tile, packed);
  } else {
    context.pool.parallel_for(pass.tiles.count, [&](int64_t tile, int) { pack_tile(pass, x, tile, packed); });
  }
}

// One visit: the tiles [tile_begin, tile_end) times `depth` k of one panel.
struct Visit {
  int64_t tile_begin;
  int64_t tile_end;
  int64_t panel;
  int64_t k;
  int64_t depth;
};

// Memory to be read ahead by the tiles of a visit, for the next one: `pieces` times `bytes`, `stride` apart.
struct Ahead {
  const char* at;
  int64_t bytes;
  int64_t pieces = 1;
  int64_t stride = 0;

  // The share of the tile with this index of `count`: all tiles of a piece take equal parts. Beyond the pieces: nothing.
  Ahead share(int64_t tile, int64_t count) const {
    const int64_t tiles = std::max<int64_t>(1, count / pieces);
    if (tile / tiles >= pieces) return {at, 0};
    return {at + tile / tiles * stride + bytes * (tile % tiles) / tiles, bytes / tiles};
  }
};

// Where the tiles of a visit find their weights.
struct Source {
  const char* w;
  Ahead ahead;
  const float* scales = nullptr;  // see MatmulTile
};

// absmax: room for those of a visit, where they are not stored as f32.
const float* scales_of(const Operand& operand, const Visit& visit, float* absmax) {
  if (operand.in_int8()) return visit.k + visit.depth == operand.k() ? operand.scales(visit.panel) : nullptr;
  if (!operand.in_nf4()) return nullptr;
  const int64_t begin = visit.k / kNf4Block;
  if (operand.weight.quantisation() == Quantisation::kNf4) return operand.scales(visit.panel) + begin * kPanel;
  for (int64_t i = 0; i < visit.depth / kNf4Block; ++i) operand.weight.read_absmax(visit.panel, begin + i, absmax + i * kPanel);
  return absmax;
}

Source packed_source(const Operand& operand, const Visit& visit, const Visit& next, float* absmax) {
  const char* w = packed_at(operand.weight, visit.panel, visit.k);
  const int64_t bytes = visit.depth * operand.weight.bytes_per_k();
  const float* scales = scales_of(operand, visit, absmax);
  if (visit.tile_end - visit.tile_begin == 1) return {w, {w + kStreamAheadBytes, bytes}, scales};
  return {w, {packed_at(operand.weight, next.panel, next.k), bytes}, scales};
}

Source widened_source(const Pass& pass, const Visit& visit, const Visit& next, float* squares) {
  const FrozenMatrix& weight = pass.operand.weight;
  widen_panel(pass.table, weight, visit.panel, visit.k, visit.depth, squares);
  return {reinterpret_cast<const char*>(squares), {packed_at(weight, next.panel, next.k), visit.depth * weight.bytes_per_k()}};
}

Source transposed_source(const Pass& pass, const Visit& visit, const Visit& next, float* squares) {
  const FrozenMatrix& weight = pass.operand.weight;
  const int64_t panels = visit.depth / kPanel;
  for (int64_t i = 0; i < panels; ++i) {
    const int64_t panel = visit.k / kPanel + i;
    const char* ahead = packed_at(weight, std::min(panel + 1, visit.k / kPanel + panels - 1), visit.panel * kPanel);
    if (pass.operand.in_pairs()) {
      turn_pairs(pass.table, weight, panel, visit.panel * kPanel, reinterpret_cast<uint32_t*>(squares) + i * kPanel * kPanel / 2, ahead);
    } else {
      turn_square(pass.table, weight, panel, visit.panel * kPanel, squares + i * kPanel * kPanel, ahead);
    }
  }
  const Ahead ahead{.at = packed_at(weight, next.k / kPanel, next.panel * kPanel),
                    .bytes = kPanel * weight.bytes_per_k(),
                    .pieces = next.depth / kPanel,
                    .stride = weight.panel_bytes()};
  return {reinterpret_cast<const char*>(squares), ahead};
}

// The squares of a visit times its part of sum_t post_t pre_t^T.
void modulate(const Pass& pass, const Visit& visit, float* squares) {
  const Operand& operand = pass.operand;
  const int64_t k_end = operand.transposed ? operand.weight.out() : operand.weight.in();  // zeros follow
  pass.table.modulate({.square = squares,
                       .rows = std::clamp<int64_t>(k_end - visit.k, 0, visit.depth),
                       .columns = std::min(kPanel, operand.columns() - visit.panel * kPanel),
                       .terms = operand.terms.data(),
                       .count = static_cast<int64_t>(operand.terms.size()),
                       .row_begin = visit.k,
                       .column_begin = visit.panel * kPanel,
                       .transposed = operand.transposed});
}

Source source_of(const Pass& pass, const Visit& visit, const Visit& next, float* squares) {
  if (!pass.operand.in_squares()) return packed_source(pass.operand, visit, next, squares);
  const Source source = pass.operand.transposed ? transposed_source(pass, visit, next, squares) : widened_source(pass, visit, next, squares);
  if (!pass.operand.terms.empty()) modulate(pass, visit, squares);
  return source;
}

void visit_panel(const Pass& pass, const Visit& visit, const Source& source, float* sums) {
  const Operand& operand = pass.operand;
  const int64_t k_total = operand.k();
  const bool last = visit.k + visit.depth == k_total;
  const int64_t count = visit.tile_end - visit.tile_begin;
  const int64_t block_row = pass.tiles.begin(visit.tile_begin);
  for (int64_t tile = visit.tile_begin; tile < visit.tile_end; ++tile) {
    const int64_t begin = pass.tiles.begin(tile);
    const int64_t rows = pass.tiles.begin(tile + 1) - begin;
    float* sum = sums + (begin - block_row) * kPanel;
    const Ahead ahead = source.ahead.share(tile - visit.tile_begin, count);
    const int64_t x_at = pass.x_stride != 0 ? (begin * pass.x_stride + visit.k) * static_cast<int64_t>(sizeof(float))
                                            : operand.packed_offset(begin, rows, visit.k);
    pass.tile({.x = pass.x + x_at,
               .x_stride = pass.x_stride,
               .rows = rows,
               .w = source.w,
               .k = visit.depth,
               .from = visit.k == 0 ? nullptr : sum,
               .y = last ? pass.y.row(begin) + visit.panel * kPanel : sum,
               .y_stride = last ? pass.y.stride : kPanel,
               .cols = last ? std::min(kPanel, operand.columns() - visit.panel * kPanel) : kPanel,
               .ahead = ahead.at,
               .ahead_step = ahead.bytes * operand.step() / visit.depth,
               .scales = source.scales,
               .levels = kNf4Levels});
  }
}

// All rows of the pass times the panels of one task.
void compute_task(const Pass& pass, int64_t task, int worker) {
  const int64_t k_total = pass.operand.k();
  const int64_t panel_begin = task * pass.panels_per_task;
  const int64_t panels = std::min(pass.panels_per_task, pass.operand.panels() - panel_begin);
  const int64_t depths = (k_total + pass.depth - 1) / pass.depth;
  const auto at = [&](int64_t index) {
    const int64_t block = index / (panels * depths);
    const int64_t k = index / panels % depths * pass.depth;
    return Visit{.tile_begin = pass.tiles.block_begin(block),
                 .tile_end = pass.tiles.block_begin(block + 1),
                 .panel = panel_begin + index % panels,
                 .k = k,
                 .depth = std::min(pass.depth, k_total - k)};
  };
  float* sums = pass.sums + worker * pass.sums_floats;
  float* squares = pass.squares + worker * pass.squares_floats;
  const int64_t visits = pass.tiles.blocks * panels * depths;
  for (int64_t index = 0; index < visits; ++index) {
    const Visit visit = at(index);
    const Source source = source_of(pass, visit, at(std::min(index + 1, visits - 1)), squares);
    visit_panel(pass, visit, source, sums + (visit.panel - panel_begin) * pass.sums_floats / pass.panels_per_task);
  }
}

void run_pass(Context& context, Operand operand, ConstMatrixF x, MatrixF y) {
  const Arena::Mark mark(context.scratch);
  const MatmulTable& table = context.table.matmul;
  operand.few_rows = x.rows <= table.nf4_rows_max;
  const int threads = context.pool.threads();
  const int64_t rows_max = rows_max_of(table, operand);
  const int64_t rows_per_block = operand.transposed ? kRowsPerBlockTransposed : kRowsPerBlock;
  Pass pass{.operand = operand,
            .table = table,
            .tile = tile_of(table, operand),
            .tiles = RowTiles(x.rows, rows_max, rows_per_block),
            .y = y,
            .panels_per_task = std::clamp<int64_t>(operand.panels() / (threads * (x.rows > rows_max ? 8 : 4)), 1, kPanelsPerTask)};
  // Several tasks per thread, so that a busy core costs its share only. One tile alone streams whole panels.
  const bool stream = pass.tiles.count == 1 && !operand.in_squares() && !(operand.in_nf4() && operand.k() > kNf4StreamMax);
  pass.depth = stream ? operand.k() : kDepthBytes / operand.step_bytes() * operand.step();
  if (stream && static_cast<int64_t>(operand.weight.bytes()) < kStreamAlone) pass.panels_per_task = operand.panels();
  pass.sums_floats = stream ? 0 : pass.panels_per_task * std::min(x.rows, rows_per_block + 2 * rows_max) * kPanel;
  pass.squares_floats = operand.in_squares() ? pass.depth / operand.step() * kPanel : 0;
  if (operand.in_nf4()) pass.squares_floats = pass.depth / kNf4Block * kPanel;
  pass.sums = context.scratch.take<float>(pass.sums_floats * threads).data();
  pass.squares = context.scratch.take<float>(pass.squares_floats * threads).data();
  if (reads_rows(operand, pass.tiles, x)) {
    pass.x_stride = x.stride;
    pass.x = reinterpret_cast<const char*>(x.data);
  } else {
    char* packed = static_cast<char*>(context.scratch.take_bytes(operand.packed_offset(x.rows, 0, 0)));
    pack_rows(context, pass, x, packed);
    pass.x = packed;
  }
  const int64_t tasks = (operand.panels() + pass.panels_per_task - 1) / pass.panels_per_task;
  context.pool.parallel_for(tasks, [&](int64_t task, int worker) { compute_task(pass, task, worker); });
}

void run_passes(Context& context, const Operand& operand, ConstMatrixF x, MatrixF y) {
  for (int64_t row = 0; row < x.rows; row += kRowsPerPass) {
    const int64_t rows = std::min(kRowsPerPass, x.rows - row);
    run_pass(context, operand, x.middle_rows(row, rows), y.middle_rows(row, rows));
  }
}

}  // namespace

size_t matmul_forward_scratch_bytes(int64_t rows, int64_t in, int threads_known) {
  const int64_t threads = threads_known > 0 ? threads_known : std::max<int64_t>(64, usable_cpus());
  const int64_t pass_rows = std::min(rows, kRowsPerPass);
  const int64_t packed_x = pass_rows * (in + kInt8Group) * 4;
  const int64_t sums = kPanelsPerTask * std::min(pass_rows, 2 * kRowsPerBlock) * kPanel * 4;
  return static_cast<size_t>(packed_x + (sums + kDepthBytes) * threads + 256);
}

size_t matmul_scratch_bytes(int64_t rows, int64_t out, int64_t in, int threads) {
  const int64_t pass_rows = std::min(rows, kRowsPerPass);
  const int64_t packed_x = pass_rows * (std::max(out, in) + kInt8Group) * 4;
  const int64_t sums = kPanelsPerTask * std::min(pass_rows, 2 * kRowsPerBlockTransposed) * kPanel * 4;
  return static_cast<size_t>(packed_x + (sums + kDepthBytes) * threads + 256);
}

void matmul_modulated(Context& context, const FrozenMatrix& weight, std::span<const ScaleTerm> terms, ConstMatrixF x, MatrixF y) {
  CHECK(x.cols == weight.in() && y.cols == weight.out() && x.rows == y.rows, "matmul: shapes do not fit");
  run_passes(context, {weight, false, terms}, x, y);
}

void matmul_modulated_vjp_x(Context& context, const FrozenMatrix& weight, std::span<const ScaleTerm> terms, ConstMatrixF dy, MatrixF dx) {
  CHECK(dy.cols == weight.out() && dx.cols == weight.in() && dx.rows == dy.rows, "matmul_vjp_x: shapes do not fit");
  run_passes(context, {weight, true, terms}, dy, dx);
}

void matmul(Context& context, const FrozenMatrix& weight, ConstMatrixF x, MatrixF y) { matmul_modulated(context, weight, {}, x, y); }

void matmul_vjp_x(Context& context, const FrozenMatrix& weight, ConstMatrixF dy, MatrixF dx) {
  matmul_modulated_vjp_x(context, weight, {}, dy, dx);
}

}  // namespace umbel::kernels
