#include "eval/scorers/rows.h"

#include "data/row_source.h"

namespace umbel::eval {

Result<std::vector<ScoredRow>> read_scored_rows(const Path& file) {
  std::vector<ScoredRow> rows;
  const auto take = [&](const OrderedJson& row, int64_t line) -> Status {
    for (const char* name : {"prediction", "reference"}) {
      if (!row.contains(name)) return invalid_argument(std::string("field \"") + name + "\" is missing");
    }
    if (row["reference"].is_null()) return invalid_argument("field \"reference\" is null: there is nothing to compare with");
    if (rows.size() == kScoredRowsMax) return Status(Code::kTooLong, "more than " + std::to_string(kScoredRowsMax) + " rows");
    ScoredRow scored{.prediction = row["prediction"], .reference = row["reference"], .place = file.filename().string() + ":" + std::to_string(line)};
    scored.fields = row;
    rows.push_back(std::move(scored));
    return ok_status();
  };
  RETURN_IF_ERROR(data::each_object(file, {}, take));
  return rows;
}

}  // namespace umbel::eval
