// StopMatcher: finds stop strings in streamed text and holds back text that could still become one. Not thread-safe.
//
// The stop string that is complete first wins; of two that end at the same byte, the longer one. So the result does not
// depend on how the text was cut into pieces. Pieces of whole code points come out as whole code points.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace umbel {

class StopMatcher {
 public:
  // Empty strings are ignored. include_stop keeps the matched string in the text (LoRAX), else it is cut (OpenAI).
  StopMatcher(std::vector<std::string> stops, bool include_stop);

  // Text that can be shown now. After stopped() is true nothing more comes out.
  std::string push(std::string_view text);
  std::string flush();
  bool stopped() const { return stopped_; }
  const std::string& matched() const { return matched_; }

 private:
  std::vector<std::string> stops_;
  bool include_stop_;
  std::string held_;
  std::string matched_;
  bool stopped_ = false;
};

}  // namespace umbel
