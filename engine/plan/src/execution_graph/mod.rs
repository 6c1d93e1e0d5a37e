//! The ExecutionGraph: a job's subtasks, how far each has come, who exchanges data with whom and who restarts together.
//!
//! It decides nothing by itself and touches nothing outside: the JobMaster tells it what happened and asks what follows.
//! States follow the tables of [`JobStatus`] and [`ExecutionState`], and what an attempt reports that has been replaced changes nothing.
//!
//! ```text
//! new ─▸ set_status(RUNNING) ─▸ advance(subtask, attempt, …)* ─▸ has_ended ─▸ set_status(FINISHED)
//!                                  │ a failure                       ▴
//!                                  └▸ restart_set ─▸ (canceled) ─▸ begin_attempt
//! ```

mod channels;
mod failover;
mod regions;
mod slots;
mod state;

use std::sync::Arc;

use flott_core::ids::{Attempt, SubtaskId};

pub use failover::{ResultPartition, restart_set};
pub use regions::{RegionId, Regions};
pub use slots::{SlotAssignment, SlotNumber};
pub use state::{ExecutionState, IllegalTransition, JobStatus, UnknownState};

use crate::job_graph::{ExchangeMode, JobEdge, JobGraph};

impl JobGraph {
    /// Every subtask, producers first.
    pub fn subtasks(&self) -> impl Iterator<Item = SubtaskId> + '_ {
        self.vertices.iter().flat_map(|vertex| {
            (0..vertex.parallelism).map(move |index| SubtaskId { vertex: vertex.id, index })
        })
    }
}

/// A subtask and its current attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutionVertex {
    /// Which subtask.
    pub subtask: SubtaskId,
    /// The slot it runs in, among those the job needs.
    pub slot: SlotNumber,
    /// The region it restarts with.
    pub region: RegionId,
    /// The current attempt to run it.
    pub attempt: Attempt,
    /// How far that has come.
    pub state: ExecutionState,
}

/// What became of a reported state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advance {
    /// The attempt has it now.
    Taken,
    /// It is of an attempt that was replaced, or of no subtask of this job: whoever reported it should stop.
    Outdated,
}

/// A job while it runs.
#[derive(Debug, Clone)]
pub struct ExecutionGraph {
    job: Arc<JobGraph>,
    status: JobStatus,
    regions: Regions,
    slots: SlotAssignment,
    /// By vertex, then subtask.
    vertices: Vec<Vec<ExecutionVertex>>,
}

impl ExecutionGraph {
    /// A job of which nothing has run.
    pub fn new(job: Arc<JobGraph>) -> Self {
        let regions = Regions::of(&job);
        let slots = SlotAssignment::of(&job);
        let mut vertices: Vec<Vec<ExecutionVertex>> = vec![Vec::new(); job.vertices.len()];
        for subtask in job.subtasks() {
            // Both know every subtask of the job they were made of.
            let (Some(region), Some(slot)) = (regions.region_of(subtask), slots.slot_of(subtask)) else {
                continue;
            };
            let (attempt, state) = (Attempt(0), ExecutionState::Created);
            vertices[subtask.vertex.0 as usize].push(ExecutionVertex {
                subtask,
                slot,
                region,
                attempt,
                state,
            });
        }
        Self { job, status: JobStatus::Created, regions, slots, vertices }
    }

    /// The plan.
    pub fn job(&self) -> &Arc<JobGraph> {
        &self.job
    }

    /// The state of the job.
    pub fn status(&self) -> JobStatus {
        self.status
    }

    /// The pipelined regions.
    pub fn regions(&self) -> &Regions {
        &self.regions
    }

    /// Which subtask runs in which slot.
    pub fn slots(&self) -> &SlotAssignment {
        &self.slots
    }

    /// The subtasks, producers first.
    pub fn vertices(&self) -> impl Iterator<Item = &ExecutionVertex> {
        self.vertices.iter().flatten()
    }

