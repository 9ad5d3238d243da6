// Table: a few columns of text on a terminal, the first to the left, the others to the right.
#pragma once

#include <string>
#include <vector>

namespace umbel::apps {

// Four significant digits.
std::string number(double value);

class Table {
 public:
  explicit Table(std::vector<std::string> heads) { rows_.push_back(std::move(heads)); }
  // REQUIRES as many cells as there are heads.
  void add(std::vector<std::string> cells);
  std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace umbel::apps
