#include "io/zstd_stream.h"

#include <zstd.h>

#include <utility>

namespace umbel {
namespace {

using io_internal::check_ratio;
using io_internal::kPieceBytes;
using io_internal::RawFile;

struct FreeContext {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};
using Context = std::unique_ptr<ZSTD_DCtx, FreeContext>;

class ZstdStream final : public ByteStream {
 public:
  ZstdStream(RawFile file, std::string head, const StreamLimits& limits, Context context)
      : file_(std::move(file)), packed_bytes_(std::move(head)), limits_(limits), context_(std::move(context)) {
    feed(packed_bytes_.size());
  }

  Result<size_t> read(char* target, size_t size) override {
    ZSTD_outBuffer output = {target, size, 0};
    while (output.pos == 0 && size > 0) {
      if (input_.pos == input_.size) {
        packed_bytes_.resize(kPieceBytes);
        ASSIGN_OR_RETURN(const size_t count, file_.read(packed_bytes_.data(), packed_bytes_.size()));
        feed(count);
        // What the decoder still holds may fill the target without more input.
        if (count == 0 && in_frame_ && !held_) return data_loss(file_.path().string() + ": the zstd data is cut off");
        if (count == 0 && !in_frame_) return size_t{0};
      }
      const size_t left = ZSTD_decompressStream(context_.get(), &output, &input_);
      if (ZSTD_isError(left) != 0) return data_loss(file_.path().string() + ": the zstd data is damaged (" + ZSTD_getErrorName(left) + ")");
      in_frame_ = left != 0;
      held_ = output.pos == size;
    }
    unpacked_ += output.pos;
    RETURN_IF_ERROR(check_ratio(file_.path(), {.form = "zstd", .unpacked = unpacked_, .packed = packed_ - (input_.size - input_.pos)}, limits_));
    return output.pos;
  }

 private:
  void feed(size_t count) {
    packed_ += count;
    input_ = {packed_bytes_.data(), count, 0};
  }

  RawFile file_;
  std::string packed_bytes_;
  const StreamLimits limits_;
  Context context_;
  ZSTD_inBuffer input_ = {};
  uint64_t packed_ = 0, unpacked_ = 0;  // bytes so far
  bool in_frame_ = true;                // the stream begins within one
  bool held_ = false;                   // the last call filled its target: there may be more
};

}  // namespace

Result<std::unique_ptr<ByteStream>> open_zstd(RawFile file, std::string head, const StreamLimits& limits) {
  Context context(ZSTD_createDCtx());
  if (context == nullptr) return Status(Code::kUnavailable, file.path().string() + ": there is no memory left to unpack it");
  return std::unique_ptr<ByteStream>(std::make_unique<ZstdStream>(std::move(file), std::move(head), limits, std::move(context)));
}

}  // namespace umbel
