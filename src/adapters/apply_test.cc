#include "adapters/apply.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <deque>

#include "adapters/test_support.h"

namespace umbel {
namespace {

using testing::random_tensor;
using testing::SmallBase;
using testing::TestContext;

constexpr const char* kPath = "model.layers.0.self_attn.q_proj";

// An adapter with any terms at one target, storage included.
struct Made {
  std::shared_ptr<Adapter> adapter;
  LinearTerms* terms = nullptr;
};

class AdapterMaker {
 public:
  AdapterMaker(const SmallBase& base, uint64_t seed)
      : base_(base),
        index_(base.targets().find(kPath)),
        target_(base.at(kPath)),
        random_(mix_key({seed, 99})),
        adapter_(std::make_shared<Adapter>(base.targets().size())) {
    adapter_->add_linear(index_);
  }
  AdapterMaker& scale(int terms, bool plain_first = false) {
    if (plain_first) edit().scale.push_back({});
    for (int k = 0; k < terms; ++k) {
      const float* pre = adapter_->keep_f32(random_tensor(random_, {target_.in}));
      const float* post = adapter_->keep_f32(random_tensor(random_, {target_.out}));
      edit().scale.push_back({k % 3 == 1 ? nullptr : pre, k % 3 == 2 ? nullptr : post});
    }
    return *this;
  }
  AdapterMaker& low_rank(int32_t rank, bool vectors = false, DType dtype = DType::kF32) {
    LowRankTerm term{
        .rank = rank, .dtype = dtype, .a_stride = target_.in + 3, .b_stride = target_.out + 5, .scale = 0.7f};
    term.a = adapter_->keep(Tensor::converted(random_tensor(random_, {rank, term.a_stride}).view(), dtype));
    term.b_t = adapter_->keep(Tensor::converted(random_tensor(random_, {rank, term.b_stride}).view(), dtype));
    if (vectors) {
      term.u = adapter_->keep_f32(random_tensor(random_, {target_.out}));
      term.v = adapter_->keep_f32(random_tensor(random_, {rank}));
    }
    edit().low_rank.push_back(term);
    return *this;
  }
  AdapterMaker& bias() {
    edit().bias = adapter_->keep_f32(random_tensor(random_, {target_.out}));
    return *this;
  }
  AdapterMaker& own_weight() {
    const Tensor weight = random_tensor(random_, {target_.out, target_.in});
    edit().own_weight = adapter_->keep(kernels::FrozenMatrix::pack(weight.view(), DType::kF32, base_.choice()));
    return *this;
  }
  std::shared_ptr<const Adapter> done() {
    adapter_->finish();
    return adapter_;
  }

 private:
  LinearTerms& edit() { return adapter_->edit_linear(index_); }
  const SmallBase& base_;
  int32_t index_;
  const Target& target_;
  Random random_;
  std::shared_ptr<Adapter> adapter_;
};

// One adapter of every shape of terms: ranks without any padding partner, several low-rank terms, own bias, own weight.
std::vector<std::shared_ptr<const Adapter>> crowd(const SmallBase& base) {
  std::vector<std::shared_ptr<const Adapter>> made;
  made.push_back(nullptr);
  uint64_t seed = 1;
  for (const int rank : {1, 2, 3, 4, 7, 8, 16, 33, 64, 100}) {
    made.push_back(AdapterMaker(base, seed++).low_rank(rank).done());
    made.push_back(AdapterMaker(base, seed++).scale(rank, rank % 2 == 0).done());
  }
  made.push_back(nullptr);
  made.push_back(AdapterMaker(base, seed++).low_rank(16, true).bias().done());
  made.push_back(AdapterMaker(base, seed++).scale(1).low_rank(8, true).done());
  made.push_back(AdapterMaker(base, seed++).low_rank(3).low_rank(9, true).low_rank(1).done());
  made.push_back(AdapterMaker(base, seed++).own_weight().bias().done());
  made.push_back(AdapterMaker(base, seed++).bias().done());
  made.push_back(AdapterMaker(base, seed++).own_weight().low_rank(5).done());
  return made;
}

// The algebra in double, row by row, straight from the terms.
std::vector<double> truth(const SmallBase& base, const Adapter* adapter, const float* x) {
  const int32_t index = base.targets().find(kPath);
  const Target& target = base.targets()[index];
  const LinearTerms none;
  const LinearTerms& terms = adapter != nullptr && adapter->linear(index) != nullptr ? *adapter->linear(index) : none;
  std::vector<double> y(target.out, 0.0);
  std::vector<float> row(target.in);
  std::vector<ScaleTerm> scale = terms.scale;
  if (scale.empty()) scale.push_back({});
  for (int64_t o = 0; o < target.out; ++o) {
    (terms.own_weight != nullptr ? terms.own_weight : target.weight)->read_row(o, row.data());
    for (const ScaleTerm& term : scale) {
      double sum = 0.0;
      for (int64_t i = 0; i < target.in; ++i) sum += double{row[i]} * x[i] * (term.pre == nullptr ? 1.0f : term.pre[i]);
      y[o] += sum * (term.post == nullptr ? 1.0f : term.post[o]);
    }
    const float* bias = terms.bias != nullptr ? terms.bias : target.vector;
    if (bias != nullptr) y[o] += bias[o];
  }
  for (const LowRankTerm& term : terms.low_rank) {
    const Tensor a = Tensor::widened({term.dtype, {term.rank, term.a_stride}, term.a});
    const Tensor b_t = Tensor::widened({term.dtype, {term.rank, term.b_stride}, term.b_t});
    for (int32_t j = 0; j < term.rank; ++j) {
      double h = 0.0;
      for (int64_t i = 0; i < target.in; ++i) h += double{a.f32()[j * term.a_stride + i]} * x[i];
      h *= term.v == nullptr ? 1.0f : term.v[j];
      for (int64_t o = 0; o < target.out; ++o) {
        y[o] += double{term.scale} * (term.u == nullptr ? 1.0f : term.u[o]) * b_t.f32()[j * term.b_stride + o] * h;
      }
    }
  }
  return y;
}

struct Batch {
  bool in_training = false;  // every segment is one example then
  std::vector<Segment> segments;
  std::deque<std::array<int32_t, 2>> examples;
  std::vector<const Adapter*> adapter_of_row;
  int32_t rows = 0;

