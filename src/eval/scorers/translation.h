// BLEU and chrF as sacreBLEU 2 computes them, from 0 to 100. Rows score as its sentence_bleu and sentence_chrf (BLEU with the effective
// order), all rows together as its corpus_bleu and corpus_chrf: summary["corpus"]. Several references are allowed. An absent answer counts
// as an empty one.
//
// BLEU: case as it is, tokenizer 13a, exponential smoothing, n-grams to 4. chrF2: characters without blanks, n-grams to 6, beta 2; chrF2++
// adds words to 2.
#pragma once

#include <memory>
#include <string>

#include "eval/scorers/scorer.h"

namespace umbel::eval {

std::unique_ptr<Scorer> bleu_scorer();
// words: longest n-gram of words; 0 = chrF2, 2 = chrF2++.
std::unique_ptr<Scorer> chrf_scorer(int words);

// Tokenizer 13a (mteval-v13a): tokens parted by single blanks.
std::string tokenize_13a(std::string_view text);

}  // namespace umbel::eval
