//! Reading a filter, and finding every mistake in it.

use serde_json::{Map, Value};

use super::path::{self, Segment};
use super::{
    Condition, FilterError, MAX_CONDITIONS, MAX_FILTER_BYTES, MAX_FILTER_DEPTH, Order, Test,
};

/// Compiles a whole filter.
pub fn compile(source: &Value) -> Result<Condition, FilterError> {
    let mut compiler = Compiler {
        at: vec!["filter".to_owned()],
        conditions: 0,
    };
    if source.to_string().len() > MAX_FILTER_BYTES {
        return Err(compiler.fault(format!("must be at most {MAX_FILTER_BYTES} bytes")));
    }
    compiler.object(source, &[])
}

struct Compiler {
    /// The names that lead to what is being read.
    at: Vec<String>,
    conditions: usize,
}

impl Compiler {
    fn fault(&self, what: impl Into<String>) -> FilterError {
        FilterError {
            path: self.at.join("."),
            what: what.into(),
        }
    }

    /// Reads something one name deeper.
    fn inside<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Self) -> Result<T, FilterError>,
    ) -> Result<T, FilterError> {
        self.at.push(name.to_owned());
        if self.at.len() > MAX_FILTER_DEPTH {
            return Err(self.fault(format!("is nested deeper than {MAX_FILTER_DEPTH}")));
        }
        let read = read(self)?;
        self.at.pop();
        Ok(read)
    }

    fn count(&mut self, conditions: usize) -> Result<(), FilterError> {
        self.conditions += conditions;
        if self.conditions > MAX_CONDITIONS {
            return Err(self.fault(format!("there are more than {MAX_CONDITIONS} conditions")));
        }
        Ok(())
    }

    /// Conditions on what is below a path: all of them must hold.
    fn object(&mut self, source: &Value, below: &[Segment]) -> Result<Condition, FilterError> {
        let Value::Object(members) = source else {
            return Err(self.fault("must be an object"));
        };
        self.members(members, below)
    }

    fn members(
        &mut self,
        members: &Map<String, Value>,
        below: &[Segment],
    ) -> Result<Condition, FilterError> {
        if members.is_empty() {
            return Err(self.fault("must not be empty"));
        }
        let mut all = Vec::with_capacity(members.len());
        for (name, value) in members {
            all.push(self.inside(name, |it| it.member(name, value, below))?);
        }
        Ok(match all.len() {
            1 => all.swap_remove(0),
            _ => Condition::All(all),
        })
    }

    fn member(
        &mut self,
        name: &str,
        value: &Value,
        below: &[Segment],
    ) -> Result<Condition, FilterError> {
        if name.starts_with('$') && name.len() > 1 && !name.starts_with("$.") {
            return self.operator(name, value, below);
        }
        let path = self.path(name, below)?;
        match value {
            Value::Object(members) => self.members(members, &path),
            bare => self.test(path, Test::Equal(bare.clone())),
        }
    }

    /// `below` and the names in a dotted path.
    fn path(&self, text: &str, below: &[Segment]) -> Result<Vec<Segment>, FilterError> {
        path::parse(text, below).map_err(|error| self.fault(error.to_string()))
    }

    fn test(&mut self, path: Vec<Segment>, test: Test) -> Result<Condition, FilterError> {
        self.count(1)?;
        if path.is_empty() {
            return Err(self.fault("a comparison needs a path before it"));
        }
        Ok(Condition::At(path, test))
    }

    fn operator(
        &mut self,
        name: &str,
        value: &Value,
        below: &[Segment],
    ) -> Result<Condition, FilterError> {
        let path = below.to_vec();
        let not = |condition| Condition::Not(Box::new(condition));
        match name {
            "$and" => Ok(Condition::All(self.list(value, below)?)),
            "$or" => Ok(Condition::Any(self.list(value, below)?)),
            "$not" => Ok(not(self.alternative(value, below)?)),
            "$eq" => self.test(path, Test::Equal(value.clone())),
            "$neq" => Ok(not(self.test(path, Test::Equal(value.clone()))?)),
            "$in" => self.any_of(path, value),
            "$nin" => Ok(not(self.any_of(path, value)?)),
            "$gt" => self.order(path, Order::Greater, value),
            "$gte" => self.order(path, Order::GreaterOrEqual, value),
            "$lt" => self.order(path, Order::Less, value),
            "$lte" => self.order(path, Order::LessOrEqual, value),
            "$startsWith" => {
                let text = self.text(value)?;
                self.test(path, Test::StartsWith(text))
            }
            "$endsWith" => {
                let text = self.text(value)?;
                self.test(path, Test::EndsWith(text))
            }
            "$contains" => self.test(path, Test::Contains(value.clone())),
            "$exist" => {
                let Value::Bool(wanted) = value else {
                    return Err(self.fault("needs true or false"));
                };
                self.count(1)?;
                if path.is_empty() {
                    return Err(self.fault("needs a path before it"));
                }
                Ok(Condition::Exists(path, *wanted))
            }
            _ => Err(self.fault(
                "is no operator: there are $eq, $neq, $gt, $gte, $lt, $lte, $in, $nin, $exist, \
                 $startsWith, $endsWith, $contains, $and, $or and $not",
            )),
        }
    }

    /// The alternatives of `$and` and `$or`.
    fn list(&mut self, value: &Value, below: &[Segment]) -> Result<Vec<Condition>, FilterError> {
        let Value::Array(values) = value else {
            return Err(self.fault("needs a list of conditions"));
        };
        if values.is_empty() {
            return Err(self.fault("must not be empty"));
        }
        let each = (0..).zip(values).map(|(number, value): (usize, _)| {
            self.inside(&number.to_string(), |it| it.alternative(value, below))
        });
        each.collect()
    }

    /// Behind a path it may be a bare value, which means `$eq`.
    fn alternative(&mut self, value: &Value, below: &[Segment]) -> Result<Condition, FilterError> {
        match value {
            Value::Object(members) => self.members(members, below),
            bare if !below.is_empty() => self.test(below.to_vec(), Test::Equal(bare.clone())),
            _ => Err(self.fault("must be an object")),
        }
    }

    fn any_of(&mut self, path: Vec<Segment>, value: &Value) -> Result<Condition, FilterError> {
        let Value::Array(values) = value else {
            return Err(self.fault("needs a list of values"));
        };
        self.count(values.len())?;
        self.test(path, Test::In(values.clone()))
    }

    fn order(
        &mut self,
        path: Vec<Segment>,
        order: Order,
        value: &Value,
    ) -> Result<Condition, FilterError> {
        if !value.is_number() && !value.is_string() {
            return Err(self.fault("needs a number or a string"));
        }
        self.test(path, Test::Order(order, value.clone()))
    }

    fn text(&self, value: &Value) -> Result<String, FilterError> {
        let text = value.as_str().map(str::to_owned);
        text.ok_or_else(|| self.fault("needs a string"))
    }
}
