//! The lanes as actors: started with their first offer, each on one of the threads for deliveries.

use std::collections::HashMap;

use super::handle::DispatchHandle;
use super::lanes::{Instruction, Outlet};
use crate::actors::delivery::{self, Home, LaneHandle, Shared};
use crate::domain::ids::SubscriptionId;

/// See the module.
#[derive(Debug)]
pub struct Actors {
    handles: HashMap<SubscriptionId, LaneHandle>,
    homes: Vec<Home>,
    shared: Shared,
    dispatch: DispatchHandle,
}

impl Actors {
    /// None yet. `homes` is not empty.
    pub fn new(homes: Vec<Home>, shared: Shared, dispatch: DispatchHandle) -> Self {
        Self {
            handles: HashMap::new(),
            homes,
            shared,
            dispatch,
        }
    }
}

impl Outlet for Actors {
    fn tell(
        &mut self,
        subscription: SubscriptionId,
        instructions: Vec<Instruction>,
    ) -> Option<Vec<Instruction>> {
        let handle = self.handles.entry(subscription).or_insert_with(|| {
            // Ids are random, so lanes spread evenly.
            let at = usize::try_from(subscription.to_bits()).unwrap_or(0) % self.homes.len();
            let (shared, dispatch) = (self.shared.clone(), self.dispatch.clone());
            delivery::start(&self.homes[at], subscription, shared, dispatch)
        });
        handle.tell(instructions)
    }

    fn stop(&mut self, subscription: SubscriptionId) {
        if let Some(handle) = self.handles.remove(&subscription) {
            handle.stop();
        }
    }
}
