// parse_json and parse_ordered_json against the library's own parser: the same value, or a refusal where that one refuses
// too (or for depth or doubled names). What is accepted can be written out again.
#include "fuzz.h"
#include "io/json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace umbel;
  const std::string_view text = fuzz::text_of(data, size);
  const Result<Json> ours = parse_json(text, "input");
  const Json theirs = Json::parse(text, nullptr, false);
  if (ours.ok()) {
    CHECK(!theirs.is_discarded() && *ours == theirs, "both parsers read the same");
    CHECK(parse_json(ours->dump(), "again", JsonKeys::kUnique).ok(), "what was read can be written and read again");
  } else {
    fuzz::check_refusal(ours.status());
    const std::string& why = ours.status().message();
    const bool stricter = why.find("nested deeper") != std::string::npos || why.find("zero byte") != std::string::npos;
    CHECK(stricter || theirs.is_discarded(), "only depth and zero bytes make the two parsers differ");
  }
  const Result<OrderedJson> ordered = parse_ordered_json(text, "input");
  CHECK(ordered.ok() == ours.ok(), "the order of names changes nothing of what is accepted");
  if (ordered.ok()) CHECK(*ordered == OrderedJson::parse(text, nullptr, false), "both parsers keep the same order");
  if (ordered.ok()) CHECK(Json(*ordered) == *ours, "what is ordered converts to what is not");
  const Result<Json> unique = parse_json(text, "input", JsonKeys::kUnique);
  CHECK(!unique.ok() || ours.ok(), "unique names only refuse more");
  CHECK(is_utf8(text) || !ours.ok(), "JSON is UTF-8");
  return 0;
}
