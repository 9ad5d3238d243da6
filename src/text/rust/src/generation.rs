//! `{% generation %}` blocks: the parts of a chat that the model is to learn.
//!
//! minijinja has no such tag: `source::rewrite` makes it a `{% call %}` of a function that wraps what the block produced
//! in markers, and `take_spans` removes the markers again and keeps their places.

use crate::abi::Span;

pub const FUNCTION: &str = "umbel_generation_block";

/// Noncharacters of Unicode, which no tokenizer and no honest text uses. `number` tells several pairs apart, so that a
/// pair can be found that the input does not contain.
#[derive(Clone)]
pub struct Markers {
    pub open: String,
    pub close: String,
}

impl Markers {
    /// Markers that do not occur in any of `texts`.
    pub fn unlike(texts: &[&str]) -> Self {
        let mut number = 0u32;
        loop {
            let open = format!("\u{FDD0}{number}\u{FDD1}");
            let close = format!("\u{FDD0}{number}\u{FDD2}");
            if !texts.iter().any(|text| text.contains(&open) || text.contains(&close)) {
                return Markers { open, close };
            }
            number += 1;
        }
    }
}

/// The text without markers, and the outermost byte ranges that were between them.
pub fn take_spans(marked: &str, markers: &Markers) -> (String, Vec<Span>) {
    let mut text = String::with_capacity(marked.len());
    let mut spans = Vec::new();
    let (mut depth, mut begin) = (0usize, 0usize);
    let mut rest = marked;
    loop {
        let open = rest.find(&markers.open);
        let close = rest.find(&markers.close);
        let (at, opens) = match (open, close) {
            (Some(open), Some(close)) if open < close => (open, true),
            (_, Some(close)) => (close, false),
            (Some(open), None) => (open, true),
            (None, None) => break,
        };
        text.push_str(&rest[..at]);
        if opens {
            if depth == 0 {
                begin = text.len();
            }
            depth += 1;
            rest = &rest[at + markers.open.len()..];
        } else {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                spans.push(Span { id: 0, begin, end: text.len() });
            }
            rest = &rest[at + markers.close.len()..];
        }
    }
    text.push_str(rest);
    (text, spans)
}