    /// A subtask; none if it is of another job.
    pub fn vertex(&self, subtask: SubtaskId) -> Option<&ExecutionVertex> {
        self.vertices.get(subtask.vertex.0 as usize)?.get(subtask.index as usize)
    }

    /// Brings the job into its next state.
    ///
    /// # Errors
    /// [`IllegalTransition`] if that cannot follow; the state stays.
    pub fn set_status(&mut self, next: JobStatus) -> Result<(), IllegalTransition> {
        self.status = self.status.then(next)?;
        Ok(())
    }

    /// Brings an attempt into its next state. The state it has already is taken as well: reports may be repeated.
    ///
    /// # Errors
    /// [`IllegalTransition`] if that cannot follow; the state stays.
    pub fn advance(
        &mut self,
        subtask: SubtaskId,
        attempt: Attempt,
        next: ExecutionState,
    ) -> Result<Advance, IllegalTransition> {
        let Some(vertex) = self.vertex_mut(subtask).filter(|vertex| vertex.attempt == attempt) else {
            return Ok(Advance::Outdated);
        };
        if vertex.state != next {
            vertex.state = vertex.state.then(next)?;
        }
        Ok(Advance::Taken)
    }

    /// Begins the next attempt to run a subtask, whose current one must be over; gives its number.
    ///
    /// # Errors
    /// [`IllegalTransition`] if the current attempt may still run.
    pub fn begin_attempt(&mut self, subtask: SubtaskId) -> Result<Option<Attempt>, IllegalTransition> {
        let Some(vertex) = self.vertex_mut(subtask) else { return Ok(None) };
        if !vertex.state.is_terminal() {
            let (from, to) = (vertex.state.name(), ExecutionState::Created.name());
            return Err(IllegalTransition { of: "a subtask", from, to });
        }
        vertex.attempt = Attempt(vertex.attempt.0 + 1);
        vertex.state = ExecutionState::Created;
        Ok(Some(vertex.attempt))
    }

    /// The subtasks to restart when `failed` fail: see [`restart_set`].
    pub fn restart_set(
        &self,
        failed: &[SubtaskId],
        is_available: impl Fn(ResultPartition) -> bool,
    ) -> Vec<SubtaskId> {
        restart_set(&self.job, &self.regions, failed, is_available)
    }

    /// The regions that can be scheduled: not yet begun, with all that gives them blocking input at its end.
    pub fn ready_regions(&self) -> Vec<RegionId> {
        let vertex_ended: Vec<bool> = self.vertices.iter().map(|subtasks| has_ended(subtasks)).collect();
        let is_ready = |subtask: &SubtaskId| {
            let is_new = self.vertex(*subtask).is_some_and(|vertex| vertex.state == ExecutionState::Created);
            is_new && self.has_blocking_input(*subtask, &vertex_ended)
        };
        let ready = self.regions.iter().filter(|(_, members)| members.iter().all(is_ready));
        ready.map(|(region, _)| region).collect()
    }

    /// Whether all that gives a subtask blocking input has ended; `vertex_ended` says which vertices have as a whole.
    fn has_blocking_input(&self, subtask: SubtaskId, vertex_ended: &[bool]) -> bool {
        let mut blocking = self.job.inputs(subtask.vertex).filter(|edge| edge.mode == ExchangeMode::Blocking);
        let has_ended = |edge: &JobEdge| {
            let producers = &self.vertices[edge.source.0 as usize];
            // The common case, without a look at every channel.
            vertex_ended[edge.source.0 as usize]
                || !channels::is_all_to_all(edge)
                    && self.job.producers(edge.id, subtask.index).into_iter().all(|producer| {
                        producers.get(producer as usize).is_some_and(|producer| producer.state.has_ended())
                    })
        };
        blocking.all(has_ended)
    }

    /// Whether every subtask has ended: the job may commit and finish.
    pub fn has_ended(&self) -> bool {
        self.vertices.iter().all(|subtasks| has_ended(subtasks))
    }

