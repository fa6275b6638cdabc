//! What a ledger makes of a change of the directory: its rows, and the audit's.

use std::sync::Arc;

use super::{Effect, Ledger};
use crate::domain::audit::{Deed, MAX_DEEDS};
use crate::domain::directory::Change;
use crate::domain::ids::AccountId;
use crate::store::error::StoreError;
use crate::store::state::overlay::Direction;
use crate::store::state::rows;

impl Ledger {
    pub(super) fn change(
        &mut self,
        change: &Change,
        effects: &mut Vec<Effect>,
    ) -> Result<(), StoreError> {
        match change {
            Change::DeleteIntegration(id) => {
                let bound = self
                    .directory
                    .keys()
                    .filter(|key| key.integration == Some(*id));
                let bound: Vec<Change> = bound.map(|key| Change::DeleteKey(key.id)).collect();
                self.change_all(&bound, effects)?;
            }
            Change::DeleteAccount(id) => {
                let owned = self.owned_by(*id);
                self.change_all(&owned, effects)?;
                self.forget_deeds(*id)?;
            }
            Change::PutSubscription(new) => self.note_change(new, effects),
            _ => {}
        }
        self.directory.apply(change);
        match change {
            Change::PutAccount(it) => self.put_record(b'A', it.id.to_bits(), change)?,
            Change::PutIntegration(it) => self.put_record(b'I', it.id.to_bits(), change)?,
            Change::PutKey(it) => self.put_record(b'K', it.id.to_bits(), change)?,
            Change::PutSubscription(it) => {
                self.table.forget();
                self.put_record(b'S', it.id.to_bits(), change)?;
            }
            Change::KeysUsed(uses) => {
                for (id, _) in uses {
                    if let Some(key) = self.directory.key(*id) {
                        let key = Change::PutKey(Arc::clone(key));
                        self.put_record(b'K', id.to_bits(), &key)?;
                    }
                }
            }
            Change::DeleteAccount(id) => self.overlay.remove(rows::record(b'A', id.to_bits())),
            Change::DeleteIntegration(id) => self.overlay.remove(rows::record(b'I', id.to_bits())),
            Change::DeleteKey(id) => self.overlay.remove(rows::record(b'K', id.to_bits())),
            Change::DeleteSubscription(id) => {
                self.forget_trouble(*id);
                self.table.forget();
                self.overlay.remove(rows::record(b'S', id.to_bits()));
                self.gone.push(*id);
                effects.push(Effect::Unsubscribed(*id));
            }
            Change::Audited(deed) => self.note(deed)?,
            Change::PutTask(it) => self.put_record(b'T', it.id.to_bits(), change)?,
            Change::DeleteTask(id) => self.overlay.remove(rows::record(b'T', id.to_bits())),
            Change::Steered(all) => {
                for steered in all.iter() {
                    self.steer(steered, effects)?;
                }
            }
            Change::Cancelled(all) => {
                for attempt in all.iter() {
                    self.settle(attempt, effects)?;
                }
            }
        }
        Ok(())
    }

    fn change_all(
        &mut self,
        changes: &[Change],
        effects: &mut Vec<Effect>,
    ) -> Result<(), StoreError> {
        changes
            .iter()
            .try_for_each(|change| self.change(change, effects))
    }

    /// What deletes everything that an account owns.
    fn owned_by(&self, account: AccountId) -> Vec<Change> {
        let directory = &self.directory;
        let subscriptions = directory.subscriptions().filter(|it| it.account == account);
        let integrations = directory.integrations().filter(|it| it.account == account);
        let keys = directory.keys().filter(|it| it.account == account);
        let tasks = directory.tasks().filter(|it| it.account == account);
        subscriptions
            .map(|it| Change::DeleteSubscription(it.id))
            .chain(keys.map(|it| Change::DeleteKey(it.id)))
            .chain(tasks.map(|it| Change::DeleteTask(it.id)))
            .chain(integrations.map(|it| Change::DeleteIntegration(it.id)))
            .collect()
    }

    fn put_record(&mut self, prefix: u8, id: u64, record: &Change) -> Result<(), StoreError> {
        self.overlay
            .put(rows::record(prefix, id), rows::encode(record)?);
        Ok(())
    }

    /// Keeps a deed as its account's latest, and forgets the one that is too many.
    fn note(&mut self, deed: &Deed) -> Result<(), StoreError> {
        if self.directory.account(deed.account).is_none() {
            return Ok(());
        }
        let all = rows::deeds(deed.account, 0..u64::MAX);
        let latest = self.overlay.scan(&all, Direction::Backward, 1)?;
        let latest = latest.first().and_then(|(key, _)| rows::read_deed(key));
        let number = latest.map_or(0, |latest| latest + 1);
        let key = rows::deed(deed.account, number);
        self.overlay.put_new(key, rows::encode(deed)?);
        if let Some(old) = number.checked_sub(MAX_DEEDS) {
            self.overlay.remove(rows::deed(deed.account, old));
        }
        Ok(())
    }

    fn forget_deeds(&mut self, account: AccountId) -> Result<(), StoreError> {
        let all = rows::deeds(account, 0..u64::MAX);
        let limit = usize::try_from(MAX_DEEDS).unwrap_or(usize::MAX);
        for (key, _) in self.overlay.scan(&all, Direction::Forward, limit)? {
            self.overlay.remove(key);
        }
        Ok(())
    }

    /// What was done to an account, the latest first, before a number: at most `limit` of it, each with
    /// its number.
    pub fn deeds(
        &self,
        account: AccountId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, Deed)>, StoreError> {
        let range = rows::deeds(account, 0..before.unwrap_or(u64::MAX));
        let rows = self.overlay.scan(&range, Direction::Backward, limit)?;
        let rows = rows
            .iter()
            .filter_map(|(key, value)| Some((rows::read_deed(key)?, value)));
        rows.map(|(number, value)| Ok((number, rows::decode("a deed", value)?)))
            .collect()
    }
}
