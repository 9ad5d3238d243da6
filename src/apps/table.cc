#include "apps/table.h"

#include <algorithm>
#include <cstdio>

#include "base/check.h"
#include "base/printable.h"

namespace umbel::apps {

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

void Table::add(std::vector<std::string> cells) {
  CHECK(cells.size() == rows_.front().size(), "a row has a cell for every column");
  for (std::string& cell : cells) cell = printable(cell, kPrintableNameMax);
  rows_.push_back(std::move(cells));
}

std::string Table::text() const {
  std::vector<size_t> widths(rows_.front().size(), 0);
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string space(widths[i] - row[i].size(), ' ');
      text += i == 0 ? row[i] + space : "  " + space + row[i];
    }
    text += "\n";
  }
  return text;
}

}  // namespace umbel::apps
