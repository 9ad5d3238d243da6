#include "store/peft_dir.h"

#include <system_error>
#include <utility>

#include "adapters/tensor_names.h"
#include "io/stray.h"

namespace umbel {
namespace {

constexpr size_t kConfigBytesMax = size_t{4} << 20;

Status no_tensors(const FolderReader& folder) {
  for (const char* pickled : {"adapter_model.bin", "adapter_model.pt", "pytorch_model.bin"}) {
    if (!folder.has(pickled)) continue;
    return unsupported((folder.path() / pickled).string() +
                       " is a pickle, which can run code when it is read, so it is not read "
                       "here; convert it to safetensors (load it with PEFT and call save_pretrained with "
                       "safe_serialization=True)");
  }
  return not_found((folder.path() / kAdapterTensorsName).string() + " is missing" + stray_place(folder.path(), kAdapterTensorsName) +
                   "; an adapter folder holds adapter_config.json and adapter_model.safetensors");
}

OrderedJson with_sorted_fields(const OrderedJson& config) {
  std::map<std::string, const OrderedJson*> fields;
  for (auto field = config.begin(); field != config.end(); ++field) fields.emplace(field.key(), &*field);
  OrderedJson sorted = OrderedJson::object();
  for (const auto& [name, value] : fields) sorted[name] = *value;
  return sorted;
}

Result<OrderedJson> parse_config(const OpenFile& file) {
  ASSIGN_OR_RETURN(const std::string text, file.read(kConfigBytesMax));
  Result<OrderedJson> json = parse_ordered_json(text, file.path().string(), {}, JsonKeys::kUnique);
  const std::string stray = json.ok() ? "" : stray_content(std::string_view(text).substr(0, kStrayHeadBytes));
  if (!stray.empty()) return invalid_argument(file.path().string() + " is " + stray);
  if (json.ok() && !json->is_object()) return invalid_argument(file.path().string() + " is not a JSON object");
  return json;
}

Result<AdapterSpec> parse_spec_of(const OpenFile& file, const Path& folder) {
  ASSIGN_OR_RETURN(const OrderedJson config, parse_config(file));
  Result<AdapterSpec> spec = parse_spec(config);
  if (!spec.ok()) return spec.status().with_context(folder.string());
  return spec;
}

// A folder that the operator named; a snapshot of the hub's cache may link to its blobs.
Result<FolderReader> open_named(const Path& dir) {
  std::error_code error;
  if (!std::filesystem::is_directory(dir, error)) return not_found("the adapter folder " + dir.string() + " is missing");
  return FolderReader::open({.folder = dir, .links_root = hub_links_root(dir)});
}

Status no_config(const FolderReader& folder) {
  return not_found((folder.path() / kAdapterConfigName).string() + " is missing" + stray_place(folder.path(), kAdapterConfigName) +
                   "; an adapter folder holds adapter_config.json and adapter_model.safetensors");
}

Result<OpenFile> open_config(const FolderReader& folder) {
  if (folder.has(kAdapterConfigName)) return folder.open_file(kAdapterConfigName);
  return no_config(folder);
}

Result<OpenFile> open_tensors(const FolderReader& folder) {
  if (folder.has(kAdapterTensorsName)) return folder.open_file(kAdapterTensorsName);
  return no_tensors(folder);
}

}  // namespace

Result<OrderedJson> PeftDir::read_config(const Path& dir) {
  ASSIGN_OR_RETURN(const FolderReader folder, open_named(dir));
  ASSIGN_OR_RETURN(const OpenFile file, open_config(folder));
  return parse_config(file);
}

Result<AdapterSpec> PeftDir::read_spec(const Path& dir) {
  ASSIGN_OR_RETURN(const FolderReader folder, open_named(dir));
  ASSIGN_OR_RETURN(const OpenFile file, open_config(folder));
  return parse_spec_of(file, dir);
}

Result<AdapterSpec> PeftDir::read_spec(const AdapterFiles& files) {
  const OpenFile* config = files.find(kAdapterConfigName);
  if (config == nullptr) return no_config(files.folder());  // even when it has come meanwhile: the next look sees it
  return parse_spec_of(*config, files.folder().path());
}

Result<PeftDir> PeftDir::make(AdapterSpec spec, Safetensors tensors, const Path& dir) {
  if (tensors.tensors().empty()) return data_loss((dir / kAdapterTensorsName).string() + " holds no tensors");
  ASSIGN_OR_RETURN(NamedTensors named, canonical_tensors(tensors.tensors()));
  AdapterSource source{std::move(spec), std::move(named.tensors), std::move(named.spelled)};
  return PeftDir(std::move(source), std::move(tensors));
}

Result<PeftDir> PeftDir::read(const Path& dir) {
  ASSIGN_OR_RETURN(const FolderReader folder, open_named(dir));
  ASSIGN_OR_RETURN(const OpenFile config, open_config(folder));
  ASSIGN_OR_RETURN(AdapterSpec spec, parse_spec_of(config, dir));
  ASSIGN_OR_RETURN(const OpenFile file, open_tensors(folder));
  ASSIGN_OR_RETURN(Safetensors tensors, Safetensors::open_copy(file));  // may be rewritten while we read
  return make(std::move(spec), std::move(tensors), dir);
}

Result<Safetensors> PeftDir::read_tensors(const Path& dir) {
  ASSIGN_OR_RETURN(const FolderReader folder, open_named(dir));
  ASSIGN_OR_RETURN(const OpenFile file, open_tensors(folder));
  return Safetensors::open_copy(file);
}

Result<PeftDir> PeftDir::read(const AdapterFiles& files) {
  ASSIGN_OR_RETURN(AdapterSpec spec, read_spec(files));
  ASSIGN_OR_RETURN(const OpenFile* const file, tensors_of(files));
  ASSIGN_OR_RETURN(Safetensors tensors, Safetensors::open_unsteady(*file));
  return make(std::move(spec), std::move(tensors), files.folder().path());
}

Result<const OpenFile*> PeftDir::tensors_of(const AdapterFiles& files) {
  if (const OpenFile* file = files.find(kAdapterTensorsName)) return file;
  return no_tensors(files.folder());
}

Status write_peft_dir(const Path& dir, const OrderedJson& config, const std::map<std::string, TensorView>& tensors,
                      const std::map<std::string, std::string>& metadata) {
  std::error_code error;
  std::filesystem::create_directories(dir, error);
  if (error) return Status(Code::kPermissionDenied, "can't make the folder " + dir.string() + ": " + error.message());
  const Path file = dir / kAdapterConfigName;
  std::filesystem::remove(file, error);
  if (error) return Status(Code::kPermissionDenied, "can't replace " + file.string() + ": " + error.message());
  RETURN_IF_ERROR(write_safetensors(dir / kAdapterTensorsName, tensors, metadata));
  return write_file_atomic(file, with_sorted_fields(config).dump(2) + "\n");
}

}  // namespace umbel
