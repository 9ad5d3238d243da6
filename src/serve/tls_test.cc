#include "serve/tls.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <boost/asio/ssl/context.hpp>
#include <cstdio>

#include "io/test_folder.h"
#include "serve/serve_testing.h"

namespace umbel::serve {
namespace {

// A fresh key and a certificate for it, signed by itself, as PEM files.
void write_pair(const std::string& certificate_path, const std::string& key_path, const std::string& name) {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = X509_new();
  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
  X509_set_pubkey(certificate, key);
  X509_NAME* subject = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1,
                             0);
  X509_set_issuer_name(certificate, subject);
  X509_sign(certificate, key, EVP_sha256());
  FILE* file = std::fopen(certificate_path.c_str(), "w");
  PEM_write_X509(file, certificate);
  std::fclose(file);
  file = std::fopen(key_path.c_str(), "w");
  PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
  std::fclose(file);
  X509_free(certificate);
  EVP_PKEY_free(key);
}

// A blocking TLS client that trusts anybody.
class SecureClient {
 public:
  explicit SecureClient(uint16_t port) : tcp_(port), context_(SSL_CTX_new(TLS_client_method())) {
    ssl_ = SSL_new(context_);
    static constexpr unsigned char kOffered[] = {2, 'h', '2', 8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
    SSL_set_alpn_protos(ssl_, kOffered, sizeof kOffered);
    SSL_set_fd(ssl_, tcp_.socket());
    connected_ = SSL_connect(ssl_) == 1;
  }
  ~SecureClient() {
    SSL_free(ssl_);
    SSL_CTX_free(context_);
  }
  bool connected() const { return connected_; }
  std::string protocol() const {
    const unsigned char* chosen = nullptr;
    unsigned int length = 0;
    SSL_get0_alpn_selected(ssl_, &chosen, &length);
    return std::string(reinterpret_cast<const char*>(chosen), length);
  }
  void send(const std::string& bytes) { SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size())); }
  // All that comes until the server ends it; whether it ended it by TLS' own rules goes to ended.
  std::string receive_all(bool& ended) {
    std::string all;
    char buffer[4096];
    for (;;) {
      const int got = SSL_read(ssl_, buffer, sizeof buffer);
      if (got <= 0) {
        ended = SSL_get_error(ssl_, got) == SSL_ERROR_ZERO_RETURN;
        return all;
      }
      all.append(buffer, static_cast<size_t>(got));
    }
  }

 private:
  TestClient tcp_;
  SSL_CTX* context_;
  SSL* ssl_ = nullptr;
  bool connected_ = false;
};

std::string subject_of(const std::shared_ptr<boost::asio::ssl::context>& context) {
  const X509* certificate = SSL_CTX_get0_certificate(context->native_handle());
  char name[100] = {};
  X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name, sizeof name);
  return name;
}

class TlsTest : public ServeTest {
 protected:
  TestFolder folder_;
  const std::string certificate_ = (folder_.path() / "cert.pem").string();
  const std::string key_ = (folder_.path() / "key.pem").string();
};

TEST_F(TlsTest, ServesStreamsAndRefusalsOverTls) {
  write_pair(certificate_, key_, "one");
  options_.tls_files = {certificate_, key_};
  start();
  const auto ask = [&](const std::string& request) {
    SecureClient client(server_->port());
    EXPECT_TRUE(client.connected());
    EXPECT_EQ(client.protocol(), "http/1.1");
    client.send(request);
    bool ended = false;
    const std::string answer = client.receive_all(ended);
    EXPECT_TRUE(ended) << "close_notify, not a cut";
    return answer;
  };
  const std::string body = Json({{"prompt", "x"}, {"stream", true}}).dump();
  const std::string stream = ask("POST /v1/completions HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: " +
                                 std::to_string(body.size()) + "\r\n\r\n" + body);
  EXPECT_TRUE(stream.starts_with("HTTP/1.1 200")) << stream;
  EXPECT_NE(stream.find("[DONE]"), std::string::npos);
  EXPECT_TRUE(ask("GET /nowhere HTTP/1.1\r\nHost: t\r\n\r\n" "GET /health HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
                  .starts_with("HTTP/1.1 404"));
  EXPECT_TRUE(ask("POST /v1/completions HTTP/1.1\r\nHost: t\r\nContent-Length: 99999999\r\n\r\n{").starts_with("HTTP/1.1 413"));
}

TEST_F(TlsTest, PlainTalkAndSilenceEnd) {
  write_pair(certificate_, key_, "one");
  options_.tls_files = {certificate_, key_};
  options_.header_timeout = from_seconds(0.2);
  start();
  TestClient plain(server_->port());
  plain.send("GET /health HTTP/1.1\r\nHost: t\r\n\r\n");
  EXPECT_EQ(plain.receive().status, 0);
  TestClient silent(server_->port());
  EXPECT_EQ(silent.receive_some(), "");
  EXPECT_TRUE(SecureClient(server_->port()).connected());
}

TEST_F(TlsTest, ANewPairIsUsedAndABrokenOneIsNot) {
  write_pair(certificate_, key_, "one");
  const auto identity = TlsIdentity::load(certificate_, key_).value();
  TimePoint now = RealClock().now();
  const auto later = [&] { return now += from_seconds(2); };
  EXPECT_EQ(subject_of(identity->context(later())), "one");
  write_pair(certificate_, key_, "two-longer");
  EXPECT_EQ(subject_of(identity->context(now)), "one") << "looked at less than a second ago";
  EXPECT_EQ(subject_of(identity->context(later())), "two-longer");
  write_pair(certificate_, (folder_.path() / "other.pem").string(), "three-much-longer");  // without its key
  EXPECT_EQ(subject_of(identity->context(later())), "two-longer");
  std::remove(key_.c_str());
  EXPECT_EQ(subject_of(identity->context(later())), "two-longer");
  write_pair(certificate_, key_, "four");
  EXPECT_EQ(subject_of(identity->context(later())), "four");
}

TEST_F(TlsTest, BadFilesAreRefusedAtStartByName) {
  write_pair(certificate_, key_, "one");
  const std::string other = (folder_.path() / "other.pem").string();
  write_pair((folder_.path() / "unused.pem").string(), other, "two");
  const auto message = [](const std::string& certificate, const std::string& key) {
    return TlsIdentity::load(certificate, key).status().message();
  };
  EXPECT_NE(message("/nowhere.pem", key_).find("/nowhere.pem"), std::string::npos);
  EXPECT_NE(message(certificate_, "/nowhere.pem").find("/nowhere.pem"), std::string::npos);
  EXPECT_NE(message(certificate_, other).find("does not belong"), std::string::npos) << message(certificate_, other);
  EXPECT_NE(message(key_, certificate_).find(key_), std::string::npos);
}

}  // namespace
}  // namespace umbel::serve
