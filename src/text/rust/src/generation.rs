//! `{% generation %}` blocks: the parts of a chat that the model is to learn.
//!
//! minijinja has no such tag: `source::rewrite` makes it a `{% call %}` of a function that wraps what the block produced
//! in markers, and `take_spans` removes the markers again and keeps their places.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use crate::abi::Span;

pub const FUNCTION: &str = "umbel_generation_block";

/// What surrounds a block: noncharacters of Unicode around a number of 128 bits that is drawn anew for every rendering, so
/// that no text, and nothing that a template puts together from texts, can hold it.
pub struct Markers {
    stem: String,
}

const OPEN: char = '\u{FDD1}';
const CLOSE: char = '\u{FDD2}';

impl Markers {
    pub fn draw() -> Self {
        // The keys of a RandomState come from the operating system.
        let half = || RandomState::new().build_hasher().finish();
        Markers { stem: format!("\u{FDD0}{:016x}{:016x}", half(), half()) }
    }

    pub fn around(&self, body: &str) -> String {
        let stem = &self.stem;
        format!("{stem}{OPEN}{body}{stem}{CLOSE}")
    }

    /// The text without markers, and the outermost byte ranges that were between them; one pass.
    pub fn take_spans(&self, marked: &str) -> (String, Vec<Span>) {
        let mut text = String::with_capacity(marked.len());
        let mut spans = Vec::new();
        let (mut depth, mut begin) = (0usize, 0usize);
        let mut rest = marked;
        while let Some(at) = rest.find(&self.stem) {
            text.push_str(&rest[..at]);
            rest = &rest[at + self.stem.len()..];
            if let Some(inside) = rest.strip_prefix(OPEN) {
                if depth == 0 {
                    begin = text.len();
                }
                depth += 1;
                rest = inside;
            } else if let Some(behind) = rest.strip_prefix(CLOSE) {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    spans.push(Span { id: 0, begin, end: text.len() });
                }
                rest = behind;
            } // else a template cut a marker in two
        }
        text.push_str(rest);
        (text, spans)
    }
}
