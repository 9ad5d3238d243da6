// Status and Result<T>: how the world's failures travel (house habit 5).
//
// A function that can fail because of a file, a request, a network or a limit returns Status or Result<T>; no exception
// crosses a floor. Our own mistakes are CHECKs (check.h). A Status owns its message and may be copied freely between
// threads.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/check.h"

namespace umbel {

// What went wrong, as a caller can act on it. http_status() is the one table that maps these to HTTP.
enum class Code {
  kOk = 0,
  kInvalidArgument,     // the request or file can never work as written; the message names the field and the remedy
  kNotFound,            // a name that isn't there
  kAlreadyExists,       // a name that is there already
  kFailedPrecondition,  // right request, wrong moment or wrong base model
  kTooLong,             // more tokens, bytes or items than a limit allows; the message has both numbers
  kOverloaded,          // a bounded queue is full: try again later
  kOutOfMemory,         // the memory plan does not fit
  kUnavailable,         // shutting down, or an outside service does not answer
  kDeadlineExceeded,
  kCancelled,
  kUnsupported,  // known and valid elsewhere, but not computed here; the message names it
  kDataLoss,     // a file is truncated or corrupt
  kPermissionDenied,
  kInternal,  // a bug of ours that was noticed in time
};

std::string_view code_name(Code code);
int http_status(Code code);

class [[nodiscard]] Status {
 public:
  Status() = default;  // ok
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == Code::kOk; }
  Code code() const { return code_; }
  const std::string& message() const { return message_; }
  std::string to_string() const;
  // The same failure with "context: " in front of the message. Ok stays ok.
  Status with_context(std::string_view context) const;

 private:
  Code code_ = Code::kOk;
  std::string message_;
};

inline Status ok_status() { return {}; }
Status invalid_argument(std::string message);
Status not_found(std::string message);
Status failed_precondition(std::string message);
Status unsupported(std::string message);
Status data_loss(std::string message);
Status internal_error(std::string message);

// A value, or why there is none. value() on a failure is a CHECK: ask ok() first.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}
  Result(Status status) : status_(std::move(status)) { CHECK(!status_.ok(), "a Result without value needs a failure"); }

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  T& value() & {
    CHECK(ok(), status_.message().c_str());
    return *value_;
  }
  const T& value() const& {
    CHECK(ok(), status_.message().c_str());
    return *value_;
  }
  T&& value() && {
    CHECK(ok(), status_.message().c_str());
    return std::move(*value_);
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  Status status_;
  std::optional<T> value_;
};

#define UMBEL_CONCAT_(a, b) a##b
#define UMBEL_CONCAT(a, b) UMBEL_CONCAT_(a, b)

#define RETURN_IF_ERROR(expression)                              \
  do {                                                           \
    if (::umbel::Status status_ = (expression); !status_.ok()) return status_; \
  } while (false)

#define ASSIGN_OR_RETURN(declaration, expression) \
  UMBEL_ASSIGN_OR_RETURN_(UMBEL_CONCAT(result_, __LINE__), declaration, expression)
#define UMBEL_ASSIGN_OR_RETURN_(result, declaration, expression) \
  auto result = (expression);                                    \
  if (!result.ok()) return result.status();                      \
  declaration = std::move(result).value()

}  // namespace umbel
