#include "io/stray.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/json.h"
#include "io/safetensors.h"
#include "io/test_folder.h"

namespace umbel {
namespace {

using ::testing::HasSubstr;

constexpr const char* kPointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 2200119664\n";

class StrayTest : public ::testing::Test {
 protected:
  void write(const Path& name, std::string_view text) {
    std::filesystem::create_directories((folder_.path() / name).parent_path());
    ASSERT_TRUE(write_file_atomic(folder_.path() / name, text).ok());
  }
  std::string weights_error() {
    const auto model = Safetensors::open_model(folder_.path());
    return model.ok() ? "" : model.status().message();
  }
  TestFolder folder_;
};

TEST_F(StrayTest, WhatStandsInPlaceOfAFileIsNamedWithItsRemedy) {
  using namespace std::string_literals;
  const std::pair<std::string, const char*> cases[] = {
      {kPointer, "a Git LFS pointer, not the file itself: run git lfs pull"},
      {"", "an empty file"},
      {"<!DOCTYPE html>\n<html><head>", "a web page"},
      {"\n  <HTML>", "a web page"},
      {"Entry not found", "an error message that a download left"},
      {"Access to model x is restricted", "an error message that a download left"},
      {"GGUF\x03\0\0\0"s, "a GGUF file"},
      {"PK\x03\x04 archive", "an archive"},
      {"\x80\x02}q\0 pickled"s, "a pickle"},
      {"\x1f\x8b\x08 compressed", "compressed by gzip"},
  };
  for (const auto& [bytes, wanted] : cases) {
    EXPECT_THAT(stray_content(bytes), HasSubstr(wanted));
    write("model.safetensors", bytes);
    EXPECT_THAT(weights_error(), HasSubstr(wanted)) << bytes;
    EXPECT_THAT(weights_error(), HasSubstr("model.safetensors is "));
    write("config.json", bytes);
    EXPECT_THAT(read_json(folder_ / "config.json").status().message(), HasSubstr(wanted)) << bytes;
  }
  EXPECT_EQ(stray_content("{\"model_type\": \"llama\""), "");
  EXPECT_EQ(stray_content("   "), "");
}

TEST_F(StrayTest, WeightsInOtherFormsAreNamedWithTheirRemedy) {
  write("pytorch_model-00001-of-00002.bin", "x");
  EXPECT_THAT(weights_error(), HasSubstr("pytorch_model-00001-of-00002.bin is a pickle"));
  EXPECT_THAT(weights_error(), HasSubstr("safe_serialization=True"));
  std::filesystem::remove(folder_ / "pytorch_model-00001-of-00002.bin");
  write("model-Q4_K_M.GGUF", "GGUF");
  EXPECT_THAT(weights_error(), HasSubstr("model-Q4_K_M.GGUF is a GGUF file"));
  write("model-00001-of-00002.safetensors", "x");
  EXPECT_THAT(weights_error(), HasSubstr("not model.safetensors.index.json"));
  write("sub/model.safetensors", "x");
  EXPECT_THAT(weights_error(), HasSubstr("it is in the sub-folder sub"));
  std::filesystem::create_symlink("nowhere", folder_ / "model.safetensors");
  EXPECT_THAT(weights_error(), HasSubstr("a link to a file that is not there"));
}

TEST_F(StrayTest, AHubsCacheFolderStandsForItsSnapshot) {
  EXPECT_EQ(hub_snapshot(folder_.path()).value(), folder_.path());
  write("snapshots/aaa/config.json", "{}");
  EXPECT_EQ(hub_snapshot(folder_.path()).value(), folder_ / "snapshots/aaa");
  write("snapshots/bbb/config.json", "{}");
  const auto two = hub_snapshot(folder_.path());
  ASSERT_FALSE(two.ok());
  EXPECT_THAT(two.status().message(), HasSubstr("snapshots/aaa, bbb"));
  write("refs/main", "bbb");
  EXPECT_EQ(hub_snapshot(folder_.path()).value(), folder_ / "snapshots/bbb");
  write("refs/main", "../../etc");
  EXPECT_FALSE(hub_snapshot(folder_.path()).ok());
  write("config.json", "{}");  // a model that happens to have such a sub-folder
  EXPECT_EQ(hub_snapshot(folder_.path()).value(), folder_.path());
}

}  // namespace
}  // namespace umbel
