//! Judging a body by a compiled filter.

use std::cmp::Ordering;

use serde_json::{Number, Value};

use super::path::any_at;
use super::{Condition, Order, Test};

/// Whether a condition holds for a body.
pub fn holds(condition: &Condition, body: &Value) -> bool {
    match condition {
        Condition::All(all) => all.iter().all(|it| holds(it, body)),
        Condition::Any(any) => any.iter().any(|it| holds(it, body)),
        Condition::Not(not) => !holds(not, body),
        Condition::At(path, test) => any_at(path, body, &mut |value| passes(test, value)),
        Condition::Exists(path, wanted) => any_at(path, body, &mut |_| true) == *wanted,
    }
}

/// Whether a value, or any element if it is an array, passes a test.
fn passes(test: &Test, value: &Value) -> bool {
    let elements = match value {
        Value::Array(elements) => elements.as_slice(),
        _ => &[],
    };
    passes_itself(test, value) || elements.iter().any(|it| passes_itself(test, it))
}

fn passes_itself(test: &Test, found: &Value) -> bool {
    match test {
        Test::Equal(wanted) => equal(found, wanted),
        Test::In(wanted) => wanted.iter().any(|wanted| equal(found, wanted)),
        Test::Order(order, bound) => compare(found, bound).is_some_and(|which| match order {
            Order::Greater => which.is_gt(),
            Order::GreaterOrEqual => which.is_ge(),
            Order::Less => which.is_lt(),
            Order::LessOrEqual => which.is_le(),
        }),
        Test::StartsWith(start) => found.as_str().is_some_and(|text| text.starts_with(start)),
        Test::EndsWith(end) => found.as_str().is_some_and(|text| text.ends_with(end)),
        Test::Contains(wanted) => match (found, wanted) {
            (Value::String(found), Value::String(wanted)) => found.contains(wanted),
            (Value::Array(elements), wanted) => elements.iter().any(|it| equal(it, wanted)),
            _ => false,
        },
    }
}

/// `1` and `1.0` are the same number, wherever they are.
fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(_), Value::Number(_)) => compare(one, other) == Some(Ordering::Equal),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let same = |(name, value)| other.get(name).is_some_and(|it| equal(value, it));
            one.len() == other.len() && one.iter().all(same)
        }
        _ => one == other,
    }
}

/// Numbers with numbers and texts with texts; nothing else has an order.
fn compare(one: &Value, other: &Value) -> Option<Ordering> {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => compare_numbers(one, other),
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        _ => None,
    }
}

/// Whole numbers exactly, also where a double would not hold them.
fn compare_numbers(one: &Number, other: &Number) -> Option<Ordering> {
    let whole = |number: &Number| {
        let signed = number.as_i64().map(i128::from);
        signed.or_else(|| number.as_u64().map(i128::from))
    };
    match (whole(one), whole(other)) {
        (Some(one), Some(other)) => Some(one.cmp(&other)),
        _ => one.as_f64()?.partial_cmp(&other.as_f64()?),
    }
}
