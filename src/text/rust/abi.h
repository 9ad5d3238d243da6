// The C ABI of the Rust library beside this file (src/*.rs). Only text/*.cc and data/parquet_worker.cc include it.
//
// Arguments are borrowed for the call: (pointer, size) pairs, null allowed when the size is 0. Results are owned by the
// library until freed with the matching umbel_*_free. Calls that can fail return 0 (ok), 1 (the input is wrong),
// 2 (known, not supported) or 3 (a bug or a panic, caught) and then write a message to *error, which must be freed.
// Handles are immutable after umbel_*_new: any thread may use them, and one thread frees them at the end.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

struct UmbelBytes {
  uint8_t* data;
  size_t size;
  size_t capacity;
};

struct UmbelSpan {
  int64_t id;  // a token id, where the spans are tokens
  size_t begin;
  size_t end;
};

struct UmbelSpans {
  UmbelSpan* data;
  size_t size;
  size_t capacity;
};

// release: frees memory for another try and says whether it did; null = none, then a failed allocation ends the process. Any
// thread calls it, in the middle of an allocation.
void umbel_on_memory_failure(bool (*release)());

void umbel_bytes_free(UmbelBytes bytes);
void umbel_spans_free(UmbelSpans spans);

struct UmbelTokenizer;

// config: the text of tokenizer_config.json, may be empty.
int32_t umbel_tokenizer_new(const char* json, size_t json_size, const char* config, size_t config_size,
                            UmbelTokenizer** out, UmbelBytes* error);
void umbel_tokenizer_free(UmbelTokenizer* tokenizer);
// tokens: JSON [{id, content, special, ...}]. *out is one of its own.
int32_t umbel_tokenizer_with_added(const UmbelTokenizer* tokenizer, const char* tokens, size_t size, UmbelTokenizer** out,
                                   UmbelBytes* error);
int32_t umbel_tokenizer_encode(const UmbelTokenizer* tokenizer, const char* text, size_t size, bool add_special,
                               UmbelSpans* out, UmbelBytes* error);
int32_t umbel_tokenizer_decode(const UmbelTokenizer* tokenizer, const int32_t* ids, size_t size, bool skip_special,
                               UmbelBytes* out, UmbelBytes* error);
// Non-zero outside the vocabulary (no message).
int32_t umbel_tokenizer_token(const UmbelTokenizer* tokenizer, int32_t id, UmbelBytes* out);
// -1 where there is none.
int64_t umbel_tokenizer_id_of(const UmbelTokenizer* tokenizer, const char* token, size_t size);
bool umbel_tokenizer_is_special(const UmbelTokenizer* tokenizer, int32_t id);
size_t umbel_tokenizer_vocab_size(const UmbelTokenizer* tokenizer);
int64_t umbel_tokenizer_bos(const UmbelTokenizer* tokenizer);
int64_t umbel_tokenizer_eos(const UmbelTokenizer* tokenizer);

struct UmbelTemplate;

// special_tokens: a JSON object of strings.
int32_t umbel_template_new(const char* source, size_t source_size, const char* special_tokens,
                           size_t special_tokens_size, UmbelTemplate** out, UmbelBytes* error);
void umbel_template_free(UmbelTemplate* chat_template);
// input: JSON {messages, tools, documents, add_generation_prompt, extra, now}. spans: what generation blocks produced.
int32_t umbel_template_render(const UmbelTemplate* chat_template, const char* input, size_t size, UmbelBytes* out,
                              UmbelSpans* spans, UmbelBytes* error);

struct UmbelDocument {
  const char* data;
  size_t size;
};

// options: JSON {vocab_size, min_frequency, special_tokens, bos, pattern}. out: the text of a tokenizer.json.
int32_t umbel_train_bpe(const UmbelDocument* documents, size_t count, const char* options, size_t options_size,
                        UmbelBytes* out, UmbelBytes* error);

struct UmbelParquet;

// The rows of a Parquet file. Memory is taken as the file says: only a confined process calls these. One thread.
// descriptor: a regular file's, open; the library closes it, also when it fails.
int32_t umbel_parquet_open(int32_t descriptor, UmbelParquet** out, UmbelBytes* error);
// Lines of JSON until there are so many bytes of them; none at the end.
int32_t umbel_parquet_next(UmbelParquet* file, size_t bytes_wanted, UmbelBytes* out, UmbelBytes* error);
void umbel_parquet_free(UmbelParquet* file);
}