    /// Whether every subtask's current attempt is over, one way or another.
    pub fn is_over(&self) -> bool {
        self.vertices().all(|vertex| vertex.state.is_terminal())
    }

    fn vertex_mut(&mut self, subtask: SubtaskId) -> Option<&mut ExecutionVertex> {
        self.vertices.get_mut(subtask.vertex.0 as usize)?.get_mut(subtask.index as usize)
    }
}

fn has_ended(subtasks: &[ExecutionVertex]) -> bool {
    subtasks.iter().all(|subtask| subtask.state.has_ended())
}

#[cfg(test)]
mod tests {
    use flott_core::ids::VertexId;

    use super::*;
    use crate::job_graph::ExecutionMode;
    use crate::stream_graph::StreamGraph;
    use crate::testing::word_count;

    const WAY: [ExecutionState; 5] = [
        ExecutionState::Scheduled,
        ExecutionState::Deploying,
        ExecutionState::Initializing,
        ExecutionState::Running,
        ExecutionState::Finished,
    ];

    fn batch() -> ExecutionGraph {
        let batch = StreamGraph { mode: ExecutionMode::Batch, ..word_count() };
        ExecutionGraph::new(Arc::new(batch.to_job_graph().unwrap()))
    }

    fn run(graph: &mut ExecutionGraph, region: RegionId) {
        for subtask in graph.regions().members(region).to_vec() {
            let attempt = graph.vertex(subtask).unwrap().attempt;
            for state in WAY {
                assert_eq!(graph.advance(subtask, attempt, state), Ok(Advance::Taken));
            }
        }
    }

    #[test]
    fn a_batch_runs_stage_by_stage() {
        let mut graph = batch();
        graph.set_status(JobStatus::Running).unwrap();
        let readers = graph.ready_regions();
        assert_eq!(readers.len(), 1);
        run(&mut graph, readers[0]);
        let counts = graph.ready_regions();
        assert_eq!(counts.len(), 2);
        assert!(!graph.has_ended());
        counts.into_iter().for_each(|region| run(&mut graph, region));
        assert!(graph.has_ended() && graph.is_over());
        assert!(graph.ready_regions().is_empty());
        graph.set_status(JobStatus::Finished).unwrap();
    }

    #[test]
    fn replaced_attempts_have_nothing_to_say() {
        let mut graph = batch();
        let subtask = SubtaskId { vertex: VertexId(1), index: 0 };
        assert_eq!(
            graph.begin_attempt(subtask).unwrap_err().to_string(),
            "a subtask cannot go from CREATED to CREATED"
        );
        assert_eq!(graph.advance(subtask, Attempt(0), ExecutionState::Failed), Ok(Advance::Taken));
        assert_eq!(graph.advance(subtask, Attempt(0), ExecutionState::Failed), Ok(Advance::Taken));
        assert_eq!(graph.begin_attempt(subtask), Ok(Some(Attempt(1))));
        assert_eq!(graph.advance(subtask, Attempt(0), ExecutionState::Running), Ok(Advance::Outdated));
        assert_eq!(graph.vertex(subtask).unwrap().state, ExecutionState::Created);
        assert!(graph.advance(subtask, Attempt(1), ExecutionState::Running).is_err());
        let stranger = SubtaskId { vertex: VertexId(1), index: 7 };
        assert_eq!(graph.advance(stranger, Attempt(0), ExecutionState::Scheduled), Ok(Advance::Outdated));
        assert_eq!(graph.begin_attempt(stranger), Ok(None));
    }

    #[test]
    fn a_job_ends_when_all_have_drained() {
        let mut graph = ExecutionGraph::new(Arc::new(word_count().to_job_graph().unwrap()));
        let drained = [&WAY[..4], &[ExecutionState::Drained]].concat();
        for subtask in graph.job().clone().subtasks() {
            assert!(!graph.has_ended());
            for state in &drained {
                graph.advance(subtask, Attempt(0), *state).unwrap();
            }
        }
        assert!(graph.has_ended() && !graph.is_over());
    }
}
