//! tokenizer.json through the tokenizers crate, with the tokens that transformers adds from tokenizer_config.json.
//!
//! Which special tokens surround a text is the post-processor's word alone: transformers 5 does not read add_bos_token
//! and add_eos_token where there is a tokenizer.json.

use std::collections::HashSet;

use crate::abi::{guard, items, quietly, text, Bytes, Failure, Span, Spans, UNSUPPORTED};
use serde_json::Value;
use tokenizers::AddedToken;

pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    bos: Option<u32>,
    eos: Option<u32>,
    special: HashSet<u32>,
    vocab_size: usize, // kept, because the crate copies its whole vocabulary to count it
}

/// A special token as tokenizer_config.json writes it: a string or an AddedToken object.
fn named_token(value: &Value) -> Option<AddedToken> {
    if let Some(content) = value.as_str() {
        return Some(AddedToken::from(content, true).normalized(false));
    }
    let content = value.get("content")?.as_str()?;
    let flag = |name: &str, fallback: bool| value.get(name).and_then(Value::as_bool).unwrap_or(fallback);
    Some(
        AddedToken::from(content, flag("special", true))
            .single_word(flag("single_word", false))
            .lstrip(flag("lstrip", false))
            .rstrip(flag("rstrip", false))
            .normalized(flag("normalized", !flag("special", true))),
    )
}

const NAMED: [&str; 7] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// Tokens that the configuration names but tokenizer.json lacks, in the order in which transformers adds them.
fn add_configured_tokens(inner: &mut tokenizers::Tokenizer, config: &Value) {
    let mut listed: Vec<(u32, AddedToken)> = config
        .get("added_tokens_decoder")
        .and_then(Value::as_object)
        .map(|object| {
            object.iter().filter_map(|(id, token)| Some((id.parse().ok()?, named_token_listed(token)?))).collect()
        })
        .unwrap_or_default();
    listed.sort_by_key(|(id, _)| *id);
    for (_, token) in listed {
        if inner.token_to_id(&token.content).is_none() {
            inner.add_tokens(&[token]);
        }
    }
    let mut named: Vec<AddedToken> = NAMED.iter().filter_map(|name| named_token(config.get(name)?)).collect();
    for list in ["additional_special_tokens", "extra_special_tokens"] {
        if let Some(tokens) = config.get(list).and_then(Value::as_array) {
            named.extend(tokens.iter().filter_map(named_token));
        }
    }
    let known = inner.get_added_tokens_decoder();
    for mut token in named {
        // A token that tokenizer.json lists as special keeps the flags it has there.
        if known.values().any(|old| old.content == token.content && old.special) {
            continue;
        }
        token.special = true;
        inner.add_special_tokens(&[token]);
    }
}

/// An entry of added_tokens_decoder: unlike named tokens it is special only where it says so.
fn named_token_listed(value: &Value) -> Option<AddedToken> {
    let special = value.get("special").and_then(Value::as_bool).unwrap_or(false);
    let mut token = named_token(value)?;
    token.special = special;
    Some(token)
}

/// Merges in the older form "left right" are ambiguous where a piece contains a space, and the crate refuses them. Split
/// such lines where both parts and the whole are in the vocabulary, into the newer form of pairs.
fn with_paired_merges(json: &str) -> Option<String> {
    let mut parsed: Value = serde_json::from_str(json).ok()?;
    let vocab = parsed.get("model")?.get("vocab")?.as_object()?.clone();
    let split = |merge: &str| -> Option<Value> {
        merge.match_indices(' ').find_map(|(at, _)| {
            let (left, right) = (&merge[..at], &merge[at + 1..]);
            let known = [left, right, &[left, right].concat()].iter().all(|piece| vocab.contains_key(*piece));
            known.then(|| Value::from(vec![left, right]))
        })
    };
    for merge in parsed.get_mut("model")?.get_mut("merges")?.as_array_mut()? {
        if let Some(text) = merge.as_str() {
            *merge = split(text)?;
        }
    }
    Some(parsed.to_string())
}

