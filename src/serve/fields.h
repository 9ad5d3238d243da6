// Fields: a stranger's JSON object read field by field, with errors that name the field, and the list of fields that
// nobody read. A field that is null counts as absent.
//
// The first failure stays; after it every read gives "absent", so a parser reads straight on and asks ok() at the end.
#pragma once

#include <initializer_list>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/status.h"
#include "io/json.h"

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
  // A string or a list of strings; at most count_max.
  std::vector<std::string> strings(const char* name, size_t count_max);
  // A list of token ids.
  std::vector<int32_t> ids(const char* name, size_t count_max);

  void fail(const std::string& name, const std::string& message) { fail(Code::kInvalidArgument, name, message); }
  void fail(Code code, const std::string& name, const std::string& message);
  // Fields that are valid elsewhere and change nothing here.
  void ignore(std::initializer_list<const char*> names);
  // Fields that are valid elsewhere and would change the answer: refused by name unless absent, null, false, or empty.
  void refuse(std::initializer_list<const char*> names, const char* why);

  // Names that nothing above asked for, cut and cleaned for the log.
  std::vector<std::string> unknown() const;

 private:
  void wrong_type(const char* name, const char* wanted, const Json& found);

  const Json& object_;
  const std::string where_;
  Status status_;
  std::string param_;
  std::set<std::string> known_;
};

// "a string", "a number", ...: JSON types as a person names them.
const char* type_name(Json::value_t type);
template <typename AnyJson>
const char* type_name(const AnyJson& value) {
  return type_name(value.type());
}

}  // namespace umbel::serve
