#include "train/adapter_folder.h"

#include <cstdio>
#include <vector>

#include "store/folder.h"
#include "store/peft_dir.h"

namespace umbel {
namespace {

constexpr const char* kCardName = "README.md";
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
  const bool native = facts.plan.job.kind != TrainKind::kFlora && facts.plan.job.kind != TrainKind::kFloraResidual;
  return "---\nbase_model: " + quoted(facts.base_name) + "\nlibrary_name: " + (full ? "transformers" : native ? "peft" : "umbel") +
         "\npipeline_tag: text-generation\ntags:\n- umbel\n- " + kind + "\n---\n";
}

std::string parameter_table(const CardFacts& facts) {
  const JobSpec& job = facts.plan.job;
  const std::vector<std::string> targets = job.targets.empty() ? default_targets(job.kind) : job.targets;
  std::string table = "| hyper-parameter | value |\n|---|---|\n";
  table += row("kind", train_kind_name(job.kind)) + row("rank", std::to_string(job.rank));
  if (is_lora_family(job.kind)) table += row("alpha", number(job.alpha));
  table += row("targets", job.all_linear ? "all linear layers" : job.target_regex.empty() ? joined(targets) : job.target_regex);
  table += row("adapted modules", std::to_string(facts.modules)) + row("trained values", std::to_string(facts.trained_values));
  if (job.dropout > 0) table += row("dropout", number(job.dropout));
  table += row("optimizer", job.optimizer == OptimizerKind::kSgd ? "SGD" : "AdamW") + row("peak learning rate", number(job.learning_rate));
  table += row("warm-up", number(job.warmup_share) + " of the steps") + row("clip", job.clip > 0 ? number(job.clip) : "off");
  table += row("weight decay", number(job.weight_decay)) + row("epochs", std::to_string(job.epochs));
  table += row("rows of one step", std::to_string(job.batch)) + row("seed", std::to_string(job.seed));
  return table + row("base weights", facts.base_dtype);
}

std::string result_lines(const CardFacts& facts) {
  const JobOutcome& outcome = facts.outcome;
  std::string text = "Trained for " + std::to_string(outcome.step) + " of " + std::to_string(outcome.steps) + " steps (" +
                     job_end_name(outcome.end) + (outcome.note.empty() ? "" : ": " + plain(outcome.note)) + "); these are the weights of step " +
                     std::to_string(outcome.written_step) + ". Last training loss: " + number(outcome.last_loss) + " nats per trained token.\n";
  if (outcome.base_eval_loss && outcome.eval_loss) {
    text += "\n| held-out rows | loss, nats per trained token |\n|---|---|\n| base | " + number(*outcome.base_eval_loss) +
            " |\n| this adapter | " + number(*outcome.eval_loss) + " |\n";
  }
  return text;
}

Status failed(const char* what, const Path& path, const std::error_code& error) {
  return {error == std::errc::permission_denied ? Code::kPermissionDenied : Code::kUnavailable,
          std::string(what) + " " + path.string() + ": " + error.message()};
}

Status fill(const Path& folder, const TrainableAdapter& adapter, const std::string& card, const std::string& chat_template) {
  RETURN_IF_ERROR(adapter.write(folder));
  RETURN_IF_ERROR(write_file_atomic(folder / kCardName, card));
  if (chat_template.empty()) return ok_status();
  return write_file_atomic(folder / kAdapterTemplateName, chat_template);
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

Status write_adapter_folder(const Path& out, const TrainableAdapter& adapter, const std::string& card, const std::string& chat_template) {
  const Path incoming = out / kIncomingName;
  std::error_code error;
  std::filesystem::remove_all(incoming, error);
  std::filesystem::create_directories(incoming, error);
  if (error) return failed("cannot make the folder", incoming, error);
  const Status filled = fill(incoming, adapter, card, chat_template);
  if (!filled.ok()) {
    std::filesystem::remove_all(incoming, error);
    return filled;
  }
  // From here on no more bytes are needed: an earlier adapter goes (its configuration first), the new one comes.
  const std::string mark = adapter.full() ? "config.json" : kAdapterConfigName;
  std::filesystem::remove(out / mark, error);
  if (error) return failed("cannot replace", out / mark, error);
  if (chat_template.empty()) std::filesystem::remove(out / kAdapterTemplateName, error);
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

}  // namespace umbel
