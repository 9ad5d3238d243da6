// umbel eval MODEL: an exam. Every adapter and the base answer every row of every task in one run over the serving engine, mixed in the same batches.
#include "apps/eval.h"

#include <algorithm>
#include <cstdio>
#include <deque>
#include <iostream>

#include "apps/answer.h"
#include "apps/eval_choices.h"
#include "apps/exit.h"
#include "apps/progress.h"
#include "apps/question_rows.h"
#include "apps/table.h"
#include "engine/room.h"
#include "eval/exam/results.h"
#include "eval/text/python_text.h"

namespace umbel::apps {
namespace {

constexpr uint64_t kSeed = 1234;  // of the bootstraps; answers are greedy

// Of one exam: who is asked what.
struct Exam {
  std::vector<eval::ExamTask> tasks;
  std::vector<std::string> adapters;  // the base, "", first
  std::unique_ptr<eval::Records> records;
  std::vector<std::vector<std::set<int64_t>>> answered;  // by task and adapter
};

struct Item {
  size_t task = 0, adapter = 0, row = 0;
};

Result<eval::ExamTask> task_of_file(const Workshop& shop, const ExamFlags& flags) {
  RowFlags form{.format = flags.format, .prompt_template = flags.prompt_template, .completion_template = flags.completion_template};
  data::QuestionOptions options{.adapter = "", .answers = data::Answers::kNeeded};
  if (flags.limit > 0) options.rows_max = static_cast<size_t>(flags.limit);
  ASSIGN_OR_RETURN(const auto questions, read_question_file(flags.data, shop.base, "", form, options));
  eval::ExamTask task{.name = Path(flags.data).stem().string(), .digest = "", .max_tokens = flags.max_tokens, .stop = flags.stop};
  ASSIGN_OR_RETURN(task.scorer.options, scorer_options(flags.options));
  task.scorer.name = flags.scorer;
  RETURN_IF_ERROR(eval::make_scorer(task.scorer.name, task.scorer.options).status());
  for (const data::Question& question : questions) {
    eval::TaskRow row{.prompt = question.row.prompt, .completion = question.row.completion.value_or("")};
    row.reference = std::string(eval::strip_blanks(row.completion));
    row.fields = OrderedJson::object();
    row.place = Path(flags.data).filename().string() + ":" + std::to_string(question.line);
    task.rows.push_back(std::move(row));
  }
  return task;
}

Result<eval::ExamTask> task_of(const eval::Task& task, const Path& data, const ExamFlags& flags) {
  eval::ExamTask exam{.name = task.name, .digest = task.digest, .scorer = task.scorer, .honest = task.honest, .max_tokens = task.max_tokens, .stop = task.stop,
                      .ask = task.choices.ask, .before_choice = task.choices.before};
  ASSIGN_OR_RETURN(exam.rows, eval::read_task_rows(task, data, flags.limit));
  return exam;
}

Result<std::vector<eval::ExamTask>> read_exam_tasks(const Workshop& shop, const ExamFlags& flags) {
  std::vector<eval::ExamTask> exams;
  if (!flags.data.empty()) {
    ASSIGN_OR_RETURN(eval::ExamTask task, task_of_file(shop, flags));
    exams.push_back(std::move(task));
    return exams;
  }
  ASSIGN_OR_RETURN(const auto tasks, choose_tasks(flags.tasks, flags.task_dir));
  const Path data = flags.data_dir.empty() ? eval::data_folder() : Path(flags.data_dir);
  for (const eval::Task& task : tasks) {
    ASSIGN_OR_RETURN(eval::ExamTask exam, task_of(task, data, flags));
    exams.push_back(std::move(exam));
  }
  return exams;
}

// The base first, then the adapters that were named, else all that the folder has.
Result<std::vector<std::string>> exam_adapters(const Workshop& shop, const ExamFlags& flags) {
  std::vector<std::string> names = {""};
  if (!flags.adapters.empty()) {
    for (const std::string& name : flags.adapters) {
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
    return names;
  }
  for (const AdapterInfo& info : shop.library->list()) names.push_back(info.id.name);
  return names;
}

Result<std::string> digest_of(Workshop& shop, const std::string& adapter) {
  if (adapter.empty()) return std::string("-");
  ASSIGN_OR_RETURN(const AdapterRef ref, find_adapter(shop, adapter));
  return shop.library->info(ref).id.digest;
}

Result<Exam> open_exam(Workshop& shop, const ExamFlags& flags) {
  Exam exam;
  ASSIGN_OR_RETURN(exam.tasks, read_exam_tasks(shop, flags));
  ASSIGN_OR_RETURN(exam.adapters, exam_adapters(shop, flags));
  if (!flags.out.empty()) {
    std::error_code error;
    std::filesystem::create_directories(flags.out, error);
    if (error) return Status(Code::kUnavailable, "--out: the folder \"" + flags.out + "\" can't be made: " + error.message());
  }
  ASSIGN_OR_RETURN(exam.records, eval::Records::open(flags.out.empty() ? Path() : Path(flags.out) / kExamFile));
  ASSIGN_OR_RETURN(const std::string fingerprint, base_fingerprint(shop.base));
  RETURN_IF_ERROR(exam.records->agree("base", fingerprint));
  for (const eval::ExamTask& task : exam.tasks) {
    std::vector<std::set<int64_t>>& by_adapter = exam.answered.emplace_back();
    const std::string rows = task.rows_digest();
    for (const std::string& adapter : exam.adapters) {
      eval::ExamKey key{.task = task.name, .adapter = adapter, .task_digest = task.digest, .rows_digest = rows};
      ASSIGN_OR_RETURN(key.adapter_digest, digest_of(shop, adapter));
      ASSIGN_OR_RETURN(std::set<int64_t> there, exam.records->enter(key));
      by_adapter.push_back(std::move(there));
    }
    for (size_t row = 0; row < task.rows.size(); ++row) {
      const std::string reference = task.rows[row].reference.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
      RETURN_IF_ERROR(exam.records->put_question(task.name, static_cast<int64_t>(row), task.rows[row].prompt, reference));
    }
  }
  return exam;
}

// What is still to be asked, row by row: all tasks and adapters of one row beside each other.
std::vector<Item> items_of(const Exam& exam) {
  size_t rows = 0;
  for (const eval::ExamTask& task : exam.tasks) rows = std::max(rows, task.rows.size());
  std::vector<Item> items;
  for (size_t row = 0; row < rows; ++row) {
    for (size_t task = 0; task < exam.tasks.size(); ++task) {
      for (size_t adapter = 0; adapter < exam.adapters.size() && row < exam.tasks[task].rows.size(); ++adapter) {
        if (exam.answered[task][adapter].count(static_cast<int64_t>(row)) == 0) items.push_back({.task = task, .adapter = adapter, .row = row});
      }
    }
  }
  return items;
}

struct Running {
  Asked asked;
  bool cut = false;
  std::optional<AskedChoices> choices;  // instead of `asked`, of a task that has some
  size_t requests() const { return choices ? choices->choices.size() : 1; }
};

// The prompt's ids as the adapter's own tokenizer has them; a prompt that leaves no room for the answer loses its beginning, behind the special tokens that begin every prompt.
Result<std::vector<TokenId>> fitted_ids(Workshop& shop, const eval::ExamTask& task, const std::string& adapter, const std::string& prompt, bool& cut) {
  ASSIGN_OR_RETURN(const auto tokenizer, tokenizer_of(shop, adapter));
  ASSIGN_OR_RETURN(std::vector<TokenId> ids, tokenizer->encode(prompt, /*add_special=*/true));
  ASSIGN_OR_RETURN(const std::vector<TokenId> special, tokenizer->encode("", /*add_special=*/true));
  const int64_t room = request_tokens_max(shop.engine->limits()) - task.max_tokens;
  if (room <= static_cast<int64_t>(special.size())) {
    return invalid_argument("its " + std::to_string(task.max_tokens) + " tokens of an answer leave no room for a prompt in a context of " +
                            std::to_string(request_tokens_max(shop.engine->limits())));
  }
  cut = static_cast<int64_t>(ids.size()) > room;
  if (cut) {
    const auto head = std::equal(special.begin(), special.end(), ids.begin()) ? static_cast<std::ptrdiff_t>(special.size()) : 0;
    ids.erase(ids.begin() + head, ids.begin() + head + (static_cast<std::ptrdiff_t>(ids.size()) - static_cast<std::ptrdiff_t>(room)));
  }
  return ids;
}

Result<Running> submit(Workshop& shop, const Exam& exam, const Item& item) {
  const eval::ExamTask& task = exam.tasks[item.task];
  Running running;
  if (task.ask != eval::AskKind::kGenerate) {
    ASSIGN_OR_RETURN(running.choices, ask_choices(shop, task, task.rows[item.row], exam.adapters[item.adapter]));
    return running;
  }
  ASSIGN_OR_RETURN(std::vector<TokenId> ids, fitted_ids(shop, task, exam.adapters[item.adapter], task.rows[item.row].prompt, running.cut));
  const SamplingFlags greedy{.temperature = 0.0f, .max_tokens = task.max_tokens, .stop = task.stop, .generation_config = "none"};
  ASSIGN_OR_RETURN(running.asked, ask(shop, std::move(ids), exam.adapters[item.adapter], greedy));
  return running;
}

Status keep(const Exam& exam, const Item& item, const Running& running) {
  const eval::ExamTask& task = exam.tasks[item.task];
  if (running.choices) {
    ASSIGN_OR_RETURN(eval::AnswerRecord record, read_choices(*running.choices, task, task.rows[item.row]));
    record.row = static_cast<int64_t>(item.row);
    return exam.records->put(task.name, exam.adapters[item.adapter], record);
  }
  ASSIGN_OR_RETURN(const AnswerResult answer, read_answer(running.asked, task.stop, nullptr));
  return exam.records->put(task.name, exam.adapters[item.adapter],
                           {.row = static_cast<int64_t>(item.row), .answer = answer.text, .finish = std::string(finish_name(answer.finish)),
                            .prompt_tokens = answer.prompt_tokens, .answer_tokens = static_cast<int64_t>(answer.token_ids.size()), .cut = running.cut,
                            .first_token_s = to_seconds(answer.times.first_token), .total_s = to_seconds(answer.times.total)});
}

// Keeps the engine's queue filled; answers go into the records as they are read.
Status ask_all(Workshop& shop, const Exam& exam) {
  const std::vector<Item> items = items_of(exam);
  const size_t ahead = static_cast<size_t>(shop.engine->limits().sequences_max) * 2;
  const auto place = [&](const Item& item) {
    const std::string& adapter = exam.adapters[item.adapter];
    return "task \"" + exam.tasks[item.task].name + "\", " + exam.tasks[item.task].rows[item.row].place + (adapter.empty() ? "" : ", adapter \"" + adapter + "\"");
  };
  std::deque<Running> running;
  Progress progress("answers", items.size());
  size_t requests = 0;  // of those that run
  for (size_t next = 0, done = 0; done < items.size(); ++done) {
    for (; next < items.size() && requests < ahead; ++next) {
      auto asked = submit(shop, exam, items[next]);
      if (!asked.ok()) return asked.status().with_context(place(items[next]));
      requests += asked->requests();
      running.push_back(*std::move(asked));
    }
    RETURN_IF_ERROR(keep(exam, items[done], running.front()).with_context(place(items[done])));
    requests -= running.front().requests();
    running.pop_front();
    progress.step();
  }
  return ok_status();
}

void print_results(const std::vector<eval::ExamResult>& results) {
  Table table({"task", "adapter", "scorer", "score", "95 %", "base", "lift", "p (Holm)", "rows", "cut", "empty", "at limit"});
  std::string methods;
  for (const eval::ExamResult& result : results) {
    const bool compared = result.base_score.has_value();
    table.add({result.task, result.adapter.empty() ? "(base)" : result.adapter, result.scorer, number(result.score),
               number(result.interval.low) + " - " + number(result.interval.high), compared ? number(*result.base_score) : "",
               compared ? number(result.lift.difference) : "", compared ? number(result.p_holm) : "", std::to_string(result.rows),
               std::to_string(result.cut), std::to_string(result.empty), std::to_string(result.at_limit)});
    for (const std::string_view method : {result.interval.method, compared ? result.lift.method : std::string_view()}) {
      if (!method.empty() && methods.find(method) == std::string::npos) methods.append(methods.empty() ? "" : ", ").append(method);
    }
  }
  std::cout << table.text() << "\nintervals and tests: " << methods << "; p corrected for all pairs (Holm)\n";
}

}  // namespace

Status run_exam(const ExamFlags& given) {
  ExamFlags flags = given;
  if (flags.tasks.empty() == flags.data.empty()) return invalid_argument("give --tasks NAME,... (\"umbel eval tasks\" lists them), or --data ROWS and --scorer S");
  if (!flags.data.empty() && flags.scorer.empty()) return invalid_argument("--data needs --scorer (\"umbel eval scorers\" lists them)");
  if (flags.data.empty() && !flags.scorer.empty()) return invalid_argument("--scorer goes with --data; a task names its own");
  RETURN_IF_ERROR(check_adapters_flag(flags.engine.adapters));
  if (flags.engine.adapters.empty() && flags.adapters.size() == 1) {
    ASSIGN_OR_RETURN(flags.adapters[0], resolve_adapter_flag(flags.adapters[0], flags.engine));
  }
  if (flags.engine.only.empty()) flags.engine.only = flags.adapters;
  ASSIGN_OR_RETURN(Workshop shop, open_workshop(flags.model, flags.engine, /*watch=*/false));
  ASSIGN_OR_RETURN(const Exam exam, open_exam(shop, flags));
  RETURN_IF_ERROR(ask_all(shop, exam));
  ASSIGN_OR_RETURN(const auto results, eval::exam_results(*exam.records, exam.tasks, exam.adapters, kSeed));
  if (!flags.json) {
    print_results(results);
    return ok_status();
  }
  OrderedJson list = OrderedJson::array();
  for (const eval::ExamResult& result : results) list.push_back(eval::result_json(result));
  std::cout << OrderedJson{{"base", shop.base.name}, {"results", list}}.dump(-1, ' ', false, OrderedJson::error_handler_t::replace) << "\n";
  return ok_status();
}

}  // namespace umbel::apps
