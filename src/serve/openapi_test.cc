// What the server says about its own routes.
#include "serve/openapi.h"

#include "serve/serve_testing.h"

namespace umbel::serve {
namespace {

class OpenApiTest : public ServeTest {};

TEST_F(OpenApiTest, EveryRouteStandsThereWithASummaryAndIsAnswered) {
  start();
  const Json document = get("/openapi.json").json();
  EXPECT_EQ(document["openapi"], "3.1.0");
  EXPECT_EQ(document["paths"].size(), 22u) << document["paths"].dump();
  for (const auto& [path, methods] : document["paths"].items()) {
    for (const auto& [method, operation] : methods.items()) {
      EXPECT_FALSE(operation["summary"].get<std::string>().empty()) << method << " " << path;
      if (method != "get") continue;
      const size_t name = path.find("{name}");
      const std::string asked = name == std::string::npos ? path : path.substr(0, name) + "poet";
      EXPECT_EQ(get(asked).status, 200) << asked;
    }
  }
  EXPECT_EQ(document["paths"]["/v1/adapters/{name}/rollback"]["post"]["x-umbel-scope"], "admin");
  EXPECT_EQ(document["paths"]["/health"]["get"]["security"], Json::array());
}

TEST_F(OpenApiTest, AQuestionsFieldsAreThoseThatItsReaderAsksFor) {
  start();
  const Json document = get("/openapi.json").json();
  const Json::json_pointer fields("/post/requestBody/content/application~1json/schema/properties");
  const Json completion = document["paths"]["/v1/completions"][fields], chat = document["paths"]["/v1/chat/completions"][fields];
  for (const char* name : {"prompt", "prompt_fields", "template", "max_tokens", "best_of", "stop_token_ids", "cache_salt", "seed"}) {
    EXPECT_TRUE(completion.contains(name)) << name;
  }
  for (const char* name : {"messages", "max_completion_tokens", "top_logprobs"}) EXPECT_TRUE(chat.contains(name)) << name;
  for (const char* name : {"suffix", "guided_json", "user"}) EXPECT_FALSE(completion.contains(name)) << name;  // refused, ignored
}

TEST_F(OpenApiTest, ThePageNeedsNothingFromElsewhere) {
  start();
  const Received page = get("/docs");
  EXPECT_EQ(page.status, 200);
  EXPECT_NE(page.body.find("<code>/v1/adapters/{name}/rollback</code>"), std::string::npos);
  EXPECT_NE(page.body.find("prompt_fields"), std::string::npos);
  for (const char* foreign : {"http://", "https://", "src=", "<script"}) EXPECT_EQ(page.body.find(foreign), std::string::npos) << foreign;
}

}  // namespace
}  // namespace umbel::serve
