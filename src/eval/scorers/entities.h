// Entity-level F1, as seqeval (and conlleval) counts: an entity is right when its kind and its whole extent are.
//
// Tags (a list of "B-PER", "I-PER", "O", also E- and S-; or one text of them parted by blanks) are read as seqeval's default mode reads
// them: a chunk begins where the kind changes or B- stands, whatever came before. JSON ({"disease": ["TLS"], ...}, as a value or in the
// text) gives entities of a kind by their texts; equal ones count as often as they stand there. The reference says which of the two it is.
//
// A row's score is its own F1 (1 where both have no entity). summary: precision, recall, f1 over all rows (micro), macro_f1, weighted_f1,
// and every kind's figures.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "eval/scorers/scorer.h"

namespace umbel::eval {

std::unique_ptr<Scorer> entity_scorer();

struct Chunk {
  std::string kind;
  size_t begin = 0, end = 0;  // of tags; end is the last one
  auto operator<=>(const Chunk&) const = default;
};
std::vector<Chunk> chunks_of(const std::vector<std::string>& tags);

}  // namespace umbel::eval