/// The crate panics on some malformed files; that is the file's fault, not ours.
fn parse_once(json: &str) -> Result<tokenizers::Tokenizer, String> {
    match quietly(|| tokenizers::Tokenizer::from_bytes(json.as_bytes())) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(panic) => Err(panic),
    }
}

fn parse(json: &str) -> Result<tokenizers::Tokenizer, Failure> {
    parse_once(json).or_else(|error| {
        with_paired_merges(json)
            .and_then(|repaired| parse_once(&repaired).ok())
            .ok_or_else(|| Failure::invalid(format!("tokenizer.json: {error}")))
    })
}

impl Tokenizer {
    pub fn new(json: &str, config: &str) -> Result<Self, Failure> {
        let mut inner = parse(json)?;
        // A serving program decides about truncation and padding itself.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|error| Failure::invalid(error.to_string()))?;
        let config: Value = match config {
            "" => Value::Null,
            text => serde_json::from_str(text)
                .map_err(|error| Failure::invalid(format!("tokenizer_config.json: {error}")))?,
        };
        add_configured_tokens(&mut inner, &config);
        let find = |name: &str| inner.token_to_id(&named_token(config.get(name)?)?.content);
        let (bos, eos) = (find("bos_token"), find("eos_token"));
        let special =
            inner.get_added_tokens_decoder().iter().filter(|(_, token)| token.special).map(|(id, _)| *id).collect();
        let vocab_size = inner.get_vocab_size(true);
        Ok(Tokenizer { inner, bos, eos, special, vocab_size })
    }

    fn encode(&self, text: &str, add_special: bool) -> Result<Vec<Span>, Failure> {
        let encoding = self.inner.encode(text, add_special).map_err(|error| Failure::invalid(error.to_string()))?;
        let mut spans: Vec<Span> = encoding
            .get_ids()
            .iter()
            .zip(encoding.get_offsets())
            .map(|(id, (begin, end))| Span { id: *id as i64, begin: *begin, end: *end })
            .collect();
        // A text that brings its own BOS keeps that one only.
        if let (true, Some(bos)) = (add_special, self.bos) {
            if spans.len() >= 2 && spans[0].id == bos as i64 && spans[0].end == 0 && spans[1].id == bos as i64 {
                spans.remove(0);
            }
        }
        Ok(spans)
    }

    fn decode(&self, ids: &[i32], skip_special: bool) -> Result<String, Failure> {
        let mut plain: Vec<u32> = Vec::with_capacity(ids.len());
        for id in ids {
            let known = u32::try_from(*id).ok().filter(|id| self.inner.id_to_token(*id).is_some());
            plain.push(known.ok_or_else(|| Failure::invalid(format!("token id {id} is outside the vocabulary")))?);
        }
        self.inner.decode(&plain, skip_special).map_err(|error| Failure::invalid(error.to_string()))
    }
}

/// # Safety
/// Pointers as `abi.h` says.
#[no_mangle]
pub unsafe extern "C" fn umbel_tokenizer_new(
    json: *const u8,
    json_size: usize,
    config: *const u8,
    config_size: usize,
    out: *mut *mut Tokenizer,
    error: *mut Bytes,
) -> i32 {
    guard(error, || {
        let tokenizer = Tokenizer::new(
            text(json, json_size, "tokenizer.json")?,
            text(config, config_size, "tokenizer_config.json")?,
        )?;
        out.write(Box::into_raw(Box::new(tokenizer)));
        Ok(())
    })
}

/// # Safety
/// `tokenizer` came from `umbel_tokenizer_new` and was not freed before.
#[no_mangle]
pub unsafe extern "C" fn umbel_tokenizer_free(tokenizer: *mut Tokenizer) {
    guard(std::ptr::null_mut(), || {
        drop(Box::from_raw(tokenizer));
        Ok(())
    });
}

/// # Safety
/// Pointers as `abi.h` says.
#[no_mangle]
pub unsafe extern "C" fn umbel_tokenizer_encode(
    tokenizer: &Tokenizer,
    data: *const u8,
    size: usize,
    add_special: bool,
    out: *mut Spans,
    error: *mut Bytes,
) -> i32 {
    guard(error, || {
        out.write(tokenizer.encode(text(data, size, "the text")?, add_special)?.into());
        Ok(())
    })
}

