// Problems: everything that is wrong with an input, so that it can be mended in one go instead of one complaint a run.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "base/status.h"

namespace umbel {

class Problems {
 public:
  // A line that stands there already is not added again. An ok status adds nothing.
  void add(const Status& status) {
    if (status.ok()) return;
    if (lines_.empty()) code_ = status.code();
    if (std::find(lines_.begin(), lines_.end(), status.message()) == lines_.end()) lines_.push_back(status.message());
  }
  void add(const std::string& where, const std::string& message) {
    add(invalid_argument(where.empty() ? message : where + ": " + message));
  }

  bool empty() const { return lines_.empty(); }
  const std::vector<std::string>& lines() const { return lines_; }
  // Ok when there is none; the one line when there is one; else their number and a line each. The code is the first one's.
  Status status() const {
    if (lines_.empty()) return ok_status();
    if (lines_.size() == 1) return Status(code_, lines_.front());
    std::string text = std::to_string(lines_.size()) + " problems, nothing was computed:";
    constexpr size_t kShown = 50;
    for (size_t i = 0; i < std::min(kShown, lines_.size()); ++i) text += "\n  " + lines_[i];
    if (lines_.size() > kShown) text += "\n  and " + std::to_string(lines_.size() - kShown) + " more";
    return Status(code_, text);
  }

 private:
  Code code_ = Code::kInvalidArgument;
  std::vector<std::string> lines_;
};

}  // namespace umbel
