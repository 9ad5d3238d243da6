// umbel data measure: the figures of a data set that foretell how fine-tuning on it goes.
#include <cstdio>
#include <iostream>

#include "apps/base_model.h"
#include "apps/data.h"
#include "apps/exit.h"
#include "apps/table.h"
#include "base/printable.h"
#include "data/questions.h"
#include "eval/measure/heuristics.h"
#include "io/json.h"

namespace umbel::apps {
namespace {

constexpr const char* kFooter = R"(
Examples:
  umbel data measure train.jsonl
  umbel data measure bank.csv --template "Customer: {text}\nIntent:" --completion " {category}" --json
Prints the fourteen heuristics of LoRA Land (arXiv 2405.00732, figure 8), and our own figures apart. Lengths are tokens of --base's tokenizer,
special tokens not counted. Rows are what "umbel train" reads; a row without an answer is an error.)";

struct Flags {
  std::string file, base = "seedling", format = "auto";
  data::DatasetOptions options;
  bool json = false;
};

Result<int64_t> count_tokens(const Tokenizer& tokenizer, const std::string& text) {
  ASSIGN_OR_RETURN(const std::vector<TokenId> ids, tokenizer.encode(text, /*add_special=*/false));
  return static_cast<int64_t>(ids.size());
}

Result<eval::DataMeasure> measure_file(Flags flags) {
  ASSIGN_OR_RETURN(const Path dir, find_model(flags.base));
  ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::load(dir));
  auto chat_template = ChatTemplate::load(dir);
  if (!chat_template.ok() && chat_template.status().code() != Code::kNotFound) return chat_template.status();
  ASSIGN_OR_RETURN(flags.options.format, data::parse_row_format(flags.format));
  ASSIGN_OR_RETURN(const data::RowEncoder encoder,
                   data::RowEncoder::create(*tokenizer, chat_template.ok() ? chat_template->get() : nullptr, flags.options));
  const data::QuestionOptions questions = {.adapter = "", .answers = data::Answers::kNeeded,
                                           .encoder = [&](const std::string&) -> Result<const data::RowEncoder*> { return &encoder; }};
  ASSIGN_OR_RETURN(const auto rows, data::read_questions(flags.file, questions));
  eval::DataMeasure measure;
  for (const data::Question& row : rows) {
    const std::string answer = row.row.completion.value_or("");
    eval::DataMeasure::Tokens tokens;
    ASSIGN_OR_RETURN(tokens.input, count_tokens(*tokenizer, row.row.prompt));
    ASSIGN_OR_RETURN(tokens.output, count_tokens(*tokenizer, answer));
    ASSIGN_OR_RETURN(tokens.example, count_tokens(*tokenizer, row.row.prompt + answer));
    measure.add(row.row.prompt, answer, tokens);
  }
  return measure;
}

Status run_measure(const Flags& flags) {
  ASSIGN_OR_RETURN(const eval::DataMeasure measure, measure_file(flags));
  OrderedJson heuristics = OrderedJson::object(), extras = OrderedJson::object();
  Table table({"heuristic", ""}), own({"beside them", ""});
  for (const auto& [name, value] : measure.heuristics()) {
    heuristics[name] = value;
    table.add({name, number(value)});
  }
  for (const auto& [name, value] : measure.extras()) {
    extras[name] = value;
    own.add({name, number(value)});
  }
  if (flags.json) {
    std::cout << OrderedJson{{"heuristics", heuristics}, {"extras", extras}, {"tokenizer", flags.base}}.dump(-1, ' ', false, OrderedJson::error_handler_t::replace) << "\n";
  } else {
    std::cout << table.text() << "\n" << own.text();
  }
  return ok_status();
}

}  // namespace

void add_data_measure(CLI::App& verb, Run& run) {
  auto flags = std::make_shared<Flags>();
  CLI::App* measure = verb.add_subcommand("measure", "the figures of a file that foretell how fine-tuning on it goes");
  measure->add_option("FILE", flags->file, "a data file")->required();
  measure->add_option("--base", flags->base, "folder of the base model, or \"seedling\": its tokenizer and chat template")->capture_default_str();
  measure->add_option("--format", flags->format, "auto, prompt-completion, messages, alpaca, sharegpt, template")->capture_default_str();
  measure->add_option("--template", flags->options.prompt_template, "prompt of rows with other fields");
  measure->add_option("--completion", flags->options.completion_template, "the answer of such rows");
  measure->add_flag("--json", flags->json, "JSON for machines");
  measure->footer(kFooter);
  measure->callback([flags, &run] { run = [flags] { return finish(run_measure(*flags)); }; });
}

}  // namespace umbel::apps
