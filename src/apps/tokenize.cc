// umbel tokenize: text to token ids and back.
#include <iostream>

#include "apps/base_model.h"
#include "apps/exit.h"
#include "apps/verb.h"
#include "io/json.h"

namespace umbel::apps {
namespace {

constexpr const char* kFooter = R"(
Examples:
  umbel tokenize seedling --text "Hello world"
  umbel tokenize seedling --decode 1,40,1219 --json
  cat story.txt | umbel tokenize seedling --count)";

struct Flags {
  std::string model = "seedling";
  std::string text;
  std::vector<int> decode;
  bool no_special = false;
  bool count = false;
  bool json = false;
};

Status run_decode(const Tokenizer& tokenizer, const Flags& flags) {
  const std::vector<TokenId> ids(flags.decode.begin(), flags.decode.end());
  ASSIGN_OR_RETURN(const std::string text, tokenizer.decode(ids, flags.no_special));
  std::cout << (flags.json ? Json{{"text", text}}.dump(-1, ' ', false, Json::error_handler_t::replace) : text) << "\n";
  return ok_status();
}

Status run_encode(const Tokenizer& tokenizer, const Flags& flags, const std::string& text) {
  ASSIGN_OR_RETURN(const std::vector<TokenSpan> spans, tokenizer.encode_spans(text, !flags.no_special));
  if (flags.count) {
    std::cout << (flags.json ? Json{{"tokens", spans.size()}}.dump() : std::to_string(spans.size())) << "\n";
    return ok_status();
  }
  Json tokens = Json::array();
  for (const TokenSpan& span : spans) {
    const std::string token = tokenizer.token(span.id).value_or("");
    tokens.push_back({{"id", span.id}, {"token", token}, {"begin", span.begin}, {"end", span.end}});
    if (!flags.json) std::cout << span.id << "\t" << token << "\n";
  }
  if (flags.json) std::cout << tokens.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
  return ok_status();
}

Status run_tokenize(const Flags& flags) {
  ASSIGN_OR_RETURN(const Path dir, find_model(flags.model));
  ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::load(dir));
  if (!flags.decode.empty()) return run_decode(*tokenizer, flags);
  std::string text = flags.text;
  if (text.empty()) text.assign(std::istreambuf_iterator<char>(std::cin), {});
  return run_encode(*tokenizer, flags, text);
}

}  // namespace

void add_tokenize(CLI::App& program, Run& run) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = program.add_subcommand("tokenize", "text to token ids and back");
  verb->add_option("MODEL", flags->model, "folder with tokenizer.json, or \"seedling\"")->capture_default_str();
  verb->add_option("--text", flags->text, "the text; without it standard input is read");
  verb->add_option("--decode", flags->decode, "token ids to turn into text")->delimiter(',');
  verb->add_flag("--no-special", flags->no_special, "add no BOS/EOS; leave special tokens out of decoded text");
  verb->add_flag("--count", flags->count, "only the number of tokens");
  verb->add_flag("--json", flags->json, "JSON for machines");
  verb->footer(kFooter);
  verb->callback([flags, &run] { run = [flags] { return finish(run_tokenize(*flags)); }; });
}

}  // namespace umbel::apps
