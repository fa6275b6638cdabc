//! What filters want, and what is wrong with those that are refused.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn filter(source: Value) -> Filter {
    Filter::new(source).unwrap()
}

fn order() -> Value {
    json!({
        "event": "order.paid",
        "data": {
            "total": 120.5, "count": 3, "vip": false, "note": null, "id": "ord_7",
            "huge": 9_007_199_254_740_993_u64,
            "tags": ["gold", "new"],
            "items": [{ "sku": "a-1", "price": 10 }, { "sku": "b-2", "price": 40 }],
            "a.b": 1,
        },
    })
}

#[test]
fn what_is_wanted_is_wanted() {
    for (source, wanted) in [
        (json!({ "event": "order.paid" }), true),
        (json!({ "event": "order" }), false),
        (json!({ "data.total": { "$gte": 120.5 } }), true),
        (json!({ "data.total": { "$gt": 120.5 } }), false),
        (json!({ "data.total": { "$gt": 100, "$lt": 110 } }), false),
        (json!({ "data.total": { "$gt": "100" } }), false),
        (json!({ "data.count": 3.0 }), true),
        (json!({ "data.huge": 9_007_199_254_740_992_u64 }), false),
        (
            json!({ "data.huge": { "$lte": 9_007_199_254_740_993_u64 } }),
            true,
        ),
        (
            json!({ "data": { "total": { "$lt": 200 }, "vip": false } }),
            true,
        ),
        (json!({ "data.note": null }), true),
        (json!({ "data.absent": null }), false),
        (json!({ "data.absent": { "$neq": 1 } }), true),
        (json!({ "data.note": { "$exist": true } }), true),
        (json!({ "data.absent": { "$exist": false } }), true),
        (json!({ "data.total.deeper": { "$exist": true } }), false),
        (json!({ "data.id": { "$startsWith": "ord_" } }), true),
        (json!({ "data.id": { "$endsWith": "_8" } }), false),
        (json!({ "data.id": { "$contains": "d_" } }), true),
        (json!({ "data.tags": "gold" }), true),
        (json!({ "data.tags": ["gold", "new"] }), true),
        (json!({ "data.tags": ["new", "gold"] }), false),
        (json!({ "data.tags": { "$contains": "new" } }), true),
        (json!({ "data.tags": { "$in": ["old", "new"] } }), true),
        (json!({ "data.tags": { "$nin": ["old"] } }), true),
        (json!({ "data.tags": { "$neq": "gold" } }), false),
        (json!({ "data.items.sku": "b-2" }), true),
        (json!({ "data.items.$.sku": "b-2" }), true),
        (json!({ "data.items.0.sku": "b-2" }), false),
        (json!({ "data.items.1.sku": "b-2" }), true),
        (json!({ "data.items.price": { "$gt": 50 } }), false),
        (json!({ "data.a\\.b": 1 }), true),
        (json!({ "data.a.b": 1 }), false),
        (
            json!({ "$or": [{ "data.vip": true }, { "data.count": 3 }] }),
            true,
        ),
        (
            json!({ "$and": [{ "data.vip": true }, { "data.count": 3 }] }),
            false,
        ),
        (json!({ "$not": { "data.vip": true } }), true),
        (json!({ "data.count": { "$or": [7, { "$lt": 4 }] } }), true),
        (json!({ "data.count": { "$not": 3 } }), false),
        (
            json!({ "data.total": { "$gte": 100 }, "$or": [{ "data.vip": true }] }),
            false,
        ),
    ] {
        assert_eq!(filter(source.clone()).wants(&order()), wanted, "{source}");
    }
}

