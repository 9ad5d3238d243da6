#include "io/json.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/printable.h"
#include "base/utf8.h"
#include "io/stray.h"

namespace umbel {
namespace {

constexpr size_t kReasonBytesMax = 300, kNameBytesMax = 100;  // of a text's own words in a message

// Empties every array and object from the leaves up. nlohmann's own destructor asks for memory to do so, and ends the process when
// there is none; it asks for nothing where the containers are empty. As deep as the value nests: kJsonDepthMax.
template <typename Value>
void take_apart(Value& value) noexcept {
  if (auto* items = value.template get_ptr<typename Value::array_t*>()) {
    for (Value& item : *items) take_apart(item);
    items->clear();
  } else if (auto* fields = value.template get_ptr<typename Value::object_t*>()) {
    for (auto& field : *fields) take_apart(field.second);
    fields->clear();
  }
}

// Builds the value while it checks depth, limits and names; the parser below it does not recurse.
template <typename Value>
class Builder final : public nlohmann::json_sax<Value> {
 public:
  using Object = typename Value::object_t;
  using String = typename Value::string_t;

  Builder(JsonKeys keys, const JsonLimits& limits) : keys_(keys), limits_(limits) {}
  // What was built when the text, a limit or the memory ended it.
  ~Builder() override { take_apart(root_); }
  Builder(const Builder&) = delete;
  Builder& operator=(const Builder&) = delete;

  bool null() override { return put(nullptr); }
  bool boolean(bool value) override { return put(value); }
  bool number_integer(typename Value::number_integer_t value) override { return put(value); }
  bool number_unsigned(typename Value::number_unsigned_t value) override { return put(value); }
  bool number_float(typename Value::number_float_t value, const String&) override { return put(value); }
  bool string(String& value) override { return put(std::move(value)); }
  bool binary(typename Value::binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(Value::object()); }
  bool start_array(std::size_t) override { return open(Value::array()); }
  bool end_object() override {
    if constexpr (kOrdered) {
      if (!settle(stack_.back()->template get_ref<Object&>())) return false;
    }
    return close();
  }
  bool end_array() override { return close(); }
  bool key(String& name) override {
    if (names_++ >= limits_.names_max) {
      return refuse(Code::kTooLong, "more than " + std::to_string(limits_.names_max) + " names in its objects");
    }
    Object& object = stack_.back()->template get_ref<Object&>();
    if constexpr (kOrdered) {
      slot_ = append(object, name);
    } else {
      const auto [place, is_new] = object.try_emplace(std::move(name));
      if (!is_new && keys_ == JsonKeys::kUnique) return refuse_double(place->first);
      slot_ = &place->second;
    }
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& error) override {
    std::string_view text = error.what();
    if (text.starts_with("[json.exception.")) text.remove_prefix(std::min(text.size(), text.find("] ") + 2));
    return refuse(Code::kInvalidArgument, printable(text, kReasonBytesMax));
  }

  Value take() { return std::move(root_); }
  Status error(std::string_view what) const { return Status(code_, std::string(what) + ": " + error_); }

 private:
  static constexpr bool kOrdered = std::is_same_v<Value, OrderedJson>;

