#include "io/safetensors.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>

#include "base/random.h"
#include "io/json.h"
#include "io/test_folder.h"

namespace umbel {
namespace {

std::string file_bytes(const std::string& header, const std::string& data, uint64_t length) {
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + data;
}
std::string file_bytes(const std::string& header, const std::string& data) {
  return file_bytes(header, data, header.size());
}

Result<Safetensors> open_bytes(const std::string& bytes) {
  const TestFolder folder;
  CHECK(write_file_atomic(folder / "x.safetensors", bytes).ok(), "the test's file");
  return Safetensors::open(folder / "x.safetensors");
}

TEST(Safetensors, ReadsASmallFile) {
  const auto file = open_bytes(file_bytes(
      R"({"b":{"dtype":"U8","shape":[3],"data_offsets":[4,7]},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)"
      R"("__metadata__":{"format":"pt"},"none":{"dtype":"BF16","shape":[0,5],"data_offsets":[4,4]}}  )",
      std::string("\0\0\x80\x3f", 4) + "xyz"));
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_EQ(file->tensors().size(), 3u);
  EXPECT_EQ(file->metadata().at("format"), "pt");
  float one = 0;
  std::memcpy(&one, file->find("a")->data, 4);
  EXPECT_EQ(one, 1.0f);
  EXPECT_EQ(std::string(static_cast<const char*>(file->find("b")->data), 3), "xyz");
  EXPECT_EQ(file->find("none")->elements(), 0);
  EXPECT_EQ(file->find("absent"), nullptr);
}

struct BadFile {
  const char* name;
  std::string bytes;
  Code code = Code::kDataLoss;
};

std::string one_tensor(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"a":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
}

std::vector<BadFile> bad_files() {
  const std::string data(8, 'd');
  const std::string good = one_tensor("F32", "[2]", "[0,8]");
  const std::string entry = R"("dtype":"F32","shape":[1],"data_offsets":)";
  return {
      {"empty", ""},
      {"seven_bytes", "1234567"},
      {"length_past_end", file_bytes(good, data, good.size() + data.size() + 1)},
      {"length_overflow", file_bytes(good, data, UINT64_MAX)},
      {"length_wraps_with_eight", file_bytes(good, data, UINT64_MAX - 7)},
      {"length_over_limit", file_bytes(good, data, kSafetensorsHeaderMax + 1)},
      {"no_header", file_bytes("", data)},
      {"header_is_list", file_bytes("[]", "")},
      {"leading_space", file_bytes(" " + good, data)},
      {"header_not_json", file_bytes("{\"a\":", data)},
      {"header_not_utf8", file_bytes("{\"\xff\":1}", "")},
      {"deep", file_bytes("{\"a\":" + std::string(100000, '['), "")},
      {"truncated_data", file_bytes(good, data.substr(1))},
      {"trailing_data", file_bytes(good, data + "x")},
      {"duplicate_name", file_bytes("{\"a\":{" + entry + "[0,4]},\"a\":{" + entry + "[4,8]}}", data)},
      {"duplicate_field", file_bytes(R"({"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})", data)},
      {"overlap", file_bytes("{\"a\":{" + entry + "[0,4]},\"b\":{" + entry + "[2,6]}}", data.substr(0, 6))},
      {"same_place", file_bytes("{\"a\":{" + entry + "[0,4]},\"b\":{" + entry + "[0,4]}}", data.substr(0, 4))},
      {"gap", file_bytes("{\"a\":{" + entry + "[0,4]},\"b\":{" + entry + "[5,9]}}", data + "x")},
      {"starts_late", file_bytes(one_tensor("F32", "[1]", "[4,8]"), data)},
      {"ends_before_begin", file_bytes(one_tensor("F32", "[2]", "[8,0]"), data)},
      {"negative_offset", file_bytes(one_tensor("F32", "[2]", "[-8,0]"), data)},
      {"fractional_offset", file_bytes(one_tensor("F32", "[2]", "[0,8.0]"), data)},
      {"three_offsets", file_bytes(one_tensor("F32", "[2]", "[0,8,8]"), data)},
      {"shape_too_large", file_bytes(one_tensor("F32", "[3]", "[0,8]"), data)},
      {"shape_too_small", file_bytes(one_tensor("F32", "[1]", "[0,8]"), data)},
      {"shape_negative", file_bytes(one_tensor("F32", "[-2]", "[0,8]"), data)},
      {"two_negatives", file_bytes(one_tensor("F32", "[-1,-2]", "[0,8]"), data)},
      {"product_wraps_to_two", file_bytes(one_tensor("F32", "[4294967297,4294967296,2]", "[0,8]"), data)},
      {"bytes_wrap_to_eight", file_bytes(one_tensor("F64", "[2305843009213693953]", "[0,8]"), data)},
      {"extent_past_63_bits", file_bytes(one_tensor("U8", "[9223372036854775816]", "[0,8]"), data)},
      {"many_dimensions", file_bytes(one_tensor("F32", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2]", "[0,8]"), data)},
      {"shape_is_number", file_bytes(one_tensor("F32", "2", "[0,8]"), data)},
      {"overflow_then_zero", file_bytes(one_tensor("F32", "[9223372036854775807,9223372036854775807,0]", "[0,0]"), "")},
      {"no_dtype", file_bytes(R"({"a":{"shape":[2],"data_offsets":[0,8]}})", data)},
      {"unknown_field", file_bytes(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}})", data)},
      {"entry_is_number", file_bytes(R"({"a":1})", "")},
      {"unknown_dtype", file_bytes(one_tensor("F8_E4M3", "[8]", "[0,8]"), data), Code::kUnsupported},
      {"metadata_number", file_bytes(R"({"__metadata__":{"a":1}})", "")},
      {"metadata_string", file_bytes(R"({"__metadata__":"a"})", "")},
  };
}

TEST(Safetensors, BadFilesAreRefusedByName) {
  for (const BadFile& bad : bad_files()) {
    const auto file = open_bytes(bad.bytes);
    ASSERT_FALSE(file.ok()) << bad.name;
    EXPECT_EQ(file.status().code(), bad.code) << bad.name << ": " << file.status().message();
    EXPECT_NE(file.status().message().find("x.safetensors"), std::string::npos) << bad.name;
  }
}

// Every prefix of a good file is refused, never read past.
TEST(Safetensors, EveryTruncationIsRefused) {
  const std::string whole = file_bytes(one_tensor("F32", "[2]", "[0,8]"), "dddddddd");
  ASSERT_TRUE(open_bytes(whole).ok());
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_EQ(open_bytes(whole.substr(0, size)).status().code(), Code::kDataLoss) << size;
  }
}

TEST(Safetensors, WritesWhatItReads) {
  const TestFolder folder;
  Random random(5);
  std::map<std::string, Tensor> owned;
  std::map<std::string, TensorView> views;
  const DType dtypes[] = {DType::kF32, DType::kBF16, DType::kF16, DType::kF64, DType::kI64,
                          DType::kI32, DType::kI16,  DType::kI8,  DType::kU8,  DType::kBool};
  for (DType dtype : dtypes) {
    const std::string name = "t." + std::string(dtype_name(dtype)) + "\"\n\u00e9";
    Tensor tensor(dtype, {3, static_cast<int64_t>(random.next_below(7))});
    for (size_t i = 0; i < tensor.bytes(); ++i) static_cast<uint8_t*>(tensor.data())[i] = random.next_u32() & 1;
    views[name] = tensor.view();
    owned[name] = std::move(tensor);
  }
  ASSERT_TRUE(write_safetensors(folder / "w", views, {{"by", "test"}}).ok());
  for (const bool copied : {false, true}) {
    const auto file = copied ? Safetensors::open_copy(OpenFile::open(folder / "w").value()) : Safetensors::open(folder / "w");
    ASSERT_TRUE(file.ok()) << file.status().message();
    EXPECT_EQ(file->metadata(), (std::map<std::string, std::string>{{"by", "test"}, {"format", "pt"}}));
    ASSERT_EQ(file->tensors().size(), views.size());
    for (const auto& [name, view] : views) {
      const TensorView* read = file->find(name);
      ASSERT_NE(read, nullptr);
      EXPECT_EQ(read->dtype, view.dtype);
      EXPECT_EQ(read->shape, view.shape);
      EXPECT_EQ(std::memcmp(read->data, view.data, view.bytes()), 0);
    }
  }
  EXPECT_EQ(folder.entries(), 1);
}

TEST(Safetensors, NamesThatCannotBeWrittenAreRefused) {
  const TestFolder folder;
  const Tensor tensor(DType::kF32, {1});
  EXPECT_FALSE(write_safetensors(folder / "w", {{"\xff", tensor.view()}}).ok());
  EXPECT_FALSE(write_safetensors(folder / "w", {{"__metadata__", tensor.view()}}).ok());
  EXPECT_FALSE(write_safetensors(folder / "w", {{"a", tensor.view()}}, {{"\xff", "x"}}).ok());
  EXPECT_EQ(folder.entries(), 0);
}

class Shards : public testing::Test {
 protected:
  Shards() : tensor_(DType::kF32, {2}) {
    write_shard("one.safetensors", "a");
    write_shard("two.safetensors", "b");
  }
  void write_shard(const std::string& file, const std::string& name) {
    CHECK(write_safetensors(folder_ / file, {{name, tensor_.view()}}).ok(), "the test's shard");
  }
  void write_index(const std::string& map) {
    CHECK(write_file_atomic(folder_ / "model.safetensors.index.json", "{\"weight_map\":" + map + "}").ok(), "the index");
  }
  std::string error() {
    const auto model = Safetensors::open_model(folder_.path());
    return model.ok() ? "" : model.status().message();
  }
  TestFolder folder_;
  Tensor tensor_;
};

TEST_F(Shards, OpenTogether) {
  write_index(R"({"a":"one.safetensors","b":"two.safetensors"})");
  const auto model = Safetensors::open_model(folder_.path());
  ASSERT_TRUE(model.ok()) << model.status().message();
  EXPECT_NE(model->find("a"), nullptr);
  EXPECT_NE(model->find("b"), nullptr);
}

TEST_F(Shards, AreRefusedByName) {
  EXPECT_NE(error().find("neither model.safetensors"), std::string::npos);
  write_index(R"({"a":"one.safetensors","b":"three.safetensors"})");
  EXPECT_NE(error().find("three.safetensors"), std::string::npos);
  write_index(R"({"a":"one.safetensors","c":"two.safetensors"})");
  EXPECT_NE(error().find("tensor \"c\" is not in any shard"), std::string::npos);
  write_index(R"({"a":"../one.safetensors"})");
  EXPECT_NE(error().find("not a plain file name"), std::string::npos);
  write_index(R"({"a":".."})");
  EXPECT_NE(error(), "");
  write_index(R"({"a":1})");
  EXPECT_NE(error().find("not a plain file name"), std::string::npos);
  write_index("[]");
  EXPECT_NE(error().find("weight_map"), std::string::npos);
  write_shard("two.safetensors", "a");
  write_index(R"({"a":"one.safetensors","b":"two.safetensors"})");
  EXPECT_NE(error().find("in an earlier shard too"), std::string::npos);
  CHECK(write_file_atomic(folder_ / "two.safetensors", "half").ok(), "a half-written shard");
  EXPECT_NE(error().find("two.safetensors"), std::string::npos);
}

TEST_F(Shards, AreAllNamedWhenTheyAreMissing) {
  write_index(R"({"a":"one.safetensors","b":"model-2.safetensors","c":"model-3.safetensors"})");
  EXPECT_NE(error().find("2 of the 3 files that model.safetensors.index.json names are missing: model-2.safetensors, model-3.safetensors"),
            std::string::npos)
      << error();
}

TEST_F(Shards, ASingleFileIsReadBesideAStaleIndex) {
  write_index(R"({"old":"model-00001-of-00002.safetensors","older":"model-00002-of-00002.safetensors"})");
  write_shard("model.safetensors", "fresh");
  const auto model = Safetensors::open_model(folder_.path());
  ASSERT_TRUE(model.ok()) << model.status().message();
  EXPECT_NE(model->find("fresh"), nullptr);
  // Also when the index's own files are there: transformers takes the single file.
  write_index(R"({"a":"one.safetensors","b":"two.safetensors"})");
  EXPECT_NE(Safetensors::open_model(folder_.path())->find("fresh"), nullptr);
}

TEST(Safetensors, ReadsTheEmbeddedBase) {
  const char* source = std::getenv("UMBEL_SOURCE_DIR");
  ASSERT_NE(source, nullptr);
  const auto model = Safetensors::open_model(Path(source) / "assets" / "seedling");
  ASSERT_TRUE(model.ok()) << model.status().message();
  EXPECT_EQ(model->find("model.embed_tokens.weight")->dtype, DType::kBF16);
}

}  // namespace
}  // namespace umbel
