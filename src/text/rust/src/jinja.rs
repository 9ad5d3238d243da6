//! Where minijinja and Jinja2 still differ and chat templates notice: generators, none in loops, float spelling, tojson.

use std::borrow::Cow;

use minijinja::value::{Kwargs, Rest, Value, ValueKind, ValueOrKwargs};
use minijinja::{filters, Environment, Error, ErrorKind, State};
use serde_json::Value as Json;

use crate::python_json::{self, PyFloat};

fn float_value(number: f64) -> Value {
    let plain = Value::from(number);
    if plain.to_string() == python_json::float_repr(number) {
        plain
    } else {
        Value::from_object(PyFloat(number))
    }
}

/// JSON as template values; objects keep the order of their keys.
pub fn to_value(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(truth) => Value::from(*truth),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => Value::from(integer),
            (None, Some(integer)) => Value::from(integer),
            (None, None) => float_value(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => items.iter().map(to_value).collect(),
        Json::Object(fields) => Value::from_pairs(fields.iter().map(|(name, item)| (name.as_str(), to_value(item)))),
    }
}

/// A Python generator: can be walked once, has no length and is not JSON.
fn generator(items: Vec<Value>) -> Value {
    Value::make_one_shot_iterator(items.into_iter())
}

type TestArguments = Rest<ValueOrKwargs>;

fn select(state: &mut State, value: Value, test: Option<Cow<'_, str>>, args: TestArguments) -> Result<Value, Error> {
    filters::select(state, walkable(value)?, test, args).map(generator)
}

fn reject(state: &mut State, value: Value, test: Option<Cow<'_, str>>, args: TestArguments) -> Result<Value, Error> {
    filters::reject(state, walkable(value)?, test, args).map(generator)
}

fn selectattr(
    state: &mut State,
    value: Value,
    name: Cow<'_, str>,
    test: Option<Cow<'_, str>>,
    args: TestArguments,
) -> Result<Value, Error> {
    filters::selectattr(state, walkable(value)?, name, test, args).map(generator)
}

fn rejectattr(
    state: &mut State,
    value: Value,
    name: Cow<'_, str>,
    test: Option<Cow<'_, str>>,
    args: TestArguments,
) -> Result<Value, Error> {
    filters::rejectattr(state, walkable(value)?, name, test, args).map(generator)
}

fn map(state: &mut State, value: Value, args: TestArguments) -> Result<Value, Error> {
    filters::map(state, walkable(value)?, args).map(generator)
}

/// The value itself where Python could walk it; for loops ask this first (see `source::rewrite`).
fn walkable(value: Value) -> Result<Value, Error> {
    if is_iterable(&value) {
        Ok(value)
    } else {
        Err(Error::new(ErrorKind::InvalidOperation, format!("a value of type {} cannot be looped over", value.kind())))
    }
}

fn is_iterable(value: &Value) -> bool {
    !value.is_none() && value.try_iter().is_ok()
}

/// Jinja2 asks for a length and for items: strings and dicts have both.
fn is_sequence(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Undefined | ValueKind::Seq | ValueKind::String | ValueKind::Map)
}

fn tojson(value: Value, positional: Rest<Value>, options: Kwargs) -> Result<Value, Error> {
    let names = ["ensure_ascii", "indent", "separators", "sort_keys"];
    let option = |index: usize| -> Result<Option<Value>, Error> {
        let by_name: Option<Value> = options.get(names[index])?;
        Ok(by_name.or_else(|| positional.get(index).cloned()))
    };
    let truth = |value: Option<Value>| value.is_some_and(|value| value.is_true());
    let ensure_ascii = truth(option(0)?);
    let indent = match option(1)? {
        Some(value) if value.kind() == ValueKind::String => Some(value.to_string()),
        Some(value) if value.kind() == ValueKind::Number => {
            Some(" ".repeat(value.as_i64().unwrap_or(0).clamp(0, 64) as usize))
        }
        _ => None,
    };
    let mut separators = (if indent.is_some() { "," } else { ", " }.to_string(), ": ".to_string());
    if let Some(pair) = option(2)?.filter(|value| !value.is_none()) {
        separators = (pair.get_item_by_index(0)?.to_string(), pair.get_item_by_index(1)?.to_string());
    }
    let sort_keys = truth(option(3)?);
    options.assert_all_used()?;
    let (item_separator, key_separator) = separators;
    let style = python_json::Style { ensure_ascii, indent, item_separator, key_separator, sort_keys };
    python_json::dumps(&style, &value).map(Value::from)
}

/// The name of the filter that `source::rewrite` puts on what a for loop walks.
pub const WALKABLE: &str = "umbel_walkable";

pub fn add_to(environment: &mut Environment<'static>) {
    environment.add_filter("tojson", tojson);
    environment.add_filter("select", select);
    environment.add_filter("reject", reject);
    environment.add_filter("selectattr", selectattr);
    environment.add_filter("rejectattr", rejectattr);
    environment.add_filter("map", map);
    environment.add_filter(WALKABLE, walkable);
    environment.add_test("iterable", is_iterable);
    environment.add_test("sequence", is_sequence);
}
