#include "serve/prompt_shelf.h"

#include "data/row_format.h"
#include "store/folder.h"

namespace umbel::serve {
namespace {

static_assert(std::string_view(kAdapterPromptName) == data::kPromptFileName, "an adapter's digest covers its prompt file");

constexpr size_t kPlacesMax = 1000;  // of a template: a stranger's may have as many as its file has room for
constexpr const char *kRowsField = "prompt_fields", *kTemplateField = "template";

std::string listed(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "`" : ", `") + name + "`";
  return list;
}

Refusal fault(const char* field, const std::string& why) { return {.status = invalid_argument(why), .field = field}; }

// The rows that are asked: those given, or for each prompt one whose only field it is.
Outcome<std::vector<OrderedJson>> rows_of(const Ask& ask, const data::PromptFile& file) {
  if (!ask.fill_template) return ask.prompt_rows;
  const std::vector<std::string> fields = data::prompt_fields(file);
  if (file.format != data::RowFormat::kTemplate || fields.size() != 1) {
    return fault(kTemplateField, "true needs an adapter whose template has one field; this one's prompts are made of " + listed(fields) +
                                     ": give them as `prompt_fields`");
  }
  std::vector<OrderedJson> rows;
  for (const Prompt& prompt : ask.prompts) {
    if (!std::holds_alternative<std::string>(prompt)) return fault(kTemplateField, "true is for prompts that are texts, not token ids");
    rows.push_back({{fields[0], std::get<std::string>(prompt)}});
  }
  return rows;
}

Outcome<data::RowEncoder> encoder_of(const PromptSources& sources, const data::PromptFile& file, const ChatTemplate* chat_template) {
  const auto places = data::RowTemplate::parse(file.prompt, "prompt");
  if (places.ok() && places->fields().size() > kPlacesMax) {
    return adapter_refusal(unsupported(std::string(data::kPromptFileName) + ": its template has more than " + std::to_string(kPlacesMax) + " places for fields"));
  }
  auto encoder = data::RowEncoder::create(sources.tokenizer, chat_template, data::with_prompt_file({.length_max = 0}, file));
  if (!encoder.ok()) return adapter_refusal(encoder.status().with_context(data::kPromptFileName));
  return *std::move(encoder);
}

}  // namespace

Result<std::shared_ptr<const data::PromptFile>> PromptShelf::find(const AdapterInfo& adapter) {
  if (adapter.place.folder.empty()) return std::shared_ptr<const data::PromptFile>();
  const std::string key = adapter.id.name + "@" + adapter.id.digest;
  {
    std::lock_guard lock(mutex_);
    if (const auto found = shelf_.find(key); found != shelf_.end()) return found->second;
  }
  ASSIGN_OR_RETURN(FolderReader folder, FolderReader::open(adapter.place));
  TextFiles files = text_files_of(std::move(folder));
  files.where.clear();  // messages go to clients
  ASSIGN_OR_RETURN(std::optional<data::PromptFile> file, data::read_prompt_file(files));
  const auto made = file ? std::make_shared<const data::PromptFile>(*std::move(file)) : nullptr;
  std::lock_guard lock(mutex_);
  if (shelf_.size() >= kAdaptersMax) shelf_.clear();
  shelf_[key] = made;
  return made;
}

Outcome<FilledPrompts> fill_prompts(const PromptSources& sources, const AdapterInfo* adapter, const Ask& ask) {
  const char* const field = ask.fill_template ? kTemplateField : kRowsField;
  if (adapter == nullptr) return fault(field, "is for adapters; the base has no template: give the whole `prompt`");
  auto found = sources.shelf.find(*adapter);
  if (!found.ok()) return adapter_refusal(found.status().with_context("adapter \"" + adapter->id.name + "\""));
  const std::shared_ptr<const data::PromptFile> file = *std::move(found);
  if (file == nullptr) {
    return fault(field, "needs an adapter whose folder has umbel_prompt.json; `" + adapter->id.name + "` has none: give the whole `prompt`");
  }
  Outcome<std::vector<OrderedJson>> rows = rows_of(ask, *file);
  if (!rows.ok()) return rows.refusal();
  const auto chat_template = sources.templates.find(adapter);
  Outcome<data::RowEncoder> encoder = encoder_of(sources, *file, chat_template.ok() ? chat_template->get() : nullptr);
  if (!encoder.ok()) return encoder.refusal();
  const auto filled = data::RowTemplate::parse(file->prompt, "prompt");  // it was read before
  FilledPrompts made;
  for (const OrderedJson& row : *rows) {
    if (filled.ok() && filled->filled_bytes(row) > sources.bytes_max) {
      return Refusal{.status = Status(Code::kTooLong, "the prompt that the adapter's template makes of these fields can't fit the context"),
                     .field = field};
    }
    auto question = encoder->ask(row, file->format);
    if (!question.ok()) return fault(field, question.status().message());
    made.specials_written = question->specials == data::Specials::kWritten;
    made.prompts.emplace_back(std::move(question->prompt));
  }
  return made;
}

std::optional<Refusal> chat_fault(PromptShelf& shelf, const AdapterInfo& adapter, const Ask& ask) {
  if (ask.chat_anyway) return std::nullopt;
  const auto file = shelf.find(adapter);
  if (!file.ok() || *file == nullptr || (*file)->prompts != data::PromptFile::Prompts::kText) return std::nullopt;
  const std::vector<std::string> fields = data::prompt_fields(**file);
  return fault(ask.prompt_field, "the adapter `" + adapter.id.name +
                                     "` was trained on plain prompts, not on chats: use /v1/completions with `prompt`" +
                                     (fields.empty() ? "" : " or `prompt_fields` (" + listed(fields) + ")") +
                                     "; \"template\": false asks it as a chat all the same");
}

}  // namespace umbel::serve
