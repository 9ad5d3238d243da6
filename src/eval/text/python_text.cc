#include "eval/text/python_text.h"

#include <unicode/ucasemap.h>
#include <unicode/uchar.h>

#include <charconv>
#include <cmath>
#include <memory>

#include "base/check.h"
#include "base/utf8.h"

namespace umbel::eval {
namespace {

struct Step {
  char32_t point;
  size_t bytes;
};

// REQUIRES a text that is not empty.
Step first_of(std::string_view text) {
  const size_t length = utf8_length(text);
  if (length == 0) return {U'\uFFFD', 1};
  return {utf8_code_point(text, length), length};
}

std::string ascii_lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

bool is_ascii(std::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) >= 0x80) return false;
  }
  return true;
}

// As float() and int() prepare it: blanks off, digits of all scripts as ASCII; nullopt for other characters beyond ASCII. Of ASCII only C's
// blanks count here.
std::optional<std::string> ascii_number(std::string_view text) {
  std::string ascii;
  while (!text.empty()) {
    const auto [point, bytes] = first_of(text);
    text.remove_prefix(bytes);
    if (point < 0x80) {
      ascii += static_cast<char>(point);
    } else if (is_digit(point)) {
      ascii += static_cast<char>('0' + u_charDigitValue(static_cast<UChar32>(point)));
    } else if (is_blank(point)) {
      ascii += ' ';
    } else {
      return std::nullopt;
    }
  }
  return std::string(strip_any(ascii, " \t\n\v\f\r"));
}

bool ascii_digit(char c) { return c >= '0' && c <= '9'; }

// Underscores may stand between two digits only.
std::optional<std::string> without_underscores(const std::string& text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      plain += text[i];
    } else if (i == 0 || i + 1 == text.size() || !ascii_digit(text[i - 1]) || !ascii_digit(text[i + 1])) {
      return std::nullopt;
    }
  }
  return plain;
}

// Digits, a point among or beside them, an exponent.
bool is_decimal(std::string_view text) {
  size_t at = 0, digits = 0;
  const auto take_digits = [&] {
    const size_t begin = at;
    while (at < text.size() && ascii_digit(text[at])) ++at;
    return at - begin;
  };
  digits = take_digits();
  if (at < text.size() && text[at] == '.') {
    ++at;
    digits += take_digits();
  }
  if (digits == 0) return false;
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    if (at < text.size() && (text[at] == '+' || text[at] == '-')) ++at;
    if (take_digits() == 0) return false;
  }
  return at == text.size();
}

// repr() of a str.
std::string quoted(const std::string& text) {
  const char quote = text.find('\'') != std::string::npos && text.find('"') == std::string::npos ? '"' : '\'';
  std::string out(1, quote);
  for (const char c : text) {
    if (c == quote || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      constexpr const char* kHex = "0123456789abcdef";
      out += std::string("\\x") + kHex[static_cast<unsigned char>(c) >> 4] + kHex[c & 15];
    } else {
      out += c;
    }
  }
  return out + quote;
}

// repr(); depth is bounded by the reader of JSON.
std::string repr(const OrderedJson& value) {
  if (value.is_string()) return quoted(value.get<std::string>());
  if (!value.is_structured()) return python_str(value);
  std::string out(1, value.is_array() ? '[' : '{');
  for (const auto& [key, item] : value.items()) {
    if (out.size() > 1) out += ", ";
    if (value.is_object()) out += quoted(key) + ": ";
    out += repr(item);
  }
  return out + (value.is_array() ? ']' : '}');
}

}  // namespace

std::string lower_case(std::string_view text) {
  if (is_ascii(text)) return ascii_lower(text);
  UErrorCode error = U_ZERO_ERROR;
  const std::unique_ptr<UCaseMap, decltype(&ucasemap_close)> map(ucasemap_open("", 0, &error), &ucasemap_close);
  CHECK(U_SUCCESS(error) != 0, "ICU has its root locale");
  std::string lower(text.size() * 3, '\0');  // the longest mapping triples the bytes
  const int32_t size = ucasemap_utf8ToLower(map.get(), lower.data(), static_cast<int32_t>(lower.size()), text.data(),
                                            static_cast<int32_t>(text.size()), &error);
  if (U_FAILURE(error) != 0) return std::string(text);
  lower.resize(static_cast<size_t>(size));
  return lower;
}