/// # Safety
/// Pointers as `abi.h` says.
#[no_mangle]
pub unsafe extern "C" fn umbel_tokenizer_decode(
    tokenizer: &Tokenizer,
    ids: *const i32,
    size: usize,
    skip_special: bool,
    out: *mut Bytes,
    error: *mut Bytes,
) -> i32 {
    guard(error, || {
        out.write(tokenizer.decode(items(ids, size), skip_special)?.into());
        Ok(())
    })
}

/// # Safety
/// Pointers as `abi.h` says.
#[no_mangle]
pub unsafe extern "C" fn umbel_tokenizer_token(tokenizer: &Tokenizer, id: i32, out: *mut Bytes) -> i32 {
    guard(std::ptr::null_mut(), || {
        let token = u32::try_from(id).ok().and_then(|id| tokenizer.inner.id_to_token(id));
        out.write(token.ok_or_else(|| Failure::invalid("outside the vocabulary"))?.into());
        Ok(())
    })
}

/// # Safety
/// Pointers as `abi.h` says.
#[no_mangle]
pub unsafe extern "C" fn umbel_tokenizer_id_of(tokenizer: &Tokenizer, token: *const u8, size: usize) -> i64 {
    let mut found = -1;
    guard(std::ptr::null_mut(), || {
        found = tokenizer.inner.token_to_id(text(token, size, "token")?).map_or(-1, i64::from);
        Ok(())
    });
    found
}

#[no_mangle]
pub extern "C" fn umbel_tokenizer_is_special(tokenizer: &Tokenizer, id: i32) -> bool {
    u32::try_from(id).is_ok_and(|id| tokenizer.special.contains(&id))
}

#[no_mangle]
pub extern "C" fn umbel_tokenizer_vocab_size(tokenizer: &Tokenizer) -> usize {
    tokenizer.vocab_size
}

#[no_mangle]
pub extern "C" fn umbel_tokenizer_bos(tokenizer: &Tokenizer) -> i64 {
    tokenizer.bos.map_or(-1, i64::from)
}

#[no_mangle]
pub extern "C" fn umbel_tokenizer_eos(tokenizer: &Tokenizer) -> i64 {
    tokenizer.eos.map_or(-1, i64::from)
}

impl Tokenizer {
    /// The same with further tokens, `[{id, content, special, ...}]` in ascending order of their ids: those that come next.
    fn with_added(&self, tokens: &str) -> Result<Self, Failure> {
        let listed: Vec<Value> =
            serde_json::from_str(tokens).map_err(|error| Failure::invalid(format!("added tokens: {error}")))?;
        let added: Vec<AddedToken> = listed.iter().filter_map(named_token_listed).collect();
        if added.len() != listed.len() {
            return Err(Failure::invalid("added tokens: one has no content"));
        }
        let mut inner = self.inner.clone();
        inner.add_tokens(&added);
        let mut special = self.special.clone();
        for (value, token) in listed.iter().zip(&added) {
            let id = inner.token_to_id(&token.content);
            if id.map(u64::from) != value.get("id").and_then(Value::as_u64) {
                let next = self.vocab_size;
                let content: String = token.content.chars().take(100).collect();
                return Err(Failure {
                    code: UNSUPPORTED,
                    message: format!("the added token {content:?} must follow on the {next} that are there"),
                });
            }
            if token.special {
                special.extend(id);
            }
        }
        let vocab_size = inner.get_vocab_size(true);
        Ok(Tokenizer { inner, bos: self.bos, eos: self.eos, special, vocab_size })
    }
}

/// # Safety
/// Pointers as `abi.h` says.
#[no_mangle]
pub unsafe extern "C" fn umbel_tokenizer_with_added(
    tokenizer: &Tokenizer,
    tokens: *const u8,
    size: usize,
    out: *mut *mut Tokenizer,
    error: *mut Bytes,
) -> i32 {
    guard(error, || {
        out.write(Box::into_raw(Box::new(tokenizer.with_added(text(tokens, size, "added tokens")?)?)));
        Ok(())
    })
}