#[test]
fn a_broken_filter_is_refused_with_the_path_of_its_fault() {
    for (source, path, what) in [
        (json!([]), "filter", "must be an object"),
        (json!({}), "filter", "must not be empty"),
        (json!({ "a": {} }), "filter.a", "must not be empty"),
        (
            json!({ "a": { "$gte": [] } }),
            "filter.a.$gte",
            "needs a number or a string",
        ),
        (
            json!({ "a": { "$like": 1 } }),
            "filter.a.$like",
            "is no operator",
        ),
        (
            json!({ "$or": { "a": 1 } }),
            "filter.$or",
            "needs a list of conditions",
        ),
        (
            json!({ "$or": [{ "a": 1 }, 2] }),
            "filter.$or.1",
            "must be an object",
        ),
        (json!({ "$and": [] }), "filter.$and", "must not be empty"),
        (
            json!({ "a": { "b": { "$in": 3 } } }),
            "filter.a.b.$in",
            "needs a list of values",
        ),
        (
            json!({ "a": { "$startsWith": 3 } }),
            "filter.a.$startsWith",
            "needs a string",
        ),
        (
            json!({ "a": { "$exist": 1 } }),
            "filter.a.$exist",
            "needs true or false",
        ),
        (
            json!({ "$eq": 1 }),
            "filter.$eq",
            "a comparison needs a path before it",
        ),
        (
            json!({ "a..b": 1 }),
            "filter.a..b",
            "a path has an empty name",
        ),
        (json!({ "": 1 }), "filter.", "a path has an empty name"),
    ] {
        let error = Filter::new(source.clone()).unwrap_err();
        assert_eq!(error.path, path, "{source}");
        assert!(error.what.starts_with(what), "{source}: {error}");
    }
}

#[test]
fn its_bounds_hold() {
    let many: Vec<usize> = (0..MAX_CONDITIONS).collect();
    assert!(Filter::new(json!({ "a": { "$in": many } })).is_err());
    assert!(Filter::new(json!({ "a": { "$in": many[1..] } })).is_ok());
    let mut deep = json!(1);
    for _ in 0..MAX_FILTER_DEPTH {
        deep = json!({ "a": deep });
    }
    let error = Filter::new(deep).unwrap_err();
    assert!(error.what.contains("nested deeper"), "{error}");
    assert!(Filter::new(json!({ "a": "x".repeat(MAX_FILTER_BYTES) })).is_err());
    assert!(Filter::new(json!({ "a.".repeat(MAX_PATH_SEGMENTS) + "b": 1 })).is_err());
}

#[test]
fn it_survives_being_written() {
    let kept = filter(json!({ "data.total": { "$gte": 100 } }));
    let text = serde_json::to_string(&kept).unwrap();
    assert_eq!(serde_json::from_str::<Filter>(&text).unwrap(), kept);
}

/// Any JSON of names that filters know.
#[test]
fn the_members_that_do_not_hold_are_named_and_no_others() {
    let wanted = filter(json!({ "a": 1, "b.c": { "$gt": 2 }, "$or": [{ "a": 1 }, { "a": 2 }] }));
    let unmet = |body: Value| Value::Object(wanted.unmet(&body));
    assert_eq!(unmet(json!({ "a": 1, "b": { "c": 3 } })), json!({}));
    let low = json!({ "b.c": { "$gt": 2 } });
    assert_eq!(unmet(json!({ "a": 1, "b": { "c": 2 } })), low);
    let two = json!({ "a": 1, "b.c": { "$gt": 2 } });
    assert_eq!(unmet(json!({ "a": 2 })), two);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..3).prop_map(Value::from),
        (-2.0..2.0).prop_map(Value::from),
        "[ab$.\\\\]{0,3}".prop_map(Value::from),
    ];
    let name = "(\\$eq|\\$or|\\$and|\\$not|\\$in|\\$gt|\\$exist|\\$contains|a|b|a\\.b|0|\\$)";
    leaf.prop_recursive(5, 32, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_a_filter_or_none_and_judges_any_other(source in any_json(), body in any_json()) {
        if let Ok(filter) = Filter::new(source.clone()) {
            let wanted = filter.wants(&body);
            prop_assert_eq!(filter.unmet(&body).is_empty(), wanted);
            let opposite = Filter::new(json!({ "$not": source }));
            if let Ok(opposite) = opposite {
                prop_assert_eq!(opposite.wants(&body), !wanted);
            }
        }
    }
}
