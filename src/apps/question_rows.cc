#include "apps/question_rows.h"

#include <cstdio>

#include "data/prompt_file.h"
#include "text/template_workers.h"

namespace umbel::apps {
namespace {

// One encoder an adapter, made when its first row comes.
class Encoders {
 public:
  Encoders(const BaseModel& base, const std::string& adapters, const RowFlags& flags) : base_(base), adapters_(adapters), flags_(flags) {}

  Result<const data::RowEncoder*> of(const std::string& adapter) {
    if (const auto found = made_.find(adapter); found != made_.end()) return const_cast<const data::RowEncoder*>(found->second.encoder.get());
    ASSIGN_OR_RETURN(Entry entry, make(adapter == base_.name ? "" : adapter));
    return const_cast<const data::RowEncoder*>((made_[adapter] = std::move(entry)).encoder.get());
  }

 private:
  struct Entry {
    std::shared_ptr<const Tokenizer> tokenizer;
    std::shared_ptr<const ChatTemplate> chat_template;
    std::unique_ptr<data::RowEncoder> encoder;
  };

  Result<Entry> make(const std::string& adapter) const {
    Entry entry{.tokenizer = base_.tokenizer, .chat_template = base_.chat_template};
    data::DatasetOptions options{.length_max = 0, .prompt_template = flags_.prompt_template, .completion_template = flags_.completion_template};
    ASSIGN_OR_RETURN(options.format, data::parse_row_format(flags_.format));
    if (!adapter.empty() && !adapters_.empty()) {
      const Path folder = Path(adapters_) / adapter;
      ASSIGN_OR_RETURN(const auto file, data::read_prompt_file(folder));
      const bool by_flags = options.format != data::RowFormat::kAuto || !flags_.prompt_template.empty() || !flags_.completion_template.empty();
      if (file && !by_flags && file->format == data::RowFormat::kTemplate) options = data::with_prompt_file(options, *file);
      ASSIGN_OR_RETURN(FolderReader files, FolderReader::open({.folder = folder, .root = adapters_}));
      const TextFiles texts = text_files_of(std::move(files));
      ASSIGN_OR_RETURN(entry.tokenizer, tokenizer_of(base_, texts));
      ASSIGN_OR_RETURN(const auto own, workers_->find("adapter \"" + adapter + "\"'s", texts, *base_.tokenizer));
      if (own != nullptr) entry.chat_template = own;
    }
    ASSIGN_OR_RETURN(data::RowEncoder encoder, data::RowEncoder::create(*entry.tokenizer, entry.chat_template.get(), options));
    entry.encoder = std::make_unique<data::RowEncoder>(std::move(encoder));
    return entry;
  }

  const BaseModel& base_;
  const std::string& adapters_;
  const RowFlags& flags_;
  const std::shared_ptr<TemplateWorkers> workers_ = TemplateWorkers::create({});
  std::map<std::string, Entry> made_;
};

void add(Tally& sum, const Tally& more) {
  sum.rows += more.rows;
  sum.expected += more.expected;
  sum.exact += more.exact;
  sum.tokens += more.tokens;
  sum.hit += more.hit;
  sum.log_likelihood += more.log_likelihood;
}

double share(int64_t part, int64_t all) { return static_cast<double>(part) / static_cast<double>(all); }

Json tally_json(const Tally& tally) {
  Json json{{"rows", tally.rows}};
  if (tally.expected > 0) json.update({{"rows_with_an_answer", tally.expected}, {"exact_match", share(tally.exact, tally.expected)}});
  if (tally.tokens > 0) {
    json.update({{"tokens", tally.tokens}, {"token_accuracy", share(tally.hit, tally.tokens)},
                 {"nll_per_token", -tally.log_likelihood / static_cast<double>(tally.tokens)}});
  }
  return json;
}

void print_tally(const std::string& name, const Tally& tally) {
  const std::string before = name.empty() ? "" : name + ": ";
  if (tally.expected > 0) {
    std::fprintf(stderr, "%sexact match: %lld of %lld rows = %.4f\n", before.c_str(), static_cast<long long>(tally.exact),
                 static_cast<long long>(tally.expected), share(tally.exact, tally.expected));
  }
  if (tally.tokens > 0) {
    std::fprintf(stderr, "%s%lld rows, %lld tokens, %.6f nats per token, token accuracy %.4f\n", before.c_str(), static_cast<long long>(tally.rows),
                 static_cast<long long>(tally.tokens), -tally.log_likelihood / static_cast<double>(tally.tokens), share(tally.hit, tally.tokens));
  }
}

Tally total_of(const Tallies& tallies) {
  Tally total;
  for (const auto& [name, tally] : tallies) add(total, tally);
  return total;
}

}  // namespace

void declare_columns(CLI::App& verb, std::vector<std::string>& columns) {
  verb.add_option("--columns", columns, "names of the columns of a .csv or .tsv file without a header, as text,label")->delimiter(',')->allow_extra_args(false);
}

void RowFlags::declare(CLI::App& verb) {
  verb.add_option("--format", format, "of the file's rows: auto, prompt-completion, messages, alpaca, sharegpt, template")->capture_default_str();
  declare_columns(verb, columns);
  verb.add_option("--template", prompt_template, "prompt of rows with other fields, e.g. \"Question: {question}\\nAnswer:\" (default: the adapter's own)");
  verb.add_option("--completion-template", completion_template, "the answer that is expected, e.g. \" {answer}\" (default: the adapter's own)");
}

Result<std::vector<data::Question>> read_question_file(const Path& file, const BaseModel& base, const std::string& adapters, const RowFlags& flags,
                                                       data::QuestionOptions options) {
  Encoders encoders(base, adapters, flags);
  options.columns = flags.columns;
  options.encoder = [&](const std::string& adapter) { return encoders.of(adapter); };
  return data::read_questions(file, options);
}

Result<std::vector<TokenId>> prompt_ids(const Tokenizer& tokenizer, const data::RowQuestion& question) {
  return tokenizer.encode(question.prompt, question.specials == data::Specials::kAdd);
}

Json tallies_json(const Tallies& tallies) {
  Json json = tally_json(total_of(tallies));
  for (const auto& [name, tally] : tallies) json["adapters"][name] = tally_json(tally);
  return json;
}

void print_tallies(const Tallies& tallies) {
  if (tallies.size() > 1) {
    for (const auto& [name, tally] : tallies) print_tally(name.empty() ? "the base" : name, tally);
  }
  print_tally("", total_of(tallies));
}

std::string trimmed(const std::string& text) {
  constexpr const char* kSpace = " \t\r\n";
  const size_t begin = text.find_first_not_of(kSpace);
  return begin == std::string::npos ? "" : text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

}  // namespace umbel::apps
