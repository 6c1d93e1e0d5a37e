//! Moving a job away from TaskManagers that are to go.
//!
//! ```text
//! leave ─▸ slots elsewhere are asked for ─▸ granted: new workers hold the slots ─▸ they have registered ─▸ JobEvent::Move
//!                      │ none in time                                                                           │
//!                      └──────────────────────────── the slots are given up ────────────────────────────────────┤
//!                                       JobMaster: checkpoint, restart from it ─▸ vacate: the old workers end ◂─┘
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use flott_core::config::{self, Configuration};
use flott_core::ids::{ExecutionId, TaskManagerId, WorkerId};
use flott_plan::ExecutionMode;
use flott_plan::execution_graph::SlotNumber;

use super::{JobWorkers, State};
use crate::job_master::JobEvent;

/// A TaskManager that is to go.
pub(super) struct Leaving {
    reason: String,
    /// Until when slots elsewhere are waited for.
    until: Instant,
}

impl State {
    fn is_leaving(&self, worker: WorkerId) -> bool {
        self.workers.get(&worker).is_some_and(|member| self.leaving.contains_key(&member.task_manager))
    }

    /// The slots that are held by workers which are to go.
    pub(super) fn leaving_slots(&self) -> Vec<SlotNumber> {
        let held = self.slots.iter().filter(|(_, worker)| self.is_leaving(**worker));
        held.map(|(slot, _)| *slot).collect()
    }
}

impl JobWorkers {
    /// A TaskManager with workers of this job is to go. A job without checkpoints stays: it would lose what it has done.
    pub(in crate::job_manager) fn leave(self: &Arc<Self>, id: TaskManagerId, reason: &str, within: Duration) {
        {
            let mut state = self.state();
            let Some(spec) = &state.spec else { return };
            let configuration = Configuration::from_entries(&spec.configuration).unwrap_or_default();
            let streaming = self.graph.mode == ExecutionMode::Streaming;
            if !streaming || configuration.get_optional(&config::CHECKPOINT_INTERVAL).is_none() {
                tracing::warn!(job = %self.job, reason, "a job without checkpoints goes on where it is until that is taken away");
                return;
            }
            state.leaving.insert(id, Leaving { reason: reason.to_owned(), until: Instant::now() + within });
        }
        self.replace_leaving();
    }

    /// Asks for slots instead of those that are to go, or has the job move if it has them.
    pub(super) fn replace_leaving(self: &Arc<Self>) {
        let (slots, within, number) = {
            let mut state = self.state();
            let Some(until) = state.leaving.values().map(|leaving| leaving.until).max() else { return };
            if state.spec.is_none() || state.adopting.is_some() {
                return;
            }
            let slots = state.leaving_slots().len() as u32;
            let number = match slots {
                0 => 0,
                slots => match state.request(slots, true) {
                    Some(request) => request.number,
                    None => return,
                },
            };
            (slots, until.saturating_duration_since(Instant::now()), number)
        };
        match slots {
            0 => self.tell_move(),
            slots => self.task_managers.request(slots, within, Arc::clone(self), number),
        }
    }

    /// There are no slots elsewhere in time: the job moves nevertheless, and waits for some then.
    pub(super) fn give_up_leaving(&self) {
        let mut state = self.state();
        for slot in state.leaving_slots() {
            state.slots.remove(&slot);
        }
        drop(state);
        self.tell_move();
    }

    /// Tells the JobMaster what has to move, once there is nothing more to wait for.
    pub(super) fn tell_move(&self) {
        let state = self.state();
        let Some(reason) = state.leaving.values().next().map(|leaving| leaving.reason.clone()) else {
            return;
        };
        let is_ready = |worker: &WorkerId| {
            let member = state.workers.get(worker);
            !state.is_leaving(*worker) && member.is_some_and(|member| member.orders.is_some())
        };
        if !state.slots.values().all(is_ready) {
            return;
        }
        let here = state.placed.iter().filter(|(_, (_, worker))| state.is_leaving(*worker));
        let executions = here
            .map(|(subtask, (attempt, _))| ExecutionId { subtask: *subtask, attempt: *attempt })
            .collect();
        self.events.put(JobEvent::Move { executions, reason });
    }

    /// Nothing runs any more where it is to go: those workers end.
    pub(super) fn vacate(&self) {
        let old: Vec<WorkerId> = {
            let mut state = self.state();
            let old: Vec<WorkerId> = state
                .workers
                .keys()
                .copied()
                .filter(|worker| {
                    state.is_leaving(*worker) && !state.slots.values().any(|other| other == worker)
                })
                .collect();
            for worker in &old {
                state.forget(*worker);
            }
            state.placed.retain(|_, (_, worker)| !old.contains(worker));
            let State { leaving, workers, .. } = &mut *state;
            leaving.retain(|id, _| workers.values().any(|member| member.task_manager == *id));
            old
        };
        old.into_iter().for_each(|worker| self.task_managers.stop(worker));
    }
}
