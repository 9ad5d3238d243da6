// The tables of all ISAs: complete, named, and their functions equal to plain formulas on one row.
#include "kernels/table.h"

#include <algorithm>
#include <string>

#include "kernels/testing.h"

namespace umbel::kernels {
namespace {

using testing::difference;
using testing::normal;

class Tables : public testing::EveryIsa {};
UMBEL_EVERY_ISA(Tables);

TEST_P(Tables, NameAndLanesFitTheIsa) {
  const Table& table = table_for(GetParam());
  EXPECT_EQ(std::string(table.name), isa_name(GetParam()));
  const int32_t lanes[] = {4, 8, 16, 16};
  EXPECT_EQ(table.lanes, lanes[static_cast<int>(GetParam())]);
}

TEST_P(Tables, TransposeReachesEveryElementAndNoOther) {
  const Table& table = table_for(GetParam());
  Random random(1);
  for (int64_t rows : {1, 15, 16, 17, 40}) {
    for (int64_t cols : {1, 7, 33}) {
      const std::vector<float> x = normal(random, rows * (cols + 2));
      std::vector<float> y(cols * (rows + 3), 7.0f);
      table.vjp.transpose({x.data(), cols + 2, rows, cols}, y.data(), rows + 3);
      for (int64_t j = 0; j < cols; ++j) {
        for (int64_t i = 0; i < rows + 3; ++i) {
          ASSERT_EQ(y[j * (rows + 3) + i], i < rows ? x[i * (cols + 2) + j] : 7.0f);
        }
      }
    }
  }
}

TEST_P(Tables, TailsWriteNothingBeyondTheirEnd) {
  const Table& table = table_for(GetParam());
  Random random(2);
  for (int64_t n = 1; n < 40; ++n) {
    const std::vector<float> x = normal(random, n);
    std::vector<float> y(n + 17, 7.0f);
    std::vector<uint16_t> narrow(n + 17, 7);
    table.scale(x.data(), nullptr, y.data(), n);
    table.scale_add(x.data(), x.data(), y.data(), n);
    table.activation[0](x.data(), x.data(), y.data(), n);
    table.rms_norm(x.data(), nullptr, 1e-5f, y.data(), n);
    table.vjp.product_add(x.data(), x.data(), 2.0f, y.data(), n);
    table.narrow_bf16(x.data(), narrow.data(), n);
    EXPECT_TRUE(std::all_of(y.begin() + n, y.end(), [](float value) { return value == 7.0f; })) << n;
    EXPECT_TRUE(std::all_of(narrow.begin() + n, narrow.end(), [](uint16_t value) { return value == 7; })) << n;
  }
}

// The tail of a row has the bits that the same numbers have inside a whole vector.
TEST_P(Tables, TailsHaveTheBitsOfWholeVectors) {
  const Table& table = table_for(GetParam());
  Random random(3);
  const std::vector<float> gate = normal(random, 64, 5.0f), up = normal(random, 64);
  std::vector<float> whole(64), part(64);
  table.activation[0](gate.data(), up.data(), whole.data(), 64);
  for (int64_t n = 1; n < 64; ++n) {
    table.activation[0](gate.data(), up.data(), part.data(), n);
    EXPECT_TRUE(testing::same_bits(whole.data(), part.data(), n)) << n;
  }
}

TEST_P(Tables, SoftmaxScores) {
  const Table& table = table_for(GetParam());
  Random random(4);
  for (int64_t n : {1, 16, 45}) {
    const std::vector<float> p = normal(random, n), dp = normal(random, n);
    std::vector<float> y(n);
    std::vector<double> expected(n);
    double mean = 0;
    for (int64_t i = 0; i < n; ++i) mean += static_cast<double>(p[i]) * dp[i];
    for (int64_t i = 0; i < n; ++i) expected[i] = p[i] * (dp[i] - mean);
    table.vjp.softmax_scores(p.data(), dp.data(), y.data(), n);
    for (int64_t i = 0; i < n; ++i) EXPECT_NEAR(y[i], expected[i], 2e-5);
  }
}

}  // namespace
}  // namespace umbel::kernels
