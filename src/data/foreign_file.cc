#include "data/foreign_file.h"

#include <array>
#include <string>
#include <string_view>

#include "io/byte_stream.h"
#include "io/stray.h"

namespace umbel::data {
namespace {

using namespace std::string_view_literals;

struct ForeignForm {
  std::string_view begins;
  const char* name;
  const char* remedy;  // IN stands for the file, OUT for its name with .jsonl
};

constexpr const char* kOfFeather = "python3 -c \"import pandas; pandas.read_feather('IN').to_json('OUT', orient='records', lines=True)\"";
constexpr const char* kOfStream = "python3 -c \"import datasets; datasets.Dataset.from_file('IN').to_json('OUT')\"";
constexpr const char* kOfPickle = "python3 -c \"import pandas; pandas.read_pickle('IN').to_json('OUT', orient='records', lines=True)\" (only if you trust the file)";
constexpr const char* kOfSheet = "save the sheet as .csv";

constexpr ForeignForm kForms[] = {
    {"PARE", "an encrypted Parquet file", "write it again without encryption"},
    {"ARROW1", "an Arrow (Feather) file", kOfFeather},
    {"\xff\xff\xff\xff", "an Arrow stream, as datasets keeps them", kOfStream},
    {"Obj\x01", "an Avro file", "convert it to JSON lines"},
    {"\x89HDF\r\n", "an HDF5 file", "convert it to JSON lines"},
    {"SQLite format 3\0"sv, "an SQLite database", "sqlite3 -csv -header IN 'select * from TABLE' > rows.csv"},
    {"PK\x03\x04", "a ZIP archive or an Excel sheet", "unpack the archive, or save the sheet as .csv"},
    {"\xd0\xcf\x11\xe0", "an Excel sheet", kOfSheet},
    {"\xfd" "7zXZ\0"sv, "compressed by xz", "xz -d IN"},
    {"7z\xbc\xaf", "a 7z archive", "unpack it"},
    {"\x80\x02", "a Python pickle", kOfPickle},
    {"\x80\x03", "a Python pickle", kOfPickle},
    {"\x80\x04", "a Python pickle", kOfPickle},
    {"\x80\x05", "a Python pickle", kOfPickle},
};

// "BZh", a digit, and the mark of a block: three letters alone might begin a header.
bool is_bzip2(std::string_view bytes) { return bytes.size() >= 10 && bytes.starts_with("BZh") && bytes.substr(4, 6) == "1AY&SY"; }

// In single quotes of a shell and of Python: what would end them is left for the reader to fill in.
std::string filled(std::string_view remedy, const Path& path) {
  const std::string in = path.string();
  if (in.find_first_of("'\"\\$`\n") != std::string::npos) return std::string(remedy);
  std::string text(remedy);
  Path out = Path(path).replace_extension(".jsonl");
  if (out == path) out.replace_extension(".rows.jsonl");
  for (const auto& [mark, value] : {std::pair<std::string_view, std::string>{"IN", in}, {"OUT", out.string()}}) {
    if (const size_t at = text.find(mark); at != std::string::npos) text.replace(at, mark.size(), value);
  }
  return text;
}

}  // namespace

Status check_not_foreign(const Path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return ok_status();
  const auto stream = ByteStream::open(path);
  if (!stream.ok()) return ok_status();
  std::array<char, kStrayHeadBytes> head{};
  size_t size = 0;
  while (size < head.size()) {
    const auto more = (*stream)->read(head.data() + size, head.size() - size);
    if (!more.ok() || *more == 0) break;
    size += *more;
  }
  const std::string_view bytes(head.data(), size);
  const auto refuse = [&](const char* name, const char* remedy) {
    return unsupported("\"" + path.string() + "\" is " + name + ", and rows are read as JSON lines, CSV or TSV (plain, gzip or zstd) or Parquet; convert it: " +
                       filled(remedy, path));
  };
  for (const ForeignForm& form : kForms) {
    if (bytes.starts_with(form.begins)) return refuse(form.name, form.remedy);
  }
  if (is_bzip2(bytes)) return refuse("compressed by bzip2", "bzip2 -d IN");
  // Other words that downloads leave may begin a table.
  const bool no_rows = bytes.starts_with("version https://git-lfs") || bytes.starts_with("<");
  const std::string stray = no_rows ? stray_content(bytes) : "";
  return stray.empty() ? ok_status() : unsupported("\"" + path.string() + "\" is " + stray);
}

}  // namespace umbel::data
