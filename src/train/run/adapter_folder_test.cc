// What an adapter's folder says of itself. How it is written whole or not at all: run_test.cc, run_crash_test.cc.
#include "train/run/adapter_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace umbel::train {
namespace {

using ::testing::HasSubstr;

TEST(AdapterCard, AModelIsNotCalledAnAdapter) {
  JobPlan plan{.job = {.name = "mine"}};
  for (const bool full : {false, true}) {
    plan.job.kind = full ? TrainKind::kFull : TrainKind::kLora;
    const JobOutcome outcome;
    const std::string card = adapter_card({.plan = plan, .outcome = outcome, .base_name = "seedling"});
    EXPECT_THAT(card, HasSubstr(full ? "library_name: transformers" : "library_name: peft"));
    EXPECT_THAT(card, HasSubstr(full ? "A model of the shape of seedling" : "An adapter on seedling"));
  }
}

}  // namespace
}  // namespace umbel::train
