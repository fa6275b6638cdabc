//! A lane alone, on a clock of its own.

use super::fixtures::todo;
use super::*;
use crate::domain::breaker::FIRST_WAIT;
use crate::domain::directory::fixtures::subscription;
use crate::domain::ordering::Group;

const OPENS_AFTER: u32 = 20;

fn offer(core: &mut Core, todos: Vec<Todo>) {
    core.follow(todos.into_iter().map(Instruction::Attempt).collect());
}

fn moment(at: Instant) -> Moment {
    Moment { at, unix_ms: 1_000 }
}

fn verdict(outcome: Outcome) -> Verdict {
    Verdict {
        outcome,
        hold_ms: None,
        gone: false,
    }
}

#[test]
fn what_was_not_attempted_after_all_is_next() {
    let mut core = Core::new(OPENS_AFTER);
    let now = Instant::now();
    offer(&mut core, vec![todo(1), todo(2), todo(3)]);
    let first = core.begin(None, moment(now)).unwrap();
    core.ended(first.slot, None, now);
    for position in 1..=3 {
        assert_eq!(core.begin(None, moment(now)), Some(todo(position)));
    }
    assert!(!core.has_ready());
}

#[test]
fn a_failure_in_line_comes_back_on_its_own_and_any_other_goes() {
    let mut core = Core::new(OPENS_AFTER);
    let now = Instant::now();
    let in_line = Todo {
        group: Some(Group::ALL),
        ..todo(1)
    };
    offer(&mut core, vec![in_line, todo(2)]);
    let failed = verdict(Outcome::Retry { due_ms: 1_000 });
    for todo in [in_line, todo(2)] {
        assert_eq!(core.begin(None, moment(now)), Some(todo));
        core.ended(todo.slot, Some(&failed), now);
        let again = core.begin(None, moment(now));
        assert_eq!(again.map(|it| it.attempts), todo.group.map(|_| 1));
        if let Some(again) = again {
            core.ended(again.slot, Some(&verdict(Outcome::Delivered)), now);
        }
    }
}

#[test]
fn a_retry_that_is_due_before_the_end_of_its_attempt_was_heard_is_not_lost() {
    let mut core = Core::new(OPENS_AFTER);
    let now = Instant::now();
    offer(&mut core, vec![todo(1)]);
    core.begin(None, moment(now));
    let again = Todo {
        attempts: 1,
        due_ms: 1_000,
        ..todo(1)
    };
    offer(&mut core, vec![again]);
    assert_eq!(core.begin(None, moment(now)), None, "one at a time");
    let failed = verdict(Outcome::Retry { due_ms: 1_000 });
    core.ended(again.slot, Some(&failed), now);
    assert_eq!(core.begin(None, moment(now)), Some(again));
}

#[test]
fn what_is_withdrawn_while_it_is_under_way_does_not_come_back() {
    let mut core = Core::new(OPENS_AFTER);
    let now = Instant::now();
    let in_line = |position| Todo {
        group: Some(Group::ALL),
        ..todo(position)
    };
    offer(&mut core, vec![in_line(1), in_line(2)]);
    core.begin(None, moment(now));
    core.follow(vec![Instruction::LetBe(in_line(1).slot)]);
    let failed = verdict(Outcome::Retry { due_ms: 1_000 });
    core.ended(in_line(1).slot, Some(&failed), now);
    assert_eq!(core.begin(None, moment(now)), Some(in_line(2)));
    assert_eq!(core.begin(None, moment(now)), None);
}

#[test]
fn a_receiver_that_only_fails_is_probed_and_the_others_use_up_no_attempt() {
    let free = subscription(1, 1, &["**"]);
    let mut core = Core::new(OPENS_AFTER);
    let now = Instant::now();
    offer(&mut core, (0..100).map(todo).collect());
    let failed = verdict(Outcome::Retry { due_ms: 9_000 });
    for _ in 0..OPENS_AFTER {
        assert_eq!(core.next(Some(&free), 1, moment(now)), Next::Begin);
        let slot = core.begin(None, moment(now)).unwrap().slot;
        core.ended(slot, Some(&failed), now);
    }
    let held = Next::WaitFor(FIRST_WAIT);
    assert_eq!(core.next(Some(&free), 9, moment(now)), held);
    let later = now + FIRST_WAIT;
    assert_eq!(core.next(Some(&free), 9, moment(later)), Next::Begin);
    let probe = core.begin(None, moment(later)).unwrap().slot;
    assert_eq!(core.next(Some(&free), 9, moment(later)), Next::Wait);
    core.ended(probe, Some(&verdict(Outcome::Delivered)), later);
    for _ in 0..9 {
        assert_eq!(core.next(Some(&free), 9, moment(later)), Next::Begin);
        core.begin(None, moment(later));
    }
}

#[test]
fn no_second_sees_more_attempts_than_its_rate_allows() {
    for rate in [1, 7, 50, 400, 3_000] {
        let mut paced = subscription(1, 1, &["**"]);
        paced.rate_limit = Some(rate);
        let mut core = Core::new(OPENS_AFTER);
        offer(&mut core, (0..u64::from(rate) * 5).map(todo).collect());
        let start = Instant::now();
        let (mut now, mut began) = (start, Vec::new());
        while now < start + Duration::from_secs(3) {
            match core.next(Some(&paced), u16::MAX, moment(now)) {
                // A timer is never early, and late by up to a millisecond.
                Next::WaitFor(wait) => now += wait.max(Duration::from_millis(1)),
                Next::Begin => {
                    core.begin(Some(rate), moment(now));
                    began.push(now);
                }
                other => panic!("{other:?}"),
            }
        }
        let bunched = usize::try_from(rate / 500 + 1).unwrap();
        for (at, first) in began.iter().enumerate() {
            let within = began[at..]
                .iter()
                .take_while(|it| **it < *first + Duration::from_secs(1));
            let within = within.count();
            assert!(within <= rate as usize + bunched, "{within} at {rate}/s");
        }
        let least = rate as usize * 29 / 10;
        assert!(
            began.len() >= least,
            "{} of {least} at {rate}/s",
            began.len()
        );
    }
}

#[test]
fn a_rate_that_is_lifted_holds_nothing_up() {
    let mut core = Core::new(OPENS_AFTER);
    let now = moment(Instant::now());
    offer(&mut core, vec![todo(1), todo(2)]);
    core.begin(Some(1), now);
    let mut free = subscription(1, 1, &["**"]);
    assert_eq!(core.next(Some(&free), 10, now), Next::Begin);
    free.rate_limit = Some(1);
    assert!(matches!(core.next(Some(&free), 10, now), Next::WaitFor(_)));
}
