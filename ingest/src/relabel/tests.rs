//! Relabelling: each action by example, and what holds for every rule by property.

use super::*;
use proptest::prelude::*;
use tidemark_core::model::labels::Labels;

fn rule(change: impl FnOnce(&mut RuleOptions)) -> Rule {
    let mut options = RuleOptions::default();
    change(&mut options);
    Rule::new(options).unwrap()
}

/// What the rules make of `labels`, or `dropped`.
fn relabelled(labels: &[(&str, &str)], rules: &[Rule]) -> String {
    let mut set: LabelSet = labels.iter().copied().collect();
    if !apply(rules, &mut set) {
        return "dropped".to_owned();
    }
    Labels::from_pairs(set.iter()).to_string()
}

#[track_caller]
fn check(change: impl FnOnce(&mut RuleOptions), labels: &[(&str, &str)], expected: &str) {
    assert_eq!(relabelled(labels, &[rule(change)]), expected);
}

fn sources(names: &[&str]) -> Vec<String> {
    names.iter().map(|&n| n.to_owned()).collect()
}

const ABC: [(&str, &str); 3] = [("a", "foo"), ("b", "bar"), ("c", "baz")];

#[test]
fn replace() {
    check(
        |r| {
            r.source_labels = sources(&["a"]);
            r.regex = "f(.*)".into();
            r.target_label = "d".into();
            r.replacement = "ch${1}-ch${1}".into();
        },
        &ABC,
        r#"{a="foo", b="bar", c="baz", d="choo-choo"}"#,
    );
    check(
        |r| {
            r.source_labels = sources(&["a", "b"]);
            r.regex = "f(.*);(.*)r".into();
            r.target_label = "a".into();
            r.replacement = "b${1}${2}m".into();
        },
        &ABC,
        r#"{a="boobam", b="bar", c="baz"}"#,
    );
    // No match, no change; an empty replacement removes; an empty target changes nothing.
    let b_to_a = |r: &mut RuleOptions| {
        r.source_labels = sources(&["a"]);
        r.target_label = "a".into();
    };
    check(
        |r| {
            b_to_a(r);
            r.regex = "x.*".into();
        },
        &ABC,
        r#"{a="foo", b="bar", c="baz"}"#,
    );
    check(
        |r| {
            b_to_a(r);
            r.replacement = String::new();
        },
        &ABC,
        r#"{b="bar", c="baz"}"#,
    );
    check(
        |r| {
            b_to_a(r);
            r.target_label = "$2".into();
        },
        &ABC,
        r#"{a="foo", b="bar", c="baz"}"#,
    );
    check(
        |r| {
            b_to_a(r);
            r.target_label = "${1}_x".into();
            r.replacement = "y".into();
        },
        &ABC,
        r#"{a="foo", b="bar", c="baz", foo_x="y"}"#,
    );
    // The expression is anchored and its dot takes line feeds.
    check(
        |r| {
            b_to_a(r);
            r.regex = "fo".into();
            r.replacement = "x".into();
        },
        &ABC[..1],
        r#"{a="foo"}"#,
    );
    check(
        |r| {
            b_to_a(r);
            r.replacement = "x".into();
        },
        &[("a", "1\n2")],
        r#"{a="x"}"#,
    );
}

