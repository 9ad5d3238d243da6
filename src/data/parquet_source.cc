#include "data/parquet_source.h"

#include <csignal>
#include <fstream>
#include <string_view>
#include <utility>

#include "data/parquet_worker.h"
#include "io/byte_stream.h"
#include "io/helper_process.h"

namespace umbel::data {
namespace {

constexpr std::string_view kMark = "PAR1";
constexpr uint64_t kFileBytesMin = 12;  // the mark twice, and the length of the footer
// Columns that repeat pack far better than text: what ends a file that would not end by itself.
constexpr StreamLimits kLimits = {.ratio_max = 5000, .ratio_free_bytes = uint64_t{1} << 30};

Status bad_file(const Path& path, const std::string& why) {
  return data_loss("\"" + path.string() + "\" is a Parquet file that is cut short or damaged (" + why + "): fetch it again");
}

// Why the worker is gone.
Status death(HelperProcess& helper, const Path& path, const Status& failure) {
  if (failure.code() == Code::kTooLong) return Status(Code::kTooLong, "\"" + path.string() + "\": a row of more than " + std::to_string(kLineBytesMax) + " bytes");
  const HelperEnd end = helper.end();
  if (failure.code() == Code::kDeadlineExceeded || end.signal == SIGXCPU) return bad_file(path, "its rows take too long to unpack");
  if (end.signal != 0 || end.exit_status != 0) return bad_file(path, "its reader would need more than " + std::to_string(kParquetMemoryBytes >> 20) + " MiB, or is broken by it");
  return Status(Code::kUnavailable, "the process that reads \"" + path.string() + "\" has left: " + failure.message());
}

Result<std::string> ask(HelperProcess& helper, const Path& path, std::string_view order) {
  const TimePoint deadline = RealClock().now() + from_seconds(kParquetCpuSecondsMax * 4);
  const Status sent = helper.send(order, deadline);
  const Result<std::string> message = sent.ok() ? helper.receive(kParquetAnswerBytes + kLineBytesMax, deadline) : Result<std::string>(sent);
  if (!message.ok()) return death(helper, path, message.status());
  auto lines = decode_parquet_answer(*message);
  if (lines.ok()) return lines;
  if (lines.status().code() == Code::kUnsupported) return unsupported("\"" + path.string() + "\": " + lines.status().message() + "; write it again with pyarrow's defaults");
  return bad_file(path, lines.status().message());
}

class ParquetRows final : public RowSource {
 public:
  ParquetRows(Path path, std::unique_ptr<HelperProcess> helper, uint64_t file_bytes) : path_(std::move(path)), helper_(std::move(helper)), file_bytes_(file_bytes) {}

  Result<bool> next(RawRow& row) override {
    row = {};
    if (at_ == lines_.size()) {
      if (ended_) return false;
      ASSIGN_OR_RETURN(lines_, ask(*helper_, path_, {}));
      at_ = 0;
      ended_ = lines_.empty();
      if (ended_) return false;
      RETURN_IF_ERROR(count(lines_.size()));
    }
    const size_t end = std::min(lines_.find('\n', at_), lines_.size());
    row.text = lines_.substr(at_, end - at_);
    row.line = ++rows_;
    at_ = std::min(end + 1, lines_.size());
    return true;
  }
  const std::vector<std::string>& columns() const override { return columns_; }

 private:
  Status count(uint64_t bytes) {
    given_ += bytes;
    if (given_ <= kLimits.ratio_free_bytes || given_ / kLimits.ratio_max <= file_bytes_) return ok_status();
    return {Code::kTooLong, "\"" + path_.string() + "\" unpacks to more than " + std::to_string(kLimits.ratio_max) + " times its size; write it as JSON lines if that is meant"};
  }

  Path path_;
  std::unique_ptr<HelperProcess> helper_;
  const uint64_t file_bytes_;
  std::string lines_;
  size_t at_ = 0;
  bool ended_ = false;
  int64_t rows_ = 0;
  uint64_t given_ = 0;
  std::vector<std::string> columns_;
};

}  // namespace

bool is_parquet(const Path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return false;
  char head[4] = {};
  std::ifstream(path, std::ios::binary).read(head, sizeof head);
  return std::string_view(head, sizeof head) == kMark;
}

Result<std::unique_ptr<RowSource>> open_parquet(const Path& path) {
  std::error_code error;
  const uint64_t bytes = std::filesystem::file_size(path, error);
  char tail[4] = {};
  if (!error && bytes >= kFileBytesMin) {
    std::ifstream file(path, std::ios::binary);
    file.seekg(-4, std::ios::end).read(tail, sizeof tail);
  }
  if (std::string_view(tail, sizeof tail) != kMark) return bad_file(path, "its last bytes are not PAR1");
  ASSIGN_OR_RETURN(auto helper, HelperProcess::start({.arguments = {kParquetWorkerVerb}}));
  RETURN_IF_ERROR(ask(*helper, path, std::filesystem::absolute(path).string()).status());
  return std::unique_ptr<RowSource>(std::make_unique<ParquetRows>(path, std::move(helper), bytes));
}

}  // namespace umbel::data
