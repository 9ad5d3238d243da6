#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "load/arrival.h"
#include "load/popularity.h"
#include "load/report.h"
#include "load/sse_reader.h"

namespace umbel::load {
namespace {

TEST(Popularity, ZipfFrequenciesFollowTheStatedProbabilities) {
  const Popularity popularity(Mix::kZipf, 8, 1.2, 7);
  std::map<size_t, int> seen;
  constexpr int kDraws = 40000;
  for (int i = 0; i < kDraws; ++i) ++seen[popularity.pick(i)];
  double sum = 0;
  for (size_t k = 0; k < 8; ++k) {
    const double p = popularity.probabilities()[k];
    sum += p;
    EXPECT_NEAR(seen[k] / double{kDraws}, p, 4 * std::sqrt(p * (1 - p) / kDraws)) << k;
  }
  EXPECT_NEAR(sum, 1.0, 1e-12);
  EXPECT_NEAR(popularity.probabilities()[1] / popularity.probabilities()[0], std::pow(2.0, -1.2), 1e-12);
}

TEST(Popularity, IdenticalAndDistinct) {
  const Popularity identical(Mix::kIdentical, 5, 0, 1);
  const Popularity distinct(Mix::kDistinct, 5, 0, 1);
  for (uint64_t i = 0; i < 20; ++i) {
    EXPECT_EQ(identical.pick(i), 0u);
    EXPECT_EQ(distinct.pick(i), i % 5);
  }
  EXPECT_FALSE(parse_mix("pareto").ok());
}

TEST(Arrival, GammaGapsHaveTheStatedMeanAndVariation) {
  for (const double cv : {0.0, 0.5, 1.0, 3.0}) {
    const auto times = open_loop_times(20001, 10.0, cv, 3);
    double mean = 0, square = 0;
    for (size_t i = 1; i < times.size(); ++i) {
      const double gap = to_seconds(times[i] - times[i - 1]);
      EXPECT_GE(gap, 0);
      mean += gap / 20000;
      square += gap * gap / 20000;
    }
    EXPECT_NEAR(mean, 0.1, 0.1 * (0.02 + 0.03 * cv)) << cv;
    EXPECT_NEAR(std::sqrt(std::max(0.0, square - mean * mean)) / mean, cv, 0.02 + 0.1 * cv) << cv;
  }
}

TEST(SseReader, AnyCutGivesTheSameEvents) {
  const std::string stream = ": comment\r\ndata: {\"a\":1}\r\n\r\nevent: x\ndata: two\ndata: lines\n\ndata:[DONE]\n\n";
  const std::vector<std::string> expected = {"{\"a\":1}", "two\nlines", "[DONE]"};
  for (size_t cut = 0; cut <= stream.size(); ++cut) {
    SseReader reader;
    std::vector<std::string> events;
    const auto take = [&](std::string_view data) { events.emplace_back(data); };
    reader.push(stream.substr(0, cut), take);
    reader.push(stream.substr(cut), take);
    EXPECT_EQ(events, expected) << cut;
  }
}

Record record_of(double sent, double first, double end, int tokens) {
  Record record{.model = "m", .ok = true, .sent = from_seconds(sent), .first_token = from_seconds(first), .end = from_seconds(end)};
  record.tokens = tokens;
  record.prompt_tokens = 10;
  for (int i = 0; i < tokens; ++i) record.pieces.push_back(from_seconds(first + (end - first) * i / std::max(1, tokens - 1)));
  return record;
}

TEST(Report, DefinitionsOnAHandMadeRun) {
  RunResult run;
  run.records = {record_of(0, 1, 3, 5), record_of(1, 4, 5, 3), Record{.model = "m", .error = "HTTP 429"}};
  run.wall = from_seconds(5);
  const Report report = make_report(run, {.ttft_s = 2.0});
  EXPECT_EQ(report.failed, 1u);
  EXPECT_EQ(report.errors.at("HTTP 429"), 1u);
  EXPECT_DOUBLE_EQ(report.output_tokens_per_s, 8 / 5.0);
  EXPECT_DOUBLE_EQ(report.ttft.p50, 1.0);
  EXPECT_DOUBLE_EQ(report.ttft.max, 3.0);
  EXPECT_DOUBLE_EQ(report.tpot.max, 0.5);       // (3 - 1) / 4 and (5 - 4) / 2
  EXPECT_DOUBLE_EQ(report.e2e.mean, 3.5);
  EXPECT_DOUBLE_EQ(*report.goodput_per_s, 0.2);  // only the first meets TTFT <= 2 s
  EXPECT_NE(report_html(report, run, "a <run>").find("a &lt;run>"), std::string::npos);
  EXPECT_EQ(report_json(report)["ttft_s"]["count"], 2);
}

TEST(Report, NearestRankPercentiles) {
  std::vector<double> sample;
  for (int i = 1; i <= 100; ++i) sample.push_back(i);
  const Distribution d = distribution(sample);
  EXPECT_EQ(d.p50, 50);
  EXPECT_EQ(d.p99, 99);
  EXPECT_EQ(d.max, 100);
  EXPECT_EQ(distribution({}).count, 0u);
}

}  // namespace
}  // namespace umbel::load
