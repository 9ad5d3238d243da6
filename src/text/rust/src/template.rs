//! A chat template as transformers renders it: minijinja with the functions, filters and input rules of
//! `apply_chat_template`.

use std::sync::{Arc, Mutex};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};
use serde_json::Value as Json;

use crate::abi::{guard, text, Bytes, Failure, Span, Spans};
use crate::generation::{self, Markers};
use crate::{clock, jinja, python_methods, source};

const NAME: &str = "chat";
/// Instructions and bytes that one rendering may cost; far above what a long conversation needs.
const FUEL: u64 = 20_000_000;

pub struct Template {
    environment: Environment<'static>,
    special_tokens: serde_json::Map<String, Json>,
    has_generation: bool,
}

fn make_environment() -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    environment.set_unknown_method_callback(python_methods::call);
    jinja::add_to(&mut environment);
    Ok(environment)
}

/// What transformers does to the messages before a template sees them: null fields go, and the reasoning text is there
/// under the names that templates read.
fn normalize_messages(messages: &Json) -> Result<Json, Failure> {
    let list = messages.as_array().ok_or_else(|| Failure::invalid("messages must be an array"))?;
    if list.is_empty() {
        return Err(Failure::invalid("messages is empty: a chat template needs at least one message"));
    }
    let mut out = Vec::with_capacity(list.len());
    for message in list {
        let fields = message.as_object().ok_or_else(|| Failure::invalid("each message must be an object"))?;
        let mut kept: serde_json::Map<String, Json> =
            fields.iter().filter(|(_, value)| !value.is_null()).map(|(k, v)| (k.clone(), v.clone())).collect();
        let reasoning = ["reasoning_content", "thinking", "reasoning"].iter().find_map(|name| kept.get(*name)).cloned();
        if let Some(reasoning) = reasoning {
            let thinking = kept.get("thinking").cloned().unwrap_or_else(|| reasoning.clone());
            let mut aliased = serde_json::Map::new();
            aliased.insert("thinking".into(), thinking);
            aliased.extend(kept.into_iter().filter(|(name, _)| name != "thinking"));
            aliased.insert("reasoning_content".into(), reasoning);
            kept = aliased;
        }
        out.push(Json::Object(kept));
    }
    Ok(Json::Array(out))
}

impl Template {
    pub fn new(source: &str, special_tokens: &str) -> Result<Self, Failure> {
        let special_tokens: serde_json::Map<String, Json> = serde_json::from_str(special_tokens)
            .map_err(|error| Failure::invalid(format!("special tokens: {error}")))?;
        let rewritten = source::rewrite(source);
        let has_generation = rewritten.contains(generation::FUNCTION);
        let environment = make_environment()
            .and_then(|mut environment| environment.add_template_owned(NAME, rewritten).map(|()| environment))
            .map_err(|error| Failure::invalid(bounded(format!("chat template: {}", describe(&error)))))?;
        Ok(Template { environment, special_tokens, has_generation })
    }

