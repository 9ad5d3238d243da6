//! Training a byte-level BPE tokenizer and writing it as a tokenizer.json of the layout that the embedded base has.

use serde_json::{json, Value};
use tokenizers::models::bpe::{BpeTrainerBuilder, BPE};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, PostProcessorWrapper, PreTokenizerWrapper, SplitDelimiterBehavior};

use crate::abi::{guard, items, text, Bytes, Failure};

/// One document, borrowed from the caller.
#[repr(C)]
pub struct Document {
    data: *const u8,
    size: usize,
}

/// Documents longer than this are cut behind a line end (else anywhere): the crate keeps offsets for every byte of one,
/// and its time grows with the square of the longest word.
const PIECE_BYTES: usize = 1 << 14;

fn pieces(document: &str) -> impl Iterator<Item = &str> {
    let mut rest = document;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut end = rest.len();
        if end > PIECE_BYTES {
            let limit = (0..=PIECE_BYTES).rev().find(|at| rest.is_char_boundary(*at)).unwrap_or(end);
            end = rest[..limit].rfind('\n').map_or(limit, |at| at + 1);
        }
        let (piece, tail) = rest.split_at(end);
        rest = tail;
        Some(piece)
    })
}

fn wrong(error: impl std::fmt::Display) -> Failure {
    Failure::invalid(format!("tokenizer training: {error}"))
}

fn texts(value: &Value, name: &str) -> Vec<String> {
    let list = value.get(name).and_then(Value::as_array);
    list.map(|list| list.iter().filter_map(Value::as_str).map(str::to_string).collect()).unwrap_or_default()
}

fn pre_tokenizer(pattern: &str) -> Result<PreTokenizerWrapper, Failure> {
    let split = Split::new(SplitPattern::Regex(pattern.to_string()), SplitDelimiterBehavior::Isolated, false);
    Ok(PreTokenizerWrapper::Sequence(Sequence::new(vec![
        PreTokenizerWrapper::Split(split.map_err(wrong)?),
        PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, false)),
    ])))
}

/// options: {vocab_size, min_frequency, special_tokens, bos, pattern}.
fn train<'a>(documents: impl Iterator<Item = &'a str> + Send, options: &str) -> Result<String, Failure> {
    let options: Value = serde_json::from_str(options).map_err(wrong)?;
    let number = |name: &str| options.get(name).and_then(Value::as_u64).unwrap_or(0);
    let special = texts(&options, "special_tokens");
    let vocab_size = number("vocab_size") as usize;
    if vocab_size < 256 + special.len() {
        let least = 256 + special.len();
        return Err(wrong(format!("vocab_size {vocab_size} is below {least}: 256 bytes and the special tokens")));
    }
    let special_token = |content: &String| AddedToken::from(content.clone(), true).normalized(false);
    let mut trainer = BpeTrainerBuilder::new()
        .vocab_size(vocab_size)
        .min_frequency(number("min_frequency"))
        .show_progress(false)
        .special_tokens(special.iter().map(special_token).collect())
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    let pattern = options.get("pattern").and_then(Value::as_str).unwrap_or_default();
    let mut tokenizer = tokenizers::TokenizerImpl::<
        BPE,
        tokenizers::NormalizerWrapper,
        PreTokenizerWrapper,
        PostProcessorWrapper,
        tokenizers::DecoderWrapper,
    >::new(BPE::default());
    tokenizer.with_pre_tokenizer(Some(pre_tokenizer(pattern)?));
    tokenizer.with_decoder(Some(tokenizers::DecoderWrapper::ByteLevel(ByteLevel::default())));
    tokenizer.train(&mut trainer, documents.flat_map(pieces)).map_err(wrong)?;
    if let Some(bos) = options.get("bos").and_then(Value::as_str) {
        let id = tokenizer.token_to_id(bos).ok_or_else(|| wrong(format!("bos {bos} is not a special token")))?;
        let template = TemplateProcessing::builder()
            .try_single(vec![bos.to_string(), "$A".to_string()])
            .and_then(|builder| {
                builder.try_pair(vec![bos.to_string(), "$A".to_string(), bos.to_string(), "$B".to_string()])
            })
            .map_err(wrong)?
            .special_tokens(vec![(bos.to_string(), id)])
            .build()
            .map_err(wrong)?;
        tokenizer.with_post_processor(Some(PostProcessorWrapper::Template(template)));
    }
    let written: Value = serde_json::from_str(&tokenizer.to_string(false).map_err(wrong)?).map_err(wrong)?;
    // The crate's own order of keys, with the version first.
    let mut ordered = json!({"version": "1.0"});
    if let (Some(target), Some(source)) = (ordered.as_object_mut(), written.as_object()) {
        target.extend(source.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    serde_json::to_string_pretty(&ordered).map_err(wrong)
}

/// # Safety
/// Pointers as `abi.h` says.
#[no_mangle]
pub unsafe extern "C" fn umbel_train_bpe(
    documents: *const Document,
    count: usize,
    options: *const u8,
    options_size: usize,
    out: *mut Bytes,
    error: *mut Bytes,
) -> i32 {
    guard(error, || {
        let mut corpus = Vec::with_capacity(count);
        for (index, document) in items(documents, count).iter().enumerate() {
            corpus.push(text(document.data, document.size, &format!("document {index}"))?);
        }
        out.write(train(corpus.into_iter(), text(options, options_size, "options")?)?.into());
        Ok(())
    })
}
