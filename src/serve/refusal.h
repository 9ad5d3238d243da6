// Refusal: why a request can't be answered, in no dialect and no protocol yet; and Outcome<T>: a value or a Refusal.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/check.h"
#include "base/status.h"

namespace umbel::serve {

// The field of a Refusal that is about the model or adapter that was asked for, in every dialect.
inline constexpr const char* kModelField = "model";

struct Refusal {
  Status status;      // not ok
  std::string field;  // the request's field that it is about, as the client knows it; "" = none
  std::optional<double> retry_after_seconds;
  std::string code;   // in OpenAI's dialect, where the status alone does not say it; "" = the status'
};

// What an adapter's own failure means for the requests that asked for it: files that can't be used are kDataLoss (422,
// LoRAX: 424) on all routes, whatever is wrong with them; failures that pass (kUnavailable, ...) stay what they are.
Refusal adapter_refusal(const Status& status);

// Folders of this machine are nobody else's business: every "FOLDER/" is taken out of the message.
Refusal without_folders(Refusal refusal, const std::vector<std::string>& folders);

// As Result, with the field. value() on a refusal is a CHECK: ask ok() first.
template <typename T>
class [[nodiscard]] Outcome {
 public:
  Outcome(T value) : held_(std::in_place_index<0>, std::move(value)) {}
  Outcome(Refusal refusal) : held_(std::in_place_index<1>, std::move(refusal)) {}

  bool ok() const { return held_.index() == 0; }
  const Refusal& refusal() const {
    CHECK(!ok(), "refusal() of an outcome that has a value");
    return std::get<1>(held_);
  }
  T& value() {
    CHECK(ok(), "value() of an outcome that was refused");
    return std::get<0>(held_);
  }
  T& operator*() { return value(); }
  T* operator->() { return &value(); }

 private:
  std::variant<T, Refusal> held_;
};

}  // namespace umbel::serve