#[test]
fn names_made_by_replace_are_checked_in_the_legacy_scheme() {
    let change = |legacy| {
        move |r: &mut RuleOptions| {
            r.source_labels = sources(&["a"]);
            r.target_label = "${1}".into();
            r.legacy_names = legacy;
        }
    };
    check(change(true), &[("a", "x.y")], r#"{a="x.y"}"#);
    check(change(false), &[("a", "x.y")], r#"{a="x.y", "x.y"="x.y"}"#);
}

#[test]
fn keep_and_drop() {
    let on_a = |action, regex: &'static str| {
        move |r: &mut RuleOptions| {
            r.source_labels = sources(&["a"]);
            r.action = action;
            r.regex = regex.into();
        }
    };
    check(on_a(Action::Drop, ".*o.*"), &ABC[..1], "dropped");
    check(on_a(Action::Drop, "f|o"), &ABC[..1], r#"{a="foo"}"#);
    check(on_a(Action::Keep, "no"), &ABC[..1], "dropped");
    check(on_a(Action::Keep, "f.*"), &ABC[..1], r#"{a="foo"}"#);
    let equal = |action| {
        move |r: &mut RuleOptions| {
            r.source_labels = sources(&["x"]);
            r.target_label = "y".into();
            r.action = action;
        }
    };
    check(equal(Action::KeepEqual), &[("x", "1"), ("y", "1")], r#"{x="1", y="1"}"#);
    check(equal(Action::KeepEqual), &[("x", "1"), ("y", "2")], "dropped");
    check(equal(Action::DropEqual), &[("x", "1"), ("y", "1")], "dropped");
    check(equal(Action::DropEqual), &[("x", "1")], r#"{x="1"}"#);
}

#[test]
fn hashmod_deals_as_it_always_did() {
    let change = |modulus| {
        move |r: &mut RuleOptions| {
            r.source_labels = sources(&["c"]);
            r.target_label = "d".into();
            r.action = Action::HashMod;
            r.modulus = modulus;
        }
    };
    check(change(1000), &[("c", "baz")], r#"{c="baz", d="976"}"#);
    check(change(1000), &[("c", "foo\nbar")], r#"{c="foo\nbar", d="734"}"#);
    let zero = RuleOptions { action: Action::HashMod, ..RuleOptions::default() };
    assert!(matches!(Rule::new(zero), Err(RelabelError::ZeroModulus)));
}

#[test]
fn actions_on_names() {
    let named = |action, regex: &'static str| {
        move |r: &mut RuleOptions| {
            r.action = action;
            r.regex = regex.into();
        }
    };
    let labels = [("a", "foo"), ("b1", "bar"), ("b2", "baz")];
    check(named(Action::LabelDrop, "b.*"), &labels, r#"{a="foo"}"#);
    check(named(Action::LabelKeep, "b."), &labels, r#"{b1="bar", b2="baz"}"#);
    check(
        |r| {
            named(Action::LabelMap, "b(.)")(r);
            r.replacement = "bar_${1}".into();
        },
        &labels,
        r#"{a="foo", b1="bar", b2="baz", bar_1="bar", bar_2="baz"}"#,
    );
    // Of two that map to one name the last counts.
    check(
        |r| {
            named(Action::LabelMap, "b.")(r);
            r.replacement = "z".into();
        },
        &labels,
        r#"{a="foo", b1="bar", b2="baz", z="baz"}"#,
    );
    check(named(Action::LabelMap, "__meta_(.+)"), &[("__meta_x", "1")], r#"{__meta_x="1", x="1"}"#);
}

#[test]
fn case() {
    let change = |action| {
        move |r: &mut RuleOptions| {
            r.source_labels = sources(&["a"]);
            r.target_label = "b".into();
            r.action = action;
        }
    };
    check(change(Action::Lowercase), &[("a", "Bar123ÄÖ")], r#"{a="Bar123ÄÖ", b="bar123äö"}"#);
    check(change(Action::Uppercase), &[("a", "bar123äö")], r#"{a="bar123äö", b="BAR123ÄÖ"}"#);
}

#[test]
fn rules_act_in_turn_until_one_drops() {
    let first = rule(|r| {
        r.source_labels = sources(&["a"]);
        r.target_label = "b".into();
    });
    let second = rule(|r| {
        r.source_labels = sources(&["b"]);
        r.action = Action::Drop;
        r.regex = "foo".into();
    });
    assert_eq!(
        relabelled(&[("a", "foo"), ("b", "x")], &[first.clone(), second.clone()]),
        "dropped"
    );
    assert_eq!(relabelled(&[("a", "foo"), ("b", "x")], &[second, first]), r#"{a="foo", b="foo"}"#);
}

#[test]
fn names_go_round_and_bad_expressions_are_refused() {
    for (name, action) in ACTIONS {
        assert_eq!((Action::from_name(name), action.as_str()), (Some(action), name));
    }
    assert_eq!(Action::from_name("nope"), None);
    let bad = RuleOptions { regex: "(".into(), ..RuleOptions::default() };
    assert!(matches!(Rule::new(bad), Err(RelabelError::Regex(_))));
}

proptest! {
    #[test]
    fn nothing_panics_and_no_empty_value_is_left(
        labels in proptest::collection::btree_map("[a-d]|__tmp", "[a-c]{1,3}", 0..5),
        regex in "[a-c]{0,2}|\\(\\.\\*\\)|\\(\\[a-c\\]\\)\\.\\*",
        (target, replacement) in ("[a-d]|\\$1|\\$\\{1\\}_x", "[a-c$]{0,3}|\\$\\{1\\}"),
        action in 0_usize..ACTIONS.len(),
        source_labels in proptest::collection::vec("[a-d]", 0..3),
    ) {
        let options = RuleOptions {
            source_labels, regex, replacement,
            target_label: target,
            action: ACTIONS[action].1,
            modulus: 7,
            ..RuleOptions::default()
        };
        let mut set: LabelSet = labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        if apply(&[Rule::new(options).unwrap()], &mut set) {
            prop_assert!(set.iter().all(|(_, value)| !value.is_empty()));
            set.encode(&mut Vec::new()).unwrap();
        }
    }
}

#[test]
fn steps_show_what_each_rule_does() {
    let replace = RuleOptions {
        source_labels: vec!["a".into()],
        target_label: "b".into(),
        ..RuleOptions::default()
    };
    let drop = RuleOptions {
        source_labels: vec!["b".into()],
        regex: "1".into(),
        action: Action::Drop,
        ..RuleOptions::default()
    };
    let rules = [replace.clone(), drop, replace].map(|options| Rule::new(options).unwrap());
    let steps = steps(&rules, &[("a", "1")].into_iter().collect());
    assert_eq!(steps[0].as_ref().unwrap().get("b"), "1");
    assert!(steps[1].is_none() && steps[2].is_none());
}
