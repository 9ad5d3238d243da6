#include "data/parquet_worker.h"

#include <fcntl.h>

#include <memory>

#include "io/helper_process.h"
#include "text/rust_bytes.h"

namespace umbel::data {
namespace {

using text_internal::RustBytes;
using text_internal::rust_failure;

constexpr size_t kNameBytesMax = size_t{1} << 16;
constexpr char kRows = '=', kFailure = '!';

struct FreeParquet {
  void operator()(UmbelParquet* file) const { umbel_parquet_free(file); }
};
using ParquetHandle = std::unique_ptr<UmbelParquet, FreeParquet>;

Result<ParquetHandle> read_footer(int descriptor) {
  UmbelParquet* file = nullptr;
  RustBytes error;
  const int32_t code = umbel_parquet_open(descriptor, &file, error.out());
  if (code != 0) return rust_failure(code, error);
  return ParquetHandle(file);
}

Result<std::string> next(UmbelParquet* file) {
  RustBytes lines, error;
  const int32_t code = umbel_parquet_next(file, kParquetAnswerBytes, lines.out(), error.out());
  if (code != 0) return rust_failure(code, error);
  return std::string(lines.view());
}

}  // namespace

std::string encode_parquet_answer(const Result<std::string>& lines) {
  if (lines.ok()) return kRows + *lines;
  return std::string{kFailure, lines.status().code() == Code::kUnsupported ? 'u' : 'd'} + lines.status().message();
}

Result<std::string> decode_parquet_answer(std::string_view message) {
  if (message.starts_with(kRows)) return std::string(message.substr(1));
  if (message.size() < 2 || message[0] != kFailure) return internal_error("a message that is none of the Parquet worker's");
  std::string words(message.substr(2));
  return message[1] == 'u' ? unsupported(std::move(words)) : data_loss(std::move(words));
}

int run_parquet_worker() {
  const auto name = receive_from_parent(kNameBytesMax);
  // Leaving in order says nothing against the file; only dying does.
  if (!name.ok()) return 0;
  const int descriptor = ::open(name->c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return 0;  // it was there a moment ago
  if (!confine_this_process(kParquetMemoryBytes).ok()) return 0;
  if (!limit_cpu_time(from_seconds(kParquetCpuSecondsMax)).ok()) return 0;
  const auto file = read_footer(descriptor);
  if (!send_to_parent(encode_parquet_answer(file.ok() ? Result<std::string>(std::string()) : Result<std::string>(file.status()))).ok() || !file.ok()) return 0;
  for (;;) {
    if (!receive_from_parent(0).ok() || !limit_cpu_time(from_seconds(kParquetCpuSecondsMax)).ok()) return 0;
    if (!send_to_parent(encode_parquet_answer(next(file->get()))).ok()) return 0;
  }
}

}  // namespace umbel::data
