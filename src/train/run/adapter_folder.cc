#include "train/run/adapter_folder.h"

#include <cstdio>
#include <vector>

#include "data/prompt_file.h"
#include "store/folder.h"
#include "store/peft_dir.h"
#include "train/config/config_key.h"
#include "train/job/kind_facts.h"

namespace umbel::train {
namespace {

constexpr const char* kCardName = "README.md";
constexpr const char* kGenerationName = "generation_config.json";
constexpr const char* kIncomingName = ".incoming";

std::string number(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.6g", value);
  return buffer;
}

// A double-quoted YAML scalar (also JSON).
std::string quoted(const std::string& text) { return Json(text).dump(-1, ' ', true, Json::error_handler_t::replace); }

// Text inside a table cell or a paragraph.
std::string plain(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20) {
      out += ' ';
    } else {
      if (std::string_view("\\`*_[]<>|#&").find(c) != std::string_view::npos) out += '\\';
      out += c;
    }
  }
  return out;
}

// Indented by four: a code block that no text can end.
std::string code_block(const std::string& text) {
  std::string out = "    ";
  for (const char c : text) out += c == '\n' ? std::string("\n    ") : std::string(1, static_cast<unsigned char>(c) < 0x20 ? ' ' : c);
  return out + "\n";
}

std::string row(const std::string& name, const std::string& value) { return "| " + name + " | " + plain(value) + " |\n"; }

std::string joined(const std::vector<std::string>& names) {
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
  return all;
}

std::string front_matter(const CardFacts& facts) {
  const std::string kind = train_kind_name(facts.plan.job.kind);
  const bool full = facts.plan.job.kind == TrainKind::kFull;
  const bool native = kind_facts(facts.plan.job.kind).in_peft;
  return "---\nbase_model: " + quoted(facts.base_name) + "\nlibrary_name: " + (full ? "transformers" : native ? "peft" : "umbel") +
         "\npipeline_tag: text-generation\ntags:\n- umbel\n- " + kind + "\n---\n";
}

// Whether the key says something of this kind.
bool applies(const ConfigKey& key, TrainKind kind) {
  const std::string_view name = key.name;
  const bool without_rank = kind == TrainKind::kIa3 || kind == TrainKind::kFull;
  if (name == "rank") return !without_rank;
  if (name == "targets") return kind != TrainKind::kFull;
  return name != "alpha" || kind_facts(kind).alpha;
}

std::string parameter_table(const CardFacts& facts) {
  JobPlan plan = facts.plan;
  name_default_targets(facts.defaults, plan.job);
  const JobSpec& job = plan.job;
  const ConfigValues values{.job = plan};
  std::string table = "| hyper-parameter | value |\n|---|---|\n";
  for (const ConfigKey& key : config_key_table()) {
    const std::string value = config_key_text(key, values);
    const bool shown = (key.use & ConfigKey::kCard) != 0 || ((key.use & ConfigKey::kCardIfSet) != 0 && value != config_key_default(key));
    if (!shown || !applies(key, job.kind)) continue;
    const bool targets = std::string_view(key.name) == "targets";
    if (targets && (job.all_linear || !job.target_regex.empty())) continue;
    table += row(key.name, targets ? joined(job.targets) : value);
  }
  table += row("adapted modules", std::to_string(facts.modules)) + row("trained values", std::to_string(facts.trained_values));
  return table + row("base weights", facts.base_dtype);
}

// How its rows became prompts: who asks it writes the same.
std::string prompt_lines(const CardFacts& facts) {
  if (facts.format == data::RowFormat::kTemplate) {
    return "\nPrompts are made of a row's fields in braces (" + std::string(data::kPromptFileName) + " has this for programs):\n\n" +
           code_block(facts.plan.dataset.prompt_template) + "\nand the answer is\n\n" + code_block(facts.plan.dataset.completion_template);
  }
  return "\nPrompts are rows of the format " + data::row_format_name(facts.format) + " (" + data::kPromptFileName + ").\n";
}

// The last part of a folder's path.
std::string folder_name(const std::string& folder) {
  const Path path = Path(folder).lexically_normal();
  return (path.filename().empty() ? path.parent_path() : path).filename().string();
}

std::string result_lines(const CardFacts& facts) {
  const JobOutcome& outcome = facts.outcome;
  std::string text = "Trained for " + std::to_string(outcome.step) + " of " + std::to_string(outcome.steps) + " steps (" +
                     job_end_name(outcome.end) + (outcome.note.empty() ? "" : ": " + plain(outcome.note)) + "); these are the weights of step " +
                     std::to_string(outcome.written_step) + ". Last training loss: " + number(outcome.last_loss) + " nats per trained token.\n";
  if (!facts.plan.start_from.empty()) text += "\nIt goes on from the adapter " + plain(folder_name(facts.plan.start_from)) + ".\n";
  if (facts.arm != facts.plan.job.name) text += "\nIt is the arm " + plain(facts.arm) + ", the best of its sweep.\n";
  if (!outcome.base_eval || !outcome.eval) return text;
  text += "\n| held-out rows | loss, nats per trained token | exact match | token accuracy |\n|---|---|---|---|\n";
  const auto line = [&](const std::string& what, const EvalReport& report) {
    text += "| " + what + " | " + number(report.loss) + " | " + number(report.exact_rows) + " | " + number(report.token_accuracy) + " |\n";
  };
  const bool random = facts.plan.job.kind == TrainKind::kFull && facts.plan.job.full.init == FullInit::kRandom;
  line(random ? "random weights" : "base", *outcome.base_eval);
  if (outcome.start_eval) line("start: " + plain(folder_name(facts.plan.start_from)), *outcome.start_eval);
  line("this adapter", *outcome.eval);
  return text + "| always the most frequent answer | - | " + number(outcome.eval->same_reference) +
         " | - |\n\nExact match and token accuracy are those of the most likely token at every place, the right text standing before it.\n";
}

