// umbel data preview: what training makes of a file's rows: tokens told apart by whether they are trained, and numbers.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <utility>

#include "apps/base_model.h"
#include "apps/data.h"
#include "apps/exit.h"
#include "apps/question_rows.h"
#include "apps/verb.h"
#include "base/printable.h"
#include "data/dataset.h"
#include "data/dataset_statistics.h"
#include "data/row_format.h"
#include "kernels/choice.h"
#include "models/config.h"
#include "models/generation_config.h"
#include "train/config/config.h"

namespace umbel::apps {
namespace {

constexpr const char* kFooter = R"(
Examples:
  umbel data preview rows.jsonl --base seedling
  umbel data preview bank.csv --template "Customer: {text}\nIntent:" --completion " {category}" --rows 10
  umbel data preview corpus.jsonl.gz --join --max-length 257 --json
  zcat rows.jsonl.gz | umbel data preview /dev/stdin
  umbel data preview run.yaml --job intents
Trained text is green on a terminal and stands in ⟦ ⟧ elsewhere; the rest is only read. Files: JSON lines, one JSON list, or CSV
(.csv, .tsv) with a header or --columns, plain, gzip or zstd, or Parquet, or FOLDER:SPLIT. Rows: {"prompt", "completion"}, {"messages"}, {"instruction", "input", "output"},
{"conversations"}, {"text"}, or any fields with --template and --completion. In both, {field} is a field, {{ and }} are braces,
and \n is a line break (as "umbel train" reads them). Tokenised rows are kept in $XDG_CACHE_HOME/umbel (or ~/.cache/umbel); --no-cache leaves that out.)";

struct Flags {
  std::string base = "seedling";
  std::vector<std::string> files;
  std::string run, job;  // a run's file, and which of its jobs
  std::string format = "auto";
  std::string color = "auto";
  data::DatasetOptions options;
  int64_t rows = 5;
  int64_t skipped = 20;
  bool no_cache = false;
  bool json = false;
};

struct Words {
  std::vector<TokenId> ends;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::shared_ptr<const ChatTemplate> chat_template;  // null = none
};

// Neighbouring tokens that are all trained, or all not, as text.
struct Stretch {
  std::string text;
  bool trained;
};

// Texts are differences of decoded beginnings, so that a blank that a lone token would lose stays.
Result<std::vector<Stretch>> runs_of(const data::Example& example, const Tokenizer& tokenizer) {
  std::vector<Stretch> runs;
  std::string before;
  const std::span<const TokenId> tokens = example.tokens;
  for (size_t begin = 0; begin < tokens.size();) {
    size_t end = begin;
    while (end < tokens.size() && (example.trained[end] != 0) == (example.trained[begin] != 0)) ++end;
    ASSIGN_OR_RETURN(std::string whole, tokenizer.decode(tokens.first(end), /*skip_special=*/false));
    if (whole.starts_with(before)) {
      runs.push_back({whole.substr(before.size()), example.trained[begin] != 0});
    } else {
      ASSIGN_OR_RETURN(std::string alone, tokenizer.decode(tokens.subspan(begin, end - begin), /*skip_special=*/false));
      runs.push_back({std::move(alone), example.trained[begin] != 0});
    }
    before = std::move(whole);
    begin = end;
  }
  return runs;
}

int64_t trained_count(const data::Example& example) { return std::count(example.trained.begin(), example.trained.end(), 1); }

Status print_rows(const data::Dataset& data, int64_t rows, const Tokenizer& tokenizer, bool color) {
  const size_t shown = std::min(data.examples.size(), static_cast<size_t>(rows));
  for (size_t i = 0; i < shown; ++i) {
    const data::Example& example = data.examples[i];
    std::cout << "-- " << data.place(example.file, example.line) << ": " << example.tokens.size() << " tokens, " << trained_count(example)
              << " trained\n";
    ASSIGN_OR_RETURN(const auto runs, runs_of(example, tokenizer));
    for (const Stretch& run : runs) {
      const char* before = color ? (run.trained ? "\x1b[32m" : "\x1b[2m") : (run.trained ? "⟦" : "");
      const char* after = color ? "\x1b[0m" : (run.trained ? "⟧" : "");
      std::cout << before << printable(run.text, std::string::npos, LineBreaks::kKept) << after;
    }
    std::cout << "\n";
  }
  return ok_status();
}

void print_statistics(const data::DatasetStatistics& statistics, const data::Dataset& data) {
  std::cout << "== " << statistics.examples << " examples (" << data::row_format_name(data.format) << ") from " << statistics.rows << " rows";
  if (statistics.units != statistics.examples) std::cout << ", packed into " << statistics.units << " units of the batch";
  std::cout << ": " << statistics.tokens << " tokens, " << statistics.trained_tokens << " trained\n"
            << "   skipped " << statistics.skipped << ", cut " << statistics.cut << ", duplicates " << statistics.duplicates
            << ", without a trained end token " << statistics.without_end << ", training the end token alone " << statistics.only_end << "\n"
            << "   tokens of an example: shortest " << statistics.shortest << ", median " << statistics.median << ", 95 % up to "
            << statistics.p95 << ", longest " << statistics.longest << "\n";
  int64_t most = 1;
  for (const auto& bucket : statistics.lengths) most = std::max(most, bucket.examples);
  for (const auto& bucket : statistics.lengths) {
    constexpr int64_t kWidth = 40;
    const auto bar = static_cast<size_t>((bucket.examples * kWidth + most - 1) / most);
    std::printf("   %8lld to %-8lld %8lld %s\n", static_cast<long long>(bucket.from), static_cast<long long>(bucket.to),
                static_cast<long long>(bucket.examples), std::string(bar, '#').c_str());
  }
  std::fflush(stdout);
}

constexpr size_t kAnswersShown = 10;

// Answers that repeat are labels; of other texts there is nothing to count.
std::vector<data::AnswerCount> labels_of(const data::Dataset& data) {
  auto answers = data.joined ? std::vector<data::AnswerCount>() : data::count_answers(data);
  if (answers.size() * 2 > data.examples.size()) answers.clear();
  return answers;
}

Result<std::string> answer_text(const data::Example& example, const Tokenizer& tokenizer) {
  std::vector<TokenId> ids;
  for (size_t i = 0; i < example.tokens.size(); ++i) {
    if (example.trained[i] != 0) ids.push_back(example.tokens[i]);
  }
  return tokenizer.decode(ids, /*skip_special=*/true);
}

Status print_labels(const data::Dataset& data, const Tokenizer& tokenizer) {
  const auto labels = labels_of(data);
  if (labels.empty()) return ok_status();
  std::cout << "   " << labels.size() << " answers:\n";
  for (size_t i = 0; i < std::min(labels.size(), kAnswersShown); ++i) {
    ASSIGN_OR_RETURN(const std::string text, answer_text(data.examples[labels[i].example], tokenizer));
    std::printf("   %8lld  %s\n", static_cast<long long>(labels[i].rows), printable(text.substr(0, 80)).c_str());
    std::fflush(stdout);
  }
  if (labels.size() > kAnswersShown) std::cout << "        ... " << labels.size() - kAnswersShown << " more\n";
  return ok_status();
}

void print_skipped(const data::Dataset& data, int64_t shown) {
  size_t count = 0;
  for (const data::SkippedRow& row : data.skipped) {
    if (count++ == static_cast<size_t>(shown)) {
      std::cout << "... and " << data.skipped.size() - count + 1 << " more skipped rows (--skipped N shows N)\n";
      break;
    }
    std::cout << data.place(row.file, row.line) << ": skipped: " << printable(row.reason, kPrintableLineMax, LineBreaks::kIndented) << "\n";
  }
  count = 0;
  for (const data::CutRow& row : data.cut) {
    if (count++ == static_cast<size_t>(shown)) {
      std::cout << "... and " << data.cut.size() - count + 1 << " more cut rows\n";
      break;
    }
    std::cout << data.place(row.file, row.line) << ": cut: it has " << row.tokens << " tokens\n";
  }
}

Json statistics_json(const data::DatasetStatistics& statistics) {
  Json lengths = Json::array(), ends = Json::array();
  for (const auto& [id, examples] : statistics.other_ends) ends.push_back({{"id", id}, {"examples", examples}});
  for (const auto& bucket : statistics.lengths) lengths.push_back({{"from", bucket.from}, {"to", bucket.to}, {"examples", bucket.examples}});
  return {{"rows", statistics.rows}, {"examples", statistics.examples}, {"skipped", statistics.skipped}, {"cut", statistics.cut},
          {"units", statistics.units}, {"tokens", statistics.tokens}, {"trained_tokens", statistics.trained_tokens},
          {"shortest", statistics.shortest}, {"median", statistics.median}, {"p95", statistics.p95}, {"longest", statistics.longest},
          {"duplicates", statistics.duplicates}, {"without_end", statistics.without_end}, {"only_end", statistics.only_end}, {"other_ends", ends},
          {"lengths", lengths}};
}

std::vector<std::string> all_warnings(const data::Dataset& data, const Flags& flags, const Tokenizer& tokenizer, const data::DatasetStatistics& statistics) {
  std::vector<std::string> warnings = data::template_warnings(flags.options);
  for (std::string& more : data::warnings_of(statistics, data, tokenizer)) warnings.push_back(std::move(more));
  return warnings;
}

Status print_json(const data::Dataset& data, const Flags& flags, const Tokenizer& tokenizer, const data::DatasetStatistics& statistics) {
  Json rows = Json::array(), skipped = Json::array(), cut = Json::array();
  for (size_t i = 0; i < std::min(data.examples.size(), static_cast<size_t>(flags.rows)); ++i) {
    const data::Example& example = data.examples[i];
    ASSIGN_OR_RETURN(const auto runs, runs_of(example, tokenizer));
    Json texts = Json::array();
    for (const Stretch& run : runs) texts.push_back({{"text", run.text}, {"trained", run.trained}});
    rows.push_back({{"file", data.files[static_cast<size_t>(example.file)]}, {"line", example.line}, {"ids", example.tokens},
                    {"trained", example.trained}, {"texts", texts}});
  }
  for (const data::SkippedRow& row : data.skipped) {
    skipped.push_back({{"file", data.files[static_cast<size_t>(row.file)]}, {"line", row.line}, {"reason", row.reason}});
  }
  for (const data::CutRow& row : data.cut) {
    cut.push_back({{"file", data.files[static_cast<size_t>(row.file)]}, {"line", row.line}, {"tokens", row.tokens}});
  }
  Json labels = Json::array();
  for (const data::AnswerCount& label : labels_of(data)) {
    ASSIGN_OR_RETURN(const std::string text, answer_text(data.examples[label.example], tokenizer));
    labels.push_back({{"answer", text}, {"examples", label.rows}});
  }
  const Json report = {{"format", data::row_format_name(data.format)}, {"statistics", statistics_json(statistics)}, {"rows", rows},
                       {"skipped", skipped}, {"cut", cut}, {"answers", labels}, {"unread", data.unread},
                       {"warnings", all_warnings(data, flags, tokenizer, statistics)}, {"files_cached", data.files_cached}};
  std::cout << report.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
  return ok_status();
}

// The base's words and limits, without its weights.
Result<Words> open_words(Flags& flags) {
  Words words;
  ASSIGN_OR_RETURN(const Path dir, find_model(flags.base));
  ASSIGN_OR_RETURN(words.tokenizer, Tokenizer::load(dir));
  auto chat_template = ChatTemplate::load(dir);
  if (!chat_template.ok() && chat_template.status().code() != Code::kNotFound) return chat_template.status();
  if (chat_template.ok()) words.chat_template = *chat_template;
  ASSIGN_OR_RETURN(const ModelConfig config, load_model_config(dir));
  ASSIGN_OR_RETURN(const GenerationConfig generation, load_generation_config(dir, config));
  words.ends = generation.eos_ids;
  flags.options.eos = generation.eos_ids.empty() ? -1 : generation.eos_ids.front();
  flags.options.length_max = std::min(flags.options.length_max, config.max_position_embeddings);
  return words;
}

// Rows as a job of the run's file reads them.
Status take_job(Flags& flags) {
  ASSIGN_OR_RETURN(const train::RunSpec spec, train::read_run_spec(flags.run, {}));
  const train::JobPlan* chosen = nullptr;
  std::string names;
  for (const train::JobPlan& plan : spec.jobs) {
    if (chosen == nullptr && (flags.job.empty() || plan.job.name == flags.job)) chosen = &plan;
    names += (names.empty() ? "" : ", ") + plan.job.name;
  }
  if (chosen == nullptr) return not_found("there is no job \"" + flags.job + "\" in " + flags.run + "; its jobs are " + names);
  if (flags.files.empty()) flags.files = {chosen->data};
  flags.options = chosen->dataset;
  if (!spec.base.empty()) flags.base = spec.base;
  return ok_status();
}

bool is_yaml(const std::string& file) { return file.ends_with(".yaml") || file.ends_with(".yml"); }

Status run_preview(Flags flags) {
  if (flags.run.empty() && flags.files.size() == 1 && is_yaml(flags.files[0])) flags.run = std::exchange(flags.files, {}).front();
  if (flags.run.empty() && !flags.job.empty()) return invalid_argument("--job names a job of a run's file: give that file, by --run or alone");
  if (flags.run.empty()) {
    ASSIGN_OR_RETURN(flags.options.format, data::parse_row_format(flags.format));
  } else {
    RETURN_IF_ERROR(take_job(flags));
  }
  if (flags.files.empty()) return invalid_argument("name the data files, or a run's file by --run");
  if (!flags.no_cache) flags.options.cache_dir = kernels::default_cache_dir();
  flags.options.unusable_share_max = 1;  // to look is allowed
  ASSIGN_OR_RETURN(const Words words, open_words(flags));
  const std::vector<Path> files(flags.files.begin(), flags.files.end());
  ASSIGN_OR_RETURN(const data::Dataset data, data::load_dataset(files, *words.tokenizer, words.chat_template.get(), flags.options));
  const data::DatasetStatistics statistics = data::describe(data, *words.tokenizer, words.ends);
  if (flags.json) return print_json(data, flags, *words.tokenizer, statistics);
  const bool color = flags.color == "always" || (flags.color == "auto" && isatty(STDOUT_FILENO) == 1 && std::getenv("NO_COLOR") == nullptr);
  RETURN_IF_ERROR(print_rows(data, flags.rows, *words.tokenizer, color));
  print_skipped(data, flags.skipped);
  print_statistics(statistics, data);
  std::cout << std::flush;
  RETURN_IF_ERROR(print_labels(data, *words.tokenizer));
  for (const std::string& warning : all_warnings(data, flags, *words.tokenizer, statistics)) std::cout << "   warning: " << printable(warning) << "\n";
  return ok_status();
}

}  // namespace

