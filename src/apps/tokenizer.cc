// umbel tokenizer train: a byte-level BPE tokenizer from text files.
#include "text/tokenizer.h"

#include <iostream>

#include "apps/exit.h"
#include "apps/verb.h"
#include "io/file.h"
#include "io/json.h"
#include "text/tokenizer_training.h"

namespace umbel::apps {
namespace {

constexpr const char* kFooter = R"(
Examples:
  umbel tokenizer train books/*.txt --vocab-size 4096 --out my-base/tokenizer.json
  umbel tokenizer train corpus.jsonl --out tokenizer.json --json)";

struct Flags {
  std::vector<std::string> files;
  std::string out;
  BpeTraining training;
  bool json = false;
};

// A .jsonl file has one document a line (its "text"), any other file is one document.
Status add_documents(const Path& path, std::vector<std::string>& documents) {
  ASSIGN_OR_RETURN(std::string bytes, read_file(path));
  if (path.extension() != ".jsonl") {
    documents.push_back(std::move(bytes));
    return ok_status();
  }
  size_t number = 0;
  for (size_t at = 0; at < bytes.size();) {
    const size_t end = std::min(bytes.find('\n', at), bytes.size());
    const std::string_view line = std::string_view(bytes).substr(at, end - at);
    at = end + 1;
    ++number;
    if (line.empty()) continue;
    const std::string what = path.string() + " line " + std::to_string(number);
    ASSIGN_OR_RETURN(const Json row, parse_json(line, what));
    auto text = json_field<std::string>(row, "text");
    if (!text.ok()) return text.status().with_context(what);
    documents.push_back(std::move(*text));
  }
  return ok_status();
}

Status run_train(const Flags& flags) {
  std::vector<std::string> documents;
  for (const std::string& file : flags.files) RETURN_IF_ERROR(add_documents(file, documents));
  const std::vector<std::string_view> borrowed(documents.begin(), documents.end());
  size_t bytes = 0;
  for (const std::string_view document : borrowed) bytes += document.size();
  ASSIGN_OR_RETURN(const std::string json, train_bpe(borrowed, flags.training));
  ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::from_json(json));
  RETURN_IF_ERROR(write_file_atomic(flags.out, json));
  const size_t vocab = tokenizer->vocab_size();
  if (flags.json) {
    const Json report = {{"documents", borrowed.size()}, {"bytes", bytes}, {"vocab_size", vocab}, {"out", flags.out}};
    std::cout << report.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
  } else {
    std::cout << "learned " << vocab << " tokens from " << bytes << " bytes in " << borrowed.size()
              << " documents: " << flags.out << "\n";
  }
  return ok_status();
}

}  // namespace

void add_tokenizer(CLI::App& program, Run& run) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = program.add_subcommand("tokenizer", "train a tokenizer");
  verb->require_subcommand(1);
  CLI::App* train = verb->add_subcommand("train", "a byte-level BPE tokenizer from text files");
  train->add_option("FILES", flags->files, "text files (one document each) or .jsonl with \"text\"")->required();
  train->add_option("--out", flags->out, "where tokenizer.json goes")->required();
  train->add_option("--vocab-size", flags->training.vocab_size, "ids in all, special tokens included")
      ->capture_default_str();
  train->add_option("--min-frequency", flags->training.min_frequency, "pairs seen less often are not merged")
      ->capture_default_str();
  train->add_option("--special", flags->training.special_tokens, "special tokens, in the order of their ids")
      ->delimiter(',')
      ->capture_default_str();
  train->add_option("--bos", flags->training.bos, "special token in front of every text; \"\" for none")
      ->capture_default_str();
  train->add_flag("--json", flags->json, "JSON for machines");
  train->footer(kFooter);
  train->callback([flags, &run] { run = [flags] { return finish(run_train(*flags)); }; });
}

}  // namespace umbel::apps
