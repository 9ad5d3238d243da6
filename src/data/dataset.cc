#include "data/dataset.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <set>
#include <system_error>

#include "base/log.h"
#include "base/random.h"
#include "base/threads.h"
#include "data/dataset_cache.h"
#include "data/packing.h"
#include "data/row_format.h"
#include "data/row_source.h"

namespace umbel::data {
namespace {

// What is read and tokenised at once: enough to keep threads busy, little beside the tokens.
constexpr size_t kBatchRows = 1024;
constexpr size_t kBatchBytes = size_t{4} << 20;

// What one row became.
struct ReadRow {
  std::vector<Example> examples;
  int64_t cut_from = 0;  // tokens; 0 = not cut
  std::vector<std::string> unread;
};

struct Batch {
  std::vector<RawRow> rows;
  std::vector<Result<ReadRow>> read_rows;

  Result<bool> read(RowSource& source) {
    rows.clear();
    size_t bytes = 0;
    while (rows.size() < kBatchRows && bytes < kBatchBytes) {
      RawRow row;
      ASSIGN_OR_RETURN(const bool more, source.next(row));
      if (!more) break;
      bytes += row.text.size();
      for (const std::string& field : row.fields) bytes += field.size();
      rows.push_back(std::move(row));
    }
    read_rows.assign(rows.size(), Result<ReadRow>(ReadRow{}));
    return !rows.empty();
  }
};

// Cuts to length_max. An example without a trained token is refused.
Result<Example> fit(Example example, int64_t length_max, int64_t& cut_from) {
  const auto tokens = static_cast<int64_t>(example.tokens.size());
  const bool cut = length_max > 0 && tokens > length_max;
  if (!example.trained.empty()) example.trained[0] = 0;  // nothing stands before it
  if (cut) {
    example.tokens.resize(static_cast<size_t>(length_max));
    example.trained.resize(static_cast<size_t>(length_max));
  }
  const bool any = std::find(example.trained.begin(), example.trained.end(), 1) != example.trained.end();
  if (!any && cut) {
    return invalid_argument("longer than " + std::to_string(length_max) + " tokens before the first trained one (" + std::to_string(tokens) +
                            " tokens in all)");
  }
  if (!any) return invalid_argument("no trained token");
  if (cut) cut_from = std::max(cut_from, tokens);
  return example;
}

// The examples of one row that can be trained on; a failure when there is none.
Result<ReadRow> fit_row(ConversationRows given, int64_t line, int64_t length_max) {
  ReadRow row;
  Status failure;
  for (Example& example : given.examples) {
    const auto tokens = static_cast<int64_t>(example.tokens.size());
    auto fitted = fit(std::move(example), length_max, row.cut_from);
    if (!fitted.ok()) {
      if (failure.ok()) failure = fitted.status();
      if (length_max > 0 && tokens > length_max) row.cut_from = std::max(row.cut_from, tokens);
      continue;
    }
    fitted->line = line;
    fitted->part = static_cast<int32_t>(row.examples.size());
    row.examples.push_back(*std::move(fitted));
  }
  if (row.examples.empty()) return failure;
  if (given.turns_left_out > 0) row.cut_from = std::max(row.cut_from, length_max + 1);
  return row;
}

class FileLoader {
 public:
  FileLoader(const RowEncoder& encoder, const DatasetOptions& options, ThreadPool& pool) : encoder_(encoder), options_(options), pool_(pool) {}

  Result<Dataset> load(const Path& file) {
    ASSIGN_OR_RETURN(const auto source, RowSource::open(file, options_.columns));
    RETURN_IF_ERROR(check_columns(file, *source));
    data_ = {};
    data_.format = encoder_.format();
    Batch batch;
    while (true) {
      auto more = batch.read(*source);
      if (!more.ok()) return more.status();
      if (!*more) break;
      if (data_.format == RowFormat::kAuto) detect(batch, source->columns());
      pool_.parallel_for(static_cast<int64_t>(batch.rows.size()), [&](int64_t index, int) {
        batch.read_rows[static_cast<size_t>(index)] = encode(batch.rows[static_cast<size_t>(index)], source->columns());
      });
      take(batch);
    }
    return std::move(data_);
  }