void add_data(CLI::App& program, Run& run) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = program.add_subcommand("data", "look at training data");
  verb->require_subcommand(1);
  add_data_measure(*verb, run);
  CLI::App* preview = verb->add_subcommand("preview", "rows as training sees them: what is trained, what is cut, skipped or doubled");
  preview->add_option("FILES", flags->files, "data files, or the YAML file of a run");
  preview->add_option("--run", flags->run, "a file of \"umbel train\": rows as its job reads them (base, format, templates, lengths)");
  preview->add_option("--job", flags->job, "which job of --run (default: the first)");
  preview->add_option("--base", flags->base, "folder of the base model, or \"seedling\": its tokenizer, chat template and context")->capture_default_str();
  preview->add_option("--format", flags->format, "auto, prompt-completion, messages, alpaca, sharegpt, text, template")->capture_default_str();
  preview->add_option("--template", flags->options.prompt_template, "prompt of rows with other fields, e.g. \"Question: {question}\\nAnswer:\"");
  preview->add_option("--completion", flags->options.completion_template, "what is trained behind it, e.g. \" {answer}\"");
  declare_columns(*preview, flags->options.columns);
  preview->add_option("--max-length", flags->options.length_max, "longest row in tokens (never more than the context)")->check(CLI::Range(2, 1 << 24))->capture_default_str();
  preview->add_flag("--join", flags->options.join, "text rows: joined into windows of --max-length tokens");
  preview->add_flag("--pack", flags->options.pack, "several examples fill one unit of the batch");
  preview->add_option("--rows", flags->rows, "rows to print")->check(CLI::Range(0, 1 << 30))->capture_default_str();
  preview->add_option("--skipped", flags->skipped, "skipped and cut rows to name")->check(CLI::Range(0, 1 << 30))->capture_default_str();
  preview->add_option("--color", flags->color, "auto, always, never")->check(CLI::IsMember({"auto", "always", "never"}))->capture_default_str();
  preview->add_option("--threads", flags->options.threads, "of tokenising (0 = all usable CPUs)")->check(CLI::Range(0, 256))->capture_default_str();
  preview->add_flag("--no-cache", flags->no_cache, "neither read nor write the cache of tokenised rows");
  preview->add_flag("--json", flags->json, "JSON for machines");
  preview->footer(kFooter);
  preview->callback([flags, &run] { run = [flags] { return finish(run_preview(*flags)); }; });
}

}  // namespace umbel::apps