Status failed(const char* what, const Path& path, const std::error_code& error) {
  return {error == std::errc::permission_denied ? Code::kPermissionDenied : Code::kUnavailable,
          std::string(what) + " " + path.string() + ": " + error.message()};
}

// Of full training the base's file stands there already.
Status write_end_ids(const Path& file, const std::vector<TokenId>& ids) {
  Json config = Json::object();
  std::error_code error;
  if (std::filesystem::exists(file, error)) {
    ASSIGN_OR_RETURN(config, read_json(file));
  }
  config["eos_token_id"] = ids;
  return write_file_atomic(file, config.dump(2) + "\n");
}

Status fill(const Path& folder, const TrainableAdapter& adapter, const FolderTexts& texts) {
  RETURN_IF_ERROR(adapter.write(folder));
  RETURN_IF_ERROR(write_file_atomic(folder / kCardName, texts.card));
  if (!texts.prompt_file.empty()) RETURN_IF_ERROR(write_file_atomic(folder / data::kPromptFileName, texts.prompt_file));
  if (!texts.end_ids.empty()) RETURN_IF_ERROR(write_end_ids(folder / kGenerationName, texts.end_ids));
  if (texts.chat_template.empty()) return ok_status();
  return write_file_atomic(folder / kAdapterTemplateName, texts.chat_template);
}

}  // namespace

std::string adapter_card(const CardFacts& facts) {
  const std::string what = facts.plan.job.kind == TrainKind::kFull ? "A model of the shape of " : "An adapter on ";
  std::string text = front_matter(facts) + "\n# " + plain(facts.plan.job.name) + "\n\n" + what + plain(facts.base_name) +
                     ", trained by umbel " + plain(facts.version) + ".\n\n" + result_lines(facts) + "\n" + parameter_table(facts) +
                     "\nData: " + plain(Path(facts.plan.data).filename().string()) + ", " + std::to_string(facts.rows) + " rows, " +
                     std::to_string(facts.trained_tokens) + " trained tokens";
  if (facts.skipped_rows > 0) text += ", " + std::to_string(facts.skipped_rows) + " rows could not be used";
  if (facts.eval_rows > 0) text += "; " + std::to_string(facts.eval_rows) + " rows held out";
  text += ".\n";
  text += prompt_lines(facts);
  if (!facts.other_ends.empty()) {
    text += "\nIts turns end with " + plain(joined(facts.other_ends)) +
            ", which does not end the base's answers: generation_config.json names it as an end token. Programs that do not read that file "
            "need it as a stop token.\n";
  }
  if (!facts.command.empty()) text += "\nCommand:\n\n" + code_block(facts.command);
  return text;
}

Status make_adapter_folder(const Path& out, const std::string& what) {
  std::error_code error;
  if (std::filesystem::exists(out, error) && !std::filesystem::is_directory(out, error)) {
    return failed_precondition(what + ": \"" + out.string() + "\" exists and is not a folder");
  }
  std::filesystem::create_directories(out, error);
  if (error) return failed((what + ": cannot make the folder").c_str(), out, error);
  // A folder, not a file: what a process killed right here leaves behind is taken away by write_adapter_folder().
  std::filesystem::create_directories(out / kIncomingName, error);
  if (error) return failed((what + ": cannot write in").c_str(), out, error);
  std::filesystem::remove(out / kIncomingName, error);
  return ok_status();
}

Status write_adapter_folder(const Path& out, const TrainableAdapter& adapter, const FolderTexts& texts) {
  const Path incoming = out / kIncomingName;
  std::error_code error;
  std::filesystem::remove_all(incoming, error);
  std::filesystem::create_directories(incoming, error);
  if (error) return failed("cannot make the folder", incoming, error);
  const Status filled = fill(incoming, adapter, texts);
  if (!filled.ok()) {
    std::filesystem::remove_all(incoming, error);
    return filled;
  }
  // From here on no more bytes are needed: an earlier adapter goes (its configuration first), the new one comes.
  const std::string mark = adapter.full() ? "config.json" : kAdapterConfigName;
  std::filesystem::remove(out / mark, error);
  if (error) return failed("cannot replace", out / mark, error);
  if (texts.chat_template.empty()) std::filesystem::remove(out / kAdapterTemplateName, error);
  if (texts.end_ids.empty() && !adapter.full()) std::filesystem::remove(out / kGenerationName, error);
  std::vector<std::string> names;
  for (std::filesystem::directory_iterator entry(incoming, error), end; !error && entry != end; entry.increment(error)) {
    if (entry->path().filename() != mark) names.push_back(entry->path().filename().string());
  }
  if (error) return failed("cannot read", incoming, error);
  names.push_back(mark);
  for (const std::string& name : names) {
    std::filesystem::rename(incoming / name, out / name, error);
    if (error) return failed("cannot write", out / name, error);
  }
  std::filesystem::remove_all(incoming, error);
  return ok_status();
}

}  // namespace umbel::train