 private:
  Status check_columns(const Path& file, const RowSource& source) const {
    const auto& columns = source.columns();
    if (columns.empty()) return ok_status();
    for (const std::string& field : encoder_.template_fields()) {
      if (std::find(columns.begin(), columns.end(), field) != columns.end()) continue;
      std::string names;
      for (const std::string& column : columns) names += (names.empty() ? "" : ", ") + column;
      const char* remedy = options_.columns.empty() ? " (where that is a row and no header, say columns: the names of the columns)" : "";
      return invalid_argument(file.string() + ": the template names the field \"" + field + "\", and the columns are: " + names + remedy);
    }
    return ok_status();
  }
  // The format of the first row that has known fields.
  void detect(const Batch& batch, const std::vector<std::string>& columns) {
    for (const RawRow& raw : batch.rows) {
      const auto row = parse_row(raw, columns);
      if (!row.ok()) continue;
      const auto format = detect_format(*row);
      if (!format.ok()) continue;
      data_.format = *format;
      return;
    }
  }
  Result<ReadRow> encode(const RawRow& raw, const std::vector<std::string>& columns) const {
    ASSIGN_OR_RETURN(const OrderedJson row, parse_row(raw, columns));
    ASSIGN_OR_RETURN(ConversationRows examples, encoder_.encode(row, data_.format));
    ASSIGN_OR_RETURN(ReadRow read, fit_row(std::move(examples), raw.line, options_.length_max));
    read.unread = encoder_.unread_fields(row, data_.format);
    return read;
  }
  void take(Batch& batch) {
    for (size_t i = 0; i < batch.rows.size(); ++i) {
      ++data_.rows;
      Result<ReadRow>& row = batch.read_rows[i];
      if (!row.ok()) {
        data_.skipped.push_back({.line = batch.rows[i].line, .reason = row.status().message()});
        continue;
      }
      if (row->cut_from > 0) data_.cut.push_back({.line = batch.rows[i].line, .tokens = row->cut_from});
      for (const std::string& name : row->unread) {
        if (data_.unread.size() < kUnreadFields || data_.unread.contains(name)) ++data_.unread[name];
      }
      for (Example& example : row->examples) {
        data_.trained_tokens += std::count(example.trained.begin(), example.trained.end(), 1);
        data_.examples.push_back(std::move(example));
      }
    }
    data_.cut_rows = static_cast<int64_t>(data_.cut.size());
  }

