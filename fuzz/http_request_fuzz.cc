// Bytes as a client may send them, in pieces as a network may cut them: never more held than the header limit, and the
// same request whatever the pieces.
#include <algorithm>
#include <string>

#include "fuzz.h"
#include "serve/request_reader.h"

namespace {

using umbel::serve::RequestReader;

constexpr size_t kHeaderBytesMax = 1024;

struct Outcome {
  bool head = false, done = false, failed = false;
  std::string path, body;
  size_t taken = 0;
  bool operator==(const Outcome&) const = default;
};

Outcome read_in_pieces(std::string_view bytes, size_t piece) {
  RequestReader reader(kHeaderBytesMax);
  Outcome outcome;
  size_t given = 0;
  bool limited = false;
  while (!reader.done() && !reader.failure() && given < bytes.size()) {
    given = std::min(bytes.size(), given + piece);
    while (!reader.done() && !reader.failure()) {
      const std::string_view held = bytes.substr(outcome.taken, given - outcome.taken);
      const size_t taken = held.empty() ? 0 : reader.feed(held);
      CHECK(taken <= held.size(), "it takes what it was given");
      outcome.taken += taken;
      if (reader.head_done() && !limited) {
        reader.limit_body(4096);
        limited = true;
      }
      if (taken == 0) break;
    }
    if (!reader.failure() && !reader.done()) {
      CHECK(given - outcome.taken <= kHeaderBytesMax + piece, "what is held is bounded");
    }
  }
  outcome.head = reader.head_done();
  outcome.failed = reader.failure().has_value();
  outcome.done = reader.done() && !outcome.failed;
  outcome.path = reader.request().path;
  if (outcome.done) {
    reader.take_body();
    outcome.body = reader.request().body;
    CHECK(outcome.body.size() <= 4096, "a body's limit holds");
  }
  if (!outcome.done) outcome.taken = 0;  // how far it came in a refused or unfinished one is nobody's business
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t piece = 1 + data[0] % 64;
  const Outcome whole = read_in_pieces(bytes, 256), pieces = read_in_pieces(bytes, piece);
  if (!whole.failed && !pieces.failed) CHECK(whole == pieces, "the same request whatever the pieces");
  return 0;
}