bool is_blank(char32_t c) {
  return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
         c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

bool is_digit(char32_t c) { return c < 0x80 ? c >= '0' && c <= '9' : u_isdigit(static_cast<UChar32>(c)) != 0; }

bool is_word(char32_t c) {
  if (c < 0x80) return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  const auto point = static_cast<UChar32>(c);
  return (U_GET_GC_MASK(point) & (U_GC_L_MASK | U_GC_N_MASK)) != 0;
}

std::u32string code_points(std::string_view text) {
  std::u32string points;
  points.reserve(text.size());
  while (!text.empty()) {
    const auto [point, bytes] = first_of(text);
    points += point;
    text.remove_prefix(bytes);
  }
  return points;
}

std::vector<std::string_view> split_blanks(std::string_view text) {
  std::vector<std::string_view> words;
  size_t begin = 0, at = 0;
  const auto close = [&] {
    if (at > begin) words.push_back(text.substr(begin, at - begin));
  };
  while (at < text.size()) {
    const auto [point, bytes] = first_of(text.substr(at));
    if (is_blank(point)) {
      close();
      begin = at + bytes;
    }
    at += bytes;
  }
  close();
  return words;
}

std::string_view strip_blanks_right(std::string_view text) {
  size_t end = 0;
  for (size_t at = 0; at < text.size();) {
    const auto [point, bytes] = first_of(text.substr(at));
    at += bytes;
    if (!is_blank(point)) end = at;
  }
  return text.substr(0, end);
}

std::string_view strip_blanks(std::string_view text) {
  while (!text.empty()) {
    const auto [point, bytes] = first_of(text);
    if (!is_blank(point)) break;
    text.remove_prefix(bytes);
  }
  return strip_blanks_right(text);
}

std::string_view strip_any(std::string_view text, std::string_view characters) {
  const size_t begin = text.find_first_not_of(characters);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(characters) - begin + 1);
}

std::optional<double> python_float(std::string_view text) {
  const auto ascii = ascii_number(text);
  if (!ascii) return std::nullopt;
  const auto plain = without_underscores(*ascii);
  if (!plain || plain->empty()) return std::nullopt;
  std::string_view rest = *plain;
  const bool minus = rest.front() == '-';
  if (minus || rest.front() == '+') rest.remove_prefix(1);
  const std::string word = ascii_lower(rest);
  double value = 0;
  if (word == "inf" || word == "infinity") {
    value = INFINITY;
  } else if (word == "nan") {
    value = NAN;
  } else if (!is_decimal(rest)) {
    return std::nullopt;
  } else {
    // Beyond a double: infinity or zero, as strtod gives them; from_chars leaves the value as it was.
    const auto read = std::from_chars(rest.data(), rest.data() + rest.size(), value);
    if (read.ec == std::errc::result_out_of_range) value = std::strtod(std::string(rest).c_str(), nullptr);
  }
  return minus ? -value : value;
}

std::optional<int64_t> python_int(std::string_view text) {
  const auto ascii = ascii_number(text);
  if (!ascii) return std::nullopt;
  const auto plain = without_underscores(*ascii);
  if (!plain || plain->empty()) return std::nullopt;
  std::string_view digits = *plain;
  const bool minus = digits.front() == '-';
  if (minus || digits.front() == '+') digits.remove_prefix(1);
  if (digits.empty() || digits.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
  int64_t value = 0;
  const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (read.ec == std::errc::result_out_of_range) value = INT64_MAX;
  return minus ? -value : value;
}

std::string python_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[64];
  const double size = std::fabs(value);
  const bool fixed = size == 0 || (size >= 1e-4 && size < 1e16);
  const auto end = fixed ? std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::fixed)
                         : std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::scientific);
  std::string text(buffer, end.ptr);
  if (fixed && text.find('.') == std::string::npos) text += ".0";
  return text;
}

std::string python_str(const OrderedJson& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_null()) return "None";
  if (value.is_boolean()) return value.get<bool>() ? "True" : "False";
  if (value.is_number_float()) return python_repr(value.get<double>());
  if (value.is_structured()) return repr(value);
  return value.dump();
}

Characters::Characters(std::string_view given) : text(given) {
  for (size_t at = 0; at < text.size();) {
    const auto [point, bytes] = first_of(text.substr(at));
    points += point;
    starts.push_back(at);
    at += bytes;
  }
  starts.push_back(text.size());
}

}  // namespace umbel::eval
