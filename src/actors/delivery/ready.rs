//! What a lane was offered and has not begun, and which of it may begin.
//!
//! Deliveries without a group begin in the order in which they were offered. Of a group, only the first
//! may begin, and only while none of the group is under way: so what failed and waits for its time blocks
//! those behind it, and nobody else.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use crate::domain::ordering::Group;
use crate::store::ledger::Todo;
use crate::store::state::rows::Slot;

/// See the module.
#[derive(Debug, Default)]
pub struct Ready {
    free: VecDeque<Todo>,
    groups: HashMap<Group, Line>,
    /// Groups whose first may begin, each once.
    runnable: VecDeque<Group>,
    /// Groups whose first is not due, by when it is.
    asleep: BTreeSet<(u64, Group)>,
}

#[derive(Debug, Default)]
struct Line {
    todos: BTreeMap<Slot, Todo>,
    /// One of them is under way.
    is_busy: bool,
    /// It is listed as runnable, or as asleep until this time.
    listed: Listed,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Listed {
    #[default]
    Nowhere,
    Runnable,
    Asleep(u64),
}

impl Ready {
    /// Takes a delivery in.
    pub fn add(&mut self, todo: Todo) {
        let Some(group) = todo.group else {
            self.free.push_back(todo);
            return;
        };
        let line = self.groups.entry(group).or_default();
        line.todos.insert(todo.slot, todo);
        self.list(group);
    }

    /// A delivery that stands in its group's line is due earlier, unless it was attempted meanwhile.
    pub fn hurry(&mut self, todo: Todo) {
        let line = todo.group.and_then(|group| self.groups.get_mut(&group));
        let known = line.and_then(|line| line.todos.get_mut(&todo.slot));
        let known = known.filter(|known| known.attempts == todo.attempts);
        if let (Some(known), Some(group)) = (known, todo.group) {
            *known = todo;
            self.list(group);
        }
    }

    /// Takes back what was begun: it is the next, or its group's first.
    pub fn put_back(&mut self, todo: Todo) {
        match todo.group {
            None => self.free.push_front(todo),
            Some(group) => {
                let line = self.groups.entry(group).or_default();
                line.is_busy = false;
                line.todos.insert(todo.slot, todo);
                self.list(group);
            }
        }
    }

    /// What was begun of a group is over.
    pub fn release(&mut self, group: Group) {
        if let Some(line) = self.groups.get_mut(&group) {
            line.is_busy = false;
            self.list(group);
        }
    }

    /// Lets a delivery be. Says whether it was there.
    pub fn withdraw(&mut self, slot: Slot) -> bool {
        if let Some(at) = self.free.iter().position(|todo| todo.slot == slot) {
            self.free.remove(at);
            return true;
        }
        let mut groups = self.groups.iter_mut();
        let group = groups.find_map(|(group, line)| line.todos.remove(&slot).map(|_| *group));
        if let Some(group) = group {
            self.list(group);
        }
        group.is_some()
    }

    /// Whether nothing is left, due or not.
    pub fn is_empty(&self) -> bool {
        self.free.is_empty() && self.runnable.is_empty() && self.asleep.is_empty()
    }

    /// Whether anything may begin now.
    pub fn has_due(&mut self, now_ms: u64) -> bool {
        self.wake(now_ms);
        !self.free.is_empty() || !self.runnable.is_empty()
    }

    /// When the first is due of what waits for its time, in milliseconds of Unix time.
    pub fn next_due_ms(&self) -> Option<u64> {
        self.asleep.first().map(|(due_ms, _)| *due_ms)
    }

    /// Since when the first of what may begin has been due; 0 when nothing may. A first attempt is due
    /// with its event.
    pub fn due_since_ms(&self) -> u64 {
        let first = self.runnable.front();
        let in_line = first.and_then(|group| self.groups.get(group)?.todos.values().next());
        let due_ms = |todo: &Todo| todo.due_ms.max(todo.event.unix_ms());
        let due = self.free.front().into_iter().chain(in_line).map(due_ms);
        due.min().unwrap_or(0)
    }

    /// Begins what was accepted first of what may begin.
    pub fn take(&mut self, now_ms: u64) -> Option<Todo> {
        self.wake(now_ms);
        let first = self.runnable.front();
        let in_line = first.and_then(|group| self.groups.get(group)?.todos.keys().next());
        let free = self.free.front().map(|todo| &todo.slot);
        if in_line.is_none_or(|slot| free.is_some_and(|free| free < slot)) {
            return self.free.pop_front();
        }
        let group = self.runnable.pop_front()?;
        let line = self.groups.get_mut(&group)?;
        line.listed = Listed::Nowhere;
        line.is_busy = true;
        line.todos.pop_first().map(|(_, todo)| todo)
    }