  void add(const Adapter* adapter, int32_t count) {
    segments.push_back({rows, count, adapter});
    if (in_training) segments.back().examples = examples.emplace_back(std::array{rows, rows + count});
    adapter_of_row.insert(adapter_of_row.end(), count, adapter);
    rows += count;
  }
};

Tensor run(const SmallBase& base, const Batch& batch, const Tensor& x, TestContext& test) {
  const int32_t index = base.targets().find(kPath);
  const Target& target = base.targets()[index];
  Tensor y(DType::kF32, {batch.rows, target.out});
  std::fill_n(y.f32(), y.elements(), std::nanf(""));  // y is overwritten, never read
  apply_linear(test.context, base.targets(), index, batch.segments, ConstMatrixF(x.f32(), batch.rows, target.in),
               MatrixF(y.f32(), batch.rows, target.out));
  return y;
}

struct Setting {
  kernels::Choice choice;
  DType stored;
  bool bias;
};

// Every arithmetic that this machine can run, with 32 and 16 bit weights.
std::vector<Setting> settings() {
  std::vector<Setting> all;
  for (const kernels::Isa isa : kernels::available_isas()) {
    for (const kernels::Arithmetic arithmetic : kernels::available_arithmetics(isa)) {
      all.push_back({{.isa = isa, .arithmetic = arithmetic}, DType::kF32, false});
      all.push_back({{.isa = isa, .arithmetic = arithmetic}, DType::kBF16, true});
    }
  }
  return all;
}

std::string setting_name(const ::testing::TestParamInfo<Setting>& info) {
  std::string name = std::string(kernels::isa_name(info.param.choice.isa)) + "_" +
                     std::string(kernels::arithmetic_name(info.param.choice.arithmetic)) + "_" +
                     std::string(dtype_name(info.param.stored));
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

class ApplyTest : public ::testing::TestWithParam<Setting> {
 protected:
  ApplyTest()
      : base_({.hidden = 24, .bias = GetParam().bias, .stored = GetParam().stored, .choice = GetParam().choice}) {}
  // Where activations are rounded to bf16 once, results are that far from the exact algebra.
  double tolerance() const {
    return GetParam().choice.arithmetic == kernels::Arithmetic::kF32Fma || GetParam().stored == DType::kF32 ? 3e-6
                                                                                                            : 2e-2;
  }
  void compare_rows(bool in_training) const;
  SmallBase base_;
};

TEST_P(ApplyTest, EqualsTheAlgebra) {
  Random random(5);
  const auto adapters = crowd(base_);
  for (const bool in_training : {false, true}) {
    Batch batch{.in_training = in_training};
    for (const auto& adapter : adapters) batch.add(adapter.get(), 3);
    const Tensor x = random_tensor(random, {batch.rows, 24}, 1.0f);
    TestContext test(size_t{16} << 20, 1, base_.choice());
    const Tensor y = run(base_, batch, x, test);
    for (int32_t row = 0; row < batch.rows; ++row) {
      const std::vector<double> expected = truth(base_, batch.adapter_of_row[row], x.f32() + row * 24);
      double largest = 0.0, difference = 0.0;
      for (int64_t o = 0; o < 24; ++o) {
        largest = std::max(largest, std::fabs(expected[o]));
        difference = std::max(difference, std::fabs(expected[o] - y.f32()[row * 24 + o]));
      }
      EXPECT_LT(difference, tolerance() * largest + 1e-6) << "row " << row << (in_training ? " in training" : "");
    }
  }
}

// Rows alone, in a mixed batch, in another order and with another number of threads: the same bits.
TEST_P(ApplyTest, RowsDoNotDependOnTheirBatch) {
  for (const bool in_training : {false, true}) compare_rows(in_training);
}

void ApplyTest::compare_rows(bool in_training) const {
  Random random(6);
  const auto adapters = crowd(base_);
  Batch mixed{.in_training = in_training};
  for (const auto& adapter : adapters) mixed.add(adapter.get(), 1 + static_cast<int32_t>(random.next_below(9)));
  const Tensor x = random_tensor(random, {mixed.rows, 24}, 1.0f);
  TestContext one(size_t{16} << 20, 1, base_.choice()), two(size_t{16} << 20, 2, base_.choice());
  const Tensor together = run(base_, mixed, x, one);
  const Tensor threads = run(base_, mixed, x, two);
  EXPECT_EQ(std::memcmp(together.data(), threads.data(), together.bytes()), 0);
  for (const Segment& segment : mixed.segments) {
    for (int32_t i = 0; i < segment.row_count; ++i) {
      const int32_t row = segment.row_begin + i;
      Batch alone{.in_training = in_training};
      alone.add(segment.adapter, 1);
      Tensor x_row(DType::kF32, {1, 24});
      std::memcpy(x_row.data(), x.f32() + row * 24, 24 * sizeof(float));
      const Tensor y = run(base_, alone, x_row, one);
      EXPECT_EQ(std::memcmp(y.data(), together.f32() + row * 24, y.bytes()), 0) << "row " << row;
    }
  }
}

// More expanded rows than a block holds, with terms of one row on both sides of the cut.
TEST_P(ApplyTest, BlocksDoNotChangeBits) {
  Random random(7);
  const auto adapters = crowd(base_);
  Batch batch;
  for (int repeat = 0; repeat < 3; ++repeat) {
    for (const auto& adapter : adapters) batch.add(adapter.get(), 2 + repeat);
  }
  int64_t expanded = 0;
  for (const Adapter* adapter : batch.adapter_of_row) expanded += adapter == nullptr ? 1 : adapter->cost();
  ASSERT_GT(expanded, 3 * kExpandedRowsMax);
  const Tensor x = random_tensor(random, {batch.rows, 24}, 1.0f);
  TestContext test(size_t{16} << 20, 1, base_.choice());
  const Tensor together = run(base_, batch, x, test);
  for (int32_t row = 0; row < batch.rows; row += 5) {
    Batch alone;
    alone.add(batch.adapter_of_row[row], 1);
    Tensor x_row(DType::kF32, {1, 24});
    std::memcpy(x_row.data(), x.f32() + row * 24, 24 * sizeof(float));
    const Tensor y = run(base_, alone, x_row, test);
    EXPECT_EQ(std::memcmp(y.data(), together.f32() + row * 24, y.bytes()), 0) << "row " << row;
  }
}

TEST_P(ApplyTest, ScratchStaysUnderItsBound) {
  Random random(8);
  const auto adapters = crowd(base_);
  int32_t rank_max = 0;
  for (const auto& adapter : adapters) rank_max = std::max(rank_max, adapter == nullptr ? 0 : adapter->rank_max());
  EXPECT_EQ(rank_max, 100);
  for (const int32_t rows_each : {1, 4, 40}) {
    Batch batch;
    for (const auto& adapter : adapters) batch.add(adapter.get(), rows_each);
    const Tensor x = random_tensor(random, {batch.rows, 24}, 1.0f);
    const size_t bound = apply_linear_scratch_bytes(batch.rows, 24, 24, rank_max);
    TestContext test(bound, 1, base_.choice());  // one byte more is a CHECK
    run(base_, batch, x, test);
    EXPECT_EQ(test.scratch.used_bytes(), 0u);
    EXPECT_LE(test.scratch.peak_bytes(), bound);
  }
}

TEST_P(ApplyTest, BFloat16FactorsAreWidened) {
  Random random(9);
  const auto adapter = AdapterMaker(base_, 50).low_rank(7, true, DType::kBF16).low_rank(2).done();
  Batch batch;
  batch.add(adapter.get(), 4);
  const Tensor x = random_tensor(random, {4, 24}, 1.0f);
  TestContext test(size_t{16} << 20, 1, base_.choice());
  const Tensor y = run(base_, batch, x, test);
  for (int32_t row = 0; row < 4; ++row) {
    const std::vector<double> expected = truth(base_, adapter.get(), x.f32() + row * 24);
    for (int64_t o = 0; o < 24; ++o) EXPECT_NEAR(y.f32()[row * 24 + o], expected[o], 20 * tolerance());
  }
}

INSTANTIATE_TEST_SUITE_P(Machine, ApplyTest, ::testing::ValuesIn(settings()), setting_name);

}  // namespace
}  // namespace umbel
