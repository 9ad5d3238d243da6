// Exact match and token F1 as SQuAD's official script computes them: lower case, without ASCII punctuation, without the articles a, an and
// the, single blanks. Where one of the two has no word left, F1 is 1 if both have none (SQuAD 2.0).
#pragma once

#include <string>

namespace umbel::eval {

std::string squad_normal_form(const std::string& text);
double squad_exact_match(const std::string& prediction, const std::string& reference);
double squad_token_f1(const std::string& prediction, const std::string& reference);

}  // namespace umbel::eval
