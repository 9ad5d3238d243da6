#include "serve/keys/key_ring.h"

#include <sys/stat.h>

#include <algorithm>
#include <new>

#include "base/log.h"
#include "serve/keys/key_file.h"

namespace umbel::serve {
namespace {

// Takes the same time whatever the two digests share. REQUIRES equal sizes.
bool same_digest(std::string_view a, std::string_view b) {
  unsigned char difference = 0;
  for (size_t i = 0; i < a.size(); ++i) difference |= static_cast<unsigned char>(a[i] ^ b[i]);
  return difference == 0;
}

KeySpec command_line_key(const std::string& key) {
  return {.name = kCommandLineKey, .sha256 = key_digest(key), .scopes = {std::begin(kScopes), std::end(kScopes)}};
}

KeyRef make_everybody() {
  KeySpec spec{.scopes = {std::begin(kScopes), std::end(kScopes)}};
  return std::make_shared<const ActiveKey>(ActiveKey{std::move(spec), std::make_shared<Tenant>("", 0)});
}

void warn_of_readers(const Path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return;
  if ((info.st_mode & S_IWOTH) != 0)
    LOG_WARN("--keys {}: everybody may write this file and so make keys; chmod 600 it", path.string());
  else if ((info.st_mode & S_IROTH) != 0)
    LOG_WARN("--keys {}: everybody may read this file (digests and names of keys); chmod 600 it", path.string());
}

}  // namespace

KeyRing::KeyRing(const KeyRingOptions& options)
    : options_(options),
      open_(options.file.empty() && !options.api_key),
      everybody_(make_everybody()),
      clock_(options.clock != nullptr ? options.clock : &real_clock_),
      table_(std::make_shared<const Table>()) {}

Result<std::unique_ptr<KeyRing>> KeyRing::open(const KeyRingOptions& options) {
  if (options.api_key && options.api_key->empty())
    return invalid_argument("--api-key is empty; give a key, or leave it out (UMBEL_API_KEY too) to serve without one");
  std::unique_ptr<KeyRing> ring(new KeyRing(options));
  if (!options.file.empty()) ring->seen_ = ring->read_ = signature_of(options.file);
  RETURN_IF_ERROR(ring->read());
  if (options.file.empty()) return ring;
  warn_of_readers(options.file);
  LOG_INFO("--keys {}: {} keys", options.file.string(), ring->keys().size() - (options.api_key ? 1 : 0));
  if (options.watch_interval > Duration{}) ring->watcher_ = std::thread([raw = ring.get()] { raw->watch(); });
  return ring;
}

KeyRing::~KeyRing() {
  {
    std::lock_guard lock(stop_mutex_);
    stop_ = true;
  }
  stopped_.notify_all();
  if (watcher_.joinable()) watcher_.join();
}

KeyRef KeyRing::find(std::string_view key) const {
  const std::string digest = key_digest(key);
  std::shared_ptr<const Table> table;
  {
    std::lock_guard lock(mutex_);
    table = table_;
  }
  const auto found = table->by_digest.find(digest);
  if (found == table->by_digest.end() || !same_digest(found->first, digest)) return nullptr;
  return table->keys[found->second];
}

std::vector<KeyRef> KeyRing::keys() const {
  std::lock_guard lock(mutex_);
  return table_->keys;
}

std::optional<KeyRing::Signature> KeyRing::signature_of(const Path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return std::nullopt;
  const auto nanoseconds = [](const timespec& time) { return int64_t{time.tv_sec} * 1000000000 + time.tv_nsec; };
  return Signature{.device = info.st_dev,
                   .inode = info.st_ino,
                   .size = static_cast<uint64_t>(info.st_size),
                   .modified_ns = nanoseconds(info.st_mtim),
                   .changed_ns = nanoseconds(info.st_ctim)};
}

// Puts a new table in place, or changes nothing.
Status KeyRing::read() {
  std::vector<KeySpec> specs;
  if (!options_.file.empty()) {
    ASSIGN_OR_RETURN(specs, read_key_file(options_.file));
  }
  if (options_.api_key) specs.push_back(command_line_key(*options_.api_key));
  auto table = std::make_shared<Table>();
  std::unordered_map<std::string, std::shared_ptr<Tenant>> tenants;
  for (KeySpec& spec : specs) {
    const auto known = tenants_.find(spec.name);
    const auto tenant =
        known != tenants_.end() ? known->second : std::make_shared<Tenant>(spec.name, ++last_number_);
    tenant->set_limits(spec.limits, clock_->now());
    tenants.emplace(spec.name, tenant);
    table->by_digest.emplace(spec.sha256, table->keys.size());
    table->keys.push_back(std::make_shared<const ActiveKey>(ActiveKey{std::move(spec), tenant}));
  }
  tenants_ = std::move(tenants);
  std::lock_guard lock(mutex_);
  table_ = std::move(table);
  return ok_status();
}

bool KeyRing::poll() {
  const std::optional<Signature> now = signature_of(options_.file);
  const bool rests = now == seen_;
  seen_ = now;
  if (!rests || now == read_) return false;
  read_ = now;
  const Status status = read();
  if (!status.ok()) {
    LOG_ERROR("--keys: the old keys go on to count: {}", status.message());
    return false;
  }
  warn_of_readers(options_.file);
  LOG_INFO("--keys {}: read again, {} keys", options_.file.string(), keys().size() - (options_.api_key ? 1 : 0));
  return true;
}

void KeyRing::watch() {
  std::unique_lock lock(stop_mutex_);
  while (!stopped_.wait_for(lock, options_.watch_interval, [this] { return stop_; })) {
    lock.unlock();
    try {
      poll();
    } catch (const std::bad_alloc&) {  // the old keys go on to count until it is read
      read_.reset();
    }
    lock.lock();
  }
}

}  // namespace umbel::serve
