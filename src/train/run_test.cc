#include "train/run.h"

#include <gtest/gtest.h>

#include <set>

namespace umbel {
namespace {

TEST(TrainRun, EveryEndOfAJobHasANameOfItsOwn) {
  std::set<std::string> names;
  for (const JobEnd end : {JobEnd::kFinished, JobEnd::kStoppedEarly, JobEnd::kLostSweep, JobEnd::kFailed}) names.insert(job_end_name(end));
  EXPECT_EQ(names.size(), 4u);
  EXPECT_EQ(names.count(""), 0u);
}

}  // namespace
}  // namespace umbel