  bool refuse(Code code, std::string why) {
    code_ = code;
    error_ = std::move(why);
    return false;
  }
  bool refuse_double(const String& name) {
    return refuse(Code::kInvalidArgument,
                  "the name \"" + printable(name, kNameBytesMax) + "\" stands twice in one object");
  }
  template <typename Plain>
  bool put(Plain&& value) {
    return place(Value(std::forward<Plain>(value))) != nullptr;
  }
  bool open(Value container) {
    if (stack_.size() >= kJsonDepthMax) {
      return refuse(Code::kInvalidArgument, "nested deeper than " + std::to_string(kJsonDepthMax) + " levels");
    }
    Value* placed = place(std::move(container));
    if (placed != nullptr) stack_.push_back(placed);
    return placed != nullptr;
  }
  bool close() {
    stack_.pop_back();
    return true;
  }
  // Null when it is one value too many.
  Value* place(Value value) {
    if (values_++ >= limits_.values_max) {
      refuse(Code::kTooLong, "more than " + std::to_string(limits_.values_max) + " values");
      return nullptr;
    }
    if (stack_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Value& parent = *stack_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    *slot_ = std::move(value);
    return slot_;
  }

  // An ordered object is a vector of pairs whose own lookups walk it: names go to its end unasked, and settle() finds the
  // doubled ones. It grows here, because by itself it would copy its values, deeply: their names are const.
  static Value* append(Object& object, String& name) {
    if (object.size() == object.capacity()) rebuild(object, std::max<size_t>(4, 2 * object.size()), {});
    return &object.emplace_back(std::move(name), Value()).second;
  }
  static void rebuild(Object& object, size_t capacity, const std::vector<bool>& dropped) {
    Object grown;
    grown.reserve(capacity);
    size_t index = 0;
    for (auto& [name, value] : object) {
      if (dropped.empty() || !dropped[index]) grown.emplace_back(name, std::move(value));
      ++index;
    }
    object = std::move(grown);
  }
  // One entry for each name: in the place of the first, with the value of the last.
  bool settle(Object& object) {
    order_.resize(object.size());
    std::iota(order_.begin(), order_.end(), size_t{0});
    const auto entry = [&object](size_t index) -> auto& { return *(object.begin() + static_cast<ptrdiff_t>(index)); };
    std::sort(order_.begin(), order_.end(), [&](size_t a, size_t b) {
      const int order = entry(a).first.compare(entry(b).first);
      return order != 0 ? order < 0 : a < b;
    });
    std::vector<bool> dropped;
    for (size_t i = 1, first = 0; i < order_.size(); ++i) {
      if (entry(order_[i]).first != entry(order_[first]).first) {
        first = i;
        continue;
      }
      if (keys_ == JsonKeys::kUnique) return refuse_double(entry(order_[i]).first);
      dropped.resize(object.size());
      dropped[order_[i]] = true;
      entry(order_[first]).second = std::move(entry(order_[i]).second);
    }
    if (!dropped.empty()) rebuild(object, object.size(), dropped);
    return true;
  }

  const JsonKeys keys_;
  const JsonLimits limits_;
  size_t values_ = 0;
  size_t names_ = 0;
  Value root_;
  std::vector<Value*> stack_;  // open containers, outermost first; only the innermost one grows, so these stay valid
  Value* slot_ = nullptr;      // where the value of the last name goes
  std::vector<size_t> order_;  // settle's, kept for its capacity
  Code code_ = Code::kInvalidArgument;
  std::string error_;
};

template <typename Value>
Result<Value> parse(std::string_view text, std::string_view what, JsonKeys keys, const JsonLimits& limits) {
  // The parser takes a zero byte for the end of the text and would not look at what follows.
  if (text.find('\0') != std::string_view::npos) return invalid_argument(std::string(what) + ": it holds a zero byte");
  Builder<Value> builder(keys, limits);
  if (Value::sax_parse(text.begin(), text.end(), &builder)) return builder.take();
  return builder.error(what);
}

Status field_error(const char* name, const char* expected, const Json& found) {
  return invalid_argument("field \"" + std::string(name) + "\" must be " + expected + ", not " + found.type_name());
}

// A number written with a fraction or exponent that still is a whole number (3.0, 1e3).
bool whole(double value) { return std::abs(value) <= 0x1.0p53 && std::floor(value) == value; }

Status convert(const Json& value, const char* name, bool* result) {
  if (!value.is_boolean()) return field_error(name, "true or false", value);
  *result = value.get<bool>();
  return ok_status();
}

Status convert(const Json& value, const char* name, int64_t* result) {
  if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
    return invalid_argument("field \"" + std::string(name) + "\" is out of range");
  }
  if (value.is_number_integer()) {
    *result = value.get<int64_t>();
    return ok_status();
  }
  if (!value.is_number_float()) return field_error(name, "a whole number", value);
  if (!whole(value.get<double>())) return field_error(name, "a whole number", value);
  *result = static_cast<int64_t>(value.get<double>());
  return ok_status();
}

Status convert(const Json& value, const char* name, double* result) {
  if (!value.is_number()) return field_error(name, "a number", value);
  *result = value.get<double>();
  return ok_status();
}

Status convert(const Json& value, const char* name, std::string* result) {
  if (!value.is_string()) return field_error(name, "a string", value);
  *result = value.get<std::string>();
  return ok_status();
}

// Null when object is not an object or has no such name.
const Json* find_field(const Json& object, const char* name) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(name);
  return found == object.end() ? nullptr : &*found;
}

// What a file that is no JSON is, where its first bytes say so; else the parser's own words.
Status not_json(const Status& status, std::string_view text, const Path& path) {
  const std::string stray = stray_content(text.substr(0, kStrayHeadBytes));
  return stray.empty() ? status : invalid_argument(path.string() + " is " + stray);
}

}  // namespace

Result<Json> parse_json(std::string_view text, std::string_view what, JsonKeys keys, const JsonLimits& limits) {
  return parse<Json>(text, what, keys, limits);
}

Result<OrderedJson> parse_ordered_json(std::string_view text, std::string_view what, const JsonLimits& limits, JsonKeys keys) {
  return parse<OrderedJson>(text, what, keys, limits);
}

Result<Json> read_json(const Path& path, size_t limit_bytes) {
  ASSIGN_OR_RETURN(const std::string text, read_file(path, limit_bytes));
  Result<Json> json = parse_json(text, path.string());
  if (!json.ok()) return not_json(json.status(), text, path);
  return json;
}

Result<OrderedJson> read_ordered_json(const Path& path, size_t limit_bytes) {
  ASSIGN_OR_RETURN(const std::string text, read_file(path, limit_bytes));
  Result<OrderedJson> json = parse_ordered_json(text, path.string());
  if (!json.ok()) return not_json(json.status(), text, path);
  return json;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

template <typename T>
Result<T> json_field(const Json& object, const char* name) {
  const Json* value = find_field(object, name);
  if (value == nullptr || value->is_null()) return invalid_argument("field \"" + std::string(name) + "\" is missing");
  T result{};
  RETURN_IF_ERROR(convert(*value, name, &result));
  return result;
}

template <typename T>
Result<T> json_field_or(const Json& object, const char* name, T fallback) {
  const Json* value = find_field(object, name);
  if (value == nullptr || value->is_null()) return fallback;
  RETURN_IF_ERROR(convert(*value, name, &fallback));
  return fallback;
}

template Result<bool> json_field<bool>(const Json&, const char*);
template Result<int64_t> json_field<int64_t>(const Json&, const char*);
template Result<double> json_field<double>(const Json&, const char*);
template Result<std::string> json_field<std::string>(const Json&, const char*);
template Result<bool> json_field_or<bool>(const Json&, const char*, bool);
template Result<int64_t> json_field_or<int64_t>(const Json&, const char*, int64_t);
template Result<double> json_field_or<double>(const Json&, const char*, double);
template Result<std::string> json_field_or<std::string>(const Json&, const char*, std::string);

}  // namespace umbel
