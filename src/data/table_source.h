// Tables as RowSources: NAME.csv and NAME.tsv.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data/row_source.h"

namespace umbel::data {

// columns empty: the first record is the header, whose first name may be missing (the index that pandas writes: "Unnamed: 0"). Else the
// file has no header; a first record that is these very names is one nevertheless, and no row.
//
// Values between commas follow RFC 4180. Those between tabs are written in two ways that no name tells apart: with such quotes (pandas),
// and without any, a quote being a sign like others (GLUE). The whole file is looked at, and read in the way that makes more rows of
// it; where both make as many, with quotes if one of them is needed (it encloses a tab, a line break or a doubled quote) or all of the
// first record's fields have them. A pipe is read without quotes, since it can't be read twice.
// kInvalidArgument, naming file and line, for names that are no UTF-8, empty or doubled, and for a header of one column that holds
// another separator.
Result<std::unique_ptr<RowSource>> open_table(const Path& path, char separator, const std::vector<std::string>& columns);

}  // namespace umbel::data
