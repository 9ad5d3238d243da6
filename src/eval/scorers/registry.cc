#include "eval/scorers/registry.h"

#include <vector>

#include "base/nearest.h"
#include "eval/scorers/choices.h"
#include "eval/scorers/classes.h"
#include "eval/scorers/entities.h"
#include "eval/scorers/json_fields.h"
#include "eval/scorers/numbers.h"
#include "eval/scorers/options.h"
#include "eval/scorers/pass_at_k.h"
#include "eval/scorers/published.h"
#include "eval/scorers/rouge.h"
#include "eval/scorers/sql.h"
#include "eval/scorers/squad.h"
#include "eval/scorers/translation.h"

namespace umbel::eval {
namespace {

// A rule without options.
template <TextRule kRule>
std::unique_ptr<Scorer> make_rule(Options& /*options*/) {
  return scorer_of(kRule);
}

std::unique_ptr<Scorer> make_stsb(Options& /*options*/) { return scorer_of(CheckedRule(published_stsb)); }
std::unique_ptr<Scorer> make_dbpedia(Options& options) { return scorer_of(CheckedRule(PublishedDbpedia(options.texts("classes", dbpedia_classes())))); }
std::unique_ptr<Scorer> make_entities(Options& /*options*/) { return entity_scorer(); }
std::unique_ptr<Scorer> make_bleu(Options& /*options*/) { return bleu_scorer(); }
std::unique_ptr<Scorer> make_chrf(Options& /*options*/) { return chrf_scorer(0); }
std::unique_ptr<Scorer> make_chrf_words(Options& /*options*/) { return chrf_scorer(2); }

constexpr auto kGraded = Outcome::kGraded;
constexpr auto kRightWrong = Outcome::kRightWrong;

const ScorerEntry kEntries[] = {
    {"rouge", "LoRA Land: F of ROUGE-L", kGraded, Better::kHigher, make_rule<rouge_l_f>},
    {"accuracy", "LoRA Land: equal without dots at the ends and case, or as a number", kRightWrong, Better::kHigher, make_rule<published_accuracy>},
    {"binary_accuracy_flex", "LoRA Land: equal as yes or no, by the first word or digit found", kRightWrong, Better::kHigher,
     make_rule<published_binary_accuracy>},
    {"mrpc_accuracy", "LoRA Land: accuracy, or both contain 1, or both 2", kRightWrong, Better::kHigher, make_rule<published_mrpc_accuracy>},
    {"mnli_accuracy", "LoRA Land: accuracy, or both contain the same digit of 0 to 2", kRightWrong, Better::kHigher, make_rule<published_mnli_accuracy>},
    {"hellaswag_accuracy", "LoRA Land: accuracy, or both contain the same digit of 0 to 3", kRightWrong, Better::kHigher,
     make_rule<published_hellaswag_accuracy>},
    {"mmlu_accuracy", "LoRA Land: accuracy, or the first numbers are the same", kRightWrong, Better::kHigher, make_rule<published_mmlu_accuracy>},
    {"stsb", "LoRA Land: 1 - |difference| / 5", kGraded, Better::kHigher, make_stsb},
    {"dbpedia", "LoRA Land: an index becomes its class; F of ROUGE-L (option: classes)", kGraded, Better::kHigher, make_dbpedia},
    {"customer_support_accuracy", "LoRA Land: accuracy, or the answer contains the reference", kRightWrong, Better::kHigher,
     make_rule<published_customer_support_accuracy>},
    {"gsm8k_regex", "LoRA Land: the last numbers are equal", kRightWrong, Better::kHigher, make_rule<published_gsm8k_regex>},
    {"class_accuracy", "the class exactly; macro-F1, confusion table (options: classes, ignore_case, first_line)", kRightWrong, Better::kHigher, class_scorer},
    {"acc", "the most likely choice is the right one (lm-evaluation-harness; of log-likelihoods)", kRightWrong, Better::kHigher, choice_scorer, Blanks::kTrimmed,
     Takes::kLogLikelihoods},
    {"acc_norm", "the same, log-likelihoods divided by the choices' characters", kRightWrong, Better::kHigher, choice_norm_scorer, Blanks::kTrimmed,
     Takes::kLogLikelihoods},
    {"entity_f1", "entities by kind and extent, of BIO tags or JSON (seqeval)", kGraded, Better::kHigher, make_entities},
    {"rouge1", "F of ROUGE-1", kGraded, Better::kHigher, make_rule<rouge_1_f>},
    {"rouge2", "F of ROUGE-2", kGraded, Better::kHigher, make_rule<rouge_2_f>},
    {"rougeL", "F of ROUGE-L", kGraded, Better::kHigher, make_rule<rouge_l_f>},
    {"bleu", "BLEU as sacreBLEU computes it, 0 to 100", kGraded, Better::kHigher, make_bleu},
    {"chrf", "chrF2 as sacreBLEU computes it, 0 to 100", kGraded, Better::kHigher, make_chrf},
    {"chrf++", "chrF2++ as sacreBLEU computes it, 0 to 100", kGraded, Better::kHigher, make_chrf_words},
    {"exact_match", "equal without case, punctuation and articles (SQuAD)", kRightWrong, Better::kHigher, make_rule<squad_exact_match>},
    {"token_f1", "F1 of the words (SQuAD)", kGraded, Better::kHigher, make_rule<squad_token_f1>},
    {"numeric", "the numbers are equal (options: take, tolerance)", kRightWrong, Better::kHigher, numeric_scorer},
    {"mae", "absolute error; RMSE, Pearson, Spearman (options: take, range)", kGraded, Better::kLower, error_scorer},
    {"json_fields", "share of the reference's JSON fields that are right (options: ignore_case, extract)", kGraded, Better::kHigher, json_scorer},
    {"sql", "the query's result on an SQLite database (option: setup)", kRightWrong, Better::kHigher, sql_scorer},
    {"humaneval", "the program passes its tests, in a sandbox (options: k, wall_s, memory_mib, stop)", kRightWrong, Better::kHigher, pass_scorer,
     Blanks::kKept},
    {"pass_at_k", "chance that one of k programs passes, in a sandbox (options as humaneval's)", kGraded, Better::kHigher, pass_scorer, Blanks::kKept},
};

}  // namespace

std::span<const ScorerEntry> scorer_entries() { return kEntries; }

Result<const ScorerEntry*> find_scorer(const std::string& name) {
  std::vector<std::string> names;
  for (const ScorerEntry& entry : kEntries) {
    if (name == entry.name) return &entry;
    names.emplace_back(entry.name);
  }
  const std::string near = nearest_name(name, names);
  return not_found("there is no scorer \"" + name + "\"" + (near.empty() ? "; \"umbel eval scorers\" lists them" : "; did you mean \"" + near + "\"?"));
}

Result<std::unique_ptr<Scorer>> make_scorer(const std::string& name, const OrderedJson& options) {
  ASSIGN_OR_RETURN(const ScorerEntry* entry, find_scorer(name));
  Options read(options, "scorer " + name);
  std::unique_ptr<Scorer> scorer = entry->make(read);
  RETURN_IF_ERROR(read.status());
  return scorer;
}

}  // namespace umbel::eval
