// Fields: a stranger's JSON object read field by field, with errors that name the field, and the list of fields that
// nobody read. A field that is null counts as absent.
//
// The first failure stays; after it every read gives "absent", so a parser reads straight on and asks ok() at the end.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "io/json.h"
#include "serve/request_limits.h"

namespace umbel::serve {

class Fields {
 public:
  // where: the path in front of names in errors: "" or "parameters.". object is borrowed.
  explicit Fields(const Json& object, std::string where = {});

  bool ok() const { return status_.ok(); }
  const Status& status() const { return status_; }
  const std::string& param() const { return param_; }  // the failing field with its path

  // The raw value, or null when absent.
  const Json* find(const char* name);
  std::optional<bool> boolean(const char* name);
  // low <= value <= high. 5.0 is an integer.
  std::optional<int64_t> integer(const char* name, int64_t low, int64_t high);
  // low <= value <= high, or low < value where open_low.
  struct Range {
    double low, high;
    bool open_low = false;
  };
  std::optional<double> number(const char* name, Range range);
  std::optional<std::string> string(const char* name);
  // A string or a list of strings.
  struct ListLimits {
    size_t count_max;
    size_t bytes_each_max;
    size_t bytes_total_max;
  };
  std::vector<std::string> strings(const char* name, const ListLimits& limits);
  // A list of token ids.
  std::vector<int32_t> ids(const char* name, size_t count_max);

  // False, and failed, when the list has more entries than allowed.
  bool check_count(const std::string& name, size_t count, size_t count_max);

  void fail(const std::string& name, const std::string& message) { fail(Code::kInvalidArgument, name, message); }
  void fail(Code code, const std::string& name, const std::string& message);
  // Fields that are valid elsewhere and change nothing here.
  void ignore(std::initializer_list<const char*> names);
  // Fields that are valid elsewhere and would change the answer: refused by name unless absent, null, false, or empty.
  void refuse(std::initializer_list<const char*> names, const char* why);

  // Names that were read above: neither ignored nor refused.
  std::vector<std::string> read() const;
  // Names that nothing above asked for, cut and cleaned for the log.
  std::vector<std::string> unknown() const;

 private:
  void wrong_type(const char* name, const char* wanted, const Json& found);

  const Json& object_;
  const std::string where_;
  Status status_;
  std::string param_;
  enum class Use : uint8_t { kRead, kIgnored, kRefused };
  std::map<std::string, Use> known_;
};

// Limits of the stop strings, in every dialect.
Fields::ListLimits stop_limits(const RequestLimits& limits);

// The value when it is a whole number that fits; 5.0 is one.
std::optional<int64_t> whole_number(const Json& value);

// "a string", "a number", ...: JSON types as a person names them.
const char* type_name(Json::value_t type);
template <typename AnyJson>
const char* type_name(const AnyJson& value) {
  return type_name(value.type());
}

}  // namespace umbel::serve
