#include "engine/limits.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "engine/memory_probe.h"

namespace umbel {
namespace {

class ProbeTest : public testing::Test {
 protected:
  ProbeTest() : root_(std::filesystem::temp_directory_path() / ("umbel_probe_" + std::to_string(getpid()))) {
    write("/proc/meminfo", "MemTotal: 4000 kB\nMemFree: 100 kB\nMemAvailable: 2000 kB\n");
  }
  ~ProbeTest() override { std::filesystem::remove_all(root_); }
  void write(const std::string& name, const std::string& text) {
    const auto path = root_.string() + name;
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::ofstream(path) << text;
  }
  size_t probe() const { return available_memory_bytes(root_.string()); }
  std::filesystem::path root_;
};

TEST_F(ProbeTest, TheMachine) { EXPECT_EQ(probe(), 2000u * 1024); }

TEST_F(ProbeTest, ASmallerGroupWins) {
  write("/sys/fs/cgroup/memory.max", "1000000\n");
  write("/sys/fs/cgroup/memory.current", "700000\n");
  write("/sys/fs/cgroup/memory.stat", "anon 100000\ninactive_file 200000\n");
  EXPECT_EQ(probe(), 500000u) << "file pages that nobody uses can go at once";
}

TEST_F(ProbeTest, AGroupWithoutLimitDoesNotCount) {
  write("/sys/fs/cgroup/memory.max", "max\n");
  write("/sys/fs/cgroup/memory.current", "700000\n");
  EXPECT_EQ(probe(), 2000u * 1024);
  write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  write("/sys/fs/cgroup/memory/memory.usage_in_bytes", "700000\n");
  EXPECT_EQ(probe(), 2000u * 1024);
}

TEST_F(ProbeTest, AnOldGroup) {
  write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "900000\n");
  write("/sys/fs/cgroup/memory/memory.usage_in_bytes", "950000\n");
  EXPECT_EQ(probe(), 0u);
}

TEST(Probe, ThisMachineHasSome) { EXPECT_GT(available_memory_bytes(), size_t{1} << 20); }

// A model that only has a shape.
class ShapeOnly final : public Model {
 public:
  ShapeOnly(int64_t context, int64_t layers) {
    config_.max_position_embeddings = context;
    config_.layers = layers;
    config_.kv_heads = 4;
    config_.heads = 4;
    config_.head_dim = 64;
    config_.vocab_size = 1000;
  }
  size_t weight_bytes() const override { return 1000; }
  void forward(kernels::Context&, const Rows&, const KvCache&, MatrixF) const override {}
  size_t scratch_bytes(int64_t rows, int64_t, int64_t) const override { return static_cast<size_t>(rows) * 100; }
};

TEST(PlanMemory, FillsTheZeros) {
  const ShapeOnly model(512, 2);
  Limits limits;
  const auto plan = plan_memory(model, 1 << 20, limits);
  ASSERT_TRUE(plan.ok()) << plan.status().to_string();
  EXPECT_EQ(limits.context_max, 512);
  EXPECT_EQ(limits.kv_blocks, 64 * 32) << "every sequence's whole context where there is room";
  EXPECT_EQ(limits.kv_bytes, limits.kv_blocks * model.kv_shape().block_bytes());
  EXPECT_EQ(plan->kv_bytes, limits.kv_bytes);
  EXPECT_EQ(plan->total_bytes(), plan->weights_bytes + plan->kv_bytes + plan->scratch_bytes + plan->adapters_bytes);
}

TEST(PlanMemory, TakesGivenSizes) {
  const ShapeOnly model(512, 2);
  Limits limits;
  limits.kv_bytes = 40 * model.kv_shape().block_bytes() + 5;
  ASSERT_TRUE(plan_memory(model, 0, limits).ok());
  EXPECT_EQ(limits.kv_blocks, 40);
  limits = {.context_max = 100, .kv_blocks = 7};
  ASSERT_TRUE(plan_memory(model, 0, limits).ok());
  EXPECT_EQ(limits.kv_blocks, 7);
  EXPECT_EQ(limits.context_max, 100);
}

TEST(PlanMemory, RefusesWithBothNumbersAndARemedy) {
  const ShapeOnly huge(1 << 20, 100000);
  Limits limits{.context_max = 1 << 20};
  const auto plan = plan_memory(huge, 0, limits);
  ASSERT_FALSE(plan.ok());
  EXPECT_EQ(plan.status().code(), Code::kOutOfMemory);
  EXPECT_NE(plan.status().message().find("smaller"), std::string::npos);
  const ShapeOnly model(512, 2);
  limits = {.context_max = 513};
  EXPECT_EQ(plan_memory(model, 0, limits).status().code(), Code::kTooLong);
  limits = {.sequences_max = 0};
  EXPECT_EQ(plan_memory(model, 0, limits).status().code(), Code::kInvalidArgument);
  limits = {};
  EXPECT_EQ(plan_memory(model, size_t{1} << 60, limits).status().code(), Code::kOutOfMemory);
}

TEST(PlanMemory, ALongContextIsCutToWhatFits) {
  // 2000 layers of 4 x 64 values: 4 MiB a token.
  const ShapeOnly model(1 << 22, 2000);
  Limits limits;
  const auto plan = plan_memory(model, 0, limits);
  if (!plan.ok()) GTEST_SKIP() << "too little memory here: " << plan.status().to_string();
  EXPECT_LT(limits.context_max, 1 << 22);
  EXPECT_EQ(limits.context_max, limits.kv_blocks * kernels::kKvBlockSize);
}

}  // namespace
}  // namespace umbel
