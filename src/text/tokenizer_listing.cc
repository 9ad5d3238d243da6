#include "text/tokenizer_listing.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/printable.h"

namespace umbel {
namespace {

constexpr size_t kEntryFieldsMax = 16;  // of an added token; there are seven
constexpr size_t kReasonBytesMax = 300;

// Follows the text by depth: the root is at 1, "added_tokens" and "model" at 2, an added token and "vocab" at 3.
class Reader final : public nlohmann::json_sax<Json> {
 public:
  explicit Reader(const ListedToken& each) : each_(each) {}

  bool null() override { return take(Json()); }
  bool boolean(bool value) override { return take(Json(value)); }
  bool number_integer(Json::number_integer_t value) override { return take(Json(value)); }
  bool number_unsigned(Json::number_unsigned_t value) override { return take(Json(value)); }
  bool number_float(Json::number_float_t value, const Json::string_t&) override { return take(Json(value)); }
  bool string(Json::string_t& value) override { return !is_wanted() || take(Json(std::move(value))); }
  bool binary(Json::binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(Container::kObject); }
  bool start_array(std::size_t) override { return open(Container::kArray); }
  bool key(Json::string_t& name) override {
    if (depth_ == 1) top_ = std::move(name);
    else if (depth_ == 2) field_ = std::move(name);
    else if (is_wanted()) name_ = std::move(name);
    return true;
  }
  bool end_object() override {
    if (place_ == Place::kAdded && depth_ == 3 && !end_added()) return false;
    return close();
  }
  bool end_array() override {
    if (place_ == Place::kVocabularyList && depth_ == 4 && !end_entry()) return false;
    return close();
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& error) override {
    std::string_view text = error.what();
    if (text.starts_with("[json.exception.")) text.remove_prefix(std::min(text.size(), text.find("] ") + 2));
    return refuse(invalid_argument(printable(text, kReasonBytesMax)));
  }

  const Status& status() const { return status_; }

 private:
  enum class Container : uint8_t { kObject, kArray };
  enum class Place : uint8_t { kElsewhere, kAdded, kVocabulary, kVocabularyList };

  bool refuse(Status status) {
    status_ = std::move(status);
    return false;
  }
  bool give(std::string_view token, const Json& id, Json entry) {
    Status status = each_(token, id, std::move(entry));
    return status.ok() || refuse(std::move(status));
  }
  // Whether a plain value here is one that counts.
  bool is_wanted() const {
    switch (place_) {
      case Place::kElsewhere: return depth_ == 0;
      case Place::kAdded: return depth_ <= 3;
      case Place::kVocabulary: return depth_ == 3;
      case Place::kVocabularyList: return depth_ <= 4;
    }
    return false;
  }
  bool is_vocabulary_next() const { return depth_ == 2 && top_ == "model" && field_ == "vocab"; }

  bool open(Container container) {
    const bool is_object = container == Container::kObject;
    if (depth_ == 0 && !is_object) return refuse(invalid_argument("it is no JSON object"));
    if (depth_ == 1) {
      field_.clear();
      if (top_ == "added_tokens") place_ = Place::kAdded;
      if (top_ == "added_tokens" && is_object) return refuse_added();
    } else if (is_vocabulary_next()) {
      place_ = is_object ? Place::kVocabulary : Place::kVocabularyList;
      next_id_ = 0;
    } else if (place_ == Place::kAdded && depth_ == 2) {
      entry_ = Json::object();
      if (!is_object) return refuse_added();
    } else if (place_ == Place::kVocabulary && depth_ == 3) {
      return refuse_vocabulary();
    } else if (place_ == Place::kVocabularyList && depth_ == 3) {
      entry_ = Json();
      if (is_object) return refuse_vocabulary();
    }
    ++depth_;
    return true;
  }
  bool close() {
    --depth_;
    const bool left = place_ == Place::kAdded ? depth_ == 1 : depth_ == 2;
    if (left) place_ = Place::kElsewhere;
    return true;
  }

  bool take(Json value) {
    if (!is_wanted()) return true;
    switch (place_) {
      case Place::kElsewhere: return refuse(invalid_argument("it is no JSON object"));
      case Place::kAdded:
        if (depth_ != 3) return refuse_added();
        if (entry_.size() < kEntryFieldsMax) entry_[name_] = std::move(value);
        return true;
      case Place::kVocabulary: return give(name_, value, Json::object());
      case Place::kVocabularyList:
        if (depth_ != 4) return refuse_vocabulary();
        if (entry_.is_null()) entry_ = std::move(value);
        return true;
    }
    return true;
  }
  bool end_added() {
    const auto content = entry_.find("content");
    if (content == entry_.end() || !content->is_string()) return refuse_added();
    const std::string token = content->get<std::string>();
    const Json id = entry_.value("id", Json());
    return give(token, id, std::exchange(entry_, Json()));
  }
  bool end_entry() {
    if (!entry_.is_string()) return refuse_vocabulary();
    return give(entry_.get_ref<const std::string&>(), Json(next_id_++), Json::object());
  }
  bool refuse_added() { return refuse(invalid_argument("its added_tokens can't be read")); }
  bool refuse_vocabulary() { return refuse(invalid_argument("its vocabulary can't be read")); }

  const ListedToken& each_;
  size_t depth_ = 0;  // open containers
  Place place_ = Place::kElsewhere;
  std::string top_, field_, name_;  // the last names at depth 1, 2, and where they count
  Json entry_;                      // of the added token, or the token of the list's entry, that is being read
  uint64_t next_id_ = 0;
  Status status_;
};

}  // namespace

Status read_tokenizer_listing(std::string_view text, std::string_view what, const ListedToken& each) {
  Reader reader(each);
  if (text.find('\0') != std::string_view::npos) return invalid_argument(std::string(what) + ": it holds a zero byte");
  if (Json::sax_parse(text.begin(), text.end(), &reader)) return ok_status();
  if (reader.status().code() != Code::kInvalidArgument) return reader.status();
  return reader.status().with_context(what);
}

}  // namespace umbel
