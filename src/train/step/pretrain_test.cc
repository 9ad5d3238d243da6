// Pre-training of seedling's shape against a plain torch run (tests/goldens/pretrain.json, tools/record_pretrain_goldens.py): the
// same initial weights and batches, the same losses. Six steps here; UMBEL_LONG_TESTS=1 runs all 100, and the 16-bit curve beside.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "models/forward_testing.h"
#include "models/golden_testing.h"
#include "train/step/full_testing.h"
#include "train/step/trainer.h"

namespace umbel::train {
namespace {

bool long_tests() {
  const char* asked = std::getenv("UMBEL_LONG_TESTS");
  return asked != nullptr && std::strcmp(asked, "1") == 0;
}

data::Dataset windows(const Json& golden) {
  constexpr const char* kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const std::string text = golden["ids"];
  const auto digit = [&](size_t i) { return static_cast<TokenId>(std::strchr(kAlphabet, text[i]) - kAlphabet); };
  const size_t length = golden["length"].get<size_t>() + 1;
  data::Dataset data;
  for (size_t begin = 0; begin < text.size() / 2; begin += length) {
    data::Example& example = data.examples.emplace_back();
    for (size_t i = begin; i < begin + length; ++i) example.tokens.push_back(digit(2 * i) * 64 + digit(2 * i + 1));
    example.trained.assign(length, 1);
    example.trained[0] = 0;
    data.trained_tokens += static_cast<int64_t>(length) - 1;
  }
  return data;
}

// The first `steps` losses of the run.
std::vector<double> run(const Json& golden, const std::string& dtype, const kernels::Choice& choice, int64_t steps) {
  const Path base = testing::source_dir() / "assets/seedling";
  const data::Dataset data = windows(golden);
  auto trainer = Trainer::create(load_model(base, {.dtype = dtype, .choice = choice}).value(),
                                 {.choice = choice, .threads = 2, .pass_rows_max = 1024})
                     .value();
  const JobSpec spec{.name = "pretrain", .kind = TrainKind::kFull, .learning_rate = golden["rate"], .schedule_floor = golden["floor"],
                     .warmup_share = golden["warmup_share"], .clip = 1.0, .beta2 = 0.95, .weight_decay = 0.1,
                     .full = {.base_dir = base.string(), .init = FullInit::kRandom}, .epochs = 1, .batch = golden["batch"], .shuffle = false};
  CHECK(trainer->add_job(spec, data, "seedling").ok(), "a full job over seedling");
  for (Parameter& p : trainer->adapter(0).parameters()) {
    if (p.tensor.find("norm") != std::string::npos) continue;  // ones
    for (int64_t i = 0; i < p.value.elements(); ++i) p.value.f32()[i] = testing::golden_noise(static_cast<uint64_t>(i), p.tensor) * 0.0346410162f;
  }
  trainer->adapter(0).materialize();
  std::vector<double> losses;
  const char* curves = std::getenv("UMBEL_CURVES");  // a folder: the curve is kept there
  std::ofstream file;
  if (curves != nullptr) file.open(Path(curves) / ("pretrain_" + dtype + ".txt"));
  while (static_cast<int64_t>(losses.size()) < steps) {
    const auto reports = trainer->step();
    losses.push_back(reports.at(0).loss);
    file << losses.size() << " " << losses.back() << " " << reports[0].gradient_norm << std::endl;
  }
  return losses;
}

double mean_of_last(const std::vector<double>& losses, size_t count) {
  double sum = 0;
  for (size_t i = losses.size() - count; i < losses.size(); ++i) sum += losses[i];
  return sum / static_cast<double>(count);
}

TEST(Pretrain, TheLossesAreTorchs) {
  const Json golden = read_json(testing::source_dir() / "tests/goldens/pretrain.json").value();
  const int64_t steps = long_tests() ? golden["steps"].get<int64_t>() : 6;
  const std::vector<double> losses = run(golden, "f32", testing::test_choice(), steps);
  ASSERT_EQ(static_cast<int64_t>(losses.size()), steps);
  for (size_t i = 0; i < losses.size(); ++i) {
    const double expected = golden["losses"][i];
    EXPECT_NEAR(losses[i], expected, 1e-3 * expected) << "step " << i;
  }
}

TEST(Pretrain, The16BitCurveEndsWhereTheF32CurveDoes) {
  if (!long_tests()) GTEST_SKIP() << "100 steps; UMBEL_LONG_TESTS=1 runs them";
  const Json golden = read_json(testing::source_dir() / "tests/goldens/pretrain.json").value();
  const std::vector<double> expected = golden["losses"];
  kernels::Choice choice = kernels::choose({}).value();
  for (const kernels::Arithmetic arithmetic : kernels::available_arithmetics(choice.isa)) {
    choice.arithmetic = arithmetic;
    const std::vector<double> losses = run(golden, "bf16", choice, golden["steps"]);
    std::printf("%s: last 20 steps %.5f, in f32 %.5f\n", std::string(kernels::arithmetic_name(arithmetic)).c_str(), mean_of_last(losses, 20),
                mean_of_last(expected, 20));
    EXPECT_NEAR(mean_of_last(losses, 20), mean_of_last(expected, 20), 1e-2 * mean_of_last(expected, 20));
  }
}

}  // namespace
}  // namespace umbel::train