    fn context(&self, input: &Json) -> Result<Json, Failure> {
        let mut context = self.special_tokens.clone();
        if let Some(extra) = input.get("extra").and_then(Json::as_object) {
            context.extend(extra.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        context.insert("messages".into(), normalize_messages(input.get("messages").unwrap_or(&Json::Null))?);
        for name in ["tools", "documents", "add_generation_prompt"] {
            context.insert(name.into(), input.get(name).cloned().unwrap_or(Json::Null));
        }
        Ok(Json::Object(context))
    }

    fn render(&self, input_text: &str) -> Result<(String, Vec<Span>), Failure> {
        let input: Json =
            serde_json::from_str(input_text).map_err(|error| Failure::invalid(format!("chat input: {error}")))?;
        let context = self.context(&input)?;
        let markers = self.has_generation.then(|| Arc::new(Markers::draw()));
        let raised: Arc<Mutex<Option<String>>> = Arc::default();
        let environment = self.environment_of_call(&input, markers.clone(), &raised);
        let rendered = environment
            .get_template(NAME)
            .and_then(|template| template.render(jinja::to_value(&context)))
            .map_err(|error| {
            let words = raised.lock().ok().and_then(|mut slot| slot.take());
            Failure::invalid(bounded(words.unwrap_or_else(|| format!("chat template: {}", describe(&error)))))
        })?;
        Ok(match markers {
            Some(markers) => markers.take_spans(&rendered),
            None => (rendered, Vec::new()),
        })
    }

    /// The shared environment plus the functions that belong to one rendering (cloning shares the compiled template).
    fn environment_of_call(
        &self,
        input: &Json,
        markers: Option<Arc<Markers>>,
        raised: &Arc<Mutex<Option<String>>>,
    ) -> Environment<'static> {
        let mut environment = self.environment.clone();
        let now = input.get("now").and_then(Json::as_i64);
        environment.add_function("strftime_now", move |format: String| clock::strftime(&format, now));
        let slot = raised.clone();
        environment.add_function("raise_exception", move |words: Value| -> Result<Value, Error> {
            let words = words.to_string();
            if let Ok(mut slot) = slot.lock() {
                *slot = Some(words.clone());
            }
            Err(Error::new(ErrorKind::InvalidOperation, words))
        });
        let Some(markers) = markers else { return environment };
        environment.add_function(
            generation::FUNCTION,
            move |state: &mut minijinja::State, options: Kwargs| -> Result<Value, Error> {
                let caller: Value = options.get("caller")?;
                let body = caller.call(state, &[])?;
                Ok(Value::from(markers.around(&body.to_string())))
            },
        );
        environment
    }
}

/// Words of a template's own are as long as it likes; those of an error are not.
fn bounded(mut words: String) -> String {
    const MOST: usize = 1000;
    if let Some((end, _)) = words.char_indices().nth(MOST) {
        words.truncate(end);
        words.push_str("...");
    }
    words
}

/// A minijinja error as one line: what, and in which line of the template.
fn describe(error: &Error) -> String {
    let mut words =
        error.detail().map_or_else(|| error.kind().to_string(), |detail| format!("{}: {detail}", error.kind()));
    if let Some(line) = error.line() {
        words.push_str(&format!(" (line {line})"));
    }
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        words.push_str(&format!("; {}", cause.to_string().lines().next().unwrap_or_default()));
        source = cause.source();
    }
    words
}

/// # Safety
/// Pointers as `abi.h` says.
#[no_mangle]
pub unsafe extern "C" fn umbel_template_new(
    source: *const u8,
    source_size: usize,
    special_tokens: *const u8,
    special_tokens_size: usize,
    out: *mut *mut Template,
    error: *mut Bytes,
) -> i32 {
    guard(error, || {
        let template = Template::new(
            text(source, source_size, "the chat template")?,
            text(special_tokens, special_tokens_size, "special tokens")?,
        )?;
        out.write(Box::into_raw(Box::new(template)));
        Ok(())
    })
}

/// # Safety
/// `template` came from `umbel_template_new` and was not freed before.
#[no_mangle]
pub unsafe extern "C" fn umbel_template_free(template: *mut Template) {
    guard(std::ptr::null_mut(), || {
        drop(Box::from_raw(template));
        Ok(())
    });
}

/// # Safety
/// Pointers as `abi.h` says.
#[no_mangle]
pub unsafe extern "C" fn umbel_template_render(
    template: &Template,
    input: *const u8,
    input_size: usize,
    out: *mut Bytes,
    spans: *mut Spans,
    error: *mut Bytes,
) -> i32 {
    guard(error, || {
        let (rendered, generation) = template.render(text(input, input_size, "chat input")?)?;
        out.write(rendered.into());
        spans.write(generation.into());
        Ok(())
    })
}
