#include "eval/exam/results.h"

#include "eval/text/python_text.h"
#include "io/sha256.h"

namespace umbel::eval {
namespace {

struct Answered {
  std::vector<AnswerRecord> records;
  std::vector<ScoredRow> rows;
};

Result<Answered> answered_rows(Records& records, const ExamTask& task, const std::string& adapter, Blanks blanks) {
  Answered answered;
  ASSIGN_OR_RETURN(answered.records, records.answers(task.name, adapter));
  if (answered.records.size() != task.rows.size()) {
    return failed_precondition("task \"" + task.name + "\": " + std::to_string(answered.records.size()) + " of " + std::to_string(task.rows.size()) + " rows have an answer");
  }
  for (size_t i = 0; i < task.rows.size(); ++i) {
    const std::string& whole = answered.records[i].answer;
    const std::string trimmed(strip_blanks(whole));
    if (task.ask == AskKind::kLikelihood) {
      auto choices = parse_ordered_json(whole, "answer");
      answered.rows.push_back({.prediction = choices.ok() ? *std::move(choices) : OrderedJson(nullptr), .reference = task.rows[i].reference, .fields = task.rows[i].fields, .place = task.rows[i].place});
      continue;
    }
    OrderedJson answer = trimmed.empty() ? OrderedJson(nullptr) : OrderedJson(blanks == Blanks::kKept ? whole : trimmed);
    answered.rows.push_back({.prediction = std::move(answer), .reference = task.rows[i].reference,
                             .fields = task.rows[i].fields, .place = task.rows[i].place});
  }
  return answered;
}

void count(const Answered& answered, ExamResult& result) {
  result.rows = static_cast<int64_t>(answered.records.size());
  for (size_t i = 0; i < answered.records.size(); ++i) {
    const AnswerRecord& record = answered.records[i];
    result.prompt_tokens += record.prompt_tokens;
    result.answer_tokens += record.answer_tokens;
    result.cut += record.cut ? 1 : 0;
    result.empty += answered.rows[i].prediction.is_null() ? 1 : 0;
    result.at_limit += record.finish == "length" ? 1 : 0;
  }
}

}  // namespace

std::string ExamTask::rows_digest() const {
  Sha256 sha;
  sha.add_u64(static_cast<uint64_t>(max_tokens));
  for (const std::string& text : stop) sha.add_text(text);
  for (const TaskRow& row : rows) {
    sha.add_text(row.prompt);
    for (const std::string& choice : row.choices) sha.add_text(choice);
    sha.add_text(row.reference.dump(-1, ' ', false, OrderedJson::error_handler_t::replace));
  }
  return sha.hex();
}

Result<std::vector<ExamResult>> exam_results(Records& records, const std::vector<ExamTask>& tasks, const std::vector<std::string>& adapters, uint64_t seed) {
  std::vector<ExamResult> results;
  std::vector<double> p;
  for (const ExamTask& task : tasks) {
    std::vector<std::pair<ScorerChoice, bool>> scorers = {{task.scorer, true}};
    if (task.honest) scorers.push_back({*task.honest, false});
    for (const auto& [choice, is_kept] : scorers) {
      ASSIGN_OR_RETURN(const auto scorer, make_scorer(choice.name, choice.options));
      ASSIGN_OR_RETURN(const ScorerEntry* entry, find_scorer(choice.name));
      std::optional<std::vector<double>> base;
      for (const std::string& adapter : adapters) {
        ASSIGN_OR_RETURN(const Answered answered, answered_rows(records, task, adapter, entry->blanks));
        ASSIGN_OR_RETURN(Scores scores, scorer->score(answered.rows));
        if (is_kept) RETURN_IF_ERROR(records.put_scores(task.name, adapter, scores.scores));
        ExamResult result{.task = task.name, .adapter = adapter, .scorer = choice.name, .score = scores.mean, .interval = interval_of(scores.scores, seed),
                          .summary = std::move(scores.summary)};
        count(answered, result);
        if (adapter.empty()) {
          base = std::move(scores.scores);
        } else if (base) {
          result.base_score = mean_of(*base);
          result.lift = paired_test(scores.scores, *base, seed);
          p.push_back(result.lift.p);
        }
        results.push_back(std::move(result));
      }
    }
  }
  const std::vector<double> corrected = holm(p);
  size_t next = 0;
  for (ExamResult& result : results) {
    if (result.base_score) result.p_holm = corrected[next++];
  }
  OrderedJson list = OrderedJson::array();
  for (const ExamResult& result : results) list.push_back(result_json(result));
  RETURN_IF_ERROR(records.put_about(kResultsName, list.dump(-1, ' ', false, OrderedJson::error_handler_t::replace)));
  return results;
}

OrderedJson result_json(const ExamResult& result) {
  OrderedJson json = {{"task", result.task}, {"adapter", result.adapter}, {"scorer", result.scorer}, {"score", result.score},
                      {"interval", {{"low", result.interval.low}, {"high", result.interval.high}, {"method", result.interval.method}}}};
  if (result.base_score) {
    json["base_score"] = *result.base_score;
    json["lift"] = {{"difference", result.lift.difference}, {"p", result.lift.p}, {"p_holm", result.p_holm}, {"test", result.lift.method}};
  }
  json.update({{"rows", result.rows}, {"prompt_tokens", result.prompt_tokens}, {"answer_tokens", result.answer_tokens}, {"cut", result.cut},
               {"empty", result.empty}, {"at_limit", result.at_limit}, {"summary", result.summary}});
  return json;
}

}  // namespace umbel::eval
