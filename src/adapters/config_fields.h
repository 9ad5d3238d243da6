// Fields: a reader of adapter_config.json that remembers what was read, so that nothing active is overlooked.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "io/json.h"

namespace umbel {

// null, false, "", [] and {}: a field that asks for nothing.
bool is_inactive(const OrderedJson& value);

// Reads an object field by field. A failure names the field, what it holds and what it should hold. Null counts as
// absent everywhere. Not thread-safe; borrows the object.
class Fields {
 public:
  // REQUIRES an object.
  explicit Fields(const OrderedJson& object) : object_(object), read_(object.size(), false) {}

  // Null when absent or null. Marks the field as read.
  const OrderedJson* take(std::string_view name);
  Result<bool> boolean(std::string_view name, bool fallback);
  Result<int64_t> integer(std::string_view name, int64_t fallback);
  Result<double> number(std::string_view name, double fallback);  // integers too; must be finite
  Result<std::string> text(std::string_view name, std::string_view fallback);
  // A list of strings; a single string counts as a list of one.
  Result<std::vector<std::string>> texts(std::string_view name);
  // A list of integers; a single integer counts as a list of one.
  Result<std::vector<int64_t>> integers(std::string_view name);
  // Fields that change nothing in what is computed here.
  void ignore(std::initializer_list<std::string_view> names);

  // Known fields that may be present but must ask for nothing; an active one stays unread, so that finish() refuses it.
  void expect_inactive(std::initializer_list<std::string_view> names);

  // Every field that was not read: kUnsupported naming the first active one; inactive ones become warnings.
  Status finish(std::string_view kind, std::vector<std::string>& warnings) const;
  // The fields that were not read yet, in their order.
  OrderedJson rest() const;

 private:
  const OrderedJson& object_;
  std::vector<bool> read_;
};

// None when the value is no integer, or one beyond 64 bits with sign.
std::optional<int64_t> as_integer(const OrderedJson& value);
// kInvalidArgument: "adapter_config.json: NAME is ..., expected ...".
Status field_error(std::string_view name, const OrderedJson& value, std::string_view expected);

}  // namespace umbel
