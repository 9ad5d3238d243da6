//! What is rewritten in a template's source before minijinja compiles it: `{% generation %}` blocks, which it does not
//! know, become `{% call %}` of a function; what a `for` walks passes through a filter that refuses none as Python does.
//!
//! Only tags are touched: comments, raw blocks, expressions and strings stay as they are, and so do line numbers.

use crate::generation;
use crate::jinja::WALKABLE;

/// The end (just past `close`) of a tag or expression whose inside starts at `from`; quotes are respected.
fn tag_end(source: &str, from: usize, close: &str) -> Option<usize> {
    let bytes = source.as_bytes();
    let mut quote = 0u8;
    let mut at = from;
    while at < bytes.len() {
        let c = bytes[at];
        if quote != 0 {
            if c == b'\\' {
                at += 1;
            } else if c == quote {
                quote = 0;
            }
        } else if c == b'"' || c == b'\'' {
            quote = c;
        } else if bytes[at..].starts_with(close.as_bytes()) {
            return Some(at + close.len());
        }
        at += 1;
    }
    None
}

/// Words (identifiers and keywords) of `text` that stand outside brackets and strings: (begin, end).
fn outer_words(text: &str) -> Vec<(usize, usize)> {
    let bytes = text.as_bytes();
    let (mut words, mut depth, mut quote, mut at) = (Vec::new(), 0i32, 0u8, 0usize);
    while at < bytes.len() {
        let c = bytes[at];
        if quote != 0 {
            at += if c == b'\\' { 2 } else { 1 };
            if c == quote {
                quote = 0;
            }
            continue;
        }
        match c {
            b'"' | b'\'' => quote = c,
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            _ if c.is_ascii_alphanumeric() || c == b'_' || c >= 0x80 => {
                let begin = at;
                while at < bytes.len() && (bytes[at].is_ascii_alphanumeric() || bytes[at] == b'_' || bytes[at] >= 0x80)
                {
                    at += 1;
                }
                let is_attribute = text[..begin].trim_end().ends_with('.');
                if depth == 0 && !is_attribute {
                    words.push((begin, at));
                }
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    words
}

/// `for X in WALKED if C recursive` with WALKED wrapped; None where the tag does not look like that.
fn rewrite_for(inside: &str) -> Option<String> {
    let words = outer_words(inside);
    let text = |word: &(usize, usize)| &inside[word.0..word.1];
    let at = words.iter().position(|word| text(word) == "in")?;
    let begin = words[at].1;
    let end = words[at + 1..]
        .iter()
        .find(|word| matches!(text(word), "if" | "recursive"))
        .map_or(inside.len(), |word| word.0);
    let walked = &inside[begin..end];
    if walked.trim().is_empty() {
        return None;
    }
    Some(format!("{} ({walked})|{WALKABLE} {}", &inside[..begin], &inside[end..]))
}

/// The new text of one `{% ... %}` tag; None to leave it.
fn rewrite_tag(tag: &str) -> Option<String> {
    let body = &tag[2..tag.len() - 2];
    let left = body.len() - body.trim_start_matches(['-', '+']).len();
    let right = body.trim_end_matches(['-', '+']).len().max(left);
    let inside = &body[left..right];
    let new = match inside.split_whitespace().next()? {
        "generation" if inside.trim() == "generation" => {
            inside.replacen("generation", &format!("call {}()", generation::FUNCTION), 1)
        }
        "endgeneration" => inside.replacen("endgeneration", "endcall", 1),
        "for" => rewrite_for(inside)?,
        _ => return None,
    };
    Some(format!("{{%{}{new}{}%}}", &body[..left], &body[right..]))
}

fn first_word(tag: &str) -> &str {
    tag.strip_prefix("{%")
        .unwrap_or(tag)
        .trim_start_matches(['-', '+'])
        .trim_start()
        .split(|c: char| !c.is_alphanumeric())
        .next()
        .unwrap_or_default()
}

pub fn rewrite(source: &str) -> String {
    let mut out = String::with_capacity(source.len() + source.len() / 8);
    let mut raw = false;
    let mut rest = 0;
    while let Some(offset) = source[rest..].find('{') {
        let start = rest + offset;
        out.push_str(&source[rest..start]);
        let end = match source.as_bytes().get(start + 1) {
            Some(b'#') if !raw => source[start..].find("#}").map(|at| start + at + 2),
            Some(b'{') if !raw => tag_end(source, start + 2, "}}"),
            Some(b'%') if !raw || first_word(&source[start..]) == "endraw" => tag_end(source, start + 2, "%}"),
            _ => Some(start + 1),
        };
        rest = start;
        let Some(end) = end else { break };
        let tag = &source[start..end];
        if tag.starts_with("{%") {
            raw = match first_word(tag) {
                "raw" => true,
                "endraw" => false,
                _ => raw,
            };
            out.push_str(&rewrite_tag(tag).unwrap_or_else(|| tag.to_string()));
        } else {
            out.push_str(tag);
        }
        rest = end;
    }
    out.push_str(&source[rest..]);
    out
}
