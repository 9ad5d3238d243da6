#include "serve/refusal.h"

#include <cctype>

namespace umbel::serve {
namespace {

bool is_path_letter(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '/' || c == '_' || c == '-' || c == '.';
}

}  // namespace

Refusal adapter_refusal(const Status& status) {
  switch (status.code()) {
    case Code::kInvalidArgument:
    case Code::kFailedPrecondition:
    case Code::kUnsupported:
    case Code::kTooLong:
    case Code::kOutOfMemory:
    case Code::kPermissionDenied:
    case Code::kDataLoss:
      return {.status = Status(Code::kDataLoss, status.message()), .field = kModelField};
    case Code::kNotFound:
      return {.status = status, .field = kModelField};
    default:
      return {.status = status};
  }
}

Refusal without_folders(Refusal refusal, const std::vector<std::string>& folders) {
  std::string message = refusal.status.message();
  for (const std::string& folder : folders) {
    const std::string prefix = folder.ends_with('/') ? folder : folder + "/";
    if (prefix.size() < 2) continue;  // nothing is hidden by taking out every slash
    std::string shown;
    size_t at = 0;
    for (size_t found; (found = message.find(prefix, at)) != std::string::npos; at = found + prefix.size()) {
      shown += message.substr(at, found - at);
      if (found > 0 && is_path_letter(message[found - 1])) shown += prefix;  // the end of another path
    }
    message = shown + message.substr(at);
  }
  refusal.status = Status(refusal.status.code(), std::move(message));
  return refusal;
}

}  // namespace umbel::serve
