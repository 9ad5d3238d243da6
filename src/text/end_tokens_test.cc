#include "text/end_tokens.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

namespace umbel {
namespace {

class EndTokensTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* source = std::getenv("UMBEL_SOURCE_DIR");
    tokenizer_ = Tokenizer::load(Path(source == nullptr ? "." : source) / "assets" / "seedling").value();
    dir_ = Path(::testing::TempDir()) / ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_);
  }
  void write(const char* name, const std::string& text) { std::ofstream(dir_ / name) << text; }
  Result<std::vector<TokenId>> read() { return read_end_tokens(FolderReader::open({.folder = dir_}).value(), *tokenizer_); }

  std::shared_ptr<const Tokenizer> tokenizer_;
  Path dir_;
};

TEST_F(EndTokensTest, AFolderThatSaysNothingHasNone) {
  EXPECT_TRUE(read().value().empty());
  write("generation_config.json", R"({"temperature": 1})");
  write("tokenizer_config.json", R"({"eos_token": null})");
  EXPECT_TRUE(read().value().empty());
}

TEST_F(EndTokensTest, BothFilesCount) {
  const TokenId bos = *tokenizer_->bos(), eos = *tokenizer_->eos();
  write("generation_config.json", R"({"eos_token_id": [5, )" + std::to_string(eos) + "]}");
  write("tokenizer_config.json", R"({"eos_token": {"content": ")" + *tokenizer_->token(bos) + R"("}})");
  EXPECT_EQ(read().value(), (std::vector<TokenId>{5, eos, bos}));
  write("tokenizer_config.json", R"({"eos_token": ")" + *tokenizer_->token(eos) + R"("})");
  EXPECT_EQ(read().value(), (std::vector<TokenId>{5, eos}));
  write("generation_config.json", R"({"eos_token_id": 7})");
  write("tokenizer_config.json", R"({"eos_token": "<|nobody knows this|>"})");
  EXPECT_EQ(read().value(), std::vector<TokenId>{7});
}

TEST_F(EndTokensTest, WrongFilesAreNamed) {
  for (const char* text : {"{", "[]", R"({"eos_token_id": "2"})", R"({"eos_token_id": -1})", R"({"eos_token_id": 1e9})",
                           R"({"eos_token_id": 99999999999})", R"({"eos_token_id": [[2]]})"}) {
    write("generation_config.json", text);
    ASSERT_FALSE(read().ok()) << text;
    EXPECT_NE(read().status().message().find("generation_config.json"), std::string::npos) << read().status().message();
  }
  std::filesystem::remove(dir_ / "generation_config.json");
  write("tokenizer_config.json", R"({"eos_token": 5})");
  EXPECT_FALSE(read().ok());
}

}  // namespace
}  // namespace umbel