  const RowEncoder& encoder_;
  const DatasetOptions& options_;
  ThreadPool& pool_;
  Dataset data_;
};

Status check_usable(const Path& file, const Dataset& data, const DatasetOptions& options) {
  const std::string name = "\"" + file.string() + "\"";
  if (data.rows == 0) return invalid_argument(name + " holds no rows");
  const auto skipped = static_cast<double>(data.skipped.size());
  if (!data.examples.empty() && skipped <= options.unusable_share_max * static_cast<double>(data.rows)) return ok_status();
  constexpr size_t kShown = 3;
  std::string reasons;
  for (size_t i = 0; i < std::min(kShown, data.skipped.size()); ++i) {
    reasons += "\n  " + file.string() + ":" + std::to_string(data.skipped[i].line) + ": " + data.skipped[i].reason;
  }
  const std::string count = data.examples.empty() ? "none of its " + std::to_string(data.rows) + " rows can be trained on"
                                                  : std::to_string(data.skipped.size()) + " of its " + std::to_string(data.rows) +
                                                        " rows can't be trained on, more than " +
                                                        std::to_string(static_cast<int>(options.unusable_share_max * 100)) + " %";
  return invalid_argument(name + ": " + count + reasons);
}

// Tokenised, or from the cache. The cache helps or is silent: its failures are no failures of the data.
Result<Dataset> load_file(const Path& file, FileLoader& loader, const DatasetOptions& options, const std::string& key) {
  const Path dir = Path(options.cache_dir) / "datasets";
  if (!key.empty()) {
    auto cached = read_dataset_cache(dir, key);
    if (cached.ok()) {
      cached->files_cached = 1;
      return cached;
    }
    if (cached.status().code() != Code::kNotFound) LOG_WARN("{}; tokenising {} again", cached.status().message(), file.string());
  }
  std::error_code error;
  const auto changed = std::filesystem::last_write_time(file, error);
  const auto bytes = std::filesystem::file_size(file, error);
  ASSIGN_OR_RETURN(Dataset data, loader.load(file));
  const bool same = std::filesystem::last_write_time(file, error) == changed && std::filesystem::file_size(file, error) == bytes;
  if (!key.empty() && same) {
    const Status written = write_dataset_cache(dir, key, data, options.cache_bytes_max);
    if (!written.ok()) LOG_WARN("tokenised rows are not kept: {}", written.message());
  }
  return data;
}

void append(Dataset& all, Dataset more, const Path& file) {
  const auto index = static_cast<int32_t>(all.files.size());
  all.files.push_back(file.string());
  if (index == 0) all.format = more.format;
  for (Example& example : more.examples) {
    example.file = index;
    all.examples.push_back(std::move(example));
  }
  for (SkippedRow& row : more.skipped) {
    row.file = index;
    all.skipped.push_back(std::move(row));
  }
  for (CutRow& row : more.cut) {
    row.file = index;
    all.cut.push_back(row);
  }
  for (const auto& [name, rows] : more.unread) {
    if (all.unread.size() < kUnreadFields || all.unread.contains(name)) all.unread[name] += rows;
  }
  all.trained_tokens += more.trained_tokens;
  all.cut_rows += more.cut_rows;
  all.rows += more.rows;
  all.files_cached += more.files_cached;
}

Status check_options(const DatasetOptions& options) {
  if (options.length_max < 2) return invalid_argument("the longest row must be at least 2 tokens, not " + std::to_string(options.length_max));
  if (options.join && options.pack) return invalid_argument("\"join\" already fills rows; leave \"pack\" out");
  if (!(options.unusable_share_max >= 0 && options.unusable_share_max <= 1)) {
    return invalid_argument("the share of unusable rows is a number from 0 to 1");
  }
  return ok_status();
}

// All rows, neither joined nor packed.
Result<Dataset> load_rows(std::span<const Path> files, const Tokenizer& tokenizer, const ChatTemplate* chat_template,
                          const DatasetOptions& given) {
  RETURN_IF_ERROR(check_options(given));
  if (files.empty()) return invalid_argument("no data file is named");
  DatasetOptions options = given;
  if (options.join) options.length_max = 0;  // texts are cut into windows, not shortened
  ASSIGN_OR_RETURN(const RowEncoder encoder, RowEncoder::create(tokenizer, chat_template, options));
  ThreadPool pool(options.threads > 0 ? options.threads : usable_cpus());
  FileLoader loader(encoder, options, pool);
  Dataset all;
  for (const Path& file : files) {
    std::string key;
    std::error_code error;
    if (!options.cache_dir.empty() && std::filesystem::is_regular_file(file, error)) {
      ASSIGN_OR_RETURN(key, dataset_cache_key(file, tokenizer, chat_template, options));
    }
    ASSIGN_OR_RETURN(Dataset data, load_file(file, loader, options, key));
    RETURN_IF_ERROR(check_usable(file, data, options));
    if (options.join && data.format != RowFormat::kText) {
      return invalid_argument("\"" + file.string() + "\": only rows of \"text\" can be joined, and its rows are " + row_format_name(data.format));
    }
    append(all, std::move(data), file);
  }
  return all;
}

std::vector<TokenId> answer_of(const Example& example) {
  std::vector<TokenId> answer;
  for (size_t i = 0; i < example.tokens.size(); ++i) {
    if (example.trained[i] != 0) answer.push_back(example.tokens[i]);
  }
  return answer;
}

// The `wanted` rows that are held out. The k-th row (in a drawn order) of an answer that has n stands at (k + u) / n with u from
// [0, 1): the first ones of that line hold of every answer its share, and where no answer repeats any row is as likely.
std::vector<bool> draw_rows(const Dataset& data, const std::vector<size_t>& begins, size_t wanted, uint64_t seed) {
  Random random(mix_key({seed, 0x68656c64ull}));
  std::map<std::vector<TokenId>, std::vector<std::pair<double, size_t>>> answers;
  for (size_t row = 0; row < begins.size(); ++row) answers[answer_of(data.examples[begins[row]])].emplace_back(random.next_double(), row);
  std::vector<std::pair<double, size_t>> line;
  for (auto& [answer, rows] : answers) {
    std::sort(rows.begin(), rows.end());
    Random jitter = random.split(rows.front().second);
    for (size_t k = 0; k < rows.size(); ++k) {
      line.emplace_back((static_cast<double>(k) + jitter.next_double()) / static_cast<double>(rows.size()), rows[k].second);
    }
  }
  std::sort(line.begin(), line.end());
  std::vector<bool> drawn(begins.size());
  for (size_t i = 0; i < wanted; ++i) drawn[line[i].second] = true;
  return drawn;
}

void lay_out(Dataset& data, const DatasetOptions& options) {
  if (options.join) {
    join_examples(data, options.length_max);
    data.joined = true;
  }
  if (options.pack) pack_examples(data, options.length_max);
}

}  // namespace

std::span<const Example> Dataset::unit(size_t index) const {
  const std::span<const Example> all = examples;
  if (packs.empty()) return all.subspan(index, 1);
  const size_t end = index + 1 < packs.size() ? packs[index + 1] : examples.size();
  return all.subspan(packs[index], end - packs[index]);
}

std::string Dataset::place(int32_t file, int64_t line) const {
  const std::string name = static_cast<size_t>(file) < files.size() ? files[static_cast<size_t>(file)] : "row";
  return name + ":" + std::to_string(line);
}

Result<EvalSplit> parse_eval_split(const std::string& text) {
  const bool percent = text.ends_with('%');
  const char* end = text.data() + text.size() - (percent ? 1 : 0);
  EvalSplit split;
  if (!percent && text.find('.') == std::string::npos) {
    const auto [stop, error] = std::from_chars(text.data(), end, split.rows);
    if (error == std::errc() && stop == end && split.rows > 0) return split;
  } else {
    const auto [stop, error] = std::from_chars(text.data(), end, split.share);
    if (percent) split.share /= 100;
    if (error == std::errc() && stop == end && split.share > 0 && split.share < 1) return split;
  }
  return invalid_argument("\"" + text + "\" is no part to hold out: write a number of rows (300) or a share (0.1 or 10%)");
}

Result<Dataset> hold_out(Dataset& data, const EvalSplit& split) {
  if (!data.packs.empty() || data.joined) return invalid_argument("rows are split before they are packed or joined (load_split)");
  std::vector<size_t> begins;  // of the rows
  for (size_t i = 0; i < data.examples.size(); ++i) {
    if (data.examples[i].part == 0) begins.push_back(i);
  }
  const auto rows = static_cast<int64_t>(begins.size());
  int64_t held = split.rows;
  if (split.share > 0) held = std::max<int64_t>(1, static_cast<int64_t>(split.share * static_cast<double>(rows)));
  if (held <= 0) return invalid_argument("the part to hold out must be rows or a share of them");
  if (held >= rows) {
    return invalid_argument("holding out " + std::to_string(held) + " rows for evaluation leaves nothing to train on: " +
                            (data.files.empty() ? "the data" : data.files.front()) + " has " + std::to_string(rows) + " that can be used");
  }
  const std::vector<bool> drawn = draw_rows(data, begins, static_cast<size_t>(held), split.seed);
  Dataset out{.files = data.files, .format = data.format, .rows = held};
  std::vector<Example> kept;
  for (size_t row = 0, i = 0; i < data.examples.size(); ++i) {
    row += row + 1 < begins.size() && begins[row + 1] == i ? 1 : 0;
    (drawn[row] ? out.examples : kept).push_back(std::move(data.examples[i]));
  }
  data.examples = std::move(kept);
  for (const Example& example : out.examples) out.trained_tokens += std::count(example.trained.begin(), example.trained.end(), 1);
  data.trained_tokens -= out.trained_tokens;
  return out;
}

int64_t count_shared(const Dataset& train, const Dataset& held) {
  std::set<std::vector<TokenId>> known;
  for (const Example& example : train.examples) known.insert(example.tokens);
  return std::count_if(held.examples.begin(), held.examples.end(), [&](const Example& example) { return known.contains(example.tokens); });
}

std::vector<AnswerCount> count_answers(const Dataset& data) {
  std::map<std::vector<TokenId>, AnswerCount> counts;
  for (size_t i = 0; i < data.examples.size(); ++i) ++counts.try_emplace(answer_of(data.examples[i]), AnswerCount{i, 0}).first->second.rows;
  std::vector<AnswerCount> all;
  for (const auto& [answer, count] : counts) all.push_back(count);
  std::sort(all.begin(), all.end(), [](const AnswerCount& a, const AnswerCount& b) { return a.rows != b.rows ? a.rows > b.rows : a.example < b.example; });
  return all;
}

Result<Dataset> load_dataset(std::span<const Path> files, const Tokenizer& tokenizer, const ChatTemplate* chat_template,
                             const DatasetOptions& options) {
  ASSIGN_OR_RETURN(Dataset data, load_rows(files, tokenizer, chat_template, options));
  lay_out(data, options);
  return data;
}

Result<Dataset> load_dataset(const Path& file, const Tokenizer& tokenizer, const ChatTemplate* chat_template,
                             const DatasetOptions& options) {
  return load_dataset(std::span(&file, 1), tokenizer, chat_template, options);
}

Result<SplitDataset> load_split(std::span<const Path> files, const Tokenizer& tokenizer, const ChatTemplate* chat_template,
                                const DatasetOptions& options, const EvalSplit& split) {
  SplitDataset result;
  ASSIGN_OR_RETURN(result.train, load_rows(files, tokenizer, chat_template, options));
  if (!split.empty()) {
    ASSIGN_OR_RETURN(result.held_out, hold_out(result.train, split));
  }
  lay_out(result.train, options);
  DatasetOptions evaluated = options;
  evaluated.pack = false;  // evaluation counts rows
  lay_out(result.held_out, evaluated);
  return result;
}

}  // namespace umbel::data