    fn wake(&mut self, now_ms: u64) {
        while let Some(&(due_ms, group)) = self.asleep.first() {
            if due_ms > now_ms {
                break;
            }
            self.asleep.pop_first();
            if let Some(line) = self.groups.get_mut(&group) {
                line.listed = Listed::Runnable;
                self.runnable.push_back(group);
            }
        }
    }

    /// Lists a group where it belongs, and forgets it if nothing of it is left.
    fn list(&mut self, group: Group) {
        let Some(line) = self.groups.get_mut(&group) else {
            return;
        };
        let wanted = match line.todos.first_key_value() {
            _ if line.is_busy => Listed::Nowhere,
            None => Listed::Nowhere,
            Some((_, first)) if first.due_ms == 0 => Listed::Runnable,
            Some((_, first)) => Listed::Asleep(first.due_ms),
        };
        let before = std::mem::replace(&mut line.listed, wanted);
        let is_over = line.todos.is_empty() && !line.is_busy;
        if before != wanted {
            match before {
                Listed::Runnable => self.runnable.retain(|other| *other != group),
                Listed::Asleep(due_ms) => {
                    self.asleep.remove(&(due_ms, group));
                }
                Listed::Nowhere => {}
            }
            match wanted {
                Listed::Runnable => self.runnable.push_back(group),
                Listed::Asleep(due_ms) => {
                    self.asleep.insert((due_ms, group));
                }
                Listed::Nowhere => {}
            }
        }
        if is_over {
            self.groups.remove(&group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::core::fixtures::todo;
    use super::*;

    fn grouped(position: u64, group: u32) -> Todo {
        Todo {
            group: Some(Group(group)),
            ..todo(position)
        }
    }

    fn taken(ready: &mut Ready, now_ms: u64) -> Vec<u64> {
        std::iter::from_fn(|| ready.take(now_ms))
            .map(|todo| todo.slot.place.position)
            .collect()
    }

    #[test]
    fn of_a_group_one_is_under_way_and_groups_do_not_wait_for_each_other() {
        let mut ready = Ready::default();
        for todo in [grouped(1, 7), grouped(2, 7), grouped(3, 8), todo(4)] {
            ready.add(todo);
        }
        assert_eq!(taken(&mut ready, 0), [1, 3, 4]);
        ready.release(Group(7));
        ready.release(Group(8));
        assert_eq!(taken(&mut ready, 0), [2]);
        ready.release(Group(7));
        assert!(ready.is_empty() && ready.groups.is_empty());
    }

    #[test]
    fn what_failed_blocks_its_own_group_until_it_is_due() {
        let mut ready = Ready::default();
        for todo in [grouped(1, 7), grouped(2, 7), grouped(3, 8)] {
            ready.add(todo);
        }
        let first = ready.take(0).unwrap();
        ready.put_back(Todo {
            due_ms: 100,
            attempts: 1,
            ..first
        });
        assert_eq!(taken(&mut ready, 99), [3]);
        assert_eq!((ready.has_due(99), ready.next_due_ms()), (false, Some(100)));
        assert!(ready.has_due(100));
        assert_eq!(taken(&mut ready, 100), [1]);
    }

    #[test]
    fn the_first_of_what_may_begin_says_since_when_it_is_due() {
        let mut ready = Ready::default();
        assert_eq!(ready.due_since_ms(), 0);
        let due = |todo, due_ms| Todo { due_ms, ..todo };
        ready.add(due(todo(5), 400));
        assert_eq!(ready.due_since_ms(), 400);
        ready.add(due(grouped(1, 7), 300));
        ready.add(due(grouped(2, 8), 900));
        assert!(ready.has_due(500));
        assert_eq!(ready.due_since_ms(), 300);
        ready.take(500);
        assert_eq!(ready.due_since_ms(), 400);
        let event = crate::domain::ids::EventId(uuid::Uuid::from_u64_pair(600 << 16, 0));
        let mut first = Ready::default();
        first.add(Todo { event, ..todo(9) });
        assert_eq!(first.due_since_ms(), 600);
    }

    #[test]
    fn what_is_hurried_begins_at_once_and_what_is_withdrawn_blocks_nobody() {
        let mut ready = Ready::default();
        let late = |position, due_ms| Todo {
            due_ms,
            ..grouped(position, 7)
        };
        for todo in [late(1, 100), grouped(2, 7), grouped(3, 7)] {
            ready.add(todo);
        }
        assert!(!ready.has_due(50));
        ready.hurry(late(1, 50));
        ready.hurry(late(9, 50));
        ready.hurry(Todo {
            attempts: 1,
            ..late(1, 10)
        });
        assert_eq!(taken(&mut ready, 50), [1]);
        assert!(ready.withdraw(grouped(2, 7).slot));
        assert!(!ready.withdraw(grouped(1, 7).slot), "it is under way");
        ready.release(Group(7));
        assert_eq!(taken(&mut ready, 50), [3]);
        ready.release(Group(7));
        ready.add(late(4, 100));
        assert!(ready.withdraw(grouped(4, 7).slot));
        assert!(ready.is_empty());
    }
}
