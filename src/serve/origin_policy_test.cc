#include "serve/origin_policy.h"

#include <gtest/gtest.h>

namespace umbel::serve {
namespace {

HttpRequest from(const std::string& origin, const std::string& asked = "") {
  HttpRequest request;
  request.headers = {{"origin", origin}, {"access-control-request-headers", asked}};
  return request;
}

std::string header(const HttpHeaders& headers, const std::string& name) {
  for (const auto& [key, value] : headers) {
    if (key == name) return value;
  }
  return "";
}

TEST(OriginPolicy, OnlyPagesOfThisMachineByDefault) {
  const OriginPolicy policy;
  for (const char* origin : {"http://localhost", "https://localhost:3000", "http://127.0.0.1:8080", "http://[::1]:5173",
                             "http://app.localhost"}) {
    EXPECT_EQ(policy.allow(origin), origin);
    EXPECT_EQ(header(policy.answer_headers(from(origin)), "access-control-allow-origin"), origin);
  }
  for (const char* origin : {"http://evil.example", "null", "", "http://localhost.evil.example", "file://localhost",
                             "http://127.0.0.1.evil.example", "http://localhost@evil.example", "http://localhost/x",
                             "http://printer", "chrome-extension://localhost", "http://localhost:99999"}) {
    EXPECT_EQ(policy.allow(origin), "") << origin;
    EXPECT_EQ(header(policy.answer_headers(from(origin)), "access-control-allow-origin"), "") << origin;
  }
  EXPECT_EQ(header(policy.answer_headers(from("http://evil.example")), "vary"), "Origin");
}

TEST(OriginPolicy, AListStandsInsteadOfTheDefault) {
  const OriginPolicy policy = OriginPolicy::create({"https://app.example.org", "http://b.test:81"}).value();
  EXPECT_EQ(policy.allow("https://app.example.org"), "https://app.example.org");
  EXPECT_EQ(policy.allow("https://APP.example.org:443"), "https://APP.example.org:443");
  EXPECT_EQ(policy.allow("http://b.test:81"), "http://b.test:81");
  for (const char* origin : {"http://app.example.org", "http://b.test", "http://localhost:3000"}) {
    EXPECT_EQ(policy.allow(origin), "") << origin;
  }
  EXPECT_EQ(OriginPolicy::create({"*"}).value().allow("http://any.test"), "*");
  for (const char* bad : {"app.example.org", "https://a b", "https://a/path", "ftp://a"}) {
    EXPECT_FALSE(OriginPolicy::create({bad}).ok()) << bad;
  }
}

TEST(OriginPolicy, APreflightAnswersTheHeadersThatWereAsked) {
  const OriginPolicy policy;
  const auto allowed = [&](const std::string& asked) {
    return header(policy.preflight(from("http://localhost:3000", asked), "GET, POST").headers,
                  "access-control-allow-headers");
  };
  EXPECT_EQ(allowed("authorization,content-type,X-Stainless-Arch , x-stainless-lang"),
            "authorization, content-type, x-stainless-arch, x-stainless-lang");
  const std::string usual = allowed("");
  EXPECT_NE(usual.find("authorization"), std::string::npos);
  EXPECT_EQ(allowed("x-a, bad name"), usual);
  EXPECT_EQ(allowed("x-a\r\nset-cookie: b"), usual);
  std::string many;
  for (int i = 0; i < 100; ++i) many += "x-" + std::to_string(i) + ",";
  EXPECT_EQ(allowed(many), usual);
  EXPECT_EQ(allowed(std::string(5000, 'x')), usual);
  EXPECT_TRUE(policy.preflight(from("http://evil.example", "x-a"), "GET, POST").headers.empty());
}

TEST(HostNames, AreReadAsTheyStandInHost) {
  EXPECT_EQ(parse_host("Example.org:80"), (HostPort{"example.org", 80}));
  EXPECT_EQ(parse_host("example.org."), (HostPort{"example.org", 0}));
  EXPECT_EQ(parse_host("[::1]:8080"), (HostPort{"::1", 8080}));
  for (const char* bad : {"", ":80", "a b", "a@b", "a/b", "[::1", "[x]", "a:b", "a:1:2", "::1", "[::1]x", "a:70000"}) {
    EXPECT_FALSE(parse_host(bad).has_value()) << bad;
  }
}

TEST(HostNames, APublicNameIsOneThatStrangersCanPointAnywhere) {
  for (const char* name : {"evil.example", "127.0.0.1.evil.example", "localhost.evil.example"}) {
    EXPECT_TRUE(is_public_name(name)) << name;
  }
  for (const char* name : {"localhost", "127.0.0.1", "::1", "198.51.100.7", "umbel", "api.localhost"}) {
    EXPECT_FALSE(is_public_name(name)) << name;
  }
}

TEST(HostNames, SameOriginIsTheServersOwnPage) {
  EXPECT_TRUE(same_origin(*parse_origin("http://127.0.0.1:8080"), "127.0.0.1:8080"));
  EXPECT_TRUE(same_origin(*parse_origin("http://a.test"), "a.test"));
  EXPECT_FALSE(same_origin(*parse_origin("http://127.0.0.1:3000"), "127.0.0.1:8080"));
  EXPECT_FALSE(same_origin(*parse_origin("http://evil.example"), "127.0.0.1:8080"));
}

}  // namespace
}  // namespace umbel::serve
