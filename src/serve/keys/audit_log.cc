#include "serve/keys/audit_log.h"

#include <algorithm>
#include <new>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "base/utc.h"
#include "base/utf8.h"

namespace umbel::serve {
namespace {

using OrderedObject = nlohmann::ordered_json;

constexpr size_t kFieldBytesMax = 512;

void add_prompts(const std::vector<std::string>& prompts, OrderedObject& line) {
  size_t left = kAuditPromptBytesMax;
  bool whole = true;
  OrderedObject shown = OrderedObject::array();
  for (const std::string& prompt : prompts) {
    std::string part = std::string(utf8_head(prompt, left));
    whole &= part.size() == prompt.size();
    left -= part.size();
    if (part.empty() && !prompt.empty()) break;
    shown.push_back(std::move(part));
    if (shown.size() >= kFieldBytesMax) break;
  }
  line["prompts"] = std::move(shown);
  if (!whole || line["prompts"].size() < prompts.size()) line["prompts_cut"] = true;
}

}  // namespace

std::string audit_line(const AuditRecord& record) {
  OrderedObject line = {{"time", utc_text(record.at_ms)}};
  const auto add = [&](const char* name, const std::string& text) {
    if (!text.empty()) line[name] = std::string(utf8_head(text, kFieldBytesMax));
  };
  add("request_id", record.request_id);
  add("key", record.key);
  add("client", record.address);
  add("method", record.method);
  add("route", record.route);
  add("adapter", record.adapter);
  if (!record.adapter.empty() && record.version > 0) line["version"] = record.version;
  if (!record.adapter.empty()) add("digest", record.digest);
  line["status"] = record.status;
  line["prompt_tokens"] = record.prompt_tokens;
  line["answer_tokens"] = record.answer_tokens;
  line["duration_ms"] = record.duration.count() / 1000 / 1e3;
  if (!record.prompts.empty()) add_prompts(record.prompts, line);
  return line.dump(-1, ' ', /*ensure_ascii=*/true, OrderedObject::error_handler_t::replace) + "\n";
}

AuditLog::AuditLog(const Path& path, FileCalls& calls, AppendFile file)
    : path_(path), calls_(calls), file_(std::move(file)) {}

Result<std::unique_ptr<AuditLog>> AuditLog::open(const Path& path, FileCalls& calls) {
  ASSIGN_OR_RETURN(AppendFile file, AppendFile::open(path, UINT64_MAX, calls, 0600));
  std::unique_ptr<AuditLog> log(new AuditLog(path, calls, std::move(file)));
  log->writer_ = std::thread([raw = log.get()] { raw->run(); });
  return log;
}

AuditLog::~AuditLog() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  writer_.join();
}

void AuditLog::append(const AuditRecord& record) {
  try {
    const std::string line = audit_line(record);
    std::lock_guard lock(mutex_);
    if (queue_.size() + line.size() <= kQueueBytesMax) {
      queue_ += line;
      ++queued_lines_;
    } else {
      ++lost_;
    }
  } catch (const std::bad_alloc&) {
    ++lost_;
  }
  changed_.notify_one();
}

void AuditLog::run() {
  for (;;) {
    std::string lines;
    int64_t count = 0;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stop_ || !queue_.empty(); });
      if (queue_.empty()) return;
      lines.swap(queue_);
      count = std::exchange(queued_lines_, 0);
    }
    const Status status = write(lines);
    (status.ok() ? written_ : lost_) += count;
    if (!status.ok() && !failing_) LOG_ERROR("--audit: lines are being lost: {}", status.message());
    if (status.ok() && failing_) LOG_WARN("--audit: written again; {} lines are lost", lost_.load());
    failing_ = !status.ok();
  }
}

// All of the lines or none: AppendFile cuts back what went in by half.
Status AuditLog::write(const std::string& lines) {
  if (file_ && file_->moved()) file_.reset();
  if (!file_) {
    ASSIGN_OR_RETURN(AppendFile again, AppendFile::open(path_, UINT64_MAX, calls_, 0600));
    file_.emplace(std::move(again));
  }
  file_->append(lines);
  const Status status = file_->flush();
  if (!status.ok()) file_->discard();
  return status;
}

}  // namespace umbel::serve
