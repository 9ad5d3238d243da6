#include "serve/tls.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include <boost/asio/ssl/context.hpp>

#include "base/log.h"

namespace umbel::serve {
namespace {

namespace ssl = boost::asio::ssl;
constexpr Duration kLookInterval = std::chrono::seconds(1);

// ALPN: HTTP/1.1 where the client offers it, else no word about it.
void offer_http(SSL_CTX* context) {
  const auto choose = [](SSL*, const unsigned char** out, unsigned char* out_length, const unsigned char* offered,
                         unsigned int offered_length, void*) {
    static constexpr unsigned char kHttp[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
    unsigned char* chosen = nullptr;
    if (SSL_select_next_proto(&chosen, out_length, kHttp, sizeof kHttp, offered, offered_length) !=
        OPENSSL_NPN_NEGOTIATED) {
      return SSL_TLSEXT_ERR_NOACK;
    }
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
  };
  SSL_CTX_set_alpn_select_cb(context, choose, nullptr);
}

Result<std::shared_ptr<ssl::context>> read_pair(const std::string& certificate_path, const std::string& key_path) {
  auto context = std::make_shared<ssl::context>(ssl::context::tls_server);
  SSL_CTX* native = context->native_handle();
  SSL_CTX_set_min_proto_version(native, TLS1_2_VERSION);
  SSL_CTX_set_options(native, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_mode(native, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_session_cache_mode(native, SSL_SESS_CACHE_OFF);  // tickets need no memory here
  offer_http(native);
  boost::system::error_code error;
  context->set_password_callback([](size_t, ssl::context::password_purpose) { return std::string(); }, error);
  if (!error) context->use_certificate_chain_file(certificate_path, error);
  if (error) return invalid_argument("TLS certificate " + certificate_path + ": " + error.message());
  context->use_private_key_file(key_path, ssl::context::pem, error);
  const int reason = ERR_GET_REASON(static_cast<unsigned long>(error.value()));
  if (error ? reason == X509_R_KEY_VALUES_MISMATCH || reason == X509_R_KEY_TYPE_MISMATCH
            : SSL_CTX_check_private_key(native) != 1) {
    return invalid_argument("TLS key " + key_path + " does not belong to the certificate " + certificate_path);
  }
  if (error) return invalid_argument("TLS key " + key_path + " (PEM, without a passphrase): " + error.message());
  return context;
}

}  // namespace

TlsIdentity::Stamps TlsIdentity::stamps() const {
  Stamps result;
  const std::string* paths[] = {&certificate_path_, &key_path_};
  for (size_t i = 0; i < result.size(); ++i) {
    struct stat found{};
    if (::stat(paths[i]->c_str(), &found) != 0) continue;
    result[i] = {.size = found.st_size,
                 .seconds = found.st_mtim.tv_sec,
                 .nanoseconds = found.st_mtim.tv_nsec,
                 .inode = found.st_ino};
  }
  return result;
}

Result<std::unique_ptr<TlsIdentity>> TlsIdentity::load(const std::string& certificate_path,
                                                       const std::string& key_path) {
  std::unique_ptr<TlsIdentity> identity(new TlsIdentity(certificate_path, key_path));
  identity->stamps_ = identity->stamps();
  ASSIGN_OR_RETURN(identity->context_, read_pair(certificate_path, key_path));
  return identity;
}

std::shared_ptr<ssl::context> TlsIdentity::context(TimePoint now) {
  std::lock_guard lock(mutex_);
  if (now - looked_at_ < kLookInterval) return context_;
  looked_at_ = now;
  const Stamps found = stamps();
  if (found == stamps_) return context_;
  stamps_ = found;
  auto read = read_pair(certificate_path_, key_path_);
  if (read.ok()) {
    context_ = std::move(*read);
    LOG_INFO("TLS: {} and its key were read again", certificate_path_);
  } else {
    LOG_ERROR("TLS: {}; the certificate before it stays", read.status().message());
  }
  return context_;
}

}  // namespace umbel::serve
