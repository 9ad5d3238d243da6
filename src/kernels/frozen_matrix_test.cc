#include "kernels/frozen_matrix.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

namespace umbel::kernels {
namespace {

TEST(FrozenMatrix, ReadsBackEveryRowRoundedToTheStoredType) {
  for (DType stored : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (DType given : {DType::kF32, DType::kBF16, DType::kF16}) {
      const int64_t out = 45;
      const int64_t in = 37;
      std::vector<float> values(out * in);
      for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i)) * 3;
      std::vector<float> source(values.size());  // big enough for any type
      narrow_from_f32(values.data(), given, source.data(), values.size());
      const FrozenMatrix matrix = FrozenMatrix::pack({given, {out, in}, source.data()}, stored, Choice{});
      EXPECT_EQ(matrix.out(), out);
      EXPECT_EQ(matrix.in(), in);
      EXPECT_EQ(matrix.dtype(), stored);
      EXPECT_EQ(matrix.bytes(), 64u * (stored == DType::kBF16 ? 38 : 37) * size_of(stored));
      std::vector<float> expected(values.size());
      widen_to_f32(given, source.data(), expected.data(), expected.size());
      std::vector<float> rounded(values.size());
      narrow_from_f32(expected.data(), stored, rounded.data(), rounded.size());
      widen_to_f32(stored, std::vector<float>(rounded).data(), expected.data(), expected.size());
      std::vector<float> row(in);
      for (int64_t i = 0; i < out; ++i) {
        matrix.read_row(i, row.data());
        for (int64_t k = 0; k < in; ++k) ASSERT_EQ(row[k], expected[i * in + k]);
      }
    }
  }
}

TEST(FrozenMatrix, ARepackedCloneIsWhatPackingMakes) {
  const int64_t out = 45, in = 37;
  std::vector<float> first(out * in), second(out * in);
  for (size_t i = 0; i < first.size(); ++i) {
    first[i] = std::sin(static_cast<float>(i));
    second[i] = std::cos(static_cast<float>(i)) * 7;
  }
  ThreadPool pool(2);
  for (DType stored : {DType::kF32, DType::kBF16, DType::kF16}) {
    const FrozenMatrix base = FrozenMatrix::pack({DType::kF32, {out, in}, first.data()}, stored, Choice{});
    const FrozenMatrix expected = FrozenMatrix::pack({DType::kF32, {out, in}, second.data()}, stored, Choice{});
    FrozenMatrix copy = base.clone();
    EXPECT_NE(copy.packed(), base.packed());
    EXPECT_EQ(std::memcmp(copy.packed(), base.packed(), base.bytes()), 0);
    const void* place = copy.packed();
    copy.repack({DType::kF32, {out, in}, second.data()}, &pool);
    EXPECT_EQ(copy.packed(), place);
    EXPECT_EQ(std::memcmp(copy.packed(), expected.packed(), expected.bytes()), 0);
    EXPECT_NE(std::memcmp(base.packed(), expected.packed(), expected.bytes()), 0) << "the base is not touched";
  }
}

TEST(FrozenMatrix, TakesUnalignedSources) {
  std::vector<char> bytes(1 + 4 * 6);
  const float values[] = {1, 2, 3, 4, 5, 6};
  std::copy_n(reinterpret_cast<const char*>(values), sizeof(values), bytes.data() + 1);
  const FrozenMatrix matrix = FrozenMatrix::pack({DType::kF32, {2, 3}, bytes.data() + 1}, DType::kBF16, Choice{});
  float row[3];
  matrix.read_row(1, row);
  EXPECT_EQ(row[0], 4);
  EXPECT_EQ(row[2], 6);
}

}  // namespace
}  // namespace umbel::kernels
